package auth_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

// D3, RF-012: a refresh token that the answer leaves out, empty, or as it was, is kept, and its life goes on.
func TestRefreshTokenKept(t *testing.T) {
	for name, fault := range map[string]authtest.Fault{
		"left out": authtest.Pass, "repeated": authtest.Pass, "null": authtest.With(map[string]any{"refresh_token": nil}), "empty": authtest.With(map[string]any{"refresh_token": ""}),
	} {
		t.Run(name, func(t *testing.T) {
			rotation := authtest.RotateNever
			if name == "repeated" {
				rotation = authtest.RotateSame
			}
			b := newBench(t, authtest.Options{Rotation: rotation})
			b.def.Refresh.LifeS = 1000
			out := b.signIn(t)
			b.flow.Now = b.flow.Now.Add(time.Minute)
			b.Fault("POST /token", fault)
			next, err := b.renew(out)
			if err != nil {
				t.Fatal(err)
			}
			if next.Credential.RefreshToken.Reveal() != out.Credential.RefreshToken.Reveal() || !next.RefreshExpiresAt.Equal(out.RefreshExpiresAt) {
				t.Errorf("the old refresh token, or its end, is gone: %s", next.RefreshExpiresAt)
			}
			if next, err = b.renew(next); err != nil || next.Credential.AccessToken.Empty() {
				t.Errorf("second refresh: %v", err)
			}
		})
	}
}

