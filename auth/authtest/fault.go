package authtest

import (
	"bytes"
	"maps"
	"net/http"
	"strconv"
)

// Fault answers one request in the place of the honest handler, next. It may call
// next first, which then commits what it does (spends the code, rotates the
// token), and change, withhold or drop the answer. A function of a test's own is a
// Fault too.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// Pass is no fault: the request is answered honestly. It fills a place in a queue.
func Pass(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) }

// CutBefore drops the connection without doing anything: the request is lost.
func CutBefore(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }

// CutAfter does everything the request asks for and drops the connection: the
// answer is lost.
func CutAfter(_ http.ResponseWriter, r *http.Request, next http.Handler) {
	record(r, next)
	panic(http.ErrAbortHandler)
}

// CutWithin does everything and drops the connection in the middle of the answer.
func CutWithin(w http.ResponseWriter, r *http.Request, next http.Handler) {
	answer := record(r, next)
	answer.sendHeader(w)
	_, _ = w.Write(answer.body.Bytes()[:answer.body.Len()/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// CutShort does everything and answers with the first half, as if that were the whole.
func CutShort(w http.ResponseWriter, r *http.Request, next http.Handler) {
	answer := record(r, next)
	answer.body.Truncate(answer.body.Len() / 2)
	answer.send(w)
}

// Point is a moment in the life of an answer.
type Point int

const (
	Received  Point = iota // the request is there, nothing was done
	Committed              // everything was done, nothing was sent
	Headers                // status line and headers are with the client, the body is not
	Body                   // the whole answer is with the client
)

// Pause stops one request at a point, until Release, or until the client has
// gone or the server is closed.
type Pause struct {
	// Reached is closed when a request has come to the point.
	Reached <-chan struct{}

	// Release is closed by the test.
	Release chan struct{}
}

// PauseAt makes the fault that stops at the point. It is good for one request.
func PauseAt(point Point) (Fault, Pause) {
	reached := make(chan struct{})
	pause := Pause{Reached: reached, Release: make(chan struct{})}
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		stop := func(here Point) {
			if here != point {
				return
			}
			close(reached)
			select {
			case <-pause.Release:
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		}
		stop(Received)
		answer := record(r, next)
		stop(Committed)
		answer.sendHeader(w)
		_ = http.NewResponseController(w).Flush()
		stop(Headers)
		_, _ = w.Write(answer.body.Bytes())
		_ = http.NewResponseController(w).Flush()
		stop(Body)
	}, pause
}

// recorded is an answer that was not sent yet.
type recorded struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func record(r *http.Request, next http.Handler) *recorded {
	answer := &recorded{status: http.StatusOK, header: make(http.Header)}
	next.ServeHTTP(answer, r)
	return answer
}

func (a *recorded) Header() http.Header         { return a.header }
func (a *recorded) WriteHeader(status int)      { a.status = status }
func (a *recorded) Write(p []byte) (int, error) { return a.body.Write(p) }

func (a *recorded) sendHeader(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.header)
	w.Header().Set("Content-Length", strconv.Itoa(a.body.Len()))
	w.WriteHeader(a.status)
}

func (a *recorded) send(w http.ResponseWriter) {
	a.sendHeader(w)
	_, _ = w.Write(a.body.Bytes())
}
