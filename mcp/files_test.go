package mcp

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// A picture goes from one API to another by its URI; only small ones are in the answer itself, and a
// stranger, another client of the owner's included, gets nothing.
func TestFilesGoOnByTheirURI(t *testing.T) {
	picture := bytes.Repeat([]byte{0xff, 0x00, 0xd8}, 5000)
	now := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	broker := &fake{call: func(_ context.Context, _ auth.Caller, c auth.Call) (*auth.Response, error) {
		if c.Method == "POST" {
			return &auth.Response{Status: 201, Text: true, Body: []byte("taken")}, nil
		}
		r := &auth.Response{Status: 200, ContentType: "image/jpeg", Body: picture}
		switch c.Path {
		case "/icon":
			r.Body = picture[:9]
		case "/cut":
			r.Truncated = true
		}
		return r, nil
	}}
	s := New(broker, Options{Now: func() time.Time { return now }})
	w := serve(t, s)
	call := func(token, args string) map[string]any {
		t.Helper()
		var answer struct {
			Result struct {
				StructuredContent map[string]any `json:"structuredContent"`
			} `json:"result"`
		}
		text := w.text(w.modern(token, "call_api", args, "{}", ""))
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			t.Fatalf("%s: %s", args, text)
		}
		if file, _ := answer.Result.StructuredContent["file"].(map[string]any); (file != nil) != strings.Contains(text, `"type":"resource_link"`) {
			t.Errorf("link and file do not go together: %s", text)
		}
		return answer.Result.StructuredContent
	}
	read := func(token, uri string) string {
		t.Helper()
		body := strings.Replace(modernCall("", "{}", "{}", fmt.Sprintf(`,"uri":%q`, uri)), `"method":"tools/call"`, `"method":"resources/read"`, 1)
		return w.text(w.do("POST", "/mcp", token, body, "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "resources/read", "Mcp-Name", uri))
	}
	got := call("T1", `{"provider":"p","path":"/photo"}`)
	file, _ := got["file"].(map[string]any)
	if file["content_type"] != "image/jpeg" || file["bytes"] != float64(len(picture)) || got["body_base64"] != nil || got["body"] != nil {
		t.Fatalf("a large picture: %v", got)
	}
	uri := file["uri"].(string)
	if text := read("T1", uri); !strings.Contains(text, base64.StdEncoding.EncodeToString(picture)) || !strings.Contains(text, `"cacheScope":"private"`) {
		t.Errorf("read by its client: %.200s", text)
	}
	if small := call("T1", `{"provider":"p","path":"/icon"}`); small["body_base64"] == nil || small["file"] == nil {
		t.Errorf("a small picture: %v", small)
	}

	if sent := call("T1", fmt.Sprintf(`{"provider":"q","path":"/upload","method":"POST","body_file":%q}`, uri)); sent["body"] != "taken" {
		t.Fatal(sent)
	}
	if last := broker.calls[len(broker.calls)-1]; !bytes.Equal(last.Body, picture) || last.Headers["Content-Type"] != "image/jpeg" {
		t.Errorf("sent %d bytes as %q", len(last.Body), last.Headers["Content-Type"])
	}
	call("T1", fmt.Sprintf(`{"provider":"q","path":"/upload","method":"POST","parts":[{"name":"f","filename":"a.jpg","file":%q}]}`, uri))
	if last := broker.calls[len(broker.calls)-1]; len(last.Parts) != 1 || !bytes.Equal(last.Parts[0].Data, picture) || last.Parts[0].ContentType != "image/jpeg" {
		t.Errorf("parts: %d", len(last.Parts))
	}

	count := len(broker.calls)
	cut := call("T1", `{"provider":"p","path":"/cut"}`)["file"].(map[string]any)["uri"].(string)
	for args, want := range map[string]string{
		fmt.Sprintf(`{"provider":"q","path":"/","method":"POST","body_file":%q}`, cut):             "first 1 MiB",
		`{"provider":"q","path":"/","method":"POST","body_file":"file:///etc/passwd"}`:             filePrefix,
		`{"provider":"q","path":"/","method":"POST","body_file":"latchpost://files/AAAA"}`:         "10 minutes",
		`{"provider":"q","path":"/","method":"POST","parts":[{"name":"f","file":"x","text":"a"}]}`: "either text, base64 or file",
		fmt.Sprintf(`{"provider":"q","path":"/","method":"POST","body":"a","body_file":%q}`, uri):  "one of body",
	} {
		if got := call("T1", args); got["type"] != "error" || !strings.Contains(got["message"].(string), want) {
			t.Errorf("%s: %v", args, got)
		}
	}
	for _, stranger := range []string{"T2", "T1.connect"} {
		if text := read(stranger, uri); strings.Contains(text, "blob") {
			t.Errorf("%s reads it: %.200s", stranger, text)
		}
	}
	if got := call("T2", fmt.Sprintf(`{"provider":"q","path":"/","method":"POST","body_file":%q}`, uri)); got["code"] != "not_found" {
		t.Errorf("another owner sends it: %v", got)
	}
	if len(broker.calls) != count+1 {
		t.Error("something was sent all the same")
	}
	now = now.Add(fileLife + time.Second)
	if text := read("T1", uri); strings.Contains(text, "blob") || !strings.Contains(text, "10 minutes") {
		t.Errorf("after ten minutes: %.200s", text)
	}
}

// An owner who receives many loses the oldest of their own, and memory is bounded whoever receives.
func TestFilesAreBounded(t *testing.T) {
	f := &files{now: time.Now}
	first := f.keep(principal{user: "ann"}, file{data: []byte("first")})
	for range ownersFiles {
		f.keep(principal{user: "bob", client: rand.Text()}, file{})
	}
	if _, err := f.get(principal{user: "ann"}, first.URI); err != nil || len(f.known) != ownersFiles+1 {
		t.Fatal(len(f.known), err)
	}
	f.keep(principal{user: "bob"}, file{})
	if len(f.known) != ownersFiles+1 {
		t.Error(len(f.known))
	}
	for i := range 3 * allFiles {
		f.keep(principal{user: fmt.Sprint(i)}, file{})
	}
	if _, err := f.get(principal{user: "ann"}, first.URI); err == nil || len(f.known) != allFiles {
		t.Error(len(f.known), err)
	}
}
