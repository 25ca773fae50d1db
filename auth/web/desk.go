package web

import (
	"crypto/hmac"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/latchpost/latchpost/auth"
)

// desk gives the signed-in owner's side of the vault.
func (s *Site) desk(r *http.Request) (auth.Desk, *auth.Owner, error) {
	owner, ok := s.owner(r)
	if !ok {
		return auth.Desk{}, nil, errWho
	}
	return s.vault.Desk(*owner), owner, nil
}

func (s *Site) home(w http.ResponseWriter, r *http.Request) error {
	return see(w, r, "/connections")
}

// login hands over to whoever signs people in here.
func (s *Site) login(w http.ResponseWriter, r *http.Request) error {
	return see(w, r, s.LoginURL)
}

// connectionsPage is /connections: everything an owner has, and every way to stop it.
type connectionsPage struct {
	Token       string
	Connections []heldConnection
	Requests    []openRequest
	Unsafe      []string
	Ended       string // what became of what was just ended
}

type openRequest struct {
	auth.Request
	Name string // of the provider
}

type heldConnection struct {
	auth.Info
	Name   string // of the provider
	Grants []auth.Grant
}

func (s *Site) unsafe() []string {
	if s.Unsafe == nil {
		return nil
	}
	return s.Unsafe()
}

func (s *Site) connections(w http.ResponseWriter, r *http.Request) error {
	desk, _, err := s.desk(r)
	if err != nil {
		return err
	}
	infos, err := desk.Connections(r.Context())
	if err != nil {
		return err
	}
	grants, err := desk.Grants(r.Context())
	if err != nil {
		return err
	}
	page := connectionsPage{Token: s.token(r, "desk", "", deskTTL), Unsafe: s.unsafe(), Ended: s.ended(r)}
	open, err := desk.Requests(r.Context())
	if err != nil {
		return err
	}
	for _, q := range open {
		page.Requests = append(page.Requests, openRequest{q, s.providerName(q.Provider)})
	}
	for _, info := range infos {
		held := heldConnection{Info: info, Name: info.ProviderName}
		for _, g := range grants {
			if g.Connection == info.ID {
				held.Grants = append(held.Grants, g)
			}
		}
		page.Connections = append(page.Connections, held)
	}
	return s.show(w, r, http.StatusOK, "desk_connections", "Connections", page)
}

// providerName is what people read; the id where the definition is gone.
func (s *Site) providerName(id string) string {
	if p, err := s.vault.Catalog.Get(id); err == nil {
		return p.Name
	}
	return id
}

// ended is what the page says after something was ended here: a link from elsewhere must not make it say so.
func (s *Site) ended(r *http.Request) string {
	q := r.URL.Query()
	if !hmac.Equal([]byte(q.Get("proof")), []byte(s.endedProof(r, q.Get("ended")))) {
		return ""
	}
	return endedText[q.Get("ended")]
}

func (s *Site) endedProof(r *http.Request, ended string) string {
	owner, _ := s.owner(r)
	return s.mac("ended", ended, owner.Org, owner.User)
}

// endedText never claims more than is known.
var endedText = map[string]string{
	auth.AtProviderRevoked: "The connection is gone, and the provider has confirmed that its credential is revoked.",
	auth.AtProviderUnknown: "The connection is gone from here. The provider has not confirmed yet; it is asked again until it does.",
	auth.LocalOnly:         "The connection is gone from here. This provider has no way to be told: to be sure, remove the access or the key on its own site.",
	"request":              "The pending request was cancelled.",
	"grant":                "The client can no longer use this connection.",
}

// changeConnections revokes a connection, cancels a request or ends a grant.
func (s *Site) changeConnections(w http.ResponseWriter, r *http.Request) error {
	desk, _, err := s.desk(r)
	if err != nil {
		return err
	}
	if _, err := s.spend(r, "desk", ""); err != nil {
		return err
	}
	form, ended := r.PostForm, ""
	switch form.Get("do") {
	case "revoke":
		if form.Get("provider") == "" || form.Get("account") == "" {
			return errForm
		}
		what, err := desk.Revoke(r.Context(), auth.Unwanted{Provider: form.Get("provider"), Account: form.Get("account")})
		if err != nil {
			return err
		}
		ended = what.Connections[0].AtProvider
	case "cancel":
		if form.Get("request") == "" {
			return errForm
		}
		if _, err := desk.Revoke(r.Context(), auth.Unwanted{RequestID: form.Get("request")}); err != nil {
			return err
		}
		ended = "request"
	case "end":
		if err := desk.EndGrant(r.Context(), form.Get("grant")); err != nil {
			return err
		}
		ended = "grant"
	default:
		return errForm
	}
	return see(w, r, "/connections?"+url.Values{"ended": {ended}, "proof": {s.endedProof(r, ended)}}.Encode())
}

