package main

import (
	"encoding/json"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/report"
)

// The exit statuses of a comparison.
const (
	exitRegressed    = 3 // a threshold was crossed, or a set regressed
	exitInconclusive = 4 // --strict, and there is no verdict
)

// compareCommand is report --compare: one run with one, or two sets with a verdict.
func compareCommand(c *cli.Context, w world, format string) error {
	switch {
	case c.NArg() != 2:
		return usagef("--compare takes two runs or sets of runs: obsrun report --compare A B; a pattern stands in quotes, as in 'logs/eigenda-202604*'")
	case format == "html":
		return usagef("--compare has no --format html: say text, json or markdown")
	}
	thresholds, err := thresholdsOf(c)
	if err != nil {
		return err
	}
	logDir, a, b := c.String("log-dir"), c.Args().Get(0), c.Args().Get(1)
	if isSet(a) || isSet(b) {
		return compareSets(c, w, format, thresholds)
	}
	var sides [2]report.Summary
	for i, ref := range []string{a, b} {
		if sides[i], err = summaryOf(logDir, ref, w); err != nil {
			return err
		}
	}
	if sides[0].RunID == sides[1].RunID && sides[0].StartedAt == sides[1].StartedAt {
		return usagef("%s and %s are the same run, %s: name two; `obsrun list` shows those there are", a, b, sides[0].RunID)
	}
	comparison := report.Compare(sides[0], sides[1], thresholds...)
	switch format {
	case "json":
		err = report.WriteJSON(w.stdout, comparison)
	case "markdown":
		err = report.ComparisonMarkdown(w.stdout, comparison)
	default:
		err = report.ComparisonText(w.stdout, comparison, textOptions(w.stdout))
	}
	switch {
	case err != nil:
		return err
	case len(comparison.Crossed) > 0:
		return exitStatus(exitRegressed)
	case c.Bool("strict"):
		say(w.stderr, "one run against one has no verdict: give sets of runs, at least four on each side")
		return exitStatus(exitInconclusive)
	}
	return nil
}

func compareSets(c *cli.Context, w world, format string, thresholds []report.Threshold) error {
	var sides [2]report.RunSet
	for i := range sides {
		var err error
		ref := c.Args().Get(i)
		if sides[i], err = setOf(c.String("log-dir"), ref, w); err != nil {
			return err
		}
		if isSet(ref) && len(sides[i].Runs) == 1 {
			return usagef("%s is a set of one run, %s: name more, at least four for a verdict, or compare that run by its id", ref, sides[i].Runs[0].RunID)
		}
	}
	comparison := report.CompareSets(sides[0], sides[1], thresholds...)
	for _, set := range []report.SetRef{comparison.A, comparison.B} {
		if len(set.Runs) == 0 {
			return usagef("no run of %s came to its own end: all were interrupted, or go on", set.Name)
		}
	}
	var err error
	switch format {
	case "json":
		err = report.WriteJSON(w.stdout, comparison)
	case "markdown":
		err = report.SetComparisonMarkdown(w.stdout, comparison)
	default:
		err = report.SetComparisonText(w.stdout, comparison, textOptions(w.stdout))
	}
	switch {
	case err != nil:
		return err
	case len(comparison.Crossed) > 0, comparison.Verdict == report.Regressed:
		return exitStatus(exitRegressed)
	case c.Bool("strict") && comparison.Verdict == report.Inconclusive:
		return exitStatus(exitInconclusive)
	}
	return nil
}

func thresholdsOf(c *cli.Context) ([]report.Threshold, error) {
	var thresholds []report.Threshold
	for _, text := range c.StringSlice("threshold") {
		parsed, err := report.ParseThresholds(text)
		if err != nil {
			return nil, usagef("--threshold: %v", err)
		}
		thresholds = append(thresholds, parsed...)
	}
	return thresholds, nil
}

// schemaOf is the schema that the run says it was recorded with, 0 where it does
// not say.
func schemaOf(state *run.State) int {
	root, _ := state.Span(state.RootID())
	var attrs struct {
		Schema float64 `json:"schema"`
	}
	if json.Unmarshal(root.Attrs, &attrs) != nil || attrs.Schema < 0 || attrs.Schema > 1e6 {
		return 0
	}
	return int(attrs.Schema)
}

// formatNamed reads --format, which is one of the names.
func formatNamed(c *cli.Context, names ...string) (string, error) {
	format := c.String("format")
	for _, name := range names {
		if format == name {
			return format, nil
		}
	}
	last := len(names) - 1
	return "", usagef("--format %s: say %s or %s", format, strings.Join(names[:last], ", "), names[last])
}
