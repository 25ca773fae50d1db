package auth

import "testing"

// PI-002, PI-003: whoever names an account, the name is no link, looks like no other account's, is the same when an
// agent gives back what it was shown, and stays apart from others when a number is put behind it.
func TestFreeLabel(t *testing.T) {
	held := []Connection{{Account: "alice@example.com"}, {Account: "default"}, {Account: "x evil.example"}}
	for label, want := range map[string]string{
		"bob": "bob", "alice@example.com": "alice@example.com 2", "": "default 2", "[]()": "default 2", "GitHub (work)": "GitHub work",
		"![x](https://evil.example/?q=1)": "!xhttps:evil.example/?q=1", "ht:://////a": "ht::a",
		"alice@example.com\u200b": "alice@example.com 2", "\u202ebob": "bob", "Alice@Example.com": "Alice@Example.com 2", "\u0430lice@example.com": "\u0430lice@example.com 2", "b\u009b2Job": "b2Job", "büro 漢字": "büro 漢字",
		"☕\ufe0f Home": "☕ Home", "가\u3164나": "가나", "a\u034fb\ufffd": "ab", "\u115fx\u180b": "x", "👩\u200d🚀 crew": "👩🚀 crew",
	} {
		got := freeLabel(held, label)
		if got != want || plainLabel(got) != got {
			t.Errorf("%q becomes %q, want %q", label, got, want)
		}
	}
}
