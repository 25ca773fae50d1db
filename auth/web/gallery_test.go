package web_test

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/web"
)

// TestGallery opens every page in Chromium, on a desk and on a phone, light and dark,
// and leaves the pictures in the directory that LATCHPOST_ARTEFACTS names, for people
// to look at. No page may violate its content policy: HL-009.
func TestGallery(t *testing.T) {
	dir := os.Getenv("LATCHPOST_ARTEFACTS")
	if dir == "" {
		t.Skip("LATCHPOST_ARTEFACTS names no directory for the pictures")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h := open(t, func(_ *authtest.Vault, o *web.Options) {
		o.Unsafe, o.Version = func() []string { return []string{"--unsafe-loopback"} }, "1.0"
	})
	scenes := h.scenes()
	ann, _ := tenants(t).coded()
	scenes["held-unconfirmed"] = ann.last
	for name, n := range map[string]int{"held-places": 3, "held-many-places": 40} {
		alice, _ := sited(t, n)
		scenes[name] = alice.last
	}
	var violations atomic.Int32
	stage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/scene/")
		scene, ok := scenes[name]
		switch {
		case ok:
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Content-Security-Policy", scene.header.Get("Content-Security-Policy")+"; report-uri /report")
			fmt.Fprint(w, scene.body)
		case r.URL.Path == "/report":
			violations.Add(1)
		default:
			web.New(h.Vault.Vault, web.Options{}).Handler().ServeHTTP(w, r)
		}
	}))
	defer stage.Close()
	for name := range scenes {
		for _, size := range [][2]string{{"desk", "1180,1300"}, {"phone", "500,1400"}} {
			for _, scheme := range [][2]string{{"light", "1"}, {"dark", "0"}} {
				file := filepath.Join(dir, name+"-"+size[0]+"-"+scheme[0]+".png")
				cmd := exec.CommandContext(t.Context(), "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--user-data-dir="+t.TempDir(),
					"--window-size="+size[1], "--blink-settings=preferredColorScheme="+scheme[1], "--screenshot="+file, stage.URL+"/scene/"+name)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("chromium: %v\n%s", err, out)
				}
			}
		}
	}
	if n := violations.Load(); n > 0 {
		t.Errorf("%d violations of the content policy", n)
	}
}

// TestElement loads the script from a page of another origin in Chromium. It draws a
// link for a request's id, and nothing for anything else.
func TestElement(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("there is no chromium")
	}
	h := open(t, nil)
	id := h.ask(claude, auth.Wish{}).RequestID
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `<!doctype html><script src="%s/embed/latchpost.js"></script>
			<latchpost-connect request="%s" provider="<b>GitHub"></latchpost-connect>
			<latchpost-connect request="../evil"></latchpost-connect>
			<script>document.title = [...document.querySelectorAll("latchpost-connect")].map(e => e.shadowRoot.innerHTML).join(" | ")</script>`, h.URL, id)
	}))
	defer host.Close()
	cmd := exec.CommandContext(t.Context(), chromium, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(), "--dump-dom", host.URL)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	dom := html.UnescapeString(string(out))
	want := fmt.Sprintf(`<title><a href="%s/c/%s" target="_blank" rel="noopener noreferrer" part="link">Connect &lt;b&gt;GitHub</a> | </title>`, h.URL, id)
	if !strings.Contains(strings.ReplaceAll(dom, "Connect <b>GitHub", "Connect &lt;b&gt;GitHub"), want) {
		t.Errorf("the page is\n%s\nwant\n%s", dom, want)
	}
}

// scenes walks through everything that can be seen.
func (h *house) scenes() map[string]page {
	h.t.Helper()
	scenes := map[string]page{}
	keep := func(name string, p *person) { scenes[name] = p.last }
	desktop := auth.Caller{Owner: auth.Local, Client: "Claude Desktop"}
	owner := h.person().signIn("local")
	stranger := h.person()

	stranger.get("/connections")
	keep("welcome", stranger)
	owner.get("/connections")
	keep("connections-empty", owner)
	stranger.get("/c/NOTHING")
	keep("nothing", stranger)

	p := h.person()
	keyed := h.ask(desktop, auth.Wish{Method: auth.MethodAPIKey})
	p.confirm(keyed.RequestID, nil)
	p.get("/secret/" + keyed.RequestID)
	keep("secret", p)
	p.post("/secret/"+keyed.RequestID, url.Values{"field_key": {""}})
	keep("secret-problem", p)

	p = h.person()
	coded := h.ask(desktop, auth.Wish{Method: auth.MethodDeviceCode})
	p.confirm(coded.RequestID, nil)
	p.get("/c/" + coded.RequestID)
	keep("device", p)

	p = h.person()
	asked := h.ask(desktop, auth.Wish{Scopes: []string{"openid", "email", "files:delete"}})
	p.get("/c/" + asked.RequestID)
	keep("connect", p)
	p.confirm(asked.RequestID, nil)
	keep("leave", p)
	stranger.get("/c/" + asked.RequestID)
	keep("second-browser", stranger)
	back, err := h.Server.Approve(h.t.Context(), p.target(), "alice")
	if err != nil {
		h.t.Fatal(err)
	}
	p.get(back)
	p.get("/done/" + asked.RequestID)
	keep("done", p)

	p = h.person()
	again := h.ask(desktop, auth.Wish{Account: "alice@example.com", Scopes: []string{"profile"}})
	h.connect(p, again.RequestID, "bob")
	keep("held", p)

	p = h.person()
	p.get("/c/" + h.ask(claude, auth.Wish{Provider: "github", Method: auth.MethodOAuthCode}).RequestID)
	keep("connect-app", p)
	declined := h.ask(claude, auth.Wish{Provider: "slack"})
	p.get("/c/" + declined.RequestID)
	p.post("/c/"+declined.RequestID, url.Values{"do": {"decline"}})
	p.get("/done/" + declined.RequestID)
	keep("declined", p)

	write := h.approval(desktop, auth.Call{Provider: "practice", Method: "POST", Path: "/v1/notes", Headers: map[string]string{"Content-Type": "application/json"}, Body: []byte(`{"title":"Minutes","text":"Meeting moved to Tuesday."}`)})
	owner.get("/approvals/" + write)
	keep("approval-call", owner)
	registered := auth.Caller{Owner: auth.Local, Client: "jRUGgfgfv4Y690UpigsTR2-NZtA5nlxvfkfjjuFP-cK", Verified: true, ClientName: "Claude Code"}
	letIn := h.approval(registered, auth.Call{Provider: "practice", Method: "GET", Path: "/v1/notes"})
	owner.get("/approvals/" + letIn)
	keep("approval-no-grant", owner)
	owner.get("/approvals")
	keep("approvals", owner)
	owner.get("/connections")
	keep("connections", owner)
	owner.get("/apps?provider=github")
	keep("apps", owner)
	owner.get("/activity")
	keep("activity", owner)
	return scenes
}

// approval lets an agent call what the owner has to allow first, and gives the question's id.
func (h *house) approval(c auth.Caller, call auth.Call) string {
	h.t.Helper()
	_, err := h.Call(h.t.Context(), c, call)
	return h.approvalID(err)
}
