package mcp

import (
	"context"
	"time"

	"github.com/latchpost/latchpost/auth"
)

var waitForAuth = tool{
	name: "wait_for_auth", title: "Wait for the user",
	description: "Waits until the user has finished a sign-in or decided on an approval, and tells how it stands: pending, connected, declined, expired or failed. Call it again while the status is pending.",
	scope:       ScopeConnect,
	input: `{"type":"object","additionalProperties":false,"required":["request_id"],"properties":{` +
		`"request_id":{"type":"string","maxLength":64,"description":"From auth_required or approval_required"},` + waitArg + `}}`,
	output: `"status":{"type":"string","enum":["pending","connected","declined","expired","failed"]},` +
		`"cause":{"type":"string","description":"With status failed: a word from a fixed set"},` + connectionOutput,
	reads: true, repeats: true, local: true,
	run: (*Server).waitForAuth,
}

// authStatus says how a request or an approval stands.
type authStatus struct {
	Type        string      `json:"type"` // auth_status
	RequestID   string      `json:"request_id"`
	Status      string      `json:"status"`
	Cause       string      `json:"cause,omitempty"`
	Connection  *connection `json:"connection,omitempty"`
	ExpiresAt   string      `json:"expires_at,omitempty"`
	PollAfterMS int64       `json:"poll_after_ms,omitempty"`
	Message     string      `json:"message"`
}

func (s *Server) waitForAuth(ctx context.Context, c call) (any, error) {
	var args struct {
		RequestID string `json:"request_id"`
		Wait      whole  `json:"wait_seconds"`
	}
	if err := c.read(&args); err != nil {
		return nil, err
	}
	if err := required("request_id", args.RequestID); err != nil {
		return nil, err
	}
	wait, err := waiting(args.Wait)
	if err != nil {
		return nil, err
	}
	status, err := s.wait(ctx, c, args.RequestID, wait)
	if err != nil {
		return nil, err
	}
	c.complete(status)
	return waited(status), nil
}

// wait asks the broker, for d or as long as the call has time, and tells the client what it sees meanwhile.
func (s *Server) wait(ctx context.Context, c call, requestID string, d time.Duration) (*auth.Status, error) {
	if d = s.room(c, d); d > 0 {
		c.progress("waiting for the user")
	}
	return s.broker.Wait(ctx, c.Caller, requestID, d, func(now auth.Status) { c.progress(now.Status) })
}

var statusMessages = map[string]string{
	auth.StatusPending:   "The user is not done yet. Call wait_for_auth again.",
	auth.StatusConnected: "Done. Repeat the call that needed it.",
	auth.StatusDeclined:  "The user declined. Do not ask again unless the user tells you to.",
	auth.StatusExpired:   "The link has expired. Call request_auth for a new one if it is still needed.",
	auth.StatusFailed:    "It did not work. Tell the user the cause; request_auth gives a new link.",
}

func waited(st *auth.Status) authStatus {
	answer := authStatus{
		Type: "auth_status", RequestID: st.RequestID, Status: st.Status, Cause: word(st.Cause),
		ExpiresAt: stamp(st.ExpiresAt), PollAfterMS: st.PollAfter.Milliseconds(), Message: statusMessages[st.Status],
	}
	if st.Connection != nil {
		there := shown(*st.Connection)
		answer.Connection = &there
	}
	return answer
}

// word lets through what looks like one of our own words; a provider's text is "other".
func word(s string) string {
	if len(s) > 40 {
		return "other"
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' {
			return "other"
		}
	}
	return s
}
