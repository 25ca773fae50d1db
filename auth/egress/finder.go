package egress

import (
	"bytes"
	"slices"
)

// pattern is a byte string to look for.
type pattern struct {
	text   []byte
	base64 bool // the characters beside it hold some of its bits, too
	more   int  // 1 + the index of another pattern of the same end; 0 is none
}

// finder looks for many patterns at once by the method of Wu and Manber: the last two bytes of a window as long as the
// shortest pattern tell how far the window may jump. Most of a text is never looked at. The table is made for every
// answer, so it is no larger than tells pairs of ASCII characters apart; others share an entry and jump less far.
type finder struct {
	patterns []pattern
	window   int // length of the shortest pattern
	// next holds, for the pair of two bytes, how far to jump, less than ends: 0 is as far as the window reaches, what
	// most pairs have. From ends on it is a pair that ends a window, and the number of its first pattern in end.
	next [pairs]uint8
	end  [256 - ends]int // 1 + the index of a pattern whose first window bytes end so, which leads on to the others
	used int             // numbers in end that are taken; when there are more ends than numbers, they share them
}

const (
	pairs = 1 << 13
	ends  = 1 << 7
)

func (f *finder) empty() bool { return len(f.patterns) == 0 }

func (f *finder) add(all []pattern) {
	f.patterns = slices.Grow(f.patterns, len(all))
	for _, p := range all {
		if !slices.ContainsFunc(f.patterns, func(q pattern) bool { return bytes.Equal(p.text, q.text) }) {
			f.patterns = append(f.patterns, p)
		}
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
	for _, p := range f.patterns {
		for i := 1; i < f.window-1; i++ {
			at, jump := pair(p.text, i), uint8(min(f.window-1-i, ends-1))
			if f.next[at] == 0 || jump < f.next[at] {
				f.next[at] = jump
			}
		}
	}
	for i := range f.patterns {
		p := &f.patterns[i]
		at := pair(p.text, f.window-1)
		if f.next[at] < ends {
			f.next[at] = uint8(ends + f.used%len(f.end))
			f.used++
		}
		first := &f.end[f.next[at]-ends]
		p.more, *first = *first, i+1
	}
}

// pair numbers the two bytes that end at i.
func pair(b []byte, i int) int { return (int(b[i-1])<<6 ^ int(b[i])) & (pairs - 1) }

// all gives every occurrence of every pattern.
func (f *finder) all(text []byte) (found []span) {
	far := f.window - 1
	for i := f.window - 1; i < len(text); {
		n := f.next[pair(text, i)]
		switch {
		case n == 0:
			i += far
			continue
		case n < ends:
			i += int(n)
			continue
		}
		start := i - f.window + 1
		for k := f.end[n-ends]; k > 0; k = f.patterns[k-1].more {
			if p := f.patterns[k-1]; bytes.HasPrefix(text[start:], p.text) {
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
