package providers

// API says where a credential may go, and in what form.
type API struct {
	// Hosts is the whole list: exact names, or *.example.com for exactly one label more.
	Hosts []string `json:"hosts" is:"host"`
	// Base is put before the path when a call names a path only. Empty: calls must give URLs.
	Base string `json:"base,omitempty" is:"url"`
	// Send says where an OAuth token goes, ${access_token}. An API key has its own list.
	Send []Send `json:"send,omitempty"`
	// Headers are added to every call, for example a version.
	Headers map[string]string `json:"headers,omitempty" is:"template"`
	// HeadersAllowed names request headers an agent may set beyond the usual ones.
	HeadersAllowed []string `json:"headers_allowed,omitempty"`
	// Access tells reading from writing where the HTTP method does not: the first rule that
	// matches wins, and without one GET and HEAD read and everything else writes.
	Access []AccessRule `json:"access,omitempty"`
}

// Send is one place where a credential, or a part of it, is put into a request.
type Send struct {
	// In is the place. path puts Format before the path of the call. none sends nothing.
	In string `json:"in" enum:"header|query|path|basic|cookie|none"`
	// Name of the header, query parameter or cookie; for basic the template of the user name.
	Name string `json:"name,omitempty" is:"template"`
	// Format is the template of the value; for basic, of the password.
	Format string `json:"format,omitempty" is:"template"`
}

// AccessRule declares what calls do.
type AccessRule struct {
	PathRule
	// Is says what such a call does.
	Is string `json:"is" enum:"read|write"`
}

// PathRule matches calls by method, host and path.
type PathRule struct {
	// Methods is empty for every method.
	Methods []string `json:"methods,omitempty" enum:"GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS"`
	// Host is empty for every host of the provider.
	Host string `json:"host,omitempty" is:"host"`
	// Path begins with a slash. * matches within one segment; ** as the last segment matches the rest.
	Path string `json:"path" is:"glob"`
}

// APIKey is a secret that a person makes on the provider's site and pastes into our page.
type APIKey struct {
	// Create is the page where the key is made.
	Create string `json:"create,omitempty" is:"link"`
	// Fields are asked in this order. Empty: one secret field named key.
	Fields []Field `json:"fields,omitempty"`
	// Send says where the fields go, by their names: ${key}.
	Send []Send `json:"send"`
	// Verify is a call that a good key passes. Nil: a key is stored untried, and shown so.
	Verify *Verify `json:"verify,omitempty"`
}

// Field is one line of the key form.
type Field struct {
	// Name is what templates use.
	Name string `json:"name"`
	// Ask is the label of the line.
	Ask string `json:"ask"`
	// Pattern is an anchored regular expression, ^…$. Empty: any printable ASCII.
	Pattern string `json:"pattern,omitempty" is:"pattern"`
	// Public fields, such as a user name, are shown again later. All others are secret.
	Public bool `json:"public,omitempty"`
}

// Verify is the call that tries a key.
type Verify struct {
	// URL of the call, on one of the API hosts.
	URL string `json:"url" is:"url"`
	// Method is GET unless said otherwise.
	Method string `json:"method,omitempty" enum:"GET|HEAD|POST"`
	// Body is sent as it is; JSON when it begins with {.
	Body string `json:"body,omitempty"`
	// Label are paths in the answer that name the account; the first hit wins.
	Label []string `json:"label,omitempty" is:"path"`
	// OK is "path=value" for providers that answer 200 to a bad key.
	OK string `json:"ok,omitempty"`
}

// Identity is the call that names the account.
type Identity struct {
	// Method is GET unless said otherwise.
	Method string `json:"method,omitempty" enum:"GET|POST"`
	// URL of the call. It must be on an API host, or on a host of the authorization server.
	URL string `json:"url,omitempty" is:"url"`
	// Body is sent as it is; JSON when it begins with {.
	Body string `json:"body,omitempty"`
	// Headers are added to the call. Authorization, which is api.send otherwise, may be given here.
	Headers map[string]string `json:"headers,omitempty" is:"template"`
	// Label are paths to what a person recognises: an address, a user name. The first hit wins.
	Label []string `json:"label,omitempty" is:"path"`
	// ID is the path of what the provider never reuses. It tells whether a re-login is the same account.
	ID string `json:"id,omitempty" is:"path"`
}

// Form returns the lines of the key form: Fields, or one secret line named key.
// A nil APIKey has none.
func (k *APIKey) Form() []Field {
	switch {
	case k == nil:
		return nil
	case len(k.Fields) == 0:
		return []Field{{Name: "key", Ask: "API key"}}
	}
	return k.Fields
}
