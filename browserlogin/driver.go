package browserlogin

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/latchpost/latchpost/auth"
)

// The driver is a JavaScript package that talks to Chromium; node runs it.
// Its version belongs to the version of playwright-go in go.mod.
const (
	driverPackage   = "playwright-core@1.60.0"
	driverFile      = "playwright-core-1.60.0.tgz"
	driverIntegrity = "sha512-9bW6zvX/m0lEbgTKJ6YppOKx8H3VOPBMOCFh2irXFOT4BbHgrx5hPjwJYLT40Lu+4qtD36qKc/Hn56StUW57IA=="
	leastNode       = 20
)

// Install fetches the driver into Options.DriverDir with the npm that is
// installed here (so a mirror or proxy set up for npm is used), and refuses
// anything but the one pinned archive. It is quick when the archive is there
// already. progress gets one line a step and may be nil.
func Install(ctx context.Context, o Options, progress func(string)) error {
	if progress == nil {
		progress = func(string) {}
	}
	if _, err := findNode(ctx, o); err != nil {
		return err
	}
	archive := filepath.Join(o.DriverDir, driverFile)
	if checkArchive(archive) == nil {
		progress("driver " + driverPackage + " is here already")
		return nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return errors.New("npm is not installed, and it fetches the driver: install node 20 or newer together with npm, then run latchpost browser install")
	}
	if err := os.MkdirAll(o.DriverDir, 0o755); err != nil {
		return err
	}
	progress("fetching " + driverPackage + " (3 MB) with npm")
	cmd := exec.CommandContext(ctx, npm, "pack", driverPackage, "--silent", "--ignore-scripts", "--pack-destination", o.DriverDir)
	cmd.Dir, cmd.Env = o.DriverDir, auth.Environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm could not fetch %s: %w: %s; check the network or npm's registry setting, then run latchpost browser install", driverPackage, err, lastLine(out))
	}
	if err := checkArchive(archive); err != nil {
		os.Remove(archive)
		return err
	}
	progress("checked its SHA-512")
	return nil
}

// Check starts the driver and a browser, opens a page and waits for one real
// picture of it. The error says in words what is missing.
func Check(ctx context.Context, o Options, progress func(string)) error {
	if progress == nil {
		progress = func(string) {}
	}
	node, err := findNode(ctx, o)
	if err != nil {
		return err
	}
	progress("node: " + node)
	if err := checkArchive(filepath.Join(o.DriverDir, driverFile)); err != nil {
		return err
	}
	progress("driver: " + driverPackage)
	p, err := New(o)
	if err != nil {
		return err
	}
	defer p.Close()
	if p.kind.cdp == "" {
		chromium, err := FindChromium(o)
		if err != nil {
			return err
		}
		progress("browser: " + chromium)
	}
	size, view, err := p.selfTest(ctx)
	if err != nil {
		return err
	}
	if p.kind.cdp != "" {
		progress(fmt.Sprintf("one frame received (%d bytes) from the browser elsewhere", size))
		if view != "" {
			progress("its service's live view is at " + view)
		}
	} else {
		progress(fmt.Sprintf("one frame received (%d bytes), sandbox %s", size, map[bool]string{false: "on", true: "OFF"}[o.UnsafeNoSandbox]))
	}
	return nil
}

func findNode(ctx context.Context, o Options) (string, error) {
	node := o.Node
	if node == "" {
		var err error
		if node, err = exec.LookPath("node"); err != nil {
			return "", fmt.Errorf("node is not installed: install node %d or newer (Debian 12 has only 18: use NodeSource or Debian 13), then run latchpost browser install", leastNode)
		}
	}
	ask := exec.CommandContext(ctx, node, "--version")
	ask.Env = auth.Environment()
	out, err := ask.Output()
	if err != nil {
		return "", fmt.Errorf("%s does not start: %w; install node %d or newer", node, err, leastNode)
	}
	version := strings.TrimSpace(string(out))
	major, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	if n, _ := strconv.Atoi(major); n < leastNode {
		return "", fmt.Errorf("%s is node %s, and the driver needs %d or newer: install a newer node, then run latchpost browser install", node, version, leastNode)
	}
	return node, nil
}

// FindChromium gives the program that is started: Options.Chromium, or the first on the PATH that is known.
func FindChromium(o Options) (string, error) {
	if o.Chromium != "" {
		if _, err := exec.LookPath(o.Chromium); err != nil {
			return "", fmt.Errorf("there is no browser at %s: %w", o.Chromium, err)
		}
		return o.Chromium, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium is installed: apt install chromium chromium-sandbox fonts-liberation, then run latchpost browser check")
}

var errNoDriver = errors.New("the browser driver is not installed: run latchpost browser install")

// checkArchive compares the archive's SHA-512 with the pinned one.
func checkArchive(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return errNoDriver
	}
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha512.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if "sha512-"+base64.StdEncoding.EncodeToString(sum.Sum(nil)) != driverIntegrity {
		return fmt.Errorf("%s is not the %s that this version of latchpost was built with: delete it and run latchpost browser install", path, driverPackage)
	}
	return nil
}

// unpack puts the checked archive into dir. The unpacked driver lives as long as
// the run directory, so nobody can change it between two starts.
func unpack(archive, dir string) error {
	if err := checkArchive(archive); err != nil {
		return err
	}
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg || !filepath.IsLocal(h.Name) {
			continue
		}
		path := filepath.Join(dir, h.Name) // #nosec G305 the name was just found to be local
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
		if err != nil {
			return err
		}
		// #nosec G110 the archive is the one whose hash is in this file
		if _, err := io.Copy(out, tr); err != nil {
			out.Close()
			return err
		}
		if err := out.Close(); err != nil {
			return err
		}
	}
}

func lastLine(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}
