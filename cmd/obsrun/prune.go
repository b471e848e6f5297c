package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/report"
)

// prunedPrefix begins the name of a directory that is being removed: what is cut
// short is no run any more, and is gone with the next prune.
const prunedPrefix = ".obsrun-pruned-"

func pruneCommand(w world) *cli.Command {
	return &cli.Command{
		Name: "prune", Usage: "remove old runs", UsageText: "obsrun prune --keep-last N [--older-than AGE] [flags]\nobsrun prune --older-than AGE [--keep-last N] [flags]",
		Description: "Removes whole run directories, with all that the runs wrote there. A run goes where it is\n" +
			"none of the newest N and older than AGE, as far as they are given. The run that latest\n" +
			"points to, live runs and whatever is no run stay.",
		Flags: []cli.Flag{
			logDirFlag(),
			&cli.IntFlag{Name: "keep-last", Usage: "keep the newest `N` runs", DefaultText: "none for being new"},
			&cli.StringFlag{Name: "older-than", Usage: "keep the runs that started within this `AGE`: 36h, 30d, 8w"},
			&cli.BoolFlag{Name: "dry-run", Usage: "only tell what would be removed"},
		},
		Action: func(c *cli.Context) error {
			if err := applyFile(c); err != nil {
				return err
			}
			if c.NArg() > 0 {
				return usagef("prune takes no operand; name the directory with --log-dir")
			}
			p, err := pruningOf(c, time.Now())
			if err != nil {
				return err
			}
			return p.prune(w)
		},
	}
}

// pruning says what is to be removed.
type pruning struct {
	logDir   string
	keepLast int
	before   time.Time // zero: of any age
	dryRun   bool
}

func pruningOf(c *cli.Context, now time.Time) (pruning, error) {
	p := pruning{logDir: c.String("log-dir"), keepLast: c.Int("keep-last"), dryRun: c.Bool("dry-run")}
	if !c.IsSet("keep-last") && !c.IsSet("older-than") {
		return p, usagef("prune wants --keep-last N, --older-than AGE, or both")
	}
	if p.keepLast < 0 {
		return p, usagef("--keep-last %d: say how many, from 0 on", p.keepLast)
	}
	if c.IsSet("older-than") {
		age, err := ageOf(c.String("older-than"))
		if err != nil {
			return p, usagef("--older-than %v", err)
		}
		p.before = now.Add(-age)
	}
	return p, nil
}

func (p pruning) prune(w world) error {
	found, err := run.List(p.logDir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("prune: there is no log directory %s; name it with --log-dir", p.logDir)
	} else if err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	latest, err := filepath.EvalSymlinks(filepath.Join(p.logDir, "latest"))
	if err != nil && len(found) > 0 {
		latest, _ = filepath.EvalSymlinks(found[0].Dir) // what latest means without the link
	}
	var faults []error
	removed := 0
	for i, r := range found {
		real, err := filepath.EvalSymlinks(r.Dir)
		if err != nil || i < p.keepLast || r.Live || absolute(real) == absolute(latest) || (!p.before.IsZero() && !r.Started.Before(p.before)) {
			continue
		}
		if p.dryRun {
			fmt.Fprintf(w.stdout, "would remove %s\n", report.Visible(r.Dir))
			removed++
			continue
		}
		if err := p.remove(r.Dir); err != nil {
			faults = append(faults, err)
			continue
		}
		fmt.Fprintf(w.stdout, "removed %s\n", report.Visible(r.Dir))
		removed++
	}
	if !p.dryRun {
		p.sweep()
	}
	verb := "removed"
	if p.dryRun {
		verb = "would remove"
	}
	noun := "runs"
	if len(found) == 1 {
		noun = "run"
	}
	say(w.stderr, "%s %d of %d %s below %s", verb, removed, len(found), noun, p.logDir)
	return errors.Join(faults...)
}

// remove takes the directory away at once, and then apart.
func (p pruning) remove(dir string) error {
	if run.IsLive(dir) {
		return fmt.Errorf("prune: %s is live", dir)
	}
	gone := filepath.Join(p.logDir, prunedPrefix+filepath.Base(dir))
	if err := os.Rename(dir, gone); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	return nil
}

// sweep removes what an earlier prune was cut short at.
func (p pruning) sweep() {
	left, _ := filepath.Glob(filepath.Join(p.logDir, prunedPrefix+"*"))
	for _, dir := range left {
		_ = os.RemoveAll(dir)
	}
}
