package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/tailscale/hujson"
)

type installSettings struct{ print, undo bool }

func installFlags(fs *flag.FlagSet, s *settings) {
	listenFlags(fs, s)
	fs.BoolVar(&s.install.print, "print", false, "print the entry and the file it belongs into, and change nothing")
	fs.BoolVar(&s.install.undo, "undo", false, "take the entry out again")
}

// host is an MCP host and where it keeps its list of servers.
type host struct {
	name string
	path func(home, config string) string // config is the system's directory for applications
	// servers is the JSON pointer of the list; "" is TOML with tables [mcp_servers.NAME].
	servers string
	typed   bool // entries say "type": "stdio"
}

func mcpHosts() []host {
	at := func(elem ...string) func(string, string) string {
		return func(home, _ string) string { return filepath.Join(append([]string{home}, elem...)...) }
	}
	in := func(elem ...string) func(string, string) string {
		return func(_, config string) string { return filepath.Join(append([]string{config}, elem...)...) }
	}
	return []host{
		{"claude", at(".claude.json"), "/mcpServers", true},
		{"claude-desktop", in("Claude", "claude_desktop_config.json"), "/mcpServers", false},
		{"codex", at(".codex", "config.toml"), "", false},
		{"cursor", at(".cursor", "mcp.json"), "/mcpServers", false},
		{"gemini", at(".gemini", "settings.json"), "/mcpServers", false},
		{"vscode", in("Code", "User", "mcp.json"), "/servers", true},
		{"windsurf", at(".codeium", "windsurf", "mcp_config.json"), "/mcpServers", false},
		{"zed", at(".config", "zed", "settings.json"), "/context_servers", false},
	}
}

// entry is what a host needs to know of us.
type entry struct {
	Type    string   `json:"type,omitempty"`
	Command string   `json:"command"`
	Args    []string `json:"args"`
}

// install writes our entry into a host's configuration and keeps everything else in
// it, comments too. Flags that are given, such as --data, become part of the entry.
func install(_ context.Context, s *settings, args []string) error {
	hosts := mcpHosts()
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.name
	}
	if len(args) != 1 || !slices.Contains(names, args[0]) {
		return usagef("install takes one of %s", strings.Join(names, ", "))
	}
	if err := s.checkLocal(); err != nil { // stdio would refuse it in the host, where nobody sees why
		return err
	}
	if s.install.print && s.install.undo {
		return usagef("install takes --print or --undo, not both")
	}
	s.warnOfStore()
	h := hosts[slices.Index(names, args[0])]
	path, err := h.file()
	if err != nil {
		return err
	}
	e, err := s.entry(h)
	if err != nil {
		return err
	}
	if s.install.print {
		text, err := h.render(e)
		fmt.Fprintf(s.out, "%s:\n\n%s", path, text)
		return err
	}
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	edited, err := h.edit(old, e, s.install.undo)
	if err != nil {
		return fmt.Errorf("%s: %w; nothing was changed", path, err)
	}
	if bytes.Equal(old, edited) {
		fmt.Fprintf(s.out, "%s needs no change.\n", path)
		return nil
	}
	if err := replace(path, edited); err != nil {
		return err
	}
	if s.install.undo {
		fmt.Fprintf(s.out, "%s has no entry for latchpost any more. Start %s again.\n", path, h.name)
		return nil
	}
	fmt.Fprintf(s.out, "%s starts latchpost now. Start %s again; latchpost install %s --undo takes it back.\n", path, h.name, h.name)
	return nil
}

// warnOfStore says which store stays behind with the environment.
func (s *settings) warnOfStore() {
	if given := slices.ContainsFunc(s.given, func(f *flag.Flag) bool { return f.Name == "store" }); !given && s.store != "" {
		fmt.Fprintln(s.err, "LATCHPOST_STORE is set here, and the host will not pass it on: latchpost would open another store there. Give --store without a password, which belongs into ~/.pgpass.")
	}
}

func (h host) file() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	config, err := os.UserConfigDir()
	return h.path(home, config), err
}

func (s *settings) entry(h host) (entry, error) {
	self, err := os.Executable()
	if err != nil {
		return entry{}, err
	}
	e := entry{Command: self, Args: []string{"stdio"}}
	if h.typed {
		e.Type = "stdio"
	}
	data := s.data != "" && s.data != homeData()
	for _, f := range s.given {
		switch f.Name {
		case "print", "undo":
		case "var":
			for _, v := range s.vars.all() {
				e.Args = append(e.Args, "--var="+v)
			}
		default:
			value, err := wherever(f)
			if err != nil {
				return entry{}, err
			}
			e.Args = append(e.Args, "--"+f.Name+"="+value)
			data = data && f.Name != "data"
		}
	}
	if data { // from the environment, which hosts keep to themselves: there would be two stores
		dir, err := filepath.Abs(s.data)
		if err != nil {
			return entry{}, err
		}
		e.Args = append(e.Args, "--data="+dir)
	}
	return e, nil
}

// wherever is the value of a flag that means the same in every working directory: the
// host starts us in one of its own.
func wherever(f *flag.Flag) (string, error) {
	value := f.Value.String()
	prefix := ""
	switch f.Name {
	case "data", "providers", "browser-dir":
	case "store":
		prefix = "sqlite:"
	case "key":
		prefix = "file:"
	default:
		return value, nil
	}
	path, ok := strings.CutPrefix(value, prefix)
	if !ok || path == "" {
		return value, nil
	}
	path, err := filepath.Abs(path)
	return prefix + path, err
}

