package egress

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	redacted = "[redacted]"
	// ShortestSecret is the length from which a secret is looked for. A shorter one (a PIN) turns up by chance
	// everywhere: its redaction would ruin answers and at the same time tell what it is.
	ShortestSecret = 6
	// layers is how many escapes are undone, one within the other: a URL in JSON in JSON.
	layers = 3
)

// Redactor removes secrets from text that comes back from outside. It is immutable and safe for concurrent use.
type Redactor struct {
	find *finder
	mark string // what stands in a secret's place
	// looksEscaped says that a secret holds a character with which escapes begin. Undoing all kinds of escapes at once
	// can then undo a part of the secret itself, so the kinds are tried one by one as well.
	looksEscaped bool
}

// NewRedactor prepares to remove the secrets. Those shorter than 6 bytes are ignored.
func NewRedactor(secrets ...[]byte) *Redactor {
	r := &Redactor{find: new(finder), mark: redacted}
	for _, s := range secrets {
		if len(s) < ShortestSecret {
			continue
		}
		for _, s := range readings(s) {
			r.find.add(spellings(s))
		}
		r.looksEscaped = r.looksEscaped || bytes.ContainsAny(s, `%\&`)
	}
	r.find.build()
	return r
}

// Naming gives a Redactor whose marks say whose the secrets were: "[redacted:name]".
func (r *Redactor) Naming(name string) *Redactor {
	named := *r
	named.mark = "[redacted:" + name + "]"
	return &named
}

// Redact returns b with every secret replaced by "[redacted]": as it is, in UTF-16, percent-encoded or, where it is encoded
// itself, decoded, as a JSON or HTML escape (any choice of characters escaped, in either case of hex, up to three layers deep), in
// hex, and in base64 (both alphabets, at every alignment inside a longer text), backwards, and broken into lines in any of these
// forms; what is ASCII also with any of these forms in UTF-16 or UTF-32. It does not see through hashing, encryption, compression or any other order. b is not changed.
func (r *Redactor) Redact(b []byte) []byte {
	out, _ := r.RedactPiece(b, false, false)
	return out
}

// RedactPiece is Redact for a piece of a text that was cut off before its beginning, behind its end, or both. Half a
// secret is not recognised, so what may be half of one at such an end is left out. found tells whether there were secrets.
func (r *Redactor) RedactPiece(b []byte, headless, tailless bool) (out []byte, found bool) {
	all := r.spans(b)
	shown := span{0, len(b)}
	if headless || tailless {
		inner := r.inner(b)
		if headless {
			shown.start = inner.start
		}
		if tailless {
			shown.end = max(inner.end, shown.start)
		}
	}
	if len(all) == 0 {
		return b[shown.start:shown.end], false
	}
	out = make([]byte, 0, shown.end-shown.start)
	end := shown.start
	for _, s := range all {
		if s.end <= shown.start || s.start >= shown.end {
			continue
		}
		if s.start >= end {
			out = append(out, b[end:s.start]...)
			out = append(out, r.mark...)
		}
		end = max(end, s.end)
	}
	if end < shown.end {
		out = append(out, b[end:shown.end]...)
	}
	return out, true
}

// inner is what of a piece cannot belong to a secret that was cut. However widely the half of it is written, as read it is
// shorter than the longest that is looked for, and the rest of an escape in each layer.
func (r *Redactor) inner(b []byte) span {
	if r.find.empty() {
		return span{0, len(b)}
	}
	plain, undone := b, []edits(nil)
	undo := func(text []byte, e edits) {
		if len(e) > 0 {
			plain, undone = text, append(undone, e)
		}
	}
	undo(narrow(plain))
	for range layers {
		undo(unescape(plain, anyEscape))
	}
	half := layers * longestEntity
	for _, p := range r.find.patterns {
		half = max(half, len(p.text)+layers*longestEntity)
	}
	first, last := 0, len(plain)
	for n := 0; n < half && first < len(plain); first++ { // blanks do not count: there may be line breaks among them
		if !blank(plain[first]) {
			n++
		}
	}
	for n := 0; n < half && last > 0; last-- {
		if !blank(plain[last-1]) {
			n++
		}
	}
	return span{first, last}.before(undone)
}

// RedactString is Redact for a string.
func (r *Redactor) RedactString(s string) string { return string(r.Redact([]byte(s))) }

// span is a piece of text, [start, end).
type span struct{ start, end int }

