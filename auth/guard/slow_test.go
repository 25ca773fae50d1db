package guard

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// DS-002, DS-008: a client that asks and takes nothing of the answer does not keep the answer in memory, and who
// writes it, for as long as it likes; whether the answer streams or not.
func TestServerLeavesClientsThatTakeNothing(t *testing.T) {
	for name, streams := range map[string]bool{"whole": false, "stream": true} {
		ended := make(chan error, 1)
		authority := start(t, Options{AnswerTimeout: 500 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
			if streams {
				w.(http.Flusher).Flush()
			}
			_, err := w.Write(make([]byte, 64<<20)) // more than any socket buffers
			<-r.Context().Done()
			ended <- err
		})
		c, err := net.Dial("tcp", authority)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+authority+"\r\n\r\n")
		select {
		case err := <-ended:
			if err == nil {
				t.Errorf("%s: 64 MiB were written to nobody", name)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the handler waits for ever", name)
		}
	}
}

// A stream, and a WebSocket, in which nothing happens for longer than an answer may take goes on, by HTTP/2 too.
func TestServerLetsStreamsRest(t *testing.T) {
	rests := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/socket" {
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.CloseNow()
			time.Sleep(1300 * time.Millisecond)
			c.Write(r.Context(), websocket.MessageText, []byte("late"))
			return
		}
		w.(http.Flusher).Flush()
		time.Sleep(1300 * time.Millisecond)
		io.WriteString(w, "late")
	}
	opt := Options{AnswerTimeout: time.Second}
	authority := start(t, opt, rests)
	over1 := http.DefaultClient
	over2, secure := startHTTP2(t, opt, rests)
	for base, client := range map[string]*http.Client{"http://" + authority: over1, "https://" + secure: over2} {
		res, err := client.Get(base + "/")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if string(got) != "late" || err != nil || (client == over2) != (res.ProtoMajor == 2) {
			t.Errorf("%s: %q, %v", res.Proto, got, err)
		}
	}
	c, _, err := websocket.Dial(t.Context(), "ws://"+authority+"/socket", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if _, got, err := c.Read(t.Context()); string(got) != "late" {
		t.Errorf("WebSocket: %q, %v", got, err)
	}
}

// DS-002: by HTTP/2 a client says itself how much it takes. One that takes nothing, not even a small answer, has its streams
// ended.
func TestServerEndsStreamsWithoutWindow(t *testing.T) {
	_, authority := startHTTP2(t, Options{AnswerTimeout: 300 * time.Millisecond}, ok)
	fr := noWindow(t, authority, 1)
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatal("the stream was not ended: ", err)
		}
		if _, ended := f.(*http2.RSTStreamFrame); ended {
			return
		}
	}
}

// DS-002: nor does it have more of them in all its connections than it may have connections; and it has others when those are over.
func TestServerBoundsStreams(t *testing.T) {
	client, authority := startHTTP2(t, Options{MaxConnsPerIP: 3}, ok)
	first := noWindow(t, authority, 2)
	for begun := 0; begun < 2; {
		f, err := first.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := f.(*http2.HeadersFrame); ok {
			begun++
		}
	}
	second := noWindow(t, authority, 4)
	answered, reset := 0, 0
	for answered+reset < 4 {
		f, err := second.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f.(type) {
		case *http2.HeadersFrame:
			answered++
		case *http2.RSTStreamFrame:
			reset++
		}
	}
	if answered != 1 {
		t.Errorf("%d requests of a second connection were answered beside two, want 1", answered)
	}
	if _, err := client.Get("https://" + authority); err == nil {
		t.Error("a third connection is answered")
	}
	for _, fr := range []*http2.Framer{first, second} {
		for id := uint32(1); id < 8; id += 2 {
			fr.WriteWindowUpdate(id, 1000) // of one that is over: passed over
		}
	}
	if !soon(func() bool {
		res, err := client.Get("https://" + authority)
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	}) {
		t.Error("streams that are over are counted for ever")
	}
}

// noWindow is a connection by HTTP/2 that has asked n times and takes no byte of any answer.
func noWindow(t *testing.T, authority string, n int) *http2.Framer {
	t.Helper()
	conn, err := tls.Dial("tcp", authority, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, http2.ClientPreface)
	fr := http2.NewFramer(conn, conn)
	fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	var block bytes.Buffer
	headers := hpack.NewEncoder(&block)
	for i := range n {
		block.Reset()
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", authority}, {":path", "/"}} {
			headers.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	}
	return fr
}

// startHTTP2 is start over TLS, with a client that speaks HTTP/2.
func startHTTP2(t *testing.T, opt Options, h http.HandlerFunc) (client *http.Client, authority string) {
	t.Helper()
	lends := httptest.NewUnstartedServer(nil)
	lends.StartTLS()
	defer lends.Close()
	authority = serve(t, opt, h, func(s *http.Server, l net.Listener) error {
		s.TLSConfig.Certificates = lends.TLS.Certificates
		return s.ServeTLS(l, "", "")
	})
	return &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}, authority
}
