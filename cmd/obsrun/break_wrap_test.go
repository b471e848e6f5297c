package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	osexec "os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/report"
)

// comes waits for a file and gives the summary in it.
func (h *heldRun) comes(status string) report.Summary {
	h.t.Helper()
	for end := time.Now().Add(longest); ; time.Sleep(5 * time.Millisecond) {
		summary, err := report.ReadSummary(run.SummaryPath(h.runDir))
		if err == nil && summary.Status == status {
			return summary
		}
		require.True(h.t, time.Now().Before(end), "no summary that says %s: %v", status, err)
	}
}

// A CI job that is cancelled: INT, TERM some seconds later, then KILL for all that is
// left. Each leaves a run that can be read, as does every stage at which it ends.
func TestCancelledJob(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script string // of the child
		ends   int    // by which signal
		status int
	}{
		"heeds INT":       {"", 1, 130},
		"heeds TERM":      {"trap '' INT; ", 2, 143},
		"cleans up":       {"trap 'exit 7' INT TERM; ", 1, 7},
		"heeds only KILL": {"trap '' INT TERM; ", 3, -9},
	} {
		t.Run(name, func(t *testing.T) {
			h := hold(t, t.TempDir(), c.script+"echo set; while :; do sleep 0.02; done").up()
			require.True(t, tell(h.socket, `{"event":"span_start","span_id":"a","kind":"agent","tokens":7}`+"\n"))
			h.release()
			line, err := h.out.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "set\n", line)
			signals := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL}[:c.ends]
			for i, sig := range signals {
				require.NoError(t, h.cmd.Process.Signal(sig))
				if i < len(signals)-1 {
					summary := h.comes("interrupted") // whatever the child makes of it
					assert.Nil(t, summary.ExitCode)
					assert.Equal(t, "running", summary.Agents[0].Status)
				}
			}
			assert.Equal(t, c.status, h.wait(), h.words.String())
			h.gone()
			summary, words, status := reported(t, h.runDir)
			require.Zero(t, status, words)
			assert.Equal(t, "interrupted", summary.Status)
			assert.Equal(t, "lost", summary.Agents[0].Status)
			assert.EqualValues(t, 7, summary.Totals.TotalTokens)
			checkWhole(t, h.runDir)
		})
	}
}

// checkWhole checks that a journal ends with a whole line.
func checkWhole(t *testing.T, runDir string) {
	t.Helper()
	_, torn := journalLines(t, run.JournalPath(runDir))
	assert.Zero(t, torn)
}

// While obsrun is stopped its clients wait, and lose nothing by it.
func TestStoppedWhileTold(t *testing.T) {
	t.Parallel()
	h := hold(t, t.TempDir(), "exit 5").up()
	const clients = 5
	kept := make(chan bool, clients)
	require.NoError(t, h.cmd.Process.Signal(syscall.SIGSTOP))
	for c := range clients {
		go func() {
			var lines []string
			for i := range 100 {
				lines = append(lines, updateLine(fmt.Sprint("c", c), i+1, 4000))
			}
			kept <- tell(h.socket, lines...)
		}()
	}
	time.Sleep(200 * time.Millisecond)
	require.Empty(t, kept)
	require.NoError(t, h.cmd.Process.Signal(syscall.SIGCONT))
	for range clients {
		require.True(t, <-kept)
	}
	h.release()
	require.Equal(t, 5, h.wait())
	lines, _ := journalLines(t, run.JournalPath(h.runDir))
	text := strings.Join(lines, "")
	for c := range clients {
		for i := range 100 {
			require.Equal(t, 1, strings.Count(text, fmt.Sprintf(`"span_id":"c%d","tokens":%d,`, c, i+1)))
		}
	}
	assert.Zero(t, h.comes("error").Totals.Stalls)
}

