package auth

import "time"

// AuthRequired is the answer when a person has to act before the agent can go on.
// It is an error so that every method can return it; errors.As finds it.
type AuthRequired struct {
	RequestID    string
	ProviderID   string
	ProviderName string
	Method       string
	Reason       string // NotConnected, ReasonReauth, InsufficientScope, NoOAuthApp
	Scopes       []string
	URL          string // always our own page
	MatchCode    string
	UserCode     string
	ExpiresAt    time.Time
	PollAfter    time.Duration
	Message      string
}

func (a *AuthRequired) Error() string { return a.Message }

// ApprovalRequired is the answer when the connection is there but the owner has
// to allow this use of it first. Same shape, same pause and resume.
type ApprovalRequired struct {
	RequestID    string // the approval's id; Wait takes it like a request's
	ProviderID   string
	ProviderName string
	Account      string
	Reason       string // the rule that asks: no_grant, read_only, path, host, release
	URL          string // our page /approvals
	ExpiresAt    time.Time
	PollAfter    time.Duration
	Message      string
}

func (a *ApprovalRequired) Error() string { return a.Message }

// Info is what may be told about a connection: never a secret.
type Info struct {
	ID               string
	Provider         string
	ProviderName     string
	Account          string
	Method           string
	State            State
	Cause            string
	Scopes           []string
	Missing          []string // scopes the current request asked for and did not get
	Hosts            []string
	Access           string // what the asking client may do: "", read or write
	Release          bool   // the asking client may have the raw credential now
	CreatedAt        time.Time
	ExpiresAt        time.Time
	RefreshExpiresAt time.Time
	LastUsedAt       time.Time
}

// Status words of Wait, which other programs rely on.
const (
	StatusPending   = "pending"
	StatusConnected = "connected" // for an approval: approved
	StatusDeclined  = "declined"
	StatusExpired   = "expired"
	StatusFailed    = "failed"
)

// Status is how a request or an approval stands.
type Status struct {
	RequestID  string
	Status     string
	Cause      string // with StatusFailed, one of the error codes
	Connection *Info  // with StatusConnected
	ExpiresAt  time.Time
	PollAfter  time.Duration
}

// Wish is what an agent asks for with request_auth.
type Wish struct {
	Provider string
	Scopes   []string
	Account  string
	Method   string
}

// Need names a connection for Get.
type Need struct {
	Provider string
	Account  string
	Scopes   []string
	// Raw asks for the credential itself. Without a release grant the owner is asked: *ApprovalRequired with reason release.
	// False: a handle, and the credential along with it only where release was granted before.
	Raw bool
	// Form of a browser login's credential, when it may be released: storage_state, cookies_txt or cookie_header
	// (for URL). "" is the method's own form: the access token, the key, storage_state.
	Form string
	URL  string
}

// Handle names a connection that is ready to be used with Call.
type Handle struct {
	Info
	Handle   string    // latchpost:PROVIDER/ACCOUNT: a name, not a capability
	Released *Released // only under a release grant
}

// Released is a raw credential on its way out.
type Released struct {
	Type      string // bearer, api_key, storage_state, cookies_txt, cookie_header
	Value     Secret
	Fields    map[string]Secret // a key with several parts
	ExpiresAt time.Time
	Warning   string
}

// Call is a brokered HTTP request.
type Call struct {
	Provider string
	Account  string
	Method   string
	URL      string // absolute; or
	Path     string // under the definition's api.base
	Query    map[string][]string
	Headers  map[string]string
	// One of these is the body; Form and Parts bring their own content type.
	Body  []byte
	Form  map[string][]string
	Parts []Part
}

// Response is what the API answered, freed of secrets and of bytes that do harm:
// untrusted text all the same.
type Response struct {
	Status       int
	Headers      map[string]string
	Body         []byte
	Text         bool   // Body is UTF-8 text, sanitized; otherwise it is binary
	ContentType  string // as the API named it
	Truncated    bool
	Redacted     bool
	LocationHost string // of a 3xx, which is never followed
	Account      string
}

// Unwanted names what Revoke ends: connections, or a pending request.
type Unwanted struct {
	Provider  string
	Account   string
	RequestID string
}

// What became of a credential at the provider. Never claims more than is known.
const (
	AtProviderRevoked = "revoked"
	AtProviderUnknown = "unknown" // not told yet; it is tried again
	LocalOnly         = "local_only"
)

// Ended is what Revoke did.
type Ended struct {
	Connections []EndedConnection
	Request     string // id of the pending request that was cancelled
}

// EndedConnection is one connection that cannot be used any more.
type EndedConnection struct {
	Provider   string
	Account    string
	AtProvider string
}

// ProviderInfo is a line of Providers.
type ProviderInfo struct {
	ID, Name string
	Methods  []string
	Scopes   []string // the definition's defaults
	Ready    bool
	Missing  string // what stands in the way, and what to do, when not Ready
	Custom   bool
}
