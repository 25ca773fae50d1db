package mcp

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth"
)

// What is written in place of mcp-go's words is what mcp-go would have written.
func TestAnswersComeWhole(t *testing.T) {
	for name, answer := range map[string]*auth.Response{
		"short":  {Status: 200, Text: true, ContentType: "text/plain", Body: []byte("hello")},
		"marked": {Status: 200, Text: true, ContentType: "text/html", Body: []byte("<b>&amp;</b> \"\\\n\t\x01\u2028 é \xff $1 %s")},
		"long":   {Status: 200, Text: true, ContentType: "application/json", Body: []byte(`[` + strings.Repeat(`{"a":"b\"c\\d"},`, 30_000) + `{}]`)},
		"binary": {Status: 200, ContentType: "image/png", Body: []byte("\x89PNG\x00\xff")},
		"failed": nil,
	} {
		t.Run(name, func(t *testing.T) {
			s := New(&fake{call: func(context.Context, auth.Caller, auth.Call) (*auth.Response, error) {
				if answer == nil {
					return nil, auth.ErrDenied.Say(`rule "x" <y> & z`)
				}
				return answer, nil
			}}, Options{})
			w := serve(t, s)
			call := legacyCall("call_api", `{"provider":"practice","method":"GET","path":"/"}`)
			inside, err := json.Marshal(s.core.HandleMessage(WithCaller(t.Context(), auth.Caller{Owner: auth.Owner{User: "T1"}, Client: "agent", Scopes: Scopes}), []byte(call)))
			if err != nil {
				t.Fatal(err)
			}
			want := essence(t, inside)
			old := w.text(w.do("POST", "/mcp", "T1", call, "Mcp-Session-Id", w.session("T1", "{}")))
			if got := essence(t, []byte(old)); !reflect.DeepEqual(got, want) {
				t.Errorf("2025-11-25: %.300v, want %.300v", got, want)
			}
			modern := w.text(w.modern("T1", "call_api", `{"provider":"practice","method":"GET","path":"/"}`, "{}", ""))
			if got := essence(t, []byte(modern)); !reflect.DeepEqual(got, want) {
				t.Errorf("2026-07-28: %.300v, want %.300v", got, want)
			}
		})
	}
}

// Whatever the size of an answer, mcp-go has little to write.
func TestAnswersAreNotWrittenThrice(t *testing.T) {
	res := (&spoken{}).take(result(connected{Message: strings.Repeat("x", 100_000)}, false))
	if written, err := json.Marshal(res); err != nil || len(written) > 300 {
		t.Errorf("%d bytes, %v", len(written), err)
	}
}

// essence is the part of an answer that is the same in both generations; kept files have names of their own.
func essence(t *testing.T, answer []byte) map[string]any {
	t.Helper()
	var message struct{ Result map[string]any }
	if err := json.Unmarshal(answer, &message); err != nil || message.Result == nil {
		t.Fatalf("%v: %.300s", err, answer)
	}
	r := message.Result
	structured, text := r["structuredContent"].(map[string]any), r["content"].([]any)[0].(map[string]any)
	var again map[string]any
	if err := json.Unmarshal([]byte(text["text"].(string)), &again); err != nil || !reflect.DeepEqual(again, structured) {
		t.Fatalf("%v: the text is not the structure: %.300v", err, r)
	}
	if file, ok := structured["file"].(map[string]any); ok {
		if link := r["content"].([]any)[1].(map[string]any); link["uri"] != file["uri"] {
			t.Errorf("a link to %v, not to %v", link, file)
		}
		delete(file, "uri")
	}
	return map[string]any{"structured": structured, "isError": r["isError"], "parts": len(r["content"].([]any))}
}
