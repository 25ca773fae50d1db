package providers

import (
	"errors"
	"regexp"
	"regexp/syntax"
)

// checkPattern accepts a bounded regular expression that is anchored at both ends,
// whatever its alternatives. Go matches in linear time, so no pattern can stall us.
func checkPattern(s string) error {
	if len(s) > 512 {
		return errors.New("is longer than 512 characters")
	}
	re, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return errors.New("is not a regular expression")
	}
	if re.Op != syntax.OpConcat || len(re.Sub) < 2 ||
		re.Sub[0].Op != syntax.OpBeginText || re.Sub[len(re.Sub)-1].Op != syntax.OpEndText {
		return errors.New("must begin with ^ and end with $, with alternatives in brackets")
	}
	if _, err := regexp.Compile(s); err != nil {
		return errors.New("is not a regular expression")
	}
	return nil
}

// hostSafe tells whether all that a pattern can match is made of the characters of
// a host name and a port.
func hostSafe(pattern string) bool {
	re, err := syntax.Parse(pattern, syntax.Perl)
	return err == nil && only(re, hostRune)
}

// pathLed tells whether a pattern matches only the empty text and plain paths that begin
// with a slash, ^(/…)*$, so that a value may follow a host directly.
func pathLed(pattern string) bool {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil || re.Op != syntax.OpConcat || len(re.Sub) != 3 || !only(re, pathRune) {
		return false
	}
	star := re.Sub[1]
	if star.Op != syntax.OpStar || star.Sub[0].Op != syntax.OpCapture {
		return false
	}
	part := star.Sub[0].Sub[0]
	return part.Op == syntax.OpConcat && part.Sub[0].Op == syntax.OpLiteral && part.Sub[0].Rune[0] == '/'
}

// only tells whether a pattern can match nothing but certain characters. Every character
// of a match is matched by some leaf of the pattern, so it is enough to look at those.
func only(re *syntax.Regexp, good func(rune) bool) bool {
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if !good(r) || re.Flags&syntax.FoldCase != 0 {
				return false
			}
		}
	case syntax.OpCharClass:
		for i := 0; i < len(re.Rune); i += 2 {
			if re.Rune[i+1] > '~' {
				return false
			}
			for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
				if !good(r) {
					return false
				}
			}
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return false
	}
	for _, sub := range re.Sub {
		if !only(sub, good) {
			return false
		}
	}
	return true
}

func hostRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_' || r == ':'
}

func pathRune(r rune) bool {
	return hostRune(r) && r != ':' || r >= 'A' && r <= 'Z' || r == '/' || r == '~'
}