// D5, D6, D7: only the server's own invalid_grant ends a sign-in. After anything else the same
// token works again, when the server was not reached or did not act.
func TestRefreshFailures(t *testing.T) {
	for name, test := range map[string]struct {
		fault authtest.Fault
		want  error
		after int
	}{
		"invalid_grant":  {authtest.Refuse(400, "invalid_grant", "x"), auth.ErrReauth, 0},
		"invalid_client": {authtest.Refuse(401, "invalid_client", "x"), auth.ErrConfig, 0},
		"invalid_scope":  {authtest.Refuse(400, "invalid_scope", "x"), auth.ErrConfig, 0},
		"client secret":  {authtest.Answer(200, "application/json", `{"error":"incorrect_client_credentials"}`), auth.ErrConfig, 0}, // GitHub
		"interaction":    {authtest.Refuse(400, "interaction_required", "x"), auth.ErrReauth, 0},                                    // Microsoft
		"consent":        {authtest.Refuse(400, "consent_required", "x"), auth.ErrReauth, 0},
		"login":          {authtest.Refuse(400, "login_required", "x"), auth.ErrReauth, 0},
		"no code":        {authtest.Answer(400, "application/json", `{"message":"no"}`), auth.ErrRefused, 0},
		"503":            {authtest.Busy(503, "12"), auth.ErrUnavailable, 12},
		"429":            {authtest.Busy(429, "1000000000"), auth.ErrUnavailable, 3600},
		"busy":           {authtest.Refuse(400, "temporarily_unavailable", "x"), auth.ErrUnavailable, 0},
		"page":           {authtest.LoginPage(200), auth.ErrUnavailable, 0},
		"proxy":          {authtest.LoginPage(403), auth.ErrUnavailable, 0},
		"307":            {authtest.Redirect(307, "http://169.254.169.254/"), auth.ErrUnavailable, 0}, // PD-009
		"lost":           {authtest.CutBefore, auth.ErrUnavailable, 0},
		"huge":           {authtest.Answer(200, "application/json", strings.Repeat(" ", 2<<20)), auth.ErrUnavailable, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, authtest.Options{})
			out := b.signIn(t)
			b.Fault("POST /token", test.fault)
			before := len(b.Requests("POST /token"))
			_, err := b.renew(out)
			want(t, err, test.want)
			var e *auth.Error
			if asError(err, &e) && e.RetryAfterSeconds != test.after {
				t.Errorf("try again after %d s", e.RetryAfterSeconds)
			}
			if n := len(b.Requests("POST /token")) - before; n != 1 {
				t.Errorf("%d requests", n)
			}
			if _, err := b.renew(out); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// D5, Q22: the dead grants of providers that do not say invalid_grant where RFC 6749 has it. A wrong client is none.
func TestDeadGrantWords(t *testing.T) {
	catalog, err := providers.Load("", providers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for id, said := range map[string][2]string{
		"github": {`{"error":"bad_refresh_token"}`, `{"error":"incorrect_client_credentials"}`},
		"twitch": {`{"error":"Bad Request","status":400,"message":"Invalid refresh token"}`, `{"status":403,"message":"invalid client secret"}`},
		"strava": {
			`{"message":"Bad Request","errors":[{"resource":"RefreshToken","field":"refresh_token","code":"invalid"}]}`,
			`{"message":"Bad Request","errors":[{"resource":"Application","field":"client_id","code":"invalid"}]}`,
		},
		"fitbit":  {`{"errors":[{"errorType":"invalid_grant","message":"Refresh token invalid"}],"success":false}`, `{"errors":[{"errorType":"invalid_client"}],"success":false}`},
		"hubspot": {`{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token"}`, `{"status":"error","category":"BAD_CLIENT","message":"x"}`},
	} {
		p, err := catalog.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		b := newBench(t, authtest.Options{})
		out := b.signIn(t)
		b.def.Response, b.def.Errors = p.OAuth2.Response, p.OAuth2.Errors
		b.Fault("POST /token", authtest.Answer(400, "application/json", said[0]), authtest.Answer(400, "application/json", said[1]))
		if _, err := b.renew(out); !errors.Is(err, auth.ErrReauth) {
			t.Errorf("%s, dead: %v", id, err)
		}
		if _, err := b.renew(out); err == nil || errors.Is(err, auth.ErrReauth) {
			t.Errorf("%s, wrong client: %v", id, err)
		}
	}
}

// D9: a request that went out without an answer is told apart from one that never left.
func TestOutcomeUnknown(t *testing.T) {
	b := newBench(t, authtest.Options{})
	out := b.signIn(t)
	for _, fault := range []authtest.Fault{authtest.CutBefore, authtest.Silence} {
		b.Fault("POST /token", fault)
		if _, err := b.code.Refresh(t.Context(), b.flow, out.Credential); !auth.OutcomeUnknown(err) {
			t.Errorf("the outcome is known: %v", err)
		}
	}
	b.Server.Close()
	b.oauth.Out.CloseIdle()
	if _, err := b.code.Refresh(t.Context(), b.flow, out.Credential); err == nil || auth.OutcomeUnknown(err) {
		t.Errorf("nobody listened, and the outcome is unknown: %v", err)
	}
}

// D11, RF-015: no scope is sent; fewer scopes back are taken.
func TestScopeOnRefresh(t *testing.T) {
	b := newBench(t, authtest.Options{})
	out := b.signIn(t)
	b.Fault("POST /token", authtest.With(map[string]any{"scope": "read"}))
	next, err := b.renew(out)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(next.Scopes, []string{"read"}) {
		t.Errorf("scopes %v", next.Scopes)
	}
	requests := b.Requests("POST /token")
	if requests[len(requests)-1].Form.Has("scope") {
		t.Error("a scope was sent")
	}
}

// D13: a token is not renewed before its minimum age, and a grant that cannot be renewed is not tried.
func TestRefreshNotTried(t *testing.T) {
	b := newBench(t, authtest.Options{})
	out := b.signIn(t)
	b.Forget()
	b.def.Refresh.MinAgeS = 86400
	b.flow.Connection = &auth.Connection{IssuedAt: b.flow.Now.Add(-time.Minute)}
	_, err := b.code.Refresh(t.Context(), b.flow, out.Credential)
	want(t, err, auth.ErrUnavailable)
	b.def.Refresh = providers.Refresh{Grant: "none"}
	_, err = b.code.Refresh(t.Context(), b.flow, out.Credential)
	want(t, err, auth.ErrReauth)
	b.def.Refresh = providers.Refresh{Grant: "refresh_token"}
	_, err = b.code.Refresh(t.Context(), b.flow, &auth.Credential{AccessToken: out.Credential.AccessToken})
	want(t, err, auth.ErrReauth)
	if n := len(b.Requests("")); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// Q4, Q5, Q15, Q21: refresh requests of other shapes.
func TestRefreshShapes(t *testing.T) {
	b := newBench(t, authtest.Options{})
	out := b.signIn(t)
	b.FaultAlways("/refresh", authtest.Answer(200, "application/json", `{"access_token":"next","expires_in":5184000}`))

	b.def.Token.Params = map[string]string{"type": "web_server"}
	b.def.Refresh = providers.Refresh{Grant: "refresh_token", URL: b.URL + "/refresh", Params: map[string]string{"type": "refresh"}, RedirectURI: true}
	if _, err := b.renew(out); err != nil {
		t.Fatal(err)
	}
	form := b.Requests("POST /refresh")[0].Form
	if form.Get("type") != "refresh" || form.Get("redirect_uri") != redirectURI || form.Get("grant_type") != "refresh_token" {
		t.Errorf("sent %v", form)
	}

	b.def.Token.Auth = "none"
	b.def.Refresh = providers.Refresh{
		Grant: "exchange", URL: b.URL + "/refresh", Method: "GET", Body: "query", Names: map[string]string{"client_id": ""},
		Params: map[string]string{"grant_type": "ig_refresh_token", "access_token": "${access_token}"},
	}
	next, err := b.renew(out)
	if err != nil {
		t.Fatal(err)
	}
	q := b.Requests("GET /refresh")[0].Query
	if len(q) != 2 || q.Get("access_token") != out.Credential.AccessToken.Reveal() || next.Credential.AccessToken.Reveal() != "next" {
		t.Errorf("sent %v", q)
	}
}

// E1, E3: the refresh token goes first, then the access token, and again is no error.
func TestRevokeOrder(t *testing.T) {
	b := newBench(t, authtest.Options{})
	out := b.signIn(t)
	for range 2 {
		if told, err := b.code.Revoke(t.Context(), b.flow, out.Credential); err != nil || !told {
			t.Fatalf("%v, %v", told, err)
		}
	}
	requests := b.Requests("POST /revoke")
	if len(requests) != 4 || requests[0].Form.Get("token") != out.Credential.RefreshToken.Reveal() || requests[1].Form.Get("token") != out.Credential.AccessToken.Reveal() {
		t.Errorf("%d requests", len(requests))
	}
	if requests[0].Form.Get("token_type_hint") != "refresh_token" {
		t.Errorf("hint %q", requests[0].Form.Get("token_type_hint"))
	}
}

// E4, E5: what the provider did not confirm is not claimed.
func TestRevokeFailures(t *testing.T) {
	thief := authtest.NewServer(authtest.Options{})
	defer thief.Close()
	for name, test := range map[string]struct {
		fault authtest.Fault
		told  bool
		err   error
	}{
		"503":         {authtest.Busy(503, "60"), false, auth.ErrUnavailable},
		"404 page":    {authtest.LoginPage(404), false, auth.ErrUnavailable},
		"307":         {authtest.Redirect(307, thief.URL+"/revoke"), false, auth.ErrUnavailable},
		"cut":         {authtest.CutBefore, false, auth.ErrUnavailable},
		"bad client":  {authtest.Refuse(401, "invalid_client", "x"), false, auth.ErrConfig},
		"dead":        {authtest.Refuse(400, "invalid_token", "x"), true, nil},
		"unsupported": {authtest.Refuse(400, "unsupported_token_type", "x"), false, nil},
		"ok:false":    {authtest.Answer(200, "application/json", `{"ok":false,"error":"ratelimited"}`), false, auth.ErrRefused},
		"empty 200":   {authtest.Answer(200, "", ""), true, nil},
		"object 200":  {authtest.Answer(200, "text/plain", `{"ok":true,"error":null}`), true, nil},
		"204":         {authtest.Answer(204, "", ""), true, nil},
		"page 200":    {authtest.LoginPage(200), false, auth.ErrUnavailable},
		"text 200":    {authtest.Answer(200, "text/plain", "maintenance"), false, auth.ErrUnavailable},
		"list 200":    {authtest.Answer(200, "application/json", `[]`), false, auth.ErrUnavailable},
		"error 200":   {authtest.Answer(200, "application/json", `{"error":"invalid_client"}`), false, auth.ErrConfig},
		"false 200":   {authtest.Answer(200, "application/json", `{"ok":false}`), false, auth.ErrUnavailable},
		"not revoked": {authtest.Answer(200, "application/json", `{"revoked":false}`), false, auth.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, authtest.Options{})
			out := b.signIn(t)
			if name == "ok:false" {
				b.def.Response.OK = "ok=true"
			}
			b.FaultAlways("POST /revoke", test.fault)
			told, err := b.code.Revoke(t.Context(), b.flow, out.Credential)
			if told != test.told || test.err == nil && err != nil || test.err != nil && err == nil {
				t.Errorf("told %v, %v", told, err)
			}
			if test.err != nil {
				want(t, err, test.err)
			}
			b.clean(t, err)
		})
	}
	if len(thief.Requests("")) != 0 {
		t.Error("the token followed a redirect")
	}
	b := newBench(t, authtest.Options{})
	out := b.signIn(t)
	b.def.Revoke = nil
	if told, err := b.code.Revoke(t.Context(), b.flow, out.Credential); told || err != nil {
		t.Errorf("without an endpoint: %v, %v", told, err)
	}
}

// Q18: revocation in the provider's own way.
func TestRevokeShapes(t *testing.T) {
	b := newBench(t, authtest.Options{})
	out := b.signIn(t)
	access, refresh := out.Credential.AccessToken.Reveal(), out.Credential.RefreshToken.Reveal()

	b.def.Revoke = &providers.Endpoint{URL: b.URL + "/applications/${client_id}/grant", Method: "DELETE", Body: "json", Names: map[string]string{"token": "access_token"}, Token: "access", OK: []int{204, 404}}
	b.Fault("DELETE /applications/basic/grant", authtest.Answer(404, "application/json", `{"message":"Not Found"}`), authtest.Answer(204, "", ""), authtest.Answer(404, "application/json", `{"message":"Not Found"}`))
	if told, err := b.code.Revoke(t.Context(), b.flow, out.Credential); err == nil || told {
		t.Errorf("GitHub: an access token that is not known tells nothing about the refresh token: %v, %v", told, err)
	}
	for _, cred := range []*auth.Credential{out.Credential, {AccessToken: out.Credential.AccessToken}} {
		if told, err := b.code.Revoke(t.Context(), b.flow, cred); err != nil || !told {
			t.Errorf("GitHub: %v, %v", told, err)
		}
	}
	if r := b.Requests("DELETE /applications/basic/grant")[0]; string(r.Body) != `{"access_token":"`+access+`"}` || r.Header.Get("Authorization") == "" {
		t.Errorf("GitHub: sent %s", r.Body)
	}

	b.def.Revoke = &providers.Endpoint{URL: b.URL + "/auth.revoke", Auth: "bearer", Body: "none", Token: "access"}
	b.Fault("POST /auth.revoke", authtest.Answer(200, "application/json", `{"ok":true}`))
	if told, err := b.code.Revoke(t.Context(), b.flow, out.Credential); err != nil || !told {
		t.Errorf("Slack: %v, %v", told, err)
	}
	if r := b.Requests("POST /auth.revoke")[0]; len(r.Body) != 0 || r.Header.Get("Authorization") != "Bearer "+access {
		t.Errorf("Slack: sent %s", r.Body)
	}

	b.def.Revoke = &providers.Endpoint{URL: b.URL + "/tokens/${token}", Method: "DELETE", Body: "none", Auth: "none", Token: "refresh"}
	b.Fault("DELETE /tokens/"+refresh, authtest.Answer(204, "", ""))
	if told, err := b.code.Revoke(t.Context(), b.flow, out.Credential); err != nil || !told {
		t.Errorf("HubSpot: %v, %v", told, err)
	}

	b.def.Revoke = &providers.Endpoint{URL: b.URL + "/gone", Auth: "none", Token: "refresh", OK: []int{200, 400}}
	b.Fault("POST /gone", authtest.Refuse(400, "invalid_token", "x"))
	if told, err := b.code.Revoke(t.Context(), b.flow, out.Credential); err != nil || !told {
		t.Errorf("Google: %v, %v", told, err)
	}
	if form := b.Requests("POST /gone")[0].Form; form.Has("client_id") || form.Has("client_secret") || form.Get("token") != refresh {
		t.Errorf("Google: sent %v", form)
	}

	catalog, err := providers.Load("", providers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	twitch, err := catalog.Get("twitch")
	if err != nil {
		t.Fatal(err)
	}
	shipped := *twitch.OAuth2.Revoke
	shipped.URL, b.def.Revoke = b.URL+"/twitch", &shipped
	b.FaultAlways("POST /twitch", authtest.Answer(200, "", ""))
	if told, err := b.code.Revoke(t.Context(), b.flow, out.Credential); err != nil || !told {
		t.Errorf("Twitch: %v, %v", told, err)
	}
	if form := b.Requests("POST /twitch")[0].Form; form.Get("client_id") != "basic" || form.Has("client_secret") {
		t.Errorf("Twitch: sent %v", form)
	}
}
