package auth_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// ready is a vault with a connection that the agent may read and write with.
func ready(t *testing.T, options authtest.Options) *authtest.Vault {
	t.Helper()
	v := authtest.NewVault(t, options)
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{Access: auth.Write})
	v.API.Forget()
	return v
}

// withKey is a vault whose provider "keyed" takes a pasted key and sends it as the
// definition's send says.
func withKey(t *testing.T, send, rest, key string) *authtest.Vault {
	t.Helper()
	v := authtest.NewVault(t, authtest.Options{})
	v.API.Keys = []string{key}
	reopen(t, v, keyedSite(t, v, send, rest), nil)
	v.Release = nil
	paste(t, v, key)
	v.API.Forget() // the call that tried the key
	return v
}

// keyedSite is the vault's own, with a definition of "keyed".
func keyedSite(t *testing.T, v *authtest.Vault, send, rest string) site {
	t.Helper()
	authority := strings.TrimPrefix(v.API.URL, "http://")
	definition := fmt.Sprintf(`{"schema":1,"id":"keyed","name":"Keyed","category":"test","docs":"https://example.com",
		"checked":{"on":"2026-11-23","source":"https://example.com","level":"own"},
		"api_key":{"send":[%s],"verify":{"url":"http://%s/api/me"}},"api":{"hosts":[%q],"base":"http://%s/api"}%s}`, send, authority, authority, authority, rest)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "keyed.json"), []byte(definition), 0o600); err != nil {
		t.Fatal(err)
	}
	s := siteOf(v)
	s.Providers = dir
	return s
}

// paste plays the person who pastes a key.
func paste(t *testing.T, v *authtest.Vault, key string) {
	t.Helper()
	_, err := v.Request(t.Context(), agent, auth.Wish{Provider: "keyed"})
	var link *auth.AuthRequired
	if !errors.As(err, &link) {
		t.Fatalf("Request: %v", err)
	}
	person := v.Visit(auth.Visitor{Browser: browserKey("a browser")})
	if _, err := person.Confirm(t.Context(), link.RequestID, auth.Choice{Access: auth.Write}); err != nil {
		t.Fatal(err)
	}
	if err := person.Submit(t.Context(), link.RequestID, auth.Input{Fields: map[string]auth.Secret{"key": auth.NewSecret(key)}}); err != nil {
		t.Fatal(err)
	}
}

func call(t *testing.T, v *authtest.Vault, c auth.Call) *auth.Response {
	t.Helper()
	if c.Provider == "" {
		c.Provider = "practice"
	}
	resp, err := v.Call(t.Context(), agent, c)
	if err != nil {
		t.Fatalf("%s %s%s: %v", c.Method, c.URL, c.Path, err)
	}
	return resp
}

// arrived is the only request that came to the API.
func arrived(t *testing.T, v *authtest.Vault) authtest.Request {
	t.Helper()
	all := v.API.Requests("")
	if len(all) != 1 {
		t.Fatalf("%d requests came to the API", len(all))
	}
	return all[0]
}

// Every kind of body arrives as it was meant, and the same call twice is the same bytes.
func TestCallBodies(t *testing.T) {
	v := ready(t, authtest.Options{})
	parts := []auth.Part{
		{Name: "title", Data: []byte("ünder")},
		{Name: `na"me`, Filename: `../../etc/pass"wd`, Data: []byte{0, 1, 0xff}}, // BF-043
	}
	for name, test := range map[string]struct {
		call auth.Call
		kind string
		want string // in the body
	}{
		"json":      {auth.Call{Method: "POST", Headers: map[string]string{"Content-Type": "application/json"}, Body: []byte(`{"a":1}`)}, "application/json", `{"a":1}`},
		"binary":    {auth.Call{Method: "PUT", Headers: map[string]string{"Content-Type": "application/octet-stream"}, Body: []byte{0, 255, 254}}, "application/octet-stream", "\x00\xff\xfe"},
		"form":      {auth.Call{Method: "POST", Form: map[string][]string{"b": {"2 &", "3"}, "a": {"1"}}}, "application/x-www-form-urlencoded", "a=1&b=2+%26&b=3"},
		"multipart": {auth.Call{Method: "PATCH", Parts: parts}, "multipart/form-data; boundary=", "\r\nContent-Type: application/octet-stream\r\n\r\n\x00\x01\xff\r\n--"},
		"delete":    {auth.Call{Method: "DELETE", Body: []byte(`x`)}, "", `x`},
	} {
		test.call.Path = "/echo"
		v.API.Forget()
		call(t, v, test.call)
		call(t, v, test.call)
		seen := v.API.Requests("")
		if got := seen[0]; got.Method != test.call.Method || !strings.HasPrefix(got.Header.Get("Content-Type"), test.kind) || !strings.Contains(string(got.Body), test.want) {
			t.Errorf("%s: %s %q %q", name, got.Method, got.Header.Get("Content-Type"), got.Body)
		}
		if !bytes.Equal(seen[0].Body, seen[1].Body) {
			t.Errorf("%s: the same call is not the same request", name)
		}
	}
	if body := string(v.API.Requests("")[0].Body); strings.Contains(body, "root:") {
		t.Error("a file of this machine was read")
	}
}

