package main

import (
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"os/exec"
	"strings"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/egress"
)

// notifySettings say how the owner hears that an approval waits.
type notifySettings struct{ url, command string }

func notifyFlags(fs *flag.FlagSet, s *settings) {
	fs.StringVar(&s.notify.url, "notify-url", "", "`url` that gets a signed POST when an approval waits")
	fs.StringVar(&s.notify.command, "notify-command", "", "`program` and its arguments, run when an approval waits, with the facts as JSON on its standard input")
}

// openNotifier lets the vault tell the owner; nil when nobody asked for it.
func (h *house) openNotifier() (*auth.Notifier, error) {
	n := h.settings.notify
	if n.url == "" && n.command == "" {
		return nil, nil
	}
	if n.url != "" {
		if _, err := egress.Parse(n.url, egress.ParseOptions{Loopback: h.settings.unsafeLoopback}); err != nil {
			return nil, usagef("--notify-url: %s", err)
		}
	}
	command := strings.Fields(n.command)
	if len(command) > 0 {
		if _, err := exec.LookPath(command[0]); err != nil {
			return nil, fmt.Errorf("--notify-command: there is no program %s that can be run", command[0])
		}
	}
	notifier := auth.NewNotifier(auth.Notifier{
		URL: n.url, Command: command, Key: auth.NotifyKey(h.box), BaseURL: h.door.URL, Out: h.vault.Out, Log: h.log,
	})
	h.vault.Announce = notifier.Announce
	return notifier, nil
}

// notifyKey prints the key with which a receiver of --notify-url checks signatures.
func notifyKey(ctx context.Context, s *settings, args []string) error {
	if len(args) > 0 {
		return usagef("notify-key takes no arguments")
	}
	h, err := open(ctx, s)
	if err != nil {
		return err
	}
	defer h.Close()
	fmt.Fprintln(s.out, hex.EncodeToString(auth.NotifyKey(h.box)))
	return nil
}
