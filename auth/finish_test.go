package auth_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

var alices = auth.Visitor{Browser: browserKey("alice's browser")}

// finish signs in as user and comes back; the error is the callback's.
func finish(t *testing.T, v *authtest.Vault, link *auth.AuthRequired, who auth.Visitor, user string) error {
	t.Helper()
	q := signIn(t, v, link.RequestID, who, user, auth.Choice{Access: auth.Write, Extra: link.Scopes})
	_, err := v.Visit(who).Callback(t.Context(), link.ProviderID, q)
	return err
}

// enterCode is what alice does with a device code: she presses Connect, and enters it at the provider.
func enterCode(t *testing.T, v *authtest.Vault, link *auth.AuthRequired) {
	t.Helper()
	step, err := v.Visit(alices).Confirm(t.Context(), link.RequestID, auth.Choice{})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Server.ApproveDevice(t.Context(), step.UserCode, "alice"); err != nil {
		t.Fatal(err)
	}
}

// reconnect asks for more scopes, which takes the person to the provider again.
func reconnect(t *testing.T, v *authtest.Vault) *auth.AuthRequired {
	t.Helper()
	return ask(t, v, agent, auth.Wish{Provider: "practice", Scopes: []string{"repo"}})
}

func status(t *testing.T, v *authtest.Vault, c auth.Caller, id string) *auth.Status {
	t.Helper()
	s, err := v.Wait(t.Context(), c, id, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// revokedTokens gives the tokens that the provider was told to forget.
func revokedTokens(v *authtest.Vault) map[string]bool {
	tokens := map[string]bool{}
	for _, r := range v.Server.Requests("POST /revoke") {
		tokens[r.Form.Get("token")] = true
	}
	return tokens
}

func keepOnce(t *testing.T, v *authtest.Vault) {
	t.Helper()
	if err := v.KeepOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// tokensOf watches what the token endpoint gives out.
func tokensOf(v *authtest.Vault) *sync.Map {
	given := new(sync.Map)
	v.Server.FaultAlways("/token", watchTokens(given))
	return given
}

// watchTokens notes the tokens of an answer: access tokens by their refresh tokens.
func watchTokens(given *sync.Map) authtest.Fault {
	return authtest.Rewrite(func(body []byte) []byte {
		var answer struct {
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
		}
		if json.Unmarshal(body, &answer) == nil && answer.Access != "" {
			given.Store(answer.Refresh, answer.Access)
		}
		return body
	})
}

// BF-027, SH-013: a provider that names the account by the credential it was sent tells it, or a part, neither to the
// agent nor to the record.
func TestLabelTellsNoSecret(t *testing.T) {
	for name, label := range map[string]func(token string) string{
		"as it is":    func(token string) string { return token },
		"in base64":   func(token string) string { return base64.StdEncoding.EncodeToString([]byte(token)) },
		"in brackets": func(token string) string { return token[:20] + "(" + token[20:] },
		"cut off":     func(token string) string { return strings.Repeat("x", 72) + " " + token },
	} {
		t.Run(name, func(t *testing.T) {
			v := authtest.NewVault(t, authtest.Options{})
			v.Server.FaultAlways("/userinfo", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				authtest.Rewrite(func(body []byte) []byte {
					return bytes.Replace(body, []byte("alice@example.com"), []byte(label(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))), 1)
				})(w, r, next)
			})
			connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
			told := fmt.Sprintf("%+v %+v", only(t, v).Account, events(t, v, "connection.store"))
			if found := authtest.Scan([]byte(told), tokens(v)...); found != nil {
				t.Errorf("%v in %s", found, told)
			}
			if len(v.Server.Requests("GET /userinfo")) == 0 {
				t.Error("the provider was not asked for a name")
			}
		})
	}
}

// CB-020: signing in as somebody else is held until the person says what it means. Until
// then the old credential is as it was.
func TestOtherAccount(t *testing.T) {
	held := func(t *testing.T) (*authtest.Vault, *clock, *auth.AuthRequired, string) {
		t.Helper()
		v, c := connected(t, authtest.Options{})
		old := get(t, v)
		link := reconnect(t, v)
		if err := finish(t, v, link, alices, "bob"); err != nil {
			t.Fatal(err)
		}
		if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusPending || s.Cause != "other_account" {
			t.Errorf("status %+v", s)
		}
		if got := get(t, v); got != old || only(t, v).Account != "alice@example.com" {
			t.Error("the old connection changed")
		}
		return v, c, link, old
	}
	accounts := func(t *testing.T, v *authtest.Vault) map[string]string {
		t.Helper()
		infos, err := v.List(t.Context(), agent, "")
		if err != nil {
			t.Fatal(err)
		}
		tokens := map[string]string{}
		for _, i := range infos {
			h, err := v.Get(t.Context(), agent, auth.Need{Provider: "practice", Account: i.Account})
			if err != nil {
				t.Fatal(err)
			}
			tokens[i.Account] = h.Released.Value.Reveal()
		}
		return tokens
	}
	later := func(t *testing.T, v *authtest.Vault, c *clock) { // nothing that is wanted gets revoked
		t.Helper()
		c.forward(30 * time.Minute)
		keepOnce(t, v)
		if len(revokedTokens(v)) > 0 {
			t.Error("tokens in use were revoked")
		}
	}
	t.Run("add", func(t *testing.T) {
		v, c, link, old := held(t)
		if err := v.Visit(alices).Settle(t.Context(), link.RequestID, auth.SettleAdd); err != nil {
			t.Fatal(err)
		}
		if got := accounts(t, v); len(got) != 2 || got["alice@example.com"] != old || got["bob@example.com"] == "" {
			t.Errorf("%d accounts", len(got))
		}
		if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusConnected || s.Connection.Account != "bob@example.com" {
			t.Errorf("status %+v", s)
		}
		later(t, v, c)
	})
	t.Run("replace", func(t *testing.T) {
		v, c, link, old := held(t)
		if err := v.Visit(alices).Settle(t.Context(), link.RequestID, auth.SettleReplace); err != nil {
			t.Fatal(err)
		}
		if got := accounts(t, v); len(got) != 1 || got["bob@example.com"] == "" || got["bob@example.com"] == old {
			t.Errorf("accounts %v", len(got))
		}
		keepOnce(t, v)
		if revoked := revokedTokens(v); len(revoked) != 2 || !revoked[old] {
			t.Errorf("%d tokens of alice's, who was replaced, were revoked", len(revoked))
		}
		v.Server.Forget()
		later(t, v, c)
	})
	// BF-046, ID-021: what was allowed to be done with one account is not allowed with another.
	t.Run("replace ends what was allowed", func(t *testing.T) {
		v, _, link, _ := held(t)
		other := agent
		other.Client = "another-agent"
		decide(t, v, askOwner(t, v, other, post("/echo", "x"), auth.RuleNoGrant).RequestID, auth.Decision{Allow: true})
		late := askOwner(t, v, other, post("/echo", "y"), auth.RuleNoGrant)
		if err := v.Visit(alices).Settle(t.Context(), link.RequestID, auth.SettleReplace); err != nil {
			t.Fatal(err)
		}
		askOwner(t, v, other, post("/echo", "x"), auth.RuleNoGrant)
		if err := v.Desk(auth.Local).Decide(t.Context(), late.RequestID, auth.Decision{Allow: true, Always: true}); !errors.Is(err, auth.ErrConflict) {
			t.Errorf("an approval for alice is good for bob: %v", err)
		}
	})
	t.Run("discard", func(t *testing.T) {
		v, _, link, old := held(t)
		if err := v.Visit(alices).Settle(t.Context(), link.RequestID, auth.SettleDiscard); err != nil {
			t.Fatal(err)
		}
		if got := accounts(t, v); len(got) != 1 || got["alice@example.com"] != old {
			t.Errorf("%d accounts", len(got))
		}
		if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusDeclined {
			t.Errorf("status %+v", s)
		}
		keepOnce(t, v)
		if n := len(revokedTokens(v)); n != 2 {
			t.Errorf("%d tokens of bob were revoked", n)
		}
		get(t, v)
	})
	t.Run("agent cancels", func(t *testing.T) {
		v, _, link, _ := held(t)
		if _, err := v.Revoke(t.Context(), agent, auth.Unwanted{RequestID: link.RequestID}); err != nil {
			t.Fatal(err)
		}
		keepOnce(t, v)
		if n := len(revokedTokens(v)); n != 2 {
			t.Errorf("%d tokens of bob were revoked", n)
		}
	})
	t.Run("nobody says", func(t *testing.T) {
		v, c, link, _ := held(t)
		c.forward(12 * time.Minute)
		if err := v.Visit(alices).Settle(t.Context(), link.RequestID, auth.SettleAdd); !errors.Is(err, auth.ErrExpired) {
			t.Errorf("Settle: %v", err)
		}
		keepOnce(t, v)
		if n := len(revokedTokens(v)); n != 2 {
			t.Errorf("%d tokens of bob were revoked", n)
		}
	})
	t.Run("nonsense, strangers, twice", func(t *testing.T) {
		v, _, link, _ := held(t)
		if err := v.Visit(alices).Settle(t.Context(), link.RequestID, "whatever"); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("nonsense: %v", err)
		}
		stranger := v.Visit(auth.Visitor{Browser: browserKey("another browser")})
		if err := stranger.Settle(t.Context(), link.RequestID, auth.SettleReplace); !errors.Is(err, auth.ErrNotYours) {
			t.Errorf("stranger: %v", err)
		}
		if err := v.Visit(alices).Settle(t.Context(), link.RequestID, auth.SettleAdd); err != nil {
			t.Fatal(err)
		}
		if err := v.Visit(alices).Settle(t.Context(), link.RequestID, auth.SettleReplace); !errors.Is(err, auth.ErrUsed) {
			t.Errorf("twice: %v", err)
		}
	})
}

