package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/report"
	"github.com/obsrun/obsrun/serve"
	"github.com/obsrun/obsrun/ui"
)

// catalog gives the rows of the runs below a log directory. What it read of a run
// it keeps for as long as the run's files are the same: a list is asked for again
// and again.
type catalog struct {
	logDir string
	skip   func(dir string, err error) // a run that is left out; told each time
	once   bool                        // it is asked a single time, so nothing is looked at that only says whether a run changed

	mu   sync.Mutex
	rows map[string]catalogued
}

type catalogued struct {
	stamp stamp
	row   report.Row
	read  time.Time     // when it was
	took  time.Duration // to read it
}

// rest is how many times as long as it took to read a run that goes on it is not
// read again: that is to read its whole journal.
const rest = 20

// holds tells whether the entry can stand for the run.
func (c *catalogued) holds(r run.Found, now stamp) bool {
	return c.stamp == now || r.Live && c.stamp.live && time.Since(c.read) < rest*c.took
}

// stamp is what a run's row depends on.
type stamp struct {
	live                 bool
	summary, journal     time.Time
	summarySize, written int64
}

func stampOf(found run.Found) stamp {
	s := stamp{live: found.Live}
	if info, err := os.Stat(run.SummaryPath(found.Dir)); err == nil {
		s.summary, s.summarySize = info.ModTime(), info.Size()
	}
	if info, err := os.Stat(run.JournalPath(found.Dir)); err == nil {
		s.journal, s.written = info.ModTime(), info.Size()
	}
	return s
}

// list gives a row for each run, the newest first: from its summary where it has
// one, else from its journal.
func (c *catalog) list() ([]report.Row, error) { return c.chosen(choice{}) }

// chosen is list, of the runs that are meant.
func (c *catalog) chosen(h choice) ([]report.Row, error) {
	found, err := run.List(c.logDir)
	if errors.Is(err, fs.ErrNotExist) {
		return []report.Row{}, nil
	} else if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(r run.Found) bool { return !h.found(r) })
	if h.last > 0 && len(h.statuses) == 0 {
		found = found[:min(h.last, len(found))] // no more need be read
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	entries, faults := c.read(found)
	c.rows = make(map[string]catalogued, len(found))
	rows := []report.Row{}
	for i, r := range found {
		if faults[i] != nil {
			c.skip(r.Dir, faults[i])
			continue
		}
		c.rows[r.Dir] = entries[i]
		if row := entries[i].row; (h.last == 0 || len(rows) < h.last) && (len(h.statuses) == 0 || slices.Contains(h.statuses, row.Status)) {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// read gives the entry of each run, or why there is none. Several are read at once.
func (c *catalog) read(found []run.Found) ([]catalogued, []error) {
	entries, faults := make([]catalogued, len(found)), make([]error, len(found))
	var next atomic.Int64
	var readers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(found)) {
		readers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(found)); i = next.Add(1) - 1 {
				r := found[i]
				var now stamp
				if !c.once {
					now = stampOf(r)
				}
				began := time.Now()
				if entry, ok := c.rows[r.Dir]; ok && entry.holds(r, now) {
					entries[i] = entry
					continue
				}
				row, err := rowOf(r)
				entries[i], faults[i] = catalogued{now, row, began, time.Since(began)}, err
			}
		})
	}
	readers.Wait()
	return entries, faults
}

func rowOf(r run.Found) (report.Row, error) {
	var row report.Row
	err := fs.ErrNotExist
	if !r.Live {
		row, err = report.ReadRow(run.SummaryPath(r.Dir))
	}
	if err != nil {
		summary, err := summaryFound(r)
		if err != nil {
			return report.Row{}, err
		}
		row = report.RowOf(summary, r.Dir)
	}
	if row.RunID == "" {
		row.RunID = r.RunID
	}
	return row, nil
}

// summaryFound is the summary as it was written, else made from the journal.
func summaryFound(r run.Found) (report.Summary, error) {
	if summary, err := report.ReadSummary(run.SummaryPath(r.Dir)); err == nil && !r.Live {
		return summary, nil
	}
	loaded, err := run.Load(r.Dir)
	if err != nil {
		return report.Summary{}, err
	}
	return report.Summarize(loaded.State), nil
}

// library is the runs below a log directory as the server shows them.
func library(ctx context.Context, logDir string) *serve.Library {
	c := &catalog{logDir: logDir, skip: func(string, error) {}}
	return &serve.Library{
		Runs: func() (any, error) { return c.list() },
		Compare: func(a, b string) (any, error) {
			var sides [2]report.Summary
			for i, id := range []string{a, b} {
				found, err := runIn(logDir, id)
				if err == nil {
					sides[i], err = summaryFound(found)
				}
				if err != nil {
					return nil, err
				}
			}
			return report.Compare(sides[0], sides[1]), nil
		},
		Last: func(dir string, feed *run.Feed) func() (any, error) { return lastOf(dir, feed.View) },
		Open: func(id string) (string, *run.Feed, func(), error) {
			found, err := runIn(logDir, id)
			if err != nil {
				return "", nil, nil, err
			}
			feed, unfollow, err := run.Follow(ctx, found.Dir)
			return found.Dir, feed, unfollow, err
		},
		RunPage: ui.Page,
	}
}

// runIn finds the run whose directory below logDir has this name, and no other:
// the name comes from a URL.
func runIn(logDir, name string) (run.Found, error) {
	dir := filepath.Join(logDir, name)
	info, err := os.Lstat(dir)
	if name != filepath.Base(name) || name == "." || name == ".." || err != nil || !info.IsDir() || !run.IsRun(dir) {
		return run.Found{}, fmt.Errorf("there is no run %q below %s", name, logDir)
	}
	return run.Found{Dir: dir, RunID: name, Live: run.IsLive(dir)}, nil
}
