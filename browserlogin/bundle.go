package browserlogin

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// Bundle is a captured session. What is in it stands behind a func, so that no
// verb of fmt and no log prints it; it leaves through Seal and the hand-out
// methods, as auth.Secret.
type Bundle struct{ in func() *contents }

func hide(c *contents) Bundle { return Bundle{func() *contents { return c }} }

// contents is the JSON that is sealed.
type contents struct {
	Version   int                          `json:"v"`
	ID        string                       `json:"id"`  // of the session: names it, opens nothing
	Seq       int                          `json:"seq"` // counts the changes since the capture
	Account   string                       `json:"account,omitempty"`
	Checked   time.Time                    `json:"checked"`         // when the site last took it for alive
	Rolls     bool                         `json:"rolls,omitempty"` // the site renews the session's cookies on use
	At        time.Time                    `json:"at"`
	UserAgent string                       `json:"ua"`
	Width     int                          `json:"w"`
	Height    int                          `json:"h"`
	State     storageState                 `json:"state"`
	Session   map[string]map[string]string `json:"session,omitempty"` // sessionStorage by origin
	Domains   []string                     `json:"domains"`
	Watched   []string                     `json:"watched,omitempty"` // cookies that tell the expiry
	Bound     bool                         `json:"bound,omitempty"`   // the site bound the session to this device's key
	Partial   bool                         `json:"partial,omitempty"` // IndexedDB was too large, or could not be put back
}

// storageState is Playwright's own JSON, so that agents can load it as it is.
type storageState struct {
	Cookies []Cookie `json:"cookies"`
	Origins []Origin `json:"origins"`
}

// Cookie as Playwright writes it.
type Cookie struct {
	Name         string  `json:"name"`
	Value        string  `json:"value"`
	Domain       string  `json:"domain"` // with a leading dot when it holds for subdomains too
	Path         string  `json:"path"`
	Expires      float64 `json:"expires"` // Unix seconds; -1 for the end of the session
	HTTPOnly     bool    `json:"httpOnly"`
	Secure       bool    `json:"secure"`
	SameSite     string  `json:"sameSite,omitempty"`
	PartitionKey string  `json:"partitionKey,omitempty"`
	CrossSite    *bool   `json:"_crHasCrossSiteAncestor,omitempty"`
}

// Origin is the storage of one origin as Playwright writes it.
type Origin struct {
	Origin       string          `json:"origin"`
	LocalStorage json.RawMessage `json:"localStorage"`
	IndexedDB    json.RawMessage `json:"indexedDB,omitempty"`
}

// Format keeps the value out of every verb.
func (k Cookie) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "cookie %q of %q", k.Name, k.Domain)
}

// OpenBundle reads what Seal gave.
func OpenBundle(s auth.Secret) (Bundle, error) {
	var c contents
	if err := json.Unmarshal([]byte(s.Reveal()), &c); err != nil || c.Version != 1 {
		return Bundle{}, errors.New("the stored browser session cannot be read: sign in again")
	}
	return hide(&c), nil
}

// Seal gives the whole bundle as one secret.
func (b Bundle) Seal() auth.Secret {
	data, _ := json.Marshal(b.in()) // plain strings and numbers: cannot fail
	return auth.NewSecret(string(data))
}

// Secrets lists the values that must not come back in a call's answer.
func (b Bundle) Secrets() []auth.Secret {
	var out []auth.Secret
	for _, k := range b.in().State.Cookies {
		if len(k.Value) >= 8 {
			out = append(out, auth.NewSecret(k.Value))
		}
	}
	return out
}

// DeviceBound tells that the site asked for a session bound to a key of the
// device (DBSC): what was captured may stop working when the site checks.
func (b Bundle) DeviceBound() bool { return b.in().Bound }

// Partial tells that IndexedDB was too large to be kept, or could not be put back.
func (b Bundle) Partial() bool { return b.in().Partial }
