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

// unescape undoes every escape of the scheme once. What is not an escape stays as it is. It returns no edits, and src
// itself, when there is none.
func unescape(src []byte, s scheme) ([]byte, edits) {
	var special [256]scheme
	special['%'], special['\\'], special['&'] = s&percentEscape, s&backslashEscape, s&entityEscape
	n := 0
	for _, c := range []byte(`%\&`) {
		if special[c] != 0 {
			n += bytes.Count(src, []byte{c})
		}
	}
	if n == 0 {
		return src, nil
	}
	out := make([]byte, 0, len(src)+utf8.UTFMax)
	undone := make(edits, 0, n)
	from := 0
	for i := 0; i < len(src); {
		if special[src[i]] == 0 {
			i++
			continue
		}
		r, length := decode(src[i:])
		if length == 0 {
			i++
			continue
		}
		out = append(out, src[from:i]...)
		if src[i] == '%' || r < utf8.RuneSelf {
			out = append(out, byte(r)) // a percent-encoded byte may be a part of a character
		} else {
			out = utf8.AppendRune(out, r)
		}
		i += length
		from = i
		undone = append(undone, edit{int32(len(out)), int32(i)})
	}
	if len(undone) == 0 {
		return src, nil
	}
	return append(out, src[from:]...), undone
}

// unfold takes the line breaks out of a text, with the white space around them.
func unfold(src []byte) ([]byte, edits) {
	n := bytes.Count(src, []byte("\n"))
	if n == 0 {
		return src, nil
	}
	out, undone := make([]byte, 0, len(src)), make(edits, 0, n)
	rest := src
	for {
		line, after, broken := bytes.Cut(rest, []byte("\n"))
		if !broken {
			return append(out, rest...), undone
		}
		out = append(out, bytes.TrimRight(line, " \t\r")...)
		rest = bytes.TrimLeft(after, " \t\r\n")
		undone = append(undone, edit{int32(len(out)), int32(len(src) - len(rest))})
	}
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

func decodeBackslash(b []byte) (rune, int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch c := b[1]; c {
	case '"', '\'', '\\', '/':
		return rune(c), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
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
	end := bytes.IndexByte(b, ';')
	if end < 3 {
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

// entities are the named characters of HTML that stand for ASCII.
var entities = map[string]byte{
	"Tab": '\t', "NewLine": '\n', "excl": '!', "quot": '"', "QUOT": '"', "num": '#', "dollar": '$', "percnt": '%',
	"amp": '&', "AMP": '&', "apos": '\'', "lpar": '(', "rpar": ')', "ast": '*', "midast": '*', "plus": '+', "comma": ',',
	"period": '.', "sol": '/', "colon": ':', "semi": ';', "lt": '<', "LT": '<', "equals": '=', "gt": '>', "GT": '>',
	"quest": '?', "commat": '@', "lsqb": '[', "lbrack": '[', "bsol": '\\', "rsqb": ']', "rbrack": ']', "Hat": '^',
	"lowbar": '_', "UnderBar": '_', "grave": '`', "DiacriticalGrave": '`', "lcub": '{', "lbrace": '{', "verbar": '|',
	"vert": '|', "VerticalLine": '|', "rcub": '}', "rbrace": '}',
}
