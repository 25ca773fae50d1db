package auth_test

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"

	_ "modernc.org/sqlite"
)

// rawFile is the file of a vault's store, as somebody with another tool sees it.
type rawFile struct {
	*sql.DB
	vault *authtest.Vault
}

// file opens it beside the store.
func file(t *testing.T, v *authtest.Vault) rawFile {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(v.Dir, "latchpost.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return rawFile{db, v}
}

// alter changes rows, and something of Latchpost's after them, so that nothing is remembered from before.
func alter(t *testing.T, db rawFile, statement string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
	if err := db.vault.DB.AddToken(t.Context(), []byte(rand.Text()), auth.Local, "altered", nil, time.Time{}); err != nil {
		t.Fatal(err)
	}
}

// wantState compares what is told about the one connection.
func wantState(t *testing.T, v *authtest.Vault, state auth.State, cause string) {
	t.Helper()
	infos, err := v.List(t.Context(), agent, "")
	if err != nil || len(infos) != 1 {
		t.Fatalf("List: %+v, %v", infos, err)
	}
	if infos[0].State != state || infos[0].Cause != cause {
		t.Errorf("the connection reads %s, %q, want %s, %q", infos[0].State, infos[0].Cause, state, cause)
	}
}

// wantLink wants the error that asks the person in.
func wantLink(t *testing.T, err error, reason string) {
	t.Helper()
	var link *auth.AuthRequired
	if !errors.As(err, &link) || link.Reason != reason {
		t.Errorf("got %v, want a link because of %s", err, reason)
	}
}

// D5: invalid_grant ends the connection, once, with time and reason; nobody asks again.
func TestRefreshRefused(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	v.Server.RevokeUser("alice")
	c.forward(2 * time.Hour)
	for range 3 {
		_, err := v.Get(t.Context(), agent, practiceNeed)
		wantLink(t, err, auth.ReasonReauth)
	}
	wantState(t, v, auth.NeedsReauth, "invalid_grant")
	row := only(t, v)
	if row.Sealed == nil || row.UpdatedAt.Before(c.Now().Add(-time.Minute)) {
		t.Errorf("sealed credential of %d bytes, changed at %v", len(row.Sealed), row.UpdatedAt)
	}
	if err := v.KeepOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := asked(v); n != 1 {
		t.Errorf("%d token requests", n)
	}
}

// D6: what is wrong with the OAuth app is the operator's to correct, and the connection stays.
func TestRefreshMisconfigured(t *testing.T) {
	for _, code := range []string{"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"} {
		t.Run(code, func(t *testing.T) {
			v, c := connected(t, authtest.Options{})
			v.Server.Fault("/token", authtest.Refuse(http.StatusBadRequest, code, "x"))
			c.forward(2 * time.Hour)
			if _, err := v.Get(t.Context(), agent, practiceNeed); !errors.Is(err, auth.ErrConfig) {
				t.Errorf("Get: %v", err)
			}
			if _, err := v.Get(t.Context(), agent, practiceNeed); !errors.Is(err, auth.ErrUnavailable) {
				t.Errorf("Get again: %v", err)
			}
			wantState(t, v, auth.ProviderDown, "configuration") // not active: no call can be made
			if n := asked(v); n != 1 {
				t.Errorf("%d token requests", n)
			}
			c.forward(10 * time.Minute)
			get(t, v)
			wantState(t, v, auth.Active, "")
		})
	}
}

// D7, D8, RF-008: trouble of the server's own keeps the connection. The old token is handed
// out as long as it lives; the next try waits, as long as the server says within reason.
func TestRefreshUnavailable(t *testing.T) {
	hour, day := time.Hour, 24*time.Hour
	for name, test := range map[string]struct {
		fault    authtest.Fault
		min, max time.Duration // until the next try
	}{
		"cut before":         {authtest.CutBefore, time.Second, 2 * time.Second},
		"408":                {authtest.Busy(408, ""), time.Second, 2 * time.Second},
		"425":                {authtest.Busy(425, ""), time.Second, 2 * time.Second},
		"429":                {authtest.Busy(429, ""), time.Second, 2 * time.Second},
		"429, seconds":       {authtest.Busy(429, "30"), 30 * time.Second, 40 * time.Second},
		"429, 1e9":           {authtest.Busy(429, "1000000000"), hour, hour + hour/4},
		"429, negative":      {authtest.Busy(429, "-1"), time.Second, 2 * time.Second},
		"429, -1e12":         {authtest.Busy(429, "-1000000000000"), time.Second, 2 * time.Second},
		"429, 1e12":          {authtest.Busy(429, "1000000000000"), hour, hour + hour/4},
		"429, no seconds":    {authtest.Busy(429, "0"), time.Second, 2 * time.Second},
		"429, two at once":   {authtest.Busy(429, "30, 60"), time.Second, 2 * time.Second},
		"429, garbage":       {authtest.Busy(429, "soon"), time.Second, 2 * time.Second},
		"429, past date":     {authtest.Busy(429, "Wed, 21 Oct 2015 07:28:00 GMT"), time.Second, 2 * time.Second},
		"429, far date":      {authtest.Busy(429, time.Now().Add(30*day).UTC().Format(http.TimeFormat)), hour, hour + hour/4},
		"503, seconds":       {authtest.Busy(503, "120"), 2 * time.Minute, 150 * time.Second},
		"temporarily":        {authtest.Refuse(400, "temporarily_unavailable", "x"), time.Second, 2 * time.Second},
		"server_error":       {authtest.Refuse(500, "server_error", "x"), time.Second, 2 * time.Second},
		"page of a proxy":    {authtest.LoginPage(403), time.Second, 2 * time.Second},
		"login page":         {authtest.LoginPage(200), time.Second, 2 * time.Second},
		"not JSON":           {authtest.Answer(200, "application/json", authtest.BrokenJSON["cut off"]), time.Second, 2 * time.Second},
		"503, invalid_grant": {authtest.Refuse(503, "invalid_grant", "x"), time.Second, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			v, c := connected(t, authtest.Options{})
			old := get(t, v)
			v.Server.FaultAlways("/token", test.fault)

			c.forward(time.Hour - 30*time.Second) // within the margin, and alive
			if got := get(t, v); got != old {
				t.Error("the old token lives and was not handed out")
			}
			wantState(t, v, auth.Active, "unavailable")
			row := only(t, v)
			if wait := row.Refresh.NextTryAt.Sub(c.Now()); wait < test.min-time.Second || wait > test.max {
				t.Errorf("the next try waits %v, want %v to %v", wait, test.min, test.max)
			}
			calls := asked(v)
			get(t, v)
			if asked(v) != calls {
				t.Error("the wait was not kept")
			}

			c.forward(2 * time.Hour)
			if _, err := v.Get(t.Context(), agent, practiceNeed); !errors.Is(err, auth.ErrUnavailable) {
				t.Errorf("Get with a dead token: %v", err)
			}
			wantState(t, v, auth.ProviderDown, "unavailable")
			v.Server.Heal()
			c.forward(2 * time.Hour)
			if got := get(t, v); got == old {
				t.Error("the old token came again")
			}
			wantState(t, v, auth.Active, "")
		})
	}
}

