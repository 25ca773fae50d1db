package web

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/latchpost/latchpost/auth"
)

// Errors that are born on the pages.
var (
	errForged = auth.ErrDenied.Say("this form was not sent from our own page, or not by you; open the page again and use its button")
	errStale  = auth.ErrExpired.Say("this page was open for too long; load it again")
	errFramed = auth.ErrDenied.Say("this page does not open inside another page; open its address in a tab of its own")
	errForm   = auth.ErrInvalid.Say("the form could not be read; open the page again and fill it in once more")
	errLarge  = &auth.Error{Code: "too_large", Message: "this is more than a form may hold; send less"}
	errBad    = auth.ErrInvalid.Say("nobody here is waiting for this answer, or it was used already; ask the agent for a new link")
	errLost   = auth.ErrNotFound.Say("there is no page here; look at /connections, or ask the agent for a new link")
	errWho    = &auth.Error{Code: "unauthenticated", Message: "nobody is signed in to this browser"}
)

// trouble is an error as the outside may see it.
type trouble struct {
	Status  int    `json:"-"`
	Code    string `json:"code"`
	Title   string `json:"-"`
	Message string `json:"message"` // a sentence that ends with what to do next
}

// tell is the one place where errors are translated for people and programs. What is
// not an *auth.Error stays in the log, under an id that the outside gets to see.
func (s *Site) tell(r *http.Request, err error) trouble {
	var known *auth.Error
	if !errors.As(err, &known) {
		id, level := rand.Text()[:8], slog.LevelError
		if r.Context().Err() != nil { // somebody has just left
			level = slog.LevelDebug
		}
		s.Log.Log(r.Context(), level, "page failed", "id", id, "method", r.Method, "route", r.Pattern, "error", err)
		return trouble{http.StatusInternalServerError, "internal", "Something went wrong",
			"Internal error " + id + "; the server's log says more under this number. Try again."}
	}
	if cause := known.Unwrap(); cause != nil {
		s.Log.Warn("page refused", "code", known.Code, "method", r.Method, "route", r.Pattern, "error", cause)
	}
	t := trouble{http.StatusBadRequest, known.Code, "This did not work", sentence(known.Message)}
	switch known.Code {
	case errWho.Code:
		t.Status, t.Title = http.StatusUnauthorized, "Please sign in"
	case errLarge.Code:
		t.Status = http.StatusRequestEntityTooLarge
	case auth.ErrNotFound.Code:
		t.Status, t.Title = http.StatusNotFound, "Nothing here"
	case auth.ErrNotYours.Code:
		t.Status, t.Title = http.StatusForbidden, "This link is not for this browser"
	case auth.ErrDenied.Code:
		t.Status, t.Title = http.StatusForbidden, "Refused"
	case auth.ErrExpired.Code:
		t.Status, t.Title = http.StatusGone, "This link has expired"
	case auth.ErrUsed.Code, auth.ErrDeclined.Code:
		t.Status, t.Title = http.StatusGone, "This link has done its work"
	case auth.ErrConflict.Code:
		t.Status, t.Title = http.StatusConflict, "Somebody was faster"
	case auth.ErrLimit.Code:
		t.Status, t.Title = http.StatusTooManyRequests, "Too many at once"
	case auth.ErrUnavailable.Code, auth.ErrRefused.Code:
		t.Status, t.Title = http.StatusBadGateway, "The provider did not go along"
	case auth.ErrConfig.Code, auth.ErrNoApp.Code:
		t.Status, t.Title = http.StatusConflict, "The settings need a look"
	case auth.ErrAudit.Code, auth.ErrTampered.Code:
		t.Status, t.Title = http.StatusServiceUnavailable, "Nothing was changed"
	}
	return t
}

// fail shows an error. A person who is not signed in learns how to get in.
func (s *Site) fail(w http.ResponseWriter, r *http.Request, err error) {
	t := s.tell(r, err)
	if known := new(auth.Error); errors.As(err, &known) && known.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(known.RetryAfterSeconds))
	}
	_, in := s.owner(r)
	stranger := t.Status == http.StatusUnauthorized || errors.Is(err, auth.ErrNotYours) && s.vault.Identified && !in
	page := struct {
		trouble
		Login string // where to sign in, when that would help
		Open  bool   // local mode: say how to get in
	}{trouble: t, Open: stranger && s.Local}
	if stranger && !s.Local && s.LoginURL != "" {
		page.Login = s.LoginURL + "?next=" + url.QueryEscape(r.URL.Path)
		page.Title = "Please sign in"
		if t.Code == auth.ErrNotYours.Code {
			page.Message = "This link was made for one person. Sign in, and it opens if that is you."
		}
	}
	if err := s.show(w, r, t.Status, "error", page.Title, page); err != nil {
		s.Log.Error("error page failed", "error", err)
		http.Error(w, t.Message, t.Status)
	}
}

// sentence gives a message its capital and its full stop.
func sentence(s string) string {
	if s == "" {
		return s
	}
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.ContainsAny(s[len(s)-1:], ".!?") {
		s += "."
	}
	return s
}

func (s *Site) lost(http.ResponseWriter, *http.Request) error { return errLost }
