package auth_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// deviceBench starts a device sign-in; Now stands still, and the server's clock is ours.
func deviceBench(t *testing.T) (*bench, auth.DeviceCode, auth.Step) {
	t.Helper()
	b := newBench(t, authtest.Options{DeviceInterval: time.Nanosecond})
	b.flow.Request.Method = auth.MethodDeviceCode
	c := auth.DeviceCode{OAuth: b.oauth}
	step, err := c.Begin(t.Context(), b.flow)
	if err != nil {
		t.Fatal(err)
	}
	b.flow.Private = step.Private
	return b, c, step
}

func TestDeviceSignIn(t *testing.T) {
	b, c, step := deviceBench(t)
	if step.Page != "/c/REQUEST" || step.VerifyURL != b.URL+"/device" || step.Redirect != "" || step.ExpiresIn != 10*time.Minute || step.PollAfter != time.Second {
		t.Errorf("%+v", step)
	}
	if r := b.Requests("POST /device_authorization")[0]; r.Header.Get("Authorization") == "" { // F8
		t.Error("the device request was not authenticated")
	}
	if out, wait, err := c.Poll(t.Context(), b.flow); out != nil || err != nil || wait != time.Second { // F3
		t.Fatalf("pending: %v, %s, %v", out, wait, err)
	}
	if err := b.ApproveDevice(t.Context(), step.UserCode, "alice"); err != nil {
		t.Fatal(err)
	}
	out, _, err := c.Poll(t.Context(), b.flow)
	if err != nil || out == nil || out.Account != "alice@example.com" {
		t.Fatalf("%+v, %v", out, err)
	}
	if found := authtest.Scan([]byte(step.UserCode+step.VerifyURL+step.Page), b.Secrets()...); len(found) > 0 {
		t.Errorf("the device code is shown: %v", found)
	}
}

// CB-023: a sign-in is asked for until it ends, by whatever; then never again. All the while the device code goes to the provider
// alone, and what the person types there is neither logged nor on record.
func TestDeviceSignInEnds(t *testing.T) {
	for name, test := range map[string]struct {
		status string
		end    func(v *authtest.Vault, c *clock, id, userCode string) error
	}{
		"the agent cancels": {auth.StatusDeclined, func(v *authtest.Vault, _ *clock, id, _ string) error {
			return second(v.Revoke(t.Context(), agent, auth.Unwanted{RequestID: id}))
		}},
		"the person declines": {auth.StatusDeclined, func(v *authtest.Vault, _ *clock, id, _ string) error {
			return v.Visit(alices).Decline(t.Context(), id)
		}},
		"its time is up": {auth.StatusExpired, func(_ *authtest.Vault, c *clock, _, _ string) error {
			c.forward(11 * time.Minute)
			return nil
		}},
		"the provider says no": {auth.StatusDeclined, func(v *authtest.Vault, c *clock, _, _ string) error {
			v.Server.Fault("POST /token", authtest.Refuse(400, "access_denied", authtest.HostileText))
			c.forward(10 * time.Second)
			return v.KeepOnce(t.Context())
		}},
		"it succeeds": {auth.StatusConnected, func(v *authtest.Vault, c *clock, _, userCode string) error {
			c.forward(10 * time.Second)
			return errors.Join(v.Server.ApproveDevice(t.Context(), userCode, "alice"), v.KeepOnce(t.Context()))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			v, c := newClockedVault(t, authtest.Options{})
			var log bytes.Buffer
			v.Log = jsonLog(&log)
			wish := auth.Wish{Provider: "practice", Method: auth.MethodDeviceCode}
			link := ask(t, v, agent, wish)
			step, err := v.Visit(alices).Confirm(t.Context(), link.RequestID, auth.Choice{})
			if err != nil {
				t.Fatal(err)
			}
			told := fmt.Sprintf("%+v %+v %+v", step, ask(t, v, agent, wish), status(t, v, agent, link.RequestID))
			c.forward(10 * time.Second)
			if err := v.KeepOnce(t.Context()); err != nil || asked(v) != 1 {
				t.Fatalf("asked %d times, %v", asked(v), err)
			}
			if err := test.end(v, c, link.RequestID, step.UserCode); err != nil {
				t.Fatal(err)
			}
			before := asked(v)
			for range 3 {
				c.forward(time.Minute)
				if err := v.KeepOnce(t.Context()); err != nil {
					t.Error(err)
				}
			}
			after := status(t, v, agent, link.RequestID)
			if asked(v) != before || after.Status != test.status {
				t.Errorf("asked %d times more; it reads %s", asked(v)-before, after.Status)
			}
			told += fmt.Sprintf("%+v", after)
			written := record(t, v) + log.String()
			for _, found := range authtest.Scan([]byte(told+written), v.Server.Secrets()...) {
				t.Errorf("shown, logged or on record: %s", found)
			}
			if step.UserCode == "" || !strings.Contains(told, step.UserCode) || strings.Contains(written, step.UserCode) {
				t.Errorf("the user code %q is logged or on record", step.UserCode)
			}
		})
	}
}

