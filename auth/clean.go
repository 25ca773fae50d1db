package auth

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/latchpost/latchpost/auth/egress"
)

const (
	maxCallAnswer = 1 << 20 // decoded bytes that come back
	// readAhead is how much more is read than is shown: as much as is usually left out at the end of an answer that was cut.
	readAhead = 16 << 10
)

var (
	insufficientScope = regexp.MustCompile(`(?i)\berror\s*=\s*"?insufficient_scope\b`)
	// parameter is one of a challenge: its value is a quoted string or a token (RFC 9110 section 11.2).
	parameter = regexp.MustCompile(`([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))`)
)

// scopeOf is the scope that a challenge names, "" when it names none.
func scopeOf(challenge string) string {
	for _, p := range parameter.FindAllStringSubmatch(challenge, -1) {
		if strings.EqualFold(p[1], "scope") {
			return p[2] + p[3]
		}
	}
	return ""
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
	body, wide := fromUTF16(out.ContentType, a.resp.Body)
	if wide && out.ContentType != "" {
		out.ContentType = inUTF8(out.ContentType)
		out.Headers["content-type"] = out.ContentType
	}
	headless, tailless := a.cut()
	if headless {
		body = fromRune(body)
	}
	if tailless {
		body = wholeRunes(body)
	}
	if out.Text = isText(out.ContentType, body); out.Text {
		body = []byte(egress.Sanitize(string(body)))
	}
	body, found := redactor.RedactPiece(body, headless, tailless)
	out.Redacted = out.Redacted || found
	out.Body = body[:min(len(body), maxCallAnswer)]
	if out.Truncated = headless || tailless || len(out.Body) < len(body); out.Truncated && out.Text {
		out.Body = wholeRunes(fromRune(out.Body))
	}
	return out
}

// cut reports whether the answer begins, and whether it ends, in the middle of something: it was too long, or the agent
// asked for a Range of bytes (RFC 9110 section 14.4). A range of anything else is made of whole records.
func (a *sending) cut() (head, tail bool) {
	tail = a.resp.Truncated
	of := a.resp.Header.Get("Content-Range")
	if unit, _, _ := strings.Cut(of, " "); a.resp.Status != http.StatusPartialContent || of != "" && !strings.EqualFold(unit, "bytes") {
		return false, tail
	}
	var first, last, length int64
	read, _ := fmt.Sscanf(of, "bytes %d-%d/%d", &first, &last, &length)
	return read == 0 || first > 0, tail || read < 3 || last+1 != length
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

// fromRune drops what is left of a character that was cut at the beginning.
func fromRune(b []byte) []byte {
	for i := range min(len(b), utf8.UTFMax) {
		if utf8.RuneStart(b[i]) {
			return b[i:]
		}
	}
	return b
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
	if kind, binary := isBinary(contentType); binary {
		return kind == "image/svg+xml" && utf8.Valid(body)
	}
	return utf8.Valid(body) && bytes.IndexByte(body, 0) < 0
}

// isBinary reports whether a type is of something that is not read.
func isBinary(contentType string) (kind string, binary bool) {
	kind, _, _ = mime.ParseMediaType(contentType)
	return kind, slices.ContainsFunc([]string{"image/", "audio/", "video/", "font/", "application/pdf", "application/zip", "application/octet-stream"},
		func(binary string) bool { return strings.HasPrefix(kind, binary) })
}
