package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/auth/identity"
	"github.com/latchpost/latchpost/auth/seal"
	"github.com/latchpost/latchpost/browserlogin"
	"github.com/latchpost/latchpost/providers"
	"github.com/latchpost/latchpost/store"
)

// house is everything that was put together for one command.
type house struct {
	settings *settings
	log      *slog.Logger
	db       *store.DB
	box      *seal.Box
	keys     masterKeys
	audit    *store.Log
	vault    *auth.Vault
	identity *identity.Identity
	browsers *browserlogin.Pool
	door     *door
	metrics  *metrics // nil is off
	spans    spans    // nil is off
	serves   bool     // agents over HTTP

	cannotWrite error // why the store is open for reading only; nil when it can be written
}

// open puts the parts together. What is wrong with key, store or definitions is one
// clear line, and nothing is changed then.
func open(ctx context.Context, s *settings) (*house, error) {
	log, err := s.logger()
	if err != nil {
		return nil, err
	}
	shown := slog.LevelWarn
	if !log.Enabled(ctx, shown) && s.asked { // whatever else is kept back
		shown = slog.LevelError
	}
	for _, warning := range s.unsafe() {
		log.Log(ctx, shown, "unsafe flag", "flag", warning)
	}
	catalog, err := s.definitions()
	if broken := s.broken(catalog, err); broken != nil {
		return nil, broken
	}
	for name := range s.released() {
		if _, unknown := catalog.Get(name); unknown != nil && name != "*" && err == nil {
			return nil, fmt.Errorf("--release: %w", unknown)
		}
	}
	h := &house{settings: s, log: log}
	if h.db, h.cannotWrite, err = openStore(ctx, s, log); err != nil {
		return nil, err
	}
	if h.box, h.keys, err = openBox(ctx, s, h.db); err != nil {
		return nil, errors.Join(err, h.db.Close())
	}
	if err := h.db.Declare(s.unsafe()); err != nil { // for the page, which another process may serve
		log.Warn("unsafe flags of this process are not shown by others", "error", err)
	}
	h.audit = h.db.AuditLog(h.box.MAC("audit"))
	h.door = newDoor(s, h.box.MAC("door"), log)
	out := s.outgoing(log)
	h.vault = &auth.Vault{
		Catalog: catalog, Connectors: connectors(out, s), Box: h.box, Out: out,
		Connections: h.db, Refreshes: h.db, Requests: h.db, Pending: h.db, Apps: h.db,
		Grants: h.db, Approvals: h.db, Revocations: h.db, Audit: h.audit,
		BaseURL: h.door.URL, Release: s.released(), Loopback: s.unsafeLoopback, Log: log,
	}
	h.identity = h.newIdentity()
	if err := h.openBrowsers(out); err != nil {
		return nil, errors.Join(err, h.db.Close())
	}
	return h, nil
}

func (s *settings) definitions() (*providers.Catalog, error) {
	return providers.Load(s.providers, providers.Options{Loopback: s.unsafeLoopback, Defaults: s.defaults()})
}

// broken is what of err is in the way. A command for bad days goes on without the files that are broken, and says so; the doctor
// says it in its report.
func (s *settings) broken(catalog *providers.Catalog, err error) error {
	if err == nil || catalog == nil || !s.tolerant {
		return err
	}
	if !s.diagnoses {
		fmt.Fprintf(s.err, "latchpost: goes on without these definitions:\n%s\n", err)
	}
	return nil
}

// unknown takes what err says of a provider that is not there for what it is: named well, and not wrong use.
func (h *house) unknown(provider string, err error) error {
	if _, unknown := h.vault.Catalog.Get(provider); unknown != nil && errors.Is(err, auth.ErrInvalid) {
		return errors.New(err.Error())
	}
	return err
}

func (s *settings) outgoing(log *slog.Logger) *egress.Client {
	away := &unreached{log: log}
	return egress.New(egress.Options{Loopback: s.unsafeLoopback, Private: s.privateNets, UserAgent: "latchpost/" + buildVersion(), Failed: away.tell})
}

// openWithout is a house without a store, which knows what can be connected and nothing else. It needs no Close.
func openWithout(s *settings) (*house, error) {
	log, err := s.logger()
	if err != nil {
		return nil, err
	}
	catalog, err := s.definitions()
	if err != nil {
		return nil, err
	}
	out := s.outgoing(log)
	h := &house{settings: s, log: log, vault: &auth.Vault{Catalog: catalog, Connectors: connectors(out, s), Apps: noApps{}, Log: log}}
	return h, h.openBrowsers(out)
}

// noApps are the OAuth apps of a house without a store.
type noApps struct{ auth.AppStore }

func (noApps) App(context.Context, auth.Owner, string) (*auth.App, error) {
	return nil, auth.ErrNotFound
}

// connectors are the ways to sign in; a new one is a line here.
func connectors(out *egress.Client, s *settings) []auth.Connector {
	oauth := &auth.OAuth{Out: out, Loopback: s.unsafeLoopback}
	return []auth.Connector{
		&auth.OAuthCode{OAuth: oauth},
		&auth.DeviceCode{OAuth: oauth},
		&auth.ClientCredentials{OAuth: oauth},
		&auth.APIKey{Out: out, Loopback: s.unsafeLoopback},
	}
}

