package main

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchpost/latchpost/auth/seal"
	"github.com/latchpost/latchpost/browserlogin"
	"github.com/latchpost/latchpost/store"
)

// settings are the values of all flags, and the streams of the process.
type settings struct {
	in       io.Reader
	out, err io.Writer

	data, store, key, providers string
	logLevel                    string
	listen, baseURL             string
	release                     string
	unsafeLoopback, unsafeStore bool
	privateNets                 networks
	existing                    bool // the store has to be there
	tolerant                    bool // definitions that are broken are left out

	json       bool
	account    string
	everything bool // that the owner has
	method     string
	scopes     string

	clientID string
	vars     vars

	demo    demoSettings
	audit   auditSettings
	serve   serveSettings
	browser browserSettings
	token   tokenSettings
	install installSettings
	notify  notifySettings
	given   []*flag.Flag // on the command line, not from the environment
	asked   bool         // somebody has given the values: they are not those of the demo
	newKey  string
	to      string
	ballast bool

	diagnoses bool // the doctor asks
	support   bool
}

// vars collects repeated --var PROVIDER.NAME=VALUE.
type vars map[string]string

func (v *vars) String() string { return strings.Join(v.all(), ",") }

// all is one NAME=VALUE for each, as they are given.
func (v *vars) all() []string {
	var list []string
	if v != nil {
		for name, value := range *v {
			list = append(list, name+"="+value)
		}
	}
	slices.Sort(list)
	return list
}

func (v *vars) Set(s string) error {
	name, value, ok := strings.Cut(s, "=")
	if _, _, dotted := strings.Cut(name, "."); !ok || !dotted {
		return usagef("write it as PROVIDER.NAME=VALUE")
	}
	if *v == nil {
		*v = vars{}
	}
	(*v)[name] = value
	return nil
}

// newFlags declares the common flags and those of one command.
func newFlags(c command, s *settings) *flag.FlagSet {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&s.data, "data", defaultData(), "data `dir`ectory, made with mode 0700 by what begins something")
	fs.StringVar(&s.store, "store", "", "`url` of the store: sqlite:PATH or postgres://… (default sqlite: in the data directory)")
	fs.StringVar(&s.key, "key", "", "`url` of the master key: file:PATH, env:NAME, keyring:SERVICE/USER or exec:COMMAND (default a file beside the data directory)")
	fs.StringVar(&s.providers, "providers", "", "`dir`ectory with your own provider definitions")
	fs.Var(&s.vars, "var", "answer to a question of a definition beforehand, as in `provider.name=value`; may be repeated")
	fs.StringVar(&s.logLevel, "log-level", "warn", "`level` of the log on standard error: debug, info, warn or error")
	fs.BoolVar(&s.unsafeLoopback, "unsafe-loopback", false, "let provider and API addresses be http on 127.0.0.1 (tests and demo)")
	fs.Var(&s.privateNets, "unsafe-private-net", "private `networks` that providers and APIs may be in, such as 10.20.0.0/16; with commas, or repeated")
	fs.BoolVar(&s.unsafeStore, "unsafe-store", false, "let the connection to PostgreSQL on another machine be unencrypted")
	if c.flags != nil {
		c.flags(fs, s)
	}
	return fs
}

// defaultListen is the same for everybody, because redirect URIs are registered with it.
const defaultListen = "127.0.0.1:7823"

func listenFlags(fs *flag.FlagSet, s *settings) {
	fs.StringVar(&s.listen, "listen", defaultListen, "`address` that serves pages and callbacks")
	fs.StringVar(&s.baseURL, "base-url", "", "`url` under which people reach the pages (default http:// and the address)")
	browserFlags(fs, s)
	notifyFlags(fs, s)
	fs.StringVar(&s.release, "release", "", "`providers` whose raw access token clients may have: none, or names with commas")
}

func jsonFlag(fs *flag.FlagSet, s *settings) {
	fs.BoolVar(&s.json, "json", false, "print JSON, one object a line")
}

