package browserlogin

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed node.sh
var nodeScript string

// nobody is the user that the driver and the browser become when the server is root.
const nobody = 65534

// dropTo is the user id to drop to, or -1 when the server is not root.
func dropTo() int {
	if os.Geteuid() == 0 {
		return nobody
	}
	return -1
}

// writeWrapper puts the wrapper where the driver library looks for its node.
// The library gives its child our whole environment; the wrapper is what stands between.
func writeWrapper(d *runDir, node string, uid int, headed bool) error {
	drop := ""
	if uid >= 0 {
		setpriv, err := exec.LookPath("setpriv")
		if err != nil {
			return fmt.Errorf("running as root, the browser needs setpriv to become another user: install util-linux, or start latchpost as an ordinary user")
		}
		drop = fmt.Sprintf("%s --reuid=%d --regid=%d --clear-groups --no-new-privs ", quote(setpriv), uid, uid)
	}
	display := ""
	if headed {
		for _, name := range []string{"DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR"} {
			if v := os.Getenv(name); v != "" {
				display += " " + name + "=" + quote(v)
			}
		}
	}
	script := strings.NewReplacer(
		"{{drop}}", drop, "{{home}}", quote(d.home()), "{{display}}", display, "{{node}}", quote(node),
	).Replace(nodeScript)
	return os.WriteFile(filepath.Join(d.path, "node"), []byte(script), 0o755)
}

// quote makes one shell word of s.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
