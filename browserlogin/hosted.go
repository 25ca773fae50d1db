package browserlogin

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/latchpost/latchpost/auth/egress"
)

// A hosted browser may bring a live view of its own. The address of that view is a
// credential: whoever has it drives the page. It is the address of one page, goes by the
// WebSocket to the viewer of that page's login, and stands nowhere else: no error here holds it.

// liveView is how a service gives out the address of its view of one page.
type liveView struct {
	template string   // an address with targetMark in it, or
	command  string   // a CDP command for the page's session, whose answer has the address
	hosts    []string // where an address may lead
	secrets  []string // of the CDP address; an answer that repeats one would give away the whole browser
	loopback bool
}

const targetMark = "${target_id}"

const (
	linkTimeout = 5 * time.Second
	mostLinks   = 30 // that one login asks a service for
)

var (
	errNoAnswer    = errors.New("the service does not answer in time")
	errServiceSays = errors.New("the service reports an error, or no address")
	errLinkForm    = errors.New("the address is not one of https that people could be sent to")
	errLinkHost    = errors.New("the address leads to a host that is not in --browser-live-view-hosts")
	errLinkSecret  = errors.New("the address repeats a part of the one in --browser, with which people could reach the browsers of others")
	errManyLinks   = errors.New("too many addresses were asked for")

	commandName = regexp.MustCompile(`^[A-Za-z]+\.[A-Za-z]+$`)
	targetID    = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)
)

// parseLiveView reads the values of --browser-live-view and --browser-live-view-hosts. nil is our own view.
func parseLiveView(o Options, k kind) (*liveView, error) {
	if o.LiveView == "" || o.LiveView == "own" {
		return nil, nil
	}
	at, err := url.Parse(k.cdp)
	if err != nil || k.cdp == "" {
		return nil, errors.New("--browser-live-view is for browsers elsewhere: give --browser cdp:URL too")
	}
	l := &liveView{hosts: []string{strings.ToLower(at.Hostname())}, secrets: secretsOf(at), loopback: o.Loopback}
	for _, host := range o.LiveHosts {
		if t, err := egress.Parse("https://"+host+"/", egress.ParseOptions{Loopback: o.Loopback}); err != nil || t.Host != host {
			return nil, errors.New("--browser-live-view-hosts has to be host names in lower case, with commas, such as live.example.com")
		}
		l.hosts = append(l.hosts, host)
	}
	if command, ok := strings.CutPrefix(o.LiveView, "command:"); ok {
		if !commandName.MatchString(command) {
			return nil, errors.New("--browser-live-view command: has to be followed by the name of a CDP command, such as Browserless.liveURL")
		}
		l.command = command
		return l, nil
	}
	if !strings.Contains(o.LiveView, targetMark) {
		return nil, fmt.Errorf("--browser-live-view has to be own, command:NAME or an address with %s where the page's id goes (in a shell, in single quotes)", targetMark)
	}
	l.template = o.LiveView
	// Two ids: a host that depends on the id would be another one for each.
	for _, id := range []string{"A", "B"} {
		if _, err := l.check(strings.ReplaceAll(l.template, targetMark, id)); err != nil {
			return nil, fmt.Errorf("--browser-live-view: %w", err)
		}
	}
	return l, nil
}

// secretsOf are the parts of a CDP address that may open more than one page.
func secretsOf(u *url.URL) []string {
	long := func(least int, parts ...string) (all []string) {
		for _, s := range parts {
			if len(s) >= least {
				all = append(all, s)
			}
		}
		return all
	}
	password, _ := u.User.Password()
	all := long(8, u.User.Username(), password)
	for _, values := range u.Query() {
		all = append(all, long(8, values...)...)
	}
	return append(all, long(16, strings.Split(u.Path, "/")...)...)
}

// check decides whether a person may be sent to an address, and gives its host as far as it can be read.
func (l *liveView) check(address string) (host string, err error) {
	t, err := egress.Parse(address, egress.ParseOptions{Loopback: l.loopback})
	if err != nil {
		return "", errLinkForm
	}
	if !slices.Contains(l.hosts, t.Host) {
		return t.Host, errLinkHost
	}
	return t.Host, nil
}

