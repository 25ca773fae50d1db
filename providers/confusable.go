package providers

import (
	"slices"
	"strings"
)

// lookalikes maps what is easily taken for something else to one spelling. Letters of
// other scripts are not in it: a name that has any gets no skeleton and is refused.
var lookalikes = strings.NewReplacer(
	"rn", "m", "vv", "w", "cl", "d", "0", "o", "1", "l", "i", "l", "|", "l", "5", "s",
	"ä", "a", "à", "a", "á", "a", "â", "a", "ã", "a", "å", "a", "æ", "ae", "ç", "c", "č", "c", "é", "e", "è", "e",
	"ê", "e", "ë", "e", "í", "l", "ì", "l", "î", "l", "ï", "l", "ı", "l", "ł", "l", "ñ", "n", "ń", "n", "ö", "o", "ò", "o",
	"ó", "o", "ô", "o", "õ", "o", "ø", "o", "œ", "oe", "š", "s", "ß", "ss", "ü", "u", "ù", "u", "ú", "u", "û", "u", "ý", "y", "ž", "z",
)

// skeleton is equal for ids and names that look alike. It is empty for a name with
// letters of another script, and for one without any letter or digit.
func skeleton(s string) string {
	s = oneSpelling(strings.ToLower(s))
	var out strings.Builder
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			out.WriteRune(r)
		case r > 0x7f:
			return ""
		}
	}
	return out.String()
}

// oneSpelling is equal for words in small letters that look alike.
func oneSpelling(s string) string {
	for range 2 { // until it is stable: "ci" is "cl" is "d"
		s = lookalikes.Replace(s)
	}
	return s
}

// confusable tells whether a person could take one id or name for the other: they look
// alike, or differ by one slip of the finger in a word of five letters or more.
func confusable(a, b string) bool {
	sa, sb := skeleton(a), skeleton(b)
	return sa == sb || min(len(sa), len(sb)) >= 5 && distance(sa, sb) == 1
}

// distance counts the insertions, deletions, replacements and swaps of neighbours
// that turn a into b.
func distance(a, b string) int {
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, above, row = above, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}

// nearest returns at most three ids that look most like one that does not exist.
func nearest(id string, ids []string) []string {
	type near struct {
		id string
		by int
	}
	want := skeleton(id)
	if want == "" || len(want) > 64 {
		return nil
	}
	var found []near
	for _, have := range ids {
		s := skeleton(have)
		by := distance(want, s)
		if strings.HasPrefix(s, want) || strings.HasPrefix(want, s) {
			by = min(by, 2)
		}
		if by <= max(1, len(want)/3) || by <= 2 && len(want) > 3 {
			found = append(found, near{have, by})
		}
	}
	slices.SortStableFunc(found, func(a, b near) int { return a.by - b.by })
	var out []string
	for _, n := range found[:min(3, len(found))] {
		out = append(out, n.id)
	}
	return out
}
