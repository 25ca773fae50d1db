package auth

import (
	"bytes"
	"mime"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/latchpost/latchpost/auth/egress"
)

const (
	maxCallAnswer = 1 << 20 // decoded bytes that come back
	// widest is how many bytes of an answer one byte of a secret may take up: escaped in JSON within a URL within JSON.
	widest = 12
)

var (
	insufficientScope = regexp.MustCompile(`(?i)\berror\s*=\s*"?insufficient_scope\b`)
	scopeParameter    = regexp.MustCompile(`(?i)\bscope\s*=\s*"([^"]+)"`)
)

// margin is how much more is read than is shown. An answer that was cut may end
// within a secret, where half of it is not recognised; that end is never shown.
func (a *sending) margin() int64 {
	longest := 0
	for _, s := range a.secrets {
		longest = max(longest, len(s.Reveal()))
	}
	return int64(widest * longest)
}

// clean takes the secrets and the harmful bytes out of an answer. Invisible
// characters go first: a secret that they had taken apart would be whole afterwards.
func (a *sending) clean() *Response {
	redactor := a.redactor().Naming(a.conn.ID)
	out := &Response{Status: a.resp.Status, Headers: map[string]string{}, Account: a.conn.Account}
	for name, values := range egress.ResponseHeaders(a.resp.Header) {
		name, shown := strings.ToLower(name), strings.Join(values, ", ")
		if redactor.RedactString(name) != name || a.inName(name) || name == "location-host" && a.inName(strings.ToLower(shown)) {
			out.Redacted = true
			continue
		}
		clean := redactor.RedactString(shown)
		out.Headers[name] = clean
		out.Redacted = out.Redacted || clean != shown
	}
	out.ContentType = out.Headers["content-type"]
	out.LocationHost = out.Headers["location-host"]
	delete(out.Headers, "location-host")
	body := a.resp.Body
	if a.resp.Truncated {
		body = wholeRunes(body)
	}
	if out.Text = isText(out.ContentType, body); out.Text {
		body = []byte(egress.Sanitize(string(body)))
	}
	out.Body = redactor.Redact(body)
	out.Redacted = out.Redacted || !bytes.Equal(out.Body, body)
	shown := len(out.Body)
	if a.resp.Truncated {
		shown = max(0, shown-int(a.margin()))
	}
	if shown = min(shown, maxCallAnswer); shown < len(out.Body) || a.resp.Truncated {
		out.Body, out.Truncated = out.Body[:shown], true
	}
	if out.Truncated && out.Text {
		out.Body = wholeRunes(out.Body)
	}
	return out
}

// inName reports whether a secret stands in the name of a header or a host, which has no case and is given in lower.
func (a *sending) inName(name string) bool {
	return slices.ContainsFunc(a.secrets, func(s Secret) bool {
		return len(s.Reveal()) >= egress.ShortestSecret && strings.Contains(name, strings.ToLower(s.Reveal()))
	})
}

func (a *sending) redactor() *egress.Redactor { return redactor(a.secrets) }

func redactor(secrets []Secret) *egress.Redactor {
	raw := make([][]byte, len(secrets))
	for i, s := range secrets {
		raw[i] = []byte(s.Reveal())
	}
	return egress.NewRedactor(raw...)
}

// wholeRunes drops a character that was cut at the end.
func wholeRunes(b []byte) []byte {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if last := b[len(b)-i:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}

// isText decides by the bytes: what the API calls its answer is a hint.
func isText(contentType string, body []byte) bool {
	kind, _, _ := mime.ParseMediaType(contentType)
	for _, binary := range []string{"image/", "audio/", "video/", "font/", "application/pdf", "application/zip", "application/octet-stream"} {
		if strings.HasPrefix(kind, binary) {
			return kind == "image/svg+xml" && utf8.Valid(body)
		}
	}
	return utf8.Valid(body) && !slices.Contains(body, 0)
}