// CB-020: an account that was not named may be anybody's. It is neither taken over by one that is, nor does one
// that nobody names take the place of another.
func TestUnnamedAccount(t *testing.T) {
	for name, test := range map[string]struct{ first, second, taken bool }{
		"named later": {false, true, false},
		"not again":   {true, false, false},
		"never":       {false, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			v, c := newClockedVault(t, authtest.Options{})
			redefine(t, v, c, func(p *providers.Provider) { p.OAuth2.Scopes.Default, p.OAuth2.Scopes.Identity = []string{"read"}, nil }) // no ID token
			if !test.first {
				v.Server.Fault("/userinfo", authtest.Busy(503, ""))
			}
			connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
			before := only(t, v)
			if !test.second {
				v.Server.Fault("/userinfo", authtest.Busy(503, ""))
			}
			link := reconnect(t, v)
			if err := finish(t, v, link, alices, "bob"); err != nil {
				t.Fatal(err)
			}
			s := status(t, v, agent, link.RequestID)
			if taken := s.Status == auth.StatusConnected; taken != test.taken || !taken && (s.Cause != "other_account" || only(t, v).AccountID != before.AccountID) {
				t.Errorf("status %+v", s)
			}
		})
	}
}

// What the person answers last is what holds, and the page begins with what holds.
func TestReconnectNarrows(t *testing.T) {
	v, _ := connected(t, authtest.Options{})
	link := reconnect(t, v)
	view, err := v.Visit(alices).Open(t.Context(), link.RequestID)
	if err != nil || view.Access != auth.Write {
		t.Fatalf("%+v, %v", view, err)
	}
	q := signIn(t, v, link.RequestID, alices, "alice", auth.Choice{Access: auth.Read})
	if _, err := v.Visit(alices).Callback(t.Context(), "practice", q); err != nil {
		t.Fatal(err)
	}
	askOwner(t, v, agent, post("/echo", "x"), auth.RuleReadOnly)
}

