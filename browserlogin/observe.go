package browserlogin

import (
	"context"
	"errors"
	"time"
)

// settle is how long the rules have to hold before the pages count as at rest.
const settle = 600 * time.Millisecond

// observe watches the pages until the person is signed in and the captured
// session has proven itself in a second context.
func (s *session) observe(ctx context.Context, b Browser, c *Context, w *watch) (*Captured, error) {
	look := time.NewTicker(500 * time.Millisecond)
	defer look.Stop()
	var before []Cookie // as they were before the person did anything
	known := false
	verdicts := make(chan verdictOf, 1)
	busy := false
	var since time.Time // when the rules began to hold
	for {
		asked := false
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-b.Gone():
			return nil, ErrNoBrowser
		case <-look.C:
		case <-s.wake:
		case <-s.pressed:
			asked = true
		case v := <-verdicts:
			busy = false
			if errors.Is(v.err, ErrNoBrowser) { // a driver that dies does not say so
				return nil, v.err
			}
			if !known && v.err == nil {
				before, known = v.scene.cookies, true
			}
			switch {
			case v.err != nil || v.factor || !v.in && !v.asked:
				since = time.Time{}
				if v.asked && v.factor {
					s.note("The site still asks for a second step. Finish it, and the rest happens by itself.")
				}
				continue
			case !v.asked && since.IsZero():
				since = time.Now() // let the pages come to rest first
				continue
			case !v.asked && time.Since(since) < settle:
				continue
			}
			since = time.Time{}
			got, err := s.take(ctx, b, c, w, before)
			if err == nil || ctx.Err() != nil || errors.Is(err, ErrNoBrowser) {
				return got, err
			}
			s.tell(waiting, "")
			s.note(notYet(err))
			continue
		}
		if busy && !asked {
			continue
		}
		busy = true
		s.async(func() {
			v := s.look(c, w)
			v.asked = asked
			select {
			case verdicts <- v:
			case <-ctx.Done():
			}
		})
	}
}

func notYet(err error) string {
	if errors.Is(err, ErrDead) {
		return "The site does not take you for signed in yet. Go on with the sign-in."
	}
	return "The check did not work this time. Go on, or press “I’m signed in” to try again."
}

type verdictOf struct {
	scene      scene
	in, factor bool
	asked      bool // by the person
	err        error
}

// look evaluates the definition once. It blocks on the browser.
func (s *session) look(c *Context, w *watch) verdictOf {
	cookies, err := c.Cookies()
	if err != nil {
		return verdictOf{err: err}
	}
	s.mu.Lock()
	var pages []*Page
	var urls []string
	for _, t := range s.tabs {
		urls = append(urls, t.page.URL())
		t.mu.Lock()
		// A page with an open dialog, or a crashed one, would let us wait.
		if t.dialog == nil && !t.crashed {
			pages = append(pages, t.page)
		}
		t.mu.Unlock()
	}
	s.mu.Unlock()
	w.stand(urls)
	v := verdictOf{scene: scene{urls: urls, cookies: cookies, watch: w, count: func(selector string) bool {
		ctx, cancel := context.WithTimeout(s.ctx, patience) // a page that never rests must not keep the others from being seen
		defer cancel()
		seen := make(chan bool, len(pages))
		for _, p := range pages {
			go func() {
				n, err := p.Count(ctx, selector)
				seen <- err == nil && n > 0
			}()
		}
		for range pages {
			if <-seen {
				return true
			}
		}
		return false
	}}}
	v.factor = s.rules.atSecondFactor(v.scene)
	v.in = !v.factor && s.rules.signedIn(v.scene)
	return v
}

// take captures, restores, probes and names: only what works elsewhere counts.
func (s *session) take(ctx context.Context, b Browser, c *Context, w *watch, before []Cookie) (*Captured, error) {
	s.tell(checking, "")
	ctx, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	s.mu.Lock()
	var pages []*Page
	for _, t := range s.tabs {
		if t.openDialog() == nil {
			pages = append(pages, t.page)
		}
	}
	last := s.login.Site.LoginURL
	for _, p := range pages {
		at := p.URL()
		if a := readAddress(at); a.Scheme == "blob" || !s.rules.ours(a.Host) {
			continue
		}
		if last = at; s.rules.success.names(at) { // a window that is open beside it is not what the rules wait for
			break
		}
	}
	width, height := s.width, s.height
	s.mu.Unlock()
	w.mu.Lock()
	bound := w.bound
	w.mu.Unlock()
	got, err := capture(ctx, s.rules, c, pages, before, bound, width, height)
	if err != nil {
		return nil, err
	}
	if got.empty() {
		return nil, ErrDead
	}
	second, err := got.Bundle.restore(b, ContextOptions{insecureTLS: s.pool.opt.insecureTLS})
	if err != nil {
		return nil, err
	}
	defer second.Close()
	if err := probe(ctx, s.rules, second, last); err != nil {
		return nil, err
	}
	got.Account = identify(ctx, s.rules, second, last)
	// A site that renews its cookies on every use did so in the second context.
	if fresh, changed := got.Bundle.adopt(second); changed {
		got.Bundle = fresh
	}
	got.Bundle.in().Account = got.Account
	s.mu.Lock()
	s.result = &summary{got.Account, got.Kept, got.Cookies, got.Dropped, bound}
	s.mu.Unlock()
	return got, nil
}

// stateMessage is the phase as the viewer gets it. s.mu is held.
func (s *session) stateMessage() map[string]any {
	m := map[string]any{"t": "state", "phase": s.phase, "s": s.say}
	if s.phase == connected {
		m["result"] = s.result
	}
	return m
}
