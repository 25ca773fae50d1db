package auth_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

// C2, C3, C4, C5, PD-009, CB-018: whatever the token endpoint does, a code is sent once and to
// one place, and the failure is one of ours.
func TestCodeIsSentOnce(t *testing.T) {
	thief := authtest.NewServer(authtest.Options{})
	defer thief.Close()
	faults := map[string]authtest.Fault{
		"301": authtest.Redirect(301, thief.URL+"/token"), "302": authtest.Redirect(302, thief.URL+"/token"),
		"303": authtest.Redirect(303, thief.URL+"/token"), "307": authtest.Redirect(307, thief.URL+"/token"),
		"308": authtest.Redirect(308, "/token"), "307 to metadata": authtest.Redirect(307, "http://169.254.169.254/latest"),
		"400": authtest.Refuse(400, "invalid_grant", "no"), "401": authtest.Refuse(401, "invalid_client", "no"),
		"429": authtest.Busy(429, "7"), "503": authtest.Busy(503, ""), "login page": authtest.LoginPage(200), "login page 403": authtest.LoginPage(403),
		"cut before": authtest.CutBefore, "cut after": authtest.CutAfter, "cut within": authtest.CutWithin, "silence": authtest.Silence,
		"endless": authtest.Endless, "huge": authtest.Huge(50 << 20), "bomb": authtest.GzipBomb(50 << 20), "echo": authtest.Echo,
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, authtest.Options{})
			q := b.approved(t)
			b.Fault("/token", fault)
			out, err := b.finish(q)
			var ours *auth.Error
			if out != nil || !asError(err, &ours) {
				t.Fatalf("got %v, %v", out, err)
			}
			b.clean(t, err)
			if n := len(b.Requests("/token")); n != 1 {
				t.Errorf("%d token requests", n)
			}
		})
	}
	if n := len(thief.Requests("")); n != 0 {
		t.Errorf("the thief got %d requests", n)
	}
}

// CB-018: an answer of 50 MiB, packed or not, takes no more memory than one that is just too long.
func TestTokenAnswerMemory(t *testing.T) {
	space := bytes.Repeat([]byte(" "), 64<<10)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	for range 50 << 20 / len(space) {
		_, _ = z.Write(space)
	}
	_ = z.Close()
	for name, fault := range map[string]authtest.Fault{
		"plain": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			for range 50 << 20 / len(space) {
				_, _ = w.Write(space)
			}
		},
		"packed": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(packed.Bytes())
		},
	} {
		b := newBench(t, authtest.Options{})
		q := b.approved(t)
		b.FaultAlways("/token", fault)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := b.finish(q)
		runtime.ReadMemStats(&after)
		want(t, err, auth.ErrUnavailable)
		if used := after.TotalAlloc - before.TotalAlloc; used > 5<<20 { // all that was ever allocated, the provider's part too
			t.Errorf("%s: %d KiB", name, used>>10)
		} else {
			t.Logf("%s: %d KiB", name, used>>10)
		}
	}
}

// C10, C11: an error that comes with status 200 is an error, and stores nothing.
func TestRefusedWith200(t *testing.T) {
	conditions := map[string]string{"ok": "ok=true", "status": "status=0", "errcode": "errcode="}
	for name, body := range authtest.RefusedWith200 {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, authtest.Options{})
			b.def.Response.OK = conditions[name]
			q := b.approved(t)
			b.Fault("POST /token", authtest.Answer(200, "application/json", body))
			out, err := b.finish(q)
			if err == nil || out != nil {
				t.Errorf("got %+v", out)
			}
			b.clean(t, err)
		})
	}
}

// C6: a request has the shape that the definition gives it, and the secret is never there twice.
func TestRequestShapes(t *testing.T) {
	b := newBench(t, authtest.Options{JSON: true})
	b.def.Token.Body = "json"
	b.def.Token.Headers = map[string]string{"Notion-Version": "2025-09-03"}
	b.signIn(t)
	r := b.Requests("POST /token")[0]
	var body map[string]string
	if err := json.Unmarshal(r.Body, &body); err != nil {
		t.Fatal(err)
	}
	if body["grant_type"] != "authorization_code" || body["client_secret"] != "" || r.Header.Get("Notion-Version") != "2025-09-03" || r.Header.Get("Accept") != "application/json" {
		t.Errorf("sent %v", body)
	}

	b = newBench(t, authtest.Options{})
	b.def.Token = providers.Endpoint{URL: b.URL + "/sns/token?v=2", Method: "GET", Params: map[string]string{"fmt": "json"}}
	b.def.Client = providers.Client{Auth: "post", Names: map[string]string{"client_id": "appid", "client_secret": "secret"}}
	b.def.Token.Names = map[string]string{"redirect_uri": ""}
	b.Fault("GET /sns/token", authtest.Answer(200, "text/plain", `{"access_token":"abc","expires_in":7200}`))
	b.begin(t)
	if _, err := b.finish(url.Values{"code": {"c"}, "iss": {b.URL}}); err != nil {
		t.Fatal(err)
	}
	q := b.Requests("GET /sns/token")[0].Query
	want := url.Values{"v": {"2"}, "fmt": {"json"}, "appid": {"basic"}, "secret": {"basic secret/+:%&="}, "grant_type": {"authorization_code"}, "code": {"c"}, "code_verifier": q["code_verifier"]}
	if q.Encode() != want.Encode() {
		t.Errorf("sent %v", q)
	}
}

