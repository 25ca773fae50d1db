package auth_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

func wantErr(t *testing.T, what string, err error, want *auth.Error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %s", what, err, want.Code)
	}
}

// CB-001, B1: a callback without a state that we gave is refused, also when it brings an error, and
// nothing is sent or changed.
func TestCallbackWithoutState(t *testing.T) {
	v, _ := newClockedVault(t, authtest.Options{})
	link := ask(t, v, agent, auth.Wish{Provider: "practice"})
	good := signIn(t, v, link.RequestID, alices, "alice", auth.Choice{})
	for name, q := range map[string]url.Values{
		"none":    {"code": {"x"}},
		"empty":   {"code": {"x"}, "state": {""}},
		"twice":   {"code": good["code"], "state": {good.Get("state"), good.Get("state")}},
		"unknown": {"code": good["code"], "state": {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}},
		"prefix":  {"code": good["code"], "state": {good.Get("state")[:20]}},
		"longer":  {"code": good["code"], "state": {good.Get("state") + "A"}},
		"huge":    {"code": good["code"], "state": {string(make([]byte, 8<<10))}},
		"error":   {"error": {"access_denied"}},
		"nothing": {},
	} {
		id, err := v.Visit(alices).Callback(t.Context(), "practice", q)
		wantErr(t, name, err, auth.ErrInvalid)
		if id != "" {
			t.Errorf("%s: names request %s", name, id)
		}
	}
	if asked(v) != 0 {
		t.Error("a code was sent")
	}
	if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusPending {
		t.Errorf("status %+v", s)
	}
	if _, err := v.Visit(alices).Callback(t.Context(), "practice", good); err != nil {
		t.Errorf("the true callback: %v", err)
	}
}

