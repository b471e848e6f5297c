package run

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/obsrun/obsrun/instrument/journal"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// Found is a run directory below a log directory.
type Found struct {
	Dir     string
	RunID   string
	Started time.Time
	Live    bool
}

// List gives the runs below logDir, the newest first. A directory that is no run
// is left out.
func List(logDir string) ([]Found, error) {
	entries, err := os.ReadDir(logDir)
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	var runs []Found
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() })
	all := make([]Found, len(entries))
	var next atomic.Int64
	var readers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(entries)) {
		readers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(entries)); i = next.Add(1) - 1 {
				if dir := filepath.Join(logDir, entries[i].Name()); IsRun(dir) {
					all[i] = Found{Dir: dir, RunID: entries[i].Name(), Started: started(dir), Live: IsLive(dir)}
				}
			}
		})
	}
	readers.Wait()
	for _, found := range all {
		if found.Dir != "" {
			runs = append(runs, found)
		}
	}
	slices.SortFunc(runs, func(a, b Found) int {
		return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(b.RunID, a.RunID))
	})
	return runs, nil
}

// IsRun tells whether the directory is that of a run: it has a journal or a
// summary.
func IsRun(dir string) bool {
	for _, path := range []string{JournalPath(dir), SummaryPath(dir)} {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}

// started is when the run began: as run.json says, else its first event, else
// its directory.
func started(dir string) time.Time {
	if m, err := ReadManifest(dir); err == nil && !m.Started.IsZero() {
		return m.Started
	}
	if file, err := Open(JournalPath(dir)); err == nil {
		defer file.Close()
		if line, err := journal.NewReader(file).Next(); err == nil {
			if e, err := telemetry.Decode(line); err == nil {
				if at, ok := e.Micros(); ok {
					return time.UnixMicro(at)
				}
			}
		}
	}
	if info, err := os.Stat(dir); err == nil {
		return info.ModTime()
	}
	return time.Time{}
}

// Find gives the directory of the run that ref names: a run directory, a file in
// one, a run id or an unambiguous prefix of one below logDir, latest or latest~N.
func Find(logDir, ref string) (string, error) {
	if back, ok := strings.CutPrefix(ref, latestName); ok && (back == "" || back[0] == '~') {
		return findLatest(logDir, ref, back)
	}
	if info, err := os.Stat(ref); err == nil {
		switch {
		case info.IsDir() && IsRun(ref):
			return ref, nil
		case !info.IsDir() && (filepath.Base(ref) == "telemetry.jsonl" || filepath.Base(ref) == "run_summary.json"):
			return filepath.Dir(ref), nil
		case !info.IsDir() && strings.ContainsRune(ref, filepath.Separator):
			return "", fmt.Errorf("find run: %s is neither a telemetry.jsonl nor a run_summary.json", ref)
		} // anything else of that name can stand beside a run's id
	}
	if strings.ContainsRune(ref, filepath.Separator) {
		if _, err := os.Stat(ref); errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("find run: there is no %s; `obsrun list` shows the runs there are", ref)
		}
		return "", fmt.Errorf("find run: %s is no run: it has no telemetry.jsonl", ref)
	}
	runs, err := List(logDir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("find run: no run %q: there is no log directory %s; name it with --log-dir", ref, logDir)
	} else if err != nil {
		return "", fmt.Errorf("find run: %w", err)
	}
	var matches []Found
	for _, r := range runs {
		if r.RunID == ref {
			return r.Dir, nil
		}
		if strings.HasPrefix(r.RunID, ref) {
			matches = append(matches, r)
		}
	}
	switch len(matches) {
	case 1:
		return matches[0].Dir, nil
	case 0:
		if info, err := os.Stat(ref); err == nil && info.IsDir() {
			return "", fmt.Errorf("find run: %s is no run, it has no telemetry.jsonl, and no run below %s is called so", ref, logDir)
		} else if err == nil {
			return "", fmt.Errorf("find run: %s is neither a telemetry.jsonl nor a run_summary.json, and no run below %s is called so", ref, logDir)
		}
		return "", fmt.Errorf("find run: no run %q below %s; `obsrun list` shows those there are", ref, logDir)
	}
	return "", fmt.Errorf("find run: %q is the beginning of %d runs, of %s and %s for two; give more of it",
		ref, len(matches), matches[0].RunID, matches[1].RunID)
}

func findLatest(logDir, ref, back string) (string, error) {
	n := 0
	if back != "" {
		var err error
		if n, err = strconv.Atoi(back[1:]); err != nil || n < 0 {
			return "", fmt.Errorf("find run: %q is no number of runs to go back, as in latest~1", ref)
		}
	}
	// By start time, not by the link: that stays where it is while a run is live.
	runs, err := List(logDir)
	if err != nil || len(runs) == 0 {
		return "", fmt.Errorf("find run: there is no run below %s yet; name another directory with --log-dir", logDir)
	}
	if n >= len(runs) {
		return "", fmt.Errorf("find run: %s goes back too far: the oldest run below %s is latest~%d", ref, logDir, len(runs)-1)
	}
	return runs[n].Dir, nil
}
