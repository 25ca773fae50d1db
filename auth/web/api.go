package web

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// The JSON behind the pages, for the owner's session: the same facts, the same
// decisions. A POST must say application/json, which no form of another site can.

const timeFormat = time.RFC3339Nano

func (s *Site) api(mux *http.ServeMux) {
	get := func(pattern string, h func(*http.Request, auth.Desk) (any, error)) {
		mux.Handle("GET /api/v1/"+pattern, s.answer(h))
	}
	post := func(pattern string, h func(*http.Request, auth.Desk) (any, error)) {
		mux.Handle("POST /api/v1/"+pattern, s.answer(h))
	}
	get("connections", s.apiConnections)
	get("requests", s.apiRequests)
	get("approvals", s.apiApprovals)
	get("grants", s.apiGrants)
	get("events", s.apiEvents)
	get("providers", s.apiProviders)
	post("revoke", s.apiRevoke)
	post("approvals/{id}/decide", s.apiDecide)
	post("grants/{id}/end", s.apiEndGrant)
	get("", func(*http.Request, auth.Desk) (any, error) { return nil, errLost })
}

// answer makes a handler of h: only for a session, only JSON.
func (s *Site) answer(h func(*http.Request, auth.Desk) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, body := http.StatusOK, any(nil)
		desk, _, err := s.desk(r)
		if err == nil && r.Method == http.MethodPost {
			kind, _, bad := mime.ParseMediaType(r.Header.Get("Content-Type"))
			if bad != nil || kind != "application/json" {
				err = auth.ErrInvalid.Say("send application/json")
			}
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err == nil {
			body, err = h(r, desk)
		}
		if err != nil {
			t := s.tell(r, err)
			status, body = t.Status, map[string]any{"error": t}
		}
		text, err := json.Marshal(body)
		if err != nil {
			s.Log.Error("answer not encoded", "route", r.Pattern, "error", err)
			status, text = http.StatusInternalServerError, []byte(`{"error":{"code":"internal","message":"Internal error."}}`)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(append(text, '\n')) // the reader went away
	})
}

// read takes a JSON object with known names only and nothing behind it.
func read(r *http.Request, into any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if large := new(http.MaxBytesError); errors.As(err, &large) {
		return errLarge
	}
	if err != nil {
		return auth.ErrInvalid.Say("the body is not the JSON object that is expected here")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return auth.ErrInvalid.Say("the body goes on behind its JSON object")
	}
	return nil
}

type apiConnection struct {
	ID               string     `json:"id"`
	Provider         string     `json:"provider"`
	ProviderName     string     `json:"provider_name"`
	Account          string     `json:"account"`
	Method           string     `json:"method"`
	State            auth.State `json:"state"`
	Cause            string     `json:"cause,omitempty"`
	Scopes           []string   `json:"scopes"`
	Hosts            []string   `json:"hosts"`
	CreatedAt        time.Time  `json:"created_at,omitzero"`
	ExpiresAt        time.Time  `json:"expires_at,omitzero"`
	RefreshExpiresAt time.Time  `json:"refresh_expires_at,omitzero"`
	LastUsedAt       time.Time  `json:"last_used_at,omitzero"`
}

func (s *Site) apiConnections(r *http.Request, desk auth.Desk) (any, error) {
	found, err := desk.Connections(r.Context())
	out := make([]apiConnection, len(found))
	for i, c := range found {
		out[i] = apiConnection{
			c.ID, c.Provider, c.ProviderName, c.Account, c.Method, c.State, c.Cause, list(c.Scopes), list(c.Hosts),
			c.CreatedAt, c.ExpiresAt, c.RefreshExpiresAt, c.LastUsedAt,
		}
	}
	return map[string]any{"connections": out}, err
}

type apiRequest struct {
	ID        string            `json:"id"`
	Client    string            `json:"client"`
	Verified  bool              `json:"verified"`
	Name      string            `json:"client_name,omitempty"` // what a verified one calls itself
	Provider  string            `json:"provider"`
	Method    string            `json:"method"`
	Account   string            `json:"account,omitempty"`
	Scopes    []string          `json:"scopes"`
	Reason    string            `json:"reason"`
	State     auth.RequestState `json:"state"`
	CreatedAt time.Time         `json:"created_at"`
	ExpiresAt time.Time         `json:"expires_at"`
}

func (s *Site) apiRequests(r *http.Request, desk auth.Desk) (any, error) {
	found, err := desk.Requests(r.Context())
	out := make([]apiRequest, len(found))
	for i, q := range found {
		out[i] = apiRequest{q.ID, q.Client, q.Verified, q.ClientName, q.Provider, q.Method, q.Account, list(q.Scopes), q.Reason, q.State, q.CreatedAt, q.ExpiresAt}
	}
	return map[string]any{"requests": out}, err
}

type apiApproval struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind"`
	Client    string    `json:"client"`
	Verified  bool      `json:"verified"`
	Name      string    `json:"client_name,omitempty"` // what a verified one calls itself
	Provider  string    `json:"provider"`
	Account   string    `json:"account"`
	Method    string    `json:"method,omitempty"`
	URL       string    `json:"url,omitempty"`
	Preview   string    `json:"preview,omitempty"`
	Why       string    `json:"why"`
	Answers   []string  `json:"answers"` // words for decide
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (s *Site) apiApprovals(r *http.Request, desk auth.Desk) (any, error) {
	found, err := desk.Approvals(r.Context())
	out := make([]apiApproval, len(found))
	for i, a := range found {
		out[i] = apiApproval{
			ID: a.ID, Kind: a.Kind, Client: a.Client, Verified: a.Verified, Name: a.ClientName, Provider: a.Provider, Account: a.Account,
			Method: a.Method, URL: a.URL, Preview: a.Preview, Why: a.Why, CreatedAt: a.CreatedAt, ExpiresAt: a.ExpiresAt,
		}
		for _, b := range answers(&a) {
			out[i].Answers = append(out[i].Answers, b.Word)
		}
	}
	return map[string]any{"approvals": out}, err
}