// A bare surrounding, as some CI systems have: the child's bytes and status come
// through, and the run is recorded.
func TestBareSurroundings(t *testing.T) {
	t.Parallel()
	path := "PATH=" + os.Getenv("PATH")
	long := filepath.Join(t.TempDir(), strings.Repeat("long/", 30))
	require.NoError(t, os.MkdirAll(long, 0o700))
	for name, env := range map[string][]string{
		"nothing":         {},
		"only PATH":       {path},
		"no home":         {path, "HOME=/nonexistent", "TERM=dumb", "CI=true"},
		"no TMPDIR":       {path, "TMPDIR=/nonexistent"},
		"long TMPDIR":     {path, "TMPDIR=" + long},
		"relative TMPDIR": {path, "TMPDIR=."},
		"file TMPDIR":     {path, "TMPDIR=/dev/null"},
		"empty variables": {path, "HOME=", "TERM=", "TMPDIR=", "CI=", "DISPLAY=", "OBSRUN_SOCKET=", "TRACEPARENT="},
		"no variables":    {path, "NOVALUE", "=x", "A=\xff\xfe"},
		"display in CI":   {path, "CI=true", "DISPLAY=:0", "BROWSER=touch opened"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			stdout, stderr, status := bounded(t, dir, env, "--", "/bin/sh", "-c", `test -S "$OBSRUN_SOCKET" && echo out; exit 5`)
			assert.Equal(t, 5, status, stderr)
			assert.Equal(t, "out\n", stdout)
			assert.Empty(t, stderr)
			summary, err := report.ReadSummary(run.SummaryPath(filepath.Join(dir, "logs", "latest")))
			require.NoError(t, err)
			assert.Equal(t, "error", summary.Status)
			assert.NoFileExists(t, filepath.Join(dir, "opened"))
		})
	}
}

// A terminal that goes away ends the run like a hangup, with a summary.
func TestTerminalGone(t *testing.T) {
	t.Parallel()
	dir, master, cmd := inTerminal(t, "touch up; exec sleep 100")
	for end := time.Now().Add(longest); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "up")); err == nil {
			break
		}
		require.True(t, time.Now().Before(end))
	}
	require.NoError(t, master.Close())
	late := time.AfterFunc(longest, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	_ = cmd.Wait()
	require.Equal(t, 129, cmd.ProcessState.ExitCode())
	summary, err := report.ReadSummary(run.SummaryPath(filepath.Join(dir, "logs", "latest")))
	require.NoError(t, err)
	assert.Equal(t, "interrupted", summary.Status)
	assert.EqualValues(t, 129, *summary.ExitCode)
}

// inTerminal starts a run of a shell script in a terminal that nobody reads.
func inTerminal(t *testing.T, script string) (dir string, master *os.File, cmd *osexec.Cmd) {
	t.Helper()
	master, slave, err := pty.Open()
	require.NoError(t, err)
	defer slave.Close()
	dir = t.TempDir()
	cmd = osexec.Command("obsrun", "--", "sh", "-c", script)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, slave, slave, slave
	cmd.Env = append(os.Environ(), "DISPLAY=", "WAYLAND_DISPLAY=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		master.Close()
	})
	return dir, master, cmd
}

// A terminal that nobody looks at blocks the child and nothing else: events are taken
// in, the dashboard answers, the end comes when somebody looks again.
func TestUnwatchedTerminal(t *testing.T) {
	t.Parallel()
	dir, master, cmd := inTerminal(t, `echo "$OBSRUN_SOCKET $OBSRUN_URL" >made; mv made socket; while ! test -e go; do head -c 65536 /dev/zero; done; exit 5`)
	var socket, url string
	for end := time.Now().Add(longest); socket == ""; time.Sleep(5 * time.Millisecond) {
		require.True(t, time.Now().Before(end))
		b, _ := os.ReadFile(filepath.Join(dir, "socket"))
		_, _ = fmt.Sscan(string(b), &socket, &url)
	}
	time.Sleep(200 * time.Millisecond) // all is full then
	for i := range 20 {
		require.True(t, tell(socket, updateLine("a", i+1, 1000)))
	}
	m := addressInText.FindStringSubmatch(url)
	require.NotNil(t, m)
	request, err := http.NewRequest(http.MethodGet, m[1]+"/state", nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+m[2])
	answer, err := (&http.Client{Timeout: longest}).Do(request)
	require.NoError(t, err)
	state, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	answer.Body.Close()
	assert.True(t, bytes.Contains(state, []byte(`"status":"running"`)))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), nil, 0o600))
	go io.Copy(io.Discard, master)
	_ = cmd.Wait()
	assert.Equal(t, 5, cmd.ProcessState.ExitCode())
}

// Processes by the hundred, watched, some of them gone before anybody can look.
func TestForkStorm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stdout, stderr, status := bounded(t, dir, nil, "--", "sh", "-c",
		`for i in $(seq 200); do sleep 0.$((i % 9)) & done; wait; for i in $(seq 300); do (:); done; echo out; exit 5`)
	assert.Equal(t, 5, status)
	assert.Equal(t, "out\n", stdout)
	assert.Empty(t, stderr)
	summary, err := report.ReadSummary(run.SummaryPath(filepath.Join(dir, "logs", "latest")))
	require.NoError(t, err)
	assert.Empty(t, summary.Warnings)
	assert.Zero(t, summary.Totals.AgentsSpawned)
}

