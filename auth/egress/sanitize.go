package egress

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// invisible are characters that show nothing and are not in the category Cf: fillers, joiners, variation selectors.
var invisible = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x034f, 0x034f, 1}, {0x115f, 0x1160, 1}, {0x17b4, 0x17b5, 1}, {0x180b, 0x180f, 1}, {0x2028, 0x2029, 1},
		{0x2060, 0x206f, 1}, {0x3164, 0x3164, 1}, {0xfe00, 0xfe0f, 1}, {0xffa0, 0xffa0, 1}, {0xfff0, 0xfffb, 1},
	},
	R32: []unicode.Range32{{0xe0000, 0xe0fff, 1}},
}

// Sanitize makes text from outside harmless to show or to give to a model: it removes terminal escapes, control characters other than
// newline and tab, bidirectional controls, zero-width and other invisible characters, and Unicode tags, which can all
// hide words from the person who reads. Line ends become "\n", invalid UTF-8 becomes U+FFFD.
func Sanitize(text string) string {
	if isPlainText(text) {
		return text
	}
	text = strings.ToValidUTF8(text, "\ufffd")
	text = dropSequences(text)
	text = strings.NewReplacer("\r\n", "\n", "\u2028", "\n", "\u2029", "\n").Replace(text)
	return strings.Map(func(r rune) rune {
		if hides(r) {
			return -1
		}
		return r
	}, text)
}

// dropSequences takes terminal control sequences (ECMA-48) out of text, 7-bit and 8-bit. A regular expression that does
// it takes ten times as long as all the rest.
func dropSequences(text string) string {
	begins := func(r rune) bool { return r == 0x1b || 0x90 <= r && r <= 0x9f }
	at := strings.IndexFunc(text, begins)
	if at < 0 {
		return text
	}
	var b strings.Builder
	b.Grow(len(text))
	for ; at >= 0; at = strings.IndexFunc(text, begins) {
		b.WriteString(text[:at])
		text = text[at+sequence(text[at:]):]
	}
	b.WriteString(text)
	return b.String()
}

// sequence is how long the control sequence is with which text begins: strings such as OSC with their content, even
// when unterminated, CSI sequences, and two-character escapes.
func sequence(text string) int {
	first, n := utf8.DecodeRuneInString(text)
	if first == 0x1b && len(text) > 1 && '@' <= text[1] && text[1] <= '_' {
		first, n = rune(text[1])+0x40, 2 // its 8-bit form
	}
	run := func(low, high byte, most int) {
		for ; most > 0 && n < len(text) && low <= text[n] && text[n] <= high; most-- {
			n++
		}
	}
	switch first {
	case 0x90, 0x98, 0x9d, 0x9e, 0x9f:
		end := strings.IndexFunc(text[n:], func(r rune) bool { return r == 0x07 || r == 0x1b || r == 0x9c || r == '\n' })
		if end < 0 {
			return len(text)
		}
		n += end
		for _, terminator := range []string{"\x07", "\x1b\\", "\u009c"} {
			if strings.HasPrefix(text[n:], terminator) {
				return n + len(terminator)
			}
		}
	case 0x9b:
		run('0', '?', len(text))
		run(' ', '/', len(text))
		run('@', '~', 1)
	case 0x1b:
		run(' ', '/', len(text))
		run('0', '~', 1)
	}
	return n
}

// Visible is text for a person who decides whether it may be sent: what Sanitize would take out of it, and words with it,
// stands there as its code point, such as ‹U+202E›.
func Visible(text string) string {
	if isPlainText(text) {
		return text
	}
	var b strings.Builder
	for _, r := range strings.ReplaceAll(text, "\r\n", "\n") {
		if hides(r) {
			fmt.Fprintf(&b, "‹%U›", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// hides reports a character that shows nothing, or changes how others are shown.
func hides(r rune) bool {
	return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(invisible, r))
}

func isPlainText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\n' && c != '\t' || c > '~' {
			return false
		}
	}
	return true
}
