package mcp

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"

	protocol "github.com/mark3labs/mcp-go/mcp"

	"github.com/latchpost/latchpost/auth"
)

// Sealer encrypts and authenticates. Open fails unless sealed comes from Seal with an
// equal bound, which is authenticated but not contained.
type Sealer interface {
	Seal(plain, bound []byte) (sealed []byte, err error)
	Open(sealed, bound []byte) (plain []byte, err error)
}

// ticketTime is how long a client may keep a requestState.
const ticketTime = 10 * time.Minute

// tickets makes and takes back the requestState of an elicitation: sealed, for one caller, one tool with the same
// arguments, ten minutes, and one time. The client carries it, so it is believed only after all of that.
type tickets struct {
	seal  Sealer
	now   func() time.Time
	spend func(ctx context.Context, serial string, until time.Time) error // auth.ErrUsed the second time
}

type ticket struct {
	Serial  string `json:"s"`
	Request string `json:"r"`
	Issued  int64  `json:"i"` // unix milliseconds
}

// errTicket says nothing about what was wrong: whoever changes a state needs no advice.
var errTicket = &fault{protocol.INVALID_PARAMS, "requestState is not valid for this call; call again without it"}

func (t *tickets) issue(requestID string, c auth.Caller, tool string, args json.RawMessage) (string, error) {
	plain, err := json.Marshal(ticket{rand.Text(), requestID, t.now().UnixMilli()})
	if err != nil {
		return "", err
	}
	sealed, err := t.seal.Seal(plain, bound(c, tool, args))
	if err != nil {
		return "", errors.New("the link cannot be sealed")
	}
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

// redeem gives the request that a state stands for, once, and how long ago it was issued.
func (t *tickets) redeem(ctx context.Context, state string, c auth.Caller, tool string, args json.RawMessage) (requestID string, age time.Duration, err error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(state)
	if err != nil {
		return "", 0, errTicket
	}
	plain, err := t.seal.Open(sealed, bound(c, tool, args))
	if err != nil {
		return "", 0, errTicket
	}
	var one ticket
	if json.Unmarshal(plain, &one) != nil {
		return "", 0, errTicket
	}
	issued := time.UnixMilli(one.Issued)
	age = t.now().Sub(issued)
	if age >= ticketTime || t.spend(ctx, one.Serial, issued.Add(ticketTime)) != nil {
		return "", 0, errTicket // also when it cannot be told whether it was used
	}
	return one.Request, age, nil
}

// spent remembers, within this process, which tickets were used.
type spent struct {
	now   func() time.Time
	mu    sync.Mutex
	until map[string]time.Time // when it stops to matter, by serial number
}

func (s *spent) spend(_ context.Context, serial string, until time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	maps.DeleteFunc(s.until, func(_ string, until time.Time) bool { return now.After(until) })
	if _, used := s.until[serial]; used {
		return auth.ErrUsed
	}
	s.until[serial] = until
	return nil
}

// bound ties a ticket to its caller, tool and arguments. The client may write the arguments in another order.
func bound(c auth.Caller, tool string, args json.RawMessage) []byte {
	var value any
	dec := json.NewDecoder(strings.NewReader(string(args)))
	dec.UseNumber()
	if err := dec.Decode(&value); err != nil {
		value = string(args)
	}
	same, _ := json.Marshal(value) // sorts the keys
	var out []byte
	for _, part := range []string{c.Org, c.User, c.Client, tool, string(same)} {
		sum := sha256.Sum256([]byte(part)) // so that two parts cannot trade characters
		out = append(out, sum[:]...)
	}
	return out
}

// gcm is a Sealer with a key that nobody else has.
type gcm struct{ cipher.AEAD }

func newSeal() Sealer {
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key has the right length
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return gcm{aead}
}

func (g gcm) Seal(plain, bound []byte) ([]byte, error) {
	return g.AEAD.Seal(nil, nil, plain, bound), nil
}

func (g gcm) Open(sealed, bound []byte) ([]byte, error) { return g.AEAD.Open(nil, nil, sealed, bound) }
