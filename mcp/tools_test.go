package mcp

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth"
)

var update = flag.Bool("update", false, "write testdata again")

func toolsList(t *testing.T, s *Server) []byte {
	t.Helper()
	text, err := json.Marshal(s.core.HandleMessage(t.Context(), json.RawMessage(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)))
	if err != nil {
		t.Fatal(err)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	return append(pretty.Bytes(), '\n')
}

// MC-027: what a model is told about the tools changes only where somebody reads the diff.
func TestToolsAreAsReviewed(t *testing.T) {
	s := New(&fake{}, Options{Version: "test"})
	got := toolsList(t, s)
	if again := toolsList(t, New(&fake{}, Options{Version: "test"})); !bytes.Equal(got, again) {
		t.Error("tools/list is not the same twice")
	}
	const golden = "testdata/tools.json"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("tools/list differs from %s; read the difference, then go test ./mcp -run TestToolsAreAsReviewed -update", golden)
	}
	for _, name := range []string{"revoke", "call_api"} {
		if tool := s.tools[name]; !tool.destroys || tool.reads {
			t.Errorf("%s must say that it changes things", name)
		}
	}
}

// Hosts take less than JSON Schema: for an array without items, Visual Studio Code leaves out the tool and OpenAI refuses all
// of them; others know neither references, nor lists of types, nor alternatives at the top, and bound names and descriptions.
func TestSchemasSuitEveryHost(t *testing.T) {
	var walk func(where string, node any)
	walk = func(where string, node any) {
		switch node := node.(type) {
		case []any:
			for i, one := range node {
				walk(fmt.Sprintf("%s/%d", where, i), one)
			}
		case map[string]any:
			if _, items := node["items"].(map[string]any); node["type"] == "array" && !items {
				t.Errorf("%s: an array without items", where)
			}
			if _, several := node["type"].([]any); several || node["$ref"] != nil {
				t.Errorf("%s: a reference or a list of types", where)
			}
			for key, one := range node {
				walk(where+"/"+key, one)
			}
		}
	}
	for _, tool := range catalogue() {
		for _, text := range []string{tool.input, outputSchema(tool.output)} {
			var schema map[string]any
			if err := json.Unmarshal([]byte(text), &schema); err != nil {
				t.Fatalf("%s: %v", tool.name, err)
			}
			if _, named := schema["properties"].(map[string]any); schema["type"] != "object" || !named || schema["anyOf"] != nil || schema["oneOf"] != nil || schema["allOf"] != nil {
				t.Errorf("%s: not a plain object at the top", tool.name)
			}
			walk(tool.name, schema)
		}
		if len(tool.name) > 40 || len(tool.description) > 1024 { // hosts put their name of the server in front, within 64
			t.Errorf("%s: the name or the description is too long", tool.name)
		}
	}
}

// Gemini CLI tells its model of an argument of its own, and sends it along. It is left aside, there and nowhere else.
func TestArgumentOfTheHost(t *testing.T) {
	broker := &fake{}
	h := plug(t, New(broker, Options{}))
	h.initialize("{}")
	for _, own := range []string{"true", "false", "null"} {
		got := h.call("call_api", `{"wait_for_previous":`+own+`,"provider":"practice","path":"/","method":"POST","body":{"wait_for_previous":1,"a":"<b>"}}`)
		if got["type"] != "response" {
			t.Errorf("%s: %v", own, got)
		}
		if sent := string(broker.calls[len(broker.calls)-1].Body); sent != `{"wait_for_previous":1,"a":"<b>"}` {
			t.Errorf("%s: sent %s", own, sent)
		}
	}
	for _, args := range []string{
		`{"provider":"practice","path":"/","query":{"wait_for_previous":{}}}`, `{"provider":"practice","path":"/","parts":[{"name":"x","wait_for_previous":true}]}`,
		`{"provider":"practice","path":"/","Wait_for_previous":true}`, `{"provider":"practice","path":"/","wait_for_previous":true,"user":"bob"}`,
	} {
		if got := h.call("call_api", args); got["code"] != "invalid_request" {
			t.Errorf("%s: %v", args, got)
		}
	}
}

