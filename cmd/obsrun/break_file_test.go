package main

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/report"
)

// What is no file, and can stand where a run's file belongs.
var plantings = map[string]func(path string) error{
	"fifo": func(path string) error { return syscall.Mkfifo(path, 0o600) },
	"link to a fifo": func(path string) error {
		return errors.Join(syscall.Mkfifo(path+".fifo", 0o600), os.Symlink(path+".fifo", path))
	},
	"socket":    plantSocket,
	"device":    func(path string) error { return os.Symlink("/dev/zero", path) },
	"terminal":  func(path string) error { return os.Symlink("/dev/tty", path) },
	"directory": func(path string) error { return os.Mkdir(path, 0o700) },
	"loop":      func(path string) error { return os.Symlink(filepath.Base(path), path) },
}

// plantSocket leaves a socket that nobody listens to.
func plantSocket(path string) error {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	short, err := os.MkdirTemp("", "") // a socket's path is
	if err != nil {
		return err
	}
	defer os.Remove(short)
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: short + "/s"}); err != nil {
		return err
	}
	return os.Rename(short+"/s", path)
}

// runLines are a journal of a run that ended.
const runLines = `{"event":"span_start","span_id":"r","kind":"run","attrs":{"run_id":"ID","schema":1},"ts":1775606400,"source":"obsrun","recv_ms":0}
{"event":"span_start","span_id":"a","kind":"agent","ts":1775606401,"source":"socket","recv_ms":1000}
{"event":"span_end","span_id":"a","tokens":7,"ts":1775606403,"source":"socket","recv_ms":3000}
{"event":"span_end","span_id":"r","status":"ok","attrs":{"exit_code":0},"ts":1775606404,"source":"obsrun","recv_ms":4000}
`

// ended makes the directory of a run that ended, with its summary.
func ended(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o700))
	lines := strings.Replace(runLines, "ID", filepath.Base(dir), 1)
	require.NoError(t, os.WriteFile(run.JournalPath(dir), []byte(lines), 0o600))
	_, words, status := reported(t, dir)
	require.Zero(t, status, words)
	require.FileExists(t, run.SummaryPath(dir))
}

// Whatever is planted in the directory of a run, no command waits for it, or reads
// it as if it were the run's. Each says which it was, or does without.
func TestPlantedWhereRunsAreRead(t *testing.T) {
	t.Parallel()
	const bad, good = "a-20260408-0000aa", "a-20260408-0000bb"
	type outcome struct {
		args   []string
		status int
	}
	reading := func(journal bool) []outcome {
		of := map[bool]int{true: 0, false: 125}[journal]
		return []outcome{
			{[]string{"report", bad}, of},
			{[]string{"report", "--compare", good, bad}, of},
			{[]string{"export", "--format", "csv", bad}, of},
			{[]string{"list"}, 0},
		}
	}
	for name, plant := range plantings {
		for _, file := range []string{"telemetry.jsonl", "run_summary.json", "run.json", ".lock", "terminal.cast"} {
			if name != "fifo" && file != "telemetry.jsonl" && file != "run_summary.json" {
				continue // one of those that block is enough for the others
			}
			t.Run(file+" is a "+name, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				ended(t, filepath.Join(dir, "logs", good))
				at := filepath.Join(dir, "logs", bad)
				ended(t, at)
				require.NoError(t, os.RemoveAll(filepath.Join(at, file)))
				require.NoError(t, plant(filepath.Join(at, file)))
				cases := reading(file != "telemetry.jsonl")
				if file == "terminal.cast" {
					cases = []outcome{{[]string{"export", "--format", "asciicast", bad}, 125}, {[]string{"export", "--format", "html", bad}, 0}}
				}
				if file == "run_summary.json" {
					cases = append(cases[3:], cases[:3]...) // a report writes it anew
				}
				for _, c := range cases {
					stdout, stderr, status := bounded(t, dir, nil, c.args...)
					assert.Equal(t, c.status, status, "%v: %s", c.args, stderr)
					if c.status != 0 {
						assert.Regexp(t, `^obsrun: [^\n]*`+file+`[^\n]*\n$`, stderr, "%v", c.args)
						assert.Empty(t, stdout, "%v", c.args)
						continue
					}
					assert.NotContains(t, stderr, "left out", "%v", c.args)
					if c.args[0] == "list" {
						assert.Contains(t, stdout, bad, stderr)
						assert.Contains(t, stdout, good, stderr)
					}
				}
				if file == "run_summary.json" && name != "directory" {
					_, err := report.ReadSummary(run.SummaryPath(at))
					assert.NoError(t, err, "the summary is made again in its place")
				}
			})
		}
	}
}

