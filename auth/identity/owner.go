package identity

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/latchpost/latchpost/auth"
)

// owner makes the owner that claims of this issuer speak of. It is the only place that
// does, for access tokens and ID tokens alike: the person who opens a link is then the
// one whose agent asked exactly when iss and sub are the same.
func (s *Issuer) owner(c claims) (auth.Owner, error) {
	user, org := s.OwnerClaim, s.OrgClaim
	if user == "" {
		user = "sub"
	}
	o := auth.Owner{User: c.text(user)}
	if !isName(o.User) {
		return auth.Owner{}, fmt.Errorf("claim %q, the user, is missing or no plain name", user)
	}
	if user == "email" && c.all["email_verified"] != true {
		return auth.Owner{}, errors.New("the issuer has not verified the address in claim \"email\"")
	}
	if org != "" {
		if o.Org = c.text(org); !isName(o.Org) {
			return auth.Owner{}, fmt.Errorf("claim %q, the org, is missing or no plain name", org)
		}
	}
	if o == auth.Local {
		return auth.Owner{}, errors.New("the user name \"local\" belongs to the machine's own user")
	}
	return o, nil
}

// isName reports whether s can stand for somebody: printable, at most 200 bytes. It is
// compared byte for byte afterwards and never cleaned up, which would make two people one.
func isName(s string) bool {
	return s != "" && len(s) <= 200 && strings.TrimSpace(s) == s &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar })
}
