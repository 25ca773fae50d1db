package auth

import (
	"slices"

	"github.com/latchpost/latchpost/auth/seal"
)

// Sealed is a sealed value that a row keeps, and the place that it opens in.
type Sealed struct {
	Place seal.Place
	Value []byte
}

// SealedValues of a connection: its credential, and the answer to a refresh that was not looked into yet.
func (c *Connection) SealedValues() []Sealed {
	return kept(Sealed{place(c, "credential"), c.Sealed}, Sealed{place(c, "answer"), c.Refresh.Answer})
}

// SealedValues of a request: what its connector keeps between two steps.
func (r *Request) SealedValues() []Sealed { return kept(Sealed{privatePlace(r), r.Private}) }

// SealedValues of an OAuth app: its client secret.
func (a *App) SealedValues() []Sealed { return kept(Sealed{appPlace(a), a.Sealed}) }

// SealedValues of a revocation: what is to be revoked.
func (r *Revocation) SealedValues() []Sealed { return kept(Sealed{revocationPlace(r), r.Sealed}) }

func kept(all ...Sealed) []Sealed {
	return slices.DeleteFunc(all, func(s Sealed) bool { return len(s.Value) == 0 })
}
