package mcp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/latchpost/latchpost/auth"
)

// values is a query parameter: a string, a number, true or false, or a list of those. It is nil for anything else, null
// above all: left out, a filter that says null would be none.
type values []string

// UnmarshalJSON takes numbers as they are written.
func (v *values) UnmarshalJSON(data []byte) error {
	var items []json.RawMessage
	if json.Unmarshal(data, &items) != nil || items == nil {
		items = []json.RawMessage{data}
	}
	all := make(values, 0, len(items))
	for _, item := range items {
		var text string
		if json.Unmarshal(item, &text) != nil {
			text = string(item)
		}
		if string(item) == "null" || item[0] == '{' || item[0] == '[' {
			*v = nil
			return nil
		}
		all = append(all, text)
	}
	*v = all
	return nil
}

// plain gives what argument name holds.
func plain(name string, m map[string]values) (map[string][]string, error) {
	if len(m) == 0 {
		return nil, nil
	}
	out := make(map[string][]string, len(m))
	for key, v := range m {
		if v == nil {
			return nil, auth.ErrInvalid.Say("argument %s: the value of %s must be a string, a number, true or false, or a list of these; leave out what has none", name, visible(key, 80))
		}
		out[key] = v
	}
	return out, nil
}

// written are the headers, each of which has a value.
func written(m map[string]*string) (map[string]string, error) {
	out := make(map[string]string, len(m))
	for name, value := range m {
		if value == nil {
			return nil, auth.ErrInvalid.Say("argument headers: the value of %s must be a string; leave out what has none", visible(name, 80))
		}
		out[name] = *value
	}
	return out, nil
}

// part is one part of a multipart body: text or base64.
type part struct {
	Name        string `json:"name"`
	Filename    string `json:"filename"`
	ContentType string `json:"content_type"`
	Text        string `json:"text"`
	Base64      string `json:"base64"`
	File        string `json:"file"`
}

// fileOpener gives the file that an argument names.
type fileOpener func(uri string) (*file, error)

// fill puts the one body that was given into a call, with its content type.
func (a *callArgs) fill(out *auth.Call, open fileOpener) (err error) {
	given := 0
	for _, there := range []bool{len(a.Body) > 0 && string(a.Body) != "null", a.BodyBase64 != "", a.BodyFile != "", len(a.Form) > 0, len(a.Parts) > 0} {
		if there {
			given++
		}
	}
	kind := ""
	switch {
	case given > 1:
		return auth.ErrInvalid.Say("give one of body, body_base64, body_file, form and parts")
	case given == 0 && a.ContentType != "":
		return auth.ErrInvalid.Say("argument content_type: there is no body")
	case given == 0:
		return nil
	case a.ContentType != "" && len(a.Form)+len(a.Parts) > 0:
		return auth.ErrInvalid.Say("argument content_type: form and parts have their own")
	case len(a.Form) > 0:
		out.Form, err = plain("form", a.Form)
		return err
	case len(a.Parts) > 0:
		out.Parts, err = a.parts(open)
		return err
	case a.BodyFile != "":
		one, err := open(a.BodyFile)
		if err != nil {
			return err
		}
		out.Body, kind = one.data, one.mimeType()
	case a.BodyBase64 != "":
		if out.Body, err = unbase64("body_base64", a.BodyBase64); err != nil {
			return err
		}
		kind = "application/octet-stream"
	default:
		if out.Body, kind, err = a.body(); err != nil {
			return err
		}
	}
	out.Headers, err = withContentType(out.Headers, kind, a.ContentType)
	return err
}

func (a *callArgs) parts(open fileOpener) (out []auth.Part, err error) {
	for _, p := range a.Parts {
		one := auth.Part{Name: p.Name, Filename: p.Filename, ContentType: p.ContentType, Data: []byte(p.Text)}
		switch {
		case p.Text != "" && p.Base64 != "", p.Text != "" && p.File != "", p.Base64 != "" && p.File != "":
			return nil, auth.ErrInvalid.Say("argument parts: give either text, base64 or file")
		case p.Base64 != "":
			if one.Data, err = unbase64("parts", p.Base64); err != nil {
				return nil, err
			}
		case p.File != "":
			kept, err := open(p.File)
			if err != nil {
				return nil, err
			}
			one.Data = kept.data
			if one.ContentType == "" {
				one.ContentType = kept.kind
			}
		}
		out = append(out, one)
	}
	return out, nil
}

func unbase64(name, text string) ([]byte, error) {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, auth.ErrInvalid.Say("argument %s: not standard base64", name)
	}
	return data, nil
}

// body gives the bytes of the body argument, and their usual content type.
func (a *callArgs) body() (body []byte, kind string, err error) {
	switch a.Body[0] {
	case '{', '[':
		return bytes.Clone(a.Body), "application/json", nil
	case '"':
		var text string
		if err := json.Unmarshal(a.Body, &text); err != nil {
			return nil, "", auth.ErrInvalid.Say("argument body: not a valid string")
		}
		if looks := strings.TrimSpace(text); (strings.HasPrefix(looks, "{") || strings.HasPrefix(looks, "[")) && json.Valid([]byte(text)) {
			return []byte(text), "application/json", nil
		}
		return []byte(text), "text/plain; charset=utf-8", nil
	}
	return nil, "", auth.ErrInvalid.Say("argument body: must be a string, an object or a list")
}

// withContentType is headers with the content type of the body, which may stand in one place only.
func withContentType(headers map[string]string, kind, given string) (map[string]string, error) {
	out := map[string]string{}
	for name, value := range headers {
		if strings.EqualFold(name, "content-type") {
			if given != "" {
				return nil, auth.ErrInvalid.Say("argument content_type: it is also among the headers")
			}
			kind = value
			continue
		}
		out[name] = value
	}
	if given != "" {
		kind = given
	}
	out["Content-Type"] = kind
	return out, nil
}