type apiGrant struct {
	ID         string    `json:"id"`
	Client     string    `json:"client"`
	Name       string    `json:"client_name,omitempty"` // what a verified one called itself
	Connection string    `json:"connection"`
	Kind       string    `json:"kind"`
	Access     string    `json:"access,omitempty"`
	Methods    []string  `json:"methods"`
	Hosts      []string  `json:"hosts"`
	Paths      []string  `json:"paths"`
	Until      time.Time `json:"until,omitzero"`
	CreatedAt  time.Time `json:"created_at"`
}

func (s *Site) apiGrants(r *http.Request, desk auth.Desk) (any, error) {
	found, err := desk.Grants(r.Context())
	out := make([]apiGrant, len(found))
	for i, g := range found {
		out[i] = apiGrant{g.ID, g.Client, g.ClientName, g.Connection, g.Kind, g.Access, list(g.Methods), list(g.Hosts), list(g.Paths), g.Until, g.CreatedAt}
	}
	return map[string]any{"grants": out}, err
}

type apiEvent struct {
	ID         string            `json:"id"`
	Of         string            `json:"of,omitempty"`
	At         time.Time         `json:"at"`
	Client     string            `json:"client,omitempty"`
	Kind       string            `json:"kind"`
	Provider   string            `json:"provider,omitempty"`
	Connection string            `json:"connection,omitempty"`
	Request    string            `json:"request,omitempty"`
	Decision   string            `json:"decision"`
	Outcome    string            `json:"outcome,omitempty"` // "unknown" for a call without one
	Detail     map[string]string `json:"detail,omitempty"`
}

func (s *Site) apiEvents(r *http.Request, desk auth.Desk) (any, error) {
	found, err := desk.Events(r.Context(), eventFilter(r.URL.Query()))
	out := make([]apiEvent, len(found))
	for i, e := range found {
		out[i] = apiEvent{e.ID, e.Of, e.At, e.Client, e.Kind, e.Provider, e.Connection, e.Request, e.Decision, e.Outcome, e.Detail}
	}
	return map[string]any{"events": out}, err
}

// eventFilter reads kind, client, connection, before (RFC 3339) and limit (1 to 500; otherwise 100).
func eventFilter(q url.Values) auth.EventFilter {
	f := auth.EventFilter{Kind: q.Get("kind"), Client: q.Get("client"), Connection: q.Get("connection"), Limit: 100}
	if n, err := strconv.Atoi(q.Get("limit")); err == nil && n > 0 && n <= 500 {
		f.Limit = n
	}
	if t, err := time.Parse(timeFormat, q.Get("before")); err == nil {
		f.Before = t
	}
	return f
}

type apiProvider struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Methods []string `json:"methods"`
	Scopes  []string `json:"scopes"`
	Ready   bool     `json:"ready"`
	Missing string   `json:"missing,omitempty"`
	Custom  bool     `json:"custom"`
}

func (s *Site) apiProviders(r *http.Request, _ auth.Desk) (any, error) {
	owner, _ := s.owner(r)
	found, err := s.vault.Providers(r.Context(), auth.Caller{Owner: *owner, Client: auth.ClientOwner, Verified: true}, r.URL.Query().Get("query"), "", 500)
	out := make([]apiProvider, len(found))
	for i, p := range found {
		out[i] = apiProvider{p.ID, p.Name, list(p.Methods), list(p.Scopes), p.Ready, p.Missing, p.Custom}
	}
	return map[string]any{"providers": out}, err
}

func (s *Site) apiRevoke(r *http.Request, desk auth.Desk) (any, error) {
	var in struct {
		Provider string `json:"provider"`
		Account  string `json:"account"`
		Request  string `json:"request_id"`
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if in.Provider == "" && in.Request == "" {
		return nil, auth.ErrInvalid.Say("name a provider (and an account) or a request_id")
	}
	ended, err := desk.Revoke(r.Context(), auth.Unwanted{Provider: in.Provider, Account: in.Account, RequestID: in.Request})
	if err != nil {
		return nil, err
	}
	type gone struct {
		Provider   string `json:"provider"`
		Account    string `json:"account"`
		AtProvider string `json:"at_provider"`
	}
	out := []gone{}
	for _, c := range ended.Connections {
		out = append(out, gone{c.Provider, c.Account, c.AtProvider})
	}
	return map[string]any{"connections": out, "request_id": ended.Request}, nil
}

func (s *Site) apiDecide(r *http.Request, desk auth.Desk) (any, error) {
	var in struct {
		Answer string `json:"answer"` // one of the approval's answers
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	a, err := desk.Approval(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	decision, err := decisionOf(a, in.Answer)
	if err != nil {
		return nil, auth.ErrInvalid.Say("answer must be one of the approval's answers")
	}
	return map[string]any{"id": a.ID, "answer": in.Answer}, desk.Decide(r.Context(), a.ID, decision)
}

func (s *Site) apiEndGrant(r *http.Request, desk auth.Desk) (any, error) {
	id := r.PathValue("id")
	return map[string]any{"id": id}, desk.EndGrant(r.Context(), id)
}

// list is never null in JSON.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
