package web

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// connectPage is /c/{id}: who asks for what, and the two buttons.
type connectPage struct {
	*auth.View
	Token   string
	Now     time.Time
	Owner   string   // whose connection it becomes; "" where there is one person only
	Asked   []string // scopes that are asked for in any case
	SignIn  string   // host of the page where the person signs in; "" when not known yet
	Hosts   []string // where the credential may go
	Ways    []string // methods that can start now, the request's own first
	Open    []auth.Question
	Settled []auth.Question // those that have an answer already
	Choice  auth.Choice     // what the person had chosen when a problem came up
	Problem string
}

// Uses reports whether the i-th way is the one that is preselected.
func (p connectPage) Uses(i int) bool {
	return p.Ways[i] == p.Choice.Method || i == 0 && !slices.Contains(p.Ways, p.Choice.Method)
}

// Ticks reports whether the person had ticked an extra scope.
func (p connectPage) Ticks(scope string) bool { return slices.Contains(p.Choice.Extra, scope) }

// connect shows a request. It changes nothing: link scanners come here too.
func (s *Site) connect(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	return s.showConnect(w, r, id, s.flowCookie(r, id), http.StatusOK, auth.Choice{}, "")
}

func (s *Site) showConnect(w http.ResponseWriter, r *http.Request, id, cookie string, status int, choice auth.Choice, problem string) error {
	view, err := s.visit(r, cookie).Open(r.Context(), id)
	if err != nil {
		return err
	}
	q := view.Request
	switch {
	case q.State.Over() || q.State == auth.Claimed || q.State == auth.Held:
		return see(w, r, "/done/"+q.ID)
	case q.State == auth.Redirected && q.UserCode != "":
		return s.showDevice(w, r, view, cookie)
	}
	if !view.Confirms {
		cookie = "" // a cookie that was there before the button was pressed counts for nothing
	}
	choice.Access = cmp.Or(choice.Access, view.Access)
	page := connectPage{
		View: view, Token: s.token(r, "connect "+q.ID, cookie, formTTL), Now: s.Now(), Choice: choice, Problem: problem,
		Hosts: credentialHosts(view), SignIn: signInHost(view),
	}
	for _, ask := range view.Asks {
		settled := ask.Default != ""
		if given, ok := choice.Vars[ask.Name]; ok {
			ask.Default = given
		}
		if settled {
			page.Settled = append(page.Settled, ask)
		} else {
			page.Open = append(page.Open, ask)
		}
	}
	if s.vault.Identified || q.Owner != auth.Local {
		page.Owner = q.Owner.String()
	}
	for _, scope := range q.Scopes {
		if !slices.Contains(view.Extra, scope) {
			page.Asked = append(page.Asked, scope)
		}
	}
	if view.AppReady {
		page.Ways = append(page.Ways, q.Method)
	}
	page.Ways = append(page.Ways, view.Methods...)
	return s.show(w, r, status, "connect", "Connect "+view.Provider.Name, page)
}

