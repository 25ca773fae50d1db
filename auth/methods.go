package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/latchpost/latchpost/auth/egress"
)

// loneWord is a word that may be all of a part.
var loneWord = regexp.MustCompile(`\n\r?\n\s*([A-Za-z]{3,7})\s*\n--`)

// maxParts of a multipart body are read, of what agents send by hand.
const maxParts = 1000

// methods are all that the API may take a call for: the method it is sent with, and
// those that its query or its body names. Facebook reads ?method=delete, WordPress
// ?_method=DELETE, both with a GET; Rails, Laravel, Symfony and Spring read a field
// _method of a form, some of them of JSON too. Nobody knows which of them the API
// obeys, so a call is what all of them are.
//
// ErrInvalid: the content type cannot be read, or the body is not what it says, so it
// cannot be known.
func methods(out egress.Request) ([]string, error) {
	named := formMethods(out.Target.RawQuery)
	more, err := bodyMethods(out.Header.Get("Content-Type"), out.Body)
	if err != nil {
		return nil, err
	}
	named = append(named, more...)
	slices.Sort(named)
	named = slices.DeleteFunc(slices.Compact(named), func(verb string) bool { return verb == out.Method })
	return append([]string{out.Method}, named...), nil
}

// methodOf is one word for all methods of a call, for people, grants and the record: POST as DELETE.
func methodOf(verbs []string) string { return strings.Join(verbs, " as ") }

// methodNamed is the method that a field asks for, if it does. Next to the names that
// are made for it, plain "method" is one; there ordinary words are not taken for verbs.
func methodNamed(name, value string) (verb string, ok bool) {
	name, verb = strings.ToLower(name), strings.ToUpper(strings.TrimSpace(value))
	if !strings.Contains(name, "method") {
		return "", false
	}
	meant := strings.HasPrefix(strings.TrimLeft(name, " ."), "_") || strings.Contains(name, "http") || strings.Contains(name, "override")
	return verb, slices.Contains(callMethods, verb) || meant && verb != "" && len(verb) <= 20 && strings.Trim(verb, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") == ""
}

// endsField reports whether a field of a query or a form ends at r. Some servers end one at a semicolon too.
func endsField(r rune) bool { return r == '&' || r == ';' }

// formMethods reads a query or a form.
func formMethods(form string) (found []string) {
	for part := range strings.FieldsFuncSeq(form, endsField) {
		key, value, _ := strings.Cut(part, "=")
		if verb, ok := methodNamed(unescape(key), unescape(value)); ok {
			found = append(found, verb)
		}
	}
	return found
}

// unescape leaves what is not escaped properly as it is.
func unescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

// bodyMethods reads a body in each way that it can be read, whatever the agent calls
// it: servers are lenient about the type, each in its own way.
func bodyMethods(contentType string, body []byte) ([]string, error) {
	if len(body) == 0 {
		return nil, nil
	}
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil && contentType != "" { // the API may read one all the same, with a character set that nobody checked
		return nil, ErrInvalid.Say("the content type cannot be read; give one type, such as application/json, and each of its parameters once as name=value")
	}
	isJSON := strings.HasSuffix(kind, "/json") || strings.HasSuffix(kind, "+json")
	isForm := kind == "application/x-www-form-urlencoded"
	isParts := strings.Contains(strings.ToLower(contentType), "multipart/")
	charset := strings.ToLower(params["charset"])
	if (isJSON || isForm || isParts) && !slices.Contains([]string{"", "utf-8", "utf8", "us-ascii", "iso-8859-1"}, charset) {
		return nil, ErrInvalid.Say("a body in the character set %.20q cannot be checked; send it as UTF-8", charset)
	}
	found, err := jsonMethods(body)
	switch {
	case isJSON && err != nil && bytes.ContainsRune(body, '{'): // a lenient server may find an object in it
		return nil, ErrInvalid.Say("the body is not the JSON that its content type says; correct one of them")
	case isJSON && err == nil:
		return found, nil
	}
	found = append(found, formMethods(string(body))...)
	if isParts {
		more, err := partMethods(params["boundary"], body)
		if err != nil {
			return nil, ErrInvalid.Say("the multipart body cannot be read; give it as parts")
		}
		found = append(found, more...)
	}
	return found, nil
}

// jsonMethods reads the members of the outermost objects, one after the other, doubled
// ones each.
func jsonMethods(body []byte) (found []string, err error) {
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))))
	for {
		open, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return found, err
		}
		if _, ok := open.(json.Delim); !ok {
			continue
		}
		for dec.More() {
			name := ""
			if open == json.Delim('{') {
				key, err := dec.Token()
				if err != nil {
					return found, err
				}
				name, _ = key.(string)
			}
			var value json.RawMessage
			if err := dec.Decode(&value); err != nil {
				return found, err
			}
			var text string
			if json.Unmarshal(value, &text) == nil {
				if verb, ok := methodNamed(name, text); ok {
					found = append(found, verb)
				}
			}
		}
		if _, err := dec.Token(); err != nil {
			return found, err
		}
	}
}

// partMethods takes every part that holds a method and nothing else for a field that
// asks for it: how the name of a part is read differs too much from server to server.
func partMethods(boundary string, body []byte) (found []string, err error) {
	if boundary == "" {
		return nil, errors.New("no boundary")
	}
	for _, alone := range loneWord.FindAllSubmatch(body, -1) { // at whatever boundary the server sees
		if verb, ok := methodNamed("method", string(alone[1])); ok {
			found = append(found, verb)
		}
	}
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for range maxParts {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(io.LimitReader(part, 256))
		if err != nil {
			return nil, err
		}
		text := strings.TrimSpace(string(content))
		if plain, err := base64.StdEncoding.DecodeString(text); err == nil && part.Header.Get("Content-Transfer-Encoding") != "" {
			text = string(plain)
		}
		if verb, ok := methodNamed("method", text); ok {
			found = append(found, verb)
		} else if verb, ok := methodNamed(part.FormName(), text); ok {
			found = append(found, verb)
		}
	}
	return nil, errors.New("too many parts")
}
