package auth_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

// tokens are all secrets that the provider gave out.
func tokens(v *authtest.Vault) []string {
	return slices.DeleteFunc(v.Server.Secrets(), func(s string) bool { return s == "wonderland" || s == "builder" })
}

// BF-027, SH-013: an API that gives the credential back, in whatever form, does not give it to the agent; and that it
// tried is on record.
func TestCallRedacts(t *testing.T) {
	v := ready(t, authtest.Options{})
	for _, form := range authtest.EchoForms() {
		resp := call(t, v, auth.Call{Path: "/echo/" + form})
		if found := authtest.Scan([]byte(text(t, resp)), tokens(v)...); found != nil {
			t.Errorf("%s: %v in %+v", form, found, resp)
		}
		if quiet := form == "trailer"; resp.Redacted == quiet {
			t.Errorf("%s: redacted is %v", form, resp.Redacted)
		}
		if _, ok := resp.Headers["set-cookie"]; ok {
			t.Errorf("%s: a cookie was passed on", form)
		}
	}
	noted := 0
	for _, e := range events(t, v, "call.done") {
		if e.Detail["redacted"] == "true" {
			noted++
		}
	}
	if want := len(authtest.EchoForms()) - 1; noted != want {
		t.Errorf("%d redactions on record, want %d", noted, want)
	}
}

// answerWith lets the API answer the next request with a function of the credential.
func answerWith(v *authtest.Vault, path string, answer func(w http.ResponseWriter, token string)) {
	v.API.Fault(path, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		answer(w, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	})
}

// BF-027: no half of a secret is left where a long answer is cut, however it is written there.
func TestCutAnswer(t *testing.T) {
	const limit = 1 << 20
	escaped := func(s string) string {
		var b strings.Builder
		for _, c := range s {
			fmt.Fprintf(&b, `\\u%04x`, c)
		}
		return b.String()
	}
	entities := func(s string) string {
		var b strings.Builder
		for _, c := range s {
			fmt.Fprintf(&b, `&amp;amp;#x%x;`, c)
		}
		return b.String()
	}
	lines := func(s string) string { return strings.Join(strings.Split(s, ""), "\n"+strings.Repeat(" ", 20)) }
	for _, spell := range []func(string) string{func(s string) string { return s }, escaped, entities, lines} {
		v := ready(t, authtest.Options{}) // each may receive 64 MiB
		for _, shift := range []int{0, 1, 3, 9, 20, 40, 80, 200, 380, 395, 410, 800} {
			for _, edge := range []int{limit, limit + 16<<10} { // of what is shown, and of what is read
				answerWith(v, "/api/me", func(w http.ResponseWriter, token string) {
					w.Header().Set("Content-Type", "text/plain")
					_, _ = w.Write(append(bytes.Repeat([]byte("ä"), (edge-shift)/2), spell(token)+strings.Repeat("z", limit)...))
				})
				resp := call(t, v, auth.Call{Path: "/me"})
				end := string(resp.Body[max(0, len(resp.Body)-3000):])
				if found := authtest.Scan([]byte(end), tokens(v)...); found != nil || strings.Contains(end, "acce") || strings.Contains(end, `u0061`) || strings.ContainsAny(end, "&\n") {
					t.Fatalf("%d before %d: %v, …%.60q", shift, edge, found, end[len(end)-60:])
				}
				if !resp.Text || !resp.Truncated || len(resp.Body) > limit || len(resp.Body) < limit-20_000 {
					t.Fatalf("%d bytes, text %v, truncated %v", len(resp.Body), resp.Text, resp.Truncated)
				}
			}
		}
	}
}

// BF-027: what is invisible, and taken out, cannot hide a secret from redaction.
func TestSecretBetweenInvisibles(t *testing.T) {
	v := ready(t, authtest.Options{})
	for _, between := range []string{"\u200b", "\x1b[0m", "\u202e", "\U000e0041"} {
		answerWith(v, "/api/me", func(w http.ResponseWriter, token string) {
			if !strings.Contains(between, "\x1b") { // which no HTTP header can hold
				w.Header().Set("Etag", token[:20]+between+token[20:])
			}
			_, _ = w.Write([]byte(token[:20] + between + token[20:]))
		})
		resp := call(t, v, auth.Call{Path: "/me"})
		if found := authtest.Scan([]byte(text(t, resp)), tokens(v)...); found != nil {
			t.Errorf("%q: %v", between, found)
		}
	}
}

