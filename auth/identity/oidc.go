package identity

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/latchpost/latchpost/auth"
)

// attemptTime is how long a sign-in may take at the issuer.
const attemptTime = 10 * time.Minute

// attempt is one sign-in under way. All of it is in a cookie of its own, and what goes to
// the issuer is derived from that under our key: state, nonce and the PKCE verifier. So
// nothing is stored for somebody who only knocks, any process of the store can take the
// answer, and a state fits no browser but the one that it was made for.
type attempt struct {
	id    string // 128 random bits
	until time.Time
	next  string // where to go afterwards
}

func (a attempt) cookie() string {
	return a.id + "." + strconv.FormatInt(a.until.Unix(), 10) + "." + base64.RawURLEncoding.EncodeToString([]byte(a.next))
}

// readAttempt undoes cookie. The cookie proves nothing yet; its state does.
func readAttempt(cookie string) (a attempt, err error) {
	parts := strings.Split(cookie, ".")
	if len(parts) != 3 {
		return a, errors.New("not three parts")
	}
	until, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return a, err
	}
	next, err := base64.RawURLEncoding.DecodeString(parts[2])
	return attempt{parts[0], time.Unix(until, 0), string(next)}, err
}

const shortID = 8 // characters of attempt.id in the names of cookies and in states

// derive gives 256 bits for one use, which only we can make of the cookie.
func (i *Identity) derive(use string, a attempt) string {
	return base64.RawURLEncoding.EncodeToString(i.MAC([]byte(use + " " + a.cookie())))
}

func (i *Identity) state(a attempt) string { return a.id[:shortID] + "." + i.derive("state", a) }

// signsIn reports whether people can sign in at the issuer.
func (i *Identity) signsIn() bool { return i.Issuer != nil && i.Issuer.ClientID != "" && i.MAC != nil }

// leave sends the browser to the issuer. It does so by a link that follows itself: the
// policy form-action would hold for a redirect of the form, and for every further
// redirect that the issuer makes.
func (i *Identity) leave(w http.ResponseWriter, r *http.Request) error {
	config, _, err := i.client(r.Context())
	if err != nil {
		return err
	}
	a := attempt{rand.Text(), i.now().Add(attemptTime), landing(r.PostFormValue("next"))}
	i.setCookie(w, i.cookieName("login", a.id[:shortID]), a.cookie(), attemptTime)
	target := config.AuthCodeURL(i.state(a), oauth2.S256ChallengeOption(i.derive("verifier", a)), oauth2.SetAuthURLParam("nonce", i.derive("nonce", a)))
	w.Header().Set("Refresh", "0; url="+target)
	return i.show(w, http.StatusOK, "leave", map[string]any{
		"Title": "On to " + i.Issuer.host(), "Host": i.Issuer.host(), "Target": target,
	})
}

// client is x/oauth2's view of us at the issuer.
func (i *Identity) client(ctx context.Context) (*oauth2.Config, *directory, error) {
	d, err := i.Issuer.directory(ctx, func(*directory) bool { return true })
	if err != nil {
		return nil, nil, err
	}
	return &oauth2.Config{
		ClientID: i.Issuer.ClientID, ClientSecret: i.Issuer.ClientSecret.Reveal(),
		Endpoint:    oauth2.Endpoint{AuthURL: d.authorize, TokenURL: d.token, AuthStyle: d.style},
		RedirectURL: i.BaseURL() + "/login/callback", Scopes: append([]string{"openid"}, i.Issuer.Scopes...),
	}, d, nil
}

// One sentence for every answer that is not ours, so that it does not tell which part was wrong.
var errAnswer = auth.ErrInvalid.Say("nobody here is waiting for this answer, or it was used already; sign in again")

