package web

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/latchpost/latchpost/auth"
)

// Bounds of what a provider may send back, checked before anything is looked up.
const (
	maxCallback      = 16 << 10 // bytes of the whole query
	maxCallbackNames = 50
)

// callback takes the answer of a provider and goes on to a clean address, so that
// neither code nor state stays in the history. It never repeats what it was sent.
func (s *Site) callback(w http.ResponseWriter, r *http.Request) error {
	if len(r.URL.RawQuery) > maxCallback || strings.Count(r.URL.RawQuery, "&") >= maxCallbackNames {
		return errBad
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return errBad
	}
	for _, values := range q {
		if len(values) > 1 {
			return errBad
		}
	}
	provider := r.PathValue("provider")
	if base := s.vault.BaseURL(); strayed(r.Host, base) {
		return see(w, r, base+"/callback/"+url.PathEscape(provider)+"?"+q.Encode())
	}
	state := q.Get("state")
	if state == "" || len(state) > auth.MaxState {
		return errBad
	}
	id, err := s.flowOf(r, state)
	if err != nil {
		return err
	}
	id, err = s.visit(r, s.flowCookie(r, id)).Callback(r.Context(), provider, q)
	if id == "" {
		return err
	}
	if err != nil {
		s.tell(r, err) // for the log; the page reads from the request how it ended
	}
	return see(w, r, "/done/"+id)
}

// strayed reports an answer that came to http://localhost, which some providers insist
// on, while the pages and the flow cookie are at http://127.0.0.1.
func strayed(host, base string) bool {
	port, ok := strings.CutPrefix(base, "http://127.0.0.1:")
	return ok && host == "localhost:"+port
}

// flowOf finds the request that a state belongs to, because each has a cookie of its
// own. "" for a state that nobody knows; Visit.Callback says what that means.
func (s *Site) flowOf(r *http.Request, state string) (string, error) {
	sum := sha256.Sum256([]byte(state))
	q, err := s.vault.Requests.RequestByState(r.Context(), sum[:])
	if errors.Is(err, auth.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return q.ID, nil
}
