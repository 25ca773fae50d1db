//go:build conformance

package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	protocol "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/latchpost/latchpost/auth"
)

// Conformance is the same server as everywhere with the tools, resources and prompts that the scenarios of
// @modelcontextprotocol/conformance call by name. It lets everybody in: the suite has no tokens.
func Conformance(v Broker) (*Server, http.Handler) {
	s := newServer(v, Options{Version: "conformance"},
		server.WithToolCapabilities(true), server.WithPromptCapabilities(true), server.WithResourceCapabilities(true, true),
		server.WithCompletions(), server.WithLogging())
	s.core.EnableSampling()
	f := fixture{s}
	f.contents()
	f.notices()
	f.legacyQuestions()
	f.questions()
	f.resources()
	f.prompts()
	handler := s.HTTP(HTTPOptions{Identify: func(*http.Request) (auth.Caller, error) {
		return auth.Caller{Owner: auth.Local, Client: "conformance"}, nil
	}})
	return s, f.needsSampling(handler)
}

type (
	fixture struct{ *Server }
	toolReq = protocol.CallToolRequest
	toolRes = protocol.CallToolResult
	m       = map[string]any
)

const (
	onePixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
	oneBeep  = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
)

// add registers a tool with the same wait as ours behind its notifications.
func (f fixture) add(name string, run func(context.Context, toolReq) (*toolRes, error), args ...protocol.ToolOption) {
	t := protocol.NewTool(name, append([]protocol.ToolOption{protocol.WithDescription("A fixture of the conformance suite")}, args...)...)
	f.core.AddTool(t, func(ctx context.Context, req toolReq) (*toolRes, error) {
		told := newNotices(f.Server, ctx, req)
		told.queued.Store(true)
		defer told.settle()
		return run(ctx, req)
	})
}

func (f fixture) always(name string, content ...protocol.Content) {
	f.add(name, func(context.Context, toolReq) (*toolRes, error) { return &toolRes{Content: content}, nil })
}

func content(format string, args ...any) protocol.Content {
	return protocol.NewTextContent(fmt.Sprintf(format, args...))
}

func says(format string, args ...any) (*toolRes, error) {
	return &toolRes{Content: []protocol.Content{content(format, args...)}}, nil
}

func embedded(uri, mime, body string) protocol.Content {
	return protocol.NewEmbeddedResource(protocol.TextResourceContents{URI: uri, MIMEType: mime, Text: body})
}

func (f fixture) contents() {
	f.always("test_simple_text", content("This is a simple text response for testing."))
	f.always("test_image_content", protocol.NewImageContent(onePixel, "image/png"))
	f.always("test_audio_content", protocol.NewAudioContent(oneBeep, "audio/wav"))
	f.always("test_embedded_resource", embedded("test://embedded-resource", "text/plain", "This is an embedded resource content."))
	f.always("test_multiple_content_types", content("Multiple content types test:"), protocol.NewImageContent(onePixel, "image/png"),
		embedded("test://mixed-content-resource", "application/json", `{"test":"data","value":123}`))
	f.always("test_missing_capability", content("sampling is there"))
	f.add("test_error_handling", func(context.Context, toolReq) (*toolRes, error) {
		return protocol.NewToolResultError("This tool intentionally returns an error for testing"), nil
	})
}