// parse reads flags, wherever they stand between the arguments, and takes what is
// not given from the environment.
func (s *settings) parse(fs *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			if err == flag.ErrHelp {
				return nil, err
			}
			return nil, errUsage{flagError(fs, err)}
		}
		args = fs.Args()
		if len(args) == 0 {
			break
		}
		rest = append(rest, args[0])
		args = args[1:]
	}
	s.asked = true
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) {
		given[f.Name] = true
		s.given = append(s.given, f)
	})
	fs.VisitAll(func(f *flag.Flag) {
		name := "LATCHPOST_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value, ok := os.LookupEnv(name); ok && !given[f.Name] && err == nil {
			if setErr := fs.Set(f.Name, value); setErr != nil {
				err = usagef("%s: %s", name, setErr)
				if setErr.Error() == "parse error" { // of a switch, a number or a time: no secret is one
					err = errUsage{notA(f, name, value)}
				}
			}
		}
	})
	if err == nil {
		err = s.check(fs)
	}
	return rest, err
}

// check refuses values that mean nothing, before anything is opened.
func (s *settings) check(fs *flag.FlagSet) error {
	if _, err := s.logger(); err != nil {
		return err
	}
	for _, f := range s.given {
		if (f.Name == "store" || f.Name == "to") && holdsPassword(f.Value.String()) {
			return usagef("--%s holds a password, which every user of this machine can read in the list of processes: put the URL into LATCHPOST_%s, or the password into PGPASSWORD or ~/.pgpass", f.Name, strings.ToUpper(f.Name))
		}
		if f.Name == "browser" && holdsToken(f.Value.String()) {
			return usagef("--browser has a name or a query in its URL, and whatever token is in them every user of this machine can read in the list of processes: put it into LATCHPOST_BROWSER")
		}
	}
	wrong := []error{store.CheckURL(s.storeURL()), seal.CheckURL(s.keyURL())}
	if s.newKey != "" {
		wrong = append(wrong, seal.CheckURL(s.newKey))
	}
	if s.to != "" {
		wrong = append(wrong, store.CheckURL(s.to))
	}
	if fs.Lookup("browser-dir") != nil {
		wrong = append(wrong, browserlogin.CheckKind(s.browser.kind))
	}
	if fs.Lookup("listen") != nil {
		wrong = append(wrong, checkAddress(s.listen), checkBase(s.baseURL))
	}
	for _, err := range wrong {
		if err != nil {
			return usagef("%s", err)
		}
	}
	return nil
}

var baseURL = regexp.MustCompile(`^https?://([a-z0-9-]+(\.[a-z0-9-]+)*|\[::1\])(:[1-9][0-9]{0,4})?$`)

// checkBase wants a base URL as browsers spell it, because Host and Origin are compared
// with it. What they would send in the clear to another machine is refused.
func checkBase(raw string) error {
	if raw == "" {
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil || !baseURL.MatchString(raw) || u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80" {
		return usagef("--base-url must be a scheme and a host as browsers write them, such as https://latchpost.example.com: in lower case and ASCII, without the usual port, and without a slash at the end")
	}
	if host := u.Hostname(); u.Scheme == "http" && host != "localhost" && !isLoopback(net.JoinHostPort(host, "1")) {
		return usagef("--base-url is http, where sessions would travel in the clear: write https://%s, and see --tls-cert and --behind-proxy", u.Host)
	}
	return nil
}

// flagError says what package flag says, in the words of the documentation.
func flagError(fs *flag.FlagSet, err error) string {
	text := err.Error()
	if m := unparsed.FindStringSubmatch(text); m != nil {
		if value, quoteErr := strconv.Unquote(m[1]); quoteErr == nil {
			f := fs.Lookup(m[2])
			return notA(f, "--"+f.Name, value)
		}
	}
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		return "there is no flag --" + strings.TrimPrefix(name, "-")
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return "--" + name + " needs a value"
	}
	text, _ = strings.CutSuffix(strings.Replace(text, " for flag -", " for --", 1), ": parse error")
	return text
}

var unparsed = regexp.MustCompile(`^invalid (?:boolean )?value ("(?:[^"\\\\]|\\\\.)*") for (?:flag )?-([a-z-]+): parse error$`)

// notA says what a switch, a number or a time has to be.
func notA(f *flag.Flag, name, value string) string {
	kind := "a number"
	if getter, ok := f.Value.(flag.Getter); ok {
		switch getter.Get().(type) {
		case bool:
			kind = "true or false"
		case time.Duration:
			kind = "a time in hours, minutes or seconds, such as 720h for thirty days"
		}
	}
	return fmt.Sprintf("invalid value %q for %s: it takes %s", value, name, kind)
}

func checkAddress(listen string) error {
	if !isAddress(listen) {
		return usagef("--listen must be an address and a port, such as %s, not %q", defaultListen, listen)
	}
	return nil
}

