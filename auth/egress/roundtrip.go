package egress

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
)

// maxRequestBody bounds what a library may send through RoundTripper.
const maxRequestBody = 1 << 20

// RoundTripper lends the client to a library that wants an http.RoundTripper: same checks, answers of at most max decoded
// bytes (0 means DefaultMaxBody). A redirect is an *Error of KindRedirect, because http.Client would follow it.
func (c *Client) RoundTripper(max int64) http.RoundTripper { return roundTripper{c, max} }

type roundTripper struct {
	client *Client
	max    int64
}

func (t roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := readBody(req)
	if err != nil {
		return nil, err
	}
	target, err := Parse(req.URL.String(), ParseOptions{Loopback: t.client.opt.Loopback})
	if err != nil {
		return nil, err
	}
	header := req.Header.Clone()
	for _, name := range ours {
		header.Del(name)
	}
	res, err := t.client.Do(req.Context(), Request{
		Method: orElse(req.Method, http.MethodGet), Target: target, Header: header, Body: body, MaxBody: t.max,
	})
	if err != nil {
		return nil, err
	}
	if res.Status >= 300 && res.Status < 400 && res.Header.Get("Location") != "" {
		return nil, &Error{Kind: KindRedirect, Sent: true, text: "redirects are not followed"}
	}
	return &http.Response{
		Status:     strconv.Itoa(res.Status) + " " + http.StatusText(res.Status),
		StatusCode: res.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: res.Header, Body: io.NopCloser(bytes.NewReader(res.Body)), ContentLength: int64(len(res.Body)), Request: req,
	}, nil
}

func readBody(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	defer req.Body.Close()
	body, err := io.ReadAll(io.LimitReader(req.Body, maxRequestBody+1))
	if err != nil || len(body) > maxRequestBody {
		return nil, badRequest("the body cannot be read or is over 1 MiB")
	}
	return body, nil
}
