// Command latchpost is a credential broker for AI agents: an MCP server that signs
// people in, keeps what comes of it, and makes the calls for the agent.
//
// main holds the command table; open.go puts the parts together; each command is
// one short function in a file of its name.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/seal"
)

// Exit codes, documented in docs/commands.md.
const (
	exitDone      = 0
	exitFailed    = 1
	exitUsage     = 2
	exitNeedsUser = 3 // a sign-in or an approval waits
)

// command is a line of the table. flags declares what the command takes beyond the
// common flags; run gets the arguments that are left.
type command struct {
	name  string
	args  string // as shown in help
	usage string // one line
	flags func(*flag.FlagSet, *settings)
	run   func(context.Context, *settings, []string) error
}

func commands() []command {
	return []command{
		{"stdio", "", "serve one MCP host on standard input and output", listenFlags, stdio},
		{"serve", "", "serve remote agents over HTTP", serveFlags, serve},
		{"demo", "", "see it work: practice provider, agent and all", demoFlags, demo},
		{"connect", "PROVIDER", "sign in to a provider from the command line", connectFlags, connect},
		{"list", "", "show the connections", listFlags, list},
		{"revoke", "PROVIDER|--all", "end a connection, here and at the provider, or all that an owner has", revokeFlags, revoke},
		{"providers", "[QUERY]", "show what can be connected", providersFlags, listProviders},
		{"app", "set|list|remove [PROVIDER]", "keep OAuth apps (client id and secret)", appFlags, app},
		{"install", "HOST", "enter latchpost into the configuration of an MCP host", installFlags, install},
		{"open", "", "open the pages in your browser, signed in", ownerFlags, openPages},
		{"owner-link", "", "print a link that signs one browser in, once", ownerFlags, ownerLink},
		{"token", "create|list|revoke [ID]", "keep bearer tokens of remote agents", tokenFlags, token},
		{"notify-key", "", "print the key that signs messages to --notify-url", nil, notifyKey},
		{"browser", "install|check", "set up signing in by browser", browserFlags, browser},
		{"explain", "CLIENT PROVIDER METHOD URL", "say what would happen to a call, and which rule decides", accountFlags, explain},
		{"audit", "verify|export|tail|trim", "read and check the record", auditFlags, audit},
		{"backup", "FILE", "write a consistent copy of the store, without the key", nil, backup},
		{"restore", "FILE", "put a backup in the place of the store", nil, restore},
		{"migrate", "", "move everything to another store", migrateFlags, migrate},
		{"rotate-key", "", "change the master key", rotateFlags, rotateKey},
		{"doctor", "", "say what is wrong, in words", doctorFlags, doctor},
		{"version", "", "print the version", jsonFlag, version},
	}
}

// makers may make a store that is not there. All others would answer about an empty one, and make a key for it, where
// somebody mistyped --data or forgot it.
var makers = []string{"stdio", "serve", "demo", "connect", "app set", "token create", "owner-link", "open"}

// definers need every definition. All others are for the operator on a bad day, and leave out a file that is broken.
var definers = []string{"stdio", "serve", "demo", "connect", "app set", "explain", "providers"}

// among reports whether the command, or its first word, is one of a list.
func (c command) among(list []string, args []string) bool {
	name := c.name
	if len(args) > 0 {
		name += " " + args[0]
	}
	return slices.Contains(list, c.name) || slices.Contains(list, name)
}

// errUsage is for what the person typed wrongly: exit code 2.
type errUsage struct{ text string }

func (e errUsage) Error() string { return e.text }

func usagef(format string, args ...any) error { return errUsage{fmt.Sprintf(format, args...)} }

func main() { os.Exit(latchpost()) }

func latchpost() int {
	log.SetOutput(discreet{os.Stderr})
	if err := seal.HardenProcess(); err != nil {
		fmt.Fprintln(os.Stderr, "latchpost: memory of this process can be read by others:", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	defer stop()
	return run(ctx, os.Args[1:], &settings{in: os.Stdin, out: os.Stdout, err: os.Stderr})
}

// endings are the signals at which a command comes to its end in order. A terminal that is closed sends the last of them, to the
// processes of an MCP host in it too; nohup has it ignored, and so it stays.
func endings() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// run finds the command, reads its flags and tells how it ended.
func run(ctx context.Context, args []string, s *settings) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		return help(s, args)
	}
	if args[0] == "--version" {
		args[0] = "version"
	}
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		fs := newFlags(c, s)
		rest, err := s.parse(fs, args[1:])
		if err == nil {
			s.existing, s.tolerant = !c.among(makers, rest), !c.among(definers, rest)
			err = c.answer(ctx, s, rest)
		}
		return s.report(c, err)
	}
	if strings.HasPrefix(args[0], "-") {
		fmt.Fprintln(s.err, "latchpost: the command comes first, then its flags; latchpost help shows the commands")
		return exitUsage
	}
	fmt.Fprintf(s.err, "latchpost: there is no command %q; latchpost help shows them\n", args[0])
	return exitUsage
}