// F3, F4, F5, CB-023: slow_down adds five seconds for good, an outage does not end it, the provider's word does.
func TestDevicePolling(t *testing.T) {
	b, c, _ := deviceBench(t)
	poll := func(fault authtest.Fault) (time.Duration, error) {
		b.Fault("POST /token", fault)
		out, wait, err := c.Poll(t.Context(), b.flow)
		if out != nil {
			t.Fatal("an outcome")
		}
		b.clean(t, err)
		return wait, err
	}
	for i, test := range []struct {
		fault authtest.Fault
		wait  time.Duration
	}{
		{authtest.Refuse(400, "authorization_pending", ""), time.Second},
		{authtest.Refuse(400, "slow_down", ""), 6 * time.Second},
		{authtest.Refuse(400, "authorization_pending", ""), 6 * time.Second},
		{authtest.Refuse(400, "slow_down", ""), 11 * time.Second},
		{authtest.Busy(503, ""), 22 * time.Second},
		{authtest.Busy(429, "40"), 40 * time.Second},
		{authtest.LoginPage(500), 22 * time.Second},
		{authtest.CutBefore, 22 * time.Second},
		{authtest.CutAfter, 22 * time.Second},
		{authtest.Refuse(400, "temporarily_unavailable", ""), 22 * time.Second},
		{authtest.Refuse(400, "authorization_pending", ""), 11 * time.Second},
		{authtest.Refuse(429, "slow_down", ""), 16 * time.Second}, // Auth0
		{authtest.Refuse(403, "authorization_pending", ""), 16 * time.Second},
	} {
		if wait, err := poll(test.fault); wait != test.wait || err != nil {
			t.Errorf("%d: %s, %v", i, wait, err)
		}
	}
	for code, target := range map[string]error{
		"access_denied": auth.ErrDeclined, "expired_token": auth.ErrExpired, "invalid_grant": auth.ErrRefused, "invalid_client": auth.ErrConfig,
	} {
		_, err := poll(authtest.Refuse(400, code, authtest.HostileText))
		want(t, err, target)
	}
	b.Forget()
	b.flow.Now = b.flow.Now.Add(10 * time.Minute) // F6
	_, err := poll(authtest.Pass)
	want(t, err, auth.ErrExpired)
	if n := len(b.Requests("POST /token")); n != 0 {
		t.Errorf("%d polls after the end", n)
	}
}

