// Package providers is the catalogue of services that a person can connect.
//
// A provider is data: one JSON file says where to sign in, how to ask for a
// token, which hosts that token may go to, and where it deviates from the RFCs.
// Data stays data: templates are ${name} and nothing else, every URL and host is
// checked when the file is read. Start at Load, then Catalog.Get, and
// Provider.Resolve to fill in what differs from connection to connection.
package providers

// Schema is the version of the definition format that this package reads.
const Schema = 1

// Provider is one service and every way to sign in to it.
//
// The struct tags carry the rules: `enum` lists the words a field may hold and
// `is` names the check its text must pass (see kinds in check.go).
type Provider struct {
	// Schema is the version of the format, always 1.
	Schema int `json:"schema"`
	// ID is lower-case ASCII, at most 40 characters, and equals the file name without .json.
	ID string `json:"id"`
	// Name is what people read.
	Name string `json:"name"`
	// Category groups providers in lists: dev, crm, identity and so on.
	Category string `json:"category"`
	// Keywords are further words under which Search finds the provider: gmail, jira.
	Keywords []string `json:"keywords,omitempty"`
	// Docs is the provider's own page about signing in.
	Docs string `json:"docs" is:"link"`
	// Register is the page where an OAuth app is made. Empty when not known.
	Register string `json:"register,omitempty" is:"link"`
	// Checked says who looked at this definition, when, and how closely.
	Checked Checked `json:"checked"`
	// Notes are sentences that are shown to the person who sets the provider up.
	Notes []string `json:"notes,omitempty"`
	// Vars are asked once per connection: a subdomain, a region, a self-hosted address.
	Vars map[string]Var `json:"vars,omitempty"`
	// OAuth2 is set when the provider can be signed in to by OAuth 2.
	OAuth2 *OAuth2 `json:"oauth2,omitempty"`
	// APIKey is set when the provider gives out keys that a person can paste.
	APIKey *APIKey `json:"api_key,omitempty"`
	// Browser is set when a person can sign in on the site itself, in the live view.
	Browser *Browser `json:"browser,omitempty"`
	// API says where the credential may go, and in what form.
	API API `json:"api"`
	// Identity is the call that names the account after an OAuth sign-in. Nil: the account has no label.
	Identity *Identity `json:"identity,omitempty"`
	// Deny lists what call_api must never reach: paths that echo or explain the
	// credential, so that it would come back in a form no redaction can see.
	// The token, revocation, introspection and device endpoints are always denied, with .json or .xml behind them too.
	Deny []PathRule `json:"deny,omitempty"`

	// Custom is true when the definition came from the owner's directory, not from us.
	Custom bool `json:"-"`

	made made `json:"-"` // by Resolve
}

// Checked is the provenance of a definition.
type Checked struct {
	// On is the day of the last look, YYYY-MM-DD.
	On string `json:"on"`
	// Source is the page, document or package that was looked at, in words.
	Source string `json:"source"`
	// Level says how: docs (the provider's own documentation), discovery (its metadata),
	// x/oauth2 (a URL from golang.org/x/oauth2/endpoints), community (agrees with two or more
	// other catalogues, not seen at the provider), own (written by whoever runs this server).
	Level string `json:"level" enum:"docs|discovery|x/oauth2|community|own"`
	// Unconfirmed names the parts of this file that nobody has checked at the source.
	Unconfirmed []string `json:"unconfirmed,omitempty"`
}

// Var is one question that is answered once per connection. A value must be in
// Enum, or match Pattern when there is no Enum.
type Var struct {
	// Ask is the question, as shown in the form.
	Ask string `json:"ask"`
	// Default is used when the answer is empty. It must obey Pattern and Enum itself.
	Default string `json:"default,omitempty"`
	// Pattern is an anchored regular expression, ^…$.
	Pattern string `json:"pattern,omitempty" is:"pattern"`
	// Enum is the closed list of answers.
	Enum []string `json:"enum,omitempty"`
}

// Methods lists the ways to sign in, the preferred one first: oauth_code,
// device_code, client_credentials, api_key, browser.
func (p *Provider) Methods() []string {
	var out []string
	if p.OAuth2 != nil {
		for _, m := range []struct{ flow, method string }{
			{"code", "oauth_code"}, {"device", "device_code"}, {"client_credentials", "client_credentials"},
		} {
			if p.OAuth2.Has(m.flow) {
				out = append(out, m.method)
			}
		}
	}
	if p.APIKey != nil {
		out = append(out, "api_key")
	}
	if p.Browser != nil {
		out = append(out, "browser")
	}
	return out
}
