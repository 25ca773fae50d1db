package mcp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"sync"
	"time"

	protocol "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// Stdio serves one client: a message per line on in, answers on out, and nothing else on out.
// It returns nil at the end of in, once every call that was read has its answer (or
// drainTime is over), and ctx.Err() when ctx ends first, also when nobody reads out. mcp-go keeps
// the session of stdio in a global, so a process can do this once at a time.
//
// A line over 4 MiB or with doubled keys is refused and the next line read.
func (s *Server) Stdio(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	checked, feed := io.Pipe()
	defer checked.Close()
	l := &line{out: out, feed: feed, cancels: cancels{due: map[any]bool{}}}
	over := make(chan struct{})
	go func() { // ends with in or with the pipe
		defer close(over)
		feed.CloseWithError(l.read(ctx, in))
	}()

	inner := server.NewStdioServer(s.core)
	inner.SetErrorLogger(log.New(io.Discard, "", 0)) // it prints panic values
	d09(inner)
	ended := make(chan error, 1)
	within := server.WithSupportedProtocolVersions(context.WithValue(ctx, cancelsKey{}, &l.cancels), revisions())
	go func() { ended <- inner.Listen(d20(within), checked, l) }()
	var err error
	select {
	case err = <-ended:
	case <-over:
		err = last(ctx, ended)
	case <-ctx.Done():
		err = last(ctx, ended)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return err
}

// endTime is how long the last answers may take to be written.
const endTime = time.Second

// last waits for mcp-go to end, which it does not as long as a client leaves an answer unread.
func last(ctx context.Context, ended <-chan error) error {
	select {
	case err := <-ended:
		return err
	case <-time.After(endTime):
		return ctx.Err()
	}
}

// line stands between a client and mcp-go's stdio server.
type line struct {
	feed *io.PipeWriter // to mcp-go
	inFlight
	opening
	cancels
	writing sync.Mutex // around out, where a write takes as long as the client likes
	out     io.Writer
}

// read forwards what is in order to mcp-go, answers what is not, and at the end of in
// waits for the answers that are still due.
func (l *line) read(ctx context.Context, in io.Reader) error {
	lines := bufio.NewReaderSize(in, 64<<10)
	for {
		text, err := readLine(lines)
		switch {
		case errors.Is(err, errTooLong):
			l.refuse(text, &rejection{nil, protocol.INVALID_REQUEST, "the line is longer than 4 MiB; send less at once"})
			continue
		case err != nil && len(text) == 0:
			l.drain(ctx)
			return err
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		m, bad := parse(text)
		if bad == nil {
			bad = l.admit(m)
		}
		if bad != nil {
			l.refuse(text, bad)
			continue
		}
		l.opening.begin(m)
		l.cancels.read(m)
		if _, err := l.feed.Write(append(d15(text, m), '\n')); err != nil {
			return err
		}
		l.opening.wait(ctx)
	}
}

// refuse answers a message, or what is left of one. An answer is never answered: its id is ours, and the client may have
// asked something under the same.
func (l *line) refuse(message []byte, r *rejection) {
	id, answers := asker(message)
	if answers {
		return
	}
	r.id = id
	l.writing.Lock()
	defer l.writing.Unlock()
	_, _ = l.out.Write(append(r.answer(), '\n'))
}

// Write takes one whole message from mcp-go, which does not lock around all of its writes.
func (l *line) Write(p []byte) (int, error) {
	raw, is := answerTo(p)
	l.writing.Lock()
	defer l.writing.Unlock()
	id := idOf(raw)
	if is {
		l.opening.answered(id)
		l.cancels.answered(id)
	}
	out, _ := recoded(p)
	n, err := l.out.Write(out)
	if is {
		l.inFlight.answered()
	}
	if err == nil {
		n = len(p)
	}
	return min(n, len(p)), err
}

var errTooLong = errors.New("line too long")

// readLine gives the next line without its end. Of a longer one than maxMessage, which is read to
// its end so that the next one can be understood, it gives the outline, with errTooLong.
func readLine(r *bufio.Reader) ([]byte, error) {
	var text []byte
	var long *outline
	for {
		part, err := r.ReadSlice('\n')
		if long == nil && len(text)+len(part) > maxMessage {
			long = &outline{}
			long.add(text)
			text = nil
		}
		if long == nil {
			text = append(text, part...)
		} else {
			long.add(part)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case long != nil && err == nil:
			return long.kept, errTooLong
		}
		return bytes.TrimRight(text, "\r\n"), err
	}
}
