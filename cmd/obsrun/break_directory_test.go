package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/report"
)

// A log directory that can not be is refused before the child starts.
func TestLogDirectoryRefused(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]func(path string) error{
		"file":          func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"below a file":  func(p string) error { return os.WriteFile(filepath.Dir(p), nil, 0o600) },
		"loop":          func(p string) error { return os.Symlink(filepath.Base(p), p) },
		"dangling link": func(p string) error { return os.Symlink("nowhere", p) },
		"fifo":          func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"long name":     nil,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			logs := filepath.Join(dir, "logs")
			switch name {
			case "below a file":
				logs = filepath.Join(dir, "file", "logs")
			case "long name":
				logs = filepath.Join(dir, strings.Repeat("n", 300))
			}
			if plant != nil {
				require.NoError(t, plant(logs))
			}
			stdout, stderr, status := bounded(t, dir, nil, "--log-dir", logs, "--", "touch", "ran")
			assert.Equal(t, 125, status)
			assert.Empty(t, stdout)
			assert.Regexp(t, `^obsrun: make log directory: [^\n]*; choose another with --log-dir\n$`, stderr)
			assert.Contains(t, stderr, map[bool]string{true: filepath.Dir(logs), false: logs}[name == "below a file"])
			assert.NoFileExists(t, filepath.Join(dir, "ran"))
		})
	}
}

// victim is a directory of somebody else, and a check that it is as it was.
func victim(t *testing.T) (dir string, untouched func()) {
	t.Helper()
	dir = t.TempDir()
	precious := filepath.Join(dir, "precious")
	require.NoError(t, os.WriteFile(precious, []byte("as it was"), 0o644))
	return dir, func() {
		t.Helper()
		b, err := os.ReadFile(precious)
		require.NoError(t, err)
		assert.Equal(t, "as it was", string(b))
		info, err := os.Stat(precious)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o644), info.Mode())
	}
}

// Whatever somebody has put where obsrun keeps its own names: the run is recorded,
// nobody's files are written to, and nothing waits for anybody.
func TestPlantedInLogDirectory(t *testing.T) {
	t.Parallel()
	type planted struct {
		plant func(logs, other string) error
	}
	link := func(name, to string) planted {
		return planted{plant: func(logs, other string) error {
			return os.Symlink(strings.ReplaceAll(to, "OTHER", other), filepath.Join(logs, name))
		}}
	}
	within := func(make func(path string) error, names ...string) planted {
		return planted{plant: func(logs, other string) error {
			for _, name := range names {
				if err := make(filepath.Join(other, name)); err != nil {
					return err
				}
			}
			return os.Symlink(other, filepath.Join(logs, "latest"))
		}}
	}
	fifo := func(path string) error { return syscall.Mkfifo(path, 0o600) }
	for name, c := range map[string]planted{
		"latest leads to the root":         link("latest", "/"),
		"latest leads elsewhere":           link("latest", "OTHER"),
		"latest leads to a file":           link("latest", "OTHER/precious"),
		"latest leads to itself":           link("latest", "latest"),
		"latest leads nowhere":             link("latest", "gone"),
		"latest leads to a device":         link("latest", "/dev/zero"),
		"latest leads to waiting files":    within(fifo, ".lock", "tool_calls.jsonl", "run_summary.json", "telemetry.jsonl", "run.json"),
		"latest leads to sockets":          within(plantSocket, ".lock", "tool_calls.jsonl"),
		"latest leads to directories":      within(func(p string) error { return os.Mkdir(p, 0o700) }, ".lock", "tool_calls.jsonl"),
		"latest is a directory":            {plant: func(logs, _ string) error { return os.Mkdir(filepath.Join(logs, "latest"), 0o700) }},
		"latest is a file":                 {plant: func(logs, _ string) error { return os.WriteFile(filepath.Join(logs, "latest"), nil, 0o600) }},
		"latest is a fifo":                 {plant: func(logs, _ string) error { return fifo(filepath.Join(logs, "latest")) }},
		"latest is a socket":               {plant: func(logs, _ string) error { return plantSocket(filepath.Join(logs, "latest")) }},
		"lock leads to a file":             link(".lock", "OTHER/precious"),
		"lock leads nowhere":               link(".lock", "OTHER/made"),
		"lock is a directory":              {plant: func(logs, _ string) error { return os.Mkdir(filepath.Join(logs, ".lock"), 0o700) }},
		"lock is a fifo":                   {plant: func(logs, _ string) error { return fifo(filepath.Join(logs, ".lock")) }},
		"a run that looks as if it exists": link("child-20200101-000000", "OTHER"),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			logs := filepath.Join(dir, "logs")
			require.NoError(t, os.Mkdir(logs, 0o755))
			other, untouched := victim(t)
			require.NoError(t, c.plant(logs, other))
			stdout, stderr, status := bounded(t, dir, nil, "--name", "child", "--", "sh", "-c", "echo $OBSRUN_RUN_DIR; exit 5")
			assert.Equal(t, 5, status, stderr)
			untouched()
			assert.NoFileExists(t, filepath.Join(other, "made"))
			runDir := strings.TrimSpace(stdout)
			assert.Equal(t, logs, filepath.Dir(runDir))
			summary, err := report.ReadSummary(run.SummaryPath(runDir))
			require.NoError(t, err)
			assert.Equal(t, "error", summary.Status)
			if target, err := os.Readlink(filepath.Join(logs, "latest")); err != nil || target != filepath.Base(runDir) {
				assert.Contains(t, stderr, "latest is left alone", "%v", err)
			}
			// And what is there now is read without harm.
			_, stderr, status = bounded(t, dir, nil, "list")
			assert.Zero(t, status, stderr)
			_, stderr, status = bounded(t, dir, nil, "report", filepath.Base(runDir))
			assert.Zero(t, status, stderr)
		})
	}
}

