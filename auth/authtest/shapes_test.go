package authtest_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth/authtest"
)

func TestShapesGoOutAsTheyAre(t *testing.T) {
	srv := start(t, authtest.Options{})
	for name, values := range map[string][]string{"expires_in": authtest.OddExpiresIn, "interval": authtest.OddIntervals} {
		for _, value := range values {
			srv.Fault("/token", authtest.With(map[string]any{name: authtest.Raw(value)}))
			got, err := ask(t.Context(), srv.URL+"/token", clientCredentials)
			if err != nil || !strings.Contains(got.body, `"`+name+`":`+value) || !json.Valid([]byte(got.body)) {
				t.Errorf("%s %s: %s %v", name, value, got.body, err)
			}
		}
	}
	for name, body := range authtest.RefusedWith200 {
		srv.Fault("/token", authtest.Answer(200, "application/json", body))
		got, err := ask(t.Context(), srv.URL+"/token", clientCredentials)
		if err != nil || got.status != 200 || got.body != body {
			t.Errorf("%s: %d %s %v", name, got.status, got.body, err)
		}
	}
}

// TestBrokenJSON holds that no body could pass for a whole answer: it is not
// valid, or not an object, or has no usable access_token.
func TestBrokenJSON(t *testing.T) {
	harmless := []string{"not UTF-8", "wrong case"} // encoding/json takes these two
	for name, body := range authtest.BrokenJSON {
		var object struct {
			AccessToken string `json:"access_token"`
		}
		whole := json.Unmarshal([]byte(body), &object) == nil && object.AccessToken != ""
		if whole != slices.Contains(harmless, name) {
			t.Errorf("%s: encoding/json made %q of it", name, object.AccessToken)
		}
	}
}
