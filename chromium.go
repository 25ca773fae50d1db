package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/browserlogin"
)

// Latchpost downloads no browser: it uses the system's, whose packages are signed and kept up to date by the system. Whether
// they are is looked at here. The driver, which is downloaded, is pinned by its SHA-512.
const (
	// leastChromium is the oldest major version that anybody may sign in with: older ones have holes that are known to be
	// used. It is raised with each release.
	leastChromium = 150
	// chromiumAge is when a browser is probably not kept up to date: a new major comes every four weeks.
	chromiumAge = 60 * 24 * time.Hour
)

// installed is the browser that is installed here.
type installed struct {
	path    string
	version string // 156.0.8078.108
	major   int
	built   time.Time // of the file, as the package has it
}

var chromiumVersion = regexp.MustCompile(`\b((\d+)\.\d+\.\d+\.\d+)\b`)

// findChromium asks the browser that package browserlogin would start. nil: there is none.
func findChromium(ctx context.Context) (*installed, error) {
	path, err := browserlogin.FindChromium(browserlogin.Options{})
	if err != nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	ask := exec.CommandContext(ctx, path, "--version")
	ask.Env = auth.Environment()
	out, err := ask.Output()
	m := chromiumVersion.FindSubmatch(out)
	if err != nil || m == nil {
		return nil, fmt.Errorf("%s does not tell its version; reinstall it", path)
	}
	c := &installed{path: path, version: string(m[1])}
	c.major, _ = strconv.Atoi(string(m[2]))
	if info, err := os.Stat(c.program()); err == nil {
		c.built = info.ModTime()
	}
	return c, nil
}

// program is the browser itself; on Debian the one on the PATH is a script that starts it.
func (c *installed) program() string {
	name := filepath.Base(c.path)
	if at := filepath.Join("/usr/lib", name, name); c.path == filepath.Join("/usr/bin", name) {
		if _, err := os.Stat(at); err == nil {
			return at
		}
	}
	return c.path
}

// refused is the reason why nobody signs in with it, nil when it will do.
func (c *installed) refused() error {
	if c.major < leastChromium {
		return auth.ErrConfig.Say("%s is version %s, and versions before %d have holes that are known: update it, then try again", c.path, c.version, leastChromium)
	}
	return nil
}

func (c *installed) old() bool { return !c.built.IsZero() && time.Since(c.built) > chromiumAge }

// hash is the SHA-256 of the program, to compare with another machine's or the package's.
func (c *installed) hash() (string, error) {
	f, err := os.Open(c.program())
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// keptUp is the browser connector where the browser is ours to judge.
type keptUp struct{ *browserlogin.Connector }

// Begin refuses a browser that is too old before anybody types a password into it.
func (k keptUp) Begin(ctx context.Context, f *auth.Flow) (auth.Step, error) {
	found, err := findChromium(ctx)
	if err == nil && found != nil {
		err = found.refused()
	}
	if err != nil {
		return auth.Step{}, auth.ErrConfig.Say("%s", err)
	}
	return k.Connector.Begin(ctx, f)
}

// checkChromium is the doctor's; latchpost browser check tries what browser logins need.
func (s *settings) checkChromium(ctx context.Context) finding {
	c, err := findChromium(ctx)
	switch {
	case err != nil:
		return finding{"browser", false, err.Error(), "browser logins are off, all else works"}
	case c == nil:
		return finding{"browser", true, "no Chromium here: browser logins are off, all else works", ""}
	case c.refused() != nil:
		return finding{"browser", false, c.refused().Error(), "browser logins are refused, all else works"}
	case c.old():
		return finding{"browser", false, fmt.Sprintf("%s %s was built on %s", c.path, c.version, c.built.Format(time.DateOnly)), "it works, but a new one comes every few weeks, and mends holes: update it"}
	}
	hash, err := c.hash()
	if err != nil {
		return finding{"browser", false, err.Error(), "the browser cannot be read"}
	}
	effect := ""
	if archives, _ := filepath.Glob(filepath.Join(s.browser.dir, "playwright-core-*.tgz")); len(archives) == 0 {
		effect = "there is no driver: browser logins are off until latchpost browser install, all else works"
	}
	return finding{"browser", true, c.path + " " + c.version + ", SHA-256 " + hash, effect}
}
