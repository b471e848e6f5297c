package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/report"
)

// isSet tells whether the operand names a set of runs: a pattern, a range or a list.
func isSet(ref string) bool {
	if _, err := os.Stat(ref); err == nil {
		return false
	}
	_, _, isRange := rangeOf(ref)
	return isRange || strings.ContainsAny(ref, "*?[,")
}

// rangeOf splits latest~5..latest~1. The dots of a path such as ../logs are none.
func rangeOf(ref string) (from, to string, ok bool) {
	from, to, ok = strings.Cut(ref, "..")
	return from, to, ok && from != "" && to != "" && !strings.HasSuffix(from, "/") && !strings.HasPrefix(to, "/")
}

// runsOf finds the runs of a set, the oldest first, each once.
func runsOf(logDir, ref string) ([]string, error) {
	var dirs []string
	for part := range strings.SplitSeq(ref, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		found, err := runsNamed(logDir, part)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, found...)
	}
	if len(dirs) == 0 {
		return nil, fmt.Errorf("find runs: %q names none", ref)
	}
	seen := make(map[string]bool)
	return slices.DeleteFunc(dirs, func(dir string) bool {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			real = dir
		}
		real = absolute(real)
		again := seen[real]
		seen[real] = true
		return again
	}), nil
}

func runsNamed(logDir, ref string) ([]string, error) {
	from, to, isRange := rangeOf(ref)
	switch {
	case !isSet(ref):
		dir, err := run.Find(logDir, ref)
		return []string{dir}, err
	case isRange:
		return runsBetween(logDir, from, to)
	}
	matches, err := filepath.Glob(ref)
	if err == nil && len(matches) == 0 && !strings.ContainsRune(ref, filepath.Separator) {
		matches, err = filepath.Glob(filepath.Join(logDir, ref))
	}
	if err != nil {
		return nil, fmt.Errorf("find runs: %q is no pattern: %w", ref, err)
	}
	matches = slices.DeleteFunc(matches, func(dir string) bool {
		info, err := os.Stat(dir)
		return err != nil || !info.IsDir() || !run.IsRun(dir)
	})
	if len(matches) == 0 {
		return nil, fmt.Errorf("find runs: no run matches %q; `obsrun list` shows those there are", ref)
	}
	return matches, nil
}

// runsBetween gives the runs from one to the other by start time, both included.
func runsBetween(logDir, from, to string) ([]string, error) {
	var ends [2]string
	for i, ref := range []string{from, to} {
		dir, err := run.Find(logDir, ref)
		if err != nil {
			return nil, err
		}
		ends[i] = absolute(dir)
	}
	all, err := run.List(logDir)
	if err != nil {
		return nil, fmt.Errorf("find runs: %w", err)
	}
	slices.Reverse(all)
	place := func(dir string) int {
		return slices.IndexFunc(all, func(r run.Found) bool { return absolute(r.Dir) == dir })
	}
	a, b := place(ends[0]), place(ends[1])
	if a < 0 || b < 0 {
		return nil, fmt.Errorf("find runs: %s..%s is a range of runs below %s, and not both are there", from, to, logDir)
	}
	var dirs []string
	for _, r := range all[min(a, b) : max(a, b)+1] {
		dirs = append(dirs, r.Dir)
	}
	return dirs, nil
}

// setOf sums up all runs of an operand, the oldest first.
func setOf(logDir, ref string, w world) (report.RunSet, error) {
	dirs, err := runsOf(logDir, ref)
	if err != nil {
		return report.RunSet{}, err
	}
	set := report.RunSet{Name: ref}
	for _, dir := range dirs {
		summary, err := summaryIn(dir, w)
		if err != nil {
			return report.RunSet{}, err
		}
		set.Runs = append(set.Runs, summary)
	}
	slices.SortStableFunc(set.Runs, func(a, b report.Summary) int {
		return cmp.Or(cmp.Compare(a.StartedAt, b.StartedAt), cmp.Compare(a.RunID, b.RunID))
	})
	return set, nil
}

// summaryOf sums up the run that ref names.
func summaryOf(logDir, ref string, w world) (report.Summary, error) {
	dir, err := run.Find(logDir, ref)
	if err != nil {
		return report.Summary{}, err
	}
	return summaryIn(dir, w)
}

// summaryIn sums a run up from its journal, which is right whatever became of its
// obsrun; the summary that was written serves where the journal is gone. The
// missing summary of a killed run is written.
func summaryIn(dir string, w world) (report.Summary, error) {
	loaded, err := loadedIn(dir, w)
	if errors.Is(err, fs.ErrNotExist) {
		return report.ReadSummary(run.SummaryPath(dir))
	} else if err != nil {
		return report.Summary{}, err
	}
	summary := report.Summarize(loaded.State)
	if loaded.Live {
		return summary, nil
	}
	// A summary that a signal left behind is provisional; one of a whole run is
	// what would be written. A read-only directory keeps what it has.
	if have, err := report.ReadSummary(run.SummaryPath(dir)); err != nil || (summary.Status == run.StatusInterrupted && have.Totals.Events != summary.Totals.Events) {
		_ = summary.Write(run.SummaryPath(dir))
	}
	return summary, nil
}

// hasJournal refuses a directory whose journal is not there, or says nothing and
// never will.
func hasJournal(dir string) error {
	journal := run.JournalPath(dir)
	info, err := os.Stat(journal)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open journal: %w; a summary alone is enough for a report, and no more", err)
	} else if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	if info.Mode().IsRegular() && info.Size() == 0 && !run.IsLive(dir) {
		return fmt.Errorf("%s is empty: its obsrun ended before it wrote a line, so there is nothing to tell; remove %s, or name another run", journal, path.Clean(dir))
	}
	return nil
}

// readable refuses the state of a journal that is none, or that is of a later schema.
func readable(dir string, state *run.State) error {
	journal := run.JournalPath(dir)
	if schema := schemaOf(state); schema > telemetry.SchemaVersion {
		return fmt.Errorf("%s is of schema %d, and %d is known: written by a newer obsrun, upgrade this one", journal, schema, telemetry.SchemaVersion)
	}
	if unknown := state.Totals().UnknownEvents; unknown > 0 && state.Rev() == unknown {
		return fmt.Errorf("%s has no line that is an event, so it is no run's journal; name a run directory that obsrun made", journal)
	}
	return nil
}

// loadedIn reads the run in a directory and refuses what nothing can be said of.
// What is torn is told, and what there is used.
func loadedIn(dir string, w world) (*run.Loaded, error) {
	journal := run.JournalPath(dir)
	if err := hasJournal(dir); err != nil {
		return nil, err
	}
	loaded, err := run.Load(dir)
	if err != nil {
		return nil, err
	}
	if err := readable(dir, loaded.State); err != nil {
		return nil, err
	}
	if loaded.Torn > 0 {
		say(w.stderr, "%s ends in half a line of %d bytes, which is left out", journal, loaded.Torn)
	}
	switch {
	case loaded.Unreadable == 1:
		say(w.stderr, "%s has 1 line that is no event, which is left out", journal)
	case loaded.Unreadable > 1:
		say(w.stderr, "%s has %d lines that are no events, which are left out", journal, loaded.Unreadable)
	}
	return loaded, nil
}
