package auth_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

const canary = "CANARYcanary0123456789"

// holders are all exported structs that hold a Secret; TestSecretHolders finds those that are missing.
var holders = []any{
	auth.Secret{}, auth.Credential{}, auth.Released{}, auth.Handle{}, auth.Flow{}, auth.Input{}, auth.Outcome{},
}

// fill puts the canary into every Secret that it reaches.
func fill(v reflect.Value, depth int) {
	if depth > 4 {
		return
	}
	secret := reflect.ValueOf(auth.NewSecret(canary))
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == secret.Type() {
			v.Set(secret)
			return
		}
		for _, f := range v.Fields() {
			if f.CanSet() {
				fill(f, depth+1)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth+1)
	case reflect.Map:
		if v.Type().Elem() == secret.Type() {
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(reflect.ValueOf("key"), secret)
		}
	}
}

// SH-002: no verb of fmt, no encoder, no logger, no template, no error and no panic shows a secret, however it is wrapped.
func TestSecretNeverPrints(t *testing.T) {
	for _, holder := range holders {
		p := reflect.New(reflect.TypeOf(holder))
		fill(p.Elem(), 0)
		v := p.Elem().Interface()
		shapes := map[string]any{
			"value": v, "pointer": p.Interface(), "slice": []any{v}, "map": map[string]any{"k": v},
			"behind an unexported field": struct{ hidden any }{v}, "behind a pointer in one": struct{ hidden *any }{&v},
			"error": errors.Join(errors.New("first"), fmt.Errorf("second: %w, %v", context.Canceled, v)),
		}
		for shape, x := range shapes {
			var out bytes.Buffer
			for _, verb := range "vTtbcdoOqxXUeEfFgGspw" {
				for _, flag := range []string{"", "+", "#", "-", " ", "0", "+#"} {
					fmt.Fprintf(&out, "%"+flag+string(verb)+"\n", x)
				}
			}
			fmt.Fprintln(&out, x)
			data, _ := json.Marshal(x)
			out.Write(data)
			data, _ = xml.Marshal(x)
			out.Write(data)
			slog.New(slog.NewTextHandler(&out, nil)).Info("x", "x", x)
			slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "x", x, slog.Group("g", "x", x))
			_ = template.Must(template.New("").Parse("{{.}} {{printf `%#v` .}}")).Execute(&out, x)
			func() {
				defer func() { fmt.Fprintf(&out, "%v %+v %#v", recover(), x, x) }()
				panic(x)
			}()
			if leak := leaked(out.String()); leak != "" {
				t.Errorf("%T as %s shows its secret as %s", holder, shape, leak)
			}
		}
	}
}

// leaked names the form in which the canary stands in s; "" when it does not.
func leaked(s string) string {
	var numbers []string
	for _, b := range []byte(canary[:6]) {
		numbers = append(numbers, fmt.Sprint(b))
	}
	for form, needle := range map[string]string{
		"text": canary[:8], "hex": hex.EncodeToString([]byte(canary[:8])), "bytes": strings.Join(numbers, " "),
		"base64": base64.StdEncoding.EncodeToString([]byte(canary[:9])), "JSON bytes": strings.Join(numbers, ","),
	} {
		if strings.Contains(strings.ToLower(s), strings.ToLower(needle)) {
			return form
		}
	}
	return ""
}

// panicChild dies of a panic with a secret in its hands.
func panicChild(_ context.Context, in *json.Decoder) error {
	var secret string
	if err := in.Decode(&secret); err != nil {
		return err
	}
	panic(&auth.Credential{AccessToken: auth.NewSecret(secret), Fields: map[string]auth.Secret{"key": auth.NewSecret(secret)}})
}

// SH-002: what the runtime prints of a panic that nobody caught has no secret.
func TestSecretNotInPanic(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRole+"=panic", "GOTRACEBACK=all")
	cmd.Stdin = strings.NewReader(`"` + canary + `"`)
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("panic:")) {
		t.Fatalf("the child did not panic: %v, %s", err, out)
	}
	if leak := leaked(string(out)); leak != "" {
		t.Errorf("the panic shows the secret as %s:\n%s", leak, out)
	}
}

