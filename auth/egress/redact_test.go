package egress

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"pgregory.net/rapid"
)

// encodings are what a hostile or careless server may do to a secret before it sends it back. each draws its own mix.
var encodings = map[string]func(t *rapid.T, secret string) string{
	"raw":       func(_ *rapid.T, s string) string { return s },
	"hex":       func(_ *rapid.T, s string) string { return hex.EncodeToString([]byte(s)) },
	"HEX":       func(_ *rapid.T, s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	"query":     func(_ *rapid.T, s string) string { return url.QueryEscape(s) },
	"path":      func(_ *rapid.T, s string) string { return url.PathEscape(s) },
	"html":      func(_ *rapid.T, s string) string { return html.EscapeString(s) },
	"json":      func(_ *rapid.T, s string) string { return jsonEscape(s) },
	"slash":     func(_ *rapid.T, s string) string { return strings.ReplaceAll(jsonEscape(s), "/", `\/`) },
	"%xx":       someBytes("%%%02x"),
	"%XX":       someBytes("%%%02X"),
	`\uXXXX`:    func(t *rapid.T, s string) string { return someUTF16(t, s) },
	"&#n;":      someRunes("&#%d;", html.EscapeString),
	"&#xn;":     someRunes("&#x%04X;", html.EscapeString),
	"json json": func(_ *rapid.T, s string) string { return jsonEscape(jsonEscape(s)) },
	"query in json": func(t *rapid.T, s string) string {
		return someUTF16(t, url.QueryEscape(s))
	},
	"backwards": func(_ *rapid.T, s string) string {
		letters := []byte(s)
		slices.Reverse(letters)
		return string(letters)
	},
	"lines": func(t *rapid.T, s string) string {
		if strings.Contains(s, " ") { // whose own blanks would be taken for the line's
			return s
		}
		return inLines(t, s)
	},
	"base64 in lines (RFC 2045)": func(t *rapid.T, s string) string {
		return inLines(t, base64.StdEncoding.EncodeToString([]byte(s)))
	},
	"base64 in lines in json": func(t *rapid.T, s string) string {
		return jsonEscape(inLines(t, base64.StdEncoding.EncodeToString([]byte(s))))
	},
	"UTF-16LE":     func(_ *rapid.T, s string) string { return wide(s, binary.LittleEndian) },
	"UTF-16BE":     func(_ *rapid.T, s string) string { return wide(s, binary.BigEndian) },
	"hex in lines": func(t *rapid.T, s string) string { return inLines(t, hex.EncodeToString([]byte(s))) },
	"query query":  func(_ *rapid.T, s string) string { return url.QueryEscape(url.QueryEscape(s)) },
}

func wide(s string, order binary.AppendByteOrder) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, u)
	}
	return string(b)
}

// inLines breaks a text, which is at least five letters long, once or more.
func inLines(t *rapid.T, s string) string {
	width := rapid.IntRange(3, max(3, len(s)-1)).Draw(t, "width")
	end := rapid.SampledFrom([]string{"\n", "\r\n", "\n  ", " \n\n\t"}).Draw(t, "end")
	var b strings.Builder
	for len(s) > width {
		b.WriteString(s[:width] + end)
		s = s[width:]
	}
	return b.String() + s
}

func jsonEscape(s string) string {
	b, _ := json.Marshal(s)
	return string(b[1 : len(b)-1])
}

// someBytes escapes bytes as it pleases, and always the percent sign.
func someBytes(format string) func(*rapid.T, string) string {
	return func(t *rapid.T, s string) string {
		var b strings.Builder
		for i := range len(s) {
			if s[i] == '%' || rapid.Bool().Draw(t, "escape") {
				fmt.Fprintf(&b, format, s[i])
			} else {
				b.WriteByte(s[i])
			}
		}
		return b.String()
	}
}

func someRunes(format string, must func(string) string) func(*rapid.T, string) string {
	return func(t *rapid.T, s string) string {
		var b strings.Builder
		for _, r := range s {
			if rapid.Bool().Draw(t, "escape") {
				fmt.Fprintf(&b, format, r)
			} else {
				b.WriteString(must(string(r)))
			}
		}
		return b.String()
	}
}