// BF-027, BF-024: nothing of a challenge, a content type or the name of a header that the API made of the credential gets out.
func TestSecretInOddHeaders(t *testing.T) {
	v := ready(t, authtest.Options{})
	answerWith(v, "/api/me", func(w http.ResponseWriter, token string) {
		w.Header().Set("Content-Type", "text/plain; x="+token)
		w.Header().Set("Location", "https://"+token+".example.com/")
		w.Header().Set("X-RateLimit-"+token, "1")
		w.Header().Set("X-RateLimit-"+hex.EncodeToString([]byte(token)), "1")
		w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="`+token+`"`)
		w.WriteHeader(http.StatusForbidden)
	})
	resp := call(t, v, auth.Call{Path: "/me"})
	if found := authtest.Scan([]byte(text(t, resp)), tokens(v)...); found != nil || resp.Status != http.StatusForbidden {
		t.Errorf("%v in %+v", found, resp)
	}
}

// BF-027: a host has no case, so a redirect may tell a secret in another one.
func TestSecretInLocation(t *testing.T) {
	const key = "Canary-Key-Q8W7e6r5"
	v := withKey(t, `{"in":"header","name":"X-Api-Key","format":"${key}"}`, "", key)
	v.API.FaultAlways("/api/me", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		w.Header().Set("Location", "https://"+strings.ToLower(r.Header.Get("X-Api-Key"))+".example.com/")
		w.WriteHeader(http.StatusFound)
	})
	resp := call(t, v, auth.Call{Provider: "keyed", Path: "/me"})
	if found := authtest.Scan([]byte(text(t, resp)), key, strings.ToLower(key)); found != nil || !resp.Redacted {
		t.Errorf("%v in %+v", found, resp)
	}
}

// BF-027: the mark names the connection as the record does, and an answer in JSON stays JSON.
func TestMarkNamesConnection(t *testing.T) {
	v := ready(t, authtest.Options{})
	answerWith(v, "/api/me", func(w http.ResponseWriter, token string) {
		w.Header().Set("Etag", `"`+token+`"`)
		_ = json.NewEncoder(w).Encode(map[string]string{"token": token, token: "x", "encoded": base64.StdEncoding.EncodeToString([]byte(token))})
	})
	resp := call(t, v, auth.Call{Path: "/me"})
	mark := "[redacted:" + events(t, v, "call")[0].Connection + "]"
	var got map[string]string
	if err := json.Unmarshal(resp.Body, &got); err != nil || got["token"] != mark || got[mark] != "x" || got["encoded"] != mark {
		t.Errorf("%v, %s", err, resp.Body)
	}
	if resp.Headers["etag"] != `"`+mark+`"` {
		t.Errorf("%v", resp.Headers)
	}
}

// BF-027: an API that echoes the credential and obeys Range does not give it away in slices, wherever they are cut.
func TestSlices(t *testing.T) {
	v := ready(t, authtest.Options{})
	secret := ""
	v.API.FaultAlways("/api/me", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		secret = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		page := strings.Repeat("é", 1000) + secret + strings.Repeat("é", 1000)
		http.ServeContent(w, r, "page.txt", time.Time{}, strings.NewReader(page))
	})
	slice := func(of string) *auth.Response {
		return call(t, v, auth.Call{Path: "/me", Headers: map[string]string{"Range": of}})
	}
	slice("bytes=0-0")
	for at := 1995; at < 2005+len(secret); at++ {
		for _, of := range []string{"bytes=%d-", "bytes=0-%d", "bytes=-%d", "bytes=%[1]d-%[1]d", "bytes=100-%d"} {
			resp := slice(fmt.Sprintf(of, at))
			if shown := strings.Trim(string(resp.Body), "é"); resp.Status != http.StatusPartialContent || shown != "" && !strings.HasPrefix(shown, "[redacted:") || !resp.Truncated || !resp.Text && len(resp.Body) > 0 {
				t.Fatalf("%s at %d: %d, text %v, %q", of, at, resp.Status, resp.Text, shown)
			}
		}
	}
	// What does not begin or end in the middle is shown there.
	if resp := slice("bytes=0-1999"); !strings.HasPrefix(string(resp.Body), "é") || len(resp.Body) < 1000 {
		t.Errorf("the beginning: %d bytes", len(resp.Body))
	}
	if resp := slice(fmt.Sprintf("bytes=%d-", 2000+len(secret))); len(resp.Body) < 1000 {
		t.Errorf("the end: %d bytes", len(resp.Body))
	}
	if resp := slice("bytes=0-"); !strings.Contains(string(resp.Body), "é[redacted:") || resp.Truncated {
		t.Errorf("all of it: %d bytes, truncated %v", len(resp.Body), resp.Truncated)
	}
	// A range of records, as PostgREST has it, is whole.
	v.API.Heal()
	answerWith(v, "/api/me", func(w http.ResponseWriter, _ string) {
		w.Header().Set("Content-Range", "25-26/100")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write([]byte(`[{"id":25},{"id":26}]`))
	})
	if resp := slice("25-26"); string(resp.Body) != `[{"id":25},{"id":26}]` || resp.Truncated {
		t.Errorf("records: %s", resp.Body)
	}
}

// BF-027: the header that Basic makes of a key is a secret of its own: encoded again, or made of parts that are too short.
func TestBasicIsASecret(t *testing.T) {
	for _, key := range []string{"canary-key-w8q7e6", "pin-7"} {
		v := withKey(t, `{"in":"basic","name":"somebody","format":"${key}"}`, "", key)
		basic := base64.StdEncoding.EncodeToString([]byte("somebody:" + key))
		v.API.FaultAlways("/api/me", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			_, _ = fmt.Fprint(w, r.Header.Get("Authorization"), " ", base64.StdEncoding.EncodeToString([]byte(r.Header.Get("Authorization"))))
		})
		resp := call(t, v, auth.Call{Provider: "keyed", Path: "/me"})
		if found := authtest.Scan([]byte(text(t, resp)), basic); found != nil || !resp.Redacted {
			t.Errorf("%s: %v in %s", key, found, resp.Body)
		}
	}
}

// BF-027: a key in the query is sent encoded, and an echo of the address may encode it once more.
func TestKeyInQueryAsSent(t *testing.T) {
	const key = "canary-k9x/w2+q7z=r4t8m1"
	v := withKey(t, `{"in":"query","name":"api_key","format":"${key}"}`, "", key)
	v.API.FaultAlways("/api/me", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		sent := []byte(r.URL.RawQuery)
		_, _ = fmt.Fprint(w, base64.StdEncoding.EncodeToString(sent), " ", hex.EncodeToString(sent), " ", string(sent))
	})
	resp := call(t, v, auth.Call{Provider: "keyed", Path: "/me", Query: map[string][]string{"q": {"1"}}})
	sent := url.QueryEscape(key)
	if found := authtest.Scan([]byte(text(t, resp)), key, sent); found != nil || strings.Count(string(resp.Body), "[redacted:") != 3 {
		t.Errorf("%v in %s", found, resp.Body)
	}
}

// BF-027, BF-034: a text in UTF-16 is a text like any other: read, and searched in every form. What is binary stays it.
func TestCallWideContent(t *testing.T) {
	v := ready(t, authtest.Options{})
	const page = "{\n\t\"name\": \"alice\",\r\n\t\"token\": \"%s\"\n}"
	spell := map[string]func(token string) string{
		"plain":     func(token string) string { return token },
		"lines":     func(token string) string { return token[:10] + "\r\n  " + token[10:20] + "\n" + token[20:] },
		"JSON":      func(token string) string { return strings.ReplaceAll(token, "_", `\u005f`) },
		"HTML":      func(token string) string { return strings.ReplaceAll(token, "_", `&amp;#95;`) },
		"percent":   func(token string) string { return strings.ReplaceAll(token, "_", `%5F`) },
		"base64":    func(token string) string { return base64.StdEncoding.EncodeToString([]byte("is " + token)) },
		"invisible": func(token string) string { return token[:20] + "\u200b" + token[20:] },
		"and more":  func(token string) string { return "é漢😀 " + token },
	}
	for name, spell := range spell {
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			for _, mark := range []string{"\ufeff", ""} {
				for _, kind := range []string{"application/json; charset=utf-16", "image/png"} {
					answerWith(v, "/api/me", func(w http.ResponseWriter, token string) {
						w.Header().Set("Content-Type", kind)
						var wide []byte
						for _, unit := range utf16.Encode([]rune(mark + fmt.Sprintf(page, spell(token)))) {
							wide = order.AppendUint16(wide, unit)
						}
						_, _ = w.Write(wide)
					})
					resp := call(t, v, auth.Call{Path: "/me"})
					if name == "invisible" && !resp.Text {
						continue // which are bytes, with the token in no form
					}
					bare := strings.NewReplacer("\x00", "", "\n", "", "\r", "", " ", "").Replace(string(resp.Body))
					if found := authtest.Scan([]byte(bare), tokens(v)...); found != nil || !resp.Redacted {
						t.Errorf("%s, %v, mark %q, %s: %v in %q", name, order, mark, kind, found, resp.Body)
					}
					if read := kind != "image/png" && (mark != "" || name != "and more" && name != "invisible"); resp.Text != read ||
						read && (!strings.HasPrefix(string(resp.Body), "{\n\t\"name\": \"alice\",\n\t\"token\"") || resp.ContentType != "application/json; charset=utf-8") {
						t.Errorf("%s, %v, mark %q, %s: text %v, %s: %q", name, order, mark, kind, resp.Text, resp.ContentType, resp.Body)
					}
				}
			}
		}
	}
	for _, body := range []string{
		"\xff\xfe\x00\xd8a\x00", "\xff\xfea\x00\x00\x00", "\xfe\xff\xdc\x00\x00a", "a\x00b\x00\x01\x00", "\x00a\x00b\x00\x00", "a\x00", "a\x00b\x00c\x01",
	} {
		answerWith(v, "/api/me", func(w http.ResponseWriter, _ string) {
			w.Header().Set("Content-Type", "application/x-thing")
			_, _ = w.Write([]byte(body))
		})
		if resp := call(t, v, auth.Call{Path: "/me"}); resp.Text || string(resp.Body) != body {
			t.Errorf("%q became %q", body, resp.Body)
		}
	}
}