// What is not in order is refused before anything is on record as allowed, and before
// anything is sent: BF-001, BF-002, BF-003, BF-017, BF-019, BF-020, BF-021, BF-022,
// BF-025, BF-043, BF-045.
func TestCallRefusals(t *testing.T) {
	v := ready(t, authtest.Options{})
	thief := authtest.NewAPI(nil)
	t.Cleanup(thief.Close)
	evil := strings.TrimPrefix(thief.URL, "http://")
	api := strings.TrimPrefix(v.API.URL, "http://")
	header := func(name, value string) auth.Call {
		return auth.Call{Path: "/echo", Headers: map[string]string{name: value}}
	}
	for name, c := range map[string]auth.Call{
		"BF-001 user info":           {URL: "http://" + api + "@" + evil + "/api/me"},
		"BF-002 backslash":           {URL: "http://" + api + `\@` + evil + "/api/me"},
		"BF-002 encoded host":        {URL: "http://127.0.0.1%2e" + evil + "/"},
		"BF-003 Cyrillic":            {URL: "https://аpi.github.com/"},
		"BF-017 line end in path":    {Path: "/me\r\nHost: evil"},
		"BF-017 method":              {Path: "/me", Method: "GET\r\nX:"},
		"BF-017 header":              header("Accept", "a\r\nHost: evil"),
		"BF-019 host":                header("hOsT", evil),
		"BF-020 authorization":       header("authorization", "Bearer mine"),
		"BF-020 cookie":              header("Cookie", "a=b"),
		"BF-020 key":                 header("X-Api-Key", "mine"),
		"BF-021 connection":          header("Connection", "x-api-key"),
		"BF-021 override":            header("X-HTTP-Method-Override", "DELETE"),
		"BF-022 CONNECT":             {Path: "/me", Method: "CONNECT"},
		"BF-022 TRACE":               {Path: "/me", Method: "TRACE"},
		"BF-022 upgrade":             header("Upgrade", "websocket"),
		"BF-043 100 MiB":             {Path: "/echo", Method: "POST", Body: make([]byte, 100<<20)},
		"BF-045 encoding":            header("Accept-Encoding", "zstd"),
		"BF-027 character set":       header("Accept", "application/json; charset=UTF-16, text/plain"),
		"BF-027 slices":              header("Range", "bytes=0-9,10-19"),
		"a GET with a body":          {Path: "/echo", Body: []byte("x")},
		"url and path":               {Path: "/me", URL: v.API.URL + "/api/me"},
		"neither":                    {},
		"a query beyond measure":     {Path: "/me", Query: map[string][]string{"q": {strings.Repeat("x", 9<<10)}}},
		"two kinds of body":          {Path: "/echo", Method: "POST", Body: []byte("x"), Form: map[string][]string{"a": {"b"}}},
		"content type beside a form": {Path: "/echo", Method: "POST", Form: map[string][]string{"a": {"b"}}, Headers: map[string]string{"Content-Type": "text/plain"}},
		"a part without a name":      {Path: "/echo", Method: "POST", Parts: []auth.Part{{Data: []byte("x")}}},
		"a part with two headers":    {Path: "/echo", Method: "POST", Parts: []auth.Part{{Name: "a", ContentType: "a\r\nb: c"}}},
	} {
		c.Provider = "practice"
		if resp, err := v.Call(t.Context(), agent, c); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, resp, err)
		}
	}
	if n := len(v.API.Requests("")) + len(thief.Requests("")); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	// BF-025: what looks like a template is sent as it stands.
	call(t, v, auth.Call{Path: "/echo", Method: "POST", Query: map[string][]string{"q": {"{{token}}"}}, Body: []byte("${TOKEN} ${access_token} %(token)s")})
	if got := arrived(t, v); got.Query.Get("q") != "{{token}}" || string(got.Body) != "${TOKEN} ${access_token} %(token)s" {
		t.Errorf("BF-025: %q %q", got.Query, got.Body)
	}
}

