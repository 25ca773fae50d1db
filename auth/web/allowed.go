package web

import (
	"net/http"

	"github.com/latchpost/latchpost/auth"
)

// Allowed says whether the person behind r may see the live view of a request: the
// one whose browser confirmed it, and, where people sign in, its owner.
func (s *Site) Allowed(r *http.Request, id string) error {
	view, err := s.visit(r, s.flowCookie(r, id)).Open(r.Context(), id)
	if err != nil {
		return err
	}
	if !view.Confirms {
		return auth.ErrNotYours.Say("open the link that your agent gave you first, and press Connect there")
	}
	return nil
}
