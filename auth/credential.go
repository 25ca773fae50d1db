package auth

import (
	"encoding/json"
	"fmt"
)

// Credential is what is sealed in a connection. It exists in the clear only
// during a call.
type Credential struct {
	AccessToken  Secret
	RefreshToken Secret
	TokenType    string            // Bearer or DPoP; "" = Bearer
	Fields       map[string]Secret // of a pasted key: the definition's field names
	Session      Secret            // of a browser login: the bundle that package browserlogin defines
	Keep         map[string]Secret // secret values kept from the token answer or callback
}

// Secrets lists every secret value in c, for redaction.
func (c *Credential) Secrets() []Secret {
	all := []Secret{c.AccessToken, c.RefreshToken}
	for _, s := range c.Fields {
		all = append(all, s)
	}
	for _, s := range c.Keep {
		all = append(all, s)
	}
	out := all[:0]
	for _, s := range all {
		if !s.Empty() {
			out = append(out, s)
		}
	}
	return out
}

// sealedCredential is the one form in which secrets leave Secret: the plaintext
// that goes straight into seal.Box.
type sealedCredential struct {
	AccessToken  string            `json:"a,omitempty"`
	RefreshToken string            `json:"r,omitempty"`
	TokenType    string            `json:"t,omitempty"`
	Fields       map[string]string `json:"f,omitempty"`
	Session      string            `json:"s,omitempty"`
	Keep         map[string]string `json:"k,omitempty"`
}

func (c *Credential) encode() ([]byte, error) {
	return json.Marshal(sealedCredential{
		AccessToken: c.AccessToken.Reveal(), RefreshToken: c.RefreshToken.Reveal(), TokenType: c.TokenType,
		Fields: revealAll(c.Fields), Session: c.Session.Reveal(), Keep: revealAll(c.Keep),
	})
}

func decodeCredential(data []byte) (*Credential, error) {
	var s sealedCredential
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("sealed credential: not in the expected form")
	}
	return &Credential{
		AccessToken: NewSecret(s.AccessToken), RefreshToken: NewSecret(s.RefreshToken), TokenType: s.TokenType,
		Fields: hideAll(s.Fields), Session: NewSecret(s.Session), Keep: hideAll(s.Keep),
	}, nil
}

func revealAll(m map[string]Secret) map[string]string {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, s := range m {
		out[k] = s.Reveal()
	}
	return out
}

func hideAll(m map[string]string) map[string]Secret {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]Secret, len(m))
	for k, s := range m {
		out[k] = NewSecret(s)
	}
	return out
}