// A renewal that failed while the clock was days ahead is tried again once it is set right, and not days later.
func TestRefreshAfterAWrongClock(t *testing.T) {
	const day = 24 * time.Hour
	v, c := connected(t, authtest.Options{})
	old := get(t, v)
	c.forward(2 * day)
	v.Server.FaultAlways("/token", authtest.Busy(503, ""))
	if _, err := v.Get(t.Context(), agent, practiceNeed); !errors.Is(err, auth.ErrUnavailable) {
		t.Fatal(err)
	}
	wantState(t, v, auth.ProviderDown, "unavailable")
	v.Server.Heal()
	c.forward(2*time.Hour - 2*day)
	if got := get(t, v); got == old {
		t.Error("the old token came again")
	}
	wantState(t, v, auth.Active, "")
}

// RF-011: a token that came while the clock was days ahead has an end that is days too late: once the clock is set right it
// is renewed, once, and not handed out when it has long been dead.
func TestRefreshAfterTheClockWentBack(t *testing.T) {
	const day = 24 * time.Hour
	v, c := connected(t, authtest.Options{})
	c.forward(2 * day)
	old := get(t, v)
	c.forward(-2 * day)
	next := get(t, v)
	if next == old || get(t, v) != next || asked(v) != 2 {
		t.Errorf("%d token requests", asked(v))
	}
}

