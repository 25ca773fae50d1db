package authtest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth/authtest"
)

// answer is what a client that is not careful at all sees.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

// ask posts a form and reads at most 1 MiB of the answer.
func ask(ctx context.Context, target string, form url.Values) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return answer{resp.StatusCode, resp.Header, string(body), err}, nil
}

var clientCredentials = url.Values{
	"grant_type": {"client_credentials"}, "client_id": {"post"}, "client_secret": {"post secret/+:%&="}, "scope": {"repo"},
}

func TestFaults(t *testing.T) {
	contains := func(parts ...string) func(answer) bool {
		return func(a answer) bool {
			for _, part := range parts {
				if !strings.Contains(a.body, part) {
					return false
				}
			}
			return a.err == nil
		}
	}
	status := func(want int) func(answer) bool { return func(a answer) bool { return a.status == want } }
	for _, test := range []struct {
		name  string
		fault authtest.Fault
		want  func(answer) bool
	}{
		{"pass", authtest.Pass, contains(`"access_token":"access_`)},
		{"answer", authtest.Answer(418, "", "short"), func(a answer) bool {
			return a.status == 418 && a.body == "short" && a.header.Get("Content-Type") == ""
		}},
		{"refuse", authtest.Refuse(400, "invalid_client", authtest.HostileText), contains(`"error":"invalid_client"`, "IGNORE ALL")},
		{"login page", authtest.LoginPage(200), contains("<form>")},
		{"busy", authtest.Busy(503, "120"), func(a answer) bool { return a.status == 503 && a.header.Get("Retry-After") == "120" }},
		{"redirect 307", authtest.Redirect(307, "http://127.0.0.1:1/thief"), func(a answer) bool {
			return a.status == 307 && a.header.Get("Location") == "http://127.0.0.1:1/thief"
		}},
		{"echo", authtest.Echo, contains("client_secret=post+secret", "grant_type=")},
		{"echo status", authtest.Echo, status(500)},
		{"odd expires_in", authtest.With(map[string]any{"expires_in": authtest.Raw("1e400")}), contains(`"expires_in":1e400`)},
		{"mac", authtest.With(map[string]any{"token_type": "mac"}), contains(`"token_type":"mac"`, `"access_token":"access_`)},
		{"line break", authtest.With(map[string]any{"access_token": "a\r\nX: y"}), contains(`"access_token":"a\r\nX: y"`)},
		{"narrowed", authtest.With(map[string]any{"scope": "read"}), contains(`"scope":"read"`)},
		{"without", authtest.Without("expires_in"), func(a answer) bool {
			return strings.Contains(a.body, "access_token") && !strings.Contains(a.body, "expires_in")
		}},
		{"twice", authtest.Twice("access_token", "first"), contains(`{"access_token":"first",`, `"access_token":"access_`)},
		{"cut within", authtest.CutWithin, func(a answer) bool {
			return a.status == 200 && errors.Is(a.err, io.ErrUnexpectedEOF) && a.body != ""
		}},
		{"drip", authtest.Drip(0), contains(`"access_token":"access_`)},
		{"endless", authtest.Endless, func(a answer) bool { return len(a.body) == 1<<20 }},
		{"huge", authtest.Huge(2 << 20), func(a answer) bool { return len(a.body) == 1<<20 && strings.TrimSpace(a.body) == "" }},
		{"gzip bomb", authtest.GzipBomb(2 << 20), func(a answer) bool { return len(a.body) == 1<<20 && strings.TrimSpace(a.body) == "" }},
		{"huge headers", authtest.HugeHeaders(100), func(a answer) bool { return len(a.header["X-Huge"]) == 100 }},
		{"form", authtest.AsForm, contains("access_token=access_", "expires_in=3600")},
		{"content type", authtest.ContentType("text/plain"), func(a answer) bool {
			return a.header.Get("Content-Type") == "text/plain" && strings.Contains(a.body, `"access_token"`)
		}},
		{"own", func(w http.ResponseWriter, r *http.Request, _ http.Handler) { w.WriteHeader(204) }, status(204)},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := start(t, authtest.Options{})
			srv.Fault("/token", test.fault)
			got, err := ask(t.Context(), srv.URL+"/token", clientCredentials)
			if err != nil {
				t.Fatal(err)
			}
			if !test.want(got) {
				t.Errorf("got %d %v %.300q %v", got.status, got.header, got.body, got.err)
			}
			honest, err := ask(t.Context(), srv.URL+"/token", clientCredentials)
			if err != nil || honest.status != 200 {
				t.Errorf("the request after the fault got %d, %v", honest.status, err)
			}
			if seen := len(srv.Requests("POST /token")); seen != 2 {
				t.Errorf("%d requests were recorded, want 2", seen)
			}
		})
	}
}