// CB-024: cancelled before the person is done, the callback is refused and the code goes nowhere;
// cancelled while the code is being redeemed, nothing is stored and the provider forgets the tokens.
func TestFinishAfterCancel(t *testing.T) {
	t.Run("before the callback", func(t *testing.T) {
		v, _ := newClockedVault(t, authtest.Options{})
		link := ask(t, v, agent, auth.Wish{Provider: "practice"})
		q := signIn(t, v, link.RequestID, alices, "alice", auth.Choice{})
		if _, err := v.Revoke(t.Context(), agent, auth.Unwanted{RequestID: link.RequestID}); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Visit(alices).Callback(t.Context(), "practice", q); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("Callback: %v", err)
		}
		if asked(v) != 0 {
			t.Error("the code was sent")
		}
		if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusDeclined {
			t.Errorf("status %+v", s)
		}
		wantEvent(t, v, agent.Owner, "request.replay")
	})
	t.Run("within the callback", func(t *testing.T) {
		v, _ := newClockedVault(t, authtest.Options{})
		link := ask(t, v, agent, auth.Wish{Provider: "practice"})
		q := signIn(t, v, link.RequestID, alices, "alice", auth.Choice{})
		fault, pause := authtest.PauseAt(authtest.Committed)
		v.Server.Fault("/token", fault)
		done := make(chan error, 1)
		go func() {
			_, err := v.Visit(alices).Callback(context.WithoutCancel(t.Context()), "practice", q)
			done <- err
		}()
		<-pause.Reached
		if _, err := v.Revoke(t.Context(), agent, auth.Unwanted{RequestID: link.RequestID}); err != nil {
			t.Fatal(err)
		}
		close(pause.Release)
		if err := <-done; !errors.Is(err, auth.ErrConflict) {
			t.Errorf("Callback: %v", err)
		}
		if infos, _ := v.List(t.Context(), agent, ""); len(infos) != 0 {
			t.Errorf("stored %+v", infos)
		}
		keepOnce(t, v)
		if n := len(revokedTokens(v)); n != 2 {
			t.Errorf("%d tokens were revoked", n)
		}
		wantEvent(t, v, agent.Owner, "connection.orphan")
	})
}

