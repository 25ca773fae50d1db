package mcp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	protocol "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/latchpost/latchpost/auth"
)

// Handler is a tool of a program that uses Latchpost as a library. api speaks to the provider that the tool
// needs, as the user who asks: Latchpost sends what it is given, adds the credential, and
// refuses other hosts. It follows no redirects, and hands back at most what call_api would: the body of a longer answer
// ends with io.ErrUnexpectedEOF.
type Handler func(ctx context.Context, req protocol.CallToolRequest, api *http.Client) (*protocol.CallToolResult, error)

// Authenticated wraps a tool so that it runs with a connection that meets need. Without one
// the tool answers auth_required (or asks the user by elicitation), like Latchpost's own, and the
// same when the provider wants more scopes half way. Other errors of run are logged, and answered as
// internal error with an id; an *auth.Error is answered as it is.
//
// Add it to your own server with AddTools. Without WithCaller the call is made for
// auth.Local.
func Authenticated(s *Server, t protocol.Tool, need auth.Need, run Handler) server.ServerTool {
	wrapped := tool{name: t.Name, scope: ScopeUse}
	wrapped.run = func(s *Server, ctx context.Context, c call) (any, error) {
		handle, err := s.broker.Get(ctx, c.Caller, need)
		if err != nil {
			return nil, err
		}
		api := &http.Client{
			Transport:     brokered{s.broker, c.Caller, handle.Provider, handle.Account},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		return run(ctx, c.request, api)
	}
	return server.ServerTool{Tool: t, Handler: s.run(wrapped)}
}

// brokered is an http.RoundTripper over Broker.Call, for one connection.
type brokered struct {
	broker            Broker
	caller            auth.Caller
	provider, account string
}

// RoundTrip sends req. It gives *auth.AuthRequired and the other errors of the broker.
func (b brokered) RoundTrip(req *http.Request) (*http.Response, error) {
	ask := auth.Call{Provider: b.provider, Account: b.account, Method: req.Method, URL: req.URL.String(), Headers: map[string]string{}}
	for name, values := range req.Header {
		ask.Headers[name] = strings.Join(values, ", ")
	}
	if req.Body != nil {
		defer req.Body.Close()
		body, err := io.ReadAll(io.LimitReader(req.Body, maxMessage+1))
		if err != nil {
			return nil, err
		}
		if len(body) > maxMessage {
			return nil, auth.ErrInvalid.Say("the body is larger than %d bytes", maxMessage)
		}
		ask.Body = body
	}
	got, err := b.broker.Call(req.Context(), b.caller, ask)
	if err != nil {
		return nil, err
	}
	body, length := io.Reader(bytes.NewReader(got.Body)), int64(len(got.Body))
	if got.Truncated { // or who reads it would take a piece for the whole
		body, length = io.MultiReader(body, brokenOff{}), -1
	}
	res := &http.Response{
		Status: fmt.Sprintf("%d %s", got.Status, http.StatusText(got.Status)), StatusCode: got.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Request: req,
		Body: io.NopCloser(body), ContentLength: length,
	}
	for name, value := range got.Headers {
		res.Header.Set(name, value)
	}
	if got.ContentType != "" {
		res.Header.Set("Content-Type", got.ContentType)
	}
	return res, nil
}

// brokenOff is the end of a body that was cut.
type brokenOff struct{}

func (brokenOff) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
