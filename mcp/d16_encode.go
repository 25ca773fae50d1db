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
// mcp-go is given a word in the place of each large piece, and the piece takes the word's place when it is written.
type joined struct {
	http.ResponseWriter
	pieces atomic.Pointer[[]piece]
}

// piece is JSON that stands where mcp-go has written a word.
type piece struct{ word, json []byte }

type joinedKey struct{}

// d16 lets the answer to r be joined from pieces.
func d16(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
	out := &joined{ResponseWriter: w}
	return out, r.WithContext(context.WithValue(r.Context(), joinedKey{}, out))
}

// d16Tool is a tool whose answers are, where d16 is in front.
func d16Tool(run server.ToolHandlerFunc) server.ToolHandlerFunc {
	return func(ctx context.Context, req protocol.CallToolRequest) (*protocol.CallToolResult, error) {
		res, err := run(ctx, req)
		if out, ok := ctx.Value(joinedKey{}).(*joined); ok && err == nil {
			res = out.take(res)
		}
		return res, err
	}
}

// take keeps what result has made, and gives what mcp-go has to write for it.
func (w *joined) take(res *protocol.CallToolResult) *protocol.CallToolResult {
	line, _ := res.StructuredContent.(json.RawMessage)
	if len(line) == 0 || len(res.Content) == 0 {
		return res
	}
	text, ok := res.Content[0].(protocol.TextContent)
	if !ok || text.Text != string(line) {
		return res
	}
	id := rand.Text() // which nothing in the answer can hold
	w.pieces.Store(&[]piece{{quoted(id + "t"), quoted(text.Text)}, {quoted(id + "s"), line}})
	short := *res
	text.Text = id + "t"
	short.Content = slices.Clone(res.Content)
	short.Content[0] = text
	short.StructuredContent = json.RawMessage(quoted(id + "s"))
	return &short
}

// quoted is s as a JSON string, without the escapes for HTML.
func quoted(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Write puts the pieces in their place. mcp-go gives every message to one Write.
func (w *joined) Write(b []byte) (int, error) {
	out := b
	if pieces := w.pieces.Load(); pieces != nil {
		for _, p := range *pieces {
			out = bytes.Replace(out, p.word, p.json, 1)
		}
	}
	if n, err := w.ResponseWriter.Write(out); err != nil {
		return min(n, len(b)), err
	}
	return len(b), nil
}

// Flush is here because mcp-go looks for http.Flusher.
func (w *joined) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

func (w *joined) Unwrap() http.ResponseWriter { return w.ResponseWriter }
