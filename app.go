package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/latchpost/latchpost/auth"
)

func appFlags(fs *flag.FlagSet, s *settings) {
	fs.StringVar(&s.clientID, "client-id", "", "`id` of the OAuth app; its secret is asked on the terminal or read from standard input")
	doorFlags(fs, s)
	jsonFlag(fs, s)
}

// app keeps OAuth apps. Secrets come from the terminal or standard input, never from a flag.
func app(ctx context.Context, s *settings, args []string) error {
	if len(args) == 0 || args[0] == "list" && len(args) > 1 || args[0] != "list" && len(args) != 2 {
		return usagef("app takes set PROVIDER, remove PROVIDER or list")
	}
	h, err := open(ctx, s)
	if err != nil {
		return err
	}
	defer h.Close()
	desk := h.vault.Desk(auth.Owner{}) // the operator's apps serve everybody
	switch args[0] {
	case "set":
		return setApp(ctx, s, h, args[1])
	case "remove":
		err := desk.RemoveApp(ctx, args[1])
		if errors.Is(err, auth.ErrNotFound) {
			return fmt.Errorf("%s has no OAuth app here; latchpost app list shows those that are set", args[1])
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(s.out, "The OAuth app of %s is forgotten.\n", args[1])
		return nil
	case "list":
		apps, err := desk.Apps(ctx)
		if err != nil {
			return err
		}
		type app struct {
			Provider string `json:"provider"`
			ClientID string `json:"client_id"`
			Secret   bool   `json:"has_secret"`
			Set      string `json:"set_at"`
		}
		lines := make([]app, len(apps))
		for i, a := range apps {
			lines[i] = app{a.Provider, a.ClientID, a.Sealed != nil, stamp(a.CreatedAt)}
		}
		return show(s, lines, "No OAuth app is registered. latchpost providers says which providers need one; latchpost app set PROVIDER enters it.", "PROVIDER\tCLIENT ID\tSECRET\tSET", func(a app) []string {
			return []string{a.Provider, a.ClientID, fmt.Sprint(a.Secret), a.Set}
		})
	}
	return usagef("app takes set PROVIDER, remove PROVIDER or list")
}

func setApp(ctx context.Context, s *settings, h *house, provider string) error {
	if s.clientID == "" {
		return usagef("app set needs --client-id")
	}
	if _, err := h.vault.Catalog.Get(provider); err != nil {
		return err
	}
	secret, err := askSecret(ctx, s, "Client secret of "+provider+" (empty for a public client): ")
	if err != nil {
		return err
	}
	if err := h.vault.Desk(auth.Owner{}).SetApp(ctx, provider, s.clientID, secret, s.defaults()[provider]); err != nil {
		return err
	}
	redirect, err := h.vault.Desk(auth.Owner{}).RedirectURI(provider)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "The OAuth app of %s is set. Register this redirect URI there: %s\n", provider, redirect)
	stranded, err := h.vault.Desk(auth.Local).Stranded(ctx, provider)
	if err != nil {
		return err
	}
	if len(stranded) > 0 {
		fmt.Fprintf(s.out, "Made with another client id, which is not registered any more, so that they cannot be renewed: %s. Set that one again, or revoke them and sign in anew.\n", strings.Join(stranded, ", "))
	}
	return nil
}

// askSecret reads one line: without echo from a terminal, as it is from a pipe.
func askSecret(ctx context.Context, s *settings, question string) (auth.Secret, error) {
	if f, ok := s.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(s.err, question)
		defer fmt.Fprintln(s.err)
		return readSecret(ctx, int(f.Fd()))
	}
	line, err := bufio.NewReader(io.LimitReader(s.in, 64<<10)).ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return auth.NewSecret(strings.TrimSpace(line)), err
}

// readSecret reads a line without echo. An interrupt, which is a signal to this process and not a character, ends
// the wait, and leaves the terminal as it was.
func readSecret(ctx context.Context, terminal int) (auth.Secret, error) {
	before, err := term.GetState(terminal)
	if err != nil {
		return auth.Secret{}, err
	}
	type answer struct {
		line []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(terminal)
		got <- answer{line, err}
	}()
	select {
	case a := <-got:
		return auth.NewSecret(strings.TrimSpace(string(a.line))), a.err
	case <-ctx.Done():
		return auth.Secret{}, errors.Join(ctx.Err(), term.Restore(terminal, before))
	}
}