// RF-011: where the store's clock is behind ours, a pause that is over by ours and not by its clock is told at once:
// the caller does not hang until it is over.
func TestRefreshAheadOfTheStoresClock(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	v.Vault.Now = func() time.Time { return c.Now().Add(8 * time.Minute) }
	v.ShortenFlights(10 * time.Second)
	v.Server.Fault("/token", authtest.Busy(503, ""))
	c.forward(2 * time.Hour)
	for try := range 2 {
		begun := time.Now()
		_, err := v.Get(t.Context(), agent, practiceNeed)
		if known, ok := errors.AsType[*auth.Error](err); !ok || known.Code != auth.ErrUnavailable.Code || try > 0 && known.RetryAfterSeconds < 1 {
			t.Errorf("Get: %v", err)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("it took %v to say so", took)
		}
		c.forward(2 * time.Second)
	}
	c.forward(9 * time.Minute)
	get(t, v)
	if n := asked(v); n != 2 {
		t.Errorf("%d token requests", n)
	}
}

// D7: the pauses grow, and are not the same for everybody.
func TestRefreshBacksOff(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	v.Server.FaultAlways("/token", authtest.Busy(503, ""))
	c.forward(2 * time.Hour)
	var waits []time.Duration
	for range 12 {
		if _, err := v.Get(t.Context(), agent, practiceNeed); !errors.Is(err, auth.ErrUnavailable) {
			t.Fatalf("Get: %v", err)
		}
		wait := only(t, v).Refresh.NextTryAt.Sub(c.Now())
		waits = append(waits, wait.Round(time.Second))
		c.forward(wait + 5*time.Minute + time.Second) // past what the breaker of the endpoint adds, too
	}
	if waits[11] < 5*time.Minute-time.Second || waits[11] > 6*time.Minute+15*time.Second || waits[5] < 10*waits[0] {
		t.Errorf("pauses %v", waits)
	}
	if slices.Equal(slices.Compact(waits[9:]), waits[9:10]) {
		t.Errorf("no jitter in %v", waits)
	}
	if n := asked(v); n != 12 {
		t.Errorf("%d token requests", n)
	}
}

