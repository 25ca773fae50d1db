package mcp

import (
	"fmt"
	"strings"
	"testing"
)

// What call_api makes of its arguments: bytes, content type, query.
func TestCallBodies(t *testing.T) {
	for args, want := range map[string]string{
		`{"path":"/"}`: `GET "" [] map[] map[] []`,
		`{"path":"/","query":{"a":1,"b":[true,"x"],"c":12345678901234567890}}`:                   `GET "" [] map[a:[1] b:[true x] c:[12345678901234567890]] map[] []`,
		`{"path":"/","method":"post","body":{"id":12345678901234567890}}`:                        `POST "application/json" [{"id":12345678901234567890}] map[] map[] []`,
		`{"path":"/","method":"POST","body":"{\"a\":1}"}`:                                        `POST "application/json" [{"a":1}] map[] map[] []`,
		`{"path":"/","method":"POST","body":"a=b"}`:                                              `POST "text/plain; charset=utf-8" [a=b] map[] map[] []`,
		`{"path":"/","method":"POST","body":"a=b","content_type":"x/y"}`:                         `POST "x/y" [a=b] map[] map[] []`,
		`{"path":"/","method":"POST","body":"a","headers":{"content-TYPE":"x/y"}}`:               `POST "x/y" [a] map[] map[] []`,
		`{"path":"/","method":"POST","body_base64":"AAEC"}`:                                      "POST \"application/octet-stream\" [\x00\x01\x02] map[] map[] []",
		`{"path":"/","method":"POST","form":{"a":"b","n":1}}`:                                    `POST "" [] map[] map[a:[b] n:[1]] []`,
		`{"path":"/","method":"POST","parts":[{"name":"f","filename":"x.txt","base64":"aGk="}]}`: `POST "" [] map[] map[] [f x.txt  hi]`,
	} {
		broker := &fake{}
		h := plug(t, New(broker, Options{}))
		got := h.call("call_api", strings.Replace(args, "{", `{"provider":"p",`, 1))
		if len(broker.calls) != 1 {
			t.Errorf("%s: %v", args, got)
			continue
		}
		c, parts := broker.calls[0], []string{}
		for _, p := range c.Parts {
			parts = append(parts, fmt.Sprint(p.Name, " ", p.Filename, " ", p.ContentType, " ", string(p.Data)))
		}
		if text := fmt.Sprintf("%s %q [%s] %v %v %v", c.Method, c.Headers["Content-Type"], c.Body, c.Query, c.Form, parts); text != want {
			t.Errorf("%s\nbecame %s\nwant   %s", args, text, want)
		}
		h.in.Close()
		<-h.done
	}
	broker := &fake{}
	h := plug(t, New(broker, Options{}))
	for args, want := range map[string]string{
		`{"provider":"p"}`: "either url or path",
		`{"provider":"p","path":"/","url":"https://x"}`:                                              "either url or path",
		`{"provider":"p","path":"/","body":"a","form":{"a":"b"}}`:                                    "one of body",
		`{"provider":"p","path":"/","body":7}`:                                                       "argument body",
		`{"provider":"p","path":"/","body_base64":"?"}`:                                              "argument body_base64",
		`{"provider":"p","path":"/","content_type":"x/y"}`:                                           "there is no body",
		`{"provider":"p","path":"/","form":{"a":"b"},"content_type":"x/y"}`:                          "their own",
		`{"provider":"p","path":"/","body":"a","content_type":"x/y","headers":{"Content-Type":"z"}}`: "also among the headers",
		`{"provider":"p","path":"/","query":{"a":{"b":1}}}`:                                          "argument query: the value of a",
		`{"provider":"p","path":"/","query":{"state":null}}`:                                         "argument query: the value of state",
		`{"provider":"p","path":"/","query":{"state":["open",null]}}`:                                "argument query: the value of state",
		`{"provider":"p","path":"/","method":"POST","form":{"to":null}}`:                             "argument form: the value of to",
		`{"provider":"p","path":"/","headers":{"If-Match":null}}`:                                    "argument headers: the value of If-Match",
		`{"provider":"p","path":"/","headers":{"If-Match":7}}`:                                       "argument headers: must be a string",
		`{"provider":"p","path":"/","parts":[{"name":"f","text":"a","base64":"aGk="}]}`:              "either text, base64 or file",
		`{"provider":"p","path":"/","parts":[{"name":"f","path":"/etc/passwd"}]}`:                    "parts[0].path",
		`{"path":"/"}`: "argument provider is missing",
	} {
		if got := h.call("call_api", args); got["code"] != "invalid_request" || !strings.Contains(got["message"].(string), want) {
			t.Errorf("%s: %v", args, got)
		}
	}
	if len(broker.calls) > 0 {
		t.Error("something was sent")
	}
}
