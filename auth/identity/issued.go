package identity

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// Tokens are bearer tokens that we issue, for agents without an issuer. Every use looks
// the token up, so one that is revoked is refused from the next request on.
type Tokens struct {
	Store TokenStore
	Audit auth.AuditLog
	Now   func() time.Time // nil: time.Now
}

// TokenStore keeps tokens by their SHA-256.
type TokenStore interface {
	// AddToken: nil scopes are all of them, a zero time is never.
	AddToken(ctx context.Context, hash []byte, o auth.Owner, client string, scopes []string, expires time.Time) error
	// Token gives auth.ErrNotFound for one that is not there or has expired.
	Token(ctx context.Context, hash []byte) (*Token, error)
	ListTokens(ctx context.Context, o auth.Owner) ([]Token, error)
	DeleteToken(ctx context.Context, o auth.Owner, hash []byte) error
}

// Token is a token that we issued, without the token.
type Token struct {
	Hash      []byte // SHA-256
	Owner     auth.Owner
	Client    string
	Scopes    []string // nil = all
	CreatedAt time.Time
	ExpiresAt time.Time // zero = never
}

// ID names a token in lists and to Revoke. It is no secret.
func (t Token) ID() string { return tokenID(t.Hash) }

func tokenID(hash []byte) string { return hex.EncodeToString(hash[:8]) }

// tokenPrefix tells our tokens from JWTs, and tells secret scanners what they have found.
const tokenPrefix = "lp_"

// Create issues a token of 256 random bits. This is the only time it can be had. Nil
// scopes are all of them; a zero expires is never. Errors: auth.ErrInvalid, auth.ErrAudit.
func (t *Tokens) Create(ctx context.Context, o auth.Owner, client string, scopes []string, expires time.Time) (token auth.Secret, id string, err error) {
	now := clock(t.Now)
	switch {
	case !isName(o.User) || o.Org != "" && !isName(o.Org):
		return auth.Secret{}, "", auth.ErrInvalid.Say("the owner of a token needs a name of at most 200 printable characters; give it with --user")
	case !isName(client):
		return auth.Secret{}, "", auth.ErrInvalid.Say("the agent that gets the token needs a name of at most 200 printable characters; give it with --client")
	case auth.OursAlone(client):
		return auth.Secret{}, "", auth.ErrInvalid.Say("%q is, or looks like, a name that Latchpost itself goes by on record; give the agent another one with --client", client)
	case scopes != nil && len(scopes) == 0:
		return auth.Secret{}, "", auth.ErrInvalid.Say("a token without any scope can do nothing; name some, or leave scopes out for all")
	case !expires.IsZero() && !expires.After(now):
		return auth.Secret{}, "", auth.ErrInvalid.Say("the token would have expired already; choose a later time")
	}
	for _, s := range scopes {
		if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			return auth.Secret{}, "", auth.ErrInvalid.Say("%q is not a scope (RFC 6749 section 3.3); correct it", s)
		}
	}
	var random [32]byte
	rand.Read(random[:])
	plain := tokenPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	hash := digest(plain)
	id = tokenID(hash)
	if err := record(ctx, t.Audit, tokenEvent("token.create", now, o, client, id)); err != nil {
		return auth.Secret{}, "", err
	}
	if err := t.Store.AddToken(ctx, hash, o, client, scopes, expires); err != nil {
		return auth.Secret{}, "", err
	}
	return auth.NewSecret(plain), id, nil
}

// List gives the tokens of an owner, expired ones too, the newest first.
func (t *Tokens) List(ctx context.Context, o auth.Owner) ([]Token, error) {
	return t.Store.ListTokens(ctx, o)
}

// Revoke ends a token at once, also when it cannot be put on record. auth.ErrNotFound when
// the owner has no token with this id.
func (t *Tokens) Revoke(ctx context.Context, o auth.Owner, id string) error {
	all, err := t.Store.ListTokens(ctx, o)
	if err != nil {
		return err
	}
	for _, token := range all {
		if token.ID() != id {
			continue
		}
		if err := t.Store.DeleteToken(ctx, o, token.Hash); err != nil {
			return err
		}
		e := tokenEvent("token.revoke", clock(t.Now), o, token.Client, id)
		e.ID = rand.Text()
		t.Audit.Later(e)
		return nil
	}
	return auth.ErrNotFound.Say("%s has no token %q; latchpost token list shows them", o, id)
}

func (t *Tokens) caller(ctx context.Context, token string) (auth.Caller, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimPrefix(token, tokenPrefix))
	if err != nil || len(raw) != 32 {
		return auth.Caller{}, errors.New("it does not have the form of our tokens")
	}
	known, err := t.Store.Token(ctx, digest(token))
	if errors.Is(err, auth.ErrNotFound) {
		return auth.Caller{}, errors.New("no such token was issued, or it was revoked or has expired")
	}
	if err != nil {
		return auth.Caller{}, auth.ErrUnavailable.Say("tokens cannot be checked right now; try again later").Because(err)
	}
	return auth.Caller{Owner: known.Owner, Client: known.Client, Verified: true, Scopes: known.Scopes}, nil
}

func tokenEvent(kind string, at time.Time, o auth.Owner, client, id string) auth.Event {
	return auth.Event{At: at, Owner: o, Client: client, Kind: kind, Decision: "allow", Detail: map[string]string{"token": id}}
}
