package mcp

import (
	"encoding/json"
	"errors"
	"fmt"
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
	modern bool            // of the stateless protocol of 2026-07-28 or later
}

// The keys that mcp-go reads, by where they stand. It reads with encoding/json, which takes METHOD for
// method and the last of two names; what it sees must be what we saw. So a key that differs from one of
// these in case only is refused, and so is any key that is given twice.
var (
	messageKeys = []string{"jsonrpc", "id", "method", "params", "result", "error"}
	paramKeys   = []string{"name", "uri", "arguments", "_meta", "requestState", "inputResponses", "protocolVersion", "capabilities", "clientInfo", "requestId", "task", "cursor"}
)

// rejection is why a message goes no further.
type rejection struct {
	id     json.RawMessage // null when it cannot be told
	code   int
	reason string
}

func (r *rejection) Error() string { return r.reason }

// parse checks a message as a whole.
func parse(data []byte) (*message, *rejection) {
	if err := strictjson.Check(data, strictjson.Limits{Bytes: maxMessage, Depth: maxDepth}); err != nil {
		code := protocol.PARSE_ERROR
		if json.Valid(data) {
			code = protocol.INVALID_REQUEST
		}
		return nil, &rejection{nil, code, visible(err.Error(), 200)}
	}
	top, err := object(data, messageKeys)
	if err != nil {
		return nil, &rejection{nil, protocol.INVALID_REQUEST, "a message must be one JSON object: " + err.Error()}
	}
	m := &message{id: top["id"]}
	if !validID(m.id) {
		return nil, &rejection{nil, protocol.INVALID_REQUEST, "id must be a short string or a whole number"}
	}
	answers := top["result"] != nil || top["error"] != nil
	if text(top["jsonrpc"]) != "2.0" || (top["method"] != nil) == answers {
		return nil, &rejection{m.id, protocol.INVALID_REQUEST, "not a JSON-RPC 2.0 message"}
	}
	if answers {
		return m, nil
	}
	if m.method = text(top["method"]); m.method == "" {
		return nil, &rejection{m.id, protocol.INVALID_REQUEST, "method must be a string"}
	}
	if err := m.params(top["params"]); err != nil {
		return nil, &rejection{m.id, protocol.INVALID_REQUEST, "params: " + err.Error()}
	}
	return m, nil
}

func (m *message) params(raw json.RawMessage) error {
	if raw == nil {
		return nil
	}
	params, err := object(raw, paramKeys)
	if err != nil {
		return err
	}
	m.name = text(params["name"])
	if params["_meta"] == nil {
		return nil
	}
	meta, err := object(params["_meta"], nil) // mcp-go reads it as a map, so keys count as they are written
	if err != nil {
		return fmt.Errorf("_meta: %w", err)
	}
	m.modern = protocol.IsModernProtocol(text(meta[protocol.MetaKeyProtocolVersion]))
	return nil
}

// object reads one level of an object. Keys that are like one of names must be equal to it.
func object(raw json.RawMessage, names []string) (map[string]json.RawMessage, error) {
	var out map[string]json.RawMessage
	if err := json.Unmarshal(raw, &out); err != nil || out == nil {
		return nil, errors.New("must be an object")
	}
	for key := range out {
		for _, name := range names {
			if key != name && strings.EqualFold(key, name) {
				return nil, errors.New(name + " must be written so")
			}
		}
	}
	return out, nil
}

// text is a JSON string, or "" for anything else.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// asks reports whether an answer is due.
func (m *message) asks() bool { return m.method != "" && m.id != nil }

// validID takes what survives a trip through float64 and back; no id at all is fine too.
func validID(id json.RawMessage) bool {
	if id == nil {
		return true
	}
	if id[0] == '"' {
		return len(id) <= 256
	}
	var n int64
	const exact = 1 << 53
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
