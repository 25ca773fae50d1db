package browserlogin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/latchpost/latchpost/auth"
)

// Query is a request that a context makes with its cookies.
type Query struct {
	Method string
	URL    string
	Header http.Header // what the browser writes itself stays its own: Cookie, Authorization, User-Agent
	Body   []byte
	Most   int // bytes of the answer's body that are read, decoded; 0 = 1 MiB
}

// Answer is an HTTP answer.
type Answer struct {
	Status    int
	Header    http.Header
	Body      []byte
	Truncated bool // the body goes on
}

var errGUID = auth.ErrInvalid.Say("a header called guid cannot go out of a browser's session; leave it out")

const mostAnswer = 1 << 20

// Fetch makes one request as the script of the site's own page would, and follows no redirect. The browser adds its cookies and
// keeps those that come; what it sends is its own in every respect that a site can tell. It goes out from an empty page of
// the origin that is asked, which comes from us: no script of the site runs. Of a body only what is wanted is taken out of
// the browser, so that none, however long or well compressed, fills anybody's memory.
func (c *Context) Fetch(ctx context.Context, q Query) (*Answer, error) {
	u, err := url.Parse(q.URL)
	if err != nil {
		return nil, err
	}
	for name := range q.Header {
		if strings.EqualFold(name, "guid") { // see CDP: it would come back as the key of a map
			return nil, errGUID
		}
	}
	c.fetching.Lock()
	defer c.fetching.Unlock()
	f, err := c.fetcherOf(ctx, u.Scheme+"://"+u.Host+"/")
	if err != nil {
		return nil, err
	}
	a, whole, err := f.exchange(ctx, q)
	if err != nil || !whole { // something of it is still under way
		f.page.Close()
		c.fetcher = nil
	}
	return a, err
}

// fetcherOf is the page of an origin: the last one, if that will do.
func (c *Context) fetcherOf(ctx context.Context, origin string) (*fetcher, error) {
	if c.fetcher != nil && c.fetcher.origin == origin && c.fetcher.lives() {
		return c.fetcher, nil
	}
	if c.fetcher != nil {
		c.fetcher.page.Close()
		c.fetcher = nil
	}
	page, err := ask(ctx, c.NewPage)
	if err != nil {
		return nil, err
	}
	f := &fetcher{page: page, origin: origin, paused: make(chan map[string]any, 8), gone: make(chan struct{})}
	page.OnGone(sync.OnceFunc(func() { close(f.gone) }))
	if err := f.open(ctx); err != nil {
		page.Close()
		return nil, err
	}
	c.fetcher = f
	return f, nil
}

// blank is a page that asks for nothing, for no icon either.
const blank = `<!doctype html><link rel="icon" href="data:,">`

// fetcher is a page that requests to its origin go out from, one after another.
type fetcher struct {
	page   *Page
	origin string
	cdp    CDP
	paused chan map[string]any // a request of the page at its beginning, and again when the header of the answer is there
	gone   chan struct{}       // closed when the page was, or has crashed
}

var errGone = errors.New("the page in the browser has crashed")

func (f *fetcher) lives() bool {
	select {
	case <-f.gone:
		return false
	default:
		return true
	}
}

// outcome is what the page has read.
type outcome struct {
	of  map[string]any
	err error
}

func (f *fetcher) send(ctx context.Context, method string, params map[string]any) (map[string]any, error) {
	got, err := ask(ctx, func() (map[string]any, error) { return f.cdp.Send(method, params) })
	if err != nil {
		return nil, fmt.Errorf("the browser does not do %s: %w", method, briefly{err})
	}
	return got, nil
}

// next is the next request that waits for us. One that waits for a password gets none: the answer is what the site says to that.
func (f *fetcher) next(ctx context.Context, read <-chan outcome) (map[string]any, error) {
	for {
		select {
		case e := <-f.paused:
			if e["authChallenge"] == nil {
				return e, nil
			}
			if _, err := f.send(ctx, "Fetch.continueWithAuth", map[string]any{
				"requestId": e["requestId"], "authChallengeResponse": map[string]any{"response": "CancelAuth"},
			}); err != nil {
				return nil, err
			}
		case <-read:
			return nil, errors.New("the browser does not send such a request")
		case <-f.gone:
			return nil, errGone
		case <-ctx.Done():
			return nil, fmt.Errorf("the site does not answer: %w", ctx.Err())
		}
	}
}