// BF-036: a reading agent can put what it knows into the query of an allowed host. That is on record before it is sent,
// with host and path, and the agent has no credential that it could put there: what it is given is a handle, which means
// nothing elsewhere, and what looks like a template stays what it is.
func TestDataInTheQuery(t *testing.T) {
	v := ready(t, authtest.Options{})
	known, err := v.Get(t.Context(), agent, auth.Need{Provider: "practice"})
	if err != nil {
		t.Fatal(err)
	}
	told := fmt.Sprintf("%+v", *known) // all of it
	call(t, v, auth.Call{Path: "/me", Query: map[string][]string{"q": {"the owner's diary " + told + " ${access_token}"}}})
	got := arrived(t, v)
	if q := got.Query.Get("q"); !strings.Contains(q, "diary") || !strings.HasSuffix(q, " ${access_token}") {
		t.Errorf("the API got %q", q)
	}
	for _, secret := range v.Server.Secrets() {
		if strings.Contains(got.Query.Encode(), url.QueryEscape(secret)) {
			t.Error("the query has a secret in it")
		}
	}
	events, err := v.Audit.Events(t.Context(), auth.Local, auth.EventFilter{Kind: "call"})
	if err != nil || len(events) != 1 {
		t.Fatalf("%d records, %v", len(events), err)
	}
	if e := events[0]; e.Detail["host"] != "127.0.0.1" || e.Detail["path"] != "/api/me" || strings.Contains(fmt.Sprint(e), "diary") {
		t.Errorf("on record: %+v", e)
	}
}

// BF-004, BF-020: the canonical host is what is sent, with exactly one credential.
func TestCallSendsOneCredential(t *testing.T) {
	v := ready(t, authtest.Options{})
	authority := strings.TrimPrefix(v.API.URL, "http://")
	call(t, v, auth.Call{URL: "HTTP://" + strings.Replace(authority, "127.0.0.1", "127.0.0.1", 1) + "/api/me"})
	got := arrived(t, v)
	if values := got.Header["Authorization"]; len(values) != 1 || !strings.HasPrefix(values[0], "Bearer access_") || got.Host != authority {
		t.Errorf("host %s, %d credentials", got.Host, len(values))
	}
	if got.Header["Cookie"] != nil || got.Header.Get("User-Agent") == "Go-http-client/1.1" {
		t.Errorf("header %v", got.Header)
	}
}

// A call needs the connection only: an OAuth app that was removed, and is missed at the next renewal, does not stop it.
func TestCallWithoutApp(t *testing.T) {
	v := ready(t, authtest.Options{})
	if err := v.Desk(auth.Local).RemoveApp(t.Context(), "practice"); err != nil {
		t.Fatal(err)
	}
	call(t, v, auth.Call{Path: "/me"})
}

// BF-011, BF-012, BF-013, BF-014: a redirect is an answer with the host it points to.
// Nobody follows it, and an agent that does is judged afresh.
func TestCallRedirects(t *testing.T) {
	v := ready(t, authtest.Options{})
	thief := authtest.NewAPI(nil)
	t.Cleanup(thief.Close)
	evil := strings.TrimPrefix(thief.URL, "http://")
	for _, status := range []string{"301", "302", "303", "307", "308"} {
		resp := call(t, v, auth.Call{Path: "/redirect", Query: map[string][]string{"status": {status}, "to": {thief.URL + "/steal?x=1"}}})
		if fmt.Sprint(resp.Status) != status || resp.LocationHost != evil || resp.Headers["location"] != "" {
			t.Errorf("%s: %+v", status, resp)
		}
	}
	v.API.Forget()
	if resp := call(t, v, auth.Call{Path: "/loop"}); resp.Status != http.StatusFound || len(v.API.Requests("")) != 1 {
		t.Errorf("BF-013: %d requests", len(v.API.Requests("")))
	}
	if _, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", URL: thief.URL + "/steal?x=1"}); !errors.Is(err, auth.ErrDenied) || !strings.Contains(err.Error(), "rule host") {
		t.Errorf("BF-014: %v", err)
	}
	if n := len(thief.Requests("")); n != 0 {
		t.Errorf("the thief saw %d requests", n)
	}
}