// appsPage is /apps: the OAuth apps that serve the owner.
type appsPage struct {
	Token   string
	Apps    []ownedApp
	Choices []choice // providers that take an app
	Chosen  *chosenProvider
	Problem string
}

type ownedApp struct {
	auth.App
	Name string
	Mine bool // otherwise the operator's or the org's, to be seen only
}

type choice struct{ ID, Name string }

type chosenProvider struct {
	ID, Name, Register, Docs, Redirect, Secret string
	Asks                                       []auth.Question
}

func (s *Site) apps(w http.ResponseWriter, r *http.Request) error {
	return s.showApps(w, r, http.StatusOK, r.URL.Query().Get("provider"), "")
}

func (s *Site) showApps(w http.ResponseWriter, r *http.Request, status int, chosen, problem string) error {
	desk, owner, err := s.desk(r)
	if err != nil {
		return err
	}
	found, err := desk.Apps(r.Context())
	if err != nil {
		return err
	}
	page := appsPage{Token: s.token(r, "desk", "", deskTTL), Problem: problem}
	for _, p := range s.vault.Catalog.Search("", "", 0) {
		if p.OAuth2 == nil {
			continue
		}
		page.Choices = append(page.Choices, choice{p.ID, p.Name})
		if p.ID == chosen {
			page.Chosen = &chosenProvider{ID: p.ID, Name: p.Name, Register: p.Register, Docs: p.Docs, Secret: p.OAuth2.Client.Secret}
			if page.Chosen.Redirect, err = desk.RedirectURI(p.ID); err != nil {
				return err
			}
			for _, name := range slices.Sorted(maps.Keys(p.Vars)) {
				v := p.Vars[name]
				page.Chosen.Asks = append(page.Chosen.Asks, auth.Question{Name: name, Ask: v.Ask, Default: v.Default, Pattern: v.Pattern, Enum: v.Enum})
			}
		}
	}
	for _, a := range found {
		page.Apps = append(page.Apps, ownedApp{a, s.providerName(a.Provider), a.Owner == *owner})
	}
	return s.show(w, r, status, "desk_apps", "OAuth apps", page)
}

func (s *Site) changeApps(w http.ResponseWriter, r *http.Request) error {
	desk, _, err := s.desk(r)
	if err != nil {
		return err
	}
	if _, err := s.spend(r, "desk", ""); err != nil {
		return err
	}
	form := r.PostForm
	provider := form.Get("provider")
	switch form.Get("do") {
	case "remove":
		err = desk.RemoveApp(r.Context(), provider)
	case "set":
		secret := auth.NewSecret(strings.TrimSpace(form.Get("client_secret")))
		err = desk.SetApp(r.Context(), provider, strings.TrimSpace(form.Get("client_id")), secret, choiceOf(form).Vars)
	default:
		return errForm
	}
	if err != nil {
		t := s.tell(r, err)
		return s.showApps(w, r, t.Status, provider, t.Message)
	}
	return see(w, r, "/apps")
}

// activityPage is /activity: the audit log, newest first.
type activityPage struct {
	Events []auth.Event
	Kind   string
	Older  string // address of what came before; "" at the end
}

func (s *Site) activity(w http.ResponseWriter, r *http.Request) error {
	desk, _, err := s.desk(r)
	if err != nil {
		return err
	}
	filter := eventFilter(r.URL.Query())
	page := activityPage{Kind: filter.Kind}
	if page.Events, err = desk.Events(r.Context(), filter); err != nil {
		return err
	}
	if n := len(page.Events); n >= filter.Limit {
		older := url.Values{"before": {page.Events[n-1].At.UTC().Format(timeFormat)}}
		for _, name := range []string{"kind", "client", "connection"} {
			if v := r.URL.Query().Get(name); v != "" {
				older.Set(name, v)
			}
		}
		page.Older = "/activity?" + older.Encode()
	}
	return s.show(w, r, http.StatusOK, "desk_activity", "Activity", page)
}