// BF-034: binary stays binary, and text loses what hides words.
func TestCallContent(t *testing.T) {
	v := ready(t, authtest.Options{})
	for kind, isText := range map[string]bool{
		"binary": false, "image": false, "not-utf8": false, "html": true, "ansi": true, "invisible": true, "line": true, "untyped": true, "deep": true,
	} {
		resp := call(t, v, auth.Call{Path: "/content/" + kind})
		if resp.Text != isText || strings.ContainsAny(string(resp.Body), "\x1b\u200b\u202e") && isText {
			t.Errorf("%s: text %v: %.80q", kind, resp.Text, resp.Body)
		}
	}
}

// BF-029: the paths whose answers redaction cannot see through are closed, in every spelling.
func TestCallDeniedPaths(t *testing.T) {
	v := withKey(t, `{"in":"header","name":"X-Api-Key","format":"${key}"}`, `,"deny":[{"path":"/api/echo/**"},{"methods":["POST"],"path":"/api/*/hash"}]`, "canary-key-q8w7e6r5")
	for _, c := range []auth.Call{
		{Path: "/echo/plain"}, {Path: "/ECHO/plain"}, {Path: "/echo/%70lain"}, {Path: "/%65cho/plain"}, {Path: "/echo/"}, {Path: "/x/hash", Method: "POST"},
	} {
		c.Provider = "keyed"
		if resp, err := v.Call(t.Context(), agent, c); !errors.Is(err, auth.ErrDenied) || !strings.Contains(err.Error(), "rule deny_path") {
			t.Errorf("%s: %+v, %v", c.Path, resp, err)
		}
	}
	if n := len(v.API.Requests("")); n != 0 {
		t.Errorf("%d requests came through", n)
	}
}

