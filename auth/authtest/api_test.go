package authtest_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/latchpost/latchpost/auth/authtest"
)

// call makes a GET and does not follow redirects.
func call(t *testing.T, target string, header http.Header) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if len(resp.Trailer) > 0 {
		resp.Header.Set("X-Trailer", resp.Trailer.Get("X-Echo"))
	}
	return answer{resp.StatusCode, resp.Header, string(body), err}
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func TestAPI(t *testing.T) {
	srv := start(t, authtest.Options{})
	api := authtest.NewAPI(srv)
	t.Cleanup(api.Close)
	api.Keys = []string{"key-1"}
	token, _ := signIn(t, config(srv, "public"), as(srv, "alice"))
	repo, _ := signIn(t, config(srv, "public", "repo"), as(srv, "alice"))
	for _, test := range []struct {
		name, path string
		header     http.Header
		status     int
		holds      string
	}{
		{"no credential", "/api/me", nil, 401, "invalid_token"},
		{"wrong token", "/api/me", bearer("wrong"), 401, "invalid_token"},
		{"token", "/api/me", bearer(token.AccessToken), 200, `"login":"alice"`},
		{"key", "/api/me", http.Header{"X-Api-Key": {"key-1"}}, 200, `"login":"key"`},
		{"key in query", "/api/me?api_key=key-1", nil, 200, ""},
		{"cookie", "/api/me", http.Header{"Cookie": {"session=key-1"}}, 200, ""},
		{"too little scope", "/api/repos", bearer(token.AccessToken), 403, "insufficient_scope"},
		{"enough scope", "/api/repos", bearer(repo.AccessToken), 200, `"name":"plans"`},
		{"redirect", "/api/redirect?to=http://127.0.0.1:1/&status=307", bearer(token.AccessToken), 307, ""},
		{"loop", "/api/loop", bearer(token.AccessToken), 302, ""},
		{"html", "/api/content/html", bearer(token.AccessToken), 200, "IGNORE ALL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := call(t, api.URL+test.path, test.header)
			if got.status != test.status || !strings.Contains(got.body, test.holds) {
				t.Errorf("got %d %q, want %d with %q", got.status, got.body, test.status, test.holds)
			}
		})
	}
	seen := api.Requests("GET /api/repos")
	if len(seen) != 2 || seen[1].Header.Get("Authorization") != "Bearer "+repo.AccessToken {
		t.Errorf("the log of requests has %+v", seen)
	}
}

func TestUnauthorizedOnce(t *testing.T) {
	srv := start(t, authtest.Options{})
	api := authtest.NewAPI(srv)
	t.Cleanup(api.Close)
	token, _ := signIn(t, config(srv, "public"), as(srv, "alice"))
	api.Fault("/api/me", authtest.Unauthorized, authtest.InsufficientScope("repo"))
	for _, want := range []int{401, 403, 200} {
		if got := call(t, api.URL+"/api/me", bearer(token.AccessToken)); got.status != want {
			t.Errorf("got %d, want %d", got.status, want)
		}
	}
}

func TestEveryEchoHoldsTheToken(t *testing.T) {
	srv := start(t, authtest.Options{})
	api := authtest.NewAPI(srv)
	t.Cleanup(api.Close)
	full, _ := signIn(t, config(srv, "public"), as(srv, "alice"))
	secret := full.AccessToken
	plain := func(a answer) bool { return strings.Contains(a.body, secret) }
	decoded := func(encoding *base64.Encoding) func(answer) bool {
		return func(a answer) bool {
			raw, err := encoding.DecodeString(strings.Fields(a.body)[2])
			return err == nil && strings.HasSuffix(string(raw), secret)
		}
	}
	holds := map[string]func(answer) bool{
		"base64": decoded(base64.StdEncoding), "base64+1": decoded(base64.StdEncoding), "base64+2": decoded(base64.StdEncoding),
		"base64url": decoded(base64.RawURLEncoding),
		"headers":   func(a answer) bool { return a.header.Get("X-Echo") == secret },
		"trailer":   func(a answer) bool { return a.header.Get("X-Trailer") == secret },
		"plain":     plain, "error": plain, "chunks": plain, "query": plain, "json": plain,
		"hex":     func(a answer) bool { return strings.Contains(a.body, "6163636573735f") },
		"HEX":     func(a answer) bool { return strings.Contains(a.body, "6163636573735F") },
		"percent": func(a answer) bool { return strings.Contains(a.body, "%61%63%63%65%73%73%5F") },
		"escaped": func(a answer) bool { return strings.Contains(a.body, `\u0061\u0063\u0063`) },
		"lines": func(a answer) bool {
			text := strings.TrimSuffix(strings.TrimPrefix(a.body, "you sent "), " here")
			raw, err := base64.StdEncoding.DecodeString(text) // which skips line ends
			return err == nil && strings.Contains(text, "\r\n") && string(raw) == secret
		},
		"utf16":    func(a answer) bool { return strings.Contains(a.body, "a\x00c\x00c\x00e\x00s\x00s\x00_\x00") },
		"reversed": func(a answer) bool { return strings.Contains(a.body, "_ssecca") },
		"html":     func(a answer) bool { return strings.Contains(a.body, "&#97;&#99;&#99;") },
	}
	for _, form := range authtest.EchoForms() {
		check := holds[form]
		if check == nil {
			t.Errorf("%s is not checked", form)
			continue
		}
		if got := call(t, api.URL+"/api/echo/"+form, bearer(secret)); !check(got) {
			t.Errorf("%s: %d %q", form, got.status, got.body)
		}
	}
	if got := call(t, api.URL+"/api/echo", bearer(secret)); !plain(got) {
		t.Errorf("echo: %q", got.body)
	}
}

func TestThiefSeesEverything(t *testing.T) {
	thief := authtest.NewAPI(nil)
	t.Cleanup(thief.Close)
	if _, err := refresh(t.Context(), &oauth2.Config{Endpoint: oauth2.Endpoint{TokenURL: thief.URL + "/token", AuthStyle: oauth2.AuthStyleInParams}}, "stolen"); err == nil {
		t.Error("the thief gave a token")
	}
	if seen := thief.Requests(""); len(seen) != 1 || seen[0].Form.Get("refresh_token") != "stolen" {
		t.Errorf("the thief saw %+v", seen)
	}
}
