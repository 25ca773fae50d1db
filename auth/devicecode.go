package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/latchpost/latchpost/auth/egress"
)

// DeviceCode signs in on another device (RFC 8628): the person types a short code
// on the provider's page while we ask whether it was done.
type DeviceCode struct{ *OAuth }

// Method is MethodDeviceCode.
func (DeviceCode) Method() string { return MethodDeviceCode }

const (
	deviceGrant    = "urn:ietf:params:oauth:grant-type:device_code"
	deviceLife     = 10 * time.Minute // when the server does not say
	maxDeviceLife  = time.Hour
	deviceInterval = 5 * time.Second // when the server does not say, and what slow_down adds
	maxUserCode    = 32
)

// deviceAttempt is what a device sign-in remembers from poll to poll, sealed.
type deviceAttempt struct {
	Code     string        `json:"code"`
	Interval time.Duration `json:"interval"`
	Until    time.Time     `json:"until"`
}

// Begin asks for a code. The person reads it on our own page, beside the link to the provider's.
func (c DeviceCode) Begin(ctx context.Context, f *Flow) (Step, error) {
	f, err := c.discover(ctx, f)
	if err != nil {
		return Step{}, err
	}
	e := f.Provider.OAuth2.Device
	if e == nil {
		return Step{}, ErrConfig.Say("%s names no device endpoint; use another method", f.Provider.Name)
	}
	params := url.Values{}
	if err := addScopes(f.Provider, params, askedScopes(f)); err != nil {
		return Step{}, err
	}
	if err := addResource(f, params); err != nil {
		return Step{}, err
	}
	a, err := c.send(ctx, f, tokenRequest{endpoint: *e, params: params, values: credentialValues(f, nil)})
	if err != nil {
		return Step{}, err
	}
	doc, isJSON, err := understand(a)
	if err != nil {
		return Step{}, noAnswer(f.Provider, a, err)
	}
	if err := refusal(f.Provider, a, doc, isJSON, []Secret{f.Client}); err != nil {
		return Step{}, err
	}
	return c.readDevice(f, doc)
}

// readDevice takes what RFC 8628 section 3.2 wants. What is absurd is replaced, what is dangerous refused.
func (c DeviceCode) readDevice(f *Flow, doc document) (Step, error) {
	code, _ := doc.at("device_code").(string)
	userCode, _ := doc.at("user_code").(string)
	page, _ := doc.first([]string{"verification_uri", "verification_url"}).(string)
	target, err := egress.Parse(page, egress.ParseOptions{Loopback: c.Loopback})
	if err != nil || code == "" || len(code) > maxCode || !isUserCode(userCode) {
		return Step{}, ErrUnavailable.Say("%s did not give a usable code for the sign-in; try again later, or use another method", f.Provider.Name).Because(err)
	}
	life := min(lifetime(doc.at("expires_in"), ""), maxDeviceLife)
	if life == 0 {
		life = deviceLife
	}
	interval := deviceInterval
	if n, ok := number(doc.at("interval")); ok {
		interval = time.Duration(min(max(n, 1), 60) * float64(time.Second))
	}
	try := deviceAttempt{Code: code, Interval: interval, Until: f.Now.Add(life)}
	private, err := json.Marshal(try)
	return Step{
		Page: "/c/" + f.Request.ID, Private: private, UserCode: userCode, VerifyURL: target.String(),
		PollAfter: interval, ExpiresIn: life,
	}, err
}

func isUserCode(s string) bool {
	return s != "" && len(s) <= maxUserCode && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// Finish has nothing to redeem: Poll brings the outcome.
func (DeviceCode) Finish(context.Context, *Flow, Input) (*Outcome, error) {
	return nil, ErrInvalid.Say("this sign-in is finished on the provider's page; go on there")
}

// Poll asks once. It writes a grown interval into f.Private, which the caller keeps.
// Until the code expires, only the provider's word ends it: an outage does not.
func (c DeviceCode) Poll(ctx context.Context, f *Flow) (*Outcome, time.Duration, error) {
	var try deviceAttempt
	if err := json.Unmarshal(f.Private, &try); err != nil {
		return nil, 0, fmt.Errorf("device attempt: not in the expected form")
	}
	if !f.Now.Before(try.Until) {
		return nil, 0, ErrExpired
	}
	in := f
	f, err := c.discover(ctx, f)
	if err != nil {
		return nil, try.longer(err), nil
	}
	params := url.Values{"grant_type": {deviceGrant}, "device_code": {try.Code}}
	if err := addResource(f, params); err != nil {
		return nil, 0, err
	}
	a, err := c.send(ctx, f, tokenRequest{endpoint: f.Provider.OAuth2.Token, params: params, values: credentialValues(f, nil)})
	if errors.Is(err, ErrUnavailable) {
		return nil, try.longer(err), nil
	}
	if err != nil {
		return nil, 0, err
	}
	switch code := deviceError(f, a); {
	case code == "authorization_pending":
		return nil, try.Interval, nil
	case code == "slow_down":
		try.Interval += deviceInterval // for good (RFC 8628 section 3.5)
		in.Private, err = json.Marshal(try)
		return nil, max(try.Interval, seconds(a.RetryAfter)), err
	case code == "access_denied", code == "authorization_declined":
		return nil, 0, ErrDeclined.Say("the sign-in at %s was declined; nothing has changed", f.Provider.Name)
	case code == "expired_token":
		return nil, 0, ErrExpired
	case code == noWord, slices.Contains(transientCodes, code):
		return nil, max(2*try.Interval, seconds(a.RetryAfter)), nil
	}
	t, err := readTokens(f, a, []Secret{f.Client, NewSecret(try.Code)})
	if err != nil {
		return nil, 0, asRefusal(err)
	}
	out, err := c.connect(ctx, f, t, &callback{}, "")
	return out, 0, err
}

// noWord stands for an answer that is a breakdown of the server and not its word.
const noWord = "no word"

func deviceError(f *Flow, a *answer) string {
	doc, _, err := understand(a)
	if err != nil {
		return noWord
	}
	code, _ := refusedCode(f.Provider.OAuth2, a, doc)
	if broken(a.Status) && code != "slow_down" { // which Auth0 says with 429
		return noWord
	}
	return code
}

// longer is the pause after a request that brought no answer.
func (d deviceAttempt) longer(err error) time.Duration {
	wait := 2 * d.Interval
	if e, ok := errors.AsType[*Error](err); ok {
		wait = max(wait, seconds(e.RetryAfterSeconds))
	}
	return wait
}