// SH-002: every exported struct that holds a Secret, itself or through another, is printed above.
func TestSecretHolders(t *testing.T) {
	structs := map[string]*ast.StructType{}
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if s, ok := spec.Type.(*ast.StructType); ok {
					structs[spec.Name.Name] = s
				}
			}
			return true
		})
	}
	holds := map[string]bool{"Secret": true}
	for again := true; again; {
		again = false
		for name, s := range structs {
			for _, field := range s.Fields.List {
				ast.Inspect(field.Type, func(n ast.Node) bool {
					if _, method := n.(*ast.FuncType); method {
						return false // a function's arguments are not held
					}
					if id, ok := n.(*ast.Ident); ok && holds[id.Name] && !holds[name] {
						holds[name], again = true, true
					}
					return true
				})
			}
		}
	}
	if len(holds) < 6 {
		t.Errorf("found %v only", holds)
	}
	for _, h := range holders {
		delete(holds, reflect.TypeOf(h).Name())
	}
	for name := range holds {
		if ast.IsExported(name) {
			t.Errorf("auth.%s holds a secret and is not in holders", name)
		}
	}
}

// ST-004, ST-027: a sealed value opens in its own place alone: not in another row, owner, field, version or
// binding. The error is typed, nothing is sent, the other rows do not notice, and nothing is destroyed.
func TestSealedValuesStayInPlace(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	if err := v.Desk(auth.Owner{}).SetApp(t.Context(), "practice", "public", auth.Secret{}, nil); err != nil {
		t.Fatal(err)
	}
	connectAs := func(caller auth.Caller, user string) auth.Need {
		t.Helper()
		_, err := v.Request(t.Context(), caller, auth.Wish{Provider: "practice", Account: user + "@example.com"})
		var link *auth.AuthRequired
		if !errors.As(err, &link) {
			t.Fatal(err)
		}
		if err := finish(t, v, link, alices, user); err != nil {
			t.Fatal(err)
		}
		return auth.Need{Provider: "practice", Account: user + "@example.com"}
	}
	alice, bob := connectAs(agent, "alice"), connectAs(agent, "bob")
	annsAlice := connectAs(ann, "alice")
	rowOf := func(caller auth.Caller, n auth.Need) auth.Connection {
		t.Helper()
		rows, err := v.Connections.Connections(t.Context(), caller.Owner, n.Provider, n.Account)
		if err != nil || len(rows) != 1 {
			t.Fatal(err)
		}
		return rows[0]
	}
	first := rowOf(agent, alice)
	c.forward(2 * time.Hour)
	for _, who := range []auth.Need{alice, bob} { // second generations
		if _, err := v.Get(t.Context(), agent, who); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.Get(t.Context(), ann, annsAlice); err != nil {
		t.Fatal(err)
	}
	own, bobs, anns := rowOf(agent, alice), rowOf(agent, bob), rowOf(ann, annsAlice)
	db := file(t, v)
	flipped := bytes.Clone(own.Sealed)
	flipped[len(flipped)/2] ^= 1
	const set = `UPDATE connections SET salt = ?, sealed = ?, version = ?, bind = ?, user_id = ? WHERE id = ?`
	for name, args := range map[string][]any{
		"sealed of another row":          {own.Salt, bobs.Sealed, own.Version, own.Bind, "local", own.ID},
		"sealed and salt of another row": {bobs.Salt, bobs.Sealed, own.Version, own.Bind, "local", own.ID},
		"of another owner":               {anns.Salt, anns.Sealed, own.Version, own.Bind, "local", own.ID},
		"of an older version":            {first.Salt, first.Sealed, own.Version, own.Bind, "local", own.ID},
		"version put back":               {own.Salt, own.Sealed, own.Version - 1, own.Bind, "local", own.ID},
		"bound to another server":        {own.Salt, own.Sealed, own.Version, "https://evil.example https://evil.example/token", "local", own.ID},
		"one bit":                        {own.Salt, flipped, own.Version, own.Bind, "local", own.ID},
		"cut off":                        {own.Salt, own.Sealed[:len(own.Sealed)-1], own.Version, own.Bind, "local", own.ID},
		"empty":                          {own.Salt, []byte{}, own.Version, own.Bind, "local", own.ID},
		"no salt":                        {nil, own.Sealed, own.Version, own.Bind, "local", own.ID},
	} {
		alter(t, db, set, args...)
		before := len(v.API.Requests("")) + len(v.Server.Requests(""))
		if _, err := v.Get(t.Context(), agent, alice); !errors.Is(err, auth.ErrTampered) {
			t.Errorf("%s: Get: %v", name, err)
		}
		_, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Account: alice.Account, Path: "/me"})
		if !errors.Is(err, auth.ErrTampered) && !(name == "bound to another server" && err != nil) {
			t.Errorf("%s: Call: %v", name, err)
		}
		if n := len(v.API.Requests("")) + len(v.Server.Requests("")); n != before {
			t.Errorf("%s: %d requests were sent", name, n-before)
		}
		if _, err := v.Get(t.Context(), agent, bob); err != nil {
			t.Errorf("%s: the other row: %v", name, err)
		}
		alter(t, db, set, own.Salt, own.Sealed, own.Version, own.Bind, "local", own.ID)
	}
	// ann's row given to local, whole.
	alter(t, db, `UPDATE connections SET user_id = 'local', account = 'stolen' WHERE id = ?`, anns.ID)
	if _, err := v.Get(t.Context(), auth.Caller{Owner: auth.Local, Client: "x"}, auth.Need{Provider: "practice", Account: "stolen"}); err == nil {
		t.Error("a row of another owner was opened")
	}
	alter(t, db, `UPDATE grants SET user_id = 'local', client = 'test-agent' WHERE connection = ?`, anns.ID)
	if _, err := v.Get(t.Context(), agent, auth.Need{Provider: "practice", Account: "stolen"}); !errors.Is(err, auth.ErrTampered) {
		t.Errorf("a row of another owner, with its grant: %v", err)
	}
	// The credential in the field of the kept answer.
	alter(t, db, `UPDATE connections SET answer = sealed WHERE id = ?`, own.ID)
	c.forward(2 * time.Hour)
	if _, err := v.Get(t.Context(), agent, alice); !errors.Is(err, auth.ErrTampered) {
		t.Errorf("as answer: %v", err)
	}
	alter(t, db, `UPDATE connections SET answer = NULL WHERE id = ?`, own.ID)
	c.forward(10 * time.Minute)
	if _, err := v.Get(t.Context(), agent, alice); err != nil {
		t.Errorf("after all was put back: %v", err)
	}
}

