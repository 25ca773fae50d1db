package auth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// answer is what a back channel request brought, before anybody looked into it. Its
// encoding is what Refresh gives to the vault.
type answer struct {
	Status     int    `json:"s"`
	RetryAfter int    `json:"r,omitempty"` // seconds
	Body       []byte `json:"b"`
}

func (a *answer) encode() ([]byte, error) { return json.Marshal(a) }

func decodeAnswer(data []byte) (*answer, error) {
	var a answer
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, fmt.Errorf("stored token answer: not in the expected form")
	}
	return &a, nil
}

const maxToken = 16 << 10 // bytes

// tokens is a token answer that was understood: what must be right is right, and
// what may be wrong (a lifetime, above all) costs nobody a rotated refresh token.
type tokens struct {
	flow    *Flow
	def     *providers.OAuth2
	doc     document // within response.wrap
	access  string
	refresh string
	secrets []Secret // these two and those that were sent
}

// readTokens reads a token answer by the definition. secrets are kept out of the
// operator's log, should the provider echo them.
func readTokens(f *Flow, a *answer, secrets []Secret) (*tokens, error) {
	doc, isJSON, err := understand(a)
	if err != nil && (isJSON || len(a.Body) == 0) && a.Status < 300 { // cut off, where nothing told its length
		err = fmt.Errorf("%w: %w", errSpoilt, err)
	}
	if err != nil {
		return nil, noAnswer(f.Provider, a, err)
	}
	if err := refusal(f.Provider, a, doc, isJSON, secrets); err != nil {
		return nil, err
	}
	def := f.Provider.OAuth2
	t := &tokens{flow: f, def: def, doc: wrapped(def, doc)}
	r := def.Response
	if t.access, err = token(t.doc.first(orPaths(r.AccessToken, "access_token")), false); err == nil && t.access == "" {
		err = fmt.Errorf("no access token")
	}
	if err == nil {
		t.refresh, err = token(t.doc.first(orPaths(r.RefreshToken, "refresh_token")), true)
	}
	if err == nil {
		err = bearer(t.doc.at("token_type"))
	}
	if err != nil {
		return nil, ErrUnavailable.Say("%s sent a token answer that cannot be used; try again later", f.Provider.Name).Because(fmt.Errorf("%w: %w", errSpoilt, err))
	}
	t.secrets = append(slices.Clip(secrets), NewSecret(t.access), NewSecret(t.refresh))
	return t, nil
}

// understand parses the body for what it is: the content type is a hint that too
// many servers get wrong.
func understand(a *answer) (doc document, isJSON bool, err error) {
	body := bytes.TrimSpace(a.Body)
	if len(body) > 0 && body[0] == '{' {
		doc, err = parseDocument(body)
		return doc, true, err
	}
	if doc, ok := parseForm(body); ok && doc.text("access_token", "error") != "" {
		return doc, false, nil
	}
	return document{}, false, fmt.Errorf("status %d with %d bytes that are neither a JSON object nor a form", a.Status, len(a.Body))
}

func wrapped(def *providers.OAuth2, doc document) document {
	if def.Response.Wrap == "" {
		return doc
	}
	return document{doc.at(def.Response.Wrap)}
}

func orPaths(paths []string, standard string) []string {
	if len(paths) == 0 {
		return []string{standard}
	}
	return paths
}

// token accepts what can travel in a header. spaces are legal in a refresh token
// (RFC 6749 appendix A.17) and not in a bearer token (RFC 6750 section 2.1).
func token(v any, spaces bool) (string, error) {
	s, ok := v.(string)
	switch {
	case v == nil:
		return "", nil
	case !ok:
		return "", fmt.Errorf("a token is not a string")
	case len(s) > maxToken:
		return "", fmt.Errorf("a token is longer than %d bytes", maxToken)
	case strings.ContainsFunc(s, func(r rune) bool { return r > '~' || r < ' ' || r == ' ' && !spaces }):
		return "", fmt.Errorf("a token has a character that no header can carry")
	}
	return s, nil
}

// bearer refuses every other token type. Slack calls its bearer tokens after their owner.
func bearer(tokenType any) error {
	s, ok := tokenType.(string)
	if tokenType == nil || ok && (s == "" || slices.Contains([]string{"bearer", "bot", "user"}, strings.ToLower(s))) {
		return nil
	}
	return fmt.Errorf("the token type is not Bearer")
}

// outcome is the answer as the vault stores it, but for what is kept by name.
// Lifetimes count from the moment the request was sent.
func (t *tokens) outcome(f *Flow, sentAt time.Time) *Outcome {
	return &Outcome{
		Credential:       &Credential{AccessToken: NewSecret(t.access), RefreshToken: NewSecret(t.refresh), TokenType: "Bearer"},
		Scopes:           t.scopes(),
		ExpiresAt:        t.expiry(sentAt),
		RefreshExpiresAt: t.refreshExpiry(sentAt),
	}
}

// beside are the tokens that came along with the kept ones, where the definition names several paths: each of them stands
// for what another gave to the app (Slack: the bot, and the person who added it). Refresh tokens belong to them in the order of the paths.
func (t *tokens) beside() (all []*Credential) {
	r := t.def.Response
	for i, path := range r.AccessToken {
		access, err := token(t.doc.at(path), false)
		if err != nil || access == "" || access == t.access {
			continue
		}
		c := &Credential{AccessToken: NewSecret(access), TokenType: "Bearer"}
		if i < len(r.RefreshToken) {
			if refresh, err := token(t.doc.at(r.RefreshToken[i]), true); err == nil && refresh != t.refresh {
				c.RefreshToken = NewSecret(refresh)
			}
		}
		all = append(all, c)
	}
	return all
}

// keep takes the fields that the definition names: secret ones into c, the others
// into the variables it gives, beside those of f. A value that points to a host outside its list is a
// refusal at sign-in; on a refresh the old value stays, for the token is good.
func (t *tokens) keep(f *Flow, c *Credential, refreshing bool) (map[string]string, error) {
	vars := cloneVars(f.Vars)
	for name, k := range t.def.Response.Keep {
		value := t.doc.text(k.Path)
		if value == "" {
			continue
		}
		if !mayKeep(value, k.Hosts) {
			if refreshing {
				continue
			}
			return nil, ErrRefused.Say("%s sent a value for %s that its definition does not allow; nothing was stored", f.Provider.Name, name)
		}
		if !k.Secret {
			vars[name] = value
			continue
		}
		if c.Keep == nil {
			c.Keep = map[string]Secret{}
		}
		c.Keep[name] = NewSecret(value)
	}
	return vars, nil
}

const maxKept = 2 << 10

// mayKeep accepts short printable text. Where hosts are listed it must be one of them, or an
// https URL on one of them, spelt in the one way that every parser reads alike.
func mayKeep(value string, hosts []string) bool {
	if len(value) > maxKept || strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return false
	}
	if len(hosts) == 0 {
		return true
	}
	if !strings.Contains(value, "://") {
		value = "https://" + value
	}
	t, err := egress.Parse(value, egress.ParseOptions{Loopback: true}) // only a list that names loopback lets it pass
	return err == nil && t.RawQuery == "" && t.MatchHost(hosts)
}

func cloneVars(vars map[string]string) map[string]string {
	out := make(map[string]string, len(vars)+4)
	maps.Copy(out, vars)
	return out
}