// RF-004, D9, D10: a lost answer is asked for once more, at once. A server with a grace period
// gives it again; one without says invalid_grant, and then the loss is the cause that is told.
// The old access token is used until it ends.
func TestRefreshAnswerLost(t *testing.T) {
	for name, fault := range map[string]authtest.Fault{"cut after": authtest.CutAfter, "cut within": authtest.CutWithin} {
		t.Run(name, func(t *testing.T) {
			t.Run("grace", func(t *testing.T) {
				v, c := connected(t, authtest.Options{Grace: 30 * time.Second})
				v.Server.Fault("/token", fault)
				c.forward(2 * time.Hour)
				get(t, v)
				wantState(t, v, auth.Active, "")
				if n := asked(v); n != 2 {
					t.Errorf("%d token requests", n)
				}
			})
			t.Run("no grace", func(t *testing.T) {
				v, c := connected(t, authtest.Options{})
				old := get(t, v)
				v.Server.Fault("/token", fault)
				c.forward(time.Hour - 30*time.Second)
				for range 3 {
					if got := get(t, v); got != old {
						t.Error("another token")
					}
				}
				wantState(t, v, auth.NeedsReauth, "interrupted_rotation")
				wantLink(t, second(v.Request(t.Context(), agent, auth.Wish{Provider: "practice"})), auth.ReasonReauth)
				c.forward(time.Minute)
				_, err := v.Get(t.Context(), agent, practiceNeed)
				wantLink(t, err, auth.ReasonReauth)
				if n := asked(v); n != 2 {
					t.Errorf("%d token requests", n)
				}
			})
			// What comes between the loss and the refusal does not make us forget the loss.
			t.Run("trouble between", func(t *testing.T) {
				v, c := connected(t, authtest.Options{})
				v.Server.Fault("/token", fault, authtest.Busy(503, ""), authtest.Busy(503, ""))
				c.forward(2 * time.Hour)
				for range 2 {
					if _, err := v.Get(t.Context(), agent, practiceNeed); !errors.Is(err, auth.ErrUnavailable) {
						t.Errorf("Get: %v", err)
					}
					c.forward(time.Minute)
				}
				_, err := v.Get(t.Context(), agent, practiceNeed)
				wantLink(t, err, auth.ReasonReauth)
				wantState(t, v, auth.NeedsReauth, "interrupted_rotation")
				if n := asked(v); n != 4 {
					t.Errorf("%d token requests", n)
				}
			})
		})
	}
}

// an answer that was lost.
func TestRefreshAnswerLostWhereReuseRevokes(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	redefine(t, v, c, func(p *providers.Provider) { p.OAuth2.Refresh.Reuse = "revokes" })
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	v.Server.Forget()
	v.Server.Fault("/token", authtest.CutAfter)
	c.forward(time.Hour - 20*time.Second)
	for range 2 {
		resp, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"})
		if err != nil || resp.Status != http.StatusOK {
			t.Errorf("the old token's last seconds: %+v, %v", resp, err)
		}
	}
	wantState(t, v, auth.NeedsReauth, "interrupted_rotation")
	if n := asked(v); n != 1 {
		t.Errorf("%d token requests", n)
	}

	// When no token is left to lose, asking again can only help.
	v, c = newClockedVault(t, authtest.Options{Grace: time.Minute})
	redefine(t, v, c, func(p *providers.Provider) { p.OAuth2.Refresh.Reuse = "revokes" })
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	v.Server.Fault("/token", authtest.CutAfter)
	c.forward(2 * time.Hour)
	get(t, v)
	wantState(t, v, auth.Active, "")
}

// RF-004: an answer that was cut short, with nothing to show it but that it cannot be read, is a lost one. The next try finds
// out whether the server gives it again.
func TestRefreshAnswerCutShort(t *testing.T) {
	for name, test := range map[string]struct {
		fault authtest.Fault
		grace time.Duration
		state auth.State
		cause string
	}{
		"grace":              {authtest.CutShort, time.Minute, auth.Active, ""},
		"no grace":           {authtest.CutShort, 0, auth.NeedsReauth, "interrupted_rotation"},
		"not a token":        {authtest.With(map[string]any{"access_token": "two words"}), 0, auth.NeedsReauth, "interrupted_rotation"},
		"page of a stranger": {authtest.LoginPage(200), 0, auth.Active, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v, c := connected(t, authtest.Options{Grace: test.grace})
			v.Server.Fault("/token", test.fault)
			c.forward(2 * time.Hour)
			if _, err := v.Get(t.Context(), agent, practiceNeed); !errors.Is(err, auth.ErrUnavailable) {
				t.Errorf("Get: %v", err)
			}
			c.forward(3 * time.Second)
			_, _ = v.Get(t.Context(), agent, practiceNeed)
			wantState(t, v, test.state, test.cause)
			if n := asked(v); n != 2 {
				t.Errorf("%d token requests", n)
			}
		})
	}
}