// ST-004: the same for what a request and an app keep sealed.
func TestSealedRequestsAndApps(t *testing.T) {
	v, _ := newClockedVault(t, authtest.Options{})
	db := file(t, v)
	one := ask(t, v, agent, auth.Wish{Provider: "practice"})
	two := ask(t, v, agent, auth.Wish{Provider: "practice", Scopes: []string{"repo"}})
	q := signIn(t, v, one.RequestID, alices, "alice", auth.Choice{})
	signIn(t, v, two.RequestID, alices, "alice", auth.Choice{})
	alter(t, db, `UPDATE requests SET private = (SELECT private FROM requests WHERE id = ?) WHERE id = ?`, two.RequestID, one.RequestID)
	if _, err := v.Visit(alices).Callback(t.Context(), "practice", q); !errors.Is(err, auth.ErrTampered) {
		t.Errorf("verifier of another request: %v", err)
	}
	if s := status(t, v, agent, one.RequestID); s.Status != auth.StatusFailed || s.Cause != auth.ErrTampered.Code {
		t.Errorf("status %+v", s)
	}
	for _, o := range []auth.Owner{auth.Local, annOwner} {
		if err := v.Desk(o).SetApp(t.Context(), "practice", "basic", auth.NewSecret("secret of "+o.User), nil); err != nil {
			t.Fatal(err)
		}
	}
	alter(t, db, `UPDATE apps SET salt = (SELECT salt FROM apps WHERE user_id = 'ann'), sealed = (SELECT sealed FROM apps WHERE user_id = 'ann') WHERE user_id = 'local'`)
	_, err := v.Visit(alices).Confirm(t.Context(), two.RequestID, auth.Choice{})
	wantErr(t, "the client secret of another owner", err, auth.ErrTampered)
	if asked(v) != 0 {
		t.Error("something was sent")
	}
}
