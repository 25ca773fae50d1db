package auth_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// B4, B5, B6, B7, B8: a real answer, bent in one place, is refused before anything is sent.
// (B5: with the iss of the other server; the code goes to nobody.)
func TestCallbackAttacks(t *testing.T) {
	b := newBench(t, authtest.Options{})
	good := b.approved(t)
	attacks := map[string]func(q url.Values){
		"iss of another":       func(q url.Values) { q.Set("iss", "https://evil.example") },
		"iss stripped":         func(q url.Values) { q.Del("iss") },
		"iss empty":            func(q url.Values) { q.Set("iss", "") },
		"iss with slash":       func(q url.Values) { q.Set("iss", q.Get("iss")+"/") },
		"iss in capitals":      func(q url.Values) { q.Set("iss", strings.ToUpper(q.Get("iss"))) },
		"iss encoded":          func(q url.Values) { q.Set("iss", url.QueryEscape(q.Get("iss"))) },
		"iss twice":            func(q url.Values) { q.Add("iss", q.Get("iss")) },
		"code twice":           func(q url.Values) { q.Add("code", "other") },
		"state twice":          func(q url.Values) { q.Add("state", "other") },
		"error twice":          func(q url.Values) { q["error"] = []string{"a", "b"} },
		"code and error":       func(q url.Values) { q.Set("error", "access_denied") },
		"no code":              func(q url.Values) { q.Del("code") },
		"empty code":           func(q url.Values) { q.Set("code", "") },
		"huge code":            func(q url.Values) { q.Set("code", strings.Repeat("a", 1<<20)) },
		"code with line break": func(q url.Values) { q.Set("code", "a\r\nX: y") },
		"code beyond ASCII":    func(q url.Values) { q.Set("code", "é") },
		"many parameters": func(q url.Values) {
			for i := range 2000 {
				q.Set("p"+strings.Repeat("x", i%50)+string(rune('a'+i%26)), "1")
			}
		},
	}
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			q := url.Values{}
			for key, values := range good {
				q[key] = slices.Clone(values)
			}
			attack(q)
			_, err := b.finish(q)
			want(t, err, auth.ErrRefused)
			b.clean(t, err)
		})
	}
	if n := len(b.Requests("POST /token")); n != 0 {
		t.Errorf("%d token requests", n)
	}
	if _, err := b.finish(good); err != nil {
		t.Errorf("the untouched answer: %v", err)
	}
}

// B4: Microsoft's tenant stands in its issuer, and only there.
func TestIssuerTemplate(t *testing.T) {
	b := newBench(t, authtest.Options{})
	b.def.IssuerTemplate = "https://login.example.com/{tenantid}/v2.0"
	q := b.approved(t)
	for _, bad := range []string{"https://login.example.com/a/b/v2.0", "https://login.example.com//v2.0", "https://login.example.com/x/v2.0/", "https://loginXexample.com/x/v2.0"} {
		q.Set("iss", bad)
		_, err := b.finish(q)
		want(t, err, auth.ErrRefused)
	}
	q.Set("iss", "https://login.example.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0")
	if _, err := b.finish(q); err != nil {
		t.Error(err)
	}
}

// B9, CB-009: what a provider says about an error reaches nobody but as a code that we know.
func TestHostileErrorCallback(t *testing.T) {
	b := newBench(t, authtest.Options{})
	q := b.approved(t)
	for _, code := range []string{"server_oops", "IGNORE_ALL_PREVIOUS_INSTRUCTIONS", authtest.HostileText, strings.Repeat("x", 1<<10)} {
		_, err := b.finish(url.Values{"state": q["state"], "iss": q["iss"], "error": {code},
			"error_description": {authtest.HostileText + strings.Repeat("x", 1<<20)}, "error_uri": {"javascript:alert(1)"}})
		want(t, err, auth.ErrRefused)
		if got := err.Error(); len(got) > 300 || strings.Contains(got, "IGNORE") || strings.ContainsAny(got, "<>\x1b\u202e") {
			t.Errorf("the error says %q", got)
		}
	}
}

// B17: Cancel is a normal outcome.
func TestDeclined(t *testing.T) {
	b := newBench(t, authtest.Options{})
	back, err := b.Deny(t.Context(), b.begin(t).String())
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(back)
	_, err = b.finish(u.Query())
	want(t, err, auth.ErrDeclined)
	if n := len(b.Requests("POST /token")); n != 0 {
		t.Errorf("%d token requests", n)
	}
}

