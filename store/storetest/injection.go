package storetest

import (
	"errors"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

// Nasty texts in the place of names and ids.
var Nasty = []string{
	`'`, `"`, `' OR '1'='1`, `'; DROP TABLE connections; --`, `%`, `_`, `a%`, `\`, `\'`, `$1`, `?1`, `:a`, `NULL`, `''`, "a\x00b", "\x00", "\xff\xfe", "\n\r\t", "ﬀ", "🔑",
	`{"a":1}`, `[]`, `/*`, `*/`, `--`, "`", `[x]`, ` `, `a b `,
}

// testInjection is ST-026 for texts that others got through with.
func testInjection(t *testing.T, db *store.DB) {
	for _, s := range Nasty {
		Inject(t, db, s)
	}
}

// Inject is ST-026 for one text: in the place of a name or an id it is stored as it is, or refused; it reads
// nobody else's rows, and ends none.
func Inject(t *testing.T, db *store.DB, s string) {
	t.Helper()
	ctx := t.Context()
	victim := auth.Owner{Org: NewOwner().User, User: NewOwner().User} // a text may be called like any other
	secret := NewConnection(victim, "github", "me")
	Connect(t, db, secret)
	prefix := NewOwner().User
	for _, o := range []auth.Owner{{Org: victim.Org, User: prefix + s}, {Org: prefix + s, User: victim.User}} {
		c := NewConnection(o, s, s)
		c.ID, c.Cause, c.Scopes, c.Vars = prefix+s, s, []string{s}, map[string]string{s: s}
		r := NewRequest(o, s)
		r.ID, r.Client, r.Account = prefix+o.Org, s, s
		_, err := db.CreateRequest(ctx, r, 10)
		if errors.Is(err, auth.ErrInvalid) {
			_, err = db.Connections(ctx, o, s, s)
			want(t, err, auth.ErrInvalid) // and is refused everywhere
			continue
		}
		must(t, err)
		g := auth.Grant{ID: prefix + s, Owner: o, Client: s, Connection: c.ID, Paths: []string{s}, CreatedAt: Now}
		must(t, db.CompleteRequest(ctx, r, c, []auth.Grant{g}))
		got, err := db.Connections(ctx, o, s, s)
		must(t, err)
		equal(t, got, []auth.Connection{*c})
		grants, err := db.Grants(ctx, o, s, c.ID, Now)
		must(t, err)
		equal(t, grants, []auth.Grant{g})
		must(t, db.AuditLog(MAC).Append(ctx, auth.Event{ID: s, Owner: o, Client: s, Kind: s, Detail: map[string]string{s: s}}))
		must(t, db.RevokeConnection(ctx, o, c.ID, nil))
	}
	for _, o := range []auth.Owner{{Org: s, User: s}, {Org: victim.Org, User: s}, {Org: s, User: victim.User}} {
		got, err := db.Connections(ctx, o, "", "")
		if !errors.Is(err, auth.ErrInvalid) {
			must(t, err)
		}
		equal(t, len(got), 0)
		if _, err := db.Connection(ctx, o, secret.ID); !errors.Is(err, auth.ErrNotFound) && !errors.Is(err, auth.ErrInvalid) {
			t.Fatal(err)
		}
	}
	got, err := db.Connections(ctx, victim, "", "")
	must(t, err)
	equal(t, got, []auth.Connection{*secret})
}
