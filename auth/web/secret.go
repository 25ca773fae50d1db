package web

import (
	"errors"
	"net/http"
	"strings"

	"github.com/latchpost/latchpost/auth"
)

// secretPage is /secret/{id}, the form for a key. A value that was sent never comes back.
type secretPage struct {
	*auth.View
	Token   string
	Hosts   []string
	Problem string
}

func (s *Site) secret(w http.ResponseWriter, r *http.Request) error {
	return s.showSecret(w, r, http.StatusOK, "")
}

func (s *Site) showSecret(w http.ResponseWriter, r *http.Request, status int, problem string) error {
	id := r.PathValue("id")
	cookie := s.flowCookie(r, id)
	view, err := s.visit(r, cookie).Open(r.Context(), id)
	if err != nil {
		return err
	}
	if q := view.Request; !view.Confirms || q.Method != auth.MethodAPIKey || q.State != auth.Redirected {
		return see(w, r, "/c/"+id) // which knows where to go from there
	}
	return s.show(w, r, status, "secret", "Key for "+view.Provider.Name, secretPage{
		View: view, Token: s.token(r, "secret "+id, cookie, formTTL), Hosts: credentialHosts(view), Problem: problem,
	})
}

func (s *Site) submitSecret(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	cookie := s.flowCookie(r, id)
	visit := s.visit(r, cookie)
	view, err := visit.Open(r.Context(), id)
	if err != nil {
		return err
	}
	if _, err := s.spend(r, "secret "+id, cookie); err != nil {
		return err
	}
	fields := map[string]auth.Secret{}
	for _, f := range view.Provider.APIKey.Form() {
		fields[f.Name] = auth.NewSecret(strings.TrimSpace(r.PostForm.Get("field_" + f.Name)))
	}
	err = visit.Submit(r.Context(), id, auth.Input{Fields: fields})
	if errors.Is(err, auth.ErrInvalid) || errors.Is(err, auth.ErrRefused) || errors.Is(err, auth.ErrUnavailable) {
		t := s.tell(r, err)
		return s.showSecret(w, r, t.Status, t.Message)
	}
	if err != nil {
		return err
	}
	return see(w, r, "/done/"+id)
}
