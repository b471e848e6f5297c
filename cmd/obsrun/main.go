// Command obsrun makes a run of many agents visible: it starts the orchestrator
// under a pseudo-terminal, records what it and its agents tell, serves a live
// dashboard, and sums the run up.
//
// main collects the world, exec does the work, and there is one file a command.
// run.go is the composition root.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/obsrun/obsrun/report"
	"github.com/obsrun/obsrun/supervisor"
)

// version is set by the release build: -ldflags "-X main.version=v1.2.3".
var version = "devel"

// exitFailure is the status of obsrun's own failures.
const exitFailure = 125

// world is everything that a command may touch beside files.
type world struct {
	args           []string // without the program's name
	env            []string
	stdin          *os.File
	stdout, stderr *os.File
	executable     string // obsrun itself
}

func main() {
	executable, err := os.Executable()
	if err != nil {
		executable = os.Args[0]
	}
	os.Exit(exec(context.Background(), world{
		args: os.Args[1:], env: os.Environ(), executable: executable,
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
	}))
}

// exitStatus is an error that has been told already, or needs no words.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// usageError is a command line that can not be understood.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// exec runs one command line and gives obsrun's exit status.
func exec(ctx context.Context, w world) int {
	dropEmptyTwins()
	own, command, dashes := splitCommand(w.args)
	app := newApp(w, command, dashes)
	args, err := arrange(app, own, dashes)
	if err == nil {
		err = app.RunContext(ctx, append([]string{"obsrun"}, args...))
	}
	var status exitStatus
	var start *supervisor.StartError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &start):
		say(w.stderr, "%v", err)
		return start.Status
	}
	say(w.stderr, "%v", err)
	return exitFailure
}

// splitCommand parts the command line at the first "--": what stands after it
// belongs to the child, whatever it looks like.
func splitCommand(args []string) (own, command []string, dashes bool) {
	if i := slices.Index(args, "--"); i >= 0 {
		return args[:i], args[i+1:], true
	}
	return args, nil, false
}

// say prints a word of obsrun's own, as one line: names from outside stand in some.
func say(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "obsrun: %s\n", report.Visible(strings.TrimSuffix(fmt.Sprintf(format, args...), "\n")))
}

// untilInterrupted gives a context that ends with INT or TERM.
func untilInterrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
}

// newApp is the command line as data. command is what stands behind "--".
func newApp(w world, command []string, dashes bool) *cli.App {
	app := &cli.App{
		Name:      "obsrun",
		Usage:     "make a run of many agents visible",
		UsageText: "obsrun [flags] -- COMMAND [ARG...]\nobsrun report|serve|export|list|prune|schema|emit|span|doctor|demo [flags] ...",
		Version:   version,
		Flags:     runFlags(),
		Commands: []*cli.Command{
			reportCommand(w), serveCommand(w), exportCommand(w), listCommand(w), pruneCommand(w), schemaCommand(w), emitCommand(w), spanCommand(w, command, dashes),
			doctorCommand(w, command, dashes), demoCommand(w), actCommand(w),
		},
		Action: func(c *cli.Context) error {
			switch {
			case dashes && c.NArg() > 0:
				return usagef("%q stands before --; write: obsrun [flags] -- COMMAND", c.Args().First())
			case c.NArg() > 0:
				return usagef("%q is no command of obsrun; to run it, write: obsrun -- %s", c.Args().First(), strings.Join(c.Args().Slice(), " "))
			case dashes && len(command) == 0:
				return usagef("there is no COMMAND after --; write: obsrun [flags] -- COMMAND")
			case !dashes:
				return cli.ShowAppHelp(c)
			}
			opt, err := runOptions(c, w)
			if err != nil {
				return err
			}
			opt.command = command
			return runCommand(c.Context, w, opt)
		},
		Writer: w.stdout, ErrWriter: w.stderr,
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true,
		ExitErrHandler:            func(*cli.Context, error) {}, // exec decides
	}
	app.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return slipIn(err) }
	for _, c := range app.Commands {
		c.OnUsageError, c.HideHelpCommand = app.OnUsageError, true
	}
	if !dashes || slices.Contains(w.args, "--help") || slices.Contains(w.args, "-h") { // a run does not wait for it
		layOut(app)
	}
	return app
}

