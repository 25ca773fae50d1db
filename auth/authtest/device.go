package authtest

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// device is a device sign-in under way (RFC 8628).
type device struct {
	grant
	userCode string
	expires  time.Time
	interval time.Duration
	polled   time.Time
	decision string // "", "allow" or "deny"
	family   *family
}

func (s *Server) startDevice(w http.ResponseWriter, r *http.Request) {
	options, now := s.current(), s.now()
	form, refused := options.readForm(r)
	var client Client
	if refused == nil {
		client, refused = options.authenticate(r, form)
	}
	if refused == nil && !validResources(form["resource"]) {
		refused = refuse(400, "invalid_target", "resource must be an absolute URI without a fragment")
	}
	if refused != nil {
		s.sendError(w, refused)
		return
	}
	s.ledger.Lock()
	defer s.ledger.Unlock()
	deviceCode, userCode := s.ledger.mint("device_"), newUserCode()
	s.ledger.devices[deviceCode] = &device{
		grant:    grant{client: client.ID, scope: strings.Fields(form.Get("scope")), resources: form["resource"]},
		userCode: userCode, expires: now.Add(10 * time.Minute), interval: options.deviceInterval(),
	}
	noStore(w)
	writeJSON(w, http.StatusOK, map[string]any{
		"device_code": deviceCode, "user_code": userCode, "expires_in": 600,
		"interval":                  int64(options.deviceInterval() / time.Second),
		"verification_uri":          s.URL + "/device",
		"verification_uri_complete": s.URL + "/device?user_code=" + url.QueryEscape(userCode),
	})
}

// newUserCode has no vowels, so that it spells nothing (RFC 8628 section 6.1).
func newUserCode() string {
	const letters = "BCDFGHJKLMNPQRSTVWXZ"
	code := make([]byte, 8)
	_, _ = rand.Read(code)
	for i, b := range code {
		code[i] = letters[int(b)%len(letters)]
	}
	return string(code[:4]) + "-" + string(code[4:])
}

func (s *Server) showDevice(w http.ResponseWriter, r *http.Request) {
	s.devicePage(w, r.URL.Query().Get("user_code"), "")
}

func (s *Server) devicePage(w http.ResponseWriter, userCode, problem string) {
	render(w, "device.html", map[string]any{"UserCode": userCode, "Problem": problem, "Hints": s.current().hints()})
}

func (s *Server) decideDevice(w http.ResponseWriter, r *http.Request) {
	options, now := s.current(), s.now()
	userCode := strings.ToUpper(strings.TrimSpace(r.PostFormValue("user_code")))
	user, known := options.user(r.PostFormValue("user"))
	decision := r.PostFormValue("decision")
	if decision != "deny" && (!known || user.Password != r.PostFormValue("password")) {
		s.devicePage(w, userCode, "That name and password do not belong together. Try again.")
		return
	}
	if !s.decide(userCode, user, decision, now) {
		s.devicePage(w, userCode, "This code is unknown or no longer valid. Look at the device again.")
		return
	}
	message(w, http.StatusOK, "Done", "You can close this page and go back to the device.")
}

func (s *Server) decide(userCode string, user User, decision string, now time.Time) bool {
	s.ledger.Lock()
	defer s.ledger.Unlock()
	for _, d := range s.ledger.devices {
		if d.userCode == userCode && d.decision == "" && now.Before(d.expires) {
			d.user, d.at, d.decision = user.Name, now, decision
			return true
		}
	}
	return false
}

// pollDevice is the device grant at the token endpoint. A client that asks
// sooner than it was told gets slow_down, and from then on has to wait 5 s more
// (RFC 8628 section 3.5).
func (s *Server) pollDevice(o Options, client Client, form url.Values, now time.Time) (map[string]any, *oauthError) {
	s.ledger.Lock()
	defer s.ledger.Unlock()
	d := s.ledger.devices[form.Get("device_code")]
	if d == nil || d.client != client.ID || d.family != nil {
		return nil, refuse(400, "invalid_grant", "the device code is unknown or was used before")
	}
	if !now.Before(d.expires) {
		return nil, refuse(400, "expired_token", "nobody entered the code in time")
	}
	hasty := !d.polled.IsZero() && now.Sub(d.polled) < d.interval
	d.polled = now
	switch {
	case hasty:
		d.interval += 5 * time.Second
		return nil, refuse(400, "slow_down", "you ask too often")
	case d.decision == "":
		return nil, refuse(400, "authorization_pending", "nobody entered the code yet")
	case d.decision == "deny":
		return nil, refuse(400, "access_denied", "the user said no")
	}
	d.family = &family{grant: d.grant}
	return s.issue(o, d.family, d.scope, d.resources, now), nil
}
