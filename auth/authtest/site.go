package authtest

import (
	"crypto/rand"
	"net/http"
	"strings"
	"sync"
	"time"
)

// SiteOptions say how a Site behaves. The zero value is an ordinary site with
// DefaultUsers.
type SiteOptions struct {
	// Users can sign in. Nil means DefaultUsers.
	Users []User

	// Lifetime of a session. Zero means one hour.
	Lifetime time.Duration

	// Rolling gives a new session cookie with every answer of /account and
	// /api/session, and takes only the newest.
	Rolling bool

	// Anonymous gives every visitor of the login page a cookie that is called session
	// too, so that having one proves nothing.
	Anonymous bool

	// Partitioned adds a partitioned cookie (CHIPS) called part.
	Partitioned bool

	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// SecondFactor is the code that every user of a Site gets.
const SecondFactor = "246810"

// Site is a web site without OAuth, for signing in through a browser: name and
// password, a drop-down list, a second factor in six boxes, or a pop-up window of
// another site. /account is for those who are signed in, and /api/session says as
// JSON who that is. /motion moves all the time, and /attacks lists pages that do
// what no login page should.
type Site struct {
	Host

	// Elsewhere is the identity provider of the pop-up window and the tracker of
	// the login page. It is another site, called localhost.
	Elsewhere Host

	options SiteOptions

	mu       sync.Mutex
	sessions map[string]session // by the value of the cookie
	pending  map[string]string  // users between the factors, by the value of the cookie
	tickets  map[string]string  // users of the pop-up window
	secrets  []string
}

type session struct {
	user    string
	expires time.Time
}

// NewSite starts a site on two listeners. Close it when done.
func NewSite(options SiteOptions) *Site {
	s := &Site{
		options: options, sessions: make(map[string]session),
		pending: make(map[string]string), tickets: make(map[string]string),
	}
	if s.options.Users == nil {
		s.options.Users = DefaultUsers()
	}
	if s.options.Lifetime == 0 {
		s.options.Lifetime = time.Hour
	}
	if s.options.Now == nil {
		s.options.Now = time.Now
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /style.css", stylesheet)
	mux.HandleFunc("GET /{$}", s.account)
	mux.HandleFunc("GET /account", s.account)
	mux.HandleFunc("GET /api/session", s.session)
	mux.HandleFunc("GET /login", s.showLogin)
	mux.HandleFunc("POST /login", s.checkPassword)
	mux.HandleFunc("GET /login/code", s.showCode)
	mux.HandleFunc("POST /login/code", s.checkCode)
	mux.HandleFunc("POST /login/ticket", s.checkTicket)
	mux.HandleFunc("GET /welcome", s.welcome)
	mux.HandleFunc("POST /logout", s.logout)
	mux.HandleFunc("GET /motion", show("motion.html"))
	mux.HandleFunc("GET /attacks", s.attacks)
	mux.HandleFunc("GET /attack/{name}", s.attack)
	mux.HandleFunc("GET /attack/file", endlessFile)
	s.Host.start(mux, s.options.Now)

	elsewhere := http.NewServeMux()
	elsewhere.HandleFunc("GET /style.css", stylesheet)
	elsewhere.HandleFunc("GET /sso", s.showPopup)
	elsewhere.HandleFunc("POST /sso", s.finishPopup)
	elsewhere.HandleFunc("GET /pixel", track)
	s.Elsewhere.start(elsewhere, s.options.Now)
	s.Elsewhere.URL = strings.Replace(s.Elsewhere.URL, "127.0.0.1", "localhost", 1)
	return s
}

// Close stops both listeners.
func (s *Site) Close() {
	s.Host.Close()
	s.Elsewhere.Close()
}

// Secrets is everything a test may scan for: session cookies, passwords, and the
// values the site keeps in the storage of the browser.
func (s *Site) Secrets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	secrets := append([]string{SecondFactor}, s.secrets...)
	for _, u := range s.options.Users {
		secrets = append(secrets, u.Password)
	}
	return secrets
}

// SignOut ends all sessions of a user, as the site may do at any time.
func (s *Site) SignOut(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for value, session := range s.sessions {
		if session.user == name {
			delete(s.sessions, value)
		}
	}
}

// Browser is one that can sign in to the site: its walk to /login ends on the
// page /welcome, and then it has the cookies.
func (s *Site) Browser(name string) *Browser {
	user, _ := s.user(name)
	fill := map[string]string{"user": user.Name, "password": user.Password}
	for i, digit := range SecondFactor {
		fill["d"+string('1'+rune(i))] = string(digit)
	}
	return &Browser{Fill: fill}
}

func (s *Site) user(name string) (User, bool) { return Options{Users: s.options.Users}.user(name) }

// open starts a session. The mutex is locked.
func (s *Site) open(w http.ResponseWriter, user string) {
	value := s.mint("session_")
	s.sessions[value] = session{user, s.options.Now().Add(s.options.Lifetime)}
	http.SetCookie(w, &http.Cookie{
		Name: "session", Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		MaxAge: int(s.options.Lifetime / time.Second),
	})
}

func (s *Site) mint(prefix string) string {
	secret := prefix + strings.ToLower(rand.Text())
	s.secrets = append(s.secrets, secret)
	return secret
}

// enter tells who is signed in, and rolls the cookie if the site does that.
func (s *Site) enter(w http.ResponseWriter, r *http.Request) (string, bool) {
	cookie, err := r.Cookie("session")
	if err != nil {
		return "", false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	session, known := s.sessions[cookie.Value]
	if !known || !s.options.Now().Before(session.expires) {
		return "", false
	}
	if s.options.Rolling {
		delete(s.sessions, cookie.Value)
		s.open(w, session.user)
	}
	return session.user, true
}

// account is the page that shows the sign-in worked.
func (s *Site) account(w http.ResponseWriter, r *http.Request) {
	user, ok := s.enter(w, r)
	if !ok {
		http.Redirect(w, r, "/login", http.StatusFound)
		return
	}
	execute(w, http.StatusOK, "account.html", map[string]any{"User": user})
}

// session is the same for programs.
func (s *Site) session(w http.ResponseWriter, r *http.Request) {
	user, ok := s.enter(w, r)
	if !ok {
		writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "signed_out"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"user": user})
}

func (s *Site) logout(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie("session"); err == nil {
		s.mu.Lock()
		delete(s.sessions, cookie.Value)
		s.mu.Unlock()
	}
	http.SetCookie(w, &http.Cookie{Name: "session", Path: "/", MaxAge: -1})
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

func show(page string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { execute(w, http.StatusOK, page, nil) }
}
