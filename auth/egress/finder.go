package egress

import (
	"bytes"
	"slices"
)

// pattern is a byte string to look for.
type pattern struct {
	text   []byte
	base64 bool // the characters beside it hold some of its bits, too
}

// finder looks for many patterns at once by the method of Wu and Manber: the last two bytes of a window as long as the
// shortest pattern tell how far the window may jump. Most of a text is never looked at. The table is made for every
// answer, so it is no larger than tells pairs of ASCII characters apart; others share an entry and jump less far.
type finder struct {
	patterns []pattern
	window   int // length of the shortest pattern
	// next holds, for the pair of two bytes, how far to jump: 0 is as far as the window reaches, what most pairs
	// have. A pair that ends a window has -1 less its index in ends.
	next []int16
	ends [][]pattern // patterns whose first window bytes end in the two bytes
}

func (f *finder) empty() bool { return len(f.patterns) == 0 }

func (f *finder) add(p pattern) {
	if !slices.ContainsFunc(f.patterns, func(q pattern) bool { return bytes.Equal(p.text, q.text) }) {
		f.patterns = append(f.patterns, p)
	}
}

// build makes the table; all patterns are added by then, and none is shorter than two bytes.
func (f *finder) build() {
	if f.empty() {
		return
	}
	f.window = len(f.patterns[0].text)
	for _, p := range f.patterns {
		f.window = min(f.window, len(p.text))
	}
	f.next = make([]int16, pairs)
	for _, p := range f.patterns {
		for i := 1; i < f.window-1; i++ {
			at, jump := pair(p.text, i), int16(min(f.window-1-i, 1<<14))
			if f.next[at] == 0 || jump < f.next[at] {
				f.next[at] = jump
			}
		}
	}
	for _, p := range f.patterns {
		at := pair(p.text, f.window-1)
		if f.next[at] >= 0 {
			f.ends = append(f.ends, nil)
			f.next[at] = -int16(len(f.ends))
		}
		end := &f.ends[-f.next[at]-1]
		*end = append(*end, p)
	}
}

const pairs = 1 << 14

// pair numbers the two bytes that end at i.
func pair(b []byte, i int) int { return int(b[i-1])<<6 ^ int(b[i]) }

// all gives every occurrence of every pattern.
func (f *finder) all(text []byte) (found []span) {
	far := int16(min(f.window-1, 1<<14))
	for i := f.window - 1; i < len(text); {
		n := f.next[pair(text, i)]
		if n >= 0 {
			if n == 0 {
				n = far
			}
			i += int(n)
			continue
		}
		start := i - f.window + 1
		for _, p := range f.ends[-n-1] {
			if bytes.HasPrefix(text[start:], p.text) {
				found = append(found, p.span(text, start))
			}
		}
		i++
	}
	return found
}

// span is where p, found at start, stands in text, with the neighbours that hold bits of it.
func (p pattern) span(text []byte, start int) span {
	s := span{start, start + len(p.text)}
	if !p.base64 {
		return s
	}
	if s.start > 0 && isBase64(text[s.start-1]) {
		s.start--
	}
	if s.end < len(text) && isBase64(text[s.end]) {
		s.end++
	}
	for s.end < len(text) && text[s.end] == '=' {
		s.end++
	}
	return s
}

func isBase64(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_'
}
