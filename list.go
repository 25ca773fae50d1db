package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/store"
)

func listFlags(fs *flag.FlagSet, s *settings) {
	everybodyFlags(fs, s)
	jsonFlag(fs, s)
}

// connectionRow is a connection in list --json.
type connectionRow struct {
	ownerRow
	Provider string   `json:"provider"`
	Account  string   `json:"account"`
	Method   string   `json:"method"`
	State    string   `json:"state"`
	Cause    string   `json:"cause,omitempty"`
	Scopes   []string `json:"scopes,omitempty"`
	Expires  string   `json:"expires_at,omitempty"`    // of the access token or session
	SignIn   string   `json:"sign_in_until,omitempty"` // when the user has to sign in again
	Used     string   `json:"last_used_at,omitempty"`
	Clients  []string `json:"clients,omitempty"`
}

// list shows the connections.
func list(ctx context.Context, s *settings, args []string) error {
	if len(args) > 0 {
		return usagef("list takes no arguments")
	}
	none := "Nothing is connected. latchpost connect PROVIDER signs in; latchpost providers shows what there is."
	h, err := open(ctx, s)
	if s.firstTime(err) {
		return show(s, nil, none, "", connectionRow.cells)
	}
	if err != nil {
		return err
	}
	defer h.Close()
	owners, err := h.whose(ctx)
	if err != nil {
		return err
	}
	var lines []connectionRow
	for _, o := range owners {
		rows, err := h.connectionsOf(ctx, o)
		if err != nil {
			return err
		}
		lines = append(lines, rows...)
	}
	if len(lines) == 0 {
		if none, err = h.noneOf(ctx, none, "Nothing is connected", "connection", func(o store.Holdings) int { return o.Connections }); err != nil {
			return err
		}
	}
	return show(s, lines, none, s.ownerHead()+"PROVIDER\tACCOUNT\tSTATE\tLAST USED\tCLIENTS", connectionRow.cells)
}

func (l connectionRow) cells() []string {
	state := l.State
	if l.Cause != "" {
		state += " (" + l.Cause + ")"
	}
	return append(l.cell(), l.Provider, l.Account, state, orDash(l.Used), orDash(strings.Join(l.Clients, ", ")))
}

func (h *house) connectionsOf(ctx context.Context, o auth.Owner) ([]connectionRow, error) {
	desk := h.vault.Desk(o)
	found, err := desk.Connections(ctx)
	if err != nil {
		return nil, err
	}
	grants, err := desk.Grants(ctx)
	if err != nil {
		return nil, err
	}
	lines := make([]connectionRow, len(found))
	for i, c := range found {
		lines[i] = connectionRow{
			ownerRow: h.settings.ownerRow(o), Provider: c.Provider, Account: c.Account, Method: c.Method, State: string(c.State), Cause: c.Cause, Scopes: c.Scopes,
			Expires: stamp(c.ExpiresAt), SignIn: stamp(c.RefreshExpiresAt), Used: stamp(c.LastUsedAt), Clients: clients(grants, c.ID),
		}
	}
	return lines, nil
}

// clients says who may do what with a connection: claude-code (read), and, where that is not the whole of it, by which
// methods and where: claude-code (write: POST as DELETE, api.example.com, /repos/a).
func clients(grants []auth.Grant, connection string) []string {
	var out []string
	for _, g := range grants {
		if g.Connection == connection {
			what := g.Access
			if some := slices.Concat(g.Methods, g.Hosts, g.Paths); len(some) > 0 {
				what += ": " + strings.Join(some, ", ")
			}
			if g.Kind == auth.Release {
				what = "raw credential"
			}
			out = append(out, fmt.Sprintf("%s (%s)", g.Client, what))
		}
	}
	return out
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// show prints items as a table, each on one line whatever is in it, or with --json as one object a line. none
// is said when there are none.
func show[T any](s *settings, items []T, none, head string, row func(T) []string) error {
	if s.json {
		enc := json.NewEncoder(store.PlainLines(s.out))
		for _, item := range items {
			if err := enc.Encode(item); err != nil {
				return err
			}
		}
		return nil
	}
	if len(items) == 0 {
		fmt.Fprintln(s.out, none)
		return nil
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, head)
	for _, item := range items {
		cells := row(item)
		for i, cell := range cells {
			cells[i] = oneLine(cell)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// oneLine is a name from outside as a terminal may have it.
func oneLine(name string) string { return strings.Join(strings.Fields(egress.Sanitize(name)), " ") }

// needs is what is missing, without how to get it.
func needs(missing string) string {
	if what, _, ok := strings.Cut(missing, ":"); ok {
		return "needs " + what
	}
	return missing
}

func providersFlags(fs *flag.FlagSet, s *settings) {
	browserFlags(fs, s)
	jsonFlag(fs, s)
}

// listProviders shows what can be connected.
func listProviders(ctx context.Context, s *settings, args []string) error {
	h, err := open(ctx, s)
	switch {
	case s.firstTime(err):
		if h, err = openWithout(s); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		defer h.Close()
	}
	found, err := h.vault.Providers(ctx, auth.Caller{Owner: auth.Local}, strings.Join(args, " "), "", 500)
	if err != nil {
		return err
	}
	type provider struct {
		ID      string   `json:"id"`
		Name    string   `json:"name"`
		Methods []string `json:"methods"`
		Ready   bool     `json:"ready"`
		Missing string   `json:"missing,omitempty"`
		Custom  bool     `json:"custom,omitempty"`
		Hosts   []string `json:"hosts,omitempty"`
		Scopes  []string `json:"scopes,omitempty"`
	}
	lines := make([]provider, len(found))
	for i, p := range found {
		lines[i] = provider{p.ID, p.Name, p.Methods, p.Ready, p.Missing, p.Custom, nil, p.Scopes}
		if definition, err := h.vault.Catalog.Get(p.ID); err == nil {
			lines[i].Hosts = definition.API.Hosts
		}
	}
	if len(lines) == 0 && !s.json { // so that nothing is left to say below
		return fmt.Errorf("no provider matches %q; latchpost providers shows all", strings.Join(args, " "))
	}
	return show(s, lines, "", "ID\tNAME\tMETHODS\tREADY", func(p provider) []string {
		ready := "yes"
		if !p.Ready {
			ready = needs(p.Missing)
		}
		if p.Custom { // whose name is the operator's word; where the credential goes is not
			p.Name += " (custom: " + strings.Join(p.Hosts, ", ") + ")"
		}
		return []string{p.ID, p.Name, strings.Join(p.Methods, " "), ready}
	})
}