// link asks for the address of the service's view of a page. left is how long the login may last.
func (l *liveView) link(page CDP, left time.Duration) (address, host string, err error) {
	method, params := "Target.getTargetInfo", map[string]any(nil)
	if l.command != "" {
		// These are Browserless's words. Its view of the whole browser would show the pages of other people too.
		method, params = l.command, map[string]any{"timeout": left.Milliseconds(), "interactable": true, "showBrowserInterface": false}
	}
	type answer struct {
		m   map[string]any
		err error
	}
	answered := make(chan answer, 1)
	go func() { // ends with the page at the latest
		m, err := page.Send(method, params)
		answered <- answer{m, err}
	}()
	var a answer
	select {
	case a = <-answered:
	case <-time.After(linkTimeout):
		return "", "", errNoAnswer
	}
	if a.err != nil || a.m["error"] != nil {
		return "", "", errServiceSays
	}
	if l.command != "" {
		address, _ = a.m["liveURL"].(string)
		for _, secret := range l.secrets {
			if strings.Contains(address, secret) || strings.Contains(address, url.QueryEscape(secret)) {
				return "", "", errLinkSecret
			}
		}
	} else {
		info, _ := a.m["targetInfo"].(map[string]any)
		id, _ := info["targetId"].(string)
		if !targetID.MatchString(id) {
			return "", "", errServiceSays
		}
		address = strings.ReplaceAll(l.template, targetMark, id)
	}
	if address == "" {
		return "", "", errServiceSays
	}
	host, err = l.check(address)
	return address, host, err
}

// offered is whom a link was asked for last, and of which tab.
type offered struct {
	viewer *viewer
	tab    *tab
}

// offer gives the viewer a link to the service's view of the tab in front. When the
// service has none to give, the person gets our view.
func (s *session) offer(t *tab) {
	s.mu.Lock()
	now := offered{s.view, t}
	if now.viewer == nil || !s.hosted || s.offered == now || t.handed && s.holder != now.viewer.cookie { // the last is for withdraw
		s.mu.Unlock()
		return
	}
	s.offered = now
	s.links++
	many := s.links > mostLinks
	s.send(map[string]any{"t": "hosted", "on": true})
	s.mu.Unlock()
	address, host, err := "", "", errManyLinks
	if !many {
		address, host, err = s.pool.live.link(t.cdp, time.Until(s.ends))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hosted || s.over || s.ctx.Err() != nil || s.view != now.viewer || s.front != t {
		if s.offered == now { // so that it is asked again when this tab is in front again
			s.offered = offered{}
		}
		return
	}
	if err != nil {
		s.pool.logf("the service's live view is not used", "site", s.login.Name, "why", err)
		s.showOurs("The service that runs the browser did not open its own view. You see Latchpost’s view of it instead.")
		return
	}
	t.handed, s.holder = true, now.viewer.cookie
	s.send(map[string]any{"t": "hosted", "on": true, "tab": t.id, "url": address, "host": host})
	s.attending.Do(func() { s.work.Go(s.attend) })
}

// showOurs changes to our own view for the rest of the login. s.mu is held.
func (s *session) showOurs(why string) {
	if !s.hosted || s.over {
		return
	}
	s.hosted = false
	s.send(map[string]any{"t": "hosted", "on": false, "s": why})
	s.work.Go(s.refresh)
}

// attend takes the person for active: what they do in the service's view is not seen
// from here. Options.Total ends the login all the same.
func (s *session) attend() {
	tick := time.NewTicker(s.pool.opt.Idle / 8)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		hosted := s.hosted
		s.mu.Unlock()
		if !hosted {
			return
		}
		s.alive()
	}
}

// withdraw ends the links that another browser of the person has: the pages that they
// lead to are closed, and new ones come with the same addresses.
func (s *session) withdraw() {
	s.mu.Lock()
	var held []*tab
	for _, t := range s.tabs {
		if t.handed {
			held = append(held, t)
		}
	}
	s.mu.Unlock()
	for _, t := range held {
		s.renew(t)
		t.page.Close()
	}
}