// ID-013: no tool has an argument for a secret, a code or a redirect; beside good arguments an unknown one is refused by
// name, within an argument too, and nothing happens.
func TestNoArgumentCarriesASecret(t *testing.T) {
	secretive := regexp.MustCompile(`(?i)code|redirect|cookie|passw|secret|token|api_?key|credential|state|verifier|host`)
	broker := &fake{}
	h := plug(t, New(broker, Options{}))
	h.initialize("{}")
	for _, tool := range catalogue() {
		var schema struct {
			Additional any                        `json:"additionalProperties"`
			Properties map[string]json.RawMessage `json:"properties"`
		}
		if err := json.Unmarshal([]byte(tool.input), &schema); err != nil {
			t.Fatalf("%s: %v", tool.name, err)
		}
		if schema.Additional != false {
			t.Errorf("%s takes unknown arguments", tool.name)
		}
		for name := range schema.Properties {
			if secretive.MatchString(name) {
				t.Errorf("%s has an argument %s", tool.name, name)
			}
		}
		for _, nested := range regexp.MustCompile(`"type":"object"[^{}]*"properties"`).FindAllString(tool.input, -1) {
			if !strings.Contains(nested, `"additionalProperties":false`) {
				t.Errorf("%s takes unknown members within an argument: %s", tool.name, nested)
			}
		}
		good, special := map[string]string{
			"call_api": `{"provider":"practice","path":"/","method":"POST","parts":[{"name":"x"$}]}`, "wait_for_auth": `{"request_id":"R"}`, "auth_status": `{"request_id":"R"}`, "list_providers": `{"query":"x"}`,
		}[tool.name]
		if !special {
			good = `{"provider":"practice"}`
		}
		for _, name := range []string{"code", "redirect_url", "redirect_uri", "state", "code_verifier", "cookie", "cookies", "password", "api_key", "token", "access_token", "client_secret", "credential", "hosts", "user", "tenant", "owner", "grant", "_meta"} {
			member := `,"` + name + `":"CANARY"`
			smuggled := []string{strings.TrimSuffix(strings.Replace(good, "$", "", 1), "}") + member + "}"}
			if strings.Contains(good, "$") {
				smuggled = append(smuggled, strings.Replace(good, "$", member, 1))
			}
			for _, args := range smuggled {
				got := h.call(tool.name, args)
				if message := fmt.Sprint(got["message"]); got["code"] != "invalid_request" || !strings.Contains(message, name) || strings.Contains(message, "CANARY") {
					t.Errorf("%s with %s: %v", tool.name, args, got)
				}
			}
		}
	}
	if len(broker.callers) > 0 {
		t.Errorf("%d calls went through", len(broker.callers))
	}
}

// JSON Schema knows no difference between 5, 5.0 and 5e0: what is an integer is taken, however it is
// written, and the rest is refused with what it must be.
func TestIntegersInAnySpelling(t *testing.T) {
	broker := &fake{}
	h := plug(t, New(broker, Options{}))
	h.initialize("{}")
	for text, want := range map[string]int{"5": 5, "5.0": 5, "5.000": 5, "5e0": 5, "0.5E1": 5, "50e-1": 5, "1e2": 100, "1E+1": 10, "null": 20} {
		broker.limit = 0
		if answer := h.call("list_providers", `{"limit":`+text+`}`); broker.limit != want {
			t.Errorf("%s is taken as %d: %v", text, broker.limit, answer)
		}
	}
	for text, says := range map[string]string{
		"5.5": "a whole number", "1e-1": "a whole number", "1e-99999999999999999999": "a whole number", `"5"`: "a whole number", "true": "a whole number",
		"1e9": "1 to 100", "1e300": "1 to 100", "99999999999999999999": "1 to 100", "-1.0": "1 to 100", "-0.0": "1 to 100", "0e99999999999999999999": "1 to 100",
	} {
		answer := h.call("list_providers", `{"limit":`+text+`}`)
		if message, _ := answer["message"].(string); answer["code"] != "invalid_request" || !strings.HasPrefix(message, "argument limit: must be "+says) {
			t.Errorf("%s: %v", text, answer)
		}
	}
	for _, text := range []string{"1e999999999", "1e99999999999999999999"} { // mcp-go has no room for them
		if n := whole(0); n.UnmarshalJSON([]byte(text)) != nil || n != math.MaxInt {
			t.Errorf("%s is %d", text, n)
		}
	}
}

