package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"sync"
	"time"

	protocol "github.com/mark3labs/mcp-go/mcp"
)

// mcp-go v1.2.1 drops the calls that are still queued when stdin ends (measured 169 of 500 answered).
// So the end is held back until every request that was read has its answer.
const drainTime = 5 * time.Second

// inFlight counts the requests that mcp-go still owes an answer.
type inFlight struct {
	mu   sync.Mutex
	due  int
	zero chan struct{} // closed when due falls to 0; nil when nobody waits
}

// admit counts a request in.
func (f *inFlight) admit(m *message) *rejection {
	if !m.asks() {
		return nil
	}
	most := math.MaxInt
	if m.method == string(protocol.MethodToolsCall) {
		most = maxDue
	}
	if !f.take(most) {
		return &rejection{m.id, codeBusy, "busy: too many calls at once; wait for answers, then try again"}
	}
	return nil
}

// take counts a request in, unless most are due already.
func (f *inFlight) take(most int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.due >= most {
		return false
	}
	f.due++
	return true
}

// answered counts a request out.
func (f *inFlight) answered() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.due = max(0, f.due-1)
	if f.due == 0 && f.zero != nil {
		close(f.zero)
		f.zero = nil
	}
}

// drain waits until nothing is due.
func (f *inFlight) drain(ctx context.Context) {
	f.mu.Lock()
	if f.due == 0 {
		f.mu.Unlock()
		return
	}
	zero := make(chan struct{})
	f.zero = zero
	f.mu.Unlock()
	select {
	case <-zero:
	case <-time.After(drainTime):
	case <-ctx.Done():
	}
}

// answerTo gives the id of the request that p answers. It reads only the keys at the front: jsonrpc and id stand there, and
// after them result or error in an answer, method in anything else.
func answerTo(p []byte) (id json.RawMessage, is bool) {
	dec := json.NewDecoder(bytes.NewReader(p))
	if _, err := dec.Token(); err != nil {
		return nil, false
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, false
		}
		var value json.RawMessage
		switch key {
		case "result", "error":
			return id, true
		case "method":
			return nil, false
		}
		if dec.Decode(&value) != nil {
			return nil, false
		}
		if key == "id" {
			id = value
		}
	}
	return nil, false
}
