package seal_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/latchpost/latchpost/auth/seal"
)

func TestKeyURL(t *testing.T) {
	for _, url := range []string{"", "file", "file:", "env:", "keyring:", "keyring:latchpost", "keyring:/ada", "exec:", "exec: ", "https://kms.example/", "hunter2"} {
		_, err := seal.OpenKEK(t.Context(), url)
		if err == nil || errors.Is(err, seal.ErrNoKey) {
			t.Errorf("OpenKEK(%q) = %v", url, err)
		}
		if url == "hunter2" && strings.Contains(err.Error(), url) {
			t.Error("the error repeats what may be the key")
		}
		if _, err := seal.CreateKEK(t.Context(), url); err == nil {
			t.Errorf("CreateKEK(%q) succeeded", url)
		}
	}
	for _, url := range []string{"env:NAME", "exec:true"} {
		if _, err := seal.CreateKEK(t.Context(), url); err == nil || errors.Is(err, seal.ErrKeyExists) {
			t.Errorf("CreateKEK(%q) = %v", url, err)
		}
	}
}

// sameKey checks that two KEKs are the same key, and that the id looks as promised.
func sameKey(t *testing.T, a, b seal.KEK) {
	t.Helper()
	if a.ID() != b.ID() || !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(a.ID()) {
		t.Errorf("ids %q and %q", a.ID(), b.ID())
	}
	wrapped, err := a.Wrap(t.Context(), []byte("data key"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Unwrap(t.Context(), wrapped); err != nil || string(got) != "data key" {
		t.Errorf("Unwrap = %q, %v", got, err)
	}
}

func TestKeyFile(t *testing.T) {
	url, path := tempKey(t)
	if _, err := seal.OpenKEK(t.Context(), url); !errors.Is(err, seal.ErrNoKey) || !strings.Contains(err.Error(), path) {
		t.Errorf("OpenKEK = %v, want ErrNoKey with the path", err)
	}
	made, err := seal.CreateKEK(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := seal.OpenKEK(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	sameKey(t, made, opened)

	before, _ := os.ReadFile(path)
	if _, err := seal.CreateKEK(t.Context(), url); !errors.Is(err, seal.ErrKeyExists) {
		t.Errorf("CreateKEK on a key = %v, want ErrKeyExists", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("CreateKEK overwrote the key")
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

func TestKeyFileRace(t *testing.T) {
	url, _ := tempKey(t)
	ids := make([]string, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			kek, err := seal.CreateKEK(t.Context(), url)
			if errors.Is(err, seal.ErrKeyExists) {
				kek, err = seal.OpenKEK(t.Context(), url) // must find it whole
			}
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = kek.ID()
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("keys differ: %v", ids)
		}
	}
}

func TestDamagedKeyFile(t *testing.T) {
	url, path := tempKey(t)
	if _, err := seal.CreateKEK(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimSpace(strings.TrimPrefix(string(whole), "latchpost-key-1:"))
	for what, text := range map[string]string{
		"empty":      "",
		"truncated":  string(whole[:len(whole)-5]),
		"no prefix":  secret,
		"next":       "latchpost-key-2:" + secret,
		"short":      "latchpost-key-1:" + base64.StdEncoding.EncodeToString(make([]byte, 31)),
		"long":       "latchpost-key-1:" + base64.StdEncoding.EncodeToString(make([]byte, 33)),
		"two lines":  string(whole) + string(whole),
		"other file": "-----BEGIN PRIVATE KEY-----\n" + secret + "\n",
		"more after": string(whole) + "x",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := seal.OpenKEK(t.Context(), url)
		if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), secret[:8]) {
			t.Errorf("%s: OpenKEK = %v", what, err)
		}
	}
}

func TestKeyInEnvironment(t *testing.T) {
	text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 31) + "!"))
	open := func(value string) (seal.KEK, error) {
		t.Setenv("SEAL_TEST_KEY", value)
		return seal.OpenKEK(t.Context(), "env:SEAL_TEST_KEY")
	}
	bare, err := open(text)
	if err != nil {
		t.Fatal(err)
	}
	if _, there := os.LookupEnv("SEAL_TEST_KEY"); there {
		t.Error("the variable is still there")
	}
	if _, err := seal.OpenKEK(t.Context(), "env:SEAL_TEST_KEY"); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("OpenKEK again = %v, want ErrNoKey", err)
	}
	prefixed, err := open("latchpost-key-1:" + text + "\n")
	if err != nil {
		t.Fatal(err)
	}
	sameKey(t, bare, prefixed)
	for _, bad := range []string{"", "password", text[:20], text + text} {
		_, err := open(bad)
		if err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("OpenKEK with %q = %v", bad, err)
		}
		if _, there := os.LookupEnv("SEAL_TEST_KEY"); there {
			t.Error("the variable is still there")
		}
	}
}

