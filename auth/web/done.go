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
		title = map[string]string{auth.HeldOther: "Another account", auth.HeldUnconfirmed: "Your account?", auth.HeldPlaces: "Which one?"}[q.Cause]
	case auth.Declined:
		title = "Declined"
	case auth.Expired:
		title = "Expired"
	default:
		title = "Not connected"
	}
	return s.show(w, r, http.StatusOK, "done", title, page)
}

// settle takes the person's word on a sign-in that is held.
func (s *Site) settle(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	cookie := s.flowCookie(r, id)
	if _, err := s.spend(r, "settle "+id, cookie); err != nil {
		return err
	}
	visit := s.visit(r, cookie)
	var err error
	switch how := r.PostForm.Get("do"); how {
	case "choose":
		err = visit.Choose(r.Context(), id, r.PostForm.Get("place"))
	case auth.SettleAdd, auth.SettleReplace, auth.SettleDiscard:
		err = visit.Settle(r.Context(), id, how)
	default:
		err = errForm
	}
	if err != nil {
		return err
	}
	return see(w, r, "/done/"+id)
}
