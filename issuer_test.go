package main

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stopping ends a command when it has said something.
type stopping struct {
	written
	at   string
	stop func()
}

func (s *stopping) Write(b []byte) (int, error) {
	if strings.Contains(string(b), s.at) {
		s.stop()
	}
	return s.written.Write(b)
}

// An operator who names another issuer, or another claim, does not hand the connections of its users to namesakes: serve
// starts with what it had, or when it is told that they are the same people.
func TestOtherIssuer(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	start := func(flags ...string) (code int, said string) {
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		errs := &stopping{at: "serves agents on", stop: stop}
		args := append([]string{"serve", "--data", data, "--listen", "127.0.0.1:0", "--log-level", "error"}, flags...)
		code = run(ctx, args, &settings{in: strings.NewReader(""), out: io.Discard, err: errs})
		return code, errs.text.String()
	}
	// What was refused, or met nobody, is not kept.
	for flags, want := range map[string]int{
		"--oidc-issuer https://127.0.0.1:1":                              exitUsage,
		"--oidc-issuer https://typo.example --oidc-client-secret-file x": exitFailed,
		"--oidc-issuer https://typo.example":                             exitDone,
	} {
		if code, said := start(strings.Fields(flags)...); code != want || code == exitUsage && !strings.Contains(said, "must have a host name, not an IP address") {
			t.Errorf("serve %s ends with %d: %s", flags, code, said)
		}
	}
	if code, said := start("--oidc-issuer", "https://a.example"); code != exitDone {
		t.Fatalf("after a mistyped issuer, which nobody used: %d %s", code, said)
	}
	const byLink = "People sign in by links of latchpost owner-link alone; for them to sign in at https://a.example, register a client there and give --oidc-client-id"
	if _, said := start("--oidc-issuer", "https://a.example"); !strings.Contains(said, byLink) {
		t.Errorf("without a client for people: %s", said)
	}
	if _, said := start("--oidc-issuer", "https://a.example", "--oidc-client-id", "pages"); strings.Contains(said, "People sign in by links") {
		t.Errorf("with a client for people: %s", said)
	}
	if code := run(t.Context(), []string{"token", "create", "--client", "agent", "--user", "ada", "--data", data}, &settings{in: strings.NewReader(""), out: io.Discard, err: io.Discard}); code != exitDone {
		t.Fatalf("a token of ada: %d", code)
	}
	for _, one := range []struct {
		flags  string
		starts bool
	}{
		{"--oidc-issuer https://a.example", true},
		{"--oidc-issuer https://a.example --owner-claim sub", true},
		{"--oidc-issuer https://b.example", false},
		{"--oidc-issuer https://a.example/", false},
		{"--oidc-issuer https://a.example --owner-claim email", false},
		{"--oidc-issuer https://a.example --org-claim org", false},
		{"", true}, // one owner
		{"--oidc-issuer https://b.example --unsafe-same-users", true},
		{"--oidc-issuer https://b.example", true},
		{"--oidc-issuer https://a.example", false},
	} {
		code, said := start(strings.Fields(one.flags)...)
		if (code == exitDone) != one.starts || !one.starts && !strings.Contains(said, "--unsafe-same-users") {
			t.Errorf("serve %s ends with %d: %s", one.flags, code, said)
		}
	}
}