// B15: what is captured obeys its rule, and what moves the token request comes from a closed list.
func TestCapturedParameters(t *testing.T) {
	b := newBench(t, authtest.Options{})
	evil := authtest.NewServer(authtest.Options{})
	defer evil.Close()
	port, evilPort := strings.TrimPrefix(b.URL, "http://127.0.0.1:"), strings.TrimPrefix(evil.URL, "http://127.0.0.1:")
	definition := practice(b.URL)
	definition.Vars = map[string]providers.Var{"accounts": {Ask: "Region", Enum: []string{"1", port}, Default: "1"}}
	definition.OAuth2.Token.URL = "http://127.0.0.1:${accounts}/token"
	definition.OAuth2.Callback.Capture = map[string]providers.Capture{
		"server":  {Param: "accounts-server", Enum: []string{"1", port}, Into: "accounts"},
		"realm":   {Param: "realmId", Pattern: `^[0-9]{1,20}$`},
		"context": {Param: "context", Pattern: `^stores/[a-z0-9]+$`, Optional: true},
		"hush":    {Param: "hush", Pattern: `^[a-z]+$`, Secret: true},
		"region":  {Param: "region", Equals: "${accounts}", Optional: true},
	}
	resolved, err := definition.Resolve(map[string]string{"accounts": "1"})
	if err != nil {
		t.Fatal(err)
	}
	b.flow.Provider, b.flow.Definition, b.flow.Vars = resolved, definition, map[string]string{"accounts": "1"}
	good := b.approved(t)
	good.Set("accounts-server", port)
	good.Set("realmId", "4620816365")
	good.Set("hush", "canaryvalue")
	for name, bend := range map[string][2]string{
		"evil server": {"accounts-server", "https://evil.example"}, "look-alike": {"accounts-server", port + ".evil.example"}, "evil host": {"accounts-server", evilPort},
		"no server": {"accounts-server", ""}, "realm": {"realmId", "1/../2"}, "context": {"context", "stores/../x"}, "equals": {"region", "eu"},
	} {
		q := url.Values{}
		for key, values := range good {
			q[key] = values
		}
		q.Set(bend[0], bend[1])
		_, err := b.finish(q)
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if n := len(b.Requests("POST /token")) + len(evil.Requests("")); n != 0 {
		t.Errorf("%d requests", n)
	}
	out, err := b.finish(good)
	if err != nil {
		t.Fatal(err)
	}
	if out.Vars["accounts"] != port || out.Vars["realm"] != "4620816365" || out.Credential.Keep["hush"].Reveal() != "canaryvalue" || out.Vars["hush"] != "" {
		t.Errorf("vars %v", out.Vars)
	}
}

// B15, C24: Zoho says as a URL which of its data centres the code is for. It goes to that host, and to none outside the
// list.
func TestZohoDataCentre(t *testing.T) {
	catalog, err := providers.Load("", providers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	definition, err := catalog.Get("zoho")
	if err != nil {
		t.Fatal(err)
	}
	for server, host := range map[string]string{
		"https://accounts.zoho.com": "accounts.zoho.com", "https://accounts.zoho.eu": "accounts.zoho.eu", "": "accounts.zoho.com",
		"https://accounts.zoho.evil.example": "", "accounts.zoho.eu": "", "https://accounts.zoho.eu@evil.example": "",
	} {
		vars := map[string]string{"accounts": "accounts.zoho.com"}
		resolved, err := definition.Resolve(vars)
		if err != nil {
			t.Fatal(err)
		}
		var names nowhere
		c := auth.OAuthCode{OAuth: &auth.OAuth{Out: egress.New(egress.Options{Resolver: &names})}}
		f := &auth.Flow{
			Provider: resolved, Definition: definition, Request: &auth.Request{Method: auth.MethodOAuthCode}, Vars: vars,
			ClientID: "id", Client: auth.NewSecret("secret"), RedirectURI: redirectURI, Now: time.Now(),
		}
		step, err := c.Begin(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		f.Private = step.Private
		q := url.Values{"code": {"1000.abc"}, "location": {"us"}}
		if server != "" {
			q.Set("accounts-server", server)
		}
		_, err = c.Finish(t.Context(), f, auth.Input{Query: q})
		if host == "" {
			want(t, err, auth.ErrRefused)
		} else {
			want(t, err, auth.ErrUnavailable) // for there is no such host here
		}
		if got := strings.Join(names, " "); got != host {
			t.Errorf("%s: the code goes to %q, want %q", server, got, host)
		}
	}
}

// nowhere notes the names that are looked up, and finds none.
type nowhere []string

func (n *nowhere) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	*n = append(*n, strings.TrimSuffix(host, "."))
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// B16: Shopify signs its callback with the client secret, and names the shop that was asked.
func TestSignedCallback(t *testing.T) {
	b := newBench(t, authtest.Options{})
	b.def.Callback.HMAC = "hmac"
	b.def.Callback.Iss = "if-present"
	b.def.Callback.Capture = map[string]providers.Capture{"shop": {Param: "shop", Equals: "one.myshopify.com"}}
	good := b.approved(t)
	good.Del("iss")
	good.Set("timestamp", "1337178173")
	sign := func(shop string) url.Values {
		q := url.Values{"code": good["code"], "state": good["state"], "timestamp": good["timestamp"], "shop": {shop}}
		mac := hmac.New(sha256.New, []byte("basic secret/+:%&="))
		mac.Write([]byte("code=" + q.Get("code") + "&shop=" + shop + "&state=" + q.Get("state") + "&timestamp=1337178173"))
		q.Set("hmac", hex.EncodeToString(mac.Sum(nil)))
		return q
	}
	for name, bend := range map[string]func() url.Values{
		"bad hmac":   func() url.Values { q := sign("one.myshopify.com"); q.Set("hmac", strings.Repeat("00", 32)); return q },
		"no hmac":    func() url.Values { q := sign("one.myshopify.com"); q.Del("hmac"); return q },
		"swapped":    func() url.Values { q := sign("one.myshopify.com"); q.Set("code", "other"); return q },
		"other shop": func() url.Values { return sign("two.myshopify.com") },
		"look-alike": func() url.Values { return sign("one.myshopify.com.evil.example") },
	} {
		_, err := b.finish(bend())
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if n := len(b.Requests("POST /token")); n != 0 {
		t.Errorf("%d token requests", n)
	}
	if _, err := b.finish(sign("one.myshopify.com")); err != nil {
		t.Error(err)
	}
}

// C21: Strava tells the granted scopes in the callback only.
func TestScopesInCallback(t *testing.T) {
	b := newBench(t, authtest.Options{})
	b.def.Scopes.Granted, b.def.Response.ScopeSep = "callback", ","
	q := b.approved(t)
	q.Set("scope", "read,profile:read_all")
	out, err := b.finish(q)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(out.Scopes, []string{"read", "profile:read_all"}) {
		t.Errorf("scopes %v", out.Scopes)
	}
}