// wantEvent looks for a kind of event in the audit log.
func wantEvent(t *testing.T, v *authtest.Vault, o auth.Owner, kind string) {
	t.Helper()
	// An event that waits for nobody is on disk at the latest with the next one that does.
	if err := v.Vault.Audit.Append(t.Context(), auth.Event{ID: rand.Text(), Owner: o, Kind: "test", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	events, err := v.Desk(o).Events(t.Context(), auth.EventFilter{Kind: kind})
	if err != nil || len(events) == 0 {
		t.Errorf("no event %s on record (%v)", kind, err)
	}
}

// B17: a person who declines a re-connect keeps what was there.
func TestDeclineKeepsConnection(t *testing.T) {
	for name, decline := range map[string]func(t *testing.T, v *authtest.Vault, link *auth.AuthRequired) error{
		"at the provider": func(t *testing.T, v *authtest.Vault, link *auth.AuthRequired) error {
			step, err := v.Visit(alices).Confirm(t.Context(), link.RequestID, auth.Choice{})
			if err != nil {
				t.Fatal(err)
			}
			back, err := v.Server.Deny(t.Context(), step.Redirect)
			if err != nil {
				t.Fatal(err)
			}
			_, err = v.Visit(alices).Callback(t.Context(), "practice", query(t, back))
			if !errors.Is(err, auth.ErrDeclined) {
				t.Errorf("Callback: %v", err)
			}
			return nil
		},
		"on our page": func(t *testing.T, v *authtest.Vault, link *auth.AuthRequired) error {
			return v.Visit(alices).Decline(t.Context(), link.RequestID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			v, _ := connected(t, authtest.Options{})
			old, link := get(t, v), reconnect(t, v)
			if err := decline(t, v, link); err != nil {
				t.Fatal(err)
			}
			if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusDeclined {
				t.Errorf("status %+v", s)
			}
			wantState(t, v, auth.Active, "")
			if got := get(t, v); got != old || asked(v) != 0 {
				t.Error("the connection changed")
			}
		})
	}
}

// A refresh that commits while the person signs in again does not cost them the sign-in.
func TestFinishBesideRefresh(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	link := reconnect(t, v)
	q := signIn(t, v, link.RequestID, alices, "alice", auth.Choice{Extra: []string{"repo"}})
	store := &interrupted{RequestStore: v.Requests}
	store.before = func() {
		c.forward(9 * time.Minute)
		v.Now = func() time.Time { return c.Now().Add(2 * time.Hour) }
		get(t, v)
		v.Now = c.Now
	}
	v.Requests = store
	if _, err := v.Visit(alices).Callback(t.Context(), "practice", q); err != nil {
		t.Fatal(err)
	}
	row := only(t, v)
	if row.Version != 3 || !slices.Contains(row.Scopes, "repo") {
		t.Errorf("generation %d with %v", row.Version, row.Scopes)
	}
}

// interrupted does something before the first CompleteRequest.
type interrupted struct {
	auth.RequestStore
	once   atomic.Bool
	before func()
}

func (s *interrupted) CompleteRequest(ctx context.Context, r *auth.Request, c *auth.Connection, g []auth.Grant) error {
	if s.once.CompareAndSwap(false, true) {
		s.before()
	}
	return s.RequestStore.CompleteRequest(ctx, r, c, g)
}

// D15: a connection that is revoked while the person signs in again stays revoked, and
// the provider forgets what came too late.
func TestFinishAfterRevoke(t *testing.T) {
	v, _ := connected(t, authtest.Options{})
	given := tokensOf(v)
	link := reconnect(t, v)
	q := signIn(t, v, link.RequestID, alices, "alice", auth.Choice{})
	v.Requests = &interrupted{RequestStore: v.Requests, before: func() {
		if _, err := v.Revoke(t.Context(), agent, auth.Unwanted{Provider: "practice"}); err != nil {
			t.Error(err)
		}
	}}
	if _, err := v.Visit(alices).Callback(t.Context(), "practice", q); !errors.Is(err, auth.ErrConflict) {
		t.Errorf("Callback: %v", err)
	}
	if infos, _ := v.List(t.Context(), agent, ""); len(infos) != 0 {
		t.Errorf("stored %+v", infos)
	}
	keepOnce(t, v)
	revoked := revokedTokens(v)
	given.Range(func(refresh, access any) bool {
		if !revoked[refresh.(string)] || !revoked[access.(string)] {
			t.Error("a token that came too late was not revoked")
		}
		return true
	})
	if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusFailed {
		t.Errorf("status %+v", s)
	}
}

// AU-001: a sign-in that cannot be put on record is not stored, and the provider forgets it.
func TestFinishWithoutAudit(t *testing.T) {
	v, _ := newClockedVault(t, authtest.Options{})
	link := ask(t, v, agent, auth.Wish{Provider: "practice"})
	q := signIn(t, v, link.RequestID, alices, "alice", auth.Choice{})
	v.Vault.Audit = &deafLog{AuditLog: v.Vault.Audit, kind: "connection.store"}
	if _, err := v.Visit(alices).Callback(t.Context(), "practice", q); !errors.Is(err, auth.ErrAudit) {
		t.Errorf("Callback: %v", err)
	}
	if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusFailed || s.Cause != auth.ErrAudit.Code {
		t.Errorf("status %+v", s)
	}
	keepOnce(t, v)
	if n := len(revokedTokens(v)); n != 2 {
		t.Errorf("%d tokens were revoked", n)
	}
}

// deafLog cannot write one kind of event.
type deafLog struct {
	auth.AuditLog
	kind string
}

func (l *deafLog) Append(ctx context.Context, events ...auth.Event) error {
	for _, e := range events {
		if e.Kind == l.kind {
			return errors.New("no room")
		}
	}
	return l.AuditLog.Append(ctx, events...)
}

// unanswered is a store that loses the answer to the commit of a sign-in, and then, perhaps, does not answer at all.
type unanswered struct {
	auth.RequestStore
	silent bool
	lost   int
}

func (u *unanswered) CompleteRequest(ctx context.Context, r *auth.Request, c *auth.Connection, g []auth.Grant) error {
	if err := u.RequestStore.CompleteRequest(ctx, r, c, g); err != nil {
		return err
	}
	u.lost++
	return io.ErrUnexpectedEOF
}

func (u *unanswered) Request(ctx context.Context, id string) (*auth.Request, error) {
	if u.silent && u.lost > 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return u.RequestStore.Request(ctx, id)
}

// A sign-in is stored, and the store's answer is lost. Nobody has the provider forget what works.
func TestStoredUnanswered(t *testing.T) {
	for _, silent := range []bool{false, true} {
		v, _ := newClockedVault(t, authtest.Options{})
		link := ask(t, v, agent, auth.Wish{Provider: "practice"})
		v.Vault.Requests = &unanswered{RequestStore: v.DB, silent: silent}
		if err := finish(t, v, link, alices, "alice"); (err != nil) != silent {
			t.Errorf("silent %v: the person is told %v", silent, err)
		}
		v.Vault.Requests = v.DB
		keepOnce(t, v)
		if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusConnected {
			t.Errorf("silent %v: %+v", silent, s)
		}
		if n := len(revokedTokens(v)); n > 0 {
			t.Errorf("silent %v: %d tokens of a connection that reads active were revoked", silent, n)
		}
	}
}
