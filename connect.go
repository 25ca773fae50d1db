package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

func connectFlags(fs *flag.FlagSet, s *settings) {
	listenFlags(fs, s)
	fs.StringVar(&s.account, "account", "", "`label` for the account, when you want several")
	fs.StringVar(&s.method, "method", "", "`way` to sign in: oauth_code, device_code, client_credentials, api_key, browser")
	fs.StringVar(&s.scopes, "scopes", "", "`scopes` to ask for, with commas (default the definition's)")
}

// connect signs in: it prints the link, opens it in the browser, and waits.
func connect(ctx context.Context, s *settings, args []string) error {
	if len(args) != 1 {
		return usagef("connect takes one provider")
	}
	if err := s.checkLocal(); err != nil {
		return err
	}
	h, err := open(ctx, s)
	if err != nil {
		return err
	}
	defer h.Close()
	if err := h.sayForWhom(ctx); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	wait, err := h.door.Share(ctx, h.pages)
	if err != nil {
		stop()
		return err
	}
	defer func() { stop(); _ = wait() }()
	caller := auth.Caller{Owner: auth.Local, Client: auth.ClientCommandLine, Verified: true}
	wish := auth.Wish{Provider: args[0], Account: s.account, Method: s.method}
	if s.scopes != "" {
		wish.Scopes = strings.Split(s.scopes, ",")
	}
	info, err := h.vault.Request(ctx, caller, wish)
	var required *auth.AuthRequired
	if errors.As(err, &required) {
		info, err = h.waitFor(ctx, caller, required)
	}
	if err != nil {
		return h.unknown(args[0], err)
	}
	fmt.Fprintf(s.out, "Connected to %s as %s.\n", info.ProviderName, info.Account)
	return nil
}

// sayForWhom tells an operator who would wait for it elsewhere whose the connection will be.
func (h *house) sayForWhom(ctx context.Context) error {
	owners, err := h.db.Owners(ctx)
	if err == nil && slices.ContainsFunc(owners, func(o store.Holdings) bool { return o.Owner != auth.Local }) {
		fmt.Fprintf(h.settings.err, "This is for %s, whose agents run on this machine. The other owners of this store sign in by the links that their agents give them.\n", auth.Local)
	}
	return err
}

var errNobodyCame = errors.New("nobody signed in yet; run the command again for a new link")

// waitFor shows the link and waits until the person is done.
func (h *house) waitFor(ctx context.Context, c auth.Caller, a *auth.AuthRequired) (*auth.Info, error) {
	fmt.Fprintf(h.settings.err, "Open this link to sign in to %s:\n\n    %s\n\nThe page shows the code %s.\n", a.ProviderName, a.URL, a.MatchCode)
	if err := openBrowser(a.URL); err != nil {
		h.log.Debug("no browser was opened", "error", err)
	}
	for {
		status, err := h.vault.Wait(ctx, c, a.RequestID, auth.MaxWait, nil)
		if ctx.Err() != nil {
			return nil, errNobodyCame
		}
		if err != nil {
			return nil, err
		}
		switch status.Status {
		case auth.StatusPending:
		case auth.StatusConnected:
			return status.Connection, nil
		default:
			return nil, fmt.Errorf("the sign-in ended: %s %s; run the command again for a new link", status.Status, status.Cause)
		}
	}
}

// openBrowser starts the desktop's browser, without a shell and with our own URL as
// the only argument. What it prints goes nowhere: standard output may be a protocol.
func openBrowser(link string) error {
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("not a link that can be opened")
	}
	name, args := "xdg-open", []string{u.String()}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", u.String()}
	default:
		if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
			return errors.New("there is no desktop")
		}
	}
	cmd := exec.Command(name, args...)
	cmd.Env = auth.Environment()
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // reaped whenever it ends; nothing depends on it
	return nil
}
