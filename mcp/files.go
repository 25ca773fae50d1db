package mcp

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	protocol "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/latchpost/latchpost/auth"
)

// Bounds of what is kept of binary answers; one has at most the 1 MiB of every answer.
const (
	fileLife    = 10 * time.Minute // since it was last asked for
	ownersFiles = 16
	allFiles    = 128
)

// inlineFile is up to how many bytes a binary answer is in the result as well.
const inlineFile = 4 << 10

const filePrefix = "latchpost://files/"

// files keeps binary answers of APIs for the callers who got them, so that they can be
// sent on, or read by the host, and need not pass through the model. In memory: a file is known
// to the process that received it, and lost when that ends.
type files struct {
	now   func() time.Time
	mu    sync.Mutex
	known []*file // the one that is due first stands first
}

type file struct {
	id    string
	of    principal
	kind  string // content type; "" is unknown
	data  []byte
	cut   bool // there was more than data
	until time.Time
}

var errNoFile = auth.ErrNotFound.Say("there is no such file any more: Latchpost keeps a file for 10 minutes, for the client that received it; repeat the call that brought it")

// keep takes a new file in and names it. The owner's oldest makes room for it, or else the
// oldest of all.
func (f *files) keep(of principal, one file) *fileAnswer {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sweep()
	mine := func(other *file) bool { return other.of.owner() == of.owner() }
	count := 0
	for _, other := range f.known {
		if mine(other) {
			count++
		}
	}
	switch {
	case count >= ownersFiles:
		i := slices.IndexFunc(f.known, mine)
		f.known = slices.Delete(f.known, i, i+1)
	case len(f.known) >= allFiles:
		f.known = slices.Delete(f.known, 0, 1)
	}
	one.id, one.of, one.until = rand.Text(), of, f.now().Add(fileLife)
	f.known = append(f.known, &one)
	return &fileAnswer{URI: filePrefix + one.id, ContentType: one.mimeType(), Bytes: len(one.data)}
}

// get gives a file to the caller who received it, to nobody else, and keeps it anew.
func (f *files) get(of principal, uri string) (*file, error) {
	id, ours := strings.CutPrefix(uri, filePrefix)
	if !ours {
		return nil, auth.ErrInvalid.Say("a file is named by its URI, %sID, from the answer that brought it", filePrefix)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sweep()
	i := slices.IndexFunc(f.known, func(one *file) bool { return one.id == id && one.of == of })
	if i < 0 {
		return nil, errNoFile
	}
	one := f.known[i]
	one.until = f.now().Add(fileLife)
	f.known = append(slices.Delete(f.known, i, i+1), one)
	return one, nil
}

// whole is get for a file that is to be sent on, which half a file must not be.
func (f *files) whole(of principal, uri string) (*file, error) {
	one, err := f.get(of, uri)
	if err == nil && one.cut {
		return nil, auth.ErrInvalid.Say("the file is the first 1 MiB of a larger one; ask the API for parts that fit, with the header Range")
	}
	return one, err
}

func (f *files) sweep() {
	now := f.now()
	f.known = slices.DeleteFunc(f.known, func(one *file) bool { return now.After(one.until) })
}

func (p principal) owner() auth.Owner { return auth.Owner{Org: p.org, User: p.user} }

// fileTemplate tells hosts how the files of results are read.
func fileTemplate() protocol.ResourceTemplate {
	return protocol.NewResourceTemplate(filePrefix+"{id}", "file",
		protocol.WithTemplateDescription("A binary answer of call_api, for 10 minutes and for the client that received it. Untrusted data from outside"))
}

func (s *Server) readFile(ctx context.Context, req protocol.ReadResourceRequest) (_ []protocol.ResourceContents, err error) {
	defer func() {
		if recover() != nil { // mcp-go would tell the client what it was
			err = errors.New(internalError(s.panicked(ctx, string(protocol.MethodResourcesRead))))
		}
	}()
	caller := callerFrom(ctx)
	if !holds(caller, ScopeUse) {
		return nil, noSuchResource(ctx, "this token lacks the scope "+ScopeUse+"; sign in to Latchpost again with it")
	}
	one, err := s.files.get(principalOf(caller), req.Params.URI)
	if err != nil {
		return nil, noSuchResource(ctx, err.Error())
	}
	return []protocol.ResourceContents{protocol.BlobResourceContents{
		URI: req.Params.URI, MIMEType: one.mimeType(), Blob: base64.StdEncoding.EncodeToString(one.data),
	}}, nil
}

// noSuchResource is an error with the code that mcp-go gives a URI that it does not know, which is another since 2026-07-28.
func noSuchResource(ctx context.Context, text string) error {
	code := protocol.RESOURCE_NOT_FOUND
	if server.IsModernRequest(ctx) {
		code = protocol.INVALID_PARAMS
	}
	return d20Error(ctx, &fault{code, text})
}

func (f *file) mimeType() string {
	if f.kind == "" {
		return "application/octet-stream"
	}
	return f.kind
}

// fileAnswer names a kept file in a result.
type fileAnswer struct {
	URI         string `json:"uri"`
	ContentType string `json:"content_type"`
	Bytes       int    `json:"bytes"`
}

// link is the same for hosts that read resources.
func (f *fileAnswer) link() protocol.Content {
	l := protocol.NewResourceLink(f.URI, "answer", "Binary answer of the API", f.ContentType)
	size := int64(f.Bytes)
	l.Size = &size
	return l
}
