package web

import (
	"net/http"

	"github.com/latchpost/latchpost/auth"
)

// donePage is /done/{id}: how it ended.
type donePage struct {
	*auth.View
	Token      string
	Connection *auth.Info // when stored
	Other      string     // account that was signed in to, when held: another than the asked one, or unconfirmed
	Over       string     // stored, failed, declined, expired, held or claimed
}

func (s *Site) done(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	cookie := s.flowCookie(r, id)
	view, err := s.visit(r, cookie).Open(r.Context(), id)
	if err != nil {
		return err
	}
	q := view.Request
	page := donePage{View: view, Over: string(q.State), Token: s.token(r, "settle "+id, cookie, formTTL)}
	title := "Finishing"
	switch q.State {
	case auth.Created, auth.Confirmed, auth.Redirected:
		return see(w, r, "/c/"+id)
	case auth.Claimed:
		refresh(w, 2)
	case auth.Stored:
		title = "Connected"
		status, err := s.vault.Wait(r.Context(), auth.Caller{Owner: q.Owner, Client: q.Client, Verified: q.Verified}, id, 0, nil)
		if err != nil {
			return err
		}
		page.Connection = status.Connection
	case auth.Held:
		title, page.Other = "Another account", q.Cause
		if view.Unconfirmed {
			title = "Your account?"
		}
	case auth.Declined:
		title = "Declined"
	case auth.Expired:
		title = "Expired"
	default:
		title = "Not connected"
	}
	return s.show(w, r, http.StatusOK, "done", title, page)
}

// settle takes the person's word on a sign-in as another account than expected.
func (s *Site) settle(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	cookie := s.flowCookie(r, id)
	if _, err := s.spend(r, "settle "+id, cookie); err != nil {
		return err
	}
	how := r.PostForm.Get("do")
	if how != auth.SettleAdd && how != auth.SettleReplace && how != auth.SettleDiscard {
		return errForm
	}
	if err := s.visit(r, cookie).Settle(r.Context(), id, how); err != nil {
		return err
	}
	return see(w, r, "/done/"+id)
}
