package main

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/importer"
	"go/parser"
	syntax "go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sources are our packages as the compiler sees them on this system, and the means to check others that import the same.
type sources struct {
	files   *syntax.FileSet
	imports types.Importer
	names   map[string][]string // of the files of each package of ours, by import path
}

func newSources(t *testing.T) *sources {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", "-export", "-json=ImportPath,Dir,GoFiles,Export,Module", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	s, compiled := &sources{files: syntax.NewFileSet(), names: map[string][]string{}}, map[string]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p struct {
			ImportPath, Dir, Export string
			GoFiles                 []string
			Module                  *struct{ Main bool }
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		compiled[p.ImportPath] = p.Export
		if p.Module != nil && p.Module.Main && !strings.HasSuffix(p.ImportPath, "test") && !strings.Contains(p.ImportPath, "/.") {
			for _, name := range p.GoFiles {
				s.names[p.ImportPath] = append(s.names[p.ImportPath], filepath.Join(p.Dir, name))
			}
		}
	}
	s.imports = importer.ForCompiler(s.files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(compiled[path]) })
	return s
}

// check parses and checks the files of one package. A source that is not nil takes the place of the one file named.
func (s *sources) check(t *testing.T, path string, src any, names ...string) ([]*ast.File, *types.Info) {
	t.Helper()
	var files []*ast.File
	for _, name := range names {
		f, err := parser.ParseFile(s.files, name, src, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: s.imports}
	if _, err := config.Check(path, s.files, files, info); err != nil {
		t.Fatal(err)
	}
	return files, info
}

// guessable is what a variable, a field or a function is called that holds or gives what somebody could guess byte by byte, if it
// is a string or bytes.
var guessable = regexp.MustCompile(`(?i)(secret|password|passphrase|token|bearer|cookie|csrf|nonce|ticket|verifier|mac|sum|proof|digest|hash|signature|(match|user|device)code|^state|^sealed|^browser)(e?s)?$`)

// comparison finds comparisons that end at the first byte that differs, in one package.
type comparison struct {
	*types.Info
	tainted map[types.Object]bool // variables that were given a secret
}

// isText reports whether a type is made of strings or bytes, or of many of them. One with a name of its own, such as
// auth.State, is a word of a closed set.
func isText(t types.Type) bool {
	switch u := types.Unalias(t).(type) {
	case *types.Basic:
		return u.Info()&types.IsString != 0
	case *types.Slice:
		return types.Identical(u.Elem(), types.Typ[types.Byte]) || isText(u.Elem())
	case *types.Array:
		return types.Identical(u.Elem(), types.Typ[types.Byte]) || isText(u.Elem())
	case *types.Map:
		return isText(u.Elem())
	}
	return false
}

// called is the full name of the function that a call calls, "" when it is none with a name.
func (c *comparison) called(call *ast.CallExpr) string {
	f := ast.Unparen(call.Fun)
	if x, ok := f.(*ast.IndexExpr); ok { // with its type said
		f = x.X
	}
	name, _ := f.(*ast.Ident)
	if s, ok := f.(*ast.SelectorExpr); ok {
		name = s.Sel
	}
	if name == nil {
		return ""
	}
	switch f := c.Uses[name].(type) {
	case *types.Func:
		return f.FullName()
	case *types.Builtin:
		return f.Name()
	}
	return ""
}

// carries are the packages whose functions give what they were given, in another form.
var carries = regexp.MustCompile(`^append$|^\(?\*?(strings|bytes|slices|encoding/(hex|base32|base64)|net/url|fmt)\.`)

// secret reports whether somebody who measures how long a comparison with e takes learns what he must not know.
func (c *comparison) secret(e ast.Expr) bool {
	e = ast.Unparen(e)
	tv := c.Types[e]
	if tv.Type == nil || tv.Value != nil || tv.IsNil() { // what is in the source is no secret
		return false
	}
	if tv.Type.String() == module+"/auth.Secret" {
		return true
	}
	if !isText(tv.Type) {
		return false
	}
	switch x := e.(type) {
	case *ast.Ident:
		return c.tainted[c.Uses[x]] || guessable.MatchString(x.Name)
	case *ast.SelectorExpr:
		return guessable.MatchString(x.Sel.Name)
	case *ast.SliceExpr:
		return c.secret(x.X)
	case *ast.IndexExpr:
		return c.secret(x.X)
	case *ast.StarExpr:
		return c.secret(x.X)
	case *ast.BinaryExpr:
		return c.secret(x.X) || c.secret(x.Y)
	case *ast.CallExpr:
		if c.Types[x.Fun].IsType() {
			return c.secret(x.Args[0])
		}
		name := c.called(x)
		if strings.HasSuffix(name, ".Reveal") || strings.HasPrefix(name, "crypto/sha") || guessable.MatchString(name) {
			return true
		}
		return carries.MatchString(name) && slices.ContainsFunc(x.Args, c.secret)
	}
	return false
}

// early are the functions that compare their first two arguments and stop at the first difference.
var early = regexp.MustCompile(`^(bytes\.(Equal|EqualFold|Compare|HasPrefix|HasSuffix)|strings\.(EqualFold|Compare|HasPrefix|HasSuffix)|cmp\.Compare|reflect\.DeepEqual|slices\.(Equal|Compare|Contains|Index))$`)

func (c *comparison) constant(e ast.Expr) bool {
	tv := c.Types[e]
	return tv.Value != nil || tv.IsNil()
}

func (c *comparison) compares(a, b ast.Expr) bool {
	return !c.constant(a) && !c.constant(b) && (c.secret(a) || c.secret(b))
}

// taint remembers which variables of a function are given a secret, until no more are found.
func (c *comparison) taint(body ast.Node) {
	for more := true; more; {
		more = false
		give := func(to, from ast.Expr) {
			if name, ok := to.(*ast.Ident); ok && c.secret(from) {
				o := c.Defs[name]
				if o == nil {
					o = c.Uses[name]
				}
				if o != nil && !c.tainted[o] {
					c.tainted[o], more = true, true
				}
			}
		}
		ast.Inspect(body, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for i := range n.Rhs {
					give(n.Lhs[i], n.Rhs[i]) // of a call with several results the first
				}
			case *ast.ValueSpec:
				for i := range n.Values {
					give(n.Names[i], n.Values[i])
				}
			case *ast.RangeStmt:
				if n.Value != nil {
					give(n.Value, n.X)
				}
			}
			return true
		})
	}
}

