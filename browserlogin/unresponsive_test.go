package browserlogin

import (
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

// A frame of another site whose script never rests, such as an advertisement, takes nothing away from the page around it.
func TestFrameThatNeverRests(t *testing.T) {
	stranger := pages(t, map[string]string{"/": `<script>setTimeout(() => { for (;;); }, 500)</script>`}) // when our script is in it
	home := pages(t, map[string]string{"/": `<input id=pw><iframe id=ad src="` + strings.Replace(stranger.URL, "127.0.0.1", "localhost", 1) + `"></iframe>`})
	b := newBench(t, nil, authtest.SiteOptions{})
	_, p := b.at(t, home.URL)
	p.await("waiting")
	time.Sleep(2 * time.Second)
	p.focus("#pw")
	for i := range 5 { // whichever frame is asked first
		p.paste("s")
		eventually(t, "what was pasted", func() bool { return p.value("#pw") == strings.Repeat("s", i+1) })
	}
	x, y := p.at("#ad")
	p.must(p.page.Mouse().Click(x, y))
	p.focus("#pw")
	p.write("t")
	eventually(t, "what was typed", func() bool { return p.value("#pw") == "ssssst" })
}

// A window of the site whose script never rests is one among others: its size, its picture and what is asked of it hold up nobody.
func TestWindowThatNeverRests(t *testing.T) {
	stranger := pages(t, map[string]string{"/": `<p id=busy>busy`})
	home := pages(t, map[string]string{"/": `<button id=go onclick="window.open('` + strings.Replace(stranger.URL, "127.0.0.1", "localhost", 1) + `')">Go</button>
		<input id=user oninput="document.body.id = 'account'">`})
	b := newBench(t, nil, authtest.SiteOptions{})
	s, _ := b.start("alice", func(d *providers.Browser) {
		d.LoginURL, d.Domains = home.URL, []string{strings.TrimPrefix(home.URL, "http://")}
		d.Success, d.SecondFactor = providers.Match{All: []providers.Condition{{Selector: "#account"}}}, nil
	})
	p := b.open(s)
	p.await("waiting")
	p.click("#go")
	p.seen("#busy")
	p.eval("void setTimeout(() => { for (;;); }, 100)")
	time.Sleep(time.Second)
	p.must(p.page.SetViewportSize(1000, 700))
	s.front.cast.nudge()
	time.Sleep(time.Second)
	p.must(p.page.Locator("#tabs [role=tab]").First().Click())
	eventually(t, "the window before", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.front == s.tabs[0] })
	p.focus("#user")
	p.write("alice")
	p.await("checking")
	p.leaves()
}
