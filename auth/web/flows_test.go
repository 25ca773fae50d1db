package web_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/web"
	"github.com/latchpost/latchpost/providers"
)

func TestDeviceCode(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	id := h.ask(claude, auth.Wish{Method: auth.MethodDeviceCode}).RequestID
	p.confirm(id, nil)
	p.want(303)
	p.get("/c/" + id)
	p.want(200, "Only continue if you started this", strings.TrimPrefix(h.Server.URL, "http://"))
	if p.last.header.Get("Refresh") != "3" {
		t.Error("the page does not look again")
	}
	view, err := h.Vault.Vault.Requests.Request(t.Context(), id)
	if err != nil || view.UserCode == "" || !strings.Contains(p.last.body, view.UserCode) {
		t.Errorf("the page lacks the code %q: %v", view.UserCode, err)
	}
	p.post("/c/"+id, url.Values{"do": {"decline"}})
	p.want(303)
	p.get("/done/" + id)
	p.want(200, "Declined")
	if s := h.status(claude, id); s.Status != auth.StatusDeclined {
		t.Errorf("the agent is told %s", s.Status)
	}
}

// A provider may give the person longer than our cookie lives. The page that waits for them keeps it.
func TestDeviceCodeOutlivesTheCookie(t *testing.T) {
	h := open(t, nil)
	h.Server.Fault("/device_authorization", authtest.With(map[string]any{"expires_in": 900}))
	p := h.person()
	p.client.Jar = &agingJar{now: h.now, until: map[string]time.Time{}, held: p.client.Jar}
	id := h.ask(claude, auth.Wish{Method: auth.MethodDeviceCode}).RequestID
	p.confirm(id, nil)
	p.want(303)
	for range 14 {
		h.pass(time.Minute)
		p.get("/c/" + id)
		p.want(200, "Enter this code")
		if c := (&http.Response{Header: p.last.header}).Cookies(); len(c) != 1 || c[0].MaxAge > 600 {
			t.Errorf("cookies %v", c)
		}
	}
	request, err := h.Vault.Vault.Requests.Request(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Server.ApproveDevice(t.Context(), request.UserCode, "alice"); err != nil {
		t.Fatal(err)
	}
	h.pass(10 * time.Second)
	if err := h.KeepOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.get("/c/" + id)
	p.want(303)
	p.get("/done/" + id)
	p.want(200, "is connected")
	if h.happened(auth.Local, "second_browser") {
		t.Error("the browser is taken for another one")
	}
}

// agingJar forgets a cookie when its time is up by the clock of the house.
type agingJar struct {
	now   func() time.Time
	until map[string]time.Time
	held  http.CookieJar
}

func (j *agingJar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	for _, c := range cookies {
		j.until[c.Name] = j.now().Add(time.Duration(c.MaxAge) * time.Second)
	}
	j.held.SetCookies(u, cookies)
}

func (j *agingJar) Cookies(u *url.URL) []*http.Cookie {
	return slices.DeleteFunc(j.held.Cookies(u), func(c *http.Cookie) bool { return j.now().After(j.until[c.Name]) })
}

// ID-012: where there are many users the page warns, and shows the account before it is connected.
func TestDeviceCodeOfMany(t *testing.T) {
	h := tenants(t)
	p, id := h.coded()
	p.want(200, "Is this your account?", "<b>bob@example.com</b>", "Yes, connect it", "Discard this sign-in")
	if strings.Contains(p.last.body, "Replace") {
		t.Error("there is nothing to replace")
	}
	p.post("/done/"+id, url.Values{"do": {"add"}})
	p.want(303)
	p.get("/done/" + id)
	p.want(200, "is connected", "bob@example.com")
}

// CB-020: the person says which of several sites a sign-in is for.
func TestChooseSite(t *testing.T) {
	p, id := sited(t, 3)
	p.want(200, "Which one is it for?", `value="site-1" required`, "<b>Wonderland 1</b>", "Discard")
	p.post("/done/"+id, url.Values{"do": {"choose"}})
	p.want(400, "Choose one of the places that are listed")
	p.get("/done/" + id)
	p.post("/done/"+id, url.Values{"do": {"choose"}, "place": {"site-1"}})
	p.want(303)
	p.get("/done/" + id)
	p.want(200, "is connected", "alice@example.com at Wonderland 1")

	p, id = sited(t, 9) // too many for a page of buttons
	p.want(200, `<select name="place" required>`, `<option value="site-8">Wonderland 8 (site-8)</option>`)
	p.post("/done/"+id, url.Values{"do": {"discard"}})
	p.want(303)
	p.get("/done/" + id)
	p.want(200, "Declined")
}

// sited is alice at the page that asks which of her n sites a sign-in is for.
func sited(t *testing.T, n int) (p *person, id string) {
	t.Helper()
	h := open(t, func(v *authtest.Vault, _ *web.Options) {
		d, err := v.Catalog.Get("practice")
		if err != nil {
			t.Fatal(err)
		}
		d.OAuth2.After = []providers.After{{Get: v.Server.URL + "/sites", List: ".", Value: "id", Label: "name", Store: "site"}} // this catalogue is v's alone
	})
	var list []map[string]string
	for i := range n {
		list = append(list, map[string]string{"id": fmt.Sprint("site-", i), "name": fmt.Sprint("Wonderland ", i)})
	}
	answer, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	h.Server.FaultAlways("GET /sites", authtest.Answer(200, "application/json", string(answer)))
	p = h.person()
	id = h.ask(claude, auth.Wish{}).RequestID
	h.connect(p, id, "alice")
	return p, id
}

// coded is ann at the page that asks whether the account is hers, of which somebody has entered her code.
func (h *house) coded() (p *person, id string) {
	h.t.Helper()
	h.Vault.Vault.DeviceFlow = true
	p = h.person().signIn("acme/ann")
	id = h.ask(auth.Caller{Owner: ann, Client: "bot", Verified: true}, auth.Wish{Method: auth.MethodDeviceCode}).RequestID
	p.get("/c/" + id)
	p.want(200, "acme/ann")
	p.confirm(id, nil)
	p.want(303)
	p.get("/c/" + id)
	p.want(200, "Only continue if you started this yourself. Whoever sent you a code to enter would get your account.")
	request, err := h.Vault.Vault.Requests.Request(h.t.Context(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.Server.ApproveDevice(h.t.Context(), request.UserCode, "bob"); err != nil {
		h.t.Fatal(err)
	}
	h.pass(10 * time.Second)
	if err := h.KeepOnce(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	p.get("/c/" + id)
	p.want(303)
	p.get("/done/" + id)
	return p, id
}

func TestClientCredentials(t *testing.T) {
	h := open(t, nil)
	clients := authtest.DefaultClients()
	if err := h.Desk(auth.Local).SetApp(t.Context(), "practice", "basic", auth.NewSecret(clients[1].Secret), nil); err != nil {
		t.Fatal(err)
	}
	p := h.person()
	id := h.ask(claude, auth.Wish{}).RequestID
	p.confirm(id, url.Values{"method": {auth.MethodClientCredentials}, "access": {"write"}})
	p.want(303)
	p.get("/done/" + id)
	p.want(200, "is connected", "may read and write")
}

func TestEnterApp(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	asked := h.ask(claude, auth.Wish{Provider: "github", Method: auth.MethodOAuthCode})
	if asked.Reason != auth.NoOAuthApp {
		t.Fatalf("reason %s", asked.Reason)
	}
	p.get("/c/" + asked.RequestID)
	p.want(200, h.URL+"/callback/github", "https://github.com/settings/", "Client secret", "Decline")
	p.post("/c/"+asked.RequestID+"/app", url.Values{"client_id": {"my-id\x01"}, "client_secret": {"CANARY-SECRET"}})
	p.want(400, "control characters")
	if strings.Contains(p.last.body, "CANARY") {
		t.Error("the secret is on the page")
	}
	p.post("/c/"+asked.RequestID+"/app", url.Values{"client_id": {"my-id"}, "client_secret": {"CANARY-SECRET"}})
	p.want(303)
	// The link does not replace the app that is there now: that takes the owner's session.
	p.get("/c/" + asked.RequestID)
	p.post("/c/"+asked.RequestID+"/app", url.Values{"client_id": {"another-id"}, "client_secret": {"x"}})
	p.want(409, "has its OAuth app already")
	target, err := url.Parse(p.confirm(asked.RequestID, nil))
	if err != nil || target.Host != "github.com" || target.Query().Get("client_id") != "my-id" || target.Query().Get("code_challenge_method") != "S256" {
		t.Errorf("it leads to %s", target)
	}
	owner := h.person().signIn("local")
	owner.get("/apps")
	owner.want(200, "my-id")
	if strings.Contains(owner.last.body, "CANARY") {
		t.Error("the secret is on the page")
	}
	owner.post("/apps", url.Values{"do": {"remove"}, "provider": {"github"}})
	owner.want(303)
	owner.get("/apps")
	if strings.Contains(owner.last.body, "my-id") {
		t.Error("the app is still there")
	}
}

func TestApprovals(t *testing.T) {
	h := open(t, nil)
	h.connect(h.person(), h.ask(claude, auth.Wish{}).RequestID, "alice")
	write := auth.Call{Provider: "practice", Method: "POST", Path: "/echo", Headers: map[string]string{"Content-Type": "text/plain"}, Body: []byte("hello <there>")}
	asks := func() bool {
		_, err := h.Call(t.Context(), claude, write)
		var required *auth.ApprovalRequired
		return errors.As(err, &required)
	}
	for _, answer := range []struct {
		word string
		asks []bool // whether the next calls ask again
	}{{"deny", []bool{true}}, {"once", []bool{false, true}}, {"hour", []bool{false, false}}} {
		id := h.approval(claude, write)
		p := h.person() // on one person's machine, the link is enough
		p.get("/approvals/" + id)
		p.want(200, "POST", "/echo", "hello <there>", "may only read")
		p.post("/approvals/"+id, url.Values{"do": {"release_1h"}})
		p.want(400)
		p.get("/approvals/" + id)
		p.post("/approvals/"+id, url.Values{"do": {answer.word}})
		p.want(303)
		for i, want := range answer.asks {
			if got := asks(); got != want {
				t.Errorf("%s: call %d asks: %v", answer.word, i, got)
			}
		}
		p.get("/approvals/" + id)
		p.want(200)
		if strings.Contains(p.last.body, "<form") {
			t.Errorf("%s: it can be decided again", answer.word)
		}
	}
	long := write // the whole address is shown, to its end
	long.Method, long.Path = "PUT", "/echo?"+strings.Repeat("a=1&", 1500)+"to=eve"
	p := h.person()
	p.get("/approvals/" + h.approval(claude, long))
	p.want(200, "to=eve")
	h.pass(requestTTL * 7)
	if !asks() {
		t.Error("the hour does not end")
	}
}

func TestRevokeOnThePage(t *testing.T) {
	h := open(t, func(_ *authtest.Vault, o *web.Options) {
		o.Unsafe = func() []string { return []string{"--unsafe-loopback"} }
	})
	h.connect(h.person(), h.ask(claude, auth.Wish{}).RequestID, "alice")
	pending := h.ask(claude, auth.Wish{Scopes: []string{"repo"}}).RequestID
	owner := h.person().signIn("local")
	owner.get("/connections")
	page := owner.want(200, "alice@example.com", "Active", "--unsafe-loopback", "read only", pending)
	grants, err := h.Desk(auth.Local).Grants(t.Context())
	if err != nil || len(grants) != 1 {
		t.Fatal(grants, err)
	}
	said := ""
	for _, step := range []struct {
		form  url.Values
		shown string
	}{
		{url.Values{"do": {"cancel"}, "request": {pending}}, "was cancelled"},
		{url.Values{"do": {"end"}, "grant": {grants[0].ID}}, "can no longer use"},
		{url.Values{"do": {"revoke"}, "provider": {"practice"}, "account": {"alice@example.com"}}, "has confirmed that its credential is revoked"},
	} {
		owner.last = page
		owner.post("/connections", step.form)
		owner.want(303)
		said = owner.last.header.Get("Location")
		owner.get(said)
		owner.want(200, step.shown)
	}
	// A link from elsewhere cannot make the page say what has not happened.
	for _, link := range []string{"/connections?ended=revoked", "/connections?ended=revoked&proof=x", strings.Replace(said, "ended=", "ended=un", 1)} {
		if owner.get(link); strings.Contains(owner.last.body, "The connection is gone") {
			t.Errorf("%s says that something ended", link)
		}
	}
	if got := h.accounts(); got != "" {
		t.Errorf("connected: %s", got)
	}
	owner.last = page
	owner.post("/connections", url.Values{"do": {"revoke"}, "provider": {"practice"}})
	owner.want(400)
	if owner.get("/activity?kind=revoke"); !strings.Contains(owner.last.body, "revoke") {
		t.Error("it is not on record")
	}
}

func TestAllowed(t *testing.T) {
	h := open(t, nil)
	id := h.ask(claude, auth.Wish{}).RequestID
	site := web.New(h.Vault.Vault, web.Options{Local: true})
	p := h.person()
	if err := site.Allowed(p.request("GET", "/live/"+id, nil, nil), id); !errors.Is(err, auth.ErrNotYours) {
		t.Errorf("before the button was pressed: %v", err)
	}
	p.confirm(id, nil)
	own := p.request("GET", "/live/"+id, nil, nil)
	for _, c := range p.client.Jar.Cookies(own.URL) {
		own.AddCookie(c)
	}
	if err := site.Allowed(own, id); err != nil {
		t.Error(err)
	}
	if err := site.Allowed(p.request("GET", "/live/"+id, nil, nil), id); !errors.Is(err, auth.ErrNotYours) {
		t.Errorf("another browser: %v", err)
	}
}
