package main

import (
	"bytes"
	"net/http"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/term"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/report"
)

// userTerminal is a terminal with an obsrun in it, as a shell would start it; the
// test is the user.
type userTerminal struct {
	t      *testing.T
	dir    string
	master *os.File
	cmd    *osexec.Cmd
	before *term.State

	mu    sync.Mutex
	seen  []byte
	more  chan struct{} // closed and replaced when seen grows
	ended bool          // nobody holds the terminal open any more
}

func atTerminal(t *testing.T, args ...string) *userTerminal {
	t.Helper()
	master, slave, err := pty.Open()
	require.NoError(t, err)
	defer slave.Close()
	require.NoError(t, pty.Setsize(master, &pty.Winsize{Rows: 33, Cols: 101}))
	u := &userTerminal{t: t, dir: t.TempDir(), master: master, more: make(chan struct{})}
	u.before, err = term.GetState(int(master.Fd()))
	require.NoError(t, err)
	u.cmd = osexec.Command("obsrun", args...)
	u.cmd.Dir, u.cmd.Stdin, u.cmd.Stdout, u.cmd.Stderr = u.dir, slave, slave, slave
	u.cmd.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=1", "DISPLAY=", "WAYLAND_DISPLAY=")
	u.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, u.cmd.Start())
	go u.read()
	t.Cleanup(func() {
		if u.cmd.ProcessState == nil {
			_ = u.cmd.Process.Kill()
			_ = u.cmd.Wait()
		}
		master.Close()
	})
	return u
}

func (u *userTerminal) read() {
	buf := make([]byte, 32<<10)
	for {
		n, err := u.master.Read(buf)
		u.mu.Lock()
		u.seen = append(u.seen, buf[:n]...)
		close(u.more)
		u.more = make(chan struct{})
		u.ended = err != nil
		u.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// sees waits until the terminal shows text.
func (u *userTerminal) sees(text string) {
	u.t.Helper()
	u.until("text "+text, func() bool { return bytes.Contains(u.seen, []byte(text)) })
}

func (u *userTerminal) until(what string, done func() bool) {
	u.t.Helper()
	late := time.After(longest)
	for {
		u.mu.Lock()
		ok, more, seen := done(), u.more, string(u.seen)
		u.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-more:
		case <-late:
			require.FailNowf(u.t, "the terminal is silent", "waiting for %s after %q", what, seen)
		}
	}
}

func (u *userTerminal) press(keys string) {
	u.t.Helper()
	_, err := u.master.WriteString(keys)
	require.NoError(u.t, err)
}

// end waits until obsrun has ended, checks that the terminal is as it was, and
// gives what it showed.
func (u *userTerminal) end(status int) string {
	u.t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- u.cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(longest):
		_ = u.cmd.Process.Kill()
		require.FailNow(u.t, "obsrun does not end", "%q", u.seen)
	}
	assert.Equal(u.t, status, u.cmd.ProcessState.ExitCode())
	after, err := term.GetState(int(u.master.Fd()))
	require.NoError(u.t, err)
	assert.Equal(u.t, u.before, after, "the terminal is restored")
	u.until("the end", func() bool { return u.ended })
	return string(u.seen)
}

func (u *userTerminal) summary() report.Summary {
	u.t.Helper()
	summary, err := report.ReadSummary(run.SummaryPath(filepath.Join(u.dir, "logs", "latest")))
	require.NoError(u.t, err)
	return summary
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	u := atTerminal(t, "--", "sh", "-c", `test -t 0 && test -t 1 && test -t 2 && stty size`)
	shown := u.end(0)
	assert.Regexp(t, `\Aobsrun: run sh-\d{8}-[0-9a-f]{6}, dashboard http://127\.0\.0\.1:\d+/\?token=\w+\r\n`+
		`33 101\r\n`+
		`sh-\d{8}-[0-9a-f]{6}  ok in [^\r\n]+\r\n`+
		`(?s:nothing was captured: .*obsrun doctor -- sh .*\r\n)files in \S+/logs/sh-\d{8}-[0-9a-f]{6}\r\n\z`, shown)
	assert.Equal(t, "ok", u.summary().Status)
	cast, err := os.ReadFile(run.CastPath(filepath.Join(u.dir, "logs", "latest")))
	require.NoError(t, err)
	assert.Contains(t, string(cast), `"width":101`)
	assert.Contains(t, string(cast), `33 101\r\n`)
	assert.NotContains(t, string(cast), "obsrun: run", "it is what the child showed")
}

func TestTerminalQuiet(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"-q", "--quiet"} {
		assert.Equal(t, "hello\r\n", atTerminal(t, flag, "--", "echo", "hello").end(0))
	}
}

func TestTerminalNotStarted(t *testing.T) {
	t.Parallel()
	u := atTerminal(t, "--", "nosuch-command")
	shown := u.end(127)
	assert.True(t, strings.HasSuffix(shown, "obsrun: run nosuch-command: command not found in PATH\r\n"), "%q", shown)
	assert.Equal(t, "error", u.summary().Status)
}

func TestTerminalInterrupt(t *testing.T) {
	t.Parallel()
	u := atTerminal(t, "--keep-open", "-1", "--", "sh", "-c", "echo ready; exec sleep 100")
	u.sees("ready")
	u.press("\x03")
	u.end(130) // it does not stay open for one who wants it to end
	summary := u.summary()
	assert.Equal(t, "interrupted", summary.Status)
	require.NotNil(t, summary.ExitCode)
	assert.EqualValues(t, 130, *summary.ExitCode)
}

func TestTerminalKeepOpen(t *testing.T) {
	t.Parallel()
	u := atTerminal(t, "--keep-open", "-1", "--", "sh", "-c", "exit 5")
	u.sees("Ctrl-C closes it")
	u.mu.Lock()
	m := addressInText.FindSubmatch(u.seen)
	u.mu.Unlock()
	require.NotNil(t, m)
	request, err := http.NewRequest(http.MethodGet, string(m[1])+"/", nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+string(m[2]))
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	answer.Body.Close()
	assert.Equal(t, http.StatusOK, answer.StatusCode)
	assert.Equal(t, "error", u.summary().Status, "it is there already")
	u.press("\x03")
	u.end(5)
}

// The warnings of obsrun are told although it is quiet.
func TestTerminalQuietWarns(t *testing.T) {
	t.Parallel()
	shown := atTerminal(t, "-q", "--", "sh", "-c", `rm -r "$OBSRUN_RUN_DIR"`).end(0)
	assert.Regexp(t, `\A(obsrun: [^\r\n]+\r\n)+\z`, shown)
	assert.Contains(t, shown, "run_summary.json")
}