// openStore falls back to reading when the store cannot be written: what exists can
// then still be looked at, and every release is refused with the reason.
func openStore(ctx context.Context, s *settings, log *slog.Logger) (db *store.DB, cannotWrite, err error) {
	if s.data == "" { // it would lie wherever we were started, the key in it
		if home := defaultData(); home != "" {
			return nil, nil, usagef("--data is empty: name a directory, or leave it out for %s", home)
		}
		return nil, nil, usagef("there is no home directory to keep things in: name one with --data")
	}
	anchored := s.anchored()
	if path, ok := strings.CutPrefix(s.storeURL(), "sqlite:"); ok {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) { // it would be made
			if err := s.noStore(path, anchored); err != nil {
				return nil, nil, err
			}
		}
	}
	opt := store.Options{URL: s.storeURL(), Dir: s.data, UnsafePlaintext: s.unsafeStore, Log: log}
	db, err = store.Open(ctx, opt)
	if errors.Is(err, store.ErrReadOnly) {
		opt.ReadOnly = true
		readable, readErr := store.Open(ctx, opt)
		if readErr == nil {
			log.Warn("the store was opened for reading only", "error", err)
			return readable, err, nil
		}
	}
	return db, nil, err // it names the file or the server; the URL may hold a password
}

var errNoStore = errors.New("there is no store")

// noStore is the error of a store that is not there, nil when this command may make it. Where the record of one has
// left its anchor, nobody may: the store was deleted, or its volume is not mounted.
func (s *settings) noStore(at string, anchored bool) error {
	switch {
	case anchored && (s.store == "" || !s.existing):
		return fmt.Errorf("there is no store at %s, and audit.anchor in %s says that there was one: put it back, or bring back a backup with latchpost restore; to begin with an empty one, move audit.anchor away", at, s.data)
	case s.existing:
		return fmt.Errorf("%w at %s: name the one that is in use with --data or --store", errNoStore, at)
	}
	return nil
}

// anchored is asked before the store is looked for: another process may be making both, the anchor last.
func (s *settings) anchored() bool {
	_, err := os.Lstat(filepath.Join(s.data, "audit.anchor"))
	return err == nil
}

// firstTime reports whether err is that of a machine where nothing was begun yet, and nobody named another place.
func (s *settings) firstTime(err error) bool {
	return errors.Is(err, errNoStore) && s.store == "" && s.data == defaultData()
}

// masterKeys are those that were opened. Each is opened once: the environment forgets its own when it is read.
type masterKeys struct {
	used seal.KEK
	next seal.KEK // of --new-key; nil without, and when it is not there yet
}

// openBox finds the master key. It makes one only for a store that has no data keys
// yet: a lost key is never replaced silently, because that would lose everything.
func openBox(ctx context.Context, s *settings, db *store.DB) (*seal.Box, masterKeys, error) {
	anchored := s.anchored()
	if keys, err := db.Keys(ctx); err != nil {
		return nil, masterKeys{}, err
	} else if len(keys) == 0 { // a database that is not ours yet
		if err := s.noStore(strings.TrimPrefix(s.shownStore(), "sqlite:"), anchored); err != nil {
			return nil, masterKeys{}, err
		}
	}
	kek, err := seal.OpenKEK(ctx, s.keyURL())
	if errors.Is(err, seal.ErrNoKey) {
		keys, keysErr := db.Keys(ctx)
		if keysErr != nil {
			return nil, masterKeys{}, keysErr
		}
		if len(keys) == 0 {
			kek, err = seal.CreateKEK(ctx, s.keyURL())
		}
		if errors.Is(err, seal.ErrKeyExists) || errors.Is(err, fs.ErrExist) || len(keys) > 0 { // another process may have been first
			kek, err = seal.OpenKEK(ctx, s.keyURL())
		}
		if errors.Is(err, seal.ErrNoKey) && len(keys) > 0 {
			return nil, masterKeys{}, fmt.Errorf("%w; this store needs key %s: put it back, or name it with --key", err, keys[0].KEK)
		}
	}
	if err != nil {
		return nil, masterKeys{}, err
	}
	keys := masterKeys{used: kek}
	from, also := shownKey(s.keyURL()), []seal.KEK(nil)
	switch {
	case s.newKey == "":
	case s.newKey == s.keyURL():
		keys.next = kek
	default:
		// A rotate-key that was interrupted has left data keys under both.
		if keys.next, err = seal.OpenKEK(ctx, s.newKey); err != nil && !errors.Is(err, seal.ErrNoKey) {
			return nil, masterKeys{}, err
		}
		if err == nil {
			from, also = from+" and "+shownKey(s.newKey), []seal.KEK{keys.next}
		}
	}
	box, err := seal.NewBox(ctx, kek, db, also...)
	if errors.Is(err, seal.ErrWrongKey) {
		err = fmt.Errorf("%w (the key given is from %s)", err, from)
	}
	return box, keys, err
}

// Close ends what open began, when the renewals and sign-ins that are under way have been stored.
func (h *house) Close() error {
	h.vault.Drain()
	return errors.Join(h.browsers.Close(), h.db.Close(), h.endSpans())
}
