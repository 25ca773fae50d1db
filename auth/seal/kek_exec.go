package seal

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// execKEK is a master key that a command knows how to use, so that any KMS
// works without its SDK in here. OpenKEK has the protocol.
type execKEK struct {
	argv []string
	id   string
}

const (
	execTimeout   = 30 * time.Second
	execMaxOutput = 64 << 10
)

var kekID = regexp.MustCompile(`^[0-9a-f]{16}$`)

func openExec(ctx context.Context, command string) (KEK, error) {
	k := execKEK{argv: strings.Fields(command)}
	if len(k.argv) == 0 {
		return nil, errors.New("an exec key URL is exec:COMMAND")
	}
	out, err := k.run(ctx, "id", nil)
	if err != nil {
		return nil, err
	}
	k.id = string(bytes.TrimSpace(out))
	if !kekID.MatchString(k.id) {
		return nil, fmt.Errorf("`%s id` must print 16 lower-case hex characters, the same ones each time for the same key: correct the command", k.argv[0])
	}
	return k, nil
}

func (k execKEK) ID() string { return k.id }

func (k execKEK) Wrap(ctx context.Context, dataKey []byte) ([]byte, error) {
	return k.convert(ctx, "wrap", dataKey)
}

func (k execKEK) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	return k.convert(ctx, "unwrap", wrapped)
}

// convert passes base64 both ways.
func (k execKEK) convert(ctx context.Context, verb string, in []byte) ([]byte, error) {
	encoded := append(base64.StdEncoding.AppendEncode(nil, in), '\n')
	defer clear(encoded)
	out, err := k.run(ctx, verb, encoded)
	if err != nil {
		return nil, err
	}
	defer clear(out)
	decoded, err := base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(out))
	if err != nil || len(decoded) == 0 {
		return nil, fmt.Errorf("`%s %s` must print base64 on one line: correct the command", k.argv[0], verb)
	}
	return decoded, nil
}

// run returns what the command printed. Its errors name the program only: the
// other arguments may say more than a log should hold.
func (k execKEK) run(ctx context.Context, verb string, stdin []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, execTimeout)
	defer cancel()
	args := append(k.argv[1:len(k.argv):len(k.argv)], verb)
	cmd := exec.CommandContext(ctx, k.argv[0], args...)
	stdout, stderr := &bounded{max: execMaxOutput}, &bounded{max: execMaxOutput}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), stdout, stderr
	cmd.WaitDelay = time.Second // a grandchild may hold the pipes open
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("`%s %s` was stopped before it answered (%w): check that the key service can be reached, and try again", k.argv[0], verb, context.Cause(ctx))
	case stdout.over || stderr.over:
		return nil, fmt.Errorf("`%s %s` printed more than %d KiB: correct the command", k.argv[0], verb, execMaxOutput>>10)
	case err != nil:
		return nil, fmt.Errorf("`%s %s` failed (%w)%s: run it by hand to see why", k.argv[0], verb, err, shortReason(stderr.kept))
	}
	return stdout.kept, nil
}

var printable = regexp.MustCompile(`^[ -~]{1,200}$`)

// shortReason is the command's own word on a failure when it is one line of
// plain text; more may be a dump with anything in it.
func shortReason(stderr []byte) string {
	line := bytes.TrimSpace(stderr)
	if !printable.Match(line) {
		return ""
	}
	return ": " + string(line)
}

// bounded keeps what is written, and stops the writer at max bytes. It does not
// embed its buffer: io.Copy would find ReadFrom there and go past Write.
type bounded struct {
	kept []byte
	max  int
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.kept)+len(p) > b.max {
		b.over = true
		return 0, errors.New("too much output")
	}
	b.kept = append(b.kept, p...)
	return len(p), nil
}
