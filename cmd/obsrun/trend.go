package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/report"
)

// defaultTrend is how many runs a trend has where --last does not say.
const defaultTrend = 50

// trendCommand is report --trend: a measure of the last runs, or of those of a set.
func trendCommand(c *cli.Context, w world, format string) error {
	last := c.Int("last")
	switch {
	case c.NArg() > 1:
		return usagef("--trend takes one set of runs, or none for all; a pattern stands in quotes")
	case format != "text" && format != "json":
		return usagef("--trend has no --format %s: say text or json", format)
	case last <= 0:
		return usagef("--last %d: say how many, from 1 on", last)
	}
	measure := c.String("trend")
	if _, err := report.TrendOf(measure, nil); err != nil {
		return usagef("--trend %s: %v", measure, err)
	}
	runs, err := recent(c, last, w)
	if err != nil {
		return err
	}
	trend, err := report.TrendOf(measure, runs)
	switch {
	case err != nil:
		return err
	case trend.N == 0 && len(runs) > 0 && strings.HasPrefix(measure, "phases."):
		return usagef("--trend %s: no run of the %d has that phase; `obsrun report` shows the phases of one", measure, len(runs))
	case format == "json":
		return report.WriteJSON(w.stdout, trend)
	}
	return report.TrendText(w.stdout, trend, textOptions(w.stdout))
}

// recent are the summaries of the last runs, the oldest first: of the operand's, or
// of all.
func recent(c *cli.Context, last int, w world) ([]report.Summary, error) {
	logDir := c.String("log-dir")
	if c.NArg() == 1 {
		set, err := setOf(logDir, c.Args().First(), w)
		return set.Runs[max(0, len(set.Runs)-last):], err
	}
	found, err := run.List(logDir)
	if err != nil {
		return nil, err
	}
	var runs []report.Summary
	for _, r := range found[:min(last, len(found))] {
		summary, err := summaryFound(r)
		if err != nil {
			say(w.stderr, "%s is left out: %v", r.Dir, err)
			continue
		}
		runs = append(runs, summary)
	}
	slices.Reverse(runs)
	return runs, nil
}