// needsSampling refuses test_missing_capability to clients without sampling. A handler of mcp-go v1.2.1
// cannot give -32021 with its data, and none of our own tools needs it.
func (f fixture) needsSampling(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Name") != "test_missing_capability" {
			next.ServeHTTP(w, r)
			return
		}
		var m struct{ ID json.RawMessage }
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxMessage)).Decode(&m); err != nil {
			refuse(w, http.StatusBadRequest, &rejection{nil, protocol.PARSE_ERROR, "not JSON"})
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32021,"message":"sampling is needed","data":{"requiredCapabilities":{"sampling":{}}}}}`, m.ID)
	})
}

func (f fixture) notices() {
	f.add("test_tool_with_logging", func(ctx context.Context, _ toolReq) (*toolRes, error) {
		for _, what := range []string{"Tool execution started", "Tool processing data", "Tool execution completed"} {
			f.tell(ctx, protocol.MethodNotificationMessage, m{"level": "info", "logger": "conformance", "data": what})
		}
		return says("Tool with logging executed successfully")
	})
	f.add("test_logging_tool", func(ctx context.Context, _ toolReq) (*toolRes, error) {
		if info := server.RequestProtocolInfoFromContext(ctx); info != nil && info.LogLevel != "" {
			f.tell(ctx, protocol.MethodNotificationMessage, m{"level": "info", "data": "asked for"})
		}
		return says("logged")
	})
	f.add("test_tool_with_progress", func(ctx context.Context, req toolReq) (*toolRes, error) {
		if req.Params.Meta != nil && req.Params.Meta.ProgressToken != nil {
			for _, n := range []int{0, 50, 100} {
				f.tell(ctx, protocol.MethodNotificationProgress, m{"progressToken": req.Params.Meta.ProgressToken, "progress": n, "total": 100})
			}
		}
		return says("progress reported")
	})
	f.add("test_trigger_tool_change", func(context.Context, toolReq) (*toolRes, error) {
		f.always("test_changed", content("here for a moment"))
		f.core.DeleteTools("test_changed")
		return says("changed")
	})
	f.add("test_trigger_prompt_change", func(context.Context, toolReq) (*toolRes, error) {
		f.prompt("test_changed_prompt", func(protocol.GetPromptRequest) []protocol.Content { return nil })
		f.core.DeletePrompts("test_changed_prompt")
		return says("changed")
	})
}

// tell sends one notification, and leaves the client time to see them apart.
func (f fixture) tell(ctx context.Context, method protocol.MCPMethod, params m) {
	if !tellOwn(ctx, notice(method, params)) {
		_ = f.core.SendNotificationToClient(ctx, string(method), params)
	}
	time.Sleep(20 * time.Millisecond)
}

// legacyQuestions are asked by requests of the server, as before 2026-07-28.
func (f fixture) legacyQuestions() {
	f.add("test_sampling", func(ctx context.Context, req toolReq) (*toolRes, error) {
		got, err := f.core.RequestSampling(ctx, protocol.CreateMessageRequest{CreateMessageParams: sampling(req.GetString("prompt", ""), 100)})
		if err != nil {
			return protocol.NewToolResultError(err.Error()), nil
		}
		content, _ := got.Content.(protocol.TextContent)
		return says("LLM response: %s", content.Text)
	}, protocol.WithString("prompt", protocol.Required()))
	ask := func(name, message string, schema m, args ...protocol.ToolOption) {
		f.add(name, func(ctx context.Context, req toolReq) (*toolRes, error) {
			got, err := f.core.RequestElicitation(ctx, protocol.ElicitationRequest{Params: protocol.ElicitationParams{Message: req.GetString("message", message), RequestedSchema: schema}})
			if err != nil {
				return protocol.NewToolResultError(err.Error()), nil
			}
			return says("Elicitation completed: action=%s, content=%v", got.Action, got.Content)
		}, args...)
	}
	ask("test_elicitation", "", schema(m{"username": m{"type": "string"}, "email": m{"type": "string"}}), protocol.WithString("message", protocol.Required()))
	ask("test_elicitation_sep1034_defaults", "Provide your information", schema(m{
		"name": m{"type": "string", "default": "John Doe"}, "age": m{"type": "integer", "default": 30}, "score": m{"type": "number", "default": 95.5},
		"status": m{"type": "string", "enum": []string{"active", "inactive", "pending"}, "default": "active"}, "verified": m{"type": "boolean", "default": true}}))
	titled := []m{{"const": "value1", "title": "Value One"}, {"const": "value2", "title": "Value Two"}, {"const": "value3", "title": "Value Three"}}
	plain := []string{"option1", "option2", "option3"}
	ask("test_elicitation_sep1330_enums", "Select options", schema(m{
		"untitledSingle": m{"type": "string", "enum": plain}, "titledSingle": m{"type": "string", "oneOf": titled},
		"legacyEnum":    m{"type": "string", "enum": []string{"opt1", "opt2", "opt3"}, "enumNames": []string{"Option One", "Option Two", "Option Three"}},
		"untitledMulti": m{"type": "array", "items": m{"type": "string", "enum": plain}}, "titledMulti": m{"type": "array", "items": m{"anyOf": titled}}}))
}

func schema(properties m) m { return m{"type": "object", "properties": properties} }

func sampling(prompt string, tokens int) protocol.CreateMessageParams {
	return protocol.CreateMessageParams{MaxTokens: tokens,
		Messages: []protocol.SamplingMessage{{Role: protocol.RoleUser, Content: protocol.NewTextContent(prompt)}}}
}

func form(message, field string) protocol.ElicitationParams {
	kind := "string"
	if field == "ok" {
		kind = "boolean"
	}
	return protocol.ElicitationParams{Message: message, RequestedSchema: m{"type": "object", "properties": m{field: m{"type": kind}}, "required": []string{field}}}
}

// accepted reports whether the client gave a usable answer to a form.
func accepted(answers protocol.InputResponses, key, field string) (any, bool) {
	said := server.ElicitationResponse(answers, key)
	if said == nil || said.Action != protocol.ElicitationResponseActionAccept {
		return nil, false
	}
	fields, _ := said.Content.(map[string]any)
	value, ok := fields[field]
	return value, ok
}

// questions are asked by input_required results, as since 2026-07-28, with our own tickets as state.
func (f fixture) questions() {
	f.add("test_input_required_result_elicitation", func(_ context.Context, req toolReq) (*toolRes, error) {
		if name, ok := accepted(req.Params.InputResponses, "user_name", "name"); ok {
			return says("Hello, %v!", name)
		}
		return server.NewInputRequestBuilder("").Elicit("user_name", form("What is your name?", "name")).ToolResult(), nil
	})
	f.add("test_streaming_elicitation", func(context.Context, toolReq) (*toolRes, error) {
		return server.NewInputRequestBuilder("").Elicit("user_name", form("What is your name?", "name")).ToolResult(), nil
	})
	f.add("test_input_required_result_sampling", func(_ context.Context, req toolReq) (*toolRes, error) {
		if got := server.SamplingResponse(req.Params.InputResponses, "capital_question"); got != nil {
			return says("%v", got.Content)
		}
		return server.NewInputRequestBuilder("").Sample("capital_question", sampling("What is the capital of France?", 100)).ToolResult(), nil
	})
	f.add("test_input_required_result_list_roots", func(_ context.Context, req toolReq) (*toolRes, error) {
		if got := server.RootsResponse(req.Params.InputResponses, "client_roots"); got != nil {
			return says("%v", got.Roots)
		}
		return server.NewInputRequestBuilder("").Roots("client_roots").ToolResult(), nil
	})
	f.add("test_input_required_result_capabilities", func(ctx context.Context, _ toolReq) (*toolRes, error) {
		caps, ask := capabilities(ctx), server.NewInputRequestBuilder("")
		if caps.Elicitation != nil {
			ask.Elicit("user_name", form("What is your name?", "name"))
		}
		if caps.Sampling != nil {
			ask.Sample("greeting", sampling("Generate a greeting", 50))
		}
		return ask.ToolResult(), nil
	})
	stated := func(name string, next func(stage string, req toolReq, ask *server.InputRequestBuilder) (stageAfter, done string)) {
		f.add(name, func(ctx context.Context, req toolReq) (*toolRes, error) {
			stage, caller := "", callerFrom(ctx)
			if back := req.Params.RequestState; back != "" {
				var err error
				if stage, _, err = f.tickets.redeem(ctx, back, caller, name, nil); err != nil {
					return nil, err
				}
			}
			ask := server.NewInputRequestBuilder("")
			after, done := next(stage, req, ask)
			if done != "" {
				return says("%s", done)
			}
			state, err := f.tickets.issue(after, caller, name, nil)
			return ask.RequestState(state).ToolResult(), err
		})
	}
	confirm := func(stage string, _ toolReq, ask *server.InputRequestBuilder) (string, string) {
		ask.Elicit("confirm", form("Please confirm", "ok"))
		if stage == "asked" {
			return "", "state-ok"
		}
		return "asked", ""
	}
	stated("test_input_required_result_request_state", confirm)
	stated("test_input_required_result_tampered_state", confirm)
	stated("test_input_required_result_multiple_inputs", func(stage string, req toolReq, ask *server.InputRequestBuilder) (string, string) {
		name, named := accepted(req.Params.InputResponses, "user_name", "name")
		if stage == "asked" && named && server.SamplingResponse(req.Params.InputResponses, "greeting") != nil && server.RootsResponse(req.Params.InputResponses, "client_roots") != nil {
			return "", fmt.Sprintf("Hello, %v!", name)
		}
		ask.Elicit("user_name", form("What is your name?", "name")).Sample("greeting", sampling("Generate a greeting", 50)).Roots("client_roots")
		return "asked", ""
	})
	stated("test_input_required_result_multi_round", func(stage string, _ toolReq, ask *server.InputRequestBuilder) (string, string) {
		switch stage {
		case "":
			ask.Elicit("step1", form("Step 1: What is your name?", "name"))
			return "1", ""
		case "1":
			ask.Elicit("step2", form("Step 2: What is your favorite color?", "color"))
			return "2", ""
		}
		return "", "done"
	})
}

func (f fixture) resources() {
	add := func(uri string, contents protocol.ResourceContents) {
		f.core.AddResource(protocol.NewResource(uri, strings.TrimPrefix(uri, "test://"), protocol.WithResourceDescription("A fixture of the conformance suite")),
			func(context.Context, protocol.ReadResourceRequest) ([]protocol.ResourceContents, error) {
				return []protocol.ResourceContents{contents}, nil
			})
	}
	add("test://static-text", protocol.TextResourceContents{URI: "test://static-text", MIMEType: "text/plain", Text: "This is the content of the static text resource."})
	add("test://static-binary", protocol.BlobResourceContents{URI: "test://static-binary", MIMEType: "image/png", Blob: onePixel})
	add("test://watched-resource", protocol.TextResourceContents{URI: "test://watched-resource", MIMEType: "text/plain", Text: "Watch me."})
	f.core.AddResourceTemplate(protocol.NewResourceTemplate("test://template/{id}/data", "template", protocol.WithTemplateMIMEType("application/json")),
		func(_ context.Context, req protocol.ReadResourceRequest) ([]protocol.ResourceContents, error) {
			id := strings.TrimSuffix(strings.TrimPrefix(req.Params.URI, "test://template/"), "/data")
			body, err := json.Marshal(m{"id": id, "templateTest": true, "data": "Data for ID: " + id})
			return []protocol.ResourceContents{protocol.TextResourceContents{URI: req.Params.URI, MIMEType: "application/json", Text: string(body)}}, err
		})
}

func (f fixture) prompt(name string, run func(protocol.GetPromptRequest) []protocol.Content, args ...protocol.PromptOption) {
	p := protocol.NewPrompt(name, append([]protocol.PromptOption{protocol.WithPromptDescription("A fixture of the conformance suite")}, args...)...)
	f.core.AddPrompt(p, func(_ context.Context, req protocol.GetPromptRequest) (*protocol.GetPromptResult, error) {
		res := &protocol.GetPromptResult{}
		for _, content := range run(req) {
			res.Messages = append(res.Messages, protocol.PromptMessage{Role: protocol.RoleUser, Content: content})
		}
		return res, nil
	})
}

func (f fixture) prompts() {
	one := func(c ...protocol.Content) []protocol.Content { return c }
	f.prompt("test_simple_prompt", func(protocol.GetPromptRequest) []protocol.Content {
		return one(content("This is a simple prompt for testing."))
	})
	f.prompt("test_prompt_with_arguments", func(req protocol.GetPromptRequest) []protocol.Content {
		return one(content("Prompt with arguments: arg1='%s', arg2='%s'", req.Params.Arguments["arg1"], req.Params.Arguments["arg2"]))
	}, protocol.WithArgument("arg1", protocol.RequiredArgument()), protocol.WithArgument("arg2", protocol.RequiredArgument()))
	f.prompt("test_prompt_with_embedded_resource", func(req protocol.GetPromptRequest) []protocol.Content {
		return one(embedded(req.Params.Arguments["resourceUri"], "text/plain", "Embedded resource content for testing."), content("Please process the embedded resource above."))
	}, protocol.WithArgument("resourceUri", protocol.RequiredArgument()))
	f.prompt("test_prompt_with_image", func(protocol.GetPromptRequest) []protocol.Content {
		return one(protocol.NewImageContent(onePixel, "image/png"), content("Please analyze the image above."))
	})
	f.core.AddPrompt(protocol.NewPrompt("test_input_required_result_prompt", protocol.WithPromptDescription("Asks before it answers")),
		func(_ context.Context, req protocol.GetPromptRequest) (*protocol.GetPromptResult, error) {
			if what, ok := accepted(req.Params.InputResponses, "user_context", "context"); ok {
				return &protocol.GetPromptResult{Messages: []protocol.PromptMessage{{Role: protocol.RoleUser, Content: content("Use the context: %v", what)}}}, nil
			}
			return server.NewInputRequestBuilder("").Elicit("user_context", form("What context should the prompt use?", "context")).PromptResult(), nil
		})
}