// BF-038: a 401 is followed by one renewal and one more try; the second 401 needs the person when the call that names the
// account does not take the token either, and nothing goes round in circles.
func TestCallUnauthorized(t *testing.T) {
	v := ready(t, authtest.Options{})
	v.API.Fault("/api/me", authtest.Unauthorized)
	if resp := call(t, v, auth.Call{Path: "/me"}); resp.Status != http.StatusOK || v.Server.Stats().Refreshes != 1 {
		t.Fatalf("after one 401: %+v, %d renewals", resp, v.Server.Stats().Refreshes)
	}
	v.API.FaultAlways("/api/me", authtest.Unauthorized)
	v.Server.FaultAlways("/userinfo", authtest.Unauthorized)
	v.API.Forget()
	_, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"})
	wantLink(t, err, auth.ReasonReauth)
	if n, r := len(v.API.Requests("")), v.Server.Stats().Refreshes; n != 2 || r != 2 {
		t.Errorf("%d requests and %d renewals", n, r)
	}
	wantState(t, v, auth.NeedsReauth, "refused_by_api")
	_, err = v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"})
	wantLink(t, err, auth.ReasonReauth)
	if n := len(v.API.Requests("")); n != 2 {
		t.Errorf("%d requests after the connection was given up", n)
	}
}

