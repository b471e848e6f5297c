package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/obsrun/obsrun/instrument"
	"github.com/obsrun/obsrun/testdata/eigenda"
)

// demoSpeed makes the demo last about 20 s.
const demoSpeed = 15.625

func demoCommand(w world) *cli.Command {
	flags := append(runFlags(), &cli.Float64Flag{Name: "speed", Value: demoSpeed, Usage: "divide the times by `N`; 1 is the 312.5 s that the run took"})
	return &cli.Command{
		Name: "demo", Usage: "the EigenDA profile, for a first look; no key, no set-up",
		UsageText: "obsrun demo [flags]", Flags: flags,
		Action: func(c *cli.Context) error {
			speed := c.Float64("speed")
			switch {
			case c.NArg() > 0:
				return usagef("demo takes no operand")
			case !(speed > 0) || math.IsInf(speed, 0):
				return usagef("--speed %v: say a number above 0", speed)
			}
			opt, err := runOptions(c, w)
			if err != nil {
				return err
			}
			if opt.name == "" {
				opt.name = "eigenda"
			}
			if !c.IsSet("keep-open") && isTerminal(w.stderr) && !inCI() {
				opt.keepOpen = -1
			}
			text := strconv.FormatFloat(speed, 'g', -1, 64)
			opt.command = []string{w.executable, actName, "--speed", text}
			opt.shown = []string{"obsrun", "demo", "--speed", text}
			return runCommand(c.Context, w, opt)
		},
	}
}

// actName is the demo's orchestrator: a child like any other.
const actName = "demo-orchestrator"

func actCommand(w world) *cli.Command {
	return &cli.Command{
		Name: actName, Hidden: true, Usage: "what obsrun demo runs",
		Flags: []cli.Flag{&cli.Float64Flag{Name: "speed", Value: demoSpeed}},
		Action: func(c *cli.Context) error {
			client := instrument.Default()
			profile := eigenda.Load()
			instrument.Current(c.Context).Update("", subjectAttrs(profile))
			err := act(c.Context, newScript(profile, c.Float64("speed")), client, w.stdout)
			_ = client.Close()
			return err
		},
	}
}

// subjectAttrs tell the run what it is about.
func subjectAttrs(p eigenda.Profile) map[string]any {
	return map[string]any{"source_repo": p.SourceRepo, "source_commit": p.SourceCommit}
}

// act plays the script in real time.
func act(ctx context.Context, s script, client *instrument.Client, out io.Writer) error {
	begin := time.Now()
	for _, cue := range s.cues {
		select {
		case <-time.After(time.Until(begin.Add(cue.at))):
		case <-ctx.Done():
			return ctx.Err()
		}
		for _, event := range cue.events {
			client.Emit(event)
		}
		if cue.line != "" {
			if _, err := fmt.Fprintln(out, cue.line); err != nil {
				return fmt.Errorf("write to the terminal: %w", err)
			}
		}
	}
	return nil
}
