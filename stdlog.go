package main

import (
	"bytes"
	"io"
)

// discreet is where the standard logger of this process writes. Libraries use it, and net/http takes no other one: there it
// puts what an API sends beyond its answer, an echo of the credential among it, and, when GODEBUG says so, every header.
// It quotes what comes from outside, so a message ends at its first quotation mark.
type discreet struct{ to io.Writer }

func (d discreet) Write(message []byte) (int, error) {
	ours, _, quotes := bytes.Cut(message, []byte(`"`))
	if quotes {
		ours = append(bytes.Clone(ours), "…\n"...)
	}
	if _, err := d.to.Write(ours); err != nil {
		return 0, err
	}
	return len(message), nil
}

// visible is where the log of this process writes. slog quotes every word that has a control character in it, except for DEL.
type visible struct{ to io.Writer }

func (v visible) Write(line []byte) (int, error) {
	if _, err := v.to.Write(bytes.ReplaceAll(line, []byte{0x7f}, []byte(`\x7f`))); err != nil {
		return 0, err
	}
	return len(line), nil
}
