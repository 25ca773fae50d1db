package mcp

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"

	protocol "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// mcp-go v1.2.1 answers whatever a handler fails with as an internal error, and over HTTP with 200. So a fault of the client
// is given to it behind a word that nobody else has, with its code, and where the answer is written the code is put into its
// place.
var faultWord = []byte(rand.Text())

// fault is an error that the client has made.
type fault struct {
	code int
	text string
}

func (f *fault) Error() string { return f.text }

type codesKey struct{}

// d20 is for calls whose answers pass recoded.
func d20(ctx context.Context) context.Context { return context.WithValue(ctx, codesKey{}, true) }

// d20Error is err as mcp-go has to have it.
func d20Error(ctx context.Context, err error) error {
	if f, is := errors.AsType[*fault](err); is && ctx.Value(codesKey{}) != nil {
		return fmt.Errorf("%s%d %s", faultWord, f.code, f.text)
	}
	return err
}

func d20Tool(run server.ToolHandlerFunc) server.ToolHandlerFunc {
	return func(ctx context.Context, req protocol.CallToolRequest) (*protocol.CallToolResult, error) {
		res, err := run(ctx, req)
		return res, d20Error(ctx, err)
	}
}

// recoded is a message of mcp-go with the code of its fault, and whether it has one.
func recoded(message []byte) (_ []byte, is bool) {
	before, after, is := bytes.Cut(message, faultWord)
	code, after, spaced := bytes.Cut(after, []byte(" "))
	const internal = `"code":-32603`
	at := bytes.LastIndex(before, []byte(internal))
	if !is || !spaced || at < 0 {
		return message, false
	}
	return bytes.Join([][]byte{before[:at], []byte(`"code":`), code, before[at+len(internal):], after}, nil), true
}

// recoder is what mcp-go writes to over HTTP. A status of 200 it holds until it is known what the answer is.
type recoder struct {
	above
	modern bool // an error is not 200 there
	held   bool
}

// d20Writer lets the codes of the answer to r be put right.
func d20Writer(w http.ResponseWriter, r *http.Request, modern bool) (http.ResponseWriter, *http.Request) {
	return &recoder{above: above{w}, modern: modern}, r.WithContext(d20(r.Context()))
}

func (w *recoder) WriteHeader(status int) {
	if w.held = status == http.StatusOK; !w.held {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *recoder) release(status int) {
	if w.held {
		w.held = false
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write takes one whole message from mcp-go.
func (w *recoder) Write(message []byte) (int, error) {
	out, is := recoded(message)
	if is && w.modern && strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		w.release(http.StatusBadRequest)
	}
	w.release(http.StatusOK)
	if n, err := w.ResponseWriter.Write(out); err != nil {
		return min(n, len(message)), err
	}
	return len(message), nil
}

func (w *recoder) Flush() {
	w.release(http.StatusOK)
	w.above.Flush()
}
