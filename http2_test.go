package main

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/latchpost/latchpost/auth/authtest"
)

// HL-033: a client that opens and resets streams as fast as it can, and one that never ends its headers, are sent
// away by GOAWAY; memory is bounded, and others are answered meanwhile.
func TestHTTP2Floods(t *testing.T) {
	cert, key := certificateFiles(t)
	listen := freePort(t)
	base := "https://" + listen
	settleAt(t, authtest.Options{}, listen, base, strings.NewReader(""), io.Discard, "serve", "--base-url", base, "--tls-cert", cert, "--tls-key", key)
	var block bytes.Buffer
	headers := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", listen}, {":path", "/readyz"}} {
		_ = headers.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	for name, flood := range map[string]func(fr *http2.Framer, i int) error{
		"rapid reset": func(fr *http2.Framer, i int) error {
			stream := uint32(2*i + 1)
			if err := fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
				return err
			}
			return fr.WriteRSTStream(stream, http2.ErrCodeCancel)
		},
		"continuation": func(fr *http2.Framer, i int) error {
			if i == 0 {
				return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes()})
			}
			return fr.WriteContinuation(1, false, bytes.Repeat([]byte{0x40, 1, 'a', 1, 'b'}, 3000))
		},
		"empty continuation": func(fr *http2.Framer, i int) error {
			if i == 0 {
				return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes()})
			}
			return fr.WriteContinuation(1, false, []byte{0x40, 0, 0})
		},
	} {
		t.Run(name, func(t *testing.T) {
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			stop, others := make(chan struct{}), make(chan []time.Duration, 1)
			go func() { others <- served(t, base, stop) }()
			sent, code, away := floods(t, listen, flood)
			runtime.GC() // what the others left behind
			runtime.ReadMemStats(&after)
			close(stop)
			waits := <-others
			slices.Sort(waits)
			p99 := waits[len(waits)*99/100]
			t.Logf("sent away after %d frames, by GOAWAY %v: %s; heap %d KiB more; %d others, p99 %s", sent, away, code, (int64(after.HeapAlloc)-int64(before.HeapAlloc))>>10, len(waits), p99)
			if sent == tooMany || !away || p99 > time.Second {
				t.Errorf("%d frames were taken, GOAWAY %v; others waited %s", sent, away, p99)
			}
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
				t.Errorf("the heap grew by %d bytes", grown)
			}
		})
	}
}

const tooMany = 2_000_000 // a fast client sends several hundred thousand in the second in which a connection is ended

// floods sends frames until the server ends the connection, and says how it did.
func floods(t *testing.T, listen string, flood func(*http2.Framer, int) error) (sent int, code http2.ErrCode, away bool) {
	t.Helper()
	conn, err := tls.Dial("tcp", listen, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.ConnectionState().NegotiatedProtocol; got != "h2" {
		t.Fatalf("the server speaks %q", got)
	}
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	fr := http2.NewFramer(conn, conn)
	if err := fr.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // only this goroutine reads
		defer close(ended)
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			if f, ok := f.(*http2.GoAwayFrame); ok {
				code, away = f.ErrCode, true
			}
		}
	}()
	for sent < tooMany && flood(fr, sent) == nil {
		sent++
	}
	if sent < tooMany {
		<-ended
	}
	return sent, code, away
}

// served asks for a page over and over, as others do, and gives how long each took.
func served(t *testing.T, base string, stop chan struct{}) (waits []time.Duration) {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	for {
		began := time.Now()
		resp, err := client.Get(base + "/healthz")
		if err != nil {
			t.Error(err)
			return append(waits, 0)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		waits = append(waits, time.Since(began))
		select {
		case <-stop:
			return waits
		default:
		}
	}
}