// BF-038: one path that an API refuses to everybody (GitHub's GET /app wants another kind of token) ends no sign-in that works,
// whether it can be renewed or not: the call that names the account says so, and only its 401 says otherwise.
func TestCallUnauthorizedPath(t *testing.T) {
	for name, tokens := range map[string]authtest.Fault{"renewed": authtest.Pass, "nothing to renew with": authtest.Without("refresh_token")} {
		for answer, fault := range map[string]authtest.Fault{"works": authtest.Pass, "outage": authtest.Busy(503, ""), "forbidden": authtest.Answer(403, "application/json", "{}")} {
			t.Run(name+", "+answer, func(t *testing.T) {
				v, _ := newClockedVault(t, authtest.Options{})
				v.Server.FaultAlways("/token", tokens)
				connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
				v.API.FaultAlways("/api/me", authtest.Unauthorized)
				v.Server.FaultAlways("/userinfo", fault)
				if resp := call(t, v, auth.Call{Path: "/me"}); resp.Status != http.StatusUnauthorized {
					t.Errorf("%+v", resp)
				}
				wantState(t, v, auth.Active, "")
				if resp := call(t, v, auth.Call{Path: "/echo"}); resp.Status != http.StatusOK {
					t.Errorf("another path: %+v", resp)
				}
				for range 3 { // RF-011: it costs no renewal each time
					call(t, v, auth.Call{Path: "/me"})
				}
				if n := v.Server.Stats().Refreshes; n > 1 {
					t.Errorf("%d renewals", n)
				}
				v.Server.FaultAlways("/userinfo", authtest.Unauthorized)
				_, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"})
				wantLink(t, err, auth.ReasonReauth)
				wantState(t, v, auth.NeedsReauth, "refused_by_api")
			})
		}
	}
}

// PD-007: a definition that names the account elsewhere now gets no token to see whether it works.
func TestCallUnauthorizedElsewhere(t *testing.T) {
	thief := authtest.NewServer(authtest.Options{})
	t.Cleanup(thief.Close)
	v, c := connected(t, authtest.Options{})
	redefine(t, v, c, func(p *providers.Provider) {
		p.API.Hosts = append(p.API.Hosts, "127.0.0.1:"+portOf(thief.URL))
		p.Identity.URL = thief.URL + "/userinfo"
	})
	v.API.FaultAlways("/api/me", authtest.Unauthorized)
	_, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"})
	wantLink(t, err, auth.ReasonReauth)
	if n := len(thief.Requests("")); n != 0 {
		t.Errorf("%d requests to the new place", n)
	}
}

