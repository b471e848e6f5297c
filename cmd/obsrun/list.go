package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/report"
)

func listCommand(w world) *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "the runs under the log directory, the newest first", UsageText: "obsrun list [flags]",
		Flags: []cli.Flag{
			logDirFlag(),
			&cli.StringSliceFlag{Name: "status", Usage: "only runs of this `STATUS`: running, ok, error or interrupted; repeatable"},
			&cli.StringFlag{Name: "name", Usage: "only runs whose id begins with this `NAME`, or matches it as a pattern"},
			&cli.StringFlag{Name: "since", Usage: "only runs that started since `WHEN`: 36h, 7d, 2w, or a date such as 2026-04-08 (UTC)"},
			&cli.IntFlag{Name: "last", Usage: "only the newest `N`", DefaultText: "all"},
			formatFlag(),
		},
		Action: func(c *cli.Context) error {
			if err := applyFile(c); err != nil {
				return err
			}
			if c.NArg() > 0 {
				return usagef("list takes no operand; name the directory with --log-dir")
			}
			format, err := formatNamed(c, "text", "json")
			if err != nil {
				return err
			}
			choice, err := choiceOf(c, time.Now())
			if err != nil {
				return err
			}
			known := &catalog{logDir: c.String("log-dir"), once: true, skip: func(dir string, err error) {
				say(w.stderr, "%s is left out: %v", dir, err)
			}}
			rows, err := known.chosen(choice)
			switch {
			case err != nil:
				return err
			case format == "json":
				return report.WriteJSON(w.stdout, rows)
			case len(rows) == 0 && choice.any():
				say(w.stderr, "there is no such run below %s", c.String("log-dir"))
				return nil
			case len(rows) == 0:
				say(w.stderr, "there is no run below %s yet", c.String("log-dir"))
				return nil
			}
			return report.ListText(w.stdout, rows, textOptions(w.stdout))
		},
	}
}

// choice is which runs of a log directory are meant.
type choice struct {
	statuses []string
	name     string
	since    time.Time
	last     int // 0: all
}

// any tells whether it leaves anything out.
func (h choice) any() bool {
	return len(h.statuses) > 0 || h.name != "" || !h.since.IsZero() || h.last > 0
}

// found tells whether the run is meant by what its directory tells.
func (h choice) found(r run.Found) bool {
	if h.name != "" && !strings.HasPrefix(r.RunID, h.name) {
		if ok, err := path.Match(h.name, r.RunID); err != nil || !ok {
			return false
		}
	}
	return h.since.IsZero() || !r.Started.Before(h.since)
}

func choiceOf(c *cli.Context, now time.Time) (choice, error) {
	h := choice{name: c.String("name"), last: c.Int("last")}
	if c.IsSet("last") && h.last <= 0 {
		return h, usagef("--last %d: say how many, from 1 on", h.last)
	}
	if _, err := path.Match(h.name, ""); err != nil {
		return h, usagef("--name %s is no pattern", h.name)
	}
	statuses := []string{run.StatusRunning, run.StatusOK, run.StatusError, run.StatusInterrupted}
	for _, status := range listOf(c, "status") {
		if !slices.Contains(statuses, status) {
			return h, usagef("--status %s: say %s", status, strings.Join(statuses, ", "))
		}
		h.statuses = append(h.statuses, status)
	}
	if text := c.String("since"); text != "" {
		since, err := momentOf(text, now)
		if err != nil {
			return h, usagef("--since %v", err)
		}
		h.since = since
	}
	return h, nil
}

// momentOf reads an age, or a date in UTC.
func momentOf(text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04", time.RFC3339} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	age, err := ageOf(text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w, or a date such as 2026-04-08", err)
	}
	return now.Add(-age), nil
}

// ageOf reads a duration; of days and weeks, too: 7d, 2w.
func ageOf(text string) (time.Duration, error) {
	units := map[byte]time.Duration{'d': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	if n := len(text); n > 1 && units[text[n-1]] != 0 {
		var count uint16
		if _, err := fmt.Sscanf(text[:n-1]+" ", "%d ", &count); err == nil && fmt.Sprint(count) == text[:n-1] {
			return time.Duration(count) * units[text[n-1]], nil
		}
	}
	if age, err := time.ParseDuration(text); err == nil && age >= 0 {
		return age, nil
	}
	return 0, fmt.Errorf("%s: say an age such as 36h, 7d or 2w", text)
}
