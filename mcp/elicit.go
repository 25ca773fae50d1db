package mcp

import (
	"context"
	"errors"
	"fmt"
	"time"

	protocol "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/latchpost/latchpost/auth"
)

// answerKey names our one question among the inputRequests of a result.
const answerKey = "open_link"

// Bounds of the waits for the user. One call may have several, and hosts give a tool 60 seconds: what talkTime does not leave
// room for is left out, and the agent repeats the call.
const (
	askTime  = 30 * time.Second // for the user to agree to open the link (before 2026-07-28)
	signTime = maxWait * time.Second
	talkTime = 50 * time.Second // for all of them, since the call came in
)

// byItself is how fast no person reads a question and declines it. A host that must not ask its user, because the run is not
// interactive, answers in this way: the user has seen nothing then, and gets the link by way of the agent.
const byItself = 500 * time.Millisecond

// question asks the user to open one of our pages.
type question struct {
	id, url, message string
	err              error // what the agent gets when the user cannot be asked this way
}

func questionOf(err error, client string) (question, bool) {
	if a, ok := errors.AsType[*auth.AuthRequired](err); ok {
		text := a.Message
		if a.MatchCode != "" {
			text = fmt.Sprintf("%s asks to use your account at %s. Latchpost's page shows the code %s.", clean(client, 64), clean(a.ProviderName, 80), a.MatchCode)
		}
		return question{a.RequestID, a.URL, visible(text, 300), err}, a.URL != ""
	}
	if a, ok := errors.AsType[*auth.ApprovalRequired](err); ok {
		return question{a.RequestID, a.URL, visible(a.Message, 300), err}, a.URL != ""
	}
	return question{}, false
}

// converse runs a tool and, when a person has to act, asks in the best way that the client
// understands: by elicitation in the form of its protocol, else by an ordinary answer with the
// link. A client that comes back with the user's word finds the tool run again.
func (s *Server) converse(ctx context.Context, t tool, c call, back protocol.MultiRoundTripParams) (*protocol.CallToolResult, error) {
	c.elicits = opensLinks(ctx)
	if back.RequestState != "" {
		requestID, age, err := s.tickets.redeem(ctx, back.RequestState, c.Caller, t.name, c.args)
		if err != nil {
			return nil, err // a protocol error: the client did not give back what it got
		}
		if said := server.ElicitationResponse(back.InputResponses, answerKey); said != nil {
			c.elicits, c.asked = false, true
			if res := s.said(ctx, c, requestID, said.Action, age); res != nil {
				return res, nil
			}
		}
	}
	answer, err := t.run(s, ctx, c)
	q, asks := questionOf(err, c.Client)
	switch {
	case err == nil:
		return result(answer, false), nil
	case !asks || !c.elicits:
		return s.failed(ctx, t.name, err), nil
	case server.IsModernRequest(ctx):
		return s.askModern(t, c, q)
	case overSSE(ctx):
		return nil, protocol.URLElicitationRequiredError{Elicitations: []protocol.ElicitationParams{q.params(true)}}
	}
	return s.askLegacy(ctx, t, c, q)
}

// opensLinks reports whether the client declared URL elicitation. An empty elicitation capability means forms only.
func opensLinks(ctx context.Context) bool {
	caps := capabilities(ctx)
	return caps.Elicitation != nil && caps.Elicitation.URL != nil
}

func capabilities(ctx context.Context) protocol.ClientCapabilities {
	if info := server.RequestProtocolInfoFromContext(ctx); info != nil && info.Modern {
		if info.ClientCapabilities == nil {
			return protocol.ClientCapabilities{}
		}
		return *info.ClientCapabilities
	}
	if session, ok := server.ClientSessionFromContext(ctx).(server.SessionWithClientInfo); ok {
		return session.GetClientCapabilities()
	}
	return protocol.ClientCapabilities{}
}

// params is the question on the wire; only the protocols before 2026-07-28 give it an id.
func (q question) params(withID bool) protocol.ElicitationParams {
	p := protocol.ElicitationParams{Mode: protocol.ElicitationModeURL, URL: q.url, Message: q.message}
	if withID {
		p.ElicitationID = q.id
	}
	return p
}

// askModern answers with input_required: the client asks, and calls again with the user's word.
func (s *Server) askModern(t tool, c call, q question) (*protocol.CallToolResult, error) {
	state, err := s.tickets.issue(q.id, c.Caller, t.name, c.args)
	if err != nil {
		return nil, err
	}
	return server.NewInputRequestBuilder(state).Elicit(answerKey, q.params(false)).ToolResult(), nil
}

// askLegacy sends elicitation/create and waits for the user's word, then for the user. A client that
// does not answer in time gets the link in an ordinary answer.
func (s *Server) askLegacy(ctx context.Context, t tool, c call, q question) (*protocol.CallToolResult, error) {
	asking, cancel := context.WithTimeout(ctx, s.room(c, askTime))
	defer cancel()
	asked := s.now()
	said, err := s.core.RequestElicitation(asking, protocol.ElicitationRequest{
		Request: protocol.Request{Method: string(protocol.MethodElicitationCreate)}, Params: q.params(true),
	})
	if err != nil || said == nil {
		return s.failed(ctx, t.name, q.err), nil
	}
	c.elicits, c.asked = false, true
	if res := s.said(ctx, c, q.id, said.Action, s.now().Sub(asked)); res != nil {
		return res, nil
	}
	answer, err := t.run(s, ctx, c)
	if err != nil {
		return s.failed(ctx, t.name, err), nil
	}
	return result(answer, false), nil
}

// room is how much of a wait there is time for in a call.
func (s *Server) room(c call, wait time.Duration) time.Duration {
	return max(0, min(wait, c.until.Sub(s.now())))
}

// said acts on the user's word, which came after a time. accept means only that the user agreed to open the link, so
// wait a while for the rest. A result ends the call; nil runs the tool again.
func (s *Server) said(ctx context.Context, c call, requestID string, action protocol.ElicitationResponseAction, after time.Duration) *protocol.CallToolResult {
	switch {
	case action == protocol.ElicitationResponseActionAccept:
		status, err := s.wait(ctx, c, requestID, signTime)
		if err == nil {
			c.complete(status)
		}
	case action == protocol.ElicitationResponseActionDecline && after >= byItself:
		// The request is the caller's own, or this fails. There may be nothing left to cancel.
		_, _ = s.broker.Revoke(ctx, c.Caller, auth.Unwanted{RequestID: requestID})
		return s.failed(ctx, "", auth.ErrDeclined.Say("the user declined to open the link; do not ask again unless the user tells you to"))
	}
	return nil
}
