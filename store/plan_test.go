package store

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"
)

// scans are the functions that may read a whole table, and why.
var scans = map[string]string{
	"AddKey":         "a handful of keys",
	"Keys":           "a handful of keys",
	"heads":          "a row for each process that ever wrote",
	"batches":        "what was written within the last second",
	"AddOwnerLink":   "links live for minutes",
	"SpendTicket":    "tickets live for minutes",
	"Restored":       "once, after a restore",
	"Census":         "its documentation says so",
	"Owners":         "its documentation says so",
	"DeleteSessions": "its documentation says so",
	"schema":         "of a database without rows",
	"openSealed":     "once, when everything is moved",
	"settle":         "once, when everything is moved",
}

// What a server does for each call, and every few seconds beside the calls, has to cost the same with a
// thousand connections and with a million: no statement reads a table from end to end.
func TestNoStatementReadsAWholeTable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path := filepath.Join(dir, "latchpost.db")
	db, err := Open(t.Context(), Options{URL: "sqlite:" + path, Dir: dir, Ballast: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := openConn(path, settings{flags: sqlite.OpenReadOnly})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	unused, all := maps.Clone(scans), statements(t)
	for _, q := range all {
		plan, err := collect(t.Context(), conn, func(s scanner) (step string, err error) {
			var skip int
			return step, s.Scan(&skip, &skip, &skip, &step)
		}, "EXPLAIN QUERY PLAN "+q.text, zeros(q.text)...)
		if err != nil {
			t.Errorf("%s: %v\n%s", q.function, err, q.text)
			continue
		}
		if !wide.MatchString(strings.Join(plan, "\n")) {
			continue
		}
		if scans[q.function] == "" {
			t.Errorf("%s: %s\n%s", q.function, strings.Join(plan, ", "), q.text)
		}
		delete(unused, q.function)
	}
	if len(unused) > 0 || len(all) < 90 {
		t.Errorf("of %d statements, those of these functions read no whole table: %v", len(all), unused)
	}
}

// wide is a step of a plan that reads a whole table, or every row that ever came to stand in a state or that an owner
// ever had.
var wide = regexp.MustCompile(`SCAN|\((state|method)=\?\)| (requests|approvals) USING INDEX sqlite_autoindex_\w+ \(org=\? AND user_id=\?\)`)

var (
	statement = regexp.MustCompile(`^(SELECT|INSERT|UPDATE|DELETE)\s`)
	elsewhere = regexp.MustCompile(`pg_advisory|pg_stat|clock_timestamp`) // PostgreSQL's alone
	parameter = regexp.MustCompile(`\$\d+`)
)

// zeros are arguments for a statement.
func zeros(text string) []any {
	names := map[string]bool{}
	for _, name := range parameter.FindAllString(text, -1) {
		names[name] = true
	}
	return slices.Repeat([]any{0}, len(names))
}

// query is a statement in the source of this package, and the function that has it.
type query struct{ function, text string }

func statements(t *testing.T) (all []query) {
	inspect(t, func(function string, n ast.Node) {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			text, _ := strconv.Unquote(lit.Value)
			if statement.MatchString(text) && !elsewhere.MatchString(text) && composes[function] != ofSchema {
				all = append(all, query{function, text})
			}
		}
	})
	return all
}

// inspect visits the source of this package, and says which function it is in.
func inspect(t *testing.T, visit func(function string, n ast.Node)) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			function := ""
			if f, ok := d.(*ast.FuncDecl); ok {
				function = f.Name.Name
			}
			ast.Inspect(d, func(n ast.Node) bool {
				visit(function, n)
				return true
			})
		}
	}
}

// takesSQL are the functions that are given a statement, or the rest of one, and as which argument.
var takesSQL = map[string]int{
	"exec": 1, "query": 1, "ExecContext": 1, "QueryContext": 1, "bound": 0, "Prepare": 0,
	"first": 3, "collect": 3, "change": 3, "heads": 2, "batches": 2, "spread": 2, "counted": 2,
}

const (
	passesOn = "it is an argument of its own"
	ofSchema = "names of our own schema"
)

// composes are the functions whose statement is not one literal, and why.
var composes = map[string]string{
	"migrate": "a file of migrations", "createFile": "PRAGMA takes no argument", "openConn": "PRAGMA", "pragma": "PRAGMA", "checkpoint": "PRAGMA",
	"schema": "a file of migrations", "read": ofSchema, "insert": ofSchema, "empty": ofSchema, "alone": ofSchema,
	"Restored": "literals of its own", "counted": "its callers give literals", "heads": "its callers give literals", "batches": "its callers give literals", "spread": passesOn,
	"exec": passesOn, "query": passesOn, "bound": passesOn, "first": passesOn, "collect": passesOn, "change": passesOn,
}

// ST-026: every statement is whole in the source, so whatever comes from outside can only be an argument of it.
func TestStatementsAreWhole(t *testing.T) {
	unused, seen := maps.Clone(composes), 0
	inspect(t, func(function string, n ast.Node) {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return
		}
		name := ""
		switch f := call.Fun.(type) {
		case *ast.Ident:
			name = f.Name
		case *ast.SelectorExpr:
			name = f.Sel.Name
		}
		at, ok := takesSQL[name]
		if !ok || at >= len(call.Args) { // the method spread of Log takes none
			return
		}
		seen++
		if _, ok := call.Args[at].(*ast.BasicLit); ok {
			return
		}
		_, passed := call.Args[at].(*ast.Ident)
		if why := composes[function]; why == "" || why == passesOn && !passed {
			t.Errorf("%s gives %s a statement that is not one literal", function, name)
		}
		delete(unused, function)
	})
	if len(unused) > 0 || seen < 100 {
		t.Errorf("of %d statements, those of these functions are literals: %v", seen, unused)
	}
}
