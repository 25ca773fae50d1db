package mcp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/latchpost/latchpost/auth"
)

// values is a query parameter: a string, a number, true or false, or a list of those.
type values []string

// UnmarshalJSON takes numbers as they are written.
func (v *values) UnmarshalJSON(data []byte) error {
	var items []json.RawMessage
	if json.Unmarshal(data, &items) != nil {
		items = []json.RawMessage{data}
	}
	for _, item := range items {
		var text string
		if json.Unmarshal(item, &text) != nil {
			if text = string(item); strings.ContainsAny(text, "{[") || text == "null" {
				return errors.New("query: each value must be a string, a number, true or false, or a list of these")
			}
		}
		*v = append(*v, text)
	}
	return nil
}

// body gives the bytes to send and their usual content type; nil for none.
func (a *callArgs) body() (body []byte, kind string, err error) {
	given := len(a.Body) > 0 && string(a.Body) != "null"
	switch {
	case given && a.BodyBase64 != "":
		return nil, "", auth.ErrInvalid.Say("give either body or body_base64")
	case a.BodyBase64 != "":
		if body, err = base64.StdEncoding.DecodeString(a.BodyBase64); err != nil {
			return nil, "", auth.ErrInvalid.Say("argument body_base64: not standard base64")
		}
		return body, "application/octet-stream", nil
	case !given && a.ContentType != "":
		return nil, "", auth.ErrInvalid.Say("argument content_type: there is no body")
	case !given:
		return nil, "", nil
	case a.Body[0] == '"':
		var text string
		if err := json.Unmarshal(a.Body, &text); err != nil {
			return nil, "", auth.ErrInvalid.Say("argument body: not a valid string")
		}
		if looks := strings.TrimSpace(text); (strings.HasPrefix(looks, "{") || strings.HasPrefix(looks, "[")) && json.Valid([]byte(text)) {
			return []byte(text), "application/json", nil
		}
		return []byte(text), "text/plain; charset=utf-8", nil
	case a.Body[0] == '{', a.Body[0] == '[':
		return bytes.Clone(a.Body), "application/json", nil
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
