package authtest

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf16"
)

// EchoForms are the paths /api/echo/{form}: the ways in which an API may give back
// the credential it was sent. All but "headers" and "error" answer with it in the
// body and status 200.
func EchoForms() []string {
	forms := []string{"headers", "error", "chunks", "trailer"}
	for name := range encodings {
		forms = append(forms, name)
	}
	slices.Sort(forms)
	return forms
}

var encodings = map[string]func(string) string{
	"plain":     func(s string) string { return s },
	"base64":    func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64+1":  func(s string) string { return base64.StdEncoding.EncodeToString([]byte("x" + s)) },
	"base64+2":  func(s string) string { return base64.StdEncoding.EncodeToString([]byte("xy" + s)) },
	"base64url": func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"hex":       func(s string) string { return hex.EncodeToString([]byte(s)) },
	"HEX":       func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	"query":     url.QueryEscape,
	"percent":   percent,
	"json":      func(s string) string { quoted, _ := json.Marshal(s); return string(quoted) },
	"escaped":   escaped,
	"html":      htmlEntities,
	"lines":     inLines,
	"utf16":     utf16LE,
	"reversed": func(s string) string {
		letters := []byte(s)
		slices.Reverse(letters)
		return string(letters)
	},
}

// presented is the credential of a request without its scheme. The alignments of
// base64 are those of this string.
func presented(r *http.Request) string {
	for _, value := range []string{r.Header.Get("Authorization"), r.Header.Get("X-Api-Key"), r.URL.Query().Get("api_key"), r.Header.Get("Cookie")} {
		if value != "" {
			_, credential, found := strings.Cut(value, " ")
			if !found {
				return value
			}
			return credential
		}
	}
	return ""
}

// echoBody gives the whole request back, as httpbin does.
func echoBody(w http.ResponseWriter, r *http.Request, _ visitor) {
	body, _ := io.ReadAll(r.Body)
	writeJSON(w, http.StatusOK, map[string]any{
		"method": r.Method, "url": r.URL.String(), "host": r.Host, "headers": r.Header, "body": string(body),
	})
}

func echoForm(w http.ResponseWriter, r *http.Request, _ visitor) {
	secret := presented(r)
	switch form := r.PathValue("form"); form {
	case "headers":
		w.Header().Set("X-Echo", secret)
		w.Header().Set("ETag", `"`+secret+`"`)
		w.Header().Set("Set-Cookie", "echo="+secret)
		w.Header().Set("Link", "<https://example.com/?token="+url.QueryEscape(secret)+`>; rel="next"`)
		w.WriteHeader(http.StatusNoContent)
	case "error":
		http.Error(w, "cannot serve "+r.Header.Get("Authorization"), http.StatusInternalServerError)
	case "chunks":
		for _, letter := range secret {
			_, _ = w.Write([]byte(string(letter)))
			_ = http.NewResponseController(w).Flush()
		}
	case "trailer":
		w.Header().Set("Trailer", "X-Echo")
		_, _ = w.Write([]byte("see the trailer"))
		w.Header().Set("X-Echo", secret)
	default:
		encode := encodings[form]
		if encode == nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintf(w, "you sent %s here", encode(secret))
	}
}

// inLines is base64 in short lines, as mail has it (RFC 2045).
func inLines(s string) string {
	var b strings.Builder
	for i, c := range []byte(base64.StdEncoding.EncodeToString([]byte(s))) {
		if i > 0 && i%20 == 0 {
			b.WriteString("\r\n")
		}
		b.WriteByte(c)
	}
	return b.String()
}

// utf16LE is what a Windows service answers with when it does not think of others.
func utf16LE(s string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return string(b)
}

func percent(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

func escaped(s string) string {
	var b strings.Builder
	for _, c := range s {
		fmt.Fprintf(&b, `\u%04x`, c)
	}
	return b.String()
}

func htmlEntities(s string) string {
	var b strings.Builder
	for _, c := range s {
		fmt.Fprintf(&b, "&#%d;", c)
	}
	return b.String()
}
