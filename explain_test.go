package main

import (
	"bytes"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// says runs a command on the canary's store and gives what it prints.
func (c *canary) says(code int, args ...string) string {
	c.t.Helper()
	var out bytes.Buffer
	args = append(args, "--data", c.data, "--unsafe-loopback", "--log-level", "error", "--var", "practice.port="+port(c.provider.URL),
		"--var", "practice.api_port="+port(c.api.URL), "--var", "practice.site_port=1")
	if got := run(c.t.Context(), args, &settings{in: strings.NewReader(""), out: &out, err: &out}); got != code {
		c.t.Errorf("latchpost %s ends with %d: %s", strings.Join(args[:2], " "), got, out.String())
	}
	_, text, warned := strings.Cut(out.String(), `msg="unsafe flag"`) // comes first, whatever the level
	if !warned {
		return out.String()
	}
	_, text, _ = strings.Cut(text, "\n")
	return text
}

// explain names the rule, the grant and its limits, and does nothing; audit verify sees what was changed by hand.
func TestExplainAndVerify(t *testing.T) {
	keepCanary(t, func(c *canary) {
		c.connect(map[string]any{"provider": "practice"}, &authtest.Browser{})
		infos, err := c.vault.Desk(auth.Local).Connections(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range []auth.Grant{
			{ID: "NARROW", Client: "narrow", Methods: []string{"POST", "PUT"}, Paths: []string{"/api/repos/*"}, Until: time.Date(2100, 1, 2, 3, 4, 5, 0, time.UTC)},
			{ID: "PAIR", Client: "pair", Methods: []string{"POST as DELETE"}, Paths: []string{"/api/repos"}},
		} {
			g.Owner, g.Connection, g.Kind, g.Access, g.CreatedAt, g.Origin = auth.Local, infos[0].ID, auth.Use, auth.Write, time.Now(), "cli"
			if err := c.db.AddGrant(t.Context(), g); err != nil {
				t.Fatal(err)
			}
		}
		c.api.Forget()
		base := c.api.URL + "/api"
		for _, test := range []struct{ client, method, target, want string }{
			{"demo-agent", "GET", "/me", "GET " + base + "/me as alice@example.com, which reads.\nAllowed by rule grant: grant "},
			{"demo-agent", "get", "/me", "lets it read by every method, every path, on every host of the connection, until it is taken back."},
			{"demo-agent", "POST", "/repos", "which writes.\nThe owner is asked first, by rule read_only: its grant covers reading only."},
			{"stranger", "GET", "/me", "The owner is asked first, by rule no_grant: this client was never let in."},
			{"narrow", "POST", "/repos/a", "grant NARROW (cli) lets it write by POST, PUT, /api/repos/*, on every host of the connection, until 2100-01-02"},
			{"narrow", "POST", "/repos/a/b", "by rule scope: its grants name other methods, paths or hosts."},
			{"pair", "POST", "/repos?_method=delete", "POST as DELETE " + base + "/repos as alice@example.com, which writes.\nAllowed by rule grant: grant PAIR (cli) lets it write by POST as DELETE, /api/repos, on "},
			{"pair", "POST", "/repos", "by rule scope"},
			{"pair", "DELETE", "/repos", "by rule scope"},
			{"narrow", "POST", "/repos/a?_method=put", "Allowed by rule grant: grant NARROW"},
			{"demo-agent", "GET", "https://evil.example/", "Refused by rule host: the host is not one of the connection's, and nobody can allow it.\nIts credential goes to 127.0.0.1:"},
		} {
			if got := c.says(exitDone, "explain", test.client, "practice", test.method, test.target); !strings.Contains(got, test.want) {
				t.Errorf("%s %s %s: %s; want %s", test.client, test.method, test.target, got, test.want)
			}
		}
		if got := c.says(exitDone, "list"); !strings.Contains(got, "demo-agent (read), narrow (write: POST, PUT, /api/repos/*), pair (write: POST as DELETE, /api/repos)") {
			t.Error(got)
		}
		if got := c.says(exitUsage, "explain", "demo-agent", "practice", "GET", "https://api.github.com@evil.example/"); !strings.Contains(got, "user info is not allowed") {
			t.Error(got)
		}
		if n := len(c.api.Requests("")); n != 0 {
			t.Errorf("explaining sent %d requests", n)
		}
		waiting, err := c.vault.Desk(auth.Local).Approvals(t.Context())
		if err != nil || len(waiting) != 0 {
			t.Errorf("explaining asked the owner: %v, %v", waiting, err)
		}

		if got := c.says(exitDone, "audit", "verify"); !strings.Contains(got, "nothing was changed, removed, moved or added") {
			t.Error(got)
		}
		db, err := sql.Open("sqlite", "file:"+filepath.Join(c.data, "latchpost.db")+"?_busy_timeout=5000")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for n := 1; n > 0; { // within a second every event has a row of its own
			if err := db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM audit_batches`).Scan(&n); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := db.Exec(`UPDATE audit_events SET client = 'somebody else' WHERE kind = 'connection.store'`); err != nil {
			t.Fatal(err)
		}
		if got := c.says(exitFailed, "audit", "verify"); !strings.Contains(got, "the event, or the one before it, was changed, moved or added") || !strings.Contains(got, "keep a copy of the store") {
			t.Errorf("AU-003: %s", got)
		}
	})
}