// BF-016: a proxy that the host's configuration names sees nothing.
func TestCallIgnoresProxy(t *testing.T) {
	proxy := authtest.NewAPI(nil)
	t.Cleanup(proxy.Close)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, proxy.URL)
	}
	t.Setenv("NO_PROXY", "")
	v := ready(t, authtest.Options{})
	call(t, v, auth.Call{Path: "/me"})
	if n := len(proxy.Requests("")); n != 0 {
		t.Errorf("the proxy saw %d requests", n)
	}
	arrived(t, v)
}

// BF-024, BF-020: a credential that has to stand in the query is in no result, error, log or record, and the agent
// cannot bring the parameter itself.
func TestCallWithKeyInQuery(t *testing.T) {
	const key = "canary-k9x/w2+q7z=r4t8m1"
	v := withKey(t, `{"in":"query","name":"api_key","format":"${key}"}`, "", key)
	var log bytes.Buffer
	v.Log = jsonLog(&log)
	results := []any{call(t, v, auth.Call{Provider: "keyed", Path: "/echo", Query: map[string][]string{"q": {"1"}}})}
	got := arrived(t, v)
	if len(got.Query["api_key"]) != 1 || got.Query.Get("api_key") != key || got.Query.Get("q") != "1" {
		t.Errorf("the API got %v", got.Query)
	}
	for _, query := range []string{"api_key=mine", "%61pi_key=mine", "api_key", "%zz=a", "q=1;api_key=mine", "q=1;%61pi_key=mine&r=2", ";api_key", "q=1;%zz=a"} {
		resp, err := v.Call(t.Context(), agent, auth.Call{Provider: "keyed", URL: v.API.URL + "/api/me?" + query})
		if !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: %+v, %v", query, resp, err)
		}
	}
	v.API.Fault("/api/me", authtest.CutAfter, authtest.CutAfter, authtest.CutWithin, authtest.CutBefore, authtest.CutBefore)
	for range 3 {
		resp, err := v.Call(t.Context(), agent, auth.Call{Provider: "keyed", Path: "/me"})
		results = append(results, resp, err, fmt.Sprintf("%+v %#v %s", err, err, err))
	}
	results = append(results, call(t, v, auth.Call{Provider: "keyed", Path: "/redirect", Query: map[string][]string{"to": {"https://example.com/?api_key=" + key}}}))
	v.API.Close()
	_, err := v.Call(t.Context(), agent, auth.Call{Provider: "keyed", Path: "/me"})
	results = append(results, err, fmt.Sprintf("%+v %#v %s", err, err, err), record(t, v), log.String())
	for i, r := range results {
		if found := authtest.Scan([]byte(text(t, r)), key); found != nil {
			t.Errorf("result %d: %v", i, found)
		}
	}
}