func isAddress(listen string) bool {
	_, port, err := net.SplitHostPort(listen)
	_, portErr := strconv.ParseUint(port, 10, 16)
	return err == nil && portErr == nil
}

// defaultData follows the XDG base directory specification.
func defaultData() string {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "latchpost")
	}
	return homeData()
}

// homeData is the default where the environment says nothing.
func homeData() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "share", "latchpost")
}

// defaults are the vars by provider.
func (s *settings) defaults() map[string]map[string]string {
	byProvider := map[string]map[string]string{}
	for dotted, value := range s.vars {
		provider, name, _ := strings.Cut(dotted, ".")
		if byProvider[provider] == nil {
			byProvider[provider] = map[string]string{}
		}
		byProvider[provider][name] = value
	}
	return byProvider
}

// storeURL and keyURL fill in the defaults. The key lies beside the data directory,
// not in it, so that a copy of the one does not take the other along.
func (s *settings) storeURL() string {
	if s.store != "" {
		return s.store
	}
	return "sqlite:" + filepath.Join(s.data, "latchpost.db")
}

func (s *settings) shownStore() string { return shown(s.storeURL()) }

// holdsPassword reports whether the URL of a store does.
func holdsPassword(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "sqlite" {
		return false
	}
	_, in := u.User.Password()
	return in || u.Query().Has("password") || u.Query().Has("sslpassword")
}

// shown is the URL of a store without what may be a password.
func shown(store string) string {
	if strings.HasPrefix(store, "sqlite:") {
		return store
	}
	u, err := url.Parse(store)
	if err != nil {
		return "PostgreSQL"
	}
	u.User, u.RawQuery = nil, ""
	return u.String()
}

func (s *settings) keyURL() string {
	if s.key != "" {
		return s.key
	}
	return "file:" + filepath.Join(filepath.Clean(s.data)+"-key", "master.key")
}

// shownKey is the URL of a master key as others may see it: what follows the name of a command may be for it alone.
func shownKey(url string) string {
	if command, ok := strings.CutPrefix(url, "exec:"); ok {
		if words := strings.Fields(command); len(words) > 1 {
			return "exec:" + words[0] + " …"
		}
	}
	return url
}

func (s *settings) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.logLevel)); err != nil || !slices.Contains([]string{"debug", "info", "warn", "error"}, strings.ToLower(s.logLevel)) {
		return nil, usagef("--log-level must be debug, info, warn or error, not %q", s.logLevel)
	}
	return slog.New(tracedLog{slog.NewTextHandler(visible{s.err}, &slog.HandlerOptions{Level: level})}), nil
}

func (s *settings) released() map[string]bool {
	set := map[string]bool{}
	for name := range strings.SplitSeq(s.release, ",") {
		if name = strings.TrimSpace(name); name != "" && name != "none" {
			set[name] = true
		}
	}
	return set
}

// unsafe lists the flags that weaken something, for the log and the pages.
func (s *settings) unsafe() []string {
	var names []string
	if s.unsafeLoopback {
		names = append(names, "--unsafe-loopback: provider and API addresses may be http on this machine")
	}
	if len(s.privateNets) > 0 {
		names = append(names, "--unsafe-private-net: calls and sign-ins may go to "+s.privateNets.String())
	}
	if s.unsafeStore {
		names = append(names, "--unsafe-store: rows and the database's password may cross the network to PostgreSQL in the clear")
	}
	if s.browser.noSandbox {
		names = append(names, "--unsafe-no-sandbox: Chromium runs without its sandbox")
	}
	if browserlogin.InTheClear(s.browser.kind) { // the address may hold a token
		names = append(names, "--browser: what people type and what sites give them goes to the browser in the clear; use wss or https")
	}
	if s.serve.sameUsers {
		names = append(names, "--unsafe-same-users: users of another issuer get the connections of those before them who had the same names")
	}
	if s.serve.deviceFlow {
		names = append(names, "--unsafe-device-flow: the device code flow is open to phishing on a server of many users (BCP 247)")
	}
	if s.serve.unsafeMetrics {
		names = append(names, "--unsafe-metrics: metrics can be read without a token, or from other machines in the clear")
	}
	for name := range s.released() {
		names = append(names, "--release "+name+": clients get the raw access token")
	}
	slices.Sort(names)
	return names
}
