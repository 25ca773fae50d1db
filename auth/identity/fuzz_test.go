package identity_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// Whatever is sent as a token, only what was signed or issued names a caller.
func FuzzToken(f *testing.F) {
	h := open(f)
	genuine := h.as.Sign("at+jwt", h.good())
	for _, seed := range []string{"", ".", "..", "lp_", "lp_" + strings.Repeat("A", 43), genuine, genuine + ".", strings.Replace(genuine, ".", "..", 1), "{}", "e30.e30."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		r := httptest.NewRequest("POST", "/mcp", nil)
		r.Header["Authorization"] = []string{"Bearer " + token}
		caller, err := h.Caller(r)
		if err == nil && strings.Join(strings.Fields(token), "") != genuine {
			t.Errorf("%q is %+v", token, caller)
		}
	})
}

// Whatever comes back as an answer, nobody is signed in by one that was not asked for.
func FuzzAnswer(f *testing.F) {
	h := open(f)
	f.Add("ABCDEFGH.x", "ABCDEFGHIJ.9999999999.L2MvUjE")
	f.Add("ABCDEFGH.", "ABCDEFGH..")
	f.Add("ABCDEFGH.", "A.-1.!")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, state, cookie string) {
		r := httptest.NewRequest("GET", "/login/callback?"+url.Values{"state": {state}, "code": {"x"}, "iss": {h.as.URL}}.Encode(), nil)
		r.AddCookie(&http.Cookie{Name: "__Host-lp_login_ABCDEFGH", Value: cookie})
		w := httptest.NewRecorder()
		h.Handler().ServeHTTP(w, r)
		if w.Code != http.StatusBadRequest {
			t.Errorf("%q with %q: %d", state, cookie, w.Code)
		}
	})
}
