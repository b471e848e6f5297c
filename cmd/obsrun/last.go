package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/report"
)

// lastOf gives what the dashboard of the run in dir, whose state can be looked at
// with view, shows of the one before it: nil where there is none to compare with.
// The runs beside it are looked through once, when somebody first asks.
func lastOf(dir string, view func(func(*run.State))) func() (any, error) {
	before := sync.OnceValues(func() (*report.Summary, error) {
		var started time.Time
		view(func(state *run.State) { started = time.UnixMilli(state.Info().StartMS) })
		return runBefore(filepath.Dir(dir), filepath.Base(dir), started)
	})
	return func() (any, error) {
		summary, err := before()
		if summary == nil || err != nil {
			return nil, err
		}
		var last report.Last
		view(func(state *run.State) { last = report.LastOf(*summary, state) })
		return last, nil
	}
}

// runBefore finds the run that is compared with by itself: the newest of the same
// name that began before then, came to its own end, and had agents.
func runBefore(logDir, runID string, then time.Time) (*report.Summary, error) {
	found, err := run.List(logDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	for _, r := range found {
		if r.Live || r.RunID == runID || run.NameOf(r.RunID) != run.NameOf(runID) || !r.Started.Before(then) {
			continue
		}
		row, err := rowOf(r)
		if err != nil || row.Agents == 0 || row.Status == run.StatusInterrupted {
			continue
		}
		if summary, err := summaryFound(r); err == nil {
			return &summary, nil
		}
	}
	return nil, nil
}
