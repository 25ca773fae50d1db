package egress

import (
	"bytes"
	"sort"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// scheme is a set of ways to escape characters.
type scheme uint8

const (
	percentEscape   scheme = 1 << iota // %41 (RFC 3986)
	backslashEscape                    // \u0041, \x41, \n, \/ (JSON, JavaScript)
	entityEscape                       // &#65; &#x41; &amp; (HTML)

	anyEscape = percentEscape | backslashEscape | entityEscape
)

// edits tells where an unescaped text stems from: at each entry, the text at out is the source at in. From one
// entry to the next both run along.
type edits []edit

type edit struct{ out, in int32 }

// origin gives the place in the source of a place in the unescaped text.
func (e edits) origin(at int) int {
	i := sort.Search(len(e), func(i int) bool { return int(e[i].out) > at })
	if i == 0 {
		return at
	}
	return int(e[i-1].in) + at - int(e[i-1].out)
}

// begins are the characters with which escapes begin.
var begins = []struct {
	with byte
	of   scheme
}{{'%', percentEscape}, {'\\', backslashEscape}, {'&', entityEscape}}

// unescape undoes every escape of the scheme once. What is not an escape stays as it is. It returns no edits, and src
// itself, when there is none.
func unescape(src []byte, s scheme) ([]byte, edits) {
	var special [256]bool
	start, n := len(src), 0
	for _, b := range begins {
		if s&b.of == 0 {
			continue
		}
		if at := firstEscape(src, b.with); at >= 0 { // most texts have the character, but not as an escape
			special[b.with] = true
			start, n = min(start, at), n+bytes.Count(src[at:], []byte{b.with})
		}
	}
	if start == len(src) {
		return src, nil
	}
	out, undone := make([]byte, len(src)), make(edits, 0, n)
	o := copy(out, src[:start]) // what has been written; an escape is never shorter than what it stands for
	for i := start; i < len(src); {
		c := src[i]
		if !special[c] {
			out[o] = c
			o++
			i++
			continue
		}
		if c == '\\' && i+1 < len(src) && short[src[i+1]] != 0 { // what most escapes are
			out[o] = short[src[i+1]]
			o++
			i += 2
			undone = append(undone, edit{int32(o), int32(i)})
			continue
		}
		r, length := decode(src[i:])
		switch {
		case length == 0:
			out[o] = c
			o++
			i++
			continue
		case c == '%' || r < utf8.RuneSelf:
			out[o] = byte(r) // a percent-encoded byte may be a part of a character
			o++
		default:
			o += utf8.EncodeRune(out[o:], r)
		}
		i += length
		undone = append(undone, edit{int32(o), int32(i)})
	}
	return out[:o], undone
}

// firstEscape is the place of the first escape that begins with c, or -1.
func firstEscape(src []byte, c byte) int {
	for at := 0; ; at++ {
		n := bytes.IndexByte(src[at:], c)
		if n < 0 {
			return -1
		}
		at += n
		if _, length := decode(src[at:]); length > 0 {
			return at
		}
	}
}

// unfold takes the line breaks out of a text, with the white space around them.
func unfold(src []byte) ([]byte, edits) {
	n := bytes.Count(src, []byte("\n"))
	if n == 0 {
		return src, nil
	}
	out, undone := make([]byte, 0, len(src)), make(edits, 0, n)
	for from := 0; ; {
		length := bytes.IndexByte(src[from:], '\n')
		if length < 0 {
			return append(out, src[from:]...), undone
		}
		end, next := from+length, from+length+1
		for end > from && blank(src[end-1]) {
			end--
		}
		for next < len(src) && blank(src[next]) {
			next++
		}
		out = append(out, src[from:end]...)
		undone = append(undone, edit{int32(len(out)), int32(next)})
		from = next
	}
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// narrow takes the NUL bytes out of a text. What is ASCII in UTF-16 or UTF-32, wherever it stands, is then plain.
func narrow(src []byte) ([]byte, edits) {
	n := bytes.Count(src, []byte{0})
	if n == 0 {
		return src, nil
	}
	out, undone := make([]byte, 0, len(src)-n), make(edits, 0, min(n, len(src)-n+1))
	for i := 0; i < len(src); {
		if src[i] != 0 {
			out = append(out, src[i])
			i++
			continue
		}
		for i < len(src) && src[i] == 0 {
			i++
		}
		undone = append(undone, edit{int32(len(out)), int32(i)})
	}
	return out, undone
}

// decode reads the escape at the beginning of b: its value and its length, 0 when it is none.
func decode(b []byte) (rune, int) {
	switch b[0] {
	case '%':
		return decodeHex(b, 1, 2)
	case '\\':
		return decodeBackslash(b)
	}
	return decodeEntity(b)
}

// decodeHex reads exactly n hex digits from b[from:]. The length counts from the beginning of b.
func decodeHex(b []byte, from, n int) (rune, int) {
	if len(b) < from+n {
		return 0, 0
	}
	var r rune
	for _, c := range b[from : from+n] {
		d := unhex(c)
		if d < 0 {
			return 0, 0
		}
		r = r<<4 | rune(d)
	}
	return r, from + n
}

// short are the escapes of two characters, by the second one.
var short = [256]byte{'"': '"', '\'': '\'', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func decodeBackslash(b []byte) (rune, int) {
	if len(b) < 2 {
		return 0, 0
	}
	if c := short[b[1]]; c != 0 {
		return rune(c), 2
	}
	switch b[1] {
	case 'x':
		return decodeHex(b, 2, 2)
	case 'u':
		return decodeUTF16(b)
	}
	return 0, 0
}

// decodeUTF16 reads \uXXXX, or two of them when they are a surrogate pair.
func decodeUTF16(b []byte) (rune, int) {
	r, n := decodeHex(b, 2, 4)
	if n == 0 || !utf16.IsSurrogate(r) || len(b) < 8 || b[6] != '\\' || b[7] != 'u' {
		return r, n
	}
	low, m := decodeHex(b, 8, 4)
	if whole := utf16.DecodeRune(r, low); m > 0 && whole != utf8.RuneError {
		return whole, m
	}
	return r, n
}

// longestEntity bounds the search for the semicolon; "&DiacriticalGrave;" is the longest of ours.
const longestEntity = 18

func decodeEntity(b []byte) (rune, int) {
	b = b[:min(len(b), longestEntity)]
	end := 1
	for end < len(b) && ofEntity[b[end]] {
		end++
	}
	if end < 3 || end == len(b) || b[end] != ';' {
		return 0, 0
	}
	if b[1] != '#' {
		if c, ok := entities[string(b[1:end])]; ok {
			return rune(c), end + 1
		}
		return 0, 0
	}
	digits, base := b[2:end], 10
	if digits[0] == 'x' || digits[0] == 'X' {
		digits, base = digits[1:], 16
	}
	n, err := strconv.ParseUint(string(digits), base, 32)
	if err != nil || n > utf8.MaxRune {
		return 0, 0
	}
	return rune(n), end + 1
}

// ofEntity are the characters between the two ends of an entity.
var ofEntity = func() (of [256]bool) {
	for c := range of {
		of[c] = c == '#' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	}
	return of
}()

// entities are the named characters of HTML that stand for ASCII.
var entities = map[string]byte{
	"Tab": '\t', "NewLine": '\n', "excl": '!', "quot": '"', "QUOT": '"', "num": '#', "dollar": '$', "percnt": '%',
	"amp": '&', "AMP": '&', "apos": '\'', "lpar": '(', "rpar": ')', "ast": '*', "midast": '*', "plus": '+', "comma": ',',
	"period": '.', "sol": '/', "colon": ':', "semi": ';', "lt": '<', "LT": '<', "equals": '=', "gt": '>', "GT": '>',
	"quest": '?', "commat": '@', "lsqb": '[', "lbrack": '[', "bsol": '\\', "rsqb": ']', "rbrack": ']', "Hat": '^',
	"lowbar": '_', "UnderBar": '_', "grave": '`', "DiacriticalGrave": '`', "lcub": '{', "lbrace": '{', "verbar": '|',
	"vert": '|', "VerticalLine": '|', "rcub": '}', "rbrace": '}',
}
