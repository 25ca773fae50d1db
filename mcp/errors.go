package mcp

import (
	"context"
	"crypto/rand"
	"errors"
	"runtime/debug"
	"time"

	protocol "github.com/mark3labs/mcp-go/mcp"

	"github.com/latchpost/latchpost/auth"
)

// failure is what a client sees of an error.
type failure struct {
	Type         string `json:"type"` // error
	Code         string `json:"code"`
	Message      string `json:"message"`
	RetryAfterMS int64  `json:"retry_after_ms,omitempty"`
}

// failed is the one place where a Go error becomes a result. A person who has to
// act is an ordinary answer; an *auth.Error says what an outsider may know; of
// anything else only an id goes out, under which the log has the rest.
func (s *Server) failed(ctx context.Context, tool string, err error) *protocol.CallToolResult {
	if required, ok := errors.AsType[*auth.AuthRequired](err); ok {
		return result(signIn(required), false)
	}
	if required, ok := errors.AsType[*auth.ApprovalRequired](err); ok {
		return result(approval(required), false)
	}
	if known, ok := errors.AsType[*auth.Error](err); ok {
		return result(failure{"error", known.Code, visible(known.Message, maxText), int64(known.RetryAfterSeconds) * 1000}, true)
	}
	if ctx.Err() != nil {
		return result(failure{Type: "error", Code: "cancelled", Message: "the call was cancelled"}, true)
	}
	id := rand.Text()[:12]
	s.log.ErrorContext(ctx, "tool failed", "id", id, "tool", tool, "error", err)
	return internal(id)
}

// panicked reports a panic without its value, which may hold anything.
func (s *Server) panicked(ctx context.Context, tool string) (id string) {
	id = rand.Text()[:12]
	s.log.ErrorContext(ctx, "tool panicked", "id", id, "tool", tool, "stack", string(debug.Stack()))
	return id
}

func internal(id string) *protocol.CallToolResult {
	return result(failure{Type: "error", Code: "internal", Message: internalError(id)}, true)
}

func internalError(id string) string {
	return "internal error " + id + "; Latchpost's log says more under this id"
}

// authRequired asks for a sign-in.
type authRequired struct {
	Type           string   `json:"type"` // auth_required
	RequestID      string   `json:"request_id"`
	ProviderID     string   `json:"provider_id"`
	ProviderName   string   `json:"provider_name"`
	AuthMethod     string   `json:"auth_method"`
	Reason         string   `json:"reason"`
	RequiredScopes []string `json:"required_scopes"`
	URL            string   `json:"url"`
	MatchCode      string   `json:"match_code"`
	UserCode       string   `json:"user_code,omitempty"`
	ExpiresAt      string   `json:"expires_at"`
	PollAfterMS    int64    `json:"poll_after_ms"`
	Message        string   `json:"message"`
}

func signIn(a *auth.AuthRequired) authRequired {
	return authRequired{
		Type: "auth_required", RequestID: a.RequestID, ProviderID: a.ProviderID, ProviderName: clean(a.ProviderName, 80),
		AuthMethod: a.Method, Reason: a.Reason, RequiredScopes: list(a.Scopes), URL: a.URL, MatchCode: a.MatchCode, UserCode: a.UserCode,
		ExpiresAt: stamp(a.ExpiresAt), PollAfterMS: a.PollAfter.Milliseconds(), Message: visible(a.Message, maxText),
	}
}

// approvalRequired asks for the owner's word on a connection that is there.
type approvalRequired struct {
	Type         string `json:"type"` // approval_required
	RequestID    string `json:"request_id"`
	ProviderID   string `json:"provider_id"`
	ProviderName string `json:"provider_name"`
	Account      string `json:"account"`
	Reason       string `json:"reason"`
	URL          string `json:"url"`
	ExpiresAt    string `json:"expires_at"`
	PollAfterMS  int64  `json:"poll_after_ms"`
	Message      string `json:"message"`
}

func approval(a *auth.ApprovalRequired) approvalRequired {
	return approvalRequired{
		Type: "approval_required", RequestID: a.RequestID, ProviderID: a.ProviderID, ProviderName: clean(a.ProviderName, 80),
		Account: clean(a.Account, 120), Reason: a.Reason, URL: a.URL,
		ExpiresAt: stamp(a.ExpiresAt), PollAfterMS: a.PollAfter.Milliseconds(), Message: visible(a.Message, maxText),
	}
}

// stamp is RFC 3339 in UTC to the second, or "" when the time is not known.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// list is never null: output schemas say array.
func list(all []string) []string {
	if all == nil {
		return []string{}
	}
	return all
}
