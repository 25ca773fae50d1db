package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth/authtest"
)

// A host that is given an address and nothing else signs its user in by OAuth: the 401 leads it to the resource's metadata,
// these to the issuer, where it registers (RFC 9728, 8414, 7591). It registers with the scopes that the 401 names, and this
// issuer, like others, never gives it any other: so all that agents usually need has to be among them.
func TestHostsSignInByOAuth(t *testing.T) {
	node, scripts := authtest.MCPClients(t)
	issuer := authtest.StartOIDCProvider(t, authtest.OIDCOptions{})
	for _, sdk := range []int{1, 2} {
		t.Run(fmt.Sprint("SDK ", sdk), func(t *testing.T) {
			listen := freePort(t)
			n := settleAt(t, authtest.Options{}, listen, "http://"+listen, strings.NewReader(""), io.Discard, "serve",
				"--oidc-issuer", issuer.Issuer, "--oidc-client-id", "public", "--resource", "http://"+listen+"/mcp")
			host := exec.CommandContext(t.Context(), node, "oauth.mjs", fmt.Sprintf(`{"sdk":%d,"url":%q}`, sdk, n.base))
			host.Dir, host.Stderr = scripts, t.Output()
			in, err := host.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := host.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := host.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = in.Close(); _ = host.Wait() })
			var got struct {
				Authorize, Listed, Scope string
				Tools                    int
				Revoked                  struct{ Code string }
				Asked                    struct {
					RequestID string `json:"request_id"`
				}
			}
			visits := 0
			for said := bufio.NewScanner(out); said.Scan(); visits++ {
				got.Authorize = ""
				if err := json.Unmarshal(said.Bytes(), &got); err != nil {
					t.Fatalf("%v: %s", err, said.Text())
				}
				if got.Authorize == "" {
					break
				}
				back, err := issuer.Approve(t.Context(), got.Authorize, "alice")
				if err != nil {
					t.Fatal(err)
				}
				_, _ = fmt.Fprintln(in, back)
			}
			if visits != 1 || got.Tools == 0 || got.Listed != "connections" || got.Revoked.Code != "not_found" || got.Scope != "latchpost:connect latchpost:use latchpost:revoke" {
				t.Errorf("%+v after %d sign-ins", got, visits)
			}
			// What it is called there says nothing to people: what it calls itself is shown beside it.
			asked, err := n.db.Request(t.Context(), got.Asked.RequestID)
			if err != nil || !asked.Verified || asked.Client == "" || asked.Client == "A host" || asked.ClientName != "A host" {
				t.Errorf("%v: the sign-in is asked for by %+v", err, asked)
			}
		})
	}
}
