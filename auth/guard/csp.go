package guard

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// CSP is what a page may load, beyond nothing. Each entry is 'self', an origin such as https://host:port or ws://host:port,
// or, for Images only, data: or blob:. There is no way to say 'unsafe-inline' or a wildcard.
type CSP struct {
	Scripts, Styles, Images, Fonts, Connect, Frames []string
	Forms                                           []string // where forms may be sent, redirects included: the provider of this flow
	FrameAncestors                                  []string // who may embed the page
}

var source = regexp.MustCompile(`^('self'|(https?|wss?)://([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[::1\])(:[0-9]{1,5})?)$`)

// Set puts the policy on the answer in place of the default one. On an error the default stays.
func (p CSP) Set(w http.ResponseWriter) error {
	policy := []string{"default-src 'none'", "base-uri 'none'"}
	for _, d := range []struct {
		name    string
		sources []string
		always  bool // the directive does not fall back to default-src
	}{
		{"script-src", p.Scripts, false}, {"style-src", p.Styles, false}, {"img-src", p.Images, false}, {"font-src", p.Fonts, false},
		{"connect-src", p.Connect, false}, {"frame-src", p.Frames, false}, {"form-action", p.Forms, true}, {"frame-ancestors", p.FrameAncestors, true},
	} {
		for _, s := range d.sources {
			if !source.MatchString(s) && !(d.name == "img-src" && (s == "data:" || s == "blob:")) {
				return fmt.Errorf("guard: %q cannot stand in %s", s, d.name)
			}
		}
		switch {
		case len(d.sources) > 0:
			policy = append(policy, d.name+" "+strings.Join(d.sources, " "))
		case d.always:
			policy = append(policy, d.name+" 'none'")
		}
	}
	w.Header().Set("Content-Security-Policy", strings.Join(policy, "; "))
	if len(p.FrameAncestors) > 0 {
		w.Header()["X-Frame-Options"] = nil // it knows no list
	}
	return nil
}