// What a child plants in its own run directory leads nothing of obsrun's astray.
func TestPlantedInRunDirectory(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"run_summary.json", "rejected.jsonl", "telemetry.jsonl", "run.json"} {
		t.Run(name, func(t *testing.T) {
			other, untouched := victim(t)
			h := hold(t, t.TempDir(), "exit 5").up()
			path := filepath.Join(h.runDir, name)
			_ = os.Rename(path, path+".own")
			require.NoError(t, os.Symlink(filepath.Join(other, "precious"), path))
			require.True(t, tell(h.socket, "no event\n", `{"event":"span_start","span_id":"a","kind":"agent"}`+"\n"))
			h.release()
			assert.Equal(t, 5, h.wait())
			untouched()
			journal := run.JournalPath(h.runDir)
			if name == "telemetry.jsonl" {
				journal += ".own"
			}
			lines, torn := journalLines(t, journal)
			assert.Zero(t, torn)
			assert.Contains(t, strings.Join(lines, ""), `"span_id":"a"`)
			assert.Contains(t, lines[len(lines)-1], `"exit_code":5`)
			summary, err := report.ReadSummary(run.SummaryPath(h.runDir))
			require.NoError(t, err)
			assert.EqualValues(t, 1, summary.Totals.AgentsSpawned)
			info, err := os.Lstat(run.SummaryPath(h.runDir))
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o600), info.Mode())
			if name == "rejected.jsonl" {
				assert.Contains(t, h.words.String(), "open rejected.jsonl: ")
			}
		})
	}
}

// A directory that is moved or removed while the run goes on: what was opened goes on
// to be written, what can not be written is told, and the child's status counts.
func TestRunDirectoryLeaves(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(h *heldRun, away string) error{
		"moved":          func(h *heldRun, away string) error { return os.Rename(h.runDir, away) },
		"all are moved":  func(h *heldRun, away string) error { return os.Rename(filepath.Dir(h.runDir), away) },
		"removed":        func(h *heldRun, _ string) error { return os.RemoveAll(h.runDir) },
		"all is removed": func(h *heldRun, _ string) error { return os.RemoveAll(h.dir) },
		"no room for the summary": func(h *heldRun, _ string) error {
			return os.MkdirAll(filepath.Join(run.SummaryPath(h.runDir), "below"), 0o700)
		},
		"replaced": func(h *heldRun, away string) error {
			if err := os.Rename(h.runDir, away); err != nil {
				return err
			}
			return os.WriteFile(h.runDir, nil, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := hold(t, t.TempDir(), "echo out; exit 5").up()
			away := filepath.Join(t.TempDir(), "away")
			require.NoError(t, leave(h, away))
			require.True(t, tell(h.socket, `{"event":"span_start","span_id":"a","kind":"agent"}`+"\n"), "the recording goes on")
			h.release()
			out, err := h.out.ReadString('\n')
			require.NoError(t, err)
			assert.Equal(t, "out\n", out)
			assert.Equal(t, 5, h.wait())
			assert.Regexp(t, `(?m)^obsrun: write \S+run_summary.json: .*$`, h.words.String())
			assert.NotContains(t, h.words.String(), "goroutine")
			if _, err := os.Stat(away); err != nil {
				return
			}
			if name == "all are moved" {
				away = filepath.Join(away, filepath.Base(h.runDir))
			}
			summary, words, status := reported(t, away)
			require.Zero(t, status, words)
			assert.Equal(t, "error", summary.Status)
			assert.EqualValues(t, 1, summary.Totals.AgentsSpawned)
			assert.FileExists(t, run.SummaryPath(away))
		})
	}
}

// Many runs that start at once in one log directory keep apart, and latest is one of them.
func TestManyRunsAtOnce(t *testing.T) {
	t.Parallel()
	const many = 8
	dir := t.TempDir()
	var wg sync.WaitGroup
	dirs := make([]string, many)
	for i := range many {
		wg.Go(func() {
			stdout, stderr, status := bounded(t, dir, nil, "--name", fmt.Sprint("r", i), "--", "sh", "-c", "echo $OBSRUN_RUN_DIR; exit 5")
			assert.Equal(t, 5, status, stderr)
			dirs[i] = strings.TrimSpace(stdout)
		})
	}
	wg.Wait()
	for i, runDir := range dirs {
		summary, err := report.ReadSummary(run.SummaryPath(runDir))
		require.NoError(t, err)
		assert.Equal(t, filepath.Base(runDir), summary.RunID)
		assert.True(t, strings.HasPrefix(summary.RunID, fmt.Sprint("r", i)))
	}
	latest, err := filepath.EvalSymlinks(filepath.Join(dir, "logs", "latest"))
	require.NoError(t, err)
	assert.Contains(t, dirs, latest)
	left, err := filepath.Glob(filepath.Join(dir, "logs", ".latest-*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}