// arrange puts flags before operands, as cli wants them, and refuses what is no
// flag, with the nearest that is. Flags before a subcommand are the subcommand's.
func arrange(app *cli.App, args []string, dashes bool) ([]string, error) {
	var flags, operands []string
	known := app.Flags
	command := ""
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if len(arg) < 2 || arg[0] != '-' {
			if sub := commandNamed(app, arg); sub != nil && command == "" && len(operands) == 0 {
				if dashes && sub.Name != "span" && sub.Name != "doctor" {
					return nil, usagef("%s runs no COMMAND, there is nothing to stand behind --; to run a program called so, write: obsrun -- %s", arg, arg)
				}
				for _, given := range flags {
					if name := flagName(given); strings.HasPrefix(given, "-") && flagNamed(known, name) != nil && flagNamed(sub.Flags, name) == nil {
						return nil, usagef("%s is no flag of obsrun %s", given, arg)
					}
				}
				command, known = arg, sub.Flags
				continue
			}
			if command == "" && !dashes {
				line := strings.Join(slices.Concat([]string{"obsrun"}, flags, []string{"--"}, args[i:]), " ")
				if near := commandNear(app, arg); near != "" {
					return nil, usagef("%q is no command of obsrun; did you mean %s? To run a program called so, write: %s", arg, near, line)
				}
				return nil, usagef("%q is no command of obsrun; to run it, write: %s", arg, line)
			}
			operands = append(operands, arg)
			continue
		}
		name := flagName(arg)
		switch name {
		case "version", "v":
			return []string{"--version"}, nil
		case "help", "h":
			flags = append(flags, "--help")
			continue
		}
		flags = append(flags, arg)
		flag := flagNamed(known, name)
		if flag == nil {
			if near := cli.SuggestFlag(known, name, false); near != "" {
				return nil, usagef("there is no flag %s; did you mean %s?", arg, near)
			}
			return nil, usagef("there is no flag %s; see obsrun --help", arg)
		}
		if takesValue(flag) && !strings.Contains(arg, "=") {
			if i++; i == len(args) {
				return nil, usagef("%s wants a value", arg)
			}
			flags = append(flags, args[i])
		}
	}
	var out []string
	if command != "" {
		out = append(out, command)
	}
	out = append(out, flags...)
	if len(operands) > 0 {
		out = append(append(out, "--"), operands...)
	}
	return out, nil
}

// flagName is the name of the flag that an argument gives.
func flagName(arg string) string {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	return name
}

func commandNamed(app *cli.App, name string) *cli.Command {
	for _, c := range app.Commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

// commandNear is the command whose name was meant, empty where none is near: one
// letter too many, too few, another, or two that changed places.
func commandNear(app *cli.App, typed string) string {
	for _, c := range app.Commands {
		if !c.Hidden && len(typed) > 2 && slipped(typed, c.Name) {
			return c.Name
		}
	}
	return ""
}

// slipped tells whether a is b but for one slip.
func slipped(a, b string) bool {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	a, b = a[i:], b[i:]
	cut := func(s string, n int) string { return s[min(n, len(s)):] }
	return cut(a, 1) == b || a == cut(b, 1) || cut(a, 1) == cut(b, 1) ||
		len(a) > 1 && len(b) > 1 && a[0] == b[1] && a[1] == b[0] && a[2:] == b[2:]
}

func flagNamed(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func takesValue(f cli.Flag) bool {
	doc, ok := f.(cli.DocGenerationFlag)
	return !ok || doc.TakesValue()
}