func TestGetCredentialSaysWhatItNeeds(t *testing.T) {
	var got auth.Need
	h := plug(t, New(&fake{get: func(n auth.Need) (*auth.Handle, error) { got = n; return &auth.Handle{}, nil }}, Options{}))
	h.initialize("{}")
	h.call("get_credential", `{"provider":"p","account":"ada","scopes":["s"],"raw":true,"form":"cookie_header","url":"https://p.example/"}`)
	if want := (auth.Need{Provider: "p", Account: "ada", Scopes: []string{"s"}, Raw: true, Form: "cookie_header", URL: "https://p.example/"}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	for _, args := range []string{`"form":"cookie_header"`, `"url":"https://p.example/"`, `"form":"cookies_txt","url":"https://p.example/"`} {
		if got := h.call("get_credential", `{"provider":"p",`+args+`}`); got["code"] != "invalid_request" {
			t.Errorf("%s: %v", args, got)
		}
	}
}

// Schemas and answers must agree, or strict clients refuse the answers.
func TestAnswersFitTheirSchemas(t *testing.T) {
	for name, answers := range map[string][]any{
		"list_providers":   {providersAnswer{}},
		"request_auth":     {connected{}, authStatus{}, authRequired{}, approvalRequired{}, failure{}},
		"wait_for_auth":    {authStatus{}},
		"get_credential":   {credentialAnswer{}},
		"call_api":         {response{}},
		"list_connections": {connectionsAnswer{}},
		"revoke":           {revoked{}},
	} {
		var schema struct {
			Properties map[string]json.RawMessage `json:"properties"`
		}
		if err := json.Unmarshal([]byte(outputSchema(New(&fake{}, Options{}).tools[name].output)), &schema); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, answer := range answers {
			for _, f := range reflect.VisibleFields(reflect.TypeOf(answer)) {
				field, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				if _, ok := schema.Properties[field]; !ok && !(name == "request_auth" && (field == "status" || field == "cause")) {
					t.Errorf("%s: the schema lacks %s of %T", name, field, answer)
				}
			}
		}
	}
}

func TestErrorsBecomeResults(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want map[string]any
	}{
		{auth.ErrAmbiguous.Say("several accounts match: ada, bob; name one"), map[string]any{"type": "error", "code": "ambiguous_account", "message": "several accounts match: ada, bob; name one"}},
		{auth.ErrLimit.After(7), map[string]any{"type": "error", "code": "limit_reached", "retry_after_ms": 7000.0}},
		{auth.ErrRefused.Because(os.ErrPermission), map[string]any{"type": "error", "message": "the provider refused"}},
		{link("practice"), map[string]any{"type": "auth_required", "request_id": "REQpractice", "provider_id": "practice", "auth_method": "oauth_code",
			"reason": "not_connected", "url": "http://127.0.0.1:7823/c/REQpractice", "match_code": "BLUE-42", "expires_at": "2026-11-23T12:00:00Z", "poll_after_ms": 2000.0}},
		{&auth.ApprovalRequired{RequestID: "A", Account: "ada", Reason: "no_grant"}, map[string]any{"type": "approval_required", "request_id": "A", "account": "ada", "reason": "no_grant"}},
	} {
		res := New(&fake{}, Options{}).failed(t.Context(), "call_api", tt.err)
		var got map[string]any
		if err := json.Unmarshal(res.StructuredContent.(json.RawMessage), &got); err != nil {
			t.Fatal(err)
		}
		for field, want := range tt.want {
			if got[field] != want {
				t.Errorf("%v: %s is %v, want %v", tt.err, field, got[field], want)
			}
		}
		if res.IsError != (got["type"] == "error") {
			t.Errorf("%v: isError %v", tt.err, res.IsError)
		}
	}
	res := New(&fake{}, Options{}).failed(t.Context(), "call_api", os.ErrPermission)
	if text := string(res.StructuredContent.(json.RawMessage)); strings.Contains(text, "permission") || !strings.Contains(text, "internal error ") {
		t.Errorf("an internal error went out as %s", text)
	}
}