// A clock that jumps, obsrun's or a client's: nothing lasts less than no time, and the
// order of the journal is that in which things came.
func TestClockJumps(t *testing.T) {
	begin := time.Date(2026, 4, 8, 0, 0, 0, 0, time.UTC)
	for name, jump := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour, "to 1970": -time.Duration(begin.UnixNano())} {
		for _, whose := range []string{"obsrun", "client"} {
			t.Run(whose+" "+name, func(t *testing.T) {
				dir := t.TempDir()
				now := begin
				recorder, err := run.NewRecorder(dir, func() time.Time { return now })
				require.NoError(t, err)
				require.NoError(t, recorder.Begin("r", map[string]any{"run_id": "r-20260408-000000"}))
				tokens := 0
				record := func(line string) {
					now = now.Add(time.Second)
					clock := now
					if whose == "client" && tokens > 3 {
						clock = clock.Add(jump)
					}
					e, err := telemetry.DecodeClient([]byte(strings.Replace(line, "}", fmt.Sprintf(`,"ts":%d.5}`, clock.Unix()), 1)))
					require.NoError(t, err)
					e.Source = telemetry.SourceSocket
					require.NoError(t, recorder.Record(e))
				}
				record(`{"event":"span_start","span_id":"a","kind":"agent"}`)
				for tokens = range 8 {
					if whose == "obsrun" && tokens == 4 {
						now = now.Add(jump)
					}
					record(fmt.Sprintf(`{"event":"span_update","span_id":"a","tokens":%d}`, tokens))
				}
				record(`{"event":"span_end","span_id":"a","tokens":9}`)
				require.NoError(t, recorder.Finish(telemetry.StatusOK, map[string]any{"exit_code": 0, "obsrun_exit": 0}))
				summary, words, status := reported(t, dir)
				require.Zero(t, status, words)
				assert.Equal(t, "ok", summary.Status)
				assert.GreaterOrEqual(t, summary.TotalWallMS, int64(0))
				require.Len(t, summary.Agents, 1)
				assert.GreaterOrEqual(t, summary.Agents[0].WallMS, int64(0))
				assert.EqualValues(t, 9, summary.Agents[0].Tokens)
				for _, step := range summary.CriticalPath {
					assert.GreaterOrEqual(t, step.WallMS, int64(0))
				}
				lines, _ := journalLines(t, run.JournalPath(dir))
				at := -1
				for i := range 8 {
					next := strings.Index(strings.Join(lines, ""), fmt.Sprintf(`"tokens":%d,`, i))
					assert.Greater(t, next, at)
					at = next
				}
			})
		}
	}
}

// Input without an end is read as far as the child wants it.
func TestEndlessInput(t *testing.T) {
	t.Parallel()
	for _, script := range []string{
		"yes | obsrun -- head -n 1", "obsrun -- head -c 2 </dev/zero | tr '\\0' y", "yes | obsrun --no-pty -- head -n 1", "yes | obsrun -- sh -c 'echo y; exit 5'",
	} {
		cmd := osexec.Command("bash", "-o", "pipefail", "-c", script)
		cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), detach+"=1", "CI=true")
		var out strings.Builder
		cmd.Stdout = &out
		require.NoError(t, cmd.Start())
		late := time.AfterFunc(longest, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		assert.True(t, late.Stop(), "%s hangs", script)
		assert.True(t, strings.HasPrefix(out.String(), "y"), "%s: %q", script, out.String())
	}
}

// Nobody who does not look at a terminal gets a browser opened, display or not, unless
// they ask for one.
func TestNoBrowserUnasked(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	for _, name := range []string{"xdg-open", "x-www-browser", "www-browser"} { // what is tried
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\ntouch opened\n"), 0o700))
	}
	env := []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "DISPLAY=:0", "WAYLAND_DISPLAY=wayland-0", "TESTED=1"}
	child := []string{"--", "sh", "-c", "for i in 1 2 3 4 5 6; do test -e opened && break; sleep 0.1; done; exit 5"}
	for name, c := range map[string]struct {
		env, flags []string
		opened     bool
	}{
		"no terminal":        {},
		"CI":                 {env: []string{"CI=true"}},
		"asked":              {flags: []string{"--open"}, opened: runtime.GOOS == "linux"},
		"asked, and not":     {flags: []string{"--open", "--listen", "off"}},
		"by the environment": {env: []string{"OBSRUN_OPEN=true"}, opened: runtime.GOOS == "linux"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			_, stderr, status := bounded(t, dir, slices.Concat(env, c.env), append(c.flags, child...)...)
			assert.Equal(t, 5, status, stderr)
			_, err := os.Stat(filepath.Join(dir, "opened"))
			assert.Equal(t, c.opened, err == nil)
		})
	}
}