// RF-004: a discovery document that does not come is no token request whose outcome is unknown: when the sign-in
// then turns out to be over, nothing is said of a lost answer.
func TestRefreshWithoutDocument(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	redefine(t, v, c, func(p *providers.Provider) { p.OAuth2.Discovery, p.OAuth2.Issuer = "oidc", v.Server.URL })
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	v.Server.Forget()
	c.forward(25 * time.Hour)
	v.Server.FaultAlways("GET /.well-known/openid-configuration", authtest.CutBefore)
	v.Server.FaultAlways("GET /.well-known/oauth-authorization-server", authtest.CutBefore)
	if _, err := v.Get(t.Context(), agent, practiceNeed); !errors.Is(err, auth.ErrUnavailable) || asked(v) != 0 {
		t.Errorf("Get: %v, %d token requests", err, asked(v))
	}
	v.Server.Heal()
	v.Server.RevokeUser("alice")
	c.forward(time.Minute)
	_, err := v.Get(t.Context(), agent, practiceNeed)
	wantLink(t, err, auth.ReasonReauth)
	wantState(t, v, auth.NeedsReauth, "invalid_grant")
}

// An answer that names another account is not taken (OpenID Connect Core section 12.2), and what it brought is revoked;
// one that names this account, or none, is.
func TestRefreshForAnotherAccount(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	redefine(t, v, c, func(p *providers.Provider) { p.OAuth2.Discovery, p.OAuth2.Issuer = "oidc", v.Server.URL })
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	if id := only(t, v).AccountID; id != "alice" {
		t.Fatalf("the account is %q", id)
	}
	before := get(t, v)
	for _, token := range []any{v.Server.Sign("JWT", map[string]any{"sub": "alice"}), "", "no.token"} {
		c.forward(2 * time.Hour)
		v.Server.Fault("/token", authtest.With(map[string]any{"id_token": token}))
		now := get(t, v)
		if now == before {
			t.Errorf("not renewed with the identity %v", token)
		}
		before = now
	}
	c.forward(2 * time.Hour)
	v.Server.Fault("/token", authtest.With(map[string]any{"id_token": v.Server.Sign("JWT", map[string]any{"sub": "bob"})}))
	_, err := v.Get(t.Context(), agent, practiceNeed)
	wantLink(t, err, auth.ReasonReauth)
	wantState(t, v, auth.NeedsReauth, "another_account")
	if err := v.KeepOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(v.Server.Requests("POST /revoke")) == 0 {
		t.Error("what came for another account is not revoked")
	}
}

func second[A, B any](_ A, b B) B { return b }

// RF-005: where the intent cannot be written, nothing is sent.
func TestRefreshUnwritten(t *testing.T) {
	t.Parallel()
	t.Run("read-only store", func(t *testing.T) {
		v, c := connected(t, authtest.Options{})
		s := siteOf(v)
		s.ReadOnly = true
		reopen(t, v, s, c.Now)
		c.forward(2 * time.Hour)
		if _, err := v.Get(t.Context(), agent, practiceNeed); err == nil {
			t.Error("Get worked")
		}
		if n := asked(v); n != 0 {
			t.Errorf("%d token requests", n)
		}
	})
	t.Run("write refused", func(t *testing.T) {
		v, c := connected(t, authtest.Options{})
		db := file(t, v)
		alter(t, db, `CREATE TRIGGER refuse BEFORE UPDATE OF lease_holder ON connections BEGIN SELECT RAISE(ABORT, 'no room'); END`)
		c.forward(time.Hour - 30*time.Second)
		get(t, v) // the old token lives
		c.forward(2 * time.Hour)
		if _, err := v.Get(t.Context(), agent, practiceNeed); err == nil {
			t.Error("Get worked")
		}
		if n := asked(v); n != 0 {
			t.Errorf("%d token requests", n)
		}
		alter(t, db, `DROP TRIGGER refuse`)
		get(t, v)
		wantState(t, v, auth.Active, "")
	})
}

