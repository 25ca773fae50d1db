package auth_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// BF-021: the owner allowed POST at one path for good. A body that names another method, as Rails, Laravel, Symfony and
// Facebook read it, is another call; ordinary bodies are not.
func TestMethodInBody(t *testing.T) {
	v := authtest.NewVault(t, authtest.Options{})
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	ask := askOwner(t, v, agent, post("/echo", "a"), auth.RuleReadOnly)
	decide(t, v, ask.RequestID, auth.Decision{Allow: true, Always: true})
	v.API.Forget()
	as := func(kind, body string) auth.Call {
		c := post("/echo", body)
		c.Headers["Content-Type"] = kind
		return c
	}
	parts := func(p ...auth.Part) auth.Call {
		return auth.Call{Provider: "practice", Method: "POST", Path: "/echo", Parts: p}
	}
	form := func(name, value string) auth.Call {
		return auth.Call{Provider: "practice", Method: "POST", Path: "/echo", Form: map[string][]string{name: {value}, "a": {"b"}}}
	}
	const urlencoded, mixed = "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"
	inPart := func(head, value string) auth.Call {
		return as(mixed, "--x\r\n"+head+"\r\n\r\n"+value+"\r\n--x--\r\n")
	}
	for name, c := range map[string]auth.Call{
		"form":                     form("_method", "delete"),
		"form, Facebook":           form("method", "DELETE"),
		"form, Salesforce":         form("_HttpMethod", "PATCH"),
		"form, PHP":                form(".method", "PUT"),
		"form, a verb of WebDAV":   form("_method", "MOVE"),
		"form by hand":             as(urlencoded, "a=b&_m%65thod=D%45LETE"),
		"form, twice":              as(urlencoded, "_method=POST&_method=DELETE"),
		"form, semicolon":          as(urlencoded, "a=b;_method=DELETE"),
		"form, beyond the preview": as(urlencoded, "a="+strings.Repeat("b", 5000)+"&_method=DELETE"),
		"form, called nothing":     {Provider: "practice", Method: "POST", Path: "/echo", Body: []byte("_method=DELETE")},
		"form, called text":        as("text/plain", "_method=DELETE"),
		"json":                     as("application/json", `{"a":{"b":[1]},"_method":"delete"}`),
		"json, escaped":            as("application/json", `{"\u005fmethod":"\u0044ELETE"}`),
		"json, twice":              as("application/vnd.api+json; charset=utf-8", `{"_method":"DELETE","_method":"POST"}`),
		"json, with a mark":        as("application/json", "\ufeff"+`{"_method":"DELETE"}`),
		"json, called text":        as("text/plain", ` {"_method":"DELETE"}`),
		"json, called a form":      as(urlencoded, `{"_method":"DELETE"}`),
		"json, the second of two":  as("application/json", "{}\n"+`{"_method":"DELETE"}`),
		"parts":                    parts(auth.Part{Name: "a", Data: []byte("b")}, auth.Part{Name: "_method", Data: []byte("delete")}),
		"parts, as a file":         parts(auth.Part{Name: "_method", Filename: "a", Data: []byte("DELETE\n")}),
		"parts by hand":            inPart(`Content-Disposition: form-data; name=_method`, "DELETE"),
		"parts, name encoded":      inPart(`Content-Disposition: form-data; name*=utf-8''_%6dethod`, "DELETE"),
		"parts, base64":            inPart("Content-Disposition: form-data; name=_method\r\nContent-Transfer-Encoding: base64", "REVMRVRF"),
		"parts, quoted-printable":  inPart("Content-Disposition: form-data; name=_method\r\nContent-Transfer-Encoding: quoted-printable", "=44ELETE"),
		"parts, another verb":      inPart(`Content-Disposition: form-data; name=_method`, "MOVE"),
		"parts, mixed case":        {Provider: "practice", Method: "POST", Path: "/echo", Headers: map[string]string{"Content-Type": "Multipart/Form-Data; boundary=x"}, Body: inPart("A: b", "PUT").Body},
		"parts, two boundaries": as(mixed+"; boundary*=utf-8''y",
			"--y\r\nContent-Disposition: form-data; name=a\r\n\r\n--x\r\nContent-Disposition: form-data; name=_method\r\n\r\nDELETE\r\n--x--\r\n--y--\r\n"),
		"parts, line ends": as(mixed, "--x\nContent-Disposition: form-data; name=_method\n\nDELETE\n--x--\n"),
	} {
		var ask *auth.ApprovalRequired
		if resp, err := v.Call(t.Context(), agent, c); !errors.As(err, &ask) || ask.Reason != auth.RuleScope {
			t.Errorf("%s: %+v, %v", name, resp, err)
			continue
		}
		decide(t, v, ask.RequestID, auth.Decision{})
	}
	for name, c := range map[string]auth.Call{
		"a form in another alphabet": as(urlencoded+"; charset=ibm037", "\x6d\x94\x85\xa3\x88\x96\x84"),
		"json in UTF-16":             as("application/json; charset=utf-16le", "{\x00}\x00"),
		"what is not json":           as("application/json", `{"a":1,}`),
		"json too deep to read":      as("application/json", `{"a":`+strings.Repeat("[", 20000)+strings.Repeat("]", 20000)+`,"_method":"DELETE"}`),
		"parts without a boundary":   as("multipart/form-data", "--x\r\n\r\na\r\n--x--\r\n"),
		"parts without an end":       as(mixed, "--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb"),
		"parts without number":       as(mixed, strings.Repeat("--x\r\nA: b\r\n\r\nb\r\n", 2000)+"--x--\r\n"),
		"a form called two things":   as(urlencoded+", application/json", "_method=DELETE"),
		"a form called two at once":  as(urlencoded+",application/json", "a=b"),
		"half a parameter":           as(urlencoded+"; charset=ibm037; x", "\x6d\x94\x85\xa3\x88\x96\x84\x7e\xc4\xc5\xd3\xc5\xe3\xc5"),
		"two character sets":         as(urlencoded+"; charset=ibm037; charset=utf-8", "\x6d\x94\x85\xa3\x88\x96\x84\x7e\xc4\xc5\xd3\xc5\xe3\xc5"),
		"json with half a parameter": as("application/json; x", `{'_method':'DELETE'}`),
	} {
		if resp, err := v.Call(t.Context(), agent, c); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, resp, err)
		}
	}
	if n := len(v.API.Requests("")); n != 0 {
		t.Fatalf("%d requests were sent", n)
	}
	for name, c := range map[string]auth.Call{
		"its own method":         form("_method", "post"),
		"a method of payment":    form("payment_method", "card"),
		"a call by name":         as("application/json", `{"jsonrpc":"2.0","method":"tools/call","params":{"_method":"DELETE"}}`),
		"a text in json":         as("application/json", `{"body":"curl -d a=1&_method=DELETE&b=2"}`),
		"lines of json":          as("application/x-ndjson", "{\"a\":1}\n{\"a\":2}\n"),
		"a list":                 as("application/json", `[{"_method":"DELETE"}]`),
		"a verb as a value":      form("title", "DELETE"),
		"parts":                  parts(auth.Part{Name: "method", Data: []byte("by post")}, auth.Part{Name: "f", Filename: "a.bin", Data: []byte{0, 255, '\n', '\n', '&'}}),
		"an upload to Drive":     as("multipart/related; boundary=x", "--x\r\nContent-Type: application/json\r\n\r\n{}\r\n--x\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAw==\r\n--x--"),
		"bytes of any kind":      as("application/octet-stream", "\x00\xff{&=;%"),
		"a form of one's own":    as(urlencoded+"; charset=UTF-8", "a=b"),
		"no json, and no object": as("application/json", "hello"),
		"text that is not utf8":  as("text/csv; charset=utf-16le", "a\x00"),
	} {
		if _, err := v.Call(t.Context(), agent, c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BF-021: what the owner is asked, and allows for good, and what is on record says the method that the body names, also where the page does not show it.
func TestMethodInBodyAllowed(t *testing.T) {
	v := authtest.NewVault(t, authtest.Options{})
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	remove := post("/echo", "a="+strings.Repeat("b", 5000)+"&_method=delete")
	ask := askOwner(t, v, agent, remove, auth.RuleReadOnly)
	if a, err := v.Desk(auth.Local).Approval(t.Context(), ask.RequestID); err != nil || a.Method != "POST as DELETE" || !strings.Contains(ask.Message, a.Method) {
		t.Errorf("%+v, %v, %s", a, err, ask.Message)
	}
	decide(t, v, ask.RequestID, auth.Decision{Allow: true, Always: true})
	v.API.Forget()
	call(t, v, remove)
	if got := arrived(t, v); got.Method != "POST" {
		t.Errorf("sent as %s", got.Method)
	}
	if all := events(t, v, "call"); all[len(all)-1].Detail["method"] != "POST as DELETE" {
		t.Errorf("on record: %+v", all[len(all)-1])
	}
	askOwner(t, v, agent, post("/echo", "title=another"), auth.RuleScope) // a POST that is nothing else was not allowed
	askOwner(t, v, agent, auth.Call{Provider: "practice", Method: "DELETE", Path: "/echo"}, auth.RuleScope)
	remove.Body = []byte("_method=patch")
	askOwner(t, v, agent, remove, auth.RuleScope)
	remove.Method, remove.Body = "PUT", []byte("_method=delete")
	askOwner(t, v, agent, remove, auth.RuleScope)
}