// text is a value as agents, logs and people may get to see it.
func text(t *testing.T, v any) string {
	t.Helper()
	if resp, ok := v.(*auth.Response); ok && resp != nil {
		v = fmt.Sprintf("%+v %s", *resp, resp.Body)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %+v", data, v)
}

// A call that works with no sign-in is refused, and on record, before anybody is sent to sign in for it. What the sign-in will
// tell is not held against a call.
func TestHopelessCallAsksNobody(t *testing.T) {
	v := authtest.NewVault(t, authtest.Options{})
	header := map[string]string{"Authorization": "Bearer x"}
	check := func(c auth.Call, want error, rule string) {
		t.Helper()
		before := len(events(t, v, "request.create"))
		_, err := v.Call(t.Context(), agent, c)
		link, asked := errors.AsType[*auth.AuthRequired](err)
		if rule == "" && asked {
			rule = link.Reason
		}
		if want == nil && !asked || want != nil && !errors.Is(err, want) {
			t.Errorf("%+v: %v", c, err)
		}
		all := events(t, v, "call")
		if last := all[len(all)-1]; last.Decision != "deny" || last.Detail["rule"] != rule || last.Provider != c.Provider {
			t.Errorf("%+v: on record as %+v", c, last)
		}
		if want != nil && len(events(t, v, "request.create")) != before {
			t.Errorf("%+v: there is a request to sign in", c)
		}
	}
	hopeless := func(provider string) {
		t.Helper()
		check(auth.Call{Provider: provider, Path: "/me", Method: "TRACE"}, auth.ErrInvalid, "invalid")
		check(auth.Call{Provider: provider, Path: "/me", Headers: header}, auth.ErrInvalid, "invalid")
		check(auth.Call{Provider: provider, Path: "/me", Body: []byte("x")}, auth.ErrInvalid, "invalid")
		check(auth.Call{Provider: provider, Path: "/me", Method: "POST", Body: []byte(`{"a"`), Headers: map[string]string{"Content-Type": "application/json"}}, auth.ErrInvalid, "invalid")
		check(auth.Call{Provider: provider}, auth.ErrInvalid, "invalid")
	}
	for _, provider := range []string{"practice", "github", "microsoft", "mastodon", "salesforce", "shopify"} {
		hopeless(provider)
	}
	for _, c := range []auth.Call{
		{Provider: "practice", URL: "https://evil.example/x"}, {Provider: "github", URL: "https://evil.example/x"}, {Provider: "microsoft", URL: "https://evil.example/x"},
		{Provider: "shopify", URL: "https://evil.example/x"}, {Provider: "google", URL: "https://googleapis.com/x"},
	} {
		check(c, auth.ErrDenied, auth.RuleHost)
	}
	for _, c := range []auth.Call{
		{Provider: "practice", Path: "/me"}, {Provider: "github", Path: "/user"}, {Provider: "microsoft", Path: "/me"}, {Provider: "google", URL: "https://gmail.googleapis.com/x"},
		{Provider: "mastodon", Path: "/api/v1/x"}, {Provider: "mastodon", URL: "https://any.example/x"}, {Provider: "shopify", URL: "https://acme.myshopify.com/x"},
		{Provider: "salesforce", Path: "/services"}, {Provider: "salesforce", URL: "https://acme.my.salesforce.com/x"},
	} {
		check(c, nil, "")
	}

	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	infos, err := v.List(t.Context(), agent, "practice")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Connections.SetState(t.Context(), auth.Local, infos[0].ID, 1, auth.NeedsReauth, "invalid_grant"); err != nil {
		t.Fatal(err)
	}
	hopeless("practice")
	check(auth.Call{Provider: "practice", URL: "https://evil.example/x"}, auth.ErrDenied, auth.RuleHost)
	check(auth.Call{Provider: "practice", Path: "/me"}, nil, auth.ReasonReauth)
}

// Calls of two owners go out over connections of their own, so that nothing that one leaves there is the other's answer.
func TestOwnersShareNoConnection(t *testing.T) {
	v, _ := newClockedVault(t, authtest.Options{})
	if err := v.Desk(auth.Owner{}).SetApp(t.Context(), "practice", "public", auth.Secret{}, nil); err != nil {
		t.Fatal(err)
	}
	from := func(who auth.Caller) (addresses []string) {
		for range 2 {
			if _, err := v.Call(t.Context(), who, auth.Call{Provider: "practice", Path: "/me"}); err != nil {
				t.Fatal(err)
			}
			all := v.API.Requests("GET /api/me")
			addresses = append(addresses, all[len(all)-1].From)
		}
		return addresses
	}
	for _, who := range []auth.Caller{agent, ann} {
		_, err := v.Request(t.Context(), who, auth.Wish{Provider: "practice"})
		link, ok := errors.AsType[*auth.AuthRequired](err)
		if !ok {
			t.Fatal(err)
		}
		if err := finish(t, v, link, alices, "alice"); err != nil {
			t.Fatal(err)
		}
	}
	mine, anns := from(agent), from(ann)
	if mine[0] == anns[0] || mine[0] != mine[1] || anns[0] != anns[1] {
		t.Errorf("mine come from %v, ann's from %v", mine, anns)
	}
}