// answer runs the command, and does not call done what nobody could read, or what was interrupted.
func (c command) answer(ctx context.Context, s *settings, args []string) error {
	if c.name == "stdio" { // its output is a protocol, with ends of its own
		return c.run(ctx, s, args)
	}
	out := &attentive{Writer: s.out}
	s.out = out
	err := c.run(ctx, s, args)
	switch {
	case err == nil && out.err != nil:
		return fmt.Errorf("not all of the answer could be written: %w", out.err)
	case errors.Is(err, context.Canceled) && ctx.Err() != nil && c.name != "serve" && c.name != "demo": // these end so
		return fmt.Errorf("%s was interrupted and is not done; run it again", c.name)
	}
	return err
}

// attentive remembers that something could not be written.
type attentive struct {
	io.Writer
	err error
}

func (a *attentive) Write(p []byte) (int, error) {
	n, err := a.Writer.Write(p)
	if err != nil {
		a.err = err
	}
	return n, err
}

// report writes an error as one clear line and gives the exit code.
func (s *settings) report(c command, err error) int {
	var (
		wrong    errUsage
		required *auth.AuthRequired
		approval *auth.ApprovalRequired
	)
	switch {
	case errors.Is(err, errNobodyCame):
		fmt.Fprintln(s.err, "latchpost:", err)
		return exitNeedsUser
	case err == nil, errors.Is(err, context.Canceled):
		return exitDone
	case errors.Is(err, flag.ErrHelp):
		helpFor(s.out, c, s)
		return exitDone
	case errors.As(err, &required), errors.As(err, &approval):
		fmt.Fprintln(s.err, "latchpost:", err)
		return exitNeedsUser
	case errors.As(err, &wrong), errors.Is(err, auth.ErrInvalid): // what was typed does not pass for what it has to be
		fmt.Fprintf(s.err, "latchpost: %s\nlatchpost help %s shows how it is used\n", inCommands.Replace(err.Error()), c.name)
		return exitUsage
	}
	fmt.Fprintln(s.err, "latchpost:", inCommands.Replace(err.Error()))
	return exitFailed
}

// inCommands says to a person what errors say to an agent.
var inCommands = strings.NewReplacer(
	"list_providers", "latchpost providers", "list_connections", "latchpost list", "call request_auth", "run latchpost connect",
)

func help(s *settings, args []string) int {
	if len(args) > 1 {
		for _, c := range commands() {
			if c.name == args[1] {
				helpFor(s.out, c, s)
				return exitDone
			}
		}
		fmt.Fprintf(s.err, "latchpost: there is no command %q; latchpost help shows them\n", args[1])
		return exitUsage
	}
	fmt.Fprint(s.out, "Latchpost signs in to services for AI agents; the agents never see a secret.\n\nUsage: latchpost COMMAND [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(s.out, "  %-42s %s\n", strings.TrimSpace(c.name+" "+c.args), c.usage)
	}
	fmt.Fprint(s.out, "\nBegin with latchpost demo; then latchpost install HOST enters it where your agents run.\nlatchpost help COMMAND shows its flags. Every flag can be set in the environment:\n--base-url is LATCHPOST_BASE_URL. Exit codes: 0 done, 1 failed, 2 wrong use, 3 needs the user.\n")
	return exitDone
}

// helpFor is made from the flags, so that it cannot say something else than they do.
func helpFor(w io.Writer, c command, s *settings) {
	fmt.Fprintf(w, "Usage: latchpost %s [flags]\n\n%s\n\n", strings.TrimSpace(c.name+" "+c.args), strings.ToUpper(c.usage[:1])+c.usage[1:]+".")
	name := func(f *flag.Flag) string {
		kind, _ := flag.UnquoteUsage(f)
		return strings.TrimSpace(f.Name + " " + strings.ToUpper(kind))
	}
	flags, width := newFlags(c, s), 0
	flags.VisitAll(func(f *flag.Flag) { width = max(width, len(name(f))) })
	flags.VisitAll(func(f *flag.Flag) {
		_, usage := flag.UnquoteUsage(f)
		fmt.Fprintf(w, "  --%-*s  %s", width, name(f), usage)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
			fmt.Fprintf(w, " (default %s)", f.DefValue)
		}
		fmt.Fprintln(w)
	})
}