// BF-038: an API may refuse a key for one path only, so the call that tries keys is asked before the person is. Only its clear
// no gives a key up, or the API's where there is no such call.
func TestCallUnauthorizedKey(t *testing.T) {
	const send, key = `{"in":"header","name":"X-Api-Key","format":"${key}"}`, "canary-key-q8w7e6r5"
	refused := auth.Call{Provider: "keyed", Path: "/repos"}
	v := withKey(t, send, "", key)
	v.API.FaultAlways("/api/repos", authtest.Unauthorized)
	for name, fault := range map[string]authtest.Fault{"a key that works": nil, "an outage": authtest.Busy(503, "")} {
		if fault != nil {
			v.API.Fault("/api/me", fault)
		}
		v.API.Forget()
		if resp := call(t, v, refused); resp.Status != http.StatusUnauthorized || len(v.API.Requests("/api/me")) != 1 || len(v.API.Requests("")) != 2 {
			t.Errorf("%s: %+v after %d requests", name, resp, len(v.API.Requests("")))
		}
		wantState(t, v, auth.Active, "")
	}
	v.API.FaultAlways("/api/me", authtest.Unauthorized)
	_, err := v.Call(t.Context(), agent, refused)
	wantLink(t, err, auth.ReasonReauth)
	wantState(t, v, auth.NeedsReauth, "refused_by_api")

	v = authtest.NewVault(t, authtest.Options{})
	s := keyedSite(t, v, send, "")
	file := filepath.Join(s.Providers, "keyed.json")
	definition, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	definition = regexp.MustCompile(`,"verify":\{[^}]*\}`).ReplaceAll(definition, nil)
	if err := os.WriteFile(file, definition, 0o600); err != nil {
		t.Fatal(err)
	}
	reopen(t, v, s, nil)
	paste(t, v, key)
	_, err = v.Call(t.Context(), agent, refused) // the API knows no such key
	wantLink(t, err, auth.ReasonReauth)
	wantState(t, v, auth.NeedsReauth, "refused_by_api")
}

// BF-038: many calls that are refused at once renew once, and each is tried once more.
func TestCallUnauthorizedTogether(t *testing.T) {
	v := ready(t, authtest.Options{})
	call(t, v, auth.Call{Path: "/me"})
	old := arrived(t, v).Header.Get("Authorization")
	v.API.FaultAlways("/api/me", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("Authorization") == old {
			next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { authtest.Unauthorized(w, r, nil) })
		}
		next.ServeHTTP(w, r)
	})
	v.API.Forget()
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if resp, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"}); err != nil || resp.Status != http.StatusOK {
				t.Errorf("%+v, %v", resp, err)
			}
		})
	}
	all.Wait()
	if r, n := v.Server.Stats().Refreshes, len(v.API.Requests("")); r != 1 || n > 32 {
		t.Errorf("%d renewals, %d requests", r, n)
	}
}

// I5: a 403 that asks for more scopes becomes a link with the union; the old sign-in works on when the person declines.
func TestCallWantsScope(t *testing.T) {
	v := ready(t, authtest.Options{})
	_, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/repos"})
	var link *auth.AuthRequired
	if !errors.As(err, &link) || link.Reason != auth.InsufficientScope || !slices.Contains(link.Scopes, "repo") || !slices.Contains(link.Scopes, "email") {
		t.Fatalf("%v %+v", err, link)
	}
	person := v.Visit(auth.Visitor{Browser: browserKey("another day")})
	if err := person.Decline(t.Context(), link.RequestID); err != nil {
		t.Fatal(err)
	}
	if resp := call(t, v, auth.Call{Path: "/me"}); resp.Status != http.StatusOK {
		t.Errorf("after declining: %+v", resp)
	}
	_, err = v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/repos"})
	if !errors.As(err, &link) {
		t.Fatal(err)
	}
	if err := finish(t, v, link, auth.Visitor{Browser: browserKey("alice's browser")}, "alice"); err != nil {
		t.Fatal(err)
	}
	if resp := call(t, v, auth.Call{Path: "/repos"}); resp.Status != http.StatusOK {
		t.Errorf("after allowing: %+v", resp)
	}
	v.API.Fault("/api/me", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("WWW-Authenticate", `Bearer error=insufficient_scope, scope=org`)
		w.WriteHeader(http.StatusForbidden)
	})
	_, err = v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"})
	if wantLink(t, err, auth.InsufficientScope); !errors.As(err, &link) || !slices.Contains(link.Scopes, "org") {
		t.Errorf("a scope without quotes: %+v", link)
	}
	// An API that asks for what is there already does not send the person round in circles.
	v.API.Fault("/api/me", authtest.InsufficientScope("repo email"), authtest.InsufficientScope(""))
	for range 2 {
		if resp := call(t, v, auth.Call{Path: "/me"}); resp.Status != http.StatusForbidden {
			t.Errorf("%+v", resp)
		}
	}
}