// credentialHosts names every host that is going to see the credential.
func credentialHosts(view *auth.View) []string {
	hosts := slices.Clone(view.Provider.API.Hosts)
	if b := view.Provider.Browser; b != nil && view.Request.Method == auth.MethodBrowser {
		hosts = append(hosts, b.Domains...)
	}
	for i := range hosts {
		hosts[i] = filled(view, hosts[i])
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// signInHost is the host of the page where the person signs in, or makes the key.
func signInHost(view *auth.View) string {
	p, page := view.Provider, ""
	switch {
	case view.Request.Method == auth.MethodBrowser && p.Browser != nil:
		page = p.Browser.LoginURL
	case view.Request.Method == auth.MethodAPIKey && p.APIKey != nil:
		page = p.APIKey.Create
	case p.OAuth2 != nil && p.OAuth2.Authorize.URL != "":
		page = p.OAuth2.Authorize.URL
	case p.OAuth2 != nil:
		page = p.OAuth2.Issuer
	}
	_, rest, _ := strings.Cut(filled(view, page), "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}

// filled shows a template with the answers that are known; what is not known yet reads as ‹name›.
func filled(view *auth.View, template string) string {
	var pairs []string
	for _, q := range view.Asks {
		if q.Default != "" {
			pairs = append(pairs, "${"+q.Name+"}", q.Default)
		}
	}
	return strings.NewReplacer(append(pairs, "${", "‹", "}", "›")...).Replace(template)
}

// confirm is the button: it binds the request to this browser and starts the sign-in.
func (s *Site) confirm(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	cookie, err := s.formCookie(r, id)
	if err != nil {
		return err
	}
	visit := s.visit(r, cookie)
	if r.PostForm.Get("do") != "connect" {
		if err := visit.Decline(r.Context(), id); err != nil {
			return err
		}
		return see(w, r, "/done/"+id)
	}
	choice := choiceOf(r.PostForm)
	step, err := visit.Confirm(r.Context(), id, choice)
	if err == nil || bound(err) {
		s.setFlowCookie(w, id, cookie)
	}
	if err != nil && bound(err) {
		t := s.tell(r, err)
		return s.showConnect(w, r, id, cookie, t.Status, choice, t.Message)
	}
	if err != nil {
		return err
	}
	switch {
	case step.Redirect != "":
		return s.leave(w, r, id, cookie, step.Redirect)
	case step.Page != "":
		return see(w, r, step.Page)
	case step.UserCode != "":
		return see(w, r, "/c/"+id)
	}
	return see(w, r, "/done/"+id)
}

// bound reports an error after which the request is, or may be, this browser's.
func bound(err error) bool {
	return !errors.Is(err, auth.ErrNotYours) && !errors.Is(err, auth.ErrNotFound) && !errors.Is(err, auth.ErrUsed) && !errors.Is(err, auth.ErrExpired) && !errors.Is(err, auth.ErrDeclined)
}

// formCookie checks the token of a form on the connect page, and gives the cookie
// that its browser has, or gets when the form goes through.
func (s *Site) formCookie(r *http.Request, id string) (string, error) {
	if cookie := s.flowCookie(r, id); cookie != "" {
		if _, err := s.spend(r, "connect "+id, cookie); err == nil {
			return cookie, nil
		}
	}
	nonce, err := s.spend(r, "connect "+id, "")
	if err != nil {
		return "", err
	}
	return s.cookieValue(id, nonce), nil
}

func choiceOf(form url.Values) auth.Choice {
	c := auth.Choice{Access: form.Get("access"), Extra: form["extra"], Method: form.Get("method"), Vars: map[string]string{}}
	for name := range form {
		if v, ok := strings.CutPrefix(name, "var_"); ok && strings.TrimSpace(form.Get(name)) != "" {
			c.Vars[v] = strings.TrimSpace(form.Get(name))
		}
	}
	return c
}

// leave sends the person to the provider by a page with a link that follows itself. A
// redirect of the form would be stopped: form-action covers every hop of it, and
// providers hop over hosts that nobody can list.
func (s *Site) leave(w http.ResponseWriter, r *http.Request, id, cookie, target string) error {
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return auth.ErrConfig.Say("the sign-in address of this provider is not a web address; its definition has to be corrected")
	}
	view, err := s.visit(r, cookie).Open(r.Context(), id)
	if err != nil {
		return err
	}
	w.Header().Set("Refresh", "0; url="+u.String())
	return s.show(w, r, http.StatusOK, "leave", "On to "+view.Provider.Name, struct {
		*auth.View
		Target, Host string
	}{view, u.String(), u.Host})
}

// showDevice shows the code of a device sign-in and looks again until it is done. The provider may give it longer than the
// cookie lives, so each look renews that.
func (s *Site) showDevice(w http.ResponseWriter, r *http.Request, view *auth.View, cookie string) error {
	host := ""
	if u, err := url.Parse(view.Request.VerifyURL); err == nil && (u.Scheme == "https" || u.Scheme == "http") {
		host = u.Host
	}
	s.setFlowCookie(w, view.Request.ID, cookie)
	refresh(w, 3)
	return s.show(w, r, http.StatusOK, "device", "Enter this code", struct {
		*auth.View
		Token, Host string
	}{view, s.token(r, "connect "+view.Request.ID, cookie, formTTL), host})
}

// refresh has the browser look again after some seconds, without script.
func refresh(w http.ResponseWriter, seconds int) {
	w.Header().Set("Refresh", strconv.Itoa(seconds))
}

// enterApp takes the OAuth app that the request lacks.
func (s *Site) enterApp(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	cookie, err := s.formCookie(r, id)
	if err != nil {
		return err
	}
	secret := auth.NewSecret(strings.TrimSpace(r.PostForm.Get("client_secret")))
	answers := choiceOf(r.PostForm)
	err = s.visit(r, cookie).SetApp(r.Context(), id, strings.TrimSpace(r.PostForm.Get("client_id")), secret, answers.Vars)
	if errors.Is(err, auth.ErrInvalid) {
		t := s.tell(r, err)
		return s.showConnect(w, r, id, s.flowCookie(r, id), t.Status, answers, t.Message)
	}
	if err != nil {
		return err
	}
	return see(w, r, "/c/"+id)
}
