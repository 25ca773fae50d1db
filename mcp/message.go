package mcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	protocol "github.com/mark3labs/mcp-go/mcp"

	"github.com/latchpost/latchpost/providers/strictjson"
)

// Bounds of one message, on every transport.
const (
	maxMessage = 4 << 20
	maxDepth   = 64
)

// message is a JSON-RPC message as far as the checks in front of mcp-go look at it.
type message struct {
	id     json.RawMessage // nil without
	method string          // "" in an answer
	name   string          // of the tool, in params
	about  json.RawMessage // the requestId in params
	modern bool            // of the stateless protocol of 2026-07-28 or later
	failed bool            // an answer that is an error
}

// rejection is why a message goes no further.
type rejection struct {
	id     json.RawMessage // null when it cannot be told
	code   int
	reason string
}

func (r *rejection) Error() string { return r.reason }

// parse checks a message as a whole.
func parse(data []byte) (*message, *rejection) {
	m, bad := check(data)
	if bad != nil {
		bad.id, _ = asker(data)
	}
	return m, bad
}

func check(data []byte) (*message, *rejection) {
	if err := strictjson.Check(data, strictjson.Limits{Bytes: maxMessage, Depth: maxDepth}); err != nil {
		code := protocol.PARSE_ERROR
		if json.Valid(data) {
			code = protocol.INVALID_REQUEST
		}
		return nil, &rejection{code: code, reason: visible(err.Error(), 200)}
	}
	var version, method, params, result, failure json.RawMessage
	m := &message{}
	err := object(data, field{"jsonrpc", &version}, field{"id", &m.id}, field{"method", &method}, field{"params", &params},
		field{"result", &result}, field{"error", &failure})
	if err != nil {
		return nil, &rejection{code: protocol.INVALID_REQUEST, reason: "a message must be one JSON object: " + err.Error()}
	}
	if !validID(m.id) {
		return nil, &rejection{code: protocol.INVALID_REQUEST, reason: "id must be a short string or a whole number"}
	}
	answers := result != nil || failure != nil
	m.failed = result == nil && isObject(failure)
	if answers && (method != nil || !m.failed && (!isObject(result) || isObject(failure))) {
		return nil, &rejection{code: protocol.INVALID_REQUEST, reason: "an answer must have a result or an error"} // its id is ours
	}
	if text(version) != "2.0" || (method != nil) == answers {
		return nil, &rejection{code: protocol.INVALID_REQUEST, reason: "not a JSON-RPC 2.0 message"}
	}
	if answers {
		return m, nil
	}
	if m.method = text(method); m.method == "" {
		return nil, &rejection{code: protocol.INVALID_REQUEST, reason: "method must be a string"}
	}
	if err := m.params(params); err != nil {
		return nil, &rejection{code: protocol.INVALID_REQUEST, reason: "params: " + err.Error()}
	}
	return m, nil
}

func (m *message) params(raw json.RawMessage) error {
	if raw == nil {
		return nil
	}
	var name, meta json.RawMessage
	err := object(raw, field{"name", &name}, field{"_meta", &meta}, field{"uri", nil}, field{"arguments", nil}, field{"requestState", nil},
		field{"inputResponses", nil}, field{"protocolVersion", nil}, field{"capabilities", nil}, field{"clientInfo", nil},
		field{"requestId", &m.about}, field{"task", nil}, field{"cursor", nil})
	if err != nil {
		return err
	}
	m.name = text(name)
	if meta == nil {
		return nil
	}
	if !isObject(meta) {
		return errors.New("_meta must be an object")
	}
	for key, value := range members(meta) { // mcp-go reads it as a map, so keys count as they are written
		if text(key) == protocol.MetaKeyProtocolVersion {
			m.modern = protocol.IsModernProtocol(text(value))
		}
	}
	return nil
}

// field is a key that mcp-go reads. It reads with encoding/json, which takes METHOD for method and the last
// of two names; what it sees must be what we saw. So a key that differs from one of these in case only is
// refused, as is (by strictjson) any key that is given twice.
type field struct {
	name  string
	value *json.RawMessage // where it goes; nil when only its name matters
}

// object reads one level of an object.
func object(raw json.RawMessage, fields ...field) error {
	if !isObject(raw) {
		return errors.New("must be an object")
	}
	for quoted, value := range members(raw) {
		key := text(quoted)
		for _, f := range fields {
			if key == f.name && f.value != nil {
				*f.value = value
			}
			if key != f.name && strings.EqualFold(key, f.name) {
				return errors.New(f.name + " must be written so")
			}
		}
	}
	return nil
}

func isObject(raw json.RawMessage) bool {
	return bytes.HasPrefix(bytes.TrimLeft(raw, blanks), []byte("{"))
}

// text is a JSON string, or "" for anything else.
func text(raw json.RawMessage) string {
	if len(raw) > 1 && raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// asks reports whether an answer is due.
func (m *message) asks() bool { return m.method != "" && m.id != nil }

// Bounds of an id, and of a progress token.
const (
	maxID = 256     // bytes
	exact = 1 << 53 // up to here float64 has every whole number
)

// validID takes what survives a trip through float64 and back; no id at all is fine too.
func validID(id json.RawMessage) bool {
	if id == nil {
		return true
	}
	if id[0] == '"' {
		return len(id) <= maxID
	}
	var n int64
	return json.Unmarshal(id, &n) == nil && string(id) != "null" && n >= -exact && n <= exact
}

// answer is the JSON-RPC error for a rejected message.
func (r *rejection) answer() []byte {
	id := r.id
	if id == nil {
		id = json.RawMessage("null")
	}
	text, _ := json.Marshal(map[string]any{
		"jsonrpc": "2.0", "id": id, "error": map[string]any{"code": r.code, "message": r.reason},
	})
	return text
}