// spans finds all secrets in b, in order of their start; they may overlap.
func (r *Redactor) spans(b []byte) []span {
	if r.find.empty() {
		return nil
	}
	found := r.unescaped(r.look(b), b, nil)
	if plain, e := narrow(b); len(e) > 0 {
		undone := []edits{e}
		for _, f := range r.look(plain) {
			found = append(found, f.before(undone))
		}
		found = r.unescaped(found, plain, undone)
	}
	slices.SortFunc(found, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	return found
}

// unescaped adds to found what is escaped in text. undone leads from text back to the text that Redact was given.
func (r *Redactor) unescaped(found []span, text []byte, undone []edits) []span {
	found = r.escaped(found, text, undone, layers, anyEscape)
	if r.looksEscaped {
		found = r.escaped(found, text, undone, 2, percentEscape, backslashEscape, entityEscape)
	}
	return found
}

// before is the span in the text that was edited so, one after the other.
func (s span) before(undone []edits) span {
	for _, e := range slices.Backward(undone) {
		s = span{e.origin(s.start), e.origin(s.end)}
	}
	return s
}

// look finds the secrets of a text, those that are broken into lines too (base64 as in RFC 2045).
func (r *Redactor) look(text []byte) []span {
	found := r.find.all(text)
	whole, e := unfold(text)
	if len(e) == 0 {
		return found
	}
	for _, f := range r.find.all(whole) {
		if s := (span{e.origin(f.start), e.origin(f.end-1) + 1}); s.end-s.start > f.end-f.start {
			found = append(found, s)
		}
	}
	return found
}

// escaped adds to found what comes to light in text when escapes are undone, up to depth times, by each of the schemes.
func (r *Redactor) escaped(found []span, text []byte, undone []edits, depth int, schemes ...scheme) []span {
	if depth == 0 {
		return found
	}
	for _, s := range schemes {
		plain, e := unescape(text, s)
		if len(e) == 0 {
			continue
		}
		path := append(slices.Clip(undone), e)
		for _, f := range r.look(plain) {
			found = append(found, f.before(path))
		}
		found = r.escaped(found, plain, path, depth-1, schemes...)
	}
	return found
}

// readings are a secret, and what a server that takes it for a cookie's value may read and show: without its quotes, and
// without its percent-encoding (Express, PHP and Rails decode every cookie).
func readings(secret []byte) [][]byte {
	all := [][]byte{secret}
	if bare := bytes.TrimSuffix(bytes.TrimPrefix(secret, []byte(`"`)), []byte(`"`)); len(bare) == len(secret)-2 {
		all = append(all, bare)
	}
	if last := string(all[len(all)-1]); strings.Contains(last, "%") {
		if plain, ok := unpercent(last); ok {
			all = append(all, []byte(plain))
		}
	}
	return slices.DeleteFunc(all, func(s []byte) bool { return len(s) < ShortestSecret })
}

// spellings lists the forms of a secret that unescape does not lead back to it.
func spellings(secret []byte) []pattern {
	all := make([]pattern, 0, 13)
	add := func(text []byte) { all = append(all, pattern{text: text}) }
	lower := hex.AppendEncode(nil, secret)
	add(bytes.Clone(secret))
	add(lower)
	add(bytes.ToUpper(lower))
	if utf8.Valid(secret) {
		little, big := make([]byte, 0, 2*len(secret)), make([]byte, 0, 2*len(secret))
		for _, r := range string(secret) {
			var units [2]uint16
			for _, unit := range utf16.AppendRune(units[:0], r) {
				little, big = binary.LittleEndian.AppendUint16(little, unit), binary.BigEndian.AppendUint16(big, unit)
			}
		}
		add(little)
		add(big)
	}
	backwards := bytes.Clone(secret)
	slices.Reverse(backwards)
	add(backwards)
	if bytes.Contains(secret, []byte(" ")) { // in a form, a space is a plus
		add(bytes.ReplaceAll(secret, []byte(" "), []byte("+")))
	}
	shifted := append(make([]byte, 2, 2+len(secret)), secret...)
	for shift := range 3 {
		// Characters that also hold bits of the bytes before or behind the secret are left out.
		first, last := (shift*8+5)/6, (shift+len(secret))*8/6
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			all = append(all, pattern{text: enc.AppendEncode(nil, shifted[2-shift:])[first:last], base64: true})
		}
	}
	return all
}
