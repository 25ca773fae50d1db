package guard

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"
)

const defaultMaxBody = 1 << 20

// hurry gives the client BodyTimeout for its body, also when the request is refused: net/http reads on for a while before it answers
// or closes, and would wait for ever. body takes the limit away when all is there.
func (g *guard) hurry(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(g.opt.BodyTimeout)) // a writer in memory cannot
	}
}

// body reads the body before the handler runs, so that one that is too long, too slow, cut off or badly framed executes
// nothing. A length that is announced over the bound is refused unread.
func (g *guard) body(w http.ResponseWriter, r *http.Request, class Class) *refusal {
	if r.ContentLength == 0 {
		return nil
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return &refusal{http.StatusBadRequest, "unexpected_body", "This method takes no body. Send it without one."}
	}
	limit := class.MaxBody
	if limit == 0 {
		limit = defaultMaxBody
	}
	if r.ContentLength > limit {
		return hangUp(w, tooLarge)
	}
	var b bytes.Buffer
	_, err := b.ReadFrom(http.MaxBytesReader(w, r.Body, limit))
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return hangUp(w, tooLarge)
	}
	if no, crowd := errors.AsType[*refusal](err); crowd {
		w.Header().Set("Retry-After", "1")
		return hangUp(w, no)
	}
	if err != nil {
		return hangUp(w, &refusal{http.StatusBadRequest, "broken_body", "The body did not arrive whole. Send the request again."})
	}
	http.NewResponseController(w).SetReadDeadline(time.Time{})
	r.Body, r.ContentLength = io.NopCloser(&b), int64(b.Len())
	return nil
}

var tooLarge = &refusal{http.StatusRequestEntityTooLarge, "too_large", "The body is too large. Send less."}

// hangUp refuses and lets the server close the connection instead of reading on.
func hangUp(w http.ResponseWriter, no *refusal) *refusal {
	w.Header().Set("Connection", "close")
	return no
}

// closeAmbiguous ends the connection after a request with a Transfer-Encoding. With a Content-Length beside it, which
// net/http drops silently, two parties can disagree where the next request begins (RFC 9112 section 6.3). In HTTP/1.0 it
// drops the Transfer-Encoding instead, and does not tell.
func closeAmbiguous(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && (r.ProtoMinor == 0 || len(r.TransferEncoding) > 0) {
		w.Header().Set("Connection", "close")
	}
}
