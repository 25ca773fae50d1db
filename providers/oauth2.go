package providers

import "slices"

// OAuth2 describes an authorization server. The zero value of every optional
// field is what the RFCs say; a definition names only the deviations.
type OAuth2 struct {
	// Flows lists the grants the server offers.
	Flows []string `json:"flows" enum:"code|device|client_credentials"`
	// Issuer is compared byte for byte with discovery documents and with iss in callbacks.
	Issuer string `json:"issuer,omitempty" is:"issuer"`
	// IssuerTemplate is a second spelling of the issuer that the discovery document may carry,
	// as Microsoft's does: https://login.microsoftonline.com/{tenantid}/v2.0.
	IssuerTemplate string `json:"issuer_template,omitempty"`
	// Discovery is oidc, rfc8414, or the URL of the metadata document. Empty: there is none.
	Discovery string `json:"discovery,omitempty" is:"discovery"`
	// PKCE: S256 sends it; required also refuses a server whose metadata does not list S256;
	// none sends nothing and is allowed only to the providers that a test lists.
	PKCE string `json:"pkce" enum:"S256|required|none"`
	// DPoP asks for sender-constrained tokens (RFC 9449).
	DPoP bool `json:"dpop,omitempty"`
	// Client says how an OAuth app proves itself.
	Client Client `json:"client"`
	// Scopes says how scopes are asked for.
	Scopes Scopes `json:"scopes"`
	// Authorize is the page a person is sent to.
	Authorize Authorize `json:"authorize,omitzero"`
	// Callback says what comes back.
	Callback Callback `json:"callback,omitzero"`
	// Token is where a code becomes a token. Empty URL: from discovery.
	Token Endpoint `json:"token,omitzero"`
	// Device is the device authorization endpoint (RFC 8628).
	Device *Endpoint `json:"device,omitempty"`
	// PAR is the pushed authorization request endpoint (RFC 9126); when set it is used.
	PAR *Endpoint `json:"par,omitempty"`
	// Exchange turns the first, short-lived token into a long-lived one (Facebook, Instagram).
	Exchange *Endpoint `json:"exchange,omitempty"`
	// Revoke kills a token (RFC 7009, or the provider's own way).
	Revoke *Endpoint `json:"revoke,omitempty"`
	// Introspect asks whether a token is alive (RFC 7662).
	Introspect *Endpoint `json:"introspect,omitempty"`
	// Response says where a token answer deviates from RFC 6749 section 5.1.
	Response Response `json:"response,omitzero"`
	// Errors lists the provider's own words for the two outcomes that matter.
	Errors Errors `json:"errors,omitzero"`
	// Refresh says whether and how a token is renewed.
	Refresh Refresh `json:"refresh"`
	// After are look-ups made once, with the new token.
	After []After `json:"after,omitempty"`
}

// Has tells whether the server offers a flow: code, device or client_credentials.
func (o *OAuth2) Has(flow string) bool { return slices.Contains(o.Flows, flow) }

