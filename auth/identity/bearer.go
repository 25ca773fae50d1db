package identity

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/latchpost/latchpost/auth"
)

// maxToken bounds a bearer token, in bytes.
const maxToken = 16 << 10

// Caller says on whose behalf a request is made. Only the bearer token counts, and it must
// come in exactly one Authorization header (RFC 6750 section 2.1), not in the query, the
// body or a cookie.
//
// auth.ErrDenied is a 401 (no token, or not a valid one; auth.ErrExpired is behind it when a
// JWT has run out), auth.ErrUnavailable a 503: the issuer's keys cannot be had now. What a
// valid token may do is in Caller.Scopes, where none means nothing; a lacking one is the 403
// of whoever knows the operation.
func (i *Identity) Caller(r *http.Request) (auth.Caller, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 {
		return auth.Caller{}, auth.ErrDenied.Say("exactly one Authorization header is needed; send the token as: Bearer TOKEN")
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return auth.Caller{}, auth.ErrDenied.Say("the Authorization header must be: Bearer TOKEN")
	}
	return i.Verify(r.Context(), token)
}

// Verify says who a bearer token stands for. Errors are those of Caller.
func (i *Identity) Verify(ctx context.Context, token string) (auth.Caller, error) {
	var caller auth.Caller
	err := errors.New("no part of this server takes such a token")
	switch {
	case len(token) > maxToken:
		err = errors.New("the token is longer than 16 KiB")
	case strings.HasPrefix(token, tokenPrefix):
		if i.Tokens != nil {
			caller, err = i.Tokens.caller(ctx, token)
		}
	case i.Issuer != nil:
		caller, err = i.Issuer.caller(ctx, token)
	}
	switch {
	case err == nil:
		return caller, nil
	case ctx.Err() != nil:
		return auth.Caller{}, ctx.Err()
	case errors.Is(err, auth.ErrUnavailable):
		i.trouble(ctx, "bearer token cannot be checked", err)
		return auth.Caller{}, err
	}
	i.log().DebugContext(ctx, "bearer token refused", "error", err)
	return auth.Caller{}, auth.ErrDenied.Say("the bearer token is not valid here; get a new one").Because(err)
}
