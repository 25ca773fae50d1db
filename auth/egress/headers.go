package egress

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
)

const (
	maxHeaders     = 32
	maxHeaderValue = 4 << 10
)

// sendable are the request headers that an agent may set anywhere.
var sendable = []string{"Accept", "Accept-Language", "Content-Language", "Content-Type", "Idempotency-Key", "If-Match",
	"If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Prefer", "Range"}

// reserved are request headers that no provider definition can open to agents, beside those that Do decides and the
// families in isReserved: they carry credentials, or change where the request goes or what it means.
var reserved = []string{"Accept-Charset", "Authorization", "Cookie", "Cookie2", "User-Agent", "Forwarded", "Via", "Origin", "Referer",
	"X-Real-Ip", "X-Http-Method", "X-Http-Method-Override", "X-Method-Override", "X-Original-Url", "X-Rewrite-Url",
	"Http2-Settings", "Max-Forwards"}

// RequestHeaders turns the headers that an agent asks for into the ones to send. Allowed are a few standard fields
// (sendable) and extra, exact names from the provider's definition; anything else, a control or non-ASCII character,
// the same name twice, or a value over 4 KiB is an *Error of KindRequest that names the header. So is what would have
// the API write or slice its answer in a way that hides a secret from the Redactor.
func RequestHeaders(asked map[string]string, extra []string) (http.Header, error) {
	if len(asked) > maxHeaders {
		return nil, badRequest("more than " + strconv.Itoa(maxHeaders) + " headers")
	}
	header := make(http.Header, len(asked))
	for name, value := range asked {
		key := http.CanonicalHeaderKey(name)
		switch {
		case !httpguts.ValidHeaderFieldName(name) || !maySend(key, extra):
			return nil, badRequest("header " + quote(name) + " cannot be set; leave it out")
		case header[key] != nil:
			return nil, badRequest("header " + quote(name) + " is given twice")
		case len(value) > maxHeaderValue:
			return nil, badRequest("header " + quote(name) + " is longer than 4 KiB")
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }):
			return nil, badRequest("header " + quote(name) + " holds a character that is not printable ASCII")
		case key == "Accept" && otherCharset(value):
			return nil, badRequest("header " + quote(name) + " asks for another character set; ask for utf-8, or name none")
		case key == "Range" && strings.HasPrefix(strings.ToLower(strings.TrimSpace(value)), "bytes") && strings.Contains(value, ","):
			return nil, badRequest("header " + quote(name) + " asks for several pieces; ask for one")
		}
		header[key] = []string{strings.TrimSpace(value)}
	}
	return header, nil
}

var charset = regexp.MustCompile(`(?i)charset\s*=\s*["']?([^\s"',;]*)`)

// otherCharset reports whether a value asks for text that is not written as ASCII is.
func otherCharset(accept string) bool {
	return slices.ContainsFunc(charset.FindAllStringSubmatch(accept, -1), func(found []string) bool {
		return !slices.Contains([]string{"utf-8", "utf8", "us-ascii", "iso-8859-1"}, strings.ToLower(found[1]))
	})
}

func maySend(key string, extra []string) bool {
	if slices.Contains(sendable, key) {
		return true
	}
	return !isReserved(key) && slices.ContainsFunc(extra, func(e string) bool { return strings.EqualFold(e, key) })
}

func isReserved(key string) bool {
	return slices.Contains(reserved, key) || slices.Contains(ours, key) || strings.HasPrefix(key, "Proxy-") ||
		strings.HasPrefix(key, "Sec-") || strings.HasPrefix(key, "X-Forwarded-")
}

// quote shows a name from outside in an error, short and harmless.
func quote(name string) string { return strconv.QuoteToASCII(name[:min(len(name), 64)]) }

// returnable are the answer's headers that an agent sees.
var returnable = []string{"Accept-Ranges", "Allow", "Content-Disposition", "Content-Language", "Content-Range", "Content-Type",
	"Date", "Deprecation", "Etag", "Last-Modified", "Link", "Preference-Applied", "Retry-After", "Sunset", "X-Request-Id",
	"X-Total-Count"}

// ResponseHeaders keeps the headers that help an agent go on: the fields in returnable and every rate limit. A Location
// is reduced to its host, under Location-Host: the rest may hold a credential or a lure. Values over 4 KiB are left out.
// The secrets of the call are still to be redacted, so values lose here whatever somebody might take out of them later,
// by Sanitize and what else does not print: a secret that it had taken apart would be whole afterwards.
func ResponseHeaders(got http.Header) http.Header {
	header := make(http.Header)
	for name, values := range got {
		if !mayReturn(name) {
			continue
		}
		for _, v := range values {
			if len(v) <= maxHeaderValue {
				header.Add(name, strings.Map(printing, Sanitize(v)))
			}
		}
	}
	if u, err := url.Parse(got.Get("Location")); err == nil && u.Host != "" && strings.Trim(strings.ToLower(u.Host), hostCharacters) == "" {
		header.Set("Location-Host", u.Host)
	}
	return header
}

// hostCharacters are those of a name or an IPv4 address with its port.
const hostCharacters = "abcdefghijklmnopqrstuvwxyz0123456789-_.:"

func printing(r rune) rune {
	if r == utf8.RuneError || r != '\t' && !unicode.IsGraphic(r) {
		return -1
	}
	return r
}

func mayReturn(name string) bool {
	key := http.CanonicalHeaderKey(name)
	return slices.Contains(returnable, key) || strings.HasPrefix(key, "X-Ratelimit-") ||
		strings.HasPrefix(key, "X-Rate-Limit-") || key == "Ratelimit" || strings.HasPrefix(key, "Ratelimit-")
}
