package mcp

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"sync"
	"time"

	protocol "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/latchpost/latchpost/auth"
)

// mcp-go v1.2.1 has three session managers: one takes any id of the right form (D7), one forgets what
// clients declared (D6), one never shrinks (D12); none knows whose a session is, a GET is not checked
// at all, and a missing id is a 404 (D13). sessions is bounded, ends what is idle, and gives a
// session to the caller who started it only. Nothing of the broker is kept in one: a lost session
// costs a client one more initialize.
type sessions struct {
	now    func() time.Time
	ttl    time.Duration
	most   int             // per caller
	forget func(id string) // tells mcp-go, which keeps some kilobytes of each; nil without it
	mu     sync.Mutex
	known  map[string]*session
}

// codeNoSession goes with the 404 of a session that is not there, as in the official SDKs. Hosts take the 404 alone for a
// wrong address, and start no other session.
const codeNoSession = -32001

type session struct {
	owner   principal
	used    time.Time
	streams int             // that are open: the client is there, though it asks nothing
	lives   context.Context // streams end with it
	end     context.CancelFunc
}

// idle is how long nobody has used the session.
func (s *session) idle(now time.Time) time.Duration {
	if s.streams > 0 {
		return 0
	}
	return now.Sub(s.used)
}

func newSessions(now func() time.Time, ttl time.Duration, most int) *sessions {
	return &sessions{now: now, ttl: ttl, most: most, known: map[string]*session{}}
}

// open starts a session.
func (s *sessions) open(owner principal) string {
	id, gone := s.add(owner)
	if s.forget != nil {
		for _, old := range gone {
			s.forget(old)
		}
	}
	return id
}

// add makes a session, and names those that it took out.
func (s *sessions) add(owner principal) (id string, gone []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var callers, owners tally
	for id, one := range s.known {
		idle := one.idle(now)
		if idle > s.ttl {
			s.remove(id)
			gone = append(gone, id)
			continue
		}
		if one.owner.owner() == owner.owner() {
			owners.add(id, idle)
		}
		if one.owner == owner {
			callers.add(id, idle)
		}
	}
	oldest := ""
	switch {
	case callers.count >= s.most:
		oldest = callers.oldest
	case owners.count >= s.most*manyClients:
		oldest = owners.oldest
	}
	if oldest != "" {
		s.remove(oldest)
		gone = append(gone, oldest)
	}
	id = rand.Text()
	one := &session{owner: owner, used: now}
	one.lives, one.end = context.WithCancel(context.Background())
	s.known[id] = one
	return id, gone
}

// tally counts sessions and remembers the one that was used least recently.
type tally struct {
	count  int
	oldest string
	idle   time.Duration
}

func (t *tally) add(id string, idle time.Duration) {
	if t.count++; t.oldest == "" || idle > t.idle {
		t.oldest, t.idle = id, idle
	}
}

// remove is for who has the lock.
func (s *sessions) remove(id string) {
	if one := s.known[id]; one != nil {
		one.end()
		delete(s.known, id)
	}
}

// begun follows the answer to initialize. mcp-go files a session only then, and by that time it may have
// made room for another.
func (s *sessions) begun(id string) {
	s.mu.Lock()
	_, lives := s.known[id]
	s.mu.Unlock()
	if id != "" && !lives {
		s.forget(id)
	}
}

// use reports whether id is a live session of owner, and keeps it alive.
func (s *sessions) use(id string, owner principal) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.known[id]
	if one == nil || one.owner != owner || one.idle(s.now()) > s.ttl {
		return false
	}
	one.used = s.now()
	return true
}

// hold keeps a session alive until somebody leaves its stream, whose request is r; inside ends with the session.
func (s *sessions) hold(r *http.Request) (inside *http.Request, leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.known[r.Header.Get(server.HeaderKeySessionID)]
	if one == nil { // ended meanwhile, or a client of 2026-07-28, which has none
		return r, func() {}
	}
	one.streams++
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(one.lives, cancel)
	return r.WithContext(ctx), func() {
		stop()
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		one.streams--
		one.used = s.now()
	}
}

// forgetIn ends what mcp-go keeps of a session, for which it has no other way than a DELETE.
func forgetIn(inner *server.StreamableHTTPServer) func(id string) {
	return func(id string) {
		r := &server.HTTPRequest{Method: http.MethodDelete, Header: http.Header{}, Context: context.Background()}
		r.Header.Set(server.HeaderKeySessionID, id)
		inner.Handle(nowhere{http.Header{}}, r)
	}
}

// nowhere is an answer that nobody waits for.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header       { return n.header }
func (nowhere) WriteHeader(int)             {}
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Flush()                      {}
func (nowhere) CanStream() bool             { return false }

func (s *sessions) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(id)
}

// admit checks the session of a request before mcp-go sees it: 400 without one, 404 when it is
// unknown, over, or somebody else's.
func (s *sessions) admit(w http.ResponseWriter, r *http.Request, caller auth.Caller) bool {
	ids := r.Header.Values(server.HeaderKeySessionID)
	switch {
	case len(ids) != 1 || ids[0] == "":
		refuse(w, http.StatusBadRequest, &rejection{nil, protocol.INVALID_REQUEST, "the Mcp-Session-Id header is missing; call initialize first"})
	case !s.use(ids[0], principalOf(caller)):
		refuse(w, http.StatusNotFound, &rejection{nil, codeNoSession, "no such session; call initialize again"})
	default:
		return true
	}
	return false
}

// ResolveSessionIdManager gives mcp-go the sessions of the request's caller; without a request,
// which is its end, of nobody: enough to end one.
func (s *sessions) ResolveSessionIdManager(r *http.Request) server.SessionIdManager {
	if r == nil {
		return callersSessions{s, principal{}}
	}
	return callersSessions{s, principalOf(callerFrom(r.Context()))}
}

// callersSessions implements server.SessionIdManager for one caller.
type callersSessions struct {
	all   *sessions
	owner principal
}

func (c callersSessions) Generate() string { return c.all.open(c.owner) }

func (c callersSessions) Validate(id string) (terminated bool, err error) {
	if !c.all.use(id, c.owner) {
		return false, errors.New("no such session")
	}
	return false, nil
}

func (c callersSessions) Terminate(id string) (notAllowed bool, err error) {
	c.all.end(id)
	return false, nil
}
