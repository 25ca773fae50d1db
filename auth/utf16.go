package auth

import (
	"bytes"
	"encoding/binary"
	"mime"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// fromUTF16 gives a body in UTF-16 as UTF-8, so that it is read, and cleaned, like any other text; wide tells that it was
// one. It begins with its mark, or is ASCII in every unit. What could be something else stays as it is.
func fromUTF16(contentType string, body []byte) (text []byte, wide bool) {
	order := orderOf(body)
	if _, is := isBinary(contentType); is || order == nil {
		return body, false
	}
	text = make([]byte, 0, len(body))
	for i := 0; i+1 < len(body); i += 2 {
		r := rune(order.Uint16(body[i:]))
		if utf16.IsSurrogate(r) {
			if i += 2; i+1 >= len(body) {
				break // half a character, at the end
			}
			if r = utf16.DecodeRune(r, rune(order.Uint16(body[i:]))); r == unicode.ReplacementChar {
				return body, false
			}
		}
		if r == 0 {
			return body, false
		}
		text = utf8.AppendRune(text, r)
	}
	return text, true
}

// orderOf is the order of the bytes in UTF-16, nil when the body does not look like that.
func orderOf(body []byte) binary.ByteOrder {
	switch {
	case bytes.HasPrefix(body, []byte("\xff\xfe")), ascii(body, 0):
		return binary.LittleEndian
	case bytes.HasPrefix(body, []byte("\xfe\xff")), ascii(body, 1):
		return binary.BigEndian
	}
	return nil
}

// ascii reports whether every unit of two bytes has a character of text at this place, and nothing at the other.
func ascii(body []byte, at int) bool {
	if len(body) < 4 {
		return false
	}
	for i, c := range body {
		if text := c >= ' ' && c <= '~' || c == '\n' || c == '\r' || c == '\t'; i%2 == at && !text || i%2 != at && c != 0 {
			return false
		}
	}
	return true
}

// inUTF8 is a type whose charset is what the body is in now.
func inUTF8(contentType string) string {
	kind, parameters, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.HasPrefix(strings.ToLower(parameters["charset"]), "utf-16") {
		return contentType
	}
	parameters["charset"] = "utf-8"
	return mime.FormatMediaType(kind, parameters)
}
