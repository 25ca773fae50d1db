//go:build unix

package main

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// watched is latchpost that writes its heap, its globals and its stacks to $LATCHPOST_TEST_HEAP on SIGUSR1.
func watched() {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	path := os.Getenv("LATCHPOST_TEST_HEAP")
	_ = os.Unsetenv("LATCHPOST_TEST_HEAP")
	go func() {
		for range asked {
			runtime.GC()
			runtime.GC() // what had a finalizer
			f, err := os.Create(path + ".new")
			if err != nil {
				panic(err)
			}
			debug.WriteHeapDump(f.Fd())
			_ = f.Close()
			_ = os.Rename(path+".new", path)
		}
	}()
	main()
}

// dump gives everything that a process has a hold on now.
func (p *process) dump(t *testing.T, path string) []byte {
	t.Helper()
	_ = os.Remove(path)
	if err := syscall.Kill(p.pid, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if heap, err := os.ReadFile(path); err == nil {
			return heap
		}
	}
	t.Fatal("there is no dump")
	return nil
}

// ST-030: the opened credential is in the memory of the process while a call is under way, and in no cache afterwards: not
// in the heap, the globals or a stack, nor in the buffer of a connection that is kept. Neither is what a renewal brought, or the
// secret of the OAuth app.
func TestNoPlaintextIsKept(t *testing.T) {
	secret := secretly()
	provider := authtest.NewServer(authtest.Options{
		Clients: []authtest.Client{{ID: "confidential", Secret: secret}}, Users: []authtest.User{{Name: "alice", Password: secretly(), Email: "alice@example.com"}},
	})
	secrets := provider.Secrets // as many as there are by then
	t.Cleanup(provider.Close)
	api := authtest.NewAPI(provider)
	t.Cleanup(api.Close)
	data, heap := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "heap")
	s := &settings{
		out: t.Output(), err: t.Output(), logLevel: "error", data: data, listen: "127.0.0.1:0", unsafeLoopback: true,
		vars: vars{"practice.port": port(provider.URL), "practice.api_port": port(api.URL), "practice.site_port": "1"}, browser: browserSettings{kind: "local", dir: t.TempDir()},
	}
	h, err := open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	who := auth.Owner{User: "alice"}
	if err := h.vault.Desk(auth.Owner{}).SetApp(t.Context(), "practice", "confidential", auth.NewSecret(secret), nil); err != nil {
		t.Fatal(err)
	}
	token, _, err := h.identity.Tokens.Create(t.Context(), who, "agent", nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.vault.Request(t.Context(), auth.Caller{Owner: who, Client: "agent", Verified: true}, auth.Wish{Provider: "practice"})
	required, ok := err.(*auth.AuthRequired)
	if !ok {
		t.Fatal(err)
	}
	if err := finish(t.Context(), h.vault, provider, required.RequestID, browserHash); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}

	t.Setenv("LATCHPOST_TEST_HEAP", heap)
	listen := freePort(t)
	p := start(t, nil, "latchpost-watched", "serve", "--data", data, "--listen", listen, "--unsafe-loopback",
		"--var", "practice.port="+port(provider.URL), "--var", "practice.api_port="+port(api.URL), "--var", "practice.site_port=1")
	n := &neighbourhood{t: t, base: "http://" + p.address}
	agent := n.caller(token.Reveal())

	arrived, leave := make(chan struct{}), make(chan struct{})
	api.Fault("/api/me", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		close(arrived)
		<-leave
		next.ServeHTTP(w, r)
	})
	done := make(chan map[string]any)
	go func() { done <- agent.must("call_api", `{"provider":"practice","path":"/me"}`) }()
	<-arrived
	if found := authtest.Scan(p.dump(t, heap), secrets()...); len(found) == 0 {
		t.Error("the credential is not found while it is used, so this test finds nothing")
	}
	close(leave)
	if answer := <-done; fmt.Sprint(answer["status"]) != "200" {
		t.Fatal(answer)
	}
	api.Fault("/api/me", authtest.Unauthorized)
	if answer := agent.must("call_api", `{"provider":"practice","path":"/me"}`); fmt.Sprint(answer["status"]) != "200" { // renewed on the way
		t.Fatal(answer)
	}
	if len(provider.Requests("POST /token")) != 2 {
		t.Fatal("nothing was renewed")
	}
	// What was sent to the API last lies in the buffer of its connection, which is kept for the agent's next call, ten seconds.
	var left []string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-time.After(time.Second) {
		if left = authtest.Scan(p.dump(t, heap), secrets()...); len(left) == 0 {
			return
		}
	}
	t.Errorf("after the calls the process still has %v", left)
}
