package mcp

import (
	"bytes"
	"encoding/json"
	"errors"

	protocol "github.com/mark3labs/mcp-go/mcp"

	"github.com/latchpost/latchpost/providers/strictjson"
)

// Bounds of one message, on every transport.
const (
	maxMessage = 4 << 20
	maxDepth   = 64
)

// message is a JSON-RPC message as far as the checks in front of mcp-go look at it. mcp-go reads
// with encoding/json, which takes METHOD for method and the last of two names; what
// it would see must be what we saw, so a key that differs from one of these in case only is
// refused, and so is any key that is given twice.
type message struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  struct {
		Name            string          `json:"name"`
		URI             string          `json:"uri"`
		Arguments       json.RawMessage `json:"arguments"`
		Meta            meta            `json:"_meta"`
		RequestState    json.RawMessage `json:"requestState"`
		InputResponses  json.RawMessage `json:"inputResponses"`
		ProtocolVersion json.RawMessage `json:"protocolVersion"`
		Capabilities    json.RawMessage `json:"capabilities"`
		ClientInfo      json.RawMessage `json:"clientInfo"`
		RequestID       json.RawMessage `json:"requestId"`
		Task            json.RawMessage `json:"task"`
		Cursor          json.RawMessage `json:"cursor"`
	} `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

type meta struct {
	Version       json.RawMessage `json:"io.modelcontextprotocol/protocolVersion"`
	ClientInfo    json.RawMessage `json:"io.modelcontextprotocol/clientInfo"`
	Capabilities  json.RawMessage `json:"io.modelcontextprotocol/clientCapabilities"`
	ProgressToken json.RawMessage `json:"progressToken"`
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
	var m message
	if err := strictjson.Decode(data, &m, strictjson.Limits{Bytes: maxMessage, Depth: maxDepth, Unknown: true}); err != nil {
		code, wrong := protocol.PARSE_ERROR, (*strictjson.Error)(nil)
		if json.Valid(data) {
			code = protocol.INVALID_REQUEST
		}
		reason := "the message is not in order"
		if errors.As(err, &wrong) {
			reason = visible(wrong.Error(), 200)
		}
		return nil, &rejection{nil, code, reason}
	}
	if bytes.TrimSpace(data)[0] != '{' {
		return nil, &rejection{nil, protocol.INVALID_REQUEST, "a message must be one JSON object"}
	}
	if !validID(m.ID) {
		return nil, &rejection{nil, protocol.INVALID_REQUEST, "id must be a short string or a whole number"}
	}
	asks, answers := m.Method != "", m.Result != nil || m.Error != nil
	if m.JSONRPC != "2.0" || asks == answers {
		return nil, &rejection{m.ID, protocol.INVALID_REQUEST, "not a JSON-RPC 2.0 message"}
	}
	return &m, nil
}

// asks reports whether an answer is due.
func (m *message) asks() bool { return m.Method != "" && m.ID != nil }

// modern reports whether the message belongs to the stateless protocol of 2026-07-28 or later.
func (m *message) modern() bool {
	var version string
	return json.Unmarshal(m.Params.Meta.Version, &version) == nil && protocol.IsModernProtocol(version)
}

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
