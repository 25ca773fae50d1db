package identity

import (
	"bytes"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/guard"
)

//go:embed pages/*.html
var pageFiles embed.FS

var pages = sync.OnceValue(func() *template.Template { return template.Must(template.ParseFS(pageFiles, "pages/*.html")) })

// policy is that of the other pages: no script, and forms go nowhere but here.
const policy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// maxForm bounds a posted form, in bytes.
const maxForm = 8 << 10

var errNoIssuer = auth.ErrConfig.Say("this server has no issuer to sign in at; run latchpost owner-link on it, and open the link that it prints")

// showLogin changes nothing and asks nobody.
func (i *Identity) showLogin(w http.ResponseWriter, r *http.Request) error {
	data := map[string]any{"Title": "Sign in to Latchpost", "Next": landing(r.URL.Query().Get("next"))}
	if owner, ok := i.Owner(r); ok {
		data["Title"], data["Owner"] = "You are signed in", owner.String()
	}
	if i.signsIn() {
		data["Host"] = i.Issuer.host()
	}
	return i.show(w, http.StatusOK, "login", data)
}

// login takes both forms of the page: the button that leads to the issuer, and a code.
func (i *Identity) login(w http.ResponseWriter, r *http.Request) error {
	if code := r.PostFormValue("code"); code != "" {
		return i.takeLink(w, r, code)
	}
	if !i.signsIn() {
		return errNoIssuer
	}
	return i.leave(w, r)
}

// page makes a handler of h: a form is bounded, and an error becomes a page.
func (i *Identity) page(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if guard.LooksAhead(r) { // a look at a link, not a person
			w.WriteHeader(http.StatusNoContent)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			i.fail(w, r, auth.ErrInvalid.Say("the form could not be read; open the page again").Because(err))
			return
		}
		if err := h(w, r); err != nil {
			i.fail(w, r, err)
		}
	})
}

// fail shows an error. What is not meant for people stays in the log, loud where somebody
// has to look at it; what strangers send is none of that.
func (i *Identity) fail(w http.ResponseWriter, r *http.Request, err error) {
	level := slog.LevelWarn
	if known, ok := errors.AsType[*auth.Error](err); ok && known.Unwrap() == nil {
		level = slog.LevelDebug
	}
	i.log().Log(r.Context(), level, "sign-in failed", "route", r.Pattern, "error", err)
	status, message := http.StatusInternalServerError, "Something went wrong here; try again, and if that goes on, look at the server's log."
	if known, ok := errors.AsType[*auth.Error](err); ok {
		message = strings.ToUpper(known.Message[:1]) + known.Message[1:] + "."
		switch known.Code {
		case auth.ErrUsed.Code, auth.ErrExpired.Code:
			status = http.StatusGone
		case auth.ErrDeclined.Code, auth.ErrRefused.Code:
			status = http.StatusForbidden
		case auth.ErrUnavailable.Code, auth.ErrAudit.Code:
			status = http.StatusServiceUnavailable
		case auth.ErrConfig.Code:
			status = http.StatusConflict
		default:
			status = http.StatusBadRequest
		}
	}
	if err := i.show(w, status, "failed", map[string]any{"Title": "This did not sign you in", "Message": message}); err != nil {
		i.log().ErrorContext(r.Context(), "page failed", "error", err)
		http.Error(w, message, status)
	}
}

// show writes a page whole or not at all.
func (i *Identity) show(w http.ResponseWriter, status int, name string, data map[string]any) error {
	var b bytes.Buffer
	if err := pages().ExecuteTemplate(&b, name, data); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // an error means that the person went away
	return nil
}