// CB-002, CB-003, B1, B3: unknown, used and expired states get one and the same answer; a replay changes
// nothing and is on record.
func TestCallbackTellsNothing(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	link := ask(t, v, agent, auth.Wish{Provider: "practice"})
	used := signIn(t, v, link.RequestID, alices, "alice", auth.Choice{})
	if _, err := v.Visit(alices).Callback(t.Context(), "practice", used); err != nil {
		t.Fatal(err)
	}
	row := only(t, v)
	late := ask(t, v, agent, auth.Wish{Provider: "practice", Scopes: []string{"repo"}})
	expired := signIn(t, v, late.RequestID, alices, "alice", auth.Choice{})
	c.forward(11 * time.Minute)
	sent := asked(v)
	unknown := url.Values{"code": {"x"}, "state": {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}
	answers := map[string]bool{}
	for _, q := range []url.Values{used, expired, unknown} {
		id, err := v.Visit(alices).Callback(t.Context(), "practice", q)
		wantErr(t, "callback", err, auth.ErrInvalid)
		answers[fmt.Sprint(id, err)] = true
	}
	if len(answers) != 1 {
		t.Errorf("answers differ: %v", answers)
	}
	if asked(v) != sent || only(t, v).Version != row.Version {
		t.Error("a replay had an effect")
	}
	wantEvent(t, v, agent.Owner, "request.replay")
}

// CB-004, B2: of fifty callbacks at once one redeems the code.
func TestCallbackRace(t *testing.T) {
	v, _ := newClockedVault(t, authtest.Options{})
	link := ask(t, v, agent, auth.Wish{Provider: "practice"})
	q := signIn(t, v, link.RequestID, alices, "alice", auth.Choice{})
	var wg sync.WaitGroup
	var won, refused atomic.Int32
	for range 50 {
		wg.Go(func() {
			switch _, err := v.Visit(alices).Callback(t.Context(), "practice", q); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, auth.ErrInvalid):
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || refused.Load() != 49 || asked(v) != 1 {
		t.Errorf("%d won, %d refused, %d token requests", won.Load(), refused.Load(), asked(v))
	}
	get(t, v)
}

// A8: a state that came back to another provider's address is refused there, and still good at its own.
func TestCallbackAtOtherProvider(t *testing.T) {
	v, _ := newClockedVault(t, authtest.Options{})
	link := ask(t, v, agent, auth.Wish{Provider: "practice"})
	q := signIn(t, v, link.RequestID, alices, "alice", auth.Choice{})
	_, err := v.Visit(alices).Callback(t.Context(), "github", q)
	wantErr(t, "at github", err, auth.ErrInvalid)
	if _, err := v.Visit(alices).Callback(t.Context(), "practice", q); err != nil {
		t.Error(err)
	}
}

// ID-015, ID-007: the browser that confirmed owns the flow. A second one gets nowhere with the link or with
// the state, the first goes on, and the agent is told. That holds for a browser that owns another flow too.
func TestSecondBrowser(t *testing.T) {
	v, _ := newClockedVault(t, authtest.Options{})
	link := ask(t, v, agent, auth.Wish{Provider: "practice"})
	other := auth.Visitor{Browser: browserKey("cookie of another flow")}
	second := ask(t, v, agent, auth.Wish{Provider: "practice", Scopes: []string{"repo"}})
	theirs := signIn(t, v, second.RequestID, other, "bob", auth.Choice{})
	q := signIn(t, v, link.RequestID, alices, "alice", auth.Choice{})

	for name, who := range map[string]auth.Visitor{"other flow": other, "no cookie": {}, "third": {Browser: browserKey("third")}} {
		visit := v.Visit(who)
		_, err := visit.Open(t.Context(), link.RequestID)
		wantErr(t, name+" opens", err, auth.ErrNotYours)
		_, err = visit.Confirm(t.Context(), link.RequestID, auth.Choice{})
		wantErr(t, name+" confirms", err, auth.ErrNotYours)
		wantErr(t, name+" declines", visit.Decline(t.Context(), link.RequestID), auth.ErrNotYours)
		wantErr(t, name+" posts", visit.Submit(t.Context(), link.RequestID, auth.Input{}), auth.ErrNotYours)
		wantErr(t, name+" sets the app", visit.SetApp(t.Context(), link.RequestID, "x", auth.Secret{}, nil), auth.ErrNotYours)
		_, err = visit.Callback(t.Context(), "practice", q)
		wantErr(t, name+" comes back", err, auth.ErrNotYours)
	}
	_, err := v.Visit(alices).Callback(t.Context(), "practice", theirs)
	wantErr(t, "alice with bob's state", err, auth.ErrNotYours)
	if asked(v) != 0 {
		t.Error("a code was sent")
	}
	if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusPending || s.Cause != "opened_elsewhere" {
		t.Errorf("status %+v", s)
	}
	wantEvent(t, v, agent.Owner, "second_browser")
	if _, err := v.Visit(alices).Callback(t.Context(), "practice", q); err != nil {
		t.Errorf("the first browser: %v", err)
	}
}

// ID-020: a page that was left open past the link's time starts nothing.
func TestStaleConfirm(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	link := ask(t, v, agent, auth.Wish{Provider: "practice"})
	if _, err := v.Visit(alices).Open(t.Context(), link.RequestID); err != nil {
		t.Fatal(err)
	}
	c.forward(11 * time.Minute)
	_, err := v.Visit(alices).Confirm(t.Context(), link.RequestID, auth.Choice{})
	wantErr(t, "Confirm", err, auth.ErrExpired)
	wantErr(t, "Decline", v.Visit(alices).Decline(t.Context(), link.RequestID), auth.ErrExpired)
	if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusExpired {
		t.Errorf("status %+v", s)
	}
	keepOnce(t, v)
	_, err = v.Visit(alices).Confirm(t.Context(), link.RequestID, auth.Choice{})
	wantErr(t, "Confirm after the sweep", err, auth.ErrExpired)
}

var (
	annOwner = auth.Owner{User: "ann"}
	benOwner = auth.Owner{User: "ben"}
	ann      = auth.Caller{Owner: annOwner, Client: "agent", Verified: true}
	ben      = auth.Caller{Owner: benOwner, Client: "agent", Verified: true}
	annHere  = auth.Visitor{Browser: browserKey("ann's browser"), Owner: &annOwner}
	benHere  = auth.Visitor{Browser: browserKey("ben's browser"), Owner: &benOwner}
)

// manyUsers is a vault whose visitors are signed in, with an app of the operator's.
func manyUsers(t *testing.T) (*authtest.Vault, *clock) {
	t.Helper()
	v, c := newClockedVault(t, authtest.Options{})
	v.Identified = true
	if err := v.Desk(auth.Owner{}).SetApp(t.Context(), "practice", "public", auth.Secret{}, nil); err != nil {
		t.Fatal(err)
	}
	return v, c
}

// ID-002: what an OAuth app may do itself is for whoever registered it. A user gets the operator's own token neither by a
// sign-in nor as a way that is offered; with an app of their own they get theirs, and so does the one person of a machine.
func TestAppsOwnToken(t *testing.T) {
	secret := auth.NewSecret("basic secret/+:%&=")
	v, _ := manyUsers(t)
	if err := v.Desk(auth.Owner{}).SetApp(t.Context(), "practice", "basic", secret, nil); err != nil {
		t.Fatal(err)
	}
	wish := auth.Wish{Provider: "practice", Method: auth.MethodClientCredentials}
	link := ask(t, v, ann, wish)
	view, err := v.Visit(annHere).Open(t.Context(), link.RequestID)
	if err != nil || view.AppReady || link.Reason != auth.NoOAuthApp {
		t.Errorf("ready %v, reason %s, %v", view.AppReady, link.Reason, err)
	}
	byCode := ask(t, v, ann, auth.Wish{Provider: "practice"})
	if view, err = v.Visit(annHere).Open(t.Context(), byCode.RequestID); err != nil || slices.Contains(view.Methods, auth.MethodClientCredentials) {
		t.Errorf("the page offers %v, %v", view.Methods, err)
	}
	_, err = v.Visit(annHere).Confirm(t.Context(), byCode.RequestID, auth.Choice{Method: auth.MethodClientCredentials})
	wantErr(t, "the other way on the page", err, auth.ErrNoApp)
	_, err = v.Visit(annHere).Confirm(t.Context(), link.RequestID, auth.Choice{})
	wantErr(t, "Confirm", err, auth.ErrNoApp)
	if n := asked(v); n != 0 {
		t.Errorf("%d token requests", n)
	}
	redefined, err := v.Catalog.Get("practice")
	if err != nil {
		t.Fatal(err)
	}
	redefined.OAuth2.Flows, redefined.APIKey, redefined.Browser = []string{"client_credentials"}, nil, nil
	if infos, err := v.Providers(t.Context(), ann, "practice", "", 0); err != nil || len(infos) != 1 || infos[0].Ready {
		t.Errorf("listed as %+v, %v", infos, err)
	}
	if err := v.Visit(annHere).SetApp(t.Context(), link.RequestID, "basic", secret, nil); err != nil { // hers, by coincidence alike
		t.Fatal(err)
	}
	if _, err := v.Visit(annHere).Confirm(t.Context(), link.RequestID, auth.Choice{}); err != nil {
		t.Fatal(err)
	}
	if s := status(t, v, ann, link.RequestID); s.Status != auth.StatusConnected {
		t.Errorf("with an app of her own: %+v", s)
	}

	v = authtest.NewVault(t, authtest.Options{})
	if err := errors.Join(v.Desk(auth.Local).RemoveApp(t.Context(), "practice"), v.Desk(auth.Owner{}).SetApp(t.Context(), "practice", "basic", secret, nil)); err != nil {
		t.Fatal(err)
	}
	link = ask(t, v, agent, wish)
	if _, err := v.Visit(alices).Confirm(t.Context(), link.RequestID, auth.Choice{}); err != nil {
		t.Fatal(err)
	}
	if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusConnected {
		t.Errorf("the machine's one person: %+v", s)
	}
}

// ID-001, ID-002, ID-010: where people are signed in, a request is its owner's alone: not the page, not the
// form, and not the callback of a provider's address that was passed on. Both names are on record.
func TestForeignVisitor(t *testing.T) {
	v, _ := manyUsers(t)
	link := ask(t, v, ann, auth.Wish{Provider: "practice"})
	for name, who := range map[string]auth.Visitor{"ben": benHere, "nobody": {Browser: benHere.Browser}} {
		visit := v.Visit(who)
		_, err := visit.Open(t.Context(), link.RequestID)
		wantErr(t, name+" opens", err, auth.ErrNotYours)
		_, err = visit.Confirm(t.Context(), link.RequestID, auth.Choice{})
		wantErr(t, name+" confirms", err, auth.ErrNotYours)
		wantErr(t, name+" posts", visit.Submit(t.Context(), link.RequestID, auth.Input{}), auth.ErrNotYours)
		wantErr(t, name+" declines", visit.Decline(t.Context(), link.RequestID), auth.ErrNotYours)
		if s := status(t, v, ann, link.RequestID); s.Status != auth.StatusPending || (s.Cause == "opened_elsewhere") != (who.Owner != nil) {
			t.Errorf("after %s the request reads %+v", name, s)
		}
		link = ask(t, v, ann, auth.Wish{Provider: "practice", Account: "after " + name})
	}
	// ann passes the provider's own address on; ben signs in there and comes back to us.
	q := signIn(t, v, link.RequestID, annHere, "bob", auth.Choice{})
	_, err := v.Visit(benHere).Callback(t.Context(), "practice", q)
	wantErr(t, "ben comes back", err, auth.ErrNotYours)
	_, err = v.Visit(auth.Visitor{Browser: annHere.Browser, Owner: &benOwner}).Callback(t.Context(), "practice", q)
	wantErr(t, "ben comes back with ann's cookie", err, auth.ErrNotYours)
	_, err = v.Visit(auth.Visitor{Browser: annHere.Browser}).Callback(t.Context(), "practice", q)
	wantErr(t, "ann comes back, signed out meanwhile", err, auth.ErrNotYours)
	if asked(v) != 0 {
		t.Error("the code was sent")
	}
	if infos, err := v.List(t.Context(), ann, ""); err != nil || len(infos) != 0 {
		t.Errorf("connected: %+v, %v", infos, err)
	}
	wantEvent(t, v, annOwner, "identity_mismatch")
	events, _ := v.Desk(annOwner).Events(t.Context(), auth.EventFilter{Kind: "identity_mismatch"})
	if len(events) > 0 && (events[0].Owner != annOwner || events[0].Detail["visitor"] != "ben") {
		t.Errorf("on record: %+v", events[0])
	}
}

// ID-001, ID-002, ID-010: where nobody has to sign in, a person who has, as another owner, is refused all the same,
// and the request goes on for whoever it was made for.
func TestSignedInAsAnother(t *testing.T) {
	v, _ := newClockedVault(t, authtest.Options{})
	if err := v.Desk(auth.Owner{}).SetApp(t.Context(), "practice", "public", auth.Secret{}, nil); err != nil {
		t.Fatal(err)
	}
	link := ask(t, v, ann, auth.Wish{Provider: "practice"})
	visit := v.Visit(benHere)
	_, err := visit.Open(t.Context(), link.RequestID)
	wantErr(t, "ben opens", err, auth.ErrNotYours)
	_, err = visit.Confirm(t.Context(), link.RequestID, auth.Choice{})
	wantErr(t, "ben confirms", err, auth.ErrNotYours)
	wantErr(t, "ben posts", visit.Submit(t.Context(), link.RequestID, auth.Input{}), auth.ErrNotYours)
	if s := status(t, v, ann, link.RequestID); s.Status != auth.StatusPending || s.Cause != "opened_elsewhere" {
		t.Errorf("the request reads %+v", s)
	}
	nobody := auth.Visitor{Browser: annHere.Browser}
	q := signIn(t, v, link.RequestID, nobody, "alice", auth.Choice{})
	_, err = v.Visit(auth.Visitor{Browser: annHere.Browser, Owner: &benOwner}).Callback(t.Context(), "practice", q)
	wantErr(t, "ben comes back with the cookie", err, auth.ErrNotYours)
	if asked(v) != 0 {
		t.Error("the code was sent")
	}
	wantEvent(t, v, annOwner, "identity_mismatch")
	if _, err := v.Visit(nobody).Callback(t.Context(), "practice", q); err != nil {
		t.Errorf("the browser that confirmed: %v", err)
	}
}

// ID-008: what is another owner's reads as what is not there, whatever is tried.
func TestForeignHandles(t *testing.T) {
	v, _ := manyUsers(t)
	link := ask(t, v, ann, auth.Wish{Provider: "practice"})
	if err := finish(t, v, link, annHere, "alice"); err != nil {
		t.Fatal(err)
	}
	open := ask(t, v, ann, auth.Wish{Provider: "practice", Scopes: []string{"repo"}})
	for name, try := range map[string]func(c auth.Caller, id, account string) error{
		"wait": func(c auth.Caller, id, _ string) error { return second(v.Wait(t.Context(), c, id, 0, nil)) },
		"cancel": func(c auth.Caller, id, _ string) error {
			return second(v.Revoke(t.Context(), c, auth.Unwanted{RequestID: id}))
		},
		"revoke": func(c auth.Caller, _, account string) error {
			return second(v.Revoke(t.Context(), c, auth.Unwanted{Provider: "practice", Account: account}))
		},
	} {
		foreign, absent := try(ben, open.RequestID, "x@example.com"), try(ben, "ABSENT", "x@example.com")
		wantErr(t, name, foreign, auth.ErrNotFound)
		if fmt.Sprint(foreign) != fmt.Sprint(absent) {
			t.Errorf("%s tells foreign from absent: %v, %v", name, foreign, absent)
		}
	}
	// An approval of ann's is none of ben's, to look at, to wait for, to withdraw or to decide.
	newcomer := auth.Caller{Owner: annOwner, Client: "newcomer", Verified: true}
	_, err := v.Call(t.Context(), newcomer, auth.Call{Provider: "practice", Path: "/me"})
	var waiting *auth.ApprovalRequired
	if !errors.As(err, &waiting) {
		t.Fatalf("a new client of ann's: %v", err)
	}
	desk := v.Desk(benOwner)
	for name, try := range map[string]func(id string) error{
		"wait for an approval": func(id string) error { return second(v.Wait(t.Context(), ben, id, 0, nil)) },
		"withdraw an approval": func(id string) error { return second(v.Revoke(t.Context(), ben, auth.Unwanted{RequestID: id})) },
		"decide":               func(id string) error { return desk.Decide(t.Context(), id, auth.Decision{Allow: true}) },
	} {
		foreign, absent := try(waiting.RequestID), try("ABSENT")
		wantErr(t, name, foreign, auth.ErrNotFound)
		if fmt.Sprint(foreign) != fmt.Sprint(absent) {
			t.Errorf("%s tells foreign from absent: %v, %v", name, foreign, absent)
		}
	}
	if s := status(t, v, newcomer, waiting.RequestID); s.Status != auth.StatusPending {
		t.Errorf("ann's approval reads %+v", s)
	}
	account := "alice@example.com"
	_, err = v.Get(t.Context(), ben, auth.Need{Provider: "practice", Account: account})
	wantLink(t, err, auth.NotConnected)
	_, err = v.Call(t.Context(), ben, auth.Call{Provider: "practice", Account: account, Path: "/me"})
	wantLink(t, err, auth.NotConnected)
	_, err = v.Revoke(t.Context(), ben, auth.Unwanted{Provider: "practice", Account: account})
	wantErr(t, "revoke", err, auth.ErrNotFound)
	if infos, err := v.List(t.Context(), ben, ""); err != nil || len(infos) != 0 {
		t.Errorf("List: %+v, %v", infos, err)
	}
	if len(v.API.Requests("")) != 0 {
		t.Error("a call was sent")
	}
	wantEvent(t, v, benOwner, "foreign_request")
	if tries, err := v.Desk(benOwner).Events(t.Context(), auth.EventFilter{Kind: "foreign_request"}); err != nil || len(tries) != 2 {
		t.Errorf("on record: %+v, %v", tries, err) // the waiting and the cancelling
	}
	tries, err := v.Desk(benOwner).Events(t.Context(), auth.EventFilter{Kind: "unknown_request"})
	if err != nil || len(tries) != 8 || !slices.ContainsFunc(tries, func(e auth.Event) bool { return e.Client == auth.ClientOwner }) {
		t.Errorf("on record: %+v, %v", tries, err) // each time with an approval of ann's, and with what nobody has
	}
	if infos, err := v.List(t.Context(), ann, ""); err != nil || len(infos) != 1 || infos[0].State != auth.Active {
		t.Errorf("ann has %+v, %v", infos, err)
	}
}

// ID-021: what the owner allowed one client, another client of the same owner does not have.
func TestConsentIsPerClient(t *testing.T) {
	v, _ := connected(t, authtest.Options{})
	get(t, v)
	other := auth.Caller{Owner: auth.Local, Client: "another-agent"}
	var wait *auth.ApprovalRequired
	for name, try := range map[string]func() error{
		"get":     func() error { return second(v.Get(t.Context(), other, practiceNeed)) },
		"call":    func() error { return second(v.Call(t.Context(), other, auth.Call{Provider: "practice", Path: "/me"})) },
		"request": func() error { return second(v.Request(t.Context(), other, auth.Wish{Provider: "practice"})) },
	} {
		if err := try(); !errors.As(err, &wait) {
			t.Errorf("%s: %v, want approval_required", name, err)
		}
	}
	_, err := v.Wait(t.Context(), agent, wait.RequestID, 0, nil)
	wantErr(t, "another client waits for the approval", err, auth.ErrNotFound)
	wantEvent(t, v, auth.Local, "foreign_request")
	if len(v.API.Requests("")) != 0 {
		t.Error("a call was sent")
	}
}

// ID-012: a server of many users does not offer the device code flow, unless the operator wants it, and then not without end.
func TestDeviceFlowRefused(t *testing.T) {
	v, _ := manyUsers(t)
	wish := auth.Wish{Provider: "practice", Method: auth.MethodDeviceCode}
	_, err := v.Request(t.Context(), ann, wish)
	wantErr(t, "Request", err, auth.ErrDenied)
	link := ask(t, v, ann, auth.Wish{Provider: "practice"})
	_, err = v.Visit(annHere).Confirm(t.Context(), link.RequestID, auth.Choice{Method: auth.MethodDeviceCode})
	wantErr(t, "chosen on the page", err, auth.ErrInvalid)
	if n := len(v.Server.Requests("/device_authorization")); n != 0 {
		t.Errorf("%d device requests", n)
	}
	v.DeviceFlow = true
	for i := range 19 {
		wish.Scopes = []string{fmt.Sprint("scope", i)}
		if link := ask(t, v, ann, wish); link.Method != auth.MethodDeviceCode {
			t.Errorf("method %s", link.Method)
		}
	}
	wish.Scopes = []string{"more"}
	_, err = v.Request(t.Context(), ann, wish)
	wantErr(t, "beyond the limit", err, auth.ErrLimit)
}

// ID-012: whoever saw the code may have entered it, at an account of their own. On a server of many users nothing is connected
// before the person has seen which account it is and said that it is theirs.
func TestDeviceAccountIsConfirmed(t *testing.T) {
	v, c := manyUsers(t)
	v.DeviceFlow = true
	signedIn := func(user string, w auth.Wish) string {
		t.Helper()
		w.Provider, w.Method = "practice", auth.MethodDeviceCode
		link := ask(t, v, ann, w)
		step, err := v.Visit(annHere).Confirm(t.Context(), link.RequestID, auth.Choice{Extra: w.Scopes})
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Server.ApproveDevice(t.Context(), step.UserCode, user); err != nil {
			t.Fatal(err)
		}
		c.forward(10 * time.Second)
		keepOnce(t, v)
		if s := status(t, v, ann, link.RequestID); s.Status != auth.StatusPending || s.Cause != "confirm_account" {
			t.Errorf("before anybody said yes: %+v", s)
		}
		view, err := v.Visit(annHere).Open(t.Context(), link.RequestID)
		if err != nil || view.Request.Cause != auth.HeldUnconfirmed || view.Held.Account != user+"@example.com" {
			t.Errorf("the page knows %+v, %v", view, err)
		}
		wantErr(t, "ben says yes", v.Visit(benHere).Settle(t.Context(), link.RequestID, auth.SettleAdd), auth.ErrNotYours)
		return link.RequestID
	}
	accounts := func(want ...string) {
		t.Helper()
		infos, err := v.List(t.Context(), ann, "")
		var got []string
		for _, i := range infos {
			got = append(got, i.Account)
		}
		if slices.Sort(got); err != nil || !slices.Equal(got, want) {
			t.Errorf("ann has %v, not %v; %v", got, want, err)
		}
	}
	settle := func(id, how string) {
		t.Helper()
		if err := v.Visit(annHere).Settle(t.Context(), id, how); err != nil {
			t.Error(err)
		}
	}
	stranger := signedIn("bob", auth.Wish{})
	accounts()
	settle(stranger, auth.SettleDiscard)
	accounts()
	keepOnce(t, v)
	if n := len(revokedTokens(v)); n != 2 {
		t.Errorf("%d tokens of bob were revoked", n)
	}
	settle(signedIn("bob", auth.Wish{Account: "work"}), auth.SettleAdd)
	accounts("work")
	if _, err := v.Revoke(t.Context(), ann, auth.Unwanted{Provider: "practice"}); err != nil {
		t.Fatal(err)
	}
	if err := finish(t, v, ask(t, v, ann, auth.Wish{Provider: "practice"}), annHere, "alice"); err != nil { // by code
		t.Fatal(err)
	}
	more := signedIn("alice", auth.Wish{Scopes: []string{"repo"}}) // the same account again, and then another
	settle(more, auth.SettleAdd)
	accounts("alice@example.com")
	if s := status(t, v, ann, more); s.Status != auth.StatusConnected || !slices.Contains(s.Connection.Scopes, "repo") {
		t.Errorf("renewed: %+v", s)
	}
	settle(signedIn("bob", auth.Wish{Account: "alice@example.com", Scopes: []string{"files:delete"}}), auth.SettleAdd)
	accounts("alice@example.com", "bob@example.com")
}

// ID-012: that holds also when another process of the store, which serves the machine's own person, is the one that asks the
// provider.
func TestDeviceAccountIsConfirmedEverywhere(t *testing.T) {
	v, c := manyUsers(t)
	v.DeviceFlow = true
	link := ask(t, v, ann, auth.Wish{Provider: "practice", Method: auth.MethodDeviceCode})
	step, err := v.Visit(annHere).Confirm(t.Context(), link.RequestID, auth.Choice{})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Server.ApproveDevice(t.Context(), step.UserCode, "bob"); err != nil {
		t.Fatal(err)
	}
	c.forward(10 * time.Second)
	server := v.Vault
	v.Reopen()
	v.Vault.Now = c.Now
	keepOnce(t, v)
	v.Vault = server
	if s := status(t, v, ann, link.RequestID); s.Status != auth.StatusPending || s.Cause != "confirm_account" {
		t.Errorf("before anybody said yes: %+v", s)
	}
}

// DS-001: an owner has at most twenty open requests; others do not notice, and those that end make room.
func TestOpenRequestsAreFew(t *testing.T) {
	v, c := manyUsers(t)
	wish := func(i int) auth.Wish {
		return auth.Wish{Provider: "practice", Scopes: []string{fmt.Sprintf("scope%d", i)}}
	}
	for i := range 20 {
		ask(t, v, ann, wish(i))
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if _, err := v.Request(context.WithoutCancel(t.Context()), ann, wish(100+i)); !errors.Is(err, auth.ErrLimit) {
				t.Errorf("request beyond the limit: %v", err)
			}
		})
	}
	wg.Wait()
	same := ask(t, v, ann, wish(3)) // an equal wish is the same request
	ask(t, v, ben, wish(0))
	if open, err := v.Desk(annOwner).Requests(t.Context()); err != nil || len(open) != 20 {
		t.Errorf("%d open, %v", len(open), err)
	}
	if _, err := v.Revoke(t.Context(), ann, auth.Unwanted{RequestID: same.RequestID}); err != nil {
		t.Fatal(err)
	}
	ask(t, v, ann, wish(200))
	c.forward(11 * time.Minute)
	ask(t, v, ann, wish(201))
}

// An agent that names a new account so that it reads like one that is there, which the owner would take it for when asked
// to approve, gets no link. By its exact label the account is the same as ever.
func TestLabelLikeAnother(t *testing.T) {
	v, _ := newClockedVault(t, authtest.Options{})
	connect(t, v, agent, auth.Wish{Provider: "practice", Account: "alice@example.com"}, "alice", auth.Choice{})
	for _, label := range []string{"Alice@Example.com", "\u0430lice@example.com", "a1ice@examp1e.com", "alice@example.com.", "alice @example.com"} {
		wish := auth.Wish{Provider: "practice", Account: label}
		if _, err := v.Request(t.Context(), agent, wish); !errors.Is(err, auth.ErrInvalid) || !strings.Contains(err.Error(), "looks like alice@example.com") {
			t.Errorf("request_auth for %q: %v", label, err)
		}
		if _, err := v.Get(t.Context(), agent, auth.Need{Provider: "practice", Account: label}); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("get_credential for %q: %v", label, err)
		}
	}
	if open, err := v.Desk(auth.Local).Requests(t.Context()); err != nil || len(open) != 0 {
		t.Errorf("open requests: %+v, %v", open, err)
	}
	if info, err := v.Request(t.Context(), agent, auth.Wish{Provider: "practice", Account: "alice@example.com"}); err != nil || info.Account != "alice@example.com" {
		t.Errorf("by its label: %+v, %v", info, err)
	}
	ask(t, v, agent, auth.Wish{Provider: "practice", Account: "bob@example.com"})
	other := agent
	other.User = "somebody else"
	ask(t, v, other, auth.Wish{Provider: "practice", Account: "Alice@example.com"}) // it looks like nobody's of theirs
}

