package authtest

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"time"
)

// Silence sends headers and nothing more, for as long as the client stays.
func Silence(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	begin(w, "application/json")
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// Drip does what the request asks for and sends the answer a byte at a time. It is
// the one fault that needs real time.
func Drip(every time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := record(r, next)
		answer.sendHeader(w)
		for _, b := range answer.body.Bytes() {
			_, _ = w.Write([]byte{b})
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(every):
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		}
	}
}

// Endless sends JSON that never ends, as fast as the client takes it.
func Endless(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	begin(w, "application/json")
	_, err := io.WriteString(w, `{"access_token":"`)
	for chunk := bytes.Repeat([]byte("a"), 32<<10); err == nil && r.Context().Err() == nil; {
		_, err = w.Write(chunk)
	}
	panic(http.ErrAbortHandler)
}

// Huge sends the honest answer behind so many bytes of white space, which is
// valid JSON.
func Huge(size int) Fault {
	return Rewrite(func(body []byte) []byte { return append([]byte(strings.Repeat(" ", size)), body...) })
}

// GzipBomb sends the honest answer behind so many bytes of white space, packed,
// whether the client asked for gzip or not.
func GzipBomb(size int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := record(r, next)
		var packed bytes.Buffer
		z, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		space := bytes.Repeat([]byte(" "), 32<<10)
		for left := size; left > 0; left -= len(space) {
			_, _ = z.Write(space[:min(left, len(space))])
		}
		_, _ = z.Write(answer.body.Bytes())
		_ = z.Close()
		answer.body = packed
		answer.header.Set("Content-Encoding", "gzip")
		answer.send(w)
	}
}

// HugeHeaders puts so many lines of 1 KiB before the honest answer.
func HugeHeaders(lines int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		line := strings.Repeat("h", 1<<10-len("X-Huge: \r\n"))
		for range lines {
			w.Header().Add("X-Huge", line)
		}
		next.ServeHTTP(w, r)
	}
}

// begin sends 200 and the headers.
func begin(w http.ResponseWriter, contentType string) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
}
