package authtest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth/authtest"
)

func TestClientAuthentication(t *testing.T) {
	clients := append(authtest.DefaultClients(), authtest.Client{ID: "raw", Secret: "a+b%2F", Auth: "basic", RawBasic: true})
	srv := start(t, authtest.Options{Clients: clients})
	for _, test := range []struct {
		name, user, password, body, want string
	}{
		{"basic", "basic", "basic+secret%2F%2B%3A%25%26%3D", "", `"access_token"`},
		{"basic not escaped", "basic", "basic secret/+:%&=", "", "invalid_client"},
		{"raw basic", "raw", "a+b%2F", "", `"access_token"`},
		{"post", "", "", "&client_id=post&client_secret=post+secret%2F%2B%3A%25%26%3D", `"access_token"`},
		{"basic client by post", "", "", "&client_id=basic&client_secret=basic+secret%2F%2B%3A%25%26%3D", "invalid_client"},
		{"both at once", "basic", "basic+secret%2F%2B%3A%25%26%3D", "&client_secret=x", "invalid_request"},
		{"public", "", "", "&client_id=public", "unauthorized_client"},
		{"unknown", "", "", "&client_id=unknown", "invalid_client"},
		{"twice", "", "", "&client_id=post&client_id=basic", "invalid_request"},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := strings.NewReader("grant_type=client_credentials" + test.body)
			if got := post(t, srv.URL+"/token", "application/x-www-form-urlencoded", body, test.user, test.password); !strings.Contains(got, test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestJSONTokenRequest(t *testing.T) {
	srv := start(t, authtest.Options{})
	srv.Change(func(o *authtest.Options) { o.JSON, o.Clients[2].Secret = true, "new" })
	object := `{"grant_type":"client_credentials","client_id":"post","client_secret":"new"}`
	if got := post(t, srv.URL+"/token", "application/json", strings.NewReader(object), "", ""); !strings.Contains(got, "access_token") {
		t.Errorf("got %s", got)
	}
	form := strings.NewReader(clientCredentials.Encode())
	if got := post(t, srv.URL+"/token", "application/x-www-form-urlencoded", form, "", ""); !strings.Contains(got, "invalid_request") {
		t.Errorf("a form got %s", got)
	}
}

func post(t *testing.T, target, contentType string, body *strings.Reader, user, password string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer strings.Builder
	if err := resp.Write(&answer); err != nil {
		t.Fatal(err)
	}
	return answer.String()
}