// F1, F2, CB-023: absurd answers are mended, dangerous ones refused.
func TestDeviceAnswers(t *testing.T) {
	b := newBench(t, authtest.Options{})
	c := auth.DeviceCode{OAuth: b.oauth}
	begin := func(fields map[string]any) (auth.Step, error) {
		b.Fault("POST /device_authorization", authtest.With(fields))
		return c.Begin(t.Context(), b.flow)
	}
	for interval, want := range map[string]time.Duration{
		`-1`: time.Second, `0`: time.Second, `0.5`: time.Second, `"5"`: 5 * time.Second, `61`: time.Minute, `4611686018427387904`: time.Minute,
		`1e400`: 5 * time.Second, `null`: 5 * time.Second, `"soon"`: 5 * time.Second,
	} {
		step, err := begin(map[string]any{"interval": authtest.Raw(interval)})
		if err != nil || step.PollAfter != want {
			t.Errorf("interval %s: %s, %v", interval, step.PollAfter, err)
		}
	}
	for life, want := range map[string]time.Duration{`60`: time.Minute, `null`: 10 * time.Minute, `-5`: 10 * time.Minute, `99999999999`: time.Hour} {
		if step, err := begin(map[string]any{"expires_in": authtest.Raw(life)}); err != nil || step.ExpiresIn != want {
			t.Errorf("expires_in %s: %s, %v", life, step.ExpiresIn, err)
		}
	}
	for _, fields := range []map[string]any{
		{"device_code": nil}, {"device_code": ""}, {"device_code": 5}, {"user_code": nil}, {"user_code": ""},
		{"user_code": "A\x1b]8;;x\x07B"}, {"user_code": strings.Repeat("A", 33)}, {"user_code": strings.Repeat("A", 1<<19)}, {"user_code": "<b>X</b>"}, {"user_code": "A B\u202e"},
		{"verification_uri": nil}, {"verification_uri": "javascript:alert(1)"}, {"verification_uri": "http://example.com/device"}, {"verification_uri": "https://u@evil.example"},
		{"verification_uri": "https://169.254.169.254/"}, {"verification_uri": "//evil.example"}, {"verification_uri": "https://éxample.com"},
	} {
		if step, err := begin(fields); err == nil {
			t.Errorf("%v was accepted: %q %q", fields, step.UserCode, step.VerifyURL)
		}
	}
	b.Fault("POST /device_authorization", authtest.Answer(200, "application/json", `{}`))
	if _, err := c.Begin(t.Context(), b.flow); err == nil {
		t.Error("{} was accepted")
	}
	b.Fault("POST /device_authorization", authtest.Answer(200, "application/json", `{"device_code":"d","user_code":"AB-12","verification_url":"https://www.google.com/device"}`))
	if step, err := c.Begin(t.Context(), b.flow); err != nil || step.VerifyURL != "https://www.google.com/device" {
		t.Errorf("Google's spelling: %v", err)
	}
}

// The client's own token: no page, no refresh token, asked anew.
func TestClientCredentials(t *testing.T) {
	b := newBench(t, authtest.Options{})
	b.flow.Request.Method = auth.MethodClientCredentials
	c := auth.ClientCredentials{OAuth: b.oauth}
	step, err := c.Begin(t.Context(), b.flow)
	if err != nil || step.Page+step.Redirect+step.State+step.UserCode != "" {
		t.Fatalf("%+v, %v", step, err)
	}
	out, err := c.Finish(t.Context(), b.flow, auth.Input{})
	if err != nil {
		t.Fatal(err)
	}
	if out.Account != "basic" || !out.Credential.RefreshToken.Empty() || out.Credential.AccessToken.Empty() {
		t.Errorf("%+v", out)
	}
	b.flow.Connection = &auth.Connection{Scopes: out.Scopes}
	answer, err := c.Refresh(t.Context(), b.flow, out.Credential)
	if err != nil {
		t.Fatal(err)
	}
	next, err := c.Refreshed(b.flow, out.Credential, answer, b.flow.Now)
	if err != nil || next.Credential.AccessToken.Reveal() == out.Credential.AccessToken.Reveal() {
		t.Errorf("%v", err)
	}
	// A dead app cannot be mended by signing in.
	refused, _ := json.Marshal(map[string]any{"s": 400, "b": []byte(`{"error":"invalid_grant"}`)})
	_, err = c.Refreshed(b.flow, out.Credential, refused, b.flow.Now)
	want(t, err, auth.ErrConfig)
}
