package mcp

import (
	"context"
	"slices"

	"github.com/mark3labs/mcp-go/server"

	"github.com/latchpost/latchpost/auth"
)

type callerKey struct{}

// WithCaller says on whose behalf the calls under ctx are made. Without it they are made
// for auth.Local, by a client that goes under the name it gives itself.
func WithCaller(ctx context.Context, c auth.Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

func callerFrom(ctx context.Context) auth.Caller {
	name := clientName(ctx)
	if c, known := ctx.Value(callerKey{}).(auth.Caller); known {
		if c.Verified && name != c.Client {
			c.ClientName = name
		}
		return c
	}
	switch {
	case name == "":
		name = "unnamed client"
	case auth.OursAlone(name): // grants go by it, and the record shows it beside what the owner did
		name = "agent " + name
	}
	return auth.Caller{Owner: auth.Local, Client: name}
}

// principal is what sessions, streams, quotas and tickets belong to: an owner, and the client that acts for them.
type principal struct{ org, user, client string }

func principalOf(c auth.Caller) principal { return principal{c.Org, c.User, c.Client} }

// maxName bounds the name that a client gives itself, in characters.
const maxName = 64

// clientName is the name that the client gives itself, "" when it gives none: with each request since
// 2026-07-28, once in initialize before that.
func clientName(ctx context.Context) string {
	name := ""
	if info := server.RequestProtocolInfoFromContext(ctx); info != nil && info.ClientInfo != nil {
		name = info.ClientInfo.Name
	} else if session, ok := server.ClientSessionFromContext(ctx).(server.SessionWithClientInfo); ok {
		name = session.GetClientInfo().Name
	}
	return clean(name, maxName)
}

// holds reports whether the caller's token has a scope. A caller without a list started
// the process and may do everything.
func holds(c auth.Caller, scope string) bool {
	return c.Scopes == nil || slices.Contains(c.Scopes, scope)
}