// find gives each such comparison with its place, as "package.Function: expression".
func (c *comparison) find(files []*ast.File, found func(where, what string, at syntax.Pos)) {
	for _, f := range files {
		for _, d := range f.Decls {
			where := f.Name.Name
			if fn, ok := d.(*ast.FuncDecl); ok {
				where += "." + fn.Name.Name
			}
			c.taint(d)
			ast.Inspect(d, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.BinaryExpr:
					if slices.Contains([]syntax.Token{syntax.EQL, syntax.NEQ, syntax.LSS, syntax.LEQ, syntax.GTR, syntax.GEQ}, n.Op) && c.compares(n.X, n.Y) {
						found(where, types.ExprString(n), n.Pos())
					}
				case *ast.CallExpr:
					if len(n.Args) > 1 && early.MatchString(c.called(n)) && c.compares(n.Args[0], n.Args[1]) {
						found(where, types.ExprString(n), n.Pos())
					}
				case *ast.SwitchStmt:
					for _, s := range n.Body.List {
						for _, e := range s.(*ast.CaseClause).List {
							if n.Tag != nil && c.compares(n.Tag, e) {
								found(where, "switch "+types.ExprString(n.Tag)+" case "+types.ExprString(e), e.Pos())
							}
						}
					}
				}
				return true
			})
		}
	}
}