func someUTF16(t *rapid.T, s string) string {
	format := rapid.SampledFrom([]string{`\u%04x`, `\u%04X`}).Draw(t, "case")
	var b strings.Builder
	for _, r := range s {
		if !rapid.Bool().Draw(t, "escape") {
			b.WriteString(jsonEscape(string(r)))
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, format, u)
		}
	}
	return b.String()
}

// BF-027: the answer echoes the token in one of many forms; nothing of it may be left.
func TestRedactEveryEncoding(t *testing.T) {
	for name, encode := range encodings {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			secret := rapid.StringOfN(rapid.RuneFrom([]rune(`aZ09-._~+/= %\&;#"'<>é漢😀`)), 6, 40, -1).Draw(t, "secret")
			// The bar is in no secret, which could otherwise be read backwards together with what stands beside it.
			before := rapid.StringMatching(`[a-z0-9{}:, ]*`).Draw(t, "before") + "|"
			after := "|" + rapid.StringMatching(`[a-z0-9{}:, ]*`).Draw(t, "after")
			echo := encode(t, secret)
			got := NewRedactor([]byte(secret)).RedactString(before + echo + after)
			if want := before + "[redacted]" + after; got != want {
				t.Fatalf("secret %q as %q: got %q, want %q", secret, echo, got, want)
			}
		}))
	}
}

// BF-027: every form once more, in the character sets that double or quadruple what is ASCII, between bytes of any kind.
func TestRedactWideEncodings(t *testing.T) {
	order := map[string]binary.AppendByteOrder{"little": binary.LittleEndian, "big": binary.BigEndian}
	for name, encode := range encodings {
		if strings.HasPrefix(name, "UTF-16") {
			continue
		}
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			secret := rapid.StringOfN(rapid.RuneFrom([]rune(`aZ09-._~+/= %\&;#"'<>`)), 6, 40, -1).Draw(t, "secret")
			echo := wide(encode(t, secret), order[rapid.SampledFrom([]string{"little", "big"}).Draw(t, "order")])
			if rapid.Bool().Draw(t, "UTF-32") {
				echo = wide(echo, binary.LittleEndian)
			}
			before, after := "\x89PNG\x00\x00\xff|", "|\x00\x00\x00\xfe\x01"
			got := NewRedactor([]byte(secret)).RedactString(before + echo + after)
			left := strings.TrimSuffix(strings.TrimPrefix(got, before), after)
			if strings.Trim(left, "\x00") != redacted {
				t.Fatalf("secret %q as %q: %q", secret, echo, got)
			}
		}))
	}
}

