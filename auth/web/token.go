package web

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strings"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// How long a form that was shown may be posted.
const (
	formTTL = 10 * time.Minute
	deskTTL = 12 * time.Hour // stopping things must not fail because the page was open for long
)

// A form token is nonce, expiry and a keyed MAC over both, over what the form is
// for, over who is signed in, and over the flow cookie where there is one. Nothing
// is stored for it, so that showing a page changes nothing.

func (s *Site) token(r *http.Request, purpose, cookie string, ttl time.Duration) string {
	nonce := rand.Text()
	var expiry [8]byte
	binary.BigEndian.PutUint64(expiry[:], uint64(s.Now().Add(ttl).Unix()))
	when := base64.RawURLEncoding.EncodeToString(expiry[:])
	return nonce + "." + when + "." + s.tokenMAC(r, nonce, when, purpose, cookie)
}

// spend checks the token of a posted form and gives its nonce.
func (s *Site) spend(r *http.Request, purpose, cookie string) (nonce string, err error) {
	parts := strings.Split(r.PostForm.Get("token"), ".")
	if len(parts) != 3 || !hmac.Equal([]byte(parts[2]), []byte(s.tokenMAC(r, parts[0], parts[1], purpose, cookie))) {
		return "", errForged
	}
	when, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || len(when) != 8 {
		return "", errForged
	}
	if s.Now().Unix() > int64(binary.BigEndian.Uint64(when)) {
		return "", errStale
	}
	return parts[0], nil
}

func (s *Site) tokenMAC(r *http.Request, nonce, when, purpose, cookie string) string {
	who := ""
	if owner, ok := s.owner(r); ok {
		who = owner.Org + "\x00" + owner.User
	}
	return s.mac("csrf", nonce, when, purpose, cookie, who)
}

// mac is keyed by the vault; every part counts with its length.
func (s *Site) mac(label string, parts ...string) string {
	var b []byte
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return base64.RawURLEncoding.EncodeToString(s.vault.Box.MAC(label)(b))
}

// The flow cookie ties a sign-in to the browser that confirmed it. Its value is
// the form's nonce under our key: pressing the button twice gives the same cookie,
// and a cookie that a neighbour on another port planted does not verify.

func (s *Site) cookieName(id string) string {
	name := "lp_flow_" + id[:min(8, len(id))]
	if s.Secure {
		return "__Host-" + name
	}
	return name
}

func (s *Site) cookieValue(id, nonce string) string {
	return nonce + "." + s.mac("flow cookie", id, nonce)
}

// flowCookie gives the cookie of this flow, if the browser sent exactly one that is ours.
func (s *Site) flowCookie(r *http.Request, id string) string {
	sent := r.CookiesNamed(s.cookieName(id))
	if len(sent) != 1 {
		return ""
	}
	nonce, _, _ := strings.Cut(sent[0].Value, ".")
	if !hmac.Equal([]byte(sent[0].Value), []byte(s.cookieValue(id, nonce))) {
		return ""
	}
	return sent[0].Value
}

func (s *Site) setFlowCookie(w http.ResponseWriter, id, value string) {
	http.SetCookie(w, &http.Cookie{
		Name: s.cookieName(id), Value: value, Path: "/", MaxAge: 600,
		HttpOnly: true, Secure: s.Secure, SameSite: http.SameSiteLaxMode,
	})
}

// visit is the person's door to one request, with the cookie that this browser has for it.
func (s *Site) visit(r *http.Request, cookie string) auth.Visit {
	var who auth.Visitor
	if cookie != "" {
		sum := sha256.Sum256([]byte(cookie))
		who.Browser = sum[:]
	}
	if owner, ok := s.owner(r); ok {
		who.Owner = owner
	}
	return s.vault.Visit(who)
}

// owner is who is signed in.
func (s *Site) owner(r *http.Request) (*auth.Owner, bool) {
	if s.Session == nil {
		return nil, false
	}
	owner, ok := s.Session(r)
	return owner, ok && owner != nil
}
