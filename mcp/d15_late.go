package mcp

import "bytes"

// mcp-go v1.2.1 answers an error that it does not wait for, as of a user who took too long, with an error of its own
// under the same id, over stdio and SSE: a client that has asked something under this id takes it for the answer. It passes
// over what has a result, and where it waits it looks at the error first.
func d15(text []byte, m *message) []byte {
	if !m.failed {
		return text
	}
	_, rest, _ := bytes.Cut(text, []byte("{"))
	return append([]byte(`{"result":{},`), rest...)
}