// C7: raw_basic leaves id and secret as they are.
func TestRawBasic(t *testing.T) {
	client := authtest.Client{ID: "raw", Secret: "a b:+%é", Auth: "basic", RawBasic: true}
	b := newBench(t, authtest.Options{Clients: []authtest.Client{client}})
	b.flow.ClientID, b.flow.Client, b.def.Client.RawBasic = client.ID, auth.NewSecret(client.Secret), true
	b.signIn(t)
}

// C25: a server in debug mode echoes the whole request; nothing of it gets into the error.
func TestEchoedSecrets(t *testing.T) {
	b := newBench(t, authtest.Options{})
	out := b.signIn(t)
	for _, fault := range []authtest.Fault{
		authtest.Echo,
		authtest.Refuse(400, "invalid_grant", "the token "+out.Credential.RefreshToken.Reveal()+" with basic secret/+:%&= is bad"),
		authtest.Refuse(400, out.Credential.RefreshToken.Reveal(), "x"),
	} {
		b.Fault("POST /token", fault)
		_, err := b.renew(out)
		if err == nil {
			t.Fatal("no error")
		}
		b.clean(t, err)
		if strings.Contains(err.Error(), "basic secret") {
			t.Errorf("the client secret is in %q", err)
		}
	}
}

// Long-lived tokens (Facebook, Instagram) and look-ups with the new token.
func TestExchangeAndLookUp(t *testing.T) {
	b := newBench(t, authtest.Options{})
	b.def.Exchange = &providers.Endpoint{
		URL: b.URL + "/long", Method: "GET", Auth: "post", Names: map[string]string{"client_id": ""},
		Params: map[string]string{"grant_type": "fb_exchange_token", "fb_exchange_token": "${access_token}"},
	}
	b.def.After = []providers.After{{Get: b.URL + "/sites", List: "values", Value: "id", Store: "site", Header: map[string]string{"X-App": "${client_id}"}}}
	b.def.Response.Keep = map[string]providers.Keep{"team": {Path: "scope"}, "hush": {Path: "token_type", Secret: true}}
	b.Fault("GET /long", authtest.Answer(200, "application/json", `{"access_token":"long-token","expires_in":5184000}`))
	b.Fault("GET /sites", authtest.Answer(200, "application/json", `{"values":[{"id":17},{"id":18}]}`))
	out := b.signIn(t)
	if out.Credential.AccessToken.Reveal() != "long-token" || out.Vars["site"] != "17" || out.Vars["team"] == "" || out.Credential.Keep["hush"].Empty() {
		t.Errorf("vars %v", out.Vars)
	}
	long, sites := b.Requests("GET /long")[0], b.Requests("GET /sites")[0]
	if long.Query.Get("fb_exchange_token") == "" || long.Query.Has("client_id") || !long.Query.Has("client_secret") {
		t.Errorf("exchange sent %v", long.Query)
	}
	if sites.Header.Get("Authorization") != "Bearer long-token" || sites.Header.Get("X-App") != "basic" {
		t.Errorf("look-up sent %v", sites.Header)
	}

	evil := authtest.NewServer(authtest.Options{})
	defer evil.Close()
	b.def.Exchange, b.def.After[0].Get = nil, evil.URL+"/sites"
	_, err := b.finish(b.approved(t))
	want(t, err, auth.ErrConfig)
	if n := len(evil.Requests("")); n != 0 {
		t.Error("the token went to a host that is not the provider's")
	}
}

// C24, I1: an address in an answer leads nowhere but into its list.
func TestKeptAddresses(t *testing.T) {
	for _, address := range []string{"https://evil.example", "https://x.salesforce.com.evil.example", "https://a@x.salesforce.com", "//x.salesforce.com", "http://x.salesforce.com",
		"https://x.salesforce.com:8443", "https://xn--e1afmkfd.salesforce.com", "https://x.salesforce.com\\@evil.example", "https://x.salesforce.com/?next=evil", "javascript:alert(1)", "https://169.254.169.254"} {
		b := newBench(t, authtest.Options{})
		b.def.Response.Keep = map[string]providers.Keep{"instance_url": {Path: "instance_url", Hosts: []string{"*.salesforce.com"}}}
		q := b.approved(t)
		b.Fault("POST /token", authtest.With(map[string]any{"instance_url": address}))
		_, err := b.finish(q)
		want(t, err, auth.ErrRefused)

		b.def.Response.Keep = nil
		out := b.signIn(t)
		b.def.Response.Keep = map[string]providers.Keep{"instance_url": {Path: "instance_url", Hosts: []string{"*.salesforce.com"}}}
		b.flow.Vars = map[string]string{"instance_url": "https://good.salesforce.com"}
		b.Fault("POST /token", authtest.With(map[string]any{"instance_url": address}))
		if next, err := b.renew(out); err != nil || next.Vars["instance_url"] != "https://good.salesforce.com" {
			t.Errorf("a refresh with %s: %v", address, err)
		}
	}
	b := newBench(t, authtest.Options{})
	b.def.Response.Keep = map[string]providers.Keep{"instance_url": {Path: "instance_url", Hosts: []string{"*.salesforce.com"}}}
	q := b.approved(t)
	b.Fault("POST /token", authtest.With(map[string]any{"instance_url": "https://my.salesforce.com"}))
	if out, err := b.finish(q); err != nil || out.Vars["instance_url"] != "https://my.salesforce.com" {
		t.Errorf("a good address: %v", err)
	}
}