// D2: an answer that came is not given up because it cannot be kept beside the old one:
// it is committed all the same, and not handed out before.
func TestRefreshAnswerNotKept(t *testing.T) {
	t.Parallel()
	v, c := connected(t, authtest.Options{})
	alter(t, file(t, v), `CREATE TRIGGER refuse BEFORE UPDATE OF answer ON connections WHEN NEW.answer IS NOT NULL BEGIN SELECT RAISE(ABORT, 'no room'); END`)
	c.forward(2 * time.Hour)
	get(t, v)
	wantState(t, v, auth.Active, "")
	if stats := v.Server.Stats(); stats.Refreshes != 1 || asked(v) != 1 {
		t.Errorf("%+v", stats)
	}
}

// RF-003: an answer that was kept survives that the next attempt cannot read it yet.
func TestRefreshAnswerWaits(t *testing.T) {
	t.Parallel()
	v, c := connected(t, authtest.Options{})
	db := file(t, v)
	alter(t, db, `CREATE TRIGGER refuse BEFORE UPDATE OF version ON connections BEGIN SELECT RAISE(ABORT, 'no room'); END`)
	c.forward(2 * time.Hour)
	if _, err := v.Get(t.Context(), agent, practiceNeed); err == nil {
		t.Error("a token was handed out that is not on disk")
	}
	alter(t, db, `DROP TRIGGER refuse`)
	app, err := v.Apps.App(t.Context(), auth.Local, "practice")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Desk(auth.Local).RemoveApp(t.Context(), "practice"); err != nil {
		t.Fatal(err)
	}
	c.forward(time.Minute)
	if _, err := v.Get(t.Context(), agent, practiceNeed); !errors.Is(err, auth.ErrNoApp) {
		t.Errorf("Get without the app: %v", err)
	}
	if err := v.Apps.PutApp(t.Context(), *app); err != nil {
		t.Fatal(err)
	}
	c.forward(10 * time.Minute)
	get(t, v)
	wantState(t, v, auth.Active, "")
	if n := asked(v); n != 1 {
		t.Errorf("%d token requests", n)
	}
}

// RF-012, D3: what the answer leaves out is kept.
func TestRefreshTokenLeftOut(t *testing.T) {
	for name, fault := range map[string]authtest.Fault{
		"absent": authtest.Pass,
		"null":   authtest.With(map[string]any{"refresh_token": nil}),
		"empty":  authtest.With(map[string]any{"refresh_token": ""}),
	} {
		t.Run(name, func(t *testing.T) {
			v, c := connected(t, authtest.Options{Rotation: authtest.RotateNever})
			v.Server.FaultAlways("/token", fault)
			tokens := map[string]bool{}
			for range 3 {
				c.forward(2 * time.Hour)
				tokens[get(t, v)] = true
			}
			if len(tokens) != 3 || v.Server.Stats().InvalidGrant != 0 {
				t.Errorf("%d tokens, %+v", len(tokens), v.Server.Stats())
			}
		})
	}
}

// RF-011, D12: whatever a server says about lifetimes, a token is not renewed more often
// than once a minute, and not handed out for ever when it is known to end.
func TestRefreshNoLoop(t *testing.T) {
	odd := map[string]authtest.Fault{
		"1":                           authtest.With(map[string]any{"expires_in": 1}),
		"1 second and the same token": authtest.With(map[string]any{"expires_in": 1, "access_token": "access_the_same"}),
		"absent":                      authtest.Without("expires_in"),
		"60":                          authtest.With(map[string]any{"expires_in": 60}),
		"61":                          authtest.With(map[string]any{"expires_in": 61}),
		"1e12":                        authtest.With(map[string]any{"expires_in": authtest.Raw("1e12")}),
	}
	for _, form := range authtest.OddExpiresIn {
		odd["odd "+form] = authtest.With(map[string]any{"expires_in": authtest.Raw(form)})
	}
	for _, name := range slices.Sorted(maps.Keys(odd)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, c := newClockedVault(t, authtest.Options{})
			v.Server.FaultAlways("/token", odd[name])
			connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
			v.Server.Forget()
			for range 40 { // ten minutes
				c.forward(15 * time.Second)
				get(t, v)
			}
			if n := asked(v); n > 10 {
				t.Errorf("%d renewals in ten minutes", n)
			}
		})
	}
}