// The keyring is go-keyring's own in memory: a machine that builds has none.
func TestKeyring(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	keyring.MockInit()
	const url = "keyring:latchpost/ada/laptop"
	if _, err := seal.OpenKEK(t.Context(), url); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("OpenKEK = %v, want ErrNoKey", err)
	}
	made, err := seal.CreateKEK(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := seal.OpenKEK(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	sameKey(t, made, opened)
	if _, err := seal.CreateKEK(t.Context(), url); !errors.Is(err, seal.ErrKeyExists) {
		t.Errorf("CreateKEK on a key = %v, want ErrKeyExists", err)
	}
	if err := keyring.Set("latchpost", "ada/laptop", "something else"); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.OpenKEK(t.Context(), url); err == nil || strings.Contains(err.Error(), "something else") {
		t.Errorf("OpenKEK of another entry = %v", err)
	}
	keyring.MockInitWithError(errors.New("no D-Bus"))
	for _, do := range []func(context.Context, string) (seal.KEK, error){seal.OpenKEK, seal.CreateKEK} {
		if _, err := do(t.Context(), url); err == nil || errors.Is(err, seal.ErrNoKey) || !strings.Contains(err.Error(), "file:") {
			t.Errorf("without a keyring: %v", err)
		}
	}
}

// command is the exec: URL of this binary in a role.
func command(t *testing.T, role string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SEAL_TEST_CHILD", role)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // else each child of a -race run ends a second later
	return "exec:" + self + " --key prod"
}

func init() {
	const id = "00c0ffee00c0ffee"
	// convert is a toy KMS: what matters here is the protocol.
	convert := func() int {
		in, _ := io.ReadAll(os.Stdin)
		data, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(string(in), "\n"))
		if err != nil || os.Args[1] != "--key" || os.Args[2] != "prod" {
			return 1
		}
		pad := sha256.Sum256([]byte("toy"))
		for i := range data {
			data[i] ^= pad[i%len(pad)]
		}
		fmt.Println(base64.StdEncoding.EncodeToString(data))
		return 0
	}
	kms := func(verb string, then func() int) int {
		if verb == "id" {
			fmt.Println(id)
			return 0
		}
		return then()
	}
	children["kms"] = func(verb string) int { return kms(verb, convert) }
	children["kms refuses"] = func(verb string) int {
		return kms(verb, func() int { fmt.Fprintln(os.Stderr, "AccessDenied: kms:Decrypt"); return 3 })
	}
	children["kms dumps"] = func(verb string) int {
		return kms(verb, func() int { fmt.Fprintln(os.Stderr, "Traceback:\n\tkey=SENSITIVE"); return 3 })
	}
	children["kms talks"] = func(verb string) int {
		return kms(verb, func() int { fmt.Println("not SENSITIVE base64"); return 0 })
	}
	children["kms floods"] = func(verb string) int {
		return kms(verb, func() int {
			for {
				if _, err := os.Stdout.Write(make([]byte, 4096)); err != nil {
					return 1
				}
			}
		})
	}
	children["kms complains"] = func(verb string) int {
		return kms(verb, func() int {
			_, _ = os.Stderr.Write(make([]byte, 100_000))
			return 0
		})
	}
	children["kms is silent"] = func(verb string) int { return kms(verb, func() int { fmt.Println(); return 0 }) }
	children["kms hangs"] = func(verb string) int {
		return kms(verb, func() int {
			never := make(chan os.Signal, 1)
			signal.Notify(never, os.Interrupt)
			<-never
			return 0
		})
	}
	children["kms without id"] = func(string) int { fmt.Println("arn:aws:kms:prod"); return 0 }
}

func TestKeyCommand(t *testing.T) {
	url := command(t, "kms")
	kek, err := seal.OpenKEK(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	sameKey(t, kek, kek)
	ks, p := &table{}, place()
	sealed := mustSeal(t, newBox(t, kek, ks), p, "secret")
	mustOpen(t, newBox(t, kek, ks), p, sealed, "secret")
}

func TestKeyCommandFails(t *testing.T) {
	for role, want := range map[string]string{
		"kms refuses":   "AccessDenied",
		"kms dumps":     "exit status 3",
		"kms talks":     "must print base64",
		"kms is silent": "must print base64",
		"kms floods":    "printed more than 64 KiB",
		"kms complains": "printed more than 64 KiB",
		"kms hangs":     "was stopped",
	} {
		t.Run(role, func(t *testing.T) {
			kek, err := seal.OpenKEK(t.Context(), command(t, role))
			if err != nil {
				t.Fatal(err)
			}
			ctx := t.Context()
			if role == "kms hangs" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
				defer cancel()
			}
			_, err = kek.Unwrap(ctx, []byte("SENSITIVE"))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Unwrap = %v, want %q", err, want)
			} else if strings.Contains(err.Error(), "SENSITIVE") || strings.Contains(err.Error(), "prod") {
				t.Errorf("the error tells too much: %v", err)
			}
			if errors.Is(err, seal.ErrTampered) {
				t.Error("a key service that fails is not tampering")
			}
		})
	}
	for _, url := range []string{command(t, "kms without id"), "exec:/nonexistent/kms"} {
		if _, err := seal.OpenKEK(t.Context(), url); err == nil || errors.Is(err, seal.ErrNoKey) {
			t.Errorf("OpenKEK(%q) = %v", url, err)
		}
	}
}