// open makes the page one of the origin.
func (f *fetcher) open(ctx context.Context) (err error) {
	if f.cdp, err = f.page.CDP(); err != nil {
		return err
	}
	for _, event := range []string{"Fetch.requestPaused", "Fetch.authRequired"} {
		f.cdp.On(event, func(e map[string]any) {
			select {
			case f.paused <- e:
			default: // more than one request has
			}
		})
	}
	patterns := []map[string]any{{"resourceType": "Document", "requestStage": "Request"}}
	for _, kind := range []string{"XHR", "Fetch"} { // as versions of Chromium call it
		patterns = append(patterns, map[string]any{"resourceType": kind, "requestStage": "Request"}, map[string]any{"resourceType": kind, "requestStage": "Response"})
	}
	if _, err := f.send(ctx, "Fetch.enable", map[string]any{"patterns": patterns, "handleAuthRequests": true}); err != nil {
		return err
	}
	opened := make(chan error, 1)
	go func() {
		_, err := f.send(ctx, "Page.navigate", map[string]any{"url": f.origin})
		opened <- err
	}()
	e, err := f.next(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := f.send(ctx, "Fetch.fulfillRequest", map[string]any{
		"requestId": e["requestId"], "responseCode": http.StatusOK, "body": base64.StdEncoding.EncodeToString([]byte(blank)),
		"responseHeaders": []map[string]any{{"name": "Content-Type", "value": "text/html"}},
	}); err != nil {
		return err
	}
	return <-opened
}

// reading is what the page does: it sends the request, and reads of the answer what is wanted, in base64. "+" behind it says
// that there is more, which comes no further than the browser's buffers until the page is closed.
const reading = `(async () => {
	const answer = await fetch(%s, {method: %s, mode: "same-origin", credentials: "include", redirect: "manual", cache: "no-store"});
	const most = %d, reader = answer.body?.getReader();
	let body = "", more = false;
	while (reader && !more) {
		const {done, value} = await reader.read();
		if (done) break;
		more = body.length + value.length > most;
		const part = value.subarray(0, most - body.length);
		for (let i = 0; i < part.length; i += 4096) body += String.fromCharCode(...part.subarray(i, i + 4096));
	}
	return btoa(body) + (more ? "+" : "");
})()`

// exchange has the page send the request, and gives the answer. whole: the page is done with it.
func (f *fetcher) exchange(ctx context.Context, q Query) (a *Answer, whole bool, err error) {
	address, err := json.Marshal(q.URL)
	if err != nil {
		return nil, false, err
	}
	method, err := json.Marshal(q.Method)
	if err != nil {
		return nil, false, err
	}
	read := make(chan outcome, 1)
	go func() {
		script := fmt.Sprintf(reading, address, method, or(q.Most, mostAnswer))
		got, err := f.send(ctx, "Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true})
		read <- outcome{got, err}
	}()
	e, err := f.next(ctx, read)
	if err != nil {
		return nil, false, err
	}
	params := map[string]any{"requestId": e["requestId"], "headers": q.header(e)}
	if len(q.Body) > 0 {
		params["postData"] = base64.StdEncoding.EncodeToString(q.Body)
	}
	if _, err := f.send(ctx, "Fetch.continueRequest", params); err != nil {
		return nil, false, err
	}
	if e, err = f.next(ctx, read); err != nil {
		return nil, false, err
	}
	if reason, failed := e["responseErrorReason"].(string); failed {
		return nil, false, fmt.Errorf("the site does not answer (%s)", reason)
	}
	a = answerIn(e)
	if redirects(a) { // which has no body that a script may read
		return a, false, nil
	}
	if _, err := f.send(ctx, "Fetch.continueRequest", map[string]any{"requestId": e["requestId"]}); err != nil {
		return nil, false, err
	}
	var got outcome
	select {
	case got = <-read:
	case <-f.paused: // it waits once more, with an error
		return nil, false, errors.New("the site's answer breaks off")
	case <-f.gone:
		return nil, false, errGone
	}
	if got.err != nil {
		return nil, false, fmt.Errorf("the site's answer does not end: %w", got.err)
	}
	value, _ := got.of["result"].(map[string]any)
	text, is := value["value"].(string)
	if !is {
		return nil, false, errors.New("the site's answer breaks off")
	}
	text, a.Truncated = strings.CutSuffix(text, "+")
	a.Body, err = base64.StdEncoding.DecodeString(text)
	return a, !a.Truncated, err
}

// answerIn is the answer that waits in e, without its body.
func answerIn(e map[string]any) *Answer {
	a := &Answer{Header: http.Header{}}
	status, _ := e["responseStatusCode"].(float64)
	a.Status = int(status)
	fields, _ := e["responseHeaders"].([]any)
	for _, one := range fields {
		field, _ := one.(map[string]any)
		name, _ := field["name"].(string)
		value, _ := field["value"].(string)
		a.Header.Add(name, value)
	}
	a.Header.Del("Content-Encoding") // the body is decoded
	a.Header.Del("Content-Length")
	return a
}

func redirects(a *Answer) bool {
	return a.Status >= 300 && a.Status < 400 && a.Header.Get("Location") != ""
}

// header is what the browser would send for the request that waits in e, spelt as it does, with what q asks for.
func (q Query) header(e map[string]any) (fields []map[string]any) {
	asked := q.Header.Clone()
	for _, its := range []string{"Cookie", "Authorization", "User-Agent"} {
		asked.Del(its)
	}
	request, _ := e["request"].(map[string]any)
	browsers, _ := request["headers"].(map[string]any)
	for name, value := range browsers {
		if asked.Values(name) == nil {
			fields = append(fields, map[string]any{"name": name, "value": value})
		}
	}
	for name, values := range asked {
		fields = append(fields, map[string]any{"name": name, "value": strings.Join(values, ", ")})
	}
	return fields
}

// briefly is an error of the driver without what it quotes.
type briefly struct{ error }

func (b briefly) Error() string { return brief(b.error) }
func (b briefly) Unwrap() error { return b.error }
