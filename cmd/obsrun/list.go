package main

import (
	"errors"
	"io/fs"

	"github.com/urfave/cli/v2"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/report"
)

func listCommand(w world) *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "the runs under the log directory", UsageText: "obsrun list [flags]",
		Flags: []cli.Flag{logDirFlag(), formatFlag()},
		Action: func(c *cli.Context) error {
			if err := applyFile(c); err != nil {
				return err
			}
			if c.NArg() > 0 {
				return usagef("list takes no operand; name the directory with --log-dir")
			}
			format, err := formatOf(c)
			if err != nil {
				return err
			}
			rows, err := rowsOf(c.String("log-dir"), w)
			switch {
			case err != nil:
				return err
			case format == "json":
				return report.WriteJSON(w.stdout, rows)
			case len(rows) == 0:
				say(w.stderr, "there is no run below %s yet", c.String("log-dir"))
				return nil
			}
			return report.ListText(w.stdout, rows, textOptions(w.stdout))
		},
	}
}

// rowsOf gives a row for each run, the newest first: from its summary where it
// has one, else from its journal.
func rowsOf(logDir string, w world) ([]report.Row, error) {
	rows := []report.Row{}
	found, err := run.List(logDir)
	if errors.Is(err, fs.ErrNotExist) {
		return rows, nil
	} else if err != nil {
		return nil, err
	}
	for _, r := range found {
		if summary, err := report.ReadSummary(run.SummaryPath(r.Dir)); err == nil && !r.Live {
			rows = append(rows, report.RowOf(summary, r.Dir))
			continue
		}
		loaded, err := run.Load(r.Dir)
		if err != nil {
			say(w.stderr, "%s is left out: %v", r.Dir, err)
			continue
		}
		row := report.RowOf(report.Summarize(loaded.State), r.Dir)
		if row.RunID == "" {
			row.RunID = r.RunID
		}
		rows = append(rows, row)
	}
	return rows, nil
}
