package mcp

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText bounds a message to the model.
const maxText = 2000

// marks are what Markdown makes a link, an image, code or a table of.
const marks = "[]()<>`\\|"

// clean makes a name from outside fit to be shown: one line of at most max visible characters, and
// nothing that Markdown or a reader would take for a link or an image.
func clean(s string, max int) string {
	if everyday(s, max) && !strings.ContainsAny(s, marks) && !strings.Contains(s, "://") {
		return s
	}
	s = strings.Map(func(r rune) rune {
		if hidden(r) || strings.ContainsRune(marks, r) {
			return -1
		}
		return r
	}, s)
	for strings.Contains(s, "://") {
		s = strings.ReplaceAll(s, "://", ":")
	}
	return visible(s, max)
}

// visible drops what a reader cannot see but a terminal or a model acts upon: control, escape,
// zero-width, bidirectional and tag characters. White space becomes a blank.
func visible(s string, max int) string {
	if everyday(s, max) {
		return s
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case hidden(r):
			return -1
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	if runes := []rune(s); len(runes) > max {
		return strings.TrimSpace(string(runes[:max-1])) + "…"
	}
	return s
}

// everyday reports that s is printable ASCII with no blank at its ends: it is visible as it stands.
func everyday(s string, max int) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= max && (s == "" || s[0] != ' ' && s[len(s)-1] != ' ')
}

func hidden(r rune) bool {
	return r == utf8.RuneError || !unicode.IsSpace(r) && !unicode.IsGraphic(r) ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
