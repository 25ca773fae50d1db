package browserlogin

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth/authtest"
)

// LV-018: a site whose certificate proves nothing is left, in a window that it opens too. The browser's own warning has a way past it,
// behind which the address line would say that all is well.
func TestCertificateThatProvesNothing(t *testing.T) {
	var opened atomic.Int32
	evil := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		opened.Add(1)
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><input type=password>`)
	}))
	evil.Config.ErrorLog = discardLog
	evil.StartTLS()
	defer evil.Close()
	home := pages(t, map[string]string{"/": `<a id=here href="` + evil.URL + `/here">here</a> <a id=window href="` + evil.URL + `/window" target=_blank>window</a>`})
	b := newBench(t, nil, authtest.SiteOptions{})
	for _, way := range []string{"", "#here", "#window"} {
		at := home.URL
		if way == "" {
			at = evil.URL
		}
		s, p := b.at(t, at)
		p.await("waiting")
		if way != "" {
			p.click(way)
		}
		eventually(t, "the word about the certificate after "+way, func() bool {
			text, _ := p.page.Locator("#away").InnerText()
			return strings.Contains(text, "certificate")
		})
		p.shot("27-certificate")
		eventually(t, "the way back from the warning", func() bool { return p.front().URL() == "about:blank" })
		p.write("thisisunsafe") // which is a way past the warning, too
		<-time.After(500 * time.Millisecond)
		if at := s.front.page.URL(); at != "about:blank" {
			t.Errorf("%s: the page is at %s", way, at)
		}
		if _, err := p.front().Goto(home.URL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the next page without a warning", func() bool {
			text, _ := p.page.Locator("#away").InnerText()
			return !strings.Contains(text, "certificate")
		})
		p.leaves()
	}
	if n := opened.Load(); n > 0 {
		t.Errorf("it was opened %d times", n)
	}
}
