package main

import (
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/report"
)

func reportCommand(w world) *cli.Command {
	return &cli.Command{
		Name: "report", Usage: "what a run did, or what changed from run to run",
		UsageText: "obsrun report [flags] [RUN]\nobsrun report --compare [flags] A B",
		Description: "RUN is a run directory, a telemetry.jsonl or run_summary.json in one, a run id or the\n" +
			"beginning of one, latest, or latest~N. Default: latest.",
		Flags: []cli.Flag{
			logDirFlag(),
			&cli.BoolFlag{Name: "compare", Usage: "compare run A to run B"},
			&cli.StringSliceFlag{Name: "threshold", Usage: "exit 3 when the comparison crosses this `LIMIT`, as in 'total_wall_ms>10%,errors>0'; repeatable"},
			formatFlag(),
		},
		Action: func(c *cli.Context) error {
			if err := applyFile(c); err != nil {
				return err
			}
			format, err := formatOf(c)
			if err != nil {
				return err
			}
			if c.Bool("compare") {
				return compare(c, w, format)
			}
			if len(c.StringSlice("threshold")) > 0 {
				return usagef("--threshold is for --compare")
			}
			ref := "latest"
			switch c.NArg() {
			case 0:
			case 1:
				ref = c.Args().First()
			default:
				return usagef("report takes one RUN; to compare two, write: obsrun report --compare %s", strings.Join(c.Args().Slice(), " "))
			}
			summary, err := summaryOf(c.String("log-dir"), ref, w)
			if err != nil {
				return err
			}
			if format == "json" {
				return report.WriteJSON(w.stdout, summary)
			}
			return report.Text(w.stdout, summary, textOptions(w.stdout))
		},
	}
}

func compare(c *cli.Context, w world, format string) error {
	if c.NArg() != 2 {
		return usagef("--compare takes two runs: obsrun report --compare A B")
	}
	var thresholds []report.Threshold
	for _, text := range c.StringSlice("threshold") {
		parsed, err := report.ParseThresholds(text)
		if err != nil {
			return usagef("--threshold: %v", err)
		}
		thresholds = append(thresholds, parsed...)
	}
	var sides [2]report.Summary
	for i := range sides {
		var err error
		if sides[i], err = summaryOf(c.String("log-dir"), c.Args().Get(i), w); err != nil {
			return err
		}
	}
	comparison := report.Compare(sides[0], sides[1], thresholds...)
	var err error
	if format == "json" {
		err = report.WriteJSON(w.stdout, comparison)
	} else {
		err = report.ComparisonText(w.stdout, comparison, textOptions(w.stdout))
	}
	if err == nil && len(comparison.Crossed) > 0 {
		return exitStatus(3)
	}
	return err
}

// summaryOf sums a run up from its journal, which is right whatever became of
// its obsrun; the summary that was written serves where the journal is gone. The
// missing summary of a killed run is written.
func summaryOf(logDir, ref string, w world) (report.Summary, error) {
	dir, err := run.Find(logDir, ref)
	if err != nil {
		return report.Summary{}, err
	}
	if _, err := os.Stat(run.JournalPath(dir)); os.IsNotExist(err) {
		return report.ReadSummary(run.SummaryPath(dir))
	}
	loaded, err := run.Load(dir)
	if err != nil {
		return report.Summary{}, err
	}
	if loaded.Torn > 0 {
		say(w.stderr, "%s ends in half a line of %d bytes, which is left out", run.JournalPath(dir), loaded.Torn)
	}
	if loaded.Unreadable > 0 {
		say(w.stderr, "%s has %d lines that are no events, which are left out", run.JournalPath(dir), loaded.Unreadable)
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

func formatFlag() cli.Flag {
	return &cli.StringFlag{Name: "format", Value: "text", Usage: "text or json"}
}

func formatOf(c *cli.Context) (string, error) {
	format := c.String("format")
	if format != "text" && format != "json" {
		return "", usagef("--format %s: say text or json", format)
	}
	return format, nil
}

// textOptions are what the reader of f can make use of.
func textOptions(f *os.File) report.TextOptions {
	if !isTerminal(f) {
		return report.TextOptions{}
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		width = 80
	}
	return report.TextOptions{Width: width, Color: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}