// harmless are the comparisons whose time tells nobody anything, and why.
var harmless = map[string]string{
	"auth.Refreshed: t.refresh == old.RefreshToken.Reveal()":   "what the provider itself was given and answers",
	"auth.sameSignIn: a.UserCode == b.UserCode":                readTwice,
	"auth.sameSignIn: bytes.Equal(a.Browser, b.Browser)":       readTwice,
	"auth.sameSignIn: bytes.Equal(a.StateHash, b.StateHash)":   readTwice,
	"auth.spelt: there != plain":                               "a secret of ours and its own spelling",
	"browserlogin.dismiss: s.holder == v.cookie":               letIn,
	"browserlogin.holds: k.Name == c.Cookie":                   "names of cookies",
	"browserlogin.offer: s.holder != now.viewer.cookie":        letIn,
	"browserlogin.redeem: of == sha256.Sum256([]byte(cookie))": "hashes, and whoever knows the ticket",
	"browserlogin.watch: old.cookie != cookie":                 letIn,
	"browserlogin.watch: s.holder != cookie":                   letIn,
	"identity.waiting: a.cookie() != sent[0].Value":            "what a browser sent and its own spelling",
	"seal.wrap: bytes.Equal(again, inside)":                    "what the master key itself was given and opens",
	"store.AddApproval: bytes.Equal(w.Digest, a.Digest)":       "keyed digests, and nobody but us says one",
	"store.end: bytes.Equal(w.at.mac, w.head.mac)":             ownFiles,
	"store.step: bytes.Equal(w.anchor.mac, e.MAC)":             ownFiles,
}

const (
	readTwice = "two readings of one row"
	letIn     = "cookies that the door knew, which tell one viewer from another"
	ownFiles  = "for whoever has the master key and the files"
)

// planted are comparisons of every kind. A line that says so has to be found, and no other.
const planted = `package planted

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"github.com/latchpost/latchpost/auth"
)

type session struct {
	csrf, name string
	Hash       []byte
	state      auth.RequestState
}

func planted(r *http.Request, s auth.Secret, row session, key []byte, tokens []string) bool {
	given := r.FormValue("given")
	if given == s.Reveal() { // found
		return true
	}
	plain := strings.TrimSpace(s.Reveal())
	switch given {
	case "", "none":
	case plain: // found
	}
	switch plain {
	case given: // found
	}
	m := hmac.New(sha256.New, key)
	m.Write([]byte(given))
	want := m.Sum(nil)
	if bytes.Equal(want, []byte(given)) { // found
		return true
	}
	if text := hex.EncodeToString(want); strings.EqualFold(text, given) || given[:8] == text[:8] { // found twice
		return true
	}
	if sha256.Sum256([]byte(given)) != [32]byte(row.Hash) || row.csrf != given || slices.Contains(tokens, given) { // found thrice
		return true
	}
	for _, one := range tokens {
		if (one) == given || string([]byte(one)) < given { // found twice
			return true
		}
	}
	return s.Reveal() == "" || want == nil || len(plain) == len(given) || row.name == given || row.state == auth.Created ||
		hmac.Equal(want, []byte(given)) || subtle.ConstantTimeCompare([]byte(plain), []byte(given)) == 1
}
`

// SH-016: the rule sees what it is for.
func TestPlantedComparisonsAreFound(t *testing.T) {
	all := newSources(t)
	files, info := all.check(t, module+"/planted", planted, "planted.go")
	got := map[int]int{}
	(&comparison{info, map[types.Object]bool{}}).find(files, func(_, _ string, at syntax.Pos) { got[all.files.Position(at).Line]++ })
	for i, line := range strings.Split(planted, "\n") {
		want := 0
		if _, says, ok := strings.Cut(line, "// found"); ok {
			want = map[string]int{"": 1, " twice": 2, " thrice": 3}[says]
		}
		if got[i+1] != want {
			t.Errorf("%d found in %q", got[i+1], line)
		}
	}
}

// SH-016: what somebody could guess is compared in constant time, or looked up by its hash.
func TestSecretsAreComparedInConstantTime(t *testing.T) {
	all, unused := newSources(t), maps.Clone(harmless)
	for path, names := range all.names {
		files, info := all.check(t, path, nil, names...)
		(&comparison{info, map[types.Object]bool{}}).find(files, func(where, what string, at syntax.Pos) {
			place := where + ": " + what
			if harmless[place] == "" {
				t.Errorf("%s: %s: use subtle.ConstantTimeCompare or hmac.Equal, or say in harmless why its time tells nothing", all.files.Position(at), place)
			}
			delete(unused, place)
		})
	}
	if len(unused) > 0 || len(all.names) < 10 {
		t.Errorf("in %d packages there is no such comparison any more: %v", len(all.names), slices.Sorted(maps.Keys(unused)))
	}
}
