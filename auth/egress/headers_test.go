package egress

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"
)

func TestRequestHeaders(t *testing.T) {
	got, err := RequestHeaders(map[string]string{"accept": " text/plain ", "X-GitHub-Api-Version": "2022-11-28", "If-None-Match": `"x"`},
		[]string{"x-github-api-version"})
	want := http.Header{"Accept": {"text/plain"}, "X-Github-Api-Version": {"2022-11-28"}, "If-None-Match": {`"x"`}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestRequestHeadersRefuse(t *testing.T) {
	attacks := map[string][]string{
		"BF-019 Host":        {"Host", "hOsT", ":authority", ":path"},
		"BF-020 credentials": {"Authorization", "authorization", "Cookie", "Proxy-Authorization", "X-Api-Key", "X-Auth-Token"},
		"BF-021 hop by hop": {"Connection", "TE", "Transfer-Encoding", "Content-Length", "Upgrade", "Expect", "Trailer", "Keep-Alive",
			"X-HTTP-Method-Override", "X-Forwarded-For", "Forwarded", "Via", "Proxy-Connection", "X-Original-URL"},
		"BF-022 upgrade":   {"Upgrade", "Sec-WebSocket-Key", "HTTP2-Settings"},
		"BF-045 fixed":     {"Accept-Encoding", "Accept-Charset", "User-Agent"},
		"BF-017 bad names": {"", "A b", "Accept\r\nHost", "Accept:", "Accept\x00", "Äccept", "accept "},
	}
	// A definition may open X-Api-Key and X-Auth-Token; it must not be able to open anything else here.
	var careless []string
	for _, names := range attacks {
		careless = append(careless, names...)
	}
	for attack, names := range attacks {
		for _, name := range names {
			if got, err := RequestHeaders(map[string]string{name: "x"}, nil); KindOf(err) != KindRequest {
				t.Errorf("%s: %q: got %v, %v", attack, name, got, err)
			}
			opened := name == "X-Api-Key" || name == "X-Auth-Token"
			if got, err := RequestHeaders(map[string]string{name: "x"}, careless); (err == nil) != opened {
				t.Errorf("%s: %q opened by a definition: got %v, %v", attack, name, got, err)
			}
		}
	}
	// BF-017
	for _, value := range []string{"a\r\nHost: evil", "a\nb", "a\x00", "\x7f", "é", strings.Repeat("a", 5000)} {
		if _, err := RequestHeaders(map[string]string{"Accept": value}, nil); KindOf(err) != KindRequest || !strings.Contains(err.Error(), `"Accept"`) {
			t.Errorf("BF-017 %.20q: %v", value, err)
		}
	}
	// BF-027: what would have the API write its answer so that a secret in it is not recognised
	for name, values := range map[string][]string{
		"accept": {"text/plain;charset=utf-16", "a/b, text/html; CharSet = \"IBM037\"", "text/plain;charset=", "text/plain;charset=utf-8;charset=utf-32", "text/plain;charset='utf-7'"},
		"range":  {"bytes=0-9,10-19", " Bytes=0-0, -1"},
	} {
		for _, value := range values {
			if _, err := RequestHeaders(map[string]string{name: value}, []string{"Accept-Charset"}); KindOf(err) != KindRequest {
				t.Errorf("BF-027 %s: %q: %v", name, value, err)
			}
		}
	}
	for name, value := range map[string]string{"Accept": "application/json; charset=UTF-8, */*;q=0.1", "Range": "id ]5f..; max=10, order=desc"} {
		if got, err := RequestHeaders(map[string]string{name: value}, nil); err != nil || got.Get(name) != value {
			t.Errorf("%s: %q: %v, %v", name, value, got, err)
		}
	}
	// BF-020: one name in two spellings
	if _, err := RequestHeaders(map[string]string{"Accept": "a", "accept": "b"}, nil); KindOf(err) != KindRequest {
		t.Error("a header twice:", err)
	}
}

// AU-006: headers with credentials are taken out, the others stay.
func TestResponseHeaders(t *testing.T) {
	got := ResponseHeaders(http.Header{
		"Content-Type": {"text/html"}, "X-Ratelimit-Remaining": {"3"}, "Ratelimit": {"a"}, "Set-Cookie": {"a=b"},
		"Www-Authenticate": {"Bearer"}, "Location": {"https://evil.test/cb?code=secret"}, "Etag": {"\x1b[31m\"x\"\u202e"},
		"Link": {strings.Repeat("a", 5000), "b"}, "Authorization": {"Bearer x"}, "Content-Length": {"3"},
	})
	want := http.Header{"Content-Type": {"text/html"}, "X-Ratelimit-Remaining": {"3"}, "Ratelimit": {"a"}, "Location-Host": {"evil.test"},
		"Etag": {`"x"`}, "Link": {"b"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

func FuzzRequestHeaders(f *testing.F) {
	f.Add("Accept", "text/plain", "X-Api-Version")
	f.Add("hOsT", "a\r\nb", "Host")
	f.Fuzz(func(t *testing.T, name, value, extra string) {
		header, err := RequestHeaders(map[string]string{name: value}, []string{extra})
		if err != nil {
			if text := err.Error(); strings.ContainsAny(text, "\r\n\x00\x1b") || len(text) > 1000 {
				t.Fatalf("the error carries what was refused: %q", text)
			}
			return
		}
		for name, values := range header {
			if !httpguts.ValidHeaderFieldName(name) || len(values) != 1 || !httpguts.ValidHeaderFieldValue(values[0]) || isReserved(name) {
				t.Fatalf("admitted %q: %q", name, values)
			}
		}
	})
}
