package mcp

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// MC-028: the client hangs up while its call renews the token. The call ends at once; the renewal, which the provider
// has carried out, is kept all the same, so that the next call finds a token that works.
func TestHangingUpLosesNoRenewal(t *testing.T) {
	v := authtest.NewVault(t, authtest.Options{})
	var later atomic.Int64
	v.Vault.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	k := meet(t, v)
	k.connect(auth.Choice{Access: auth.Write})
	ended := make(chan string, 10)
	watched := New(v, Options{Now: v.Now, Watch: func(ctx context.Context, _ string) (context.Context, func(string)) {
		return ctx, func(outcome string) { ended <- outcome }
	}})
	k.site = serve(t, watched)
	v.Server.Forget()
	later.Store(int64(2 * time.Hour))

	fault, pause := authtest.PauseAt(authtest.Committed)
	v.Server.Fault("/token", fault)
	ctx, hangUp := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", k.URL+"/mcp", strings.NewReader(modernCall("call_api", `{"provider":"practice","path":"/me"}`, "{}", "")))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Authorization": "Bearer T1", "Content-Type": "application/json", "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "call_api"} {
		req.Header.Set(name, value)
	}
	go func() {
		<-pause.Reached
		hangUp()
	}()
	if res, err := k.Client().Do(req); err == nil {
		res.Body.Close()
		t.Fatal("the call was answered")
	}
	select {
	case outcome := <-ended:
		if outcome != "cancelled" {
			t.Errorf("the call ended as %s", outcome)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the call goes on without its client")
	}
	close(pause.Release)
	if got := k.call("call_api", `{"provider":"practice","path":"/me"}`); got["status"] != 200.0 {
		t.Errorf("the next call: %v", got)
	}
	if stats := v.Server.Stats(); stats.Refreshes != 1 || stats.InvalidGrant != 0 {
		t.Errorf("at the provider: %+v", stats)
	}
}
