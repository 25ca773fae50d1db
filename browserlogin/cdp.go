package browserlogin

import "context"

// CDP is a session of the Chrome DevTools Protocol with one page or frame.
// Everything that makes the live view (pictures, input, the agent script) goes
// through it, so that the driver underneath can be replaced.
//
// Through playwright-go, one map with a key "guid" in an event ends every session
// of the process. Therefore nobody enables the domains Page, Network or (without
// a filter, on a page of a site) Fetch here; what this package needs of them works without.
type CDP interface {
	// Send waits for the answer. A page that shows a JavaScript dialog does not
	// answer input until the dialog is closed.
	Send(method string, params map[string]any) (map[string]any, error)
	// On calls fn for each event, in order, on the goroutine that reads from the
	// driver: fn must not block and must not Send.
	On(event string, fn func(params map[string]any))
	Close() error
}

// brisk is a session whose Send waits for its page no longer than patience. A page, or one frame of it, whose script never
// rests takes what is sent and does not answer; it must not hold up what is beside it.
type brisk struct{ CDP }

func (b brisk) Send(method string, params map[string]any) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return ask(ctx, func() (map[string]any, error) { return b.CDP.Send(method, params) })
}
