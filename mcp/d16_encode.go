package mcp

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"sync/atomic"

	protocol "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// mcp-go v1.2.1 writes an answer by marshalers inside one another, and encoding/json goes over what each of them gives
// byte by byte: with an answer of 1 MiB that takes ten times as long as to read and to clean it. So over HTTP
// mcp-go is given a word in the place of an answer, and the answer takes the word's place when it is written.
type spoken struct {
	above
	answer atomic.Pointer[answer]
}

// answer is what result has made, and the word in its place.
type answer struct{ word, json []byte }

type spokenKey struct{}

// d16 lets the answer to r be written by us.
func d16(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
	out := &spoken{above: above{w}}
	return out, r.WithContext(context.WithValue(r.Context(), spokenKey{}, out))
}

// d16Tool is a tool whose answers are, where d16 is in front.
func d16Tool(run server.ToolHandlerFunc) server.ToolHandlerFunc {
	return func(ctx context.Context, req protocol.CallToolRequest) (*protocol.CallToolResult, error) {
		res, err := run(ctx, req)
		if out, ok := ctx.Value(spokenKey{}).(*spoken); ok && err == nil {
			res = out.take(res)
		}
		return res, err
	}
}

// take keeps the answer that result has put into res twice, and gives what mcp-go has to write for it.
func (w *spoken) take(res *protocol.CallToolResult) *protocol.CallToolResult {
	line, _ := res.StructuredContent.(json.RawMessage)
	if len(line) == 0 || len(res.Content) == 0 {
		return res
	}
	text, ok := res.Content[0].(protocol.TextContent)
	if !ok || text.Text != string(line) {
		return res
	}
	text.Text = rand.Text() // which nothing in the answer can hold
	word := []byte(`"` + text.Text + `"`)
	w.answer.Store(&answer{word, line})
	short := *res
	short.Content = slices.Clone(res.Content)
	short.Content[0] = text
	short.StructuredContent = json.RawMessage(word)
	return &short
}

// Write puts the answer in its places. mcp-go gives every message to one Write.
func (w *spoken) Write(b []byte) (int, error) {
	out := b
	if a := w.answer.Load(); a != nil {
		out = a.in(b)
	}
	if n, err := w.ResponseWriter.Write(out); err != nil {
		return min(n, len(b)), err
	}
	return len(b), nil
}

// in is message with the answer in the place of its word: as it is where it is the structure, as a string elsewhere.
func (a *answer) in(message []byte) []byte {
	out := make([]byte, 0, len(message)+2*len(a.json)+len(a.json)/4)
	for {
		before, rest, found := bytes.Cut(message, a.word)
		out = append(out, before...)
		switch {
		case !found:
			return out
		case bytes.HasSuffix(before, []byte(`"structuredContent":`)):
			out = append(out, a.json...)
		default:
			out = appendString(out, a.json)
		}
		message = rest
	}
}

// appendString appends JSON as a JSON string. It is on one line and of whole runes, as encoding/json writes it.
func appendString(out, json []byte) []byte {
	out = append(out, '"')
	for _, c := range json {
		if c == '"' || c == '\\' {
			out = append(out, '\\')
		}
		out = append(out, c)
	}
	return append(out, '"')
}