// Trouble at the API is the agent's to see: it is passed through, with its Retry-After.
func TestCallPassesTroubleThrough(t *testing.T) {
	v := ready(t, authtest.Options{})
	for _, status := range []int{400, 403, 404, 409, 422, 429, 500, 502, 503} {
		v.API.Fault("/api/me", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Retry-After", "7")
			w.Header().Set("X-RateLimit-Remaining", "0")
			http.Error(w, "no", status)
		})
		v.API.Forget()
		if resp := call(t, v, auth.Call{Path: "/me"}); resp.Status != status || resp.Headers["retry-after"] != "7" || resp.Headers["x-ratelimit-remaining"] != "0" {
			t.Errorf("%d: %+v", status, resp)
		}
		arrived(t, v)
	}
}

// BF-037: a POST whose connection breaks is not sent again, and its outcome reads unknown; a GET at most once more.
func TestCallIsNotRepeated(t *testing.T) {
	v := ready(t, authtest.Options{})
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "GET"} {
		v.API.FaultAlways("/api/echo", authtest.CutAfter)
		v.API.Forget()
		_, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Method: method, Path: "/echo", Headers: map[string]string{"Idempotency-Key": "k"}})
		if !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("%s: %v", method, err)
		}
		if n := len(v.API.Requests("")); n > 1 && method != "GET" || n > 2 || n == 0 {
			t.Errorf("%s was sent %d times", method, n)
		}
	}
	for _, e := range events(t, v, "call.done") {
		if e.Decision != "unknown" || e.Of == "" {
			t.Errorf("on record: %+v", e)
		}
	}
}

// BF-033, BF-032: a slow or endless API ends within its bounds, and nothing is left running.
func TestCallLeavesNothingRunning(t *testing.T) {
	v := ready(t, authtest.Options{})
	call(t, v, auth.Call{Path: "/me"})
	v.Out.CloseIdle()
	settled := func() int {
		n := runtime.NumGoroutine()
		for range 100 {
			runtime.Gosched()
			runtime.GC()
			n = min(n, runtime.NumGoroutine())
		}
		return n
	}
	before := settled()
	v.API.FaultAlways("/api/me", authtest.Silence)
	v.API.FaultAlways("/api/echo", authtest.Endless)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if _, err := v.Call(ctx, agent, auth.Call{Provider: "practice", Path: "/me"}); err == nil {
				t.Error("silence was an answer")
			}
			if resp, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/echo"}); err != nil || !resp.Truncated {
				t.Errorf("endless: %v", err)
			}
		})
	}
	all.Wait()
	v.Out.CloseIdle()
	deadline := time.Now().Add(5 * time.Second)
	for settled() > before+2 && time.Now().Before(deadline) {
	}
	if after := settled(); after > before+2 {
		t.Errorf("%d goroutines, before %d", after, before)
	}
}

// BF-026: the credential of one provider does not go to another's host, also when both are connected, in neither direction.
func TestCallWrongConnection(t *testing.T) {
	v := withKey(t, `{"in":"query","name":"api_key","format":"${key}"}`, "", "canary-key-of-the-other")
	elsewhere := authtest.NewAPI(v.Server)
	t.Cleanup(elsewhere.Close)
	p, err := v.Catalog.Get("practice") // it lives at a host of its own from here on
	if err != nil {
		t.Fatal(err)
	}
	p.API.Hosts, p.API.Base = []string{strings.TrimPrefix(elsewhere.URL, "http://")}, elsewhere.URL+"/api"
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{Access: auth.Write})
	v.API.Forget()
	elsewhere.Forget()
	for _, wrong := range []auth.Call{
		{Provider: "practice", URL: v.API.URL + "/api/me"}, {Provider: "keyed", URL: elsewhere.URL + "/api/me"},
		{Provider: "practice", URL: "https://slack.com/api/auth.test"}, {Provider: "practice", URL: v.Server.URL + "/userinfo"},
		{Provider: "practice", URL: "https://api.github.com/user"}, {Provider: "practice", URL: "http://127.0.0.1:2/api/me"},
	} {
		if _, err := v.Call(t.Context(), agent, wrong); !errors.Is(err, auth.ErrDenied) || !strings.Contains(err.Error(), "rule host") {
			t.Errorf("%s at %s: %v", wrong.Provider, wrong.URL, err)
		}
	}
	if n := len(v.Server.Requests("/userinfo")); n != 1 { // the sign-in's own
		t.Errorf("userinfo was asked %d times", n)
	}
	if n := len(v.API.Requests("")) + len(elsewhere.Requests("")); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	call(t, v, auth.Call{Provider: "keyed", Path: "/me"})
	if got := arrived(t, v); got.Query.Get("api_key") != "canary-key-of-the-other" || got.Header.Get("Authorization") != "" {
		t.Errorf("the key's own host got %v %v", got.Query, got.Header)
	}
	call(t, v, auth.Call{Provider: "practice", Path: "/me"})
	if got := elsewhere.Requests(""); len(got) != 1 || got[0].Query.Has("api_key") || got[0].Header.Get("Authorization") == "" {
		t.Errorf("the other host got %v", got)
	}
}

