package web

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/latchpost/latchpost/auth"
)

// clean makes a text from outside fit to be shown: no control, direction, zero-width
// or tag characters, no run of accents that climbs over its line, single spaces, at most n runes.
func clean(n int, s string) string {
	var b strings.Builder
	count, marks, space := 0, 0, false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = b.Len() > 0
			continue
		case r == utf8.RuneError, unicode.In(r, unicode.C):
			continue
		case unicode.In(r, unicode.M):
			if marks++; marks > 2 {
				continue
			}
		default:
			marks = 0
		}
		if count+1 > n || space && count+2 > n {
			return b.String() + "…"
		}
		if space {
			b.WriteByte(' ')
			count, space = count+1, false
		}
		b.WriteRune(r)
		count++
	}
	return b.String()
}

// clock is a moment as people read it. Without script the person's own zone is not known.
func clock(t time.Time) string {
	if t.IsZero() {
		return "unknown"
	}
	return t.UTC().Format("2 Jan 2006, 15:04 UTC")
}

func ago(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	if d := now.Sub(t); d >= time.Minute {
		return span(d) + " ago"
	}
	return "just now"
}

// moment is ago with the time of day, and with the day when that is another one.
func moment(now, t time.Time) string {
	if now.UTC().Format(time.DateOnly) == t.UTC().Format(time.DateOnly) {
		return ago(now, t) + " · " + t.UTC().Format("15:04 UTC")
	}
	return ago(now, t) + " · " + clock(t)
}

func until(now, t time.Time) string {
	switch d := t.Sub(now); {
	case t.IsZero():
		return "no end"
	case d <= 0:
		return "ended"
	case d < time.Minute:
		return "in less than a minute"
	default:
		return "in " + span(d)
	}
}

func span(d time.Duration) string {
	count := func(n int, unit string) string {
		if n == 1 {
			return "1 " + unit
		}
		return fmt.Sprintf("%d %ss", n, unit)
	}
	switch {
	case d < time.Hour:
		return count(int(d/time.Minute), "minute")
	case d < 48*time.Hour:
		return count(int(d/time.Hour), "hour")
	}
	return count(int(d/(24*time.Hour)), "day")
}

func initial(name string) string {
	for _, r := range name {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return string(unicode.ToUpper(r))
		}
	}
	return "?"
}

func methodName(m string) string {
	switch m {
	case auth.MethodOAuthCode:
		return "Sign in on the provider's site"
	case auth.MethodDeviceCode:
		return "Enter a code on another device"
	case auth.MethodClientCredentials:
		return "Connect the app itself"
	case auth.MethodAPIKey:
		return "Paste an API key"
	case auth.MethodBrowser:
		return "Sign in through a live browser"
	}
	return m
}

func stateName(s auth.State) string {
	switch s {
	case auth.Active:
		return "Active"
	case auth.Expiring:
		return "Ends soon"
	case auth.NeedsReauth:
		return "Sign in again"
	case auth.ProviderDown:
		return "Provider down"
	case auth.Revoked:
		return "Revoked"
	}
	return string(s)
}

// causeText is why a sign-in failed, by the code that the vault keeps.
func causeText(cause string) string {
	switch cause {
	case auth.ErrRefused.Code:
		return "The provider refused the sign-in."
	case auth.ErrUnavailable.Code:
		return "The provider did not answer properly."
	case auth.ErrConfig.Code, auth.ErrNoApp.Code:
		return "The settings for this sign-in are not right: its OAuth app, or what this server needs for it, has to be corrected."
	case "unknown_outcome":
		return "Latchpost stopped while the provider was answering, so nobody knows how it ended. Nothing was stored."
	case auth.CauseDamaged:
		return "What Latchpost's store kept of this sign-in is damaged, so nothing was stored."
	case auth.ErrAudit.Code:
		return "The audit record could not be written, so nothing was stored."
	}
	return "The sign-in could not be finished."
}

func ruleText(why string) string {
	switch why {
	case auth.RuleNoGrant:
		return "This client has not been let in yet."
	case auth.RuleReadOnly:
		return "This client may only read, and this call would change something."
	case auth.RuleScope:
		return "This call is outside of what you allowed this client."
	case auth.RuleRelease:
		return "This client asks for the raw credential."
	}
	return clean(80, why)
}