// A run of which nothing is a file is no run, and its neighbours are.
func TestNothingIsAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	logs := filepath.Join(dir, "logs")
	ended(t, filepath.Join(logs, "good-20260408-000000"))
	for name, plant := range plantings {
		at := filepath.Join(logs, strings.ReplaceAll(name, " ", "-"))
		require.NoError(t, os.Mkdir(at, 0o700))
		for _, file := range []string{"telemetry.jsonl", "run_summary.json", "run.json", ".lock"} {
			require.NoError(t, plant(filepath.Join(at, file)))
		}
		require.NoError(t, plant(filepath.Join(logs, "plain-"+filepath.Base(at))))
		for _, args := range [][]string{{"report", at}, {"export", "--format", "csv", at}, {"report", "--compare", "good", at}} {
			_, stderr, status := bounded(t, dir, nil, args...)
			assert.Equal(t, 125, status, "%s: %v", name, args)
			assert.Regexp(t, `^obsrun: [^\n]+\n$`, stderr, "%s: %v", name, args)
		}
	}
	stdout, stderr, status := bounded(t, dir, nil, "list")
	assert.Zero(t, status, stderr)
	assert.Contains(t, stdout, "good-20260408-000000")
	assert.Empty(t, stderr)
	_, stderr, status = bounded(t, dir, nil, "prune", "--keep-last", "1")
	assert.Zero(t, status)
	assert.Contains(t, stderr, "removed 0 of 1 run below")
}

// The server of all runs goes on beside what is no file.
func TestPlantedWhereRunsAreServed(t *testing.T) {
	t.Parallel()
	logs := t.TempDir()
	ended(t, filepath.Join(logs, "good"))
	for _, file := range []string{"telemetry.jsonl", "run_summary.json", "run.json", ".lock", "terminal.cast", "tool_calls.jsonl"} {
		at := filepath.Join(logs, "bad-"+strings.Trim(file, "."))
		ended(t, at)
		require.NoError(t, os.RemoveAll(filepath.Join(at, file)))
		require.NoError(t, syscall.Mkfifo(filepath.Join(at, file), 0o600))
	}
	base, token := served(t, logs)
	get := func(path string) (int, string) {
		request, err := http.NewRequest(http.MethodGet, base+path, nil)
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+token)
		answer, err := (&http.Client{Timeout: longest}).Do(request)
		require.NoError(t, err, "%s hangs", path)
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return answer.StatusCode, string(body)
	}
	status, body := get("/runs")
	assert.Equal(t, 200, status)
	assert.Equal(t, 7, strings.Count(body, `"run_id"`), body)
	for path, want := range map[string]int{
		"/compare?a=good&b=bad-run_summary.json":      200,
		"/runs/bad-telemetry.jsonl/state":             404,
		"/runs/bad-telemetry.jsonl/telemetry.jsonl":   404,
		"/runs/bad-run_summary.json/state":            200,
		"/runs/bad-run_summary.json/run_summary.json": 404,
		"/runs/bad-run.json/state":                    200,
		"/runs/bad-lock/state":                        200,
		"/runs/bad-terminal.cast/terminal.cast":       404,
		"/runs/bad-tool_calls.jsonl/tool_calls.jsonl": 404,
		"/runs/good/state":                            200,
	} {
		status, body := get(path)
		assert.Equal(t, want, status, "%s: %s", path, body)
	}
}

// served starts obsrun serve and gives where it is.
func served(t *testing.T, dir string) (base, token string) {
	t.Helper()
	words, write, err := os.Pipe()
	require.NoError(t, err)
	cmd := osexec.Command("obsrun", "serve", "--no-open", dir)
	cmd.Dir, cmd.Stderr, cmd.Env = t.TempDir(), write, append(os.Environ(), detach+"=1")
	require.NoError(t, cmd.Start())
	write.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		words.Close()
	})
	require.NoError(t, words.SetReadDeadline(time.Now().Add(longest)))
	line, err := bufio.NewReader(words).ReadString('\n')
	require.NoError(t, err, "obsrun serve hangs")
	m := addressInText.FindStringSubmatch(line)
	require.NotNil(t, m, line)
	return m[1], m[2]
}

// A checkout can have anything for the file of defaults: nothing is started without
// it, and nothing waits.
func TestPlantedDefaults(t *testing.T) {
	t.Parallel()
	for name, plant := range plantings {
		dir := t.TempDir()
		require.NoError(t, plant(filepath.Join(dir, defaultsFile)))
		for _, args := range [][]string{{"--", "touch", "ran"}, {"list"}, {"doctor"}} {
			stdout, stderr, status := bounded(t, dir, nil, args...)
			assert.Equal(t, 125, status, "%s: %v", name, args)
			assert.Regexp(t, `^obsrun: read obsrun.yaml: [^\n]+\n$`, stderr, "%s: %v", name, args)
			assert.Empty(t, stdout)
		}
		assert.NoFileExists(t, filepath.Join(dir, "ran"))
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, defaultsFile), []byte(strings.Repeat("#", maxDefaults)+"\n"), 0o600))
	_, stderr, status := bounded(t, dir, nil, "--", "true")
	assert.Equal(t, 125, status)
	assert.Equal(t, "obsrun: read obsrun.yaml: it is larger than 1 MiB\n", stderr)
}
