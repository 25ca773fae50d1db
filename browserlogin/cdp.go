package browserlogin

// CDP is a session of the Chrome DevTools Protocol with one page or frame.
// Everything that makes the live view (pictures, input, the agent script) goes
// through it, so that the driver underneath can be replaced.
//
// Through playwright-go, one map with a key "guid" in an event ends every session
// of the process. Therefore nobody enables the domains Page, Network or (without
// a filter) Fetch here; what this package needs of them works without.
type CDP interface {
	// Send waits for the answer. A page that shows a JavaScript dialog does not
	// answer input until the dialog is closed.
	Send(method string, params map[string]any) (map[string]any, error)
	// On calls fn for each event, in order, on the goroutine that reads from the
	// driver: fn must not block and must not Send.
	On(event string, fn func(params map[string]any))
	Close() error
}
