package identity

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// linkTime is how long a one-time link can be used.
const linkTime = 10 * time.Minute

// Link makes a link that signs one browser in as o, once, within ten minutes: BaseURL +
// "/login/" + code. `latchpost owner-link` prints it; whoever may run that may read the
// store, so it gives nobody more than they had.
//
// The code is 128 random bits in the path, where a fragment would keep it out of access
// logs and the browser's history. But reading a fragment takes script, which our pages go
// without, and what is logged or remembered here is spent: opening the link shows a button
// and takes nothing (scanners and previews press none), the button posts the code in the
// body, and the first post takes it out of the store. No Referer carries the path, and it
// travels over https or never leaves the machine. On a machine that others use too, do not
// start a browser with the link in its arguments, which they can read: open /login, and
// type the code there.
func (i *Identity) Link(ctx context.Context, o auth.Owner) (auth.Secret, error) {
	if !isName(o.User) || o.Org != "" && !isName(o.Org) {
		return auth.Secret{}, auth.ErrInvalid.Say("the owner needs a name of at most 200 printable characters; give it with --user")
	}
	e := auth.Event{At: i.now(), Owner: o, Kind: "session.link", Decision: "allow"}
	if err := record(ctx, i.Audit, e); err != nil {
		return auth.Secret{}, err
	}
	code := rand.Text()
	if err := i.Sessions.AddOwnerLink(ctx, digest(code), o, i.now().Add(linkTime)); err != nil {
		return auth.Secret{}, err
	}
	return auth.NewSecret(i.BaseURL() + "/login/" + code), nil
}

var errLink = auth.ErrUsed.Say("this link was used already, has expired, or never was one; run latchpost owner-link for a new one")

// showLink does not look the code up: only the button does.
func (i *Identity) showLink(w http.ResponseWriter, r *http.Request) error {
	return i.show(w, http.StatusOK, "link", map[string]any{
		"Title": "Sign in to Latchpost", "Code": r.PathValue("code"),
	})
}

// takeLink spends a code, which may be typed in lower case.
func (i *Identity) takeLink(w http.ResponseWriter, r *http.Request, code string) error {
	code = strings.ToUpper(strings.TrimSpace(code))
	if len(code) != len(rand.Text()) || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
		return errLink
	}
	o, err := i.Sessions.TakeOwnerLink(r.Context(), digest(code))
	if errors.Is(err, auth.ErrNotFound) {
		return errLink
	}
	if err != nil {
		return err
	}
	if err := i.begin(w, r, o, "link"); err != nil {
		return err
	}
	http.Redirect(w, r, landing(r.PostFormValue("next")), http.StatusSeeOther)
	return nil
}