// DS-011: of one owner, so many calls at once and so many bytes a minute; another owner is not held up.
func TestCallLimits(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	other := auth.Caller{Owner: auth.Owner{User: "bob"}, Client: "agent"}
	if err := v.Desk(auth.Owner{}).SetApp(t.Context(), "practice", "public", auth.Secret{}, nil); err != nil {
		t.Fatal(err)
	}
	connect(t, v, other, auth.Wish{Provider: "practice"}, "bob", auth.Choice{})
	undisturbed := func() {
		if resp, err := v.Call(t.Context(), other, auth.Call{Provider: "practice", Path: "/content/html"}); err != nil || resp.Status != http.StatusOK {
			t.Errorf("another owner: %+v, %v", resp, err)
		}
	}
	busy, pause := authtest.PauseAt(authtest.Received)
	v.API.Fault("/api/me", busy)
	v.API.FaultAlways("/api/me", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		select {
		case <-pause.Release:
		case <-r.Context().Done():
		}
		next.ServeHTTP(w, r)
	})
	var all sync.WaitGroup
	var refused, answered sync.Map
	for i := range 40 {
		all.Go(func() {
			_, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"})
			if errors.Is(err, auth.ErrLimit) {
				refused.Store(i, err)
				if n := count(&refused); n == 8 {
					undisturbed()
					close(pause.Release)
				}
			} else if err == nil {
				answered.Store(i, true)
			} else {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if r, a := count(&refused), count(&answered); r != 8 || a != 32 {
		t.Errorf("%d refused, %d answered", r, a)
	}
	v.API.Heal()
	v.API.FaultAlways("/api/me", authtest.Huge(1<<20))
	n := 0
	var err error
	for ; err == nil && n < 100; n++ {
		_, err = v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"})
	}
	var limit *auth.Error
	if !errors.As(err, &limit) || limit.Code != auth.ErrLimit.Code || limit.RetryAfterSeconds < 1 || limit.RetryAfterSeconds > 61 || n > 66 {
		t.Errorf("after %d MiB: %v", n, err)
	}
	undisturbed()
	c.forward(time.Minute)
	if _, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"}); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}

func count(m *sync.Map) (n int) {
	m.Range(func(any, any) bool { n++; return true })
	return n
}

// BF-039: a revocation in another process ends the calls of this one, and none starts after it.
func TestCallRevokedElsewhere(t *testing.T) {
	v := ready(t, authtest.Options{})
	other, db, err := siteOf(v).open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	usual := func() time.Duration { // for what each of the two does: a call, a sign-in that ends
		begun := time.Now()
		call(t, v, post("/echo", "x"))
		revoke(t, v)
		return time.Since(begun)
	}
	before := usual()
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{Access: auth.Write})
	stuck, pause := authtest.PauseAt(authtest.Received)
	v.API.Fault("/api/me", stuck)
	ended := make(chan error, 1)
	go func() {
		_, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"})
		ended <- err
	}()
	<-pause.Reached
	if _, err := other.Revoke(t.Context(), agent, auth.Unwanted{Provider: "practice"}); err != nil {
		t.Fatal(err)
	}
	revoked := time.Now()
	err, took := <-ended, time.Since(revoked)
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{Access: auth.Write})
	if after := usual(); !errors.Is(err, auth.ErrNotFound) || took > time.Second+max(before, after) {
		t.Errorf("after %v, where a call and its end take %v and %v: %v", took, before, after, err)
	}
}
