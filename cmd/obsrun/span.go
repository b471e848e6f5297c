package main

import (
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/obsrun/obsrun/instrument"
	"github.com/obsrun/obsrun/supervisor"
)

func spanCommand(w world, command []string, dashes bool) *cli.Command {
	return &cli.Command{
		Name: "span", Usage: "run COMMAND as one span of the current run",
		UsageText: "obsrun span [--kind KIND] NAME -- COMMAND [ARG...]",
		Description: "Its exit status is the command's; another one than 0 makes the span an error.\n" +
			"Outside a run the command is run all the same.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "kind", Usage: "`KIND` of the span (default: a task, which is no agent)"},
			&cli.StringFlag{Name: "component", Usage: "what it works on"},
			&cli.StringFlag{Name: "phase", Usage: "the phase it belongs to"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 || !dashes || len(command) == 0 {
				return usagef("write: obsrun span [--kind KIND] NAME -- COMMAND")
			}
			_, span := instrument.Start(c.Context, c.Args().First(), instrument.Options{
				Kind: c.String("kind"), Component: c.String("component"), Phase: c.String("phase"),
			})
			code, err := runInPlace(w, command, append(w.env, span.Env()...))
			switch {
			case err != nil:
				span.End(err)
			case code != 0:
				span.End(fmt.Errorf("%s ended with exit status %d", command[0], code))
			default:
				span.End(nil)
			}
			_ = instrument.Close()
			if err != nil {
				return err
			}
			if code != 0 {
				return exitStatus(code)
			}
			return nil
		},
	}
}

// runInPlace runs the command where obsrun stands: same terminal, same process
// group. What the terminal sends reaches both; obsrun outlives it to tell how
// the command ended.
func runInPlace(w world, command, env []string) (int, error) {
	path, err := supervisor.Resolve(command[0], env, "")
	if err != nil {
		return 0, err
	}
	fromTerminal := make(chan os.Signal, 1)
	signal.Notify(fromTerminal, notIgnored(syscall.SIGINT, syscall.SIGQUIT)...)
	defer signal.Stop(fromTerminal)
	passedOn := make(chan os.Signal, 8)
	signal.Notify(passedOn, notIgnored(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)...)
	defer signal.Stop(passedOn)

	cmd := osexec.Cmd{Path: path, Args: command, Env: env, Stdin: w.stdin, Stdout: w.stdout, Stderr: w.stderr}
	if err := cmd.Start(); err != nil {
		return 0, &supervisor.StartError{Status: 126, Err: fmt.Errorf("run %s: %w", command[0], err)}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case sig := <-passedOn:
			_ = cmd.Process.Signal(sig)
		case err = <-ended:
			var exit *osexec.ExitError
			if err != nil && !errors.As(err, &exit) {
				return 0, fmt.Errorf("wait for %s: %w", command[0], err)
			}
			if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
				return 128 + int(status.Signal()), nil
			}
			return cmd.ProcessState.ExitCode(), nil
		}
	}
}

// notIgnored leaves out what obsrun was started to ignore: asking for such a
// signal would end that for the child, too.
func notIgnored(signals ...os.Signal) []os.Signal {
	var out []os.Signal
	for _, sig := range signals {
		if !signal.Ignored(sig) {
			out = append(out, sig)
		}
	}
	return out
}
