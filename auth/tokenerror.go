package auth

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// outcomeUnknown reports whether a request went out and no answer came back, or one that was spoilt on the way, so
// that the provider may or may not have acted on it.
func outcomeUnknown(err error) bool {
	e, ok := errors.AsType[*egress.Error](err)
	return ok && e.Sent || errors.Is(err, errSpoilt)
}

// errSpoilt marks an answer that says success and has no tokens that can be used: those it had are lost.
var errSpoilt = errors.New("a token answer without use")

// unreachable is the error for a request that brought no answer.
func unreachable(p *providers.Provider, err error) *Error {
	switch egress.KindOf(err) {
	case egress.KindURL, egress.KindAddress, egress.KindRequest:
		return ErrConfig.Say("an address of %s must not be called; the operator has to correct its definition", p.Name).Because(err)
	}
	return ErrUnavailable.Say("%s cannot be reached; try again later", p.Name).Because(err)
}

// noAnswer is the error for an answer that is not one of OAuth: a login page, a proxy's error, a cut-off body.
func noAnswer(p *providers.Provider, a *answer, err error) *Error {
	return ErrUnavailable.Say("%s did not answer properly; try again later", p.Name).After(a.RetryAfter).Because(err)
}

// Error codes by what follows from them (RFC 6749 section 5.2, RFC 8707 section 2).
var (
	reauthCodes    = []string{"invalid_grant"}
	personCodes    = []string{"login_required", "consent_required", "interaction_required"} // OpenID Connect Core section 3.1.2.6; Microsoft on a refresh
	configCodes    = []string{"invalid_client", "incorrect_client_credentials", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_target", "invalid_request", "unsupported_response_type"}
	transientCodes = []string{"temporarily_unavailable", "server_error"}
	otherCodes     = []string{
		"access_denied", "authorization_pending", "slow_down", "expired_token", "invalid_token", "unsupported_token_type", "invalid_request_uri",
		"account_selection_required", "bad_verification_code",
	}
)

// refusal finds the error in an answer, whatever its status; nil when there is none.
// What an outsider gets to read is a sentence of ours and an error code that we know.
func refusal(p *providers.Provider, a *answer, doc document, isJSON bool, secrets []Secret) error {
	code, refused := refusedCode(p.OAuth2, a, doc)
	if !refused {
		return nil
	}
	errs := p.OAuth2.Errors
	text := doc.text(append(slices.Clone(p.OAuth2.Response.ErrorText), "error_description", "error.message", "errmsg", "message")...)
	cause := fmt.Errorf("status %d, error %q: %q", a.Status, plainText(code, secrets), plainText(text, secrets))
	known := knownCode(errs, code)
	switch {
	case broken(a.Status),
		slices.Contains(transientCodes, code), slices.Contains(errs.Transient, code):
		return ErrUnavailable.Say("%s cannot do it now (%s); try again later", p.Name, known).After(a.RetryAfter).Because(cause)
	case isJSON && slices.Contains(slices.Concat(reauthCodes, personCodes, errs.Reauth), code):
		return ErrReauth.Say("%s does not accept this sign-in any more (%s); the user has to sign in again", p.Name, known).Because(cause)
	case slices.Contains(configCodes, code):
		return ErrConfig.Say("%s refuses the OAuth app (%s); the operator has to correct its registration or definition", p.Name, known).Because(cause)
	}
	switch readable := isJSON && a.Status >= 400; { // the server's word, even without a code: it is not down
	case code == "" && !readable:
		return noAnswer(p, a, cause)
	case code == "":
		known = fmt.Sprintf("status %d", a.Status)
	}
	return ErrRefused.Say("%s refused (%s); try again later", p.Name, known).After(a.RetryAfter).Because(cause)
}

// broken statuses speak of the server's own trouble, whatever the body says.
func broken(status int) bool {
	return status >= 500 || slices.Contains([]int{http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests}, status)
}

// refusedCode also sees the errors that come with status 200.
func refusedCode(def *providers.OAuth2, a *answer, doc document) (code string, refused bool) {
	inner := wrapped(def, doc)
	paths := orPaths(def.Response.Error, "error")
	value := doc.first(paths)
	if value == nil {
		value = inner.first(paths)
	}
	if value == nil {
		value = doc.at("error")
	}
	switch s := scalar(value); {
	case value == nil, s == "0", s == "false":
	case s != "":
		code, refused = s, true
	default: // an object, as Facebook sends it
		if _, empty := value.(string); !empty {
			code, refused = document{value}.text("code", "type", "status"), true
		}
	}
	failed := a.Status < 200 || a.Status > 299 || def.Response.OK != "" && !doc.holds(def.Response.OK)
	if failed && code == "" && def.Response.OK != "" {
		path, _, _ := strings.Cut(def.Response.OK, "=")
		code = doc.text(path) // WeChat's errcode, Withings' status
	}
	return code, refused || failed
}

// knownCode is a code that may be repeated to a model: one of the RFCs' or the definition's.
func knownCode(errs providers.Errors, code string) string {
	if slices.Contains(slices.Concat(reauthCodes, personCodes, configCodes, transientCodes, otherCodes, errs.Reauth, errs.Transient), code) {
		return code
	}
	return "an error code of its own"
}

const maxErrorText = 200

// plainText makes a provider's words fit for the operator's log: printable ASCII
// without what HTML, shells or terminals take for their own, short, and without our secrets.
func plainText(s string, secrets []Secret) string {
	redactor := redactor(secrets)
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || strings.ContainsRune(`<>"&\`, r) {
			return -1
		}
		return r
	}, redactor.RedactString(s))
	s = redactor.RedactString(s) // what was taken out may have stood within one
	return s[:min(len(s), maxErrorText)]
}

// retryAfter reads seconds or a date (RFC 9110 section 10.2.3), between a second and
// an hour; 0 when the header says nothing.
func retryAfter(header string, now time.Time) int {
	if header == "" {
		return 0
	}
	if at, err := http.ParseTime(header); err == nil {
		return retrySeconds(at.Sub(now))
	}
	if strings.Trim(header, "-0123456789") != "" {
		return 0
	}
	n, err := strconv.ParseInt(header, 10, 32)
	if errors.Is(err, strconv.ErrRange) {
		err = nil // n is as large, or as small, as it can be
	}
	if err != nil {
		return 0
	}
	return retrySeconds(time.Duration(n) * time.Second)
}

func retrySeconds(d time.Duration) int {
	return int(min(max(d, time.Second), time.Hour) / time.Second)
}