// Elsewhere names the hosts, beside those of the issuer and the token endpoint, that a
// refresh token, an access token or the client's secret is sent to, in order.
func (o *OAuth2) Elsewhere() []string {
	var hosts []string
	known := []string{hostOf(o.Issuer), hostOf(o.Token.URL)}
	add := func(u string) {
		if host := hostOf(u); u != "" && !slices.Contains(known, host) {
			hosts = append(hosts, host)
		}
	}
	for _, e := range o.named() {
		add(e.URL)
	}
	add(o.Refresh.URL)
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// Client says how an OAuth app proves itself at the token endpoint.
type Client struct {
	// Secret tells whether there is one. jwt-es256 means a signed statement instead (Apple).
	Secret string `json:"secret" enum:"required|optional|none|jwt-es256"`
	// Auth is how the secret travels. Public clients send client_id only, whatever stands here.
	// Empty: basic, or post if the discovery document wants that; allowed with discovery only.
	Auth string `json:"auth,omitempty" enum:"basic|post|none|private_key_jwt"`
	// RawBasic leaves id and secret unescaped in Basic, against RFC 6749 section 2.3.1.
	RawBasic bool `json:"raw_basic,omitempty"`
	// Loopback is the spelling of a local redirect URI that the provider accepts. Empty: not known.
	Loopback string `json:"loopback,omitempty" enum:"127.0.0.1|localhost|no"`
	// Names renames protocol parameters in every request, for example client_id to client_key.
	Names map[string]string `json:"names,omitempty"`
}

// Scopes says how scopes are asked for and reported.
type Scopes struct {
	// Sep joins scopes in requests. Empty: the provider has no scopes and none are sent.
	Sep string `json:"sep"`
	// Default is asked for when the caller names none.
	Default []string `json:"default,omitempty"`
	// Offline is added so that a refresh token is given.
	Offline []string `json:"offline,omitempty"`
	// Identity is added where a person signs in, so that the provider tells whose account it is, whatever
	// scopes the caller names. Each of them is in Default too.
	Identity []string `json:"identity,omitempty"`
	// Param replaces the parameter name scope.
	Param string `json:"param,omitempty"`
	// Extra maps a scope prefix to a second parameter: with {"user": "user_scope"} the
	// scope user:chat:write goes, without its prefix, into user_scope.
	Extra map[string]string `json:"extra,omitempty"`
	// Granted is where the granted scopes are told. Empty means response.
	Granted string `json:"granted,omitempty" enum:"response|callback|none"`
}

// Authorize is the authorization endpoint.
type Authorize struct {
	// URL may have a query of its own. Empty: from discovery.
	URL string `json:"url,omitempty" is:"url"`
	// Params are always added. They may not be protocol parameters.
	Params map[string]string `json:"params,omitempty" is:"template"`
	// Offline parameters are added so that a refresh token is given.
	Offline map[string]string `json:"offline,omitempty" is:"template"`
	// Omit names standard parameters that must not be sent.
	Omit []string `json:"omit,omitempty" enum:"response_type|scope|redirect_uri"`
	// Fragment is put behind # (WeChat).
	Fragment string `json:"fragment,omitempty"`
}

// Callback says what the provider sends to our redirect URI.
type Callback struct {
	// Mode is query unless said otherwise. An answer by form_post is not taken: sign-ins by code are refused before they begin.
	Mode string `json:"mode,omitempty" enum:"query|form_post"`
	// Code replaces the parameter name code.
	Code string `json:"code,omitempty"`
	// Iss: required refuses an answer without iss (RFC 9207); if-present, the default, compares it when it is there.
	Iss string `json:"iss,omitempty" enum:"required|if-present"`
	// Capture takes further parameters, by the name under which templates use them.
	Capture map[string]Capture `json:"capture,omitempty"`
	// HMAC names the parameter that signs the others with the client secret (Shopify: SHA-256,
	// hex, over the sorted rest of the query). Empty: none.
	HMAC string `json:"hmac,omitempty"`
}

// Capture is one callback parameter that is kept. One of Pattern, Equals and Enum is needed.
type Capture struct {
	// Param is the name in the callback's query.
	Param string `json:"param"`
	// Pattern is an anchored regular expression, ^…$.
	Pattern string `json:"pattern,omitempty" is:"pattern"`
	// Equals is a template that the value must equal.
	Equals string `json:"equals,omitempty" is:"template"`
	// Enum is a closed list.
	Enum []string `json:"enum,omitempty"`
	// Into replaces a variable with the value, or with the host of it if it is an https URL,
	// before the token request. Needs Enum.
	Into string `json:"into,omitempty"`
	// Secret values are sealed and redacted.
	Secret bool `json:"secret,omitempty"`
	// Optional parameters may be missing; any other missing one fails the sign-in.
	Optional bool `json:"optional,omitempty"`
}

// Endpoint is one request of the back channel.
type Endpoint struct {
	// URL is empty when it comes from discovery.
	URL string `json:"url,omitempty" is:"url"`
	// Method is POST unless said otherwise.
	Method string `json:"method,omitempty" enum:"GET|POST|DELETE"`
	// Body is form unless said otherwise. none sends no parameters at all.
	Body string `json:"body,omitempty" enum:"form|json|query|none"`
	// Auth replaces client.auth here. bearer sends the token itself in the Authorization header.
	Auth string `json:"auth,omitempty" enum:"basic|post|none|private_key_jwt|bearer"`
	// Params are added to the request.
	Params map[string]string `json:"params,omitempty" is:"template"`
	// Names renames protocol parameters, here only. A name mapped to "" is left out. The token
	// that a revocation, introspection or exchange is about is called token.
	Names map[string]string `json:"names,omitempty"`
	// Headers are added to the request.
	Headers map[string]string `json:"headers,omitempty" is:"template"`
	// Token says which token is the subject of a revocation. Empty means refresh, or access when there is none.
	Token string `json:"token,omitempty" enum:"refresh|access|both"`
	// OK lists the statuses that mean that a token is revoked; a 4xx among them, that the provider does not know it any
	// more. Empty: a 2xx without a body, or with a JSON object that has no error and no false.
	OK []int `json:"ok,omitempty"`
}

// Response says where to find things in a token answer. A list of paths is tried in
// order and the first hit wins; an empty list means the standard name.
type Response struct {
	// Wrap is the path of the object that holds the answer (Withings: body).
	Wrap string `json:"wrap,omitempty" is:"path"`
	// AccessToken, RefreshToken are paths to the tokens. The first that is there is kept; another one that comes beside it is revoked at a
	// sign-in, unless the owner has more connections to the provider.
	AccessToken  []string `json:"access_token,omitempty" is:"path"`
	RefreshToken []string `json:"refresh_token,omitempty" is:"path"`
	// ExpiresIn are paths to a lifetime, in Unit.
	ExpiresIn []string `json:"expires_in,omitempty" is:"path"`
	// ExpiresAt are paths to a moment: RFC 3339, or seconds (milliseconds with unit ms) since 1970.
	ExpiresAt []string `json:"expires_at,omitempty" is:"path"`
	// Unit of lifetimes: s, the default, or ms.
	Unit string `json:"unit,omitempty" enum:"s|ms"`
	// RefreshExpiresIn are paths to the lifetime of the refresh token. Empty: refresh_token_expires_in.
	RefreshExpiresIn []string `json:"refresh_expires_in,omitempty" is:"path"`
	// Scope are paths to the granted scopes: a string split by ScopeSep, or a list.
	Scope []string `json:"scope,omitempty" is:"path"`
	// ExtraScope maps a prefix of scopes.extra to the path of the scopes that are granted under it. It counts when Scope names none.
	ExtraScope map[string]string `json:"extra_scope,omitempty" is:"path"`
	// ScopeSep splits granted scopes. Empty: a space, and a comma where there is no space.
	ScopeSep string `json:"scope_sep,omitempty"`
	// OK is "path=value": anything else is an error although the status is 200. An empty
	// value ("errcode=") means that the field must be absent or zero.
	OK string `json:"ok,omitempty"`
	// Error and ErrorText are paths to the error code and its explanation.
	Error     []string `json:"error,omitempty" is:"path"`
	ErrorText []string `json:"error_text,omitempty" is:"path"`
	// Keep takes further fields, by the name under which templates use them. What a renewal says of them counts too,
	// but for a host or a place that the connection was not made for.
	Keep map[string]Keep `json:"keep,omitempty"`
	// AssumeTTL is the lifetime in seconds when the answer tells none. Zero: unknown.
	AssumeTTL int `json:"assume_ttl,omitempty"`
}

// Keep is one field of a token answer that is stored with the connection.
type Keep struct {
	// Path to a string, number or boolean.
	Path string `json:"path" is:"path"`
	// Hosts makes the value a host or an https URL, and lists where it may point.
	Hosts []string `json:"hosts,omitempty" is:"host"`
	// Secret values are sealed and redacted.
	Secret bool `json:"secret,omitempty"`
	// Place says that the value names where the account is, such as a workspace: the same account at another
	// place does not take a connection's place unasked.
	Place bool `json:"place,omitempty"`
}

// Errors lists error codes that the RFCs do not know.
type Errors struct {
	// Reauth codes mean that the grant is dead, like invalid_grant.
	Reauth []string `json:"reauth,omitempty"`
	// Transient codes mean try again later, like temporarily_unavailable.
	Transient []string `json:"transient,omitempty"`
}

// Refresh says whether and how a token is renewed. Request fields that are empty are as in Token.
type Refresh struct {
	// Grant: refresh_token is RFC 6749; exchange sends the access token itself; none never renews.
	Grant string `json:"grant" enum:"refresh_token|exchange|none"`
	// Rotates tells people whether a new refresh token comes back. Latchpost keeps the one that came last, and the one before where none came.
	Rotates string `json:"rotates,omitempty" enum:"always|sometimes|never"`
	// Reuse tells what an old refresh token does. Empty: not known. With revokes, a renewal whose answer was lost is not
	// asked for again while the access token lives.
	Reuse string `json:"reuse,omitempty" enum:"fails|revokes|allowed"`
	// GraceS is how many seconds an old refresh token goes on working, so that a lost answer can be asked for again.
	GraceS int `json:"grace_s,omitempty"`
	// MinAgeS is the age in seconds before which a refresh is refused.
	MinAgeS int `json:"min_age_s,omitempty"`
	// LifeS is the life of a refresh token in seconds, counted from its issue.
	LifeS int `json:"life_s,omitempty"`
	// IdleS is how many seconds a refresh token lives unused.
	IdleS int `json:"idle_s,omitempty"`
	// On401 tells people that lifetimes are not told, so that a 401 is the first word of the end. A renewal follows every 401.
	On401 bool `json:"on_401,omitempty"`
	// URL, Method, Body, Params and Names as in Endpoint.
	URL    string            `json:"url,omitempty" is:"url"`
	Method string            `json:"method,omitempty" enum:"GET|POST"`
	Body   string            `json:"body,omitempty" enum:"form|json|query"`
	Params map[string]string `json:"params,omitempty" is:"template"`
	Names  map[string]string `json:"names,omitempty"`
	// RedirectURI sends redirect_uri again (GitLab).
	RedirectURI bool `json:"redirect_uri,omitempty"`
}

// After is a look-up made with the new token: which site, which tenant, which data centre. Where the last one lists several, the
// person chooses, or has the one that the connection had.
type After struct {
	// Get is the URL.
	Get string `json:"get" is:"url"`
	// Header is added to the request. Authorization, which is api.send otherwise, may be given here.
	Header map[string]string `json:"header,omitempty" is:"template"`
	// List is the path of a list to choose from, in the last look-up only. Empty: the answer is one object ("." is a list at the root).
	List string `json:"list,omitempty" is:"path"`
	// Value is the path of the value, within one element.
	Value string `json:"value" is:"path"`
	// Label is the path of the text that is shown when there is a choice, within one element. Empty: the value is shown.
	Label string `json:"label,omitempty" is:"path"`
	// Store is the name under which templates use the value.
	Store string `json:"store"`
	// Hosts makes the value a host or an https URL, and lists where it may point.
	Hosts []string `json:"hosts,omitempty" is:"host"`
}
