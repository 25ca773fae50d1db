package providers

import (
	"strings"
	"unicode"
)

// foreign are letters of other scripts that are drawn like Latin ones.
var foreign = strings.NewReplacer(
	"а", "a", "в", "b", "с", "c", "ԁ", "d", "е", "e", "ё", "e", "һ", "h", "н", "h", "і", "i", "ї", "i", "ј", "j", "к", "k", "м", "m",
	"о", "o", "р", "p", "ԛ", "q", "г", "r", "ѕ", "s", "т", "t", "ѵ", "v", "ԝ", "w", "х", "x", "у", "y", // Cyrillic
	"α", "a", "β", "b", "ε", "e", "η", "n", "ι", "i", "κ", "k", "ν", "v", "ο", "o", "ρ", "p", "τ", "t", "υ", "u", "χ", "x", "ω", "w", // Greek
)

// Lookalike tells whether a person could take one name for another at a glance: they differ in case, blanks, punctuation,
// accents and letters that are drawn alike, whatever script they come from.
func Lookalike(a, b string) bool {
	la, lb := likeness(a), likeness(b)
	return la == lb && (la != "" || a == b)
}

// likeness is skeleton for names in any script.
func likeness(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= '！' && r <= '～' { // full width
			r -= '！' - '!'
		}
		return unicode.ToLower(r)
	}, s)
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, oneSpelling(foreign.Replace(s)))
}
