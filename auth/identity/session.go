package identity

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// sessionTime is how long a browser stays signed in. It does not get longer by use.
const sessionTime = 12 * time.Hour

// Owner says who is signed in to the browser that sent r; ok is false when nobody is. It
// changes nothing, and reads the store only for a cookie that looks like ours.
func (i *Identity) Owner(r *http.Request) (owner *auth.Owner, ok bool) {
	hash := i.sessionHash(r)
	if hash == nil {
		return nil, false
	}
	o, _, err := i.Sessions.Session(r.Context(), hash)
	if err != nil {
		if !errors.Is(err, auth.ErrNotFound) {
			i.trouble(r.Context(), "session cannot be read", err)
		}
		return nil, false
	}
	return &o, true
}

// sessionHash gives nil without a session cookie, and also with two: a page on another
// port or path can plant a second one, and must not choose who is signed in.
func (i *Identity) sessionHash(r *http.Request) []byte {
	sent := r.CookiesNamed(i.cookieName("owner", i.port()))
	if len(sent) != 1 {
		return nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sent[0].Value)
	if err != nil || len(raw) != 32 {
		return nil
	}
	return digest(sent[0].Value)
}

// begin signs the browser in. The session is always a new one, so one that was planted
// before is worth nothing afterwards, and the one before it ends.
func (i *Identity) begin(w http.ResponseWriter, r *http.Request, o auth.Owner, how string) error {
	var random [32]byte
	rand.Read(random[:])
	value := base64.RawURLEncoding.EncodeToString(random[:])
	e := auth.Event{At: i.now(), Owner: o, Kind: "session.begin", Decision: "allow", Detail: map[string]string{"how": how}}
	if err := record(r.Context(), i.Audit, e); err != nil {
		return err
	}
	if err := i.end(r); err != nil {
		return err
	}
	if err := i.Sessions.AddSession(r.Context(), digest(value), o, i.now().Add(sessionTime)); err != nil {
		return err
	}
	i.setCookie(w, i.cookieName("owner", i.port()), value, sessionTime)
	return nil
}

func (i *Identity) end(r *http.Request) error {
	if hash := i.sessionHash(r); hash != nil {
		return i.Sessions.DeleteSession(r.Context(), hash)
	}
	return nil
}

// SignOut ends all sessions of an owner, and the links that could begin one, also when it cannot be put on record. It gives
// how many sessions there were.
func (i *Identity) SignOut(ctx context.Context, o auth.Owner) (n int64, err error) {
	n, err = i.Sessions.DeleteSessions(ctx, o)
	if err == nil && n > 0 {
		i.Audit.Later(auth.Event{ID: rand.Text(), At: i.now(), Owner: o, Kind: "session.end", Decision: "allow"})
	}
	return n, err
}

// logout ends the session here. At the issuer the person stays signed in.
func (i *Identity) logout(w http.ResponseWriter, r *http.Request) error {
	if err := i.end(r); err != nil {
		return err
	}
	i.dropCookie(w, i.cookieName("owner", i.port()))
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}

// cookieName: __Host- cookies come from exactly this host over https. On loopback the
// name holds what tells it from its neighbours', because cookies do not know ports.
func (i *Identity) cookieName(kind, own string) string {
	switch {
	case i.secure() && kind == "owner":
		return "__Host-lp_owner"
	case i.secure():
		return "__Host-lp_" + kind + "_" + own
	}
	return "lp_" + kind + "_" + own
}

func (i *Identity) setCookie(w http.ResponseWriter, name, value string, age time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(age / time.Second),
		HttpOnly: true, Secure: i.secure(), SameSite: http.SameSiteLaxMode,
	})
}

func (i *Identity) dropCookie(w http.ResponseWriter, name string) {
	i.setCookie(w, name, "", -time.Second)
}

func (i *Identity) secure() bool { return strings.HasPrefix(i.BaseURL(), "https://") }

func (i *Identity) port() string {
	u, err := url.Parse(i.BaseURL())
	if err != nil || u.Port() == "" {
		return "80"
	}
	return u.Port()
}
