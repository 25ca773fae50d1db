package auth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/auth/seal"
)

// Notifier tells the owner that an approval waits: by a signed webhook, by a
// command, or both. Make it with NewNotifier, give its Announce to the vault, and
// let Run work beside it. What cannot be delivered is logged and forgotten: the
// approval stands on the page all the same.
type Notifier struct {
	// URL takes a POST for each approval; "" = no webhook. It obeys the rules of Out.
	URL string
	// Command is a program and its arguments, run without a shell, with the same JSON on its standard input; nil = none.
	Command []string
	// Key signs what is posted; see NotifyKey.
	Key []byte
	// BaseURL is the vault's: the message holds the page where the owner decides.
	BaseURL func() string
	Out     *egress.Client
	Log     *slog.Logger // nil discards
	Now     func() time.Time
	// Pause before the second try of a webhook, and five times as long before the third; 0 = 2 seconds.
	Pause time.Duration

	queue chan Approval
}

const (
	notifyQueue   = 64
	notifyTimeout = 10 * time.Second
)

// NewNotifier is n with room for what waits to be told.
func NewNotifier(n Notifier) *Notifier {
	n.queue = make(chan Approval, notifyQueue)
	return &n
}

// NotifyKey is the key that signs webhooks of this store: HMAC-SHA-256 takes it as it
// is. The command line shows it in hex to whoever sets up the receiver.
func NotifyKey(box *seal.Box) []byte { return box.MAC("webhook")([]byte("signing key v1")) }

// Announce queues a message and never blocks.
func (n *Notifier) Announce(a Approval) {
	select {
	case n.queue <- a:
	default:
		n.log().Warn("too many approvals at once: the owner was not told of one", "approval", a.ID)
	}
}

// Run tells what is announced until ctx ends.
func (n *Notifier) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-n.queue:
			n.tell(ctx, a)
		}
	}
}

// notice is the message. It holds facts for the owner's eyes, neither a secret nor the
// body of the call; link is where the owner decides.
type notice struct {
	Type      string    `json:"type"` // approval_required
	ID        string    `json:"id"`
	Org       string    `json:"org,omitempty"`
	User      string    `json:"user"`
	Client    string    `json:"client"`
	Verified  bool      `json:"client_verified"`       // false: the client chose its name itself
	Name      string    `json:"client_name,omitempty"` // what a verified client calls itself
	Kind      string    `json:"kind"`                  // use or release
	Provider  string    `json:"provider"`
	Account   string    `json:"account"`
	Method    string    `json:"method,omitempty"` // of the call; none: the client asks to be let in
	URL       string    `json:"url,omitempty"`    // of the call, without its query
	Rule      string    `json:"rule"`             // why the owner is asked
	Link      string    `json:"link"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (n *Notifier) tell(ctx context.Context, a Approval) {
	address, _, _ := strings.Cut(a.URL, "?")
	body, err := json.Marshal(notice{
		Type: "approval_required", ID: a.ID, Org: a.Owner.Org, User: a.Owner.User, Client: egress.Sanitize(a.Client), Verified: a.Verified, Name: egress.Sanitize(a.ClientName),
		Kind: a.Kind, Provider: a.Provider, Account: egress.Sanitize(a.Account), Method: a.Method, URL: address, Rule: a.Why,
		Link: n.BaseURL() + "/approvals/" + a.ID, ExpiresAt: a.ExpiresAt.UTC(),
	})
	if err != nil {
		n.log().Error("approval not announced", "approval", a.ID, "error", err)
		return
	}
	if n.URL != "" {
		if err := n.post(ctx, body); err != nil {
			n.log().Warn("the webhook did not take an approval", "approval", a.ID, "error", err)
		}
	}
	if len(n.Command) > 0 {
		if err := n.run(ctx, body); err != nil {
			n.log().Warn("the command for approvals failed", "approval", a.ID, "error", err)
		}
	}
}

// post tries three times.
func (n *Notifier) post(ctx context.Context, body []byte) error {
	target, err := egress.Parse(n.URL, egress.ParseOptions{Loopback: true}) // Out decides
	if err != nil {
		return err
	}
	pause := n.Pause
	if pause == 0 {
		pause = 2 * time.Second
	}
	for try := 1; ; try++ {
		resp, err := n.Out.Do(ctx, egress.Request{
			Method: http.MethodPost, Target: target, Body: body, Timeout: notifyTimeout, MaxBody: 4 << 10, Truncate: true,
			Header: http.Header{"Content-Type": {"application/json"}, "Latchpost-Signature": {n.signature(body)}},
		})
		if err == nil && resp.Status >= 200 && resp.Status < 300 {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("it answered %d", resp.Status)
		}
		if try == 3 || sleep(ctx, pause) != nil {
			return err
		}
		pause *= 5
	}
}

// signature is "t=SECONDS,v1=HEX": HMAC-SHA-256 of the time, a dot and the body. The
// receiver computes the same, compares in constant time and refuses what is old.
func (n *Notifier) signature(body []byte) string {
	now := time.Now
	if n.Now != nil {
		now = n.Now
	}
	stamp := fmt.Sprint(now().Unix())
	mac := hmac.New(sha256.New, n.Key)
	mac.Write([]byte(stamp + "."))
	mac.Write(body)
	return "t=" + stamp + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// run gives the message to the command. Nothing of a stranger's is among its
// arguments, and none of our own settings is in its environment.
func (n *Notifier) run(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, n.Command[0], n.Command[1:]...)
	cmd.Stdin = bytes.NewReader(body)
	cmd.WaitDelay = time.Second
	cmd.Env = Environment()
	return cmd.Run()
}

// Environment is ours as other programs may have it: without our settings, which may
// hold the password of the database, and without what PostgreSQL itself reads.
func Environment() []string {
	return slices.DeleteFunc(os.Environ(), func(pair string) bool {
		return strings.HasPrefix(pair, "LATCHPOST_") || strings.HasPrefix(pair, "PGPASS")
	})
}

func (n *Notifier) log() *slog.Logger {
	if n.Log != nil {
		return n.Log
	}
	return slog.New(slog.DiscardHandler)
}