// RF-011: a clock that is five minutes wrong, either way, costs no connection.
func TestRefreshClockSkew(t *testing.T) {
	for _, skew := range []time.Duration{-5 * time.Minute, 5 * time.Minute} {
		v, c := connected(t, authtest.Options{})
		c.forward(50 * time.Minute)
		reopen(t, v, siteOf(v), func() time.Time { return c.Now().Add(skew) })
		for range 30 {
			c.forward(5 * time.Minute)
			resp, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"})
			if err != nil || resp.Status != http.StatusOK {
				t.Fatalf("skew %v: %+v, %v", skew, resp, err)
			}
		}
		if n := asked(v); n < 2 || n > 5 {
			t.Errorf("skew %v: %d renewals in 150 minutes", skew, n)
		}
	}
}

// RF-015: what a refresh narrows is shown, and who needs what is missing is told so.
func TestRefreshNarrowsScope(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	connect(t, v, agent, auth.Wish{Provider: "practice", Scopes: []string{"openid", "repo"}}, "alice", auth.Choice{Extra: []string{"repo"}})
	if _, err := v.Get(t.Context(), agent, auth.Need{Provider: "practice", Scopes: []string{"repo"}}); err != nil {
		t.Fatal(err)
	}
	v.Server.Fault("/token", authtest.With(map[string]any{"scope": "openid"}))
	c.forward(2 * time.Hour)
	_, err := v.Get(t.Context(), agent, auth.Need{Provider: "practice", Scopes: []string{"repo"}}) // which had it until now
	wantLink(t, err, auth.InsufficientScope)
	if got := only(t, v).Scopes; !slices.Equal(got, []string{"openid"}) {
		t.Errorf("scopes %v", got)
	}
	_, err = v.Get(t.Context(), agent, auth.Need{Provider: "practice", Scopes: []string{"repo"}})
	wantLink(t, err, auth.InsufficientScope)

	v.Server.Fault("/token", authtest.With(map[string]any{"scope": "email"}))
	c.forward(2 * time.Hour)
	if h, err := v.Get(t.Context(), agent, practiceNeed); err != nil || !slices.Equal(h.Info.Scopes, []string{"email"}) {
		t.Errorf("beside the renewed token stands %+v, %v", h, err)
	}
}

// BF-038, C17: a 401 causes one renewal. When that fails the call says why, and is on record.
func TestRefreshAfterUnauthorized(t *testing.T) {
	call := auth.Call{Provider: "practice", Path: "/me"}
	v, _ := connected(t, authtest.Options{})
	v.API.FaultAlways("/api/me", authtest.Unauthorized)
	v.Server.Fault("/token", authtest.Busy(503, ""))
	if _, err := v.Call(t.Context(), agent, call); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("renewal fails for now: %v", err)
	}
	v, _ = connected(t, authtest.Options{})
	v.API.FaultAlways("/api/me", authtest.Unauthorized)
	v.Server.RevokeUser("alice")
	_, err := v.Call(t.Context(), agent, call)
	wantLink(t, err, auth.ReasonReauth)
	if asked(v) != 1 || len(v.API.Requests("/api/me")) != 1 {
		t.Errorf("%d token requests, %d calls", asked(v), len(v.API.Requests("/api/me")))
	}
	v, _ = connected(t, authtest.Options{})
	v.Server.FaultAlways("/userinfo", authtest.Unauthorized)
	v.API.FaultAlways("/api/me", authtest.Unauthorized)
	for range 3 {
		_, err = v.Call(t.Context(), agent, call)
	}
	wantLink(t, err, auth.ReasonReauth)
	wantState(t, v, auth.NeedsReauth, "refused_by_api")
	if asked(v) != 1 || len(v.API.Requests("/api/me")) != 2 {
		t.Errorf("%d token requests, %d calls", asked(v), len(v.API.Requests("/api/me")))
	}
}
