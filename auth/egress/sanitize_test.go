package egress

import (
	"testing"
	"unicode"
)

// PI-003, BF-034: what hides words from the person who reads is removed, and nothing else.
func TestSanitize(t *testing.T) {
	for text, want := range map[string]string{
		"plain\ttext\n": "plain\ttext\n",
		"\x1b]8;;https://evil\x1b\\link\x1b]8;;\x07": "link",
		"\x1b[31;1mred\x1b[0m":                       "red",
		"\x1b(Bx\x1bcy\x1b":                          "xy",
		"\u009b31mred\u009d0;title\u009cx":           "redx",
		"\x1bPdcs\x1b\\a\x1b_apc\x07b":               "ab",
		"\x1b]0;never ends\nnext":                    "\nnext",
		"a\rb\r\nc\x00\b\x7f\u0085":                  "ab\nc",
		"safe\u202eexe.txt\u2066\u2069\u200f":        "safeexe.txt",
		"zero\u200b\u200c\u200d\ufeffwidth\u00ad":    "zerowidth",
		"tag\U000e0041\U000e0042\U000e007f":          "tag",
		"var\ufe0f\U000e0101x":                       "varx",
		"fill\u3164\u115fer\u034f":                   "filler",
		"a\u2028b":                                   "a\nb",
		"bad\xff\xc3":                                "bad\ufffd",
		"naïve 漢字 😀 עברית":                           "naïve 漢字 😀 עברית",
	} {
		if got := Sanitize(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func FuzzSanitize(f *testing.F) {
	f.Add("\x1b]8;;x\x07\u202e\U000e0041")
	f.Fuzz(func(t *testing.T, text string) {
		got := Sanitize(text)
		for _, r := range got {
			if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, invisible) {
				t.Fatalf("%q became %q with %U", text, got, r)
			}
		}
		if again := Sanitize(got); again != got {
			t.Fatalf("%q became %q, then %q", text, got, again)
		}
	})
}
