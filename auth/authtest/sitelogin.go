package authtest

import (
	"net/http"
	"strconv"
)

// showLogin is the first page. It loads a pixel from elsewhere that sets a cookie
// which has nothing to do with the sign-in.
func (s *Site) showLogin(w http.ResponseWriter, _ *http.Request) {
	if s.options.Anonymous {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "nobody", Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
	s.loginPage(w, "")
}

func (s *Site) loginPage(w http.ResponseWriter, problem string) {
	execute(w, http.StatusOK, "login.html", map[string]any{
		"Problem": problem, "Origin": s.URL, "Elsewhere": s.Elsewhere.URL,
	})
}

func (s *Site) checkPassword(w http.ResponseWriter, r *http.Request) {
	user, known := s.user(r.PostFormValue("user"))
	switch {
	case !known || user.Password != r.PostFormValue("password"):
		s.loginPage(w, "That name and password do not belong together. Try again.")
		return
	case r.PostFormValue("region") == "":
		s.loginPage(w, "Choose a region.")
		return
	}
	s.mu.Lock()
	value := s.mint("pending_")
	s.pending[value] = user.Name
	s.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: "pending", Value: value, Path: "/login", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/login/code", http.StatusSeeOther)
}

func (s *Site) showCode(w http.ResponseWriter, _ *http.Request) { codePage(w, "") }

func codePage(w http.ResponseWriter, problem string) {
	execute(w, http.StatusOK, "code.html", map[string]any{"Problem": problem, "Boxes": []int{1, 2, 3, 4, 5, 6}})
}

func (s *Site) checkCode(w http.ResponseWriter, r *http.Request) {
	var typed string
	for i := range len(SecondFactor) {
		typed += r.PostFormValue("d" + strconv.Itoa(i+1))
	}
	if typed != SecondFactor {
		codePage(w, "That is not the code.")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	cookie, err := r.Cookie("pending")
	if err != nil || s.pending[cookie.Value] == "" {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	}
	s.open(w, s.pending[cookie.Value])
	delete(s.pending, cookie.Value)
	http.SetCookie(w, &http.Cookie{Name: "pending", Path: "/login", MaxAge: -1})
	http.Redirect(w, r, "/welcome", http.StatusSeeOther)
}

// welcome fills the storage of the browser and goes on to /account.
func (s *Site) welcome(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	local, tab, base := s.mint("local_"), s.mint("tab_"), s.mint("base_")
	if s.options.Partitioned {
		http.SetCookie(w, &http.Cookie{
			Name: "part", Value: s.mint("part_"), Path: "/", HttpOnly: true,
			Secure: true, SameSite: http.SameSiteNoneMode, Partitioned: true,
		})
	}
	s.mu.Unlock()
	execute(w, http.StatusOK, "welcome.html", map[string]any{"Local": local, "Tab": tab, "Base": base})
}

// setTracker sets a cookie of elsewhere that nobody should keep.
func setTracker(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{Name: "tracker", Value: "you", Path: "/", Secure: true, SameSite: http.SameSiteNoneMode})
}

// track is the tracker of the login page. Browsers that refuse third-party
// cookies get it in the pop-up window.
func track(w http.ResponseWriter, _ *http.Request) {
	setTracker(w)
	w.Header().Set("Content-Type", "image/svg+xml")
	_, _ = w.Write([]byte(`<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>`))
}

// showPopup is the identity provider's window. Its script asks by confirm()
// before the form is sent.
func (s *Site) showPopup(w http.ResponseWriter, _ *http.Request) {
	setTracker(w)
	execute(w, http.StatusOK, "popup.html", map[string]any{"Problem": ""})
}

// finishPopup hands a ticket to the window that opened this one.
func (s *Site) finishPopup(w http.ResponseWriter, r *http.Request) {
	user, known := s.user(r.PostFormValue("user"))
	if !known || user.Password != r.PostFormValue("password") {
		execute(w, http.StatusOK, "popup.html", map[string]any{"Problem": "That name and password do not belong together. Try again."})
		return
	}
	s.mu.Lock()
	ticket := s.mint("ticket_")
	s.tickets[ticket] = user.Name
	s.mu.Unlock()
	execute(w, http.StatusOK, "ticket.html", map[string]any{"Ticket": ticket, "Origin": s.URL})
}

// checkTicket signs in whoever comes with a ticket, once.
func (s *Site) checkTicket(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ticket := r.PostFormValue("ticket")
	user := s.tickets[ticket]
	if user == "" {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	}
	delete(s.tickets, ticket)
	s.open(w, user)
	http.Redirect(w, r, "/welcome", http.StatusSeeOther)
}
