package auth_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/egress"
)

// rolling is a Carrier whose site takes each cookie once and answers with the next:
// "7 canary" is the seventh. It echoes the new cookie, too.
type rolling struct {
	mu     sync.Mutex
	newest int
	fails  error // after the site has rolled
}

func cookie(n int) auth.Secret { return auth.NewSecret(fmt.Sprintf("%d cookie_canary%022d", n, n)) }

func number(c *auth.Credential) int {
	n, _, _ := strings.Cut(c.Session.Reveal(), " ")
	i, _ := strconv.Atoi(n)
	return i
}

func (*rolling) Method() string { return auth.MethodBrowser }
func (*rolling) Begin(context.Context, *auth.Flow) (auth.Step, error) {
	return auth.Step{Page: "/live/x"}, nil
}

func (*rolling) Finish(_ context.Context, _ *auth.Flow, in auth.Input) (*auth.Outcome, error) {
	return &auth.Outcome{Credential: &auth.Credential{Session: in.Bundle}, Account: "alice"}, nil
}

func (*rolling) Secrets(c *auth.Credential) []auth.Secret {
	_, value, _ := strings.Cut(c.Session.Reveal(), " ")
	return []auth.Secret{auth.NewSecret(value)}
}

func (*rolling) Release(*auth.Flow, *auth.Credential, string, string) (*auth.Released, error) {
	return nil, auth.ErrDenied
}

func (r *rolling) Newer(a, b *auth.Credential) bool { return number(a) > number(b) }

func (r *rolling) Carry(_ context.Context, _ *auth.Flow, cred *auth.Credential, _ egress.Request) (*egress.Response, *auth.Credential, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.newest = max(r.newest, number(cred)) + 1
	next := *cred
	next.Session = cookie(r.newest)
	if r.fails != nil {
		return nil, &next, r.fails
	}
	return &egress.Response{Status: http.StatusOK, Header: http.Header{"Content-Type": {"text/plain"}}, Body: []byte("your next: " + next.Session.Reveal())}, &next, nil
}

// RF-016: a session that the site renews on every use is stored as the site last changed it, whichever of many calls
// at once is the last to store; and neither the old cookie nor the new one comes back to the agent.
func TestRolledSession(t *testing.T) {
	v, carrier := carried(t)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			resp, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", URL: carriedSite})
			if err != nil || !resp.Redacted {
				t.Errorf("%+v, %v", resp, err)
				return
			}
			for n := range 20 {
				if _, value, _ := strings.Cut(cookie(n).Reveal(), " "); strings.Contains(string(resp.Body), value) {
					t.Errorf("cookie %d came back", n)
				}
			}
		})
	}
	all.Wait()
	stored := &rolling{} // as another process, which knows only what is stored
	v.Connectors[len(v.Connectors)-1] = stored
	call(t, v, auth.Call{URL: carriedSite})
	if carrier.newest != 17 || stored.newest != 18 {
		t.Errorf("the site is at %d, and after what was stored comes %d", carrier.newest, stored.newest)
	}
}

// RF-016: the session that a site rolled in a call that then failed is stored like any other, because the old one is spent.
func TestRolledByAFailure(t *testing.T) {
	for name, fails := range map[string]error{
		"no answer": auth.ErrUnavailable, "signed out": auth.ErrReauth, "canceled": context.Canceled,
	} {
		v, carrier := carried(t)
		carrier.fails = fails
		if resp, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", URL: carriedSite}); err == nil {
			t.Errorf("%s: %+v", name, resp)
		}
		stored := &rolling{}
		v.Connectors[len(v.Connectors)-1] = stored
		call(t, v, auth.Call{URL: carriedSite})
		if carrier.newest != 2 || stored.newest != 3 {
			t.Errorf("%s: the site is at %d, and after what was stored comes %d", name, carrier.newest, stored.newest)
		}
	}
}

const carriedSite = "http://127.0.0.1:1/api/me" // the carrier has no need of it

// carried is a vault with one connection, whose session is carried.
func carried(t *testing.T) (*authtest.Vault, *rolling) {
	t.Helper()
	v := authtest.NewVault(t, authtest.Options{})
	carrier := &rolling{}
	v.Connectors = append(v.Connectors, carrier)
	_, err := v.Request(t.Context(), agent, auth.Wish{Provider: "practice", Method: auth.MethodBrowser})
	link, ok := err.(*auth.AuthRequired)
	if !ok {
		t.Fatal(err)
	}
	person := v.Visit(auth.Visitor{Browser: browserKey("a browser")})
	if _, err := person.Confirm(t.Context(), link.RequestID, auth.Choice{}); err != nil {
		t.Fatal(err)
	}
	if err := person.Submit(t.Context(), link.RequestID, auth.Input{Bundle: cookie(1)}); err != nil {
		t.Fatal(err)
	}
	return v, carrier
}