// BF-027: base64 of a longer text that holds the token at any place, such as a Basic authorization.
func TestRedactBase64(t *testing.T) {
	for name, enc := range map[string]*base64.Encoding{"std": base64.StdEncoding, "raw std": base64.RawStdEncoding,
		"url": base64.URLEncoding, "raw url": base64.RawURLEncoding} {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			secret := rapid.SliceOfN(rapid.Byte(), 6, 40).Draw(t, "secret")
			before := rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "before")
			after := rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "after")
			echo := enc.EncodeToString(bytes.Join([][]byte{before, secret, after}, nil))
			text := `{"authorization":"` + echo + `"}`
			if slash := rapid.Bool().Draw(t, "slash"); slash {
				text = strings.ReplaceAll(text, "/", `\/`)
			}
			got := NewRedactor(secret).RedactString(text)
			// What is left must be what encodes the neighbours alone.
			left := strings.TrimSuffix(strings.TrimPrefix(got, `{"authorization":"`), `"}`)
			head, tail, ok := strings.Cut(left, "[redacted]")
			if !ok || len(strings.ReplaceAll(head, `\`, "")) > len(before)*8/6 || len(strings.ReplaceAll(tail, `\`, "")) > len(after)*8/6+3 {
				t.Fatalf("secret %x in %q: %q", secret, text, got)
			}
		}))
	}
}

func TestRedactLeavesTheRest(t *testing.T) {
	r := NewRedactor([]byte("gho_abcdefghij"), []byte("12345"))
	for _, text := range []string{"", "gho_abcdefghi", "12345", `{"a":"\u0041%zz&bogus;\"}`, "%", `\`, "&#;", `\ud83d`} {
		if got := r.RedactString(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got := r.RedactString("a gho_abcdefghij b gho_abcdefghijgho_abcdefghij"); got != "a [redacted] b [redacted][redacted]" {
		t.Error(got)
	}
	if got := r.Naming("the door").RedactString("a gho_abcdefghij b"); got != "a [redacted:the door] b" || r.RedactString("gho_abcdefghij") != "[redacted]" {
		t.Error(got)
	}
	if got := NewRedactor().RedactString("x"); got != "x" {
		t.Error(got)
	}
}

// BF-027: the secret is escaped in one place and stands raw in another of the same answer.
func TestRedactMixed(t *testing.T) {
	r := NewRedactor([]byte("s3cr3t/t0ken"), []byte("other-s3cr3t"))
	got := r.RedactString(`{"a":"s3cr3t\/t0ken","b":"caf\u00e9 s3cr3t%2Ft0ken","c":"\u006fther-s3cr3t","d":"s3cr3t/t0ken"}`)
	if want := `{"a":"[redacted]","b":"caf\u00e9 [redacted]","c":"[redacted]","d":"[redacted]"}`; got != want {
		t.Error(got)
	}
}

// BF-027: more secrets than ends have numbers of their own, as in a jar of cookies, short ones beside long ones.
func TestRedactMany(t *testing.T) {
	for _, length := range []int{ShortestSecret, 30, 1000} {
		var secrets [][]byte
		var text, want strings.Builder
		for i := range 200 {
			secret := strings.Repeat(rand.Text(), length/26+1)[:length]
			secrets = append(secrets, []byte(secret))
			forms := []string{secret, hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte("abc" + secret))}
			left := []string{"", "", "YWJ"} // the next character may hold bits of the secret, too
			fmt.Fprintf(&text, "%d|é%s|", i, forms[i%3])
			fmt.Fprintf(&want, "%d|é%s%s|", i, left[i%3], redacted)
		}
		if got := NewRedactor(secrets...).RedactString(text.String()); got != want.String() {
			t.Errorf("%d bytes: %s", length, got)
		}
	}
}

// BF-027: wherever a text is cut, nothing is shown of a secret that is cut with it, however widely it is written; and
// little else is lost.
func TestRedactPiece(t *testing.T) {
	secret := "gho_CANARY/0123456789"
	entities := func(s string) string {
		var b strings.Builder
		for i := range len(s) {
			fmt.Fprintf(&b, "&#x%013X;", s[i])
		}
		return b.String()
	}
	forms := map[string]string{
		"plain": secret, "hex": hex.EncodeToString([]byte(secret)), "base64": base64.StdEncoding.EncodeToString([]byte("of " + secret)),
		"UTF-16":                 wide(secret, binary.LittleEndian),
		"percent in JSON":        strings.ReplaceAll(url.QueryEscape(entities(secret)), "%", `\u0025`),
		"HTML in HTML":           html.EscapeString(html.EscapeString(entities(secret))),
		"entities of them":       entities(entities(secret)),
		"lines":                  strings.Join(strings.Split(secret, ""), " \r\n"+strings.Repeat("\t", 300)),
		"blanks before lines":    strings.Join(strings.Split(secret, ""), strings.Repeat(" ", 300)+"\n"),
		"blanks and lines, JSON": jsonEscape(strings.Join(strings.Split(secret, ""), strings.Repeat(" ", 300)+"\r\n")),
		"lines in JSON":          jsonEscape(strings.Join(strings.Split(secret, ""), "\n"+strings.Repeat(" ", 300))),
		"lines in UTF-16":        wide(strings.Join(strings.Split(secret, ""), "\n"+strings.Repeat(" ", 50)), binary.BigEndian),
	}
	r := NewRedactor([]byte(secret), []byte("a shorter one"))
	filler := strings.Repeat("~", 1000)
	for name, echo := range forms {
		for n := 0; n <= len(echo); n += 1 + len(echo)/500 {
			got, _ := r.RedactPiece([]byte(filler+echo[:n]), false, true)
			if left := strings.TrimLeft(string(got), "~"); left != "" && left != redacted || len(got) < 800 {
				t.Fatalf("%s, cut after %d of %d: %d bytes, %.60q", name, n, len(echo), len(got), left)
			}
			got, _ = r.RedactPiece([]byte(echo[n:]+filler), true, false)
			if left := strings.TrimRight(string(got), "~"); left != "" && left != redacted || len(got) < 800 {
				t.Fatalf("%s, cut before %d of %d: %d bytes, %.60q", name, n, len(echo), len(got), left)
			}
		}
	}
	for _, b := range []string{"", "x", secret[:8], strings.Repeat("\n", 500), strings.Repeat("&amp;", 50)} {
		for _, cut := range [][2]bool{{true, true}, {true, false}, {false, true}} {
			if got, found := r.RedactPiece([]byte(b), cut[0], cut[1]); len(got) > 0 || found {
				t.Errorf("%q: %q", b, got)
			}
		}
	}
	if got, found := NewRedactor().RedactPiece([]byte("abc"), true, true); string(got) != "abc" || found {
		t.Errorf("with no secrets: %q", got)
	}
	both := []byte(filler + secret + filler)
	if got, found := r.RedactPiece(both, true, true); !found || strings.Trim(string(got), "~") != redacted || len(got) > 2000-100 {
		t.Errorf("both ends: %q", got)
	}
}

// BF-027: a server shows a cookie as it reads it, which is not always as it was sent.
func TestRedactCookieAsRead(t *testing.T) {
	r := NewRedactor([]byte("s%3Ac4n4ry.s1gn%2Bture%3D"), []byte(`"qu0ted%2Dc4n4ry"`), []byte(`"`), []byte("%41%42"), []byte("broken%zzc4n4ry"))
	for _, text := range []string{
		"s:c4n4ry.s1gn+ture=", "s%3Ac4n4ry.s1gn%2Bture%3D", `s\u003ac4n4ry.s1gn+ture=`, "czpjNG40cnkuczFnbit0dXJlPQ==", "qu0ted%2Dc4n4ry", "qu0ted-c4n4ry", "broken%zzc4n4ry",
	} {
		if got := r.RedactString("x " + text + " y"); got != "x [redacted] y" {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got := r.RedactString(`AB "`); got != `AB "` {
		t.Errorf("too short, and became %q", got)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add([]byte(`{"t":"\u0073ecret%2D&#116;oken"}`), []byte("secret-token"))
	f.Add([]byte(`\\u0073ecret`), []byte("secret"))
	f.Add([]byte("c2VjcmV0LXRva2Vu"), []byte("secret-token"))
	f.Fuzz(func(t *testing.T, body, secret []byte) {
		before := bytes.Clone(body)
		r := NewRedactor(secret)
		got := r.Redact(body)
		if !bytes.Equal(body, before) {
			t.Fatal("the body was changed in place")
		}
		if len(secret) < ShortestSecret {
			if !bytes.Equal(got, body) {
				t.Fatal("a secret too short was looked for")
			}
			return
		}
		// The replacement, together with what stands around it, could spell a secret made of its own letters.
		for part := range bytes.SplitSeq(got, []byte(redacted)) {
			if bytes.Contains(part, secret) || bytes.Contains(part, []byte(hex.EncodeToString(secret))) {
				t.Fatalf("%q is left in %q", secret, got)
			}
		}
	})
}

func BenchmarkRedact1MiB(b *testing.B) {
	secrets := [][]byte{[]byte("gho_" + rand.Text() + rand.Text()), []byte(rand.Text() + "/" + rand.Text()), []byte(rand.Text())}
	fill := func(unit string) []byte { return bytes.Repeat([]byte(unit), 1<<20/len(unit)) }
	bodies := map[string][]byte{
		"plain":     fill(`{"id":1296269,"name":"Hello-World","full_name":"octocat/Hello-World","private":false},`),
		"json":      fill(`{"body":"first line\nsecond \"line\"","url":"https:\/\/api.test\/x?a=1&b=2&c=%20"},`),
		"base64":    []byte(base64.StdEncoding.EncodeToString(fill("\x00\x13ab\xf0zq")))[:1<<20],
		"slashes":   fill(`\/`),
		"percent":   fill(`%41`),
		"entities":  fill(`&#65;`),
		"layers":    fill(`\\\\\\\/x`),
		"secrets":   append(fill(string(secrets[0])+" "), secrets[0]...),
		"backslash": fill(`\`),
	}
	r := NewRedactor(secrets...)
	for name, body := range bodies {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				r.Redact(body)
			}
		})
	}
	b.Run("NewRedactor", func(b *testing.B) {
		for b.Loop() {
			NewRedactor(secrets...)
		}
	})
}
