package egress

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

var (
	errTooLarge = &Error{Kind: KindTooLarge, Sent: true, text: "the answer is too large"}
	errEncoding = &Error{Kind: KindAnswer, Sent: true, text: "the answer comes in an encoding that was not asked for"}
	errSwitched = &Error{Kind: KindAnswer, Sent: true, text: "the answer changes to a protocol that was not asked for"}
	errSilent   = &Error{Kind: KindTimeout, Sent: true, text: "the answer stopped half-way", cause: context.DeadlineExceeded}
	errResent   = &Error{Kind: KindNetwork, Sent: true, text: "the connection broke, and the request is not sent again"}
)

// read decodes at most limit bytes. The bound counts decoded bytes, and the encoded ones as well, because
// gzip can be made of members that are empty.
func (c *Client) read(res *http.Response, abort context.CancelCauseFunc, limit int64, truncate bool) ([]byte, bool, error) {
	if res.StatusCode == http.StatusSwitchingProtocols { // net/http hands over the bare connection, which no context ends
		return nil, false, errSwitched
	}
	timer := time.AfterFunc(c.opt.IdleTimeout, func() { abort(errSilent) })
	defer timer.Stop()
	idle := &idleReader{res.Body, timer, c.opt.IdleTimeout}
	var body io.Reader = idle
	switch strings.ToLower(strings.Join(res.Header.Values("Content-Encoding"), ", ")) { // two are one list, in two lines too
	case "", "identity":
	case "gzip", "x-gzip":
		body = &gunzip{r: io.LimitReader(idle, limit+limit/8+64<<10)}
	default:
		return nil, false, errEncoding
	}
	var b bytes.Buffer
	if n := res.ContentLength; n > 0 {
		b.Grow(int(min(n, limit)) + bytes.MinRead)
	}
	_, err := b.ReadFrom(io.LimitReader(body, limit+1))
	switch {
	case int64(b.Len()) > limit && truncate:
		return b.Bytes()[:limit], true, nil
	case int64(b.Len()) > limit:
		return nil, false, errTooLarge
	case err != nil:
		return nil, false, err
	}
	return b.Bytes(), false, nil
}

// gunzip opens the gzip stream at the first read, so that an empty body (HEAD, 204, 304) is just empty.
type gunzip struct {
	r  io.Reader
	zr *gzip.Reader
}

func (g *gunzip) Read(p []byte) (int, error) {
	if g.zr == nil {
		zr, err := gzip.NewReader(g.r)
		if err != nil {
			return 0, err
		}
		g.zr = zr
	}
	return g.zr.Read(p)
}

// idleReader puts its timer off with every Read.
type idleReader struct {
	r     io.Reader
	timer *time.Timer
	limit time.Duration
}

func (i *idleReader) Read(p []byte) (int, error) {
	i.timer.Reset(i.limit)
	return i.r.Read(p)
}

// exchangeError dresses whatever net/http said. Its own texts quote what the server sent, so none of them is passed on
// but those of the network and of certificates.
func exchangeError(outer, ctx context.Context, sent bool, err error) error {
	for _, known := range []error{context.Cause(ctx), err} {
		if e, ok := errors.AsType[*Error](known); ok {
			e := *e
			e.Sent = sent
			return &e
		}
	}
	e := &Error{Kind: KindAnswer, Sent: sent, text: "the answer is not valid HTTP"}
	var netErr net.Error
	var op *net.OpError
	switch {
	case errors.Is(outer.Err(), context.Canceled):
		e.Kind, e.text, e.cause = KindCanceled, "canceled", context.Canceled
	case ctx.Err() != nil, errors.As(err, &netErr) && netErr.Timeout():
		e.Kind, e.text, e.cause = KindTimeout, "no answer in time", context.DeadlineExceeded
	case isTLS(err):
		e.Kind, e.text, e.detail = KindTLS, "no trusted TLS connection", err.Error()
	case errors.As(err, &op):
		e.Kind, e.text, e.detail = KindNetwork, "the connection broke", op.Error()
	case strings.Contains(err.Error(), "client connection lost"): // no answer to our ping
		e.Kind, e.text = KindNetwork, "the connection broke"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "closed"):
		e.Kind, e.text = KindNetwork, "the connection was closed before the answer was whole"
	case strings.Contains(err.Error(), "header") && (strings.Contains(err.Error(), "exceeded") || strings.Contains(err.Error(), "larger than")):
		e.Kind, e.text = KindTooLarge, "the answer's header is too large"
	}
	return e
}

func isTLS(err error) bool {
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var host x509.HostnameError
	return errors.As(err, &cert) || errors.As(err, &record) || errors.As(err, &alert) || errors.As(err, &host) ||
		strings.HasPrefix(err.Error(), "tls: ") || strings.HasPrefix(err.Error(), "remote error: tls: ")
}