// Who confirms in the link's last minute has as much time as anybody; who begins again and again has an hour.
func TestTimeBeginsWithConfirming(t *testing.T) {
	here := auth.Visitor{Browser: browserKey("here")}
	v, c := newClockedVault(t, authtest.Options{})
	link := ask(t, v, agent, auth.Wish{Provider: "practice"})
	c.forward(9*time.Minute + 30*time.Second)
	q := signIn(t, v, link.RequestID, here, "alice", auth.Choice{})
	c.forward(50 * time.Second)
	if _, err := v.Visit(here).Callback(t.Context(), "practice", q); err != nil {
		t.Errorf("after the ten minutes of the link: %v", err)
	}

	link = ask(t, v, agent, auth.Wish{Provider: "practice", Scopes: []string{"repo"}})
	for range 7 {
		signIn(t, v, link.RequestID, here, "alice", auth.Choice{})
		c.forward(8*time.Minute + 30*time.Second)
	}
	if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusPending {
		t.Errorf("within the hour: %+v", s)
	}
	c.forward(time.Minute)
	if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusExpired {
		t.Errorf("an hour after the agent asked: %+v", s)
	}
}

// LV-004: the live view of a sign-in is on the server's screen, so its owner may go on in another browser of theirs, where the
// server knows them. A sign-in that runs in a browser stays there.
func TestAnotherBrowserOfTheOwner(t *testing.T) {
	v, _ := manyUsers(t)
	annThere := auth.Visitor{Browser: browserKey("ann's other browser"), Owner: &annOwner}
	for name, test := range map[string]struct {
		method string
		state  auth.RequestState
		who    auth.Visitor
		may    bool
	}{
		"the live view":                {auth.MethodBrowser, auth.Redirected, annThere, true},
		"somebody else":                {auth.MethodBrowser, auth.Redirected, benHere, false},
		"nobody":                       {auth.MethodBrowser, auth.Redirected, auth.Visitor{Browser: annThere.Browser}, false},
		"the page of a provider":       {auth.MethodOAuthCode, auth.Redirected, annThere, false},
		"a live view that is not open": {auth.MethodBrowser, auth.Claimed, annThere, false},
	} {
		r := &auth.Request{
			ID: rand.Text(), Owner: annOwner, Client: "agent " + name, Provider: "practice", Method: test.method, Reason: auth.NotConnected, MatchCode: "BLUE-42",
			State: test.state, Browser: annHere.Browser, CreatedAt: v.Vault.Now(), UpdatedAt: v.Vault.Now(), ExpiresAt: v.Vault.Now().Add(time.Minute),
		}
		if _, err := v.DB.CreateRequest(t.Context(), r, 20); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Visit(test.who).Open(t.Context(), r.ID); (err == nil) != test.may || !test.may && !errors.Is(err, auth.ErrNotYours) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