// render is the entry as it stands in the file, for people to copy.
func (h host) render(e entry) (string, error) {
	if h.servers == "" {
		return tomlEntry(e)
	}
	text, err := json.MarshalIndent(map[string]any{strings.TrimPrefix(h.servers, "/"): map[string]entry{"latchpost": e}}, "", "  ")
	return string(text) + "\n", err
}

// edit puts the entry in, or takes it out.
func (h host) edit(old []byte, e entry, undo bool) ([]byte, error) {
	if h.servers == "" {
		return editTOML(old, e, undo)
	}
	empty := len(bytes.TrimSpace(old)) == 0
	if empty {
		old = []byte("{}\n")
	}
	doc, err := hujson.Parse(old)
	if err != nil {
		return nil, fmt.Errorf("it is not the JSON that it should be: %w", err)
	}
	if _, object := doc.Value.(*hujson.Object); !object {
		return nil, errors.New("it is JSON, but not an object such as {}: correct it, and try again")
	}
	type op struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value,omitempty"`
	}
	var ops []op
	at, first := h.servers+"/latchpost", doc.Find(h.servers) == nil
	switch {
	case undo && doc.Find(at) == nil:
		return old, nil
	case undo:
		ops = append(ops, op{"remove", at, nil})
	default:
		if first {
			ops = append(ops, op{"add", h.servers, map[string]any{}})
		}
		ops = append(ops, op{"add", at, e})
	}
	patch, err := json.Marshal(ops)
	if err != nil {
		return nil, err
	}
	if err := doc.Patch(patch); err != nil {
		return nil, err
	}
	switch {
	case empty:
		doc.Format()
	case !undo: // somebody's file keeps its looks
		ours := doc.Find(at)
		ours.Minimize() // Format breaks a long one as the file would not
		lookAlike(doc.Find(h.servers), ours)
		if first {
			lookAlike(&doc, doc.Find(h.servers))
		}
	}
	return doc.Pack(), nil
}

// lookAlike puts ours, when it is the last member of an object, where the one before would have it.
func lookAlike(object, ours *hujson.Value) {
	ours.BeforeExtra, ours.AfterExtra = hujson.Extra(" "), nil
	members := object.Value.(*hujson.Object).Members
	if len(members) < 2 || &members[len(members)-1].Value != ours {
		return // the first one, or it was there before
	}
	before := string(members[len(members)-2].Name.BeforeExtra)
	if line := strings.LastIndex(before, "\n"); line >= 0 && strings.TrimSpace(before[line:]) == "" {
		members[len(members)-1].Name.BeforeExtra = hujson.Extra(before[line:])
	}
}

const tomlTable = "[mcp_servers.latchpost]"

func tomlEntry(e entry) (string, error) {
	command, err := json.Marshal(e.Command) // a JSON string is a TOML basic string
	if err != nil {
		return "", err
	}
	args, err := json.Marshal(e.Args)
	return fmt.Sprintf("%s\ncommand = %s\nargs = %s\n", tomlTable, command, args), err
}

// tomlHead is the line that begins a table, which may have spaces, quotes and a comment.
var tomlHead = regexp.MustCompile(`^\s*\[\[?([^\[\]#]+)\]\]?\s*(#.*)?$`)

// bareKey makes a dotted key out of however it is spelled.
var bareKey = strings.NewReplacer(" ", "", "\t", "", `"`, "", "'", "")

func isOurs(key string) bool {
	return key == "mcp_servers.latchpost" || strings.HasPrefix(key, "mcp_servers.latchpost.")
}

// editTOML replaces our table, which ends where the next one begins, or what is said about that.
func editTOML(old []byte, e entry, undo bool) ([]byte, error) {
	var kept, said []string
	ours, table := false, ""
	for line := range strings.Lines(string(old)) {
		if head := tomlHead.FindStringSubmatch(strings.TrimRight(line, "\r\n")); head != nil {
			kept, said = append(kept, said...), nil
			table = bareKey.Replace(head[1])
			ours = isOurs(table)
		} else if key, value, _ := strings.Cut(line, "="); !ours {
			key = strings.TrimPrefix(table+"."+bareKey.Replace(key), ".")
			switch {
			case isOurs(key):
				return nil, errors.New("it says " + key + " outside of a table " + tomlTable + "; take that out, and try again")
			case key == "mcp_servers" && (!undo || strings.Contains(value, "latchpost")):
				return nil, errors.New("mcp_servers is all on one line; write tables [mcp_servers.NAME] instead, and try again")
			}
		}
		trimmed := strings.TrimSpace(line)
		switch {
		case !ours:
			kept = append(kept, line)
		case trimmed == "" || strings.HasPrefix(trimmed, "#"):
			said = append(said, line)
		default:
			said = nil
		}
	}
	kept = append(kept, said...)
	rest := strings.TrimRight(strings.Join(kept, ""), "\n")
	if rest != "" {
		rest += "\n"
	}
	if undo {
		return []byte(rest), nil
	}
	text, err := tomlEntry(e)
	if rest != "" {
		rest += "\n"
	}
	return []byte(rest + text), err
}

// replace writes the whole file anew, with the mode it had: a crash leaves the old one or the new one.
func replace(path string, data []byte) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // the configuration may be kept elsewhere
	}
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".latchpost-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if runtime.GOOS != "windows" {
		err = errors.Join(err, f.Chmod(mode))
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
