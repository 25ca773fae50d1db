package store

import (
	"context"
	"slices"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// Token is a bearer token that we issued. Only its hash is here.
type Token struct {
	Hash      []byte
	Owner     auth.Owner
	Client    string
	Scopes    []string // nil = all
	CreatedAt time.Time
	ExpiresAt time.Time // zero = never
}

// AddToken keeps a token by its hash; auth.ErrConflict when it is there already.
func (db *DB) AddToken(ctx context.Context, hash []byte, o auth.Owner, client string, scopes []string, expires time.Time) error {
	return db.write(ctx, func(ctx context.Context, q querier) error {
		return change(ctx, q, auth.ErrConflict, `INSERT INTO tokens (hash, org, user_id, client, scopes, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (hash) DO NOTHING`, hash, o.Org, o.User, client, list(scopes), ms(db.now()), ms(expires))
	})
}

// Token gives the living token with this hash; auth.ErrNotFound when there is none.
func (db *DB) Token(ctx context.Context, hash []byte) (*Token, error) {
	t, err := recall(db, &db.known.tokens, everyone, string(hash), func() (t *Token, err error) {
		err = db.read(ctx, func(ctx context.Context, q querier) error {
			t, err = first(ctx, q, scanToken, `SELECT hash, org, user_id, client, scopes, created_at, expires_at
				FROM tokens WHERE hash = $1`, hash)
			return err
		})
		return t, err
	})
	if err != nil {
		return nil, err
	}
	if !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(db.now()) {
		return nil, auth.ErrNotFound
	}
	own := *t
	own.Hash, own.Scopes = slices.Clone(t.Hash), slices.Clone(t.Scopes)
	return &own, nil
}

// ListTokens gives the tokens of an owner, expired ones too, the newest first.
func (db *DB) ListTokens(ctx context.Context, o auth.Owner) (all []Token, err error) {
	err = db.read(ctx, func(ctx context.Context, q querier) (err error) {
		all, err = collect(ctx, q, scanToken, `SELECT hash, org, user_id, client, scopes, created_at, expires_at
			FROM tokens WHERE org = $1 AND user_id = $2 ORDER BY created_at DESC, hash`, o.Org, o.User)
		return err
	})
	return all, err
}

func scanToken(s scanner) (t Token, err error) {
	var scopes string
	var created, expires int64
	if err = s.Scan(&t.Hash, &t.Owner.Org, &t.Owner.User, &t.Client, &scopes, &created, &expires); err != nil {
		return t, err
	}
	t.CreatedAt, t.ExpiresAt = at(created), at(expires)
	if t.Scopes, err = unlist(scopes); err != nil {
		t.Scopes = []string{} // nil would be all
	}
	return t, nil
}

// DeleteToken deletes an owner's token; auth.ErrNotFound when there is none.
func (db *DB) DeleteToken(ctx context.Context, o auth.Owner, hash []byte) error {
	return db.mustWrite(ctx, func(ctx context.Context, q querier) error {
		return change(ctx, q, auth.ErrNotFound, `DELETE FROM tokens WHERE org = $1 AND user_id = $2 AND hash = $3`, o.Org, o.User, hash)
	})
}
