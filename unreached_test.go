package main

import (
	"io"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth/authtest"
)

// What keeps a service from being reached is in the operator's log, with the address, once; the agent reads that it is away.
func TestUnreachedIsTold(t *testing.T) {
	n := settle(t, authtest.Options{}, strings.NewReader(""), io.Discard, "serve", "--log-level", "warn")
	c := n.owner("ann")
	id, _ := c.must("request_auth", `{"provider":"practice"}`)["request_id"].(string)
	if err := finish(t.Context(), n.vault, n.provider, id, browserHash); err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(n.api.URL, "http://")
	n.api.Close()
	for range 3 {
		if _, answer := c.call("call_api", `{"provider":"practice","path":"/me"}`); !strings.Contains(answer, "cannot connect; nothing was sent") || strings.Contains(answer, address) {
			t.Errorf("the agent reads %s", answer)
		}
	}
	n.said.mu.Lock()
	defer n.said.mu.Unlock()
	log := n.said.text.String()
	if strings.Count(log, "dial tcp "+address+": connect: connection refused") != 1 || strings.Count(log, "a service cannot be reached") != 1 {
		t.Errorf("the log has %s", log)
	}
}