func TestCutBeforeAndAfter(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault authtest.Fault
		want  int // refreshes that the server did
	}{{"before", authtest.CutBefore, 0}, {"after", authtest.CutAfter, 1}} {
		t.Run(test.name, func(t *testing.T) {
			srv := start(t, authtest.Options{})
			c := config(srv, "public")
			token, _ := signIn(t, c, as(srv, "alice"))
			srv.Fault("/token", test.fault)
			if _, err := refresh(t.Context(), c, token.RefreshToken); err == nil {
				t.Fatal("the refresh was answered")
			}
			if got := srv.Stats().Refreshes; got != test.want {
				t.Errorf("%d refreshes, want %d", got, test.want)
			}
		})
	}
}

func TestSilenceEndsWithTheClientAndWithTheServer(t *testing.T) {
	srv := start(t, authtest.Options{})
	srv.FaultAlways("/token", authtest.Silence)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := ask(ctx, srv.URL+"/token", clientCredentials); err == nil && got.err == nil {
		t.Errorf("silence was broken: %+v", got)
	}
	fault, pause := authtest.PauseAt(authtest.Received)
	srv.Fault("/token", fault)
	failed := make(chan error)
	go func() {
		_, err := ask(t.Context(), srv.URL+"/token", clientCredentials)
		failed <- err
	}()
	<-pause.Reached
	srv.Close()
	if err := <-failed; err == nil {
		t.Error("a closed server answered")
	}
}

func TestPause(t *testing.T) {
	for name, point := range map[string]authtest.Point{
		"received": authtest.Received, "committed": authtest.Committed, "headers": authtest.Headers, "body": authtest.Body,
	} {
		t.Run(name, func(t *testing.T) {
			srv := start(t, authtest.Options{})
			c := config(srv, "public")
			token, _ := signIn(t, c, as(srv, "alice"))
			fault, pause := authtest.PauseAt(point)
			srv.Fault("/token", fault)
			done := make(chan error, 1)
			go func() {
				_, err := refresh(t.Context(), c, token.RefreshToken)
				done <- err
			}()
			<-pause.Reached
			want := 1
			if point == authtest.Received {
				want = 0
			}
			if got := srv.Stats().Refreshes; got != want {
				t.Errorf("%d refreshes at the pause, want %d", got, want)
			}
			close(pause.Release)
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCallbackFault(t *testing.T) {
	srv := start(t, authtest.Options{})
	srv.Fault("POST /authorize", authtest.Callback(func(query url.Values) {
		query.Set("iss", "https://evil.example")
		query.Add("code", "second")
	}))
	c := config(srv, "public")
	callback, err := srv.Approve(t.Context(), c.AuthCodeURL("s")+"&code_challenge_method=S256&code_challenge="+strings.Repeat("c", 43), "alice")
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(callback)
	if q := u.Query(); q.Get("iss") != "https://evil.example" || len(q["code"]) != 2 || q.Get("state") != "s" {
		t.Errorf("got %s", callback)
	}
}
