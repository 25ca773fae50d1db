package providers

// Browser is a sign-in on the provider's own page, in a real browser that runs on our side.
type Browser struct {
	// LoginURL is opened first.
	LoginURL string `json:"login_url" is:"url"`
	// Domains are the hosts whose cookies and storage are captured, and the only ones they are sent to.
	Domains []string `json:"domains" is:"host"`
	// Success says when the person is signed in.
	Success Match `json:"success"`
	// SecondFactor recognises the pages between password and success. While it matches, Success does not count.
	SecondFactor *Match `json:"second_factor,omitempty"`
	// Probe asks whether a captured session still works.
	Probe *Probe `json:"probe,omitempty"`
	// Identity names the account. Nil: it has no label.
	Identity *BrowserIdentity `json:"identity,omitempty"`
	// Usage: token closes the browser after capture and sends cookies only; session keeps it open for brokered use.
	Usage string `json:"usage" enum:"token|session"`
	// Cookies names those that make the session, for the expiry. Empty: those that the sign-in changed.
	Cookies []string `json:"cookies,omitempty"`
	// AssumeTTL is the lifetime in seconds when no cookie tells one. Zero: unknown, the probe decides.
	AssumeTTL int `json:"assume_ttl,omitempty"`
	// ProbeS is the age in seconds after which a session is probed before use. Zero: 900.
	ProbeS int `json:"probe_s,omitempty"`
	// Instructions are shown above the picture.
	Instructions string `json:"instructions,omitempty"`
	// Notes are sentences about what does not work, shown before the person tries.
	Notes []string `json:"notes,omitempty"`
}

// Match holds when every condition of All holds and, if Any is not empty, one of Any does.
type Match struct {
	All []Condition `json:"all,omitempty"`
	Any []Condition `json:"any,omitempty"`
}

// Condition is one thing that can be seen in the browser. Exactly one field is set.
type Condition struct {
	// URL is an anchored pattern of the whole address.
	URL string `json:"url,omitempty" is:"pattern"`
	// Page is an address without a query: the browser stands there, or below it when it ends with a slash.
	Page string `json:"page,omitempty" is:"url"`
	// Cookie is the name of a cookie of one of Domains that is there and not empty.
	Cookie string `json:"cookie,omitempty"`
	// Selector is a CSS selector that is found in the main frame.
	Selector string `json:"selector,omitempty"`
	// Response is an anchored pattern of the URL of a request that was answered with a 2xx.
	Response string `json:"response,omitempty" is:"pattern"`
	// ReturnTo is a host: the page left it and came back.
	ReturnTo string `json:"return_to,omitempty" is:"host"`
}

// Probe is a request made with the captured session. A redirect is never followed, and is a failure unless OK lists it.
type Probe struct {
	// URL is on one of Domains.
	URL string `json:"url" is:"url"`
	// Method is GET unless said otherwise.
	Method string `json:"method,omitempty" enum:"GET|HEAD"`
	// OK lists the statuses of a living session. Empty: 200.
	OK []int `json:"ok,omitempty"`
	// Selector makes the probe a page load in a restored browser: a living session shows it.
	Selector string `json:"selector,omitempty"`
}

// BrowserIdentity names the account. Either Selector or URL is set.
type BrowserIdentity struct {
	// Selector is a CSS selector; the text of the first hit is the label.
	Selector string `json:"selector,omitempty"`
	// URL of a JSON document, on one of Domains.
	URL string `json:"url,omitempty" is:"url"`
	// Label are paths in that document; the first hit wins.
	Label []string `json:"label,omitempty" is:"path"`
}
