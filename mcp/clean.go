package mcp

import (
	"strings"
	"unicode"
)

// maxText bounds a message to the model.
const maxText = 2000

// clean makes a name from outside fit to be shown: one line of at most max visible characters, and
// nothing that Markdown would turn into a link or an image.
func clean(s string, max int) string {
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune("[]()<>`\\|", r) {
			return -1
		}
		return r
	}, s)
	return visible(strings.ReplaceAll(s, "://", ":"), max)
}

// visible drops what a reader cannot see but a terminal or a model acts upon: control, escape,
// zero-width, bidirectional and tag characters. White space becomes a blank.
func visible(s string, max int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsGraphic(r), unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	s = strings.TrimSpace(s)
	if runes := []rune(s); len(runes) > max {
		return string(runes[:max-1]) + "…"
	}
	return s
}
