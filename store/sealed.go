package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/latchpost/latchpost/auth"
)

// openSealed gives every sealed value to opens, and their number.
func openSealed(ctx context.Context, q querier, opens func(auth.Sealed) error) (n int64, err error) {
	all := func(values []auth.Sealed) error {
		for _, v := range values {
			if err := opens(v); err != nil {
				p := v.Place
				return fmt.Errorf("%s %s of %q (%s) does not open, so nothing was moved: %w; end what it belongs to (latchpost revoke, latchpost app remove) in the old store, then try again", p.Table, p.Record, strings.Trim(p.Org+"/"+p.User, "/"), p.Field, err)
			}
			n++
		}
		return nil
	}
	_, err = collect(ctx, q, func(s scanner) (_ struct{}, err error) {
		c, err := scanConnection(s)
		return struct{}{}, firstError(err, all(c.SealedValues()))
	}, `SELECT org, user_id, id, provider, account, account_id, method, state, cause, scopes, hosts, vars, bind,
		salt, sealed, version, expires_at, refresh_expires_at, issued_at, created_at, updated_at, last_used_at,
		lease_holder, lease_until, fence, dead_version, attempted_at, attempts, answer, failures, next_try_at
		FROM connections`)
	if err != nil {
		return n, err
	}
	_, err = collect(ctx, q, func(s scanner) (_ struct{}, err error) {
		r, err := scanRequest(s)
		return struct{}{}, firstError(err, all(r.SealedValues()))
	}, `SELECT org, user_id, id, client, verified, provider, method, account, scopes, reason, match_code, renews,
		state, cause, browser, state_hash, access, vars, private, user_code, verify_url, next_poll_at, connection, created_at, updated_at, expires_at, moves, client_name
		FROM requests`)
	if err != nil {
		return n, err
	}
	_, err = collect(ctx, q, func(s scanner) (_ struct{}, err error) {
		a, err := scanApp(s)
		return struct{}{}, firstError(err, all(a.SealedValues()))
	}, `SELECT org, user_id, provider, id, client_id, bind, created_at, salt, sealed FROM apps`)
	if err != nil {
		return n, err
	}
	_, err = collect(ctx, q, func(s scanner) (_ struct{}, err error) {
		r, err := scanRevocation(s)
		return struct{}{}, firstError(err, all(r.SealedValues()))
	}, `SELECT org, user_id, id, provider, connection, method, vars, bind, attempts, next_try_at, created_at, salt, sealed FROM revocations`)
	return n, err
}
