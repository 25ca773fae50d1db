package web

import (
	"errors"
	"net/http"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// approvalPage is /approvals/{id}: a frozen question and the answers to it.
type approvalPage struct {
	*auth.Approval
	Name    string // of the provider
	Token   string
	Answers []answer // none: it is over
	Over    string
}

// answer is a button. The word says which decision it stands for.
type answer struct {
	Word, Label, Hint, Class string
	decision                 auth.Decision
}

func (s *Site) approvals(w http.ResponseWriter, r *http.Request) error {
	desk, _, err := s.desk(r)
	if err != nil {
		return err
	}
	waiting, err := desk.Approvals(r.Context())
	if err != nil {
		return err
	}
	page := make([]approvalPage, len(waiting))
	for i := range waiting {
		page[i] = approvalPage{Approval: &waiting[i], Name: s.providerName(waiting[i].Provider)}
	}
	return s.show(w, r, http.StatusOK, "desk_approvals", "Approvals", page)
}

// answers are the decisions that make sense for a question. Every one of them is
// checked again by the vault.
func answers(a *auth.Approval) []answer {
	deny := answer{"deny", "Deny", "", "secondary", auth.Decision{}}
	switch {
	case a.Kind == auth.Release:
		return []answer{
			{"release_1h", "Release for 1 hour", "", "", auth.Decision{Allow: true, For: time.Hour}},
			{"release_8h", "Release for 8 hours", "", "", auth.Decision{Allow: true, For: 8 * time.Hour}},
			deny,
		}
	case a.Method == "":
		return []answer{
			{"read", "Let it read", "Whatever would change something asks you first.", "", auth.Decision{Allow: true, Access: auth.Read}},
			{"write", "Let it read and write", "It changes things without asking.", "", auth.Decision{Allow: true, Access: auth.Write}},
			deny,
		}
	}
	return []answer{
		{"once", "Allow once", "Exactly this call, one time.", "primary", auth.Decision{Allow: true}},
		{"hour", "Allow for 1 hour", "This client, this method and this path.", "", auth.Decision{Allow: true, For: time.Hour}},
		{"always", "Always allow", "This client, this method and this path, until you take it back.", "", auth.Decision{Allow: true, Always: true}},
		deny,
	}
}

// approvalDesk is the desk for one approval. On a machine that serves one person a
// browser without a session may decide too: the id is 128 bits that only the agent
// and this person were told. The raw credential is never released that way.
func (s *Site) approvalDesk(r *http.Request) (desk auth.Desk, session bool, err error) {
	desk, _, err = s.desk(r)
	if errors.Is(err, errWho) && s.Local {
		return s.vault.Desk(auth.Local), false, nil
	}
	return desk, err == nil, err
}

func (s *Site) readApproval(r *http.Request) (auth.Desk, *auth.Approval, error) {
	desk, session, err := s.approvalDesk(r)
	if err != nil {
		return desk, nil, err
	}
	a, err := desk.Approval(r.Context(), r.PathValue("id"))
	if err != nil {
		return desk, nil, err
	}
	if a.Kind == auth.Release && !session {
		return desk, nil, errWho
	}
	return desk, a, nil
}

func (s *Site) approval(w http.ResponseWriter, r *http.Request) error {
	_, a, err := s.readApproval(r)
	if err != nil {
		return err
	}
	page := approvalPage{Approval: a, Name: s.providerName(a.Provider), Token: s.token(r, "approval "+a.ID, "", formTTL)}
	title := "May it?"
	switch {
	case a.State == auth.Approved || a.State == auth.Spent:
		page.Over, title = "allowed", "Allowed"
	case a.State == auth.Refused:
		page.Over, title = "denied", "Denied"
	case s.Now().After(a.ExpiresAt):
		page.Over, title = "expired", "Too late"
	default:
		page.Answers = answers(a)
	}
	return s.show(w, r, http.StatusOK, "approval", title, page)
}

func (s *Site) decide(w http.ResponseWriter, r *http.Request) error {
	desk, a, err := s.readApproval(r)
	if err != nil {
		return err
	}
	if _, err := s.spend(r, "approval "+a.ID, ""); err != nil {
		return err
	}
	decision, err := decisionOf(a, r.PostForm.Get("do"))
	if err != nil {
		return err
	}
	if err := desk.Decide(r.Context(), a.ID, decision); err != nil {
		return err
	}
	return see(w, r, "/approvals/"+a.ID)
}

func decisionOf(a *auth.Approval, word string) (auth.Decision, error) {
	for _, b := range answers(a) {
		if b.Word == word {
			return b.decision, nil
		}
	}
	return auth.Decision{}, errForm
}