// callback takes the issuer's answer: state first, then iss (RFC 9207), then the rest.
func (i *Identity) callback(w http.ResponseWriter, r *http.Request) error {
	if !i.signsIn() {
		return errNoIssuer
	}
	q := r.URL.Query()
	for _, name := range []string{"state", "iss", "code", "error"} {
		if len(q[name]) > 1 {
			return errAnswer
		}
	}
	a, err := i.waiting(w, r, q.Get("state"))
	if err != nil {
		return err
	}
	config, d, err := i.client(r.Context())
	if err != nil {
		return err
	}
	switch {
	case q.Has("iss") && q.Get("iss") != i.Issuer.URL, d.sendsIss && !q.Has("iss"):
		return errAnswer
	case q.Get("error") == "access_denied":
		return auth.ErrDeclined.Say("%s says that the sign-in was declined; sign in again if that was a mistake", i.Issuer.host())
	case q.Has("error"), q.Get("code") == "":
		return auth.ErrRefused.Say("%s did not sign you in; try again", i.Issuer.host())
	}
	if err := i.Sessions.SpendTicket(r.Context(), "login:"+a.id, a.until); errors.Is(err, auth.ErrUsed) { // a cookie can be sent again
		return errAnswer
	} else if err != nil {
		return err
	}
	owner, err := i.redeem(r.Context(), config, a, q.Get("code"))
	if err != nil {
		return err
	}
	if err := i.begin(w, r, owner, "issuer"); err != nil {
		return err
	}
	http.Redirect(w, r, landing(a.next), http.StatusSeeOther)
	return nil
}

// waiting finds the attempt that a state belongs to, in this browser, and ends it there.
func (i *Identity) waiting(w http.ResponseWriter, r *http.Request, state string) (attempt, error) {
	id, _, _ := strings.Cut(state, ".")
	if len(id) != shortID || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
		return attempt{}, errAnswer
	}
	name := i.cookieName("login", id)
	sent := r.CookiesNamed(name)
	if len(sent) != 1 {
		return attempt{}, errAnswer
	}
	a, err := readAttempt(sent[0].Value)
	if err != nil || len(a.id) < shortID || a.cookie() != sent[0].Value || !hmac.Equal([]byte(state), []byte(i.state(a))) {
		return attempt{}, errAnswer
	}
	i.dropCookie(w, name)
	if !i.now().Before(a.until) {
		return attempt{}, auth.ErrExpired.Say("the sign-in took too long; sign in again")
	}
	return a, nil
}

// redeem sends the code, once, and verifies whom the issuer says it signed in.
func (i *Identity) redeem(ctx context.Context, config *oauth2.Config, a attempt, code string) (auth.Owner, error) {
	refused := auth.ErrRefused.Say("%s did not confirm the sign-in; sign in again, and if that goes on, ask the operator to look at the log", i.Issuer.host())
	client := &http.Client{Transport: i.Issuer.Out.RoundTripper(maxDirectory), Timeout: 2 * directoryTime}
	token, err := config.Exchange(context.WithValue(ctx, oauth2.HTTPClient, client), code, oauth2.VerifierOption(i.derive("verifier", a)))
	if answer, ok := errors.AsType[*oauth2.RetrieveError](err); ok { // its text quotes the whole answer
		return auth.Owner{}, refused.Because(fmt.Errorf("token endpoint: status %d, error %q", answer.Response.StatusCode, answer.ErrorCode))
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return auth.Owner{}, auth.ErrUnavailable.Say("%s does not answer; sign in again later", i.Issuer.host()).Because(err)
	}
	if err != nil {
		return auth.Owner{}, refused.Because(errors.New("token endpoint: no token in the answer"))
	}
	raw, _ := token.Extra("id_token").(string)
	owner, err := i.Issuer.person(ctx, raw, i.derive("nonce", a))
	if err != nil && !errors.Is(err, auth.ErrUnavailable) {
		err = refused.Because(fmt.Errorf("ID token: %w", err))
	}
	return owner, err
}

// ours are the pages that a sign-in may lead to.
var ours = regexp.MustCompile(`^/(connections|apps|approvals|activity|(c|done|secret|live|approvals)/[A-Za-z0-9_-]{1,64})$`)

// landing is next where that is a page of ours, else the connections.
func landing(next string) string {
	if !ours.MatchString(next) {
		return "/connections"
	}
	return next
}
