package guard

import (
	"crypto/rand"
	"net/http"
	"runtime"
	"strconv"
	"strings"
)

// recover turns a panic into "internal error <id>". The value of the panic may hold anything, so it is written
// nowhere; the log gets the id, the type of the value and where it happened.
func (g *guard) recover(w *answer, r *http.Request, class Class) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	id := rand.Text()[:10]
	g.opt.Logger.Error("panic in a handler", "id", id, "type", typeName(v), "stack", stack())
	if w.begun {
		panic(http.ErrAbortHandler) // too late for a status; the client sees a broken answer, not half of one
	}
	clear(w.Header())
	closeAmbiguous(w, r)
	no := refusal{http.StatusInternalServerError, "internal_error", "internal error " + id}
	no.write(w, class)
}

func typeName(v any) string {
	if _, ok := v.(runtime.Error); ok {
		return "runtime error"
	}
	if _, ok := v.(error); ok {
		return "error"
	}
	return "value"
}

// stack lists functions and lines, without the arguments that debug.Stack prints.
func stack() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs)])
	var b strings.Builder
	for {
		f, more := frames.Next()
		b.WriteString(f.Function + " " + f.File + ":" + strconv.Itoa(f.Line) + "\n")
		if !more {
			return b.String()
		}
	}
}
