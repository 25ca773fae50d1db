package browserlogin

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/egress"
)

// LV-010, in the browser: a site whose name leads elsewhere after its page has come. Whatever its script connects to then is looked
// up once, checked as it is, and refused. The site's own address passes here because the rules permit loopback, as a public one would.
func TestRebindingInTheBrowser(t *testing.T) {
	var mu sync.Mutex
	var came []string
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		came = append(came, r.URL.Path)
		w.Header().Set("Connection", "close") // the next request is a connection of its own
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<link rel=icon href="data:,"><pre id=result></pre><script>(async () => {
			for (let n = 0; n < 4; n++) result.textContent += await fetch("/again" + n, {cache: "no-store"}).then((r) => r.status, (e) => e.name) + " ";
			result.dataset.done = 1;
		})()</script>`)
	}))
	defer site.Close()
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(site.URL, "http://"))
	names := &resolver{names: map[string][]string{"rebind.example": {"127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "fd00:ec2::254"}}}
	rules := egress.New(egress.Options{Resolver: names, Loopback: true})
	var dialled []string
	b := newBench(t, func(o *Options) {
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := rules.DialContext(ctx, network, addr)
			if strings.HasPrefix(addr, "rebind.example:") {
				mu.Lock()
				defer mu.Unlock()
				dialled = append(dialled, string(egress.KindOf(err)))
			}
			return c, err
		}
	}, authtest.SiteOptions{})
	s, _ := b.start("alice", nil)
	b.open(s).await("waiting")
	page := s.front.page
	if err := page.Goto("http://rebind.example:" + port + "/"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "every attempt to end", func() bool { n, _ := page.Count(t.Context(), "#result[data-done]"); return n > 0 })
	if got := page.Text(t.Context(), "#result"); strings.TrimSpace(got) != "403 403 403 403" {
		t.Errorf("the script got %q", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(came) != 1 || came[0] != "/" {
		t.Errorf("after the name had changed the site was asked for %v", came)
	}
	for i, kind := range dialled {
		if want := map[bool]string{true: "", false: string(egress.KindAddress)}[i == 0]; kind != want {
			t.Errorf("connection %d ended with %q, not %q", i, kind, want)
		}
	}
	if looks := names.looks.Load(); looks != 5 || len(dialled) != 5 {
		t.Errorf("%d lookups for %d connections", looks, len(dialled))
	}
}
