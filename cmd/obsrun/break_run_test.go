package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/report"
)

// heldRun is a run whose child waits until it is released, so that a test can do
// things to obsrun meanwhile.
type heldRun struct {
	t      *testing.T
	dir    string // working directory
	cmd    *osexec.Cmd
	out    *bufio.Reader // what the child writes after its first line
	words  *bytes.Buffer // obsrun's own
	hold   *os.File      // closed: the child goes on
	alive  *os.File      // reads end of file when nothing of the run is left
	child  int
	socket string
	url    string
	runDir string
}

// bounded runs obsrun, which must not hang. An environment that is not nil is all it has.
func bounded(t *testing.T, dir string, env []string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	path, err := osexec.LookPath("obsrun")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	if env == nil {
		env = append(os.Environ(), "CI=true")
	}
	var out, words strings.Builder
	cmd := osexec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = dir, &out, &words, append(env, detach+"=1")
	err = cmd.Run()
	require.NoError(t, ctx.Err(), "obsrun hangs")
	var exit *osexec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return out.String(), words.String(), cmd.ProcessState.ExitCode()
}

// hold starts a run in dir whose child, once it is released, does what a shell
// script says.
func hold(t *testing.T, dir, script string, flags ...string) *heldRun {
	t.Helper()
	h := &heldRun{t: t, dir: dir, words: new(bytes.Buffer)}
	line := append(flags, "--", "sh", "-c", `echo "$$ $OBSRUN_SOCKET $OBSRUN_RUN_DIR $OBSRUN_URL"; read x; `+script)
	h.cmd = osexec.Command("obsrun", line...)
	h.cmd.Dir, h.cmd.Stderr = dir, h.words
	h.cmd.Env = append(os.Environ(), detach+"=1", "CI=true")
	stdin, hold, err := os.Pipe()
	require.NoError(t, err)
	alive, token, err := os.Pipe()
	require.NoError(t, err)
	h.cmd.Stdin, h.cmd.ExtraFiles, h.hold, h.alive = stdin, []*os.File{token}, hold, alive
	stdout, write, err := os.Pipe()
	require.NoError(t, err)
	h.cmd.Stdout = write
	require.NoError(t, h.cmd.Start())
	stdin.Close()
	token.Close()
	write.Close()
	t.Cleanup(func() {
		if h.cmd.ProcessState == nil {
			_ = h.cmd.Process.Kill()
			_ = h.cmd.Wait()
		}
		for _, f := range []*os.File{hold, alive, stdout} {
			f.Close()
		}
	})
	h.out = bufio.NewReader(stdout)
	return h
}

// up waits until the child runs.
func (h *heldRun) up() *heldRun {
	h.t.Helper()
	line, err := h.out.ReadString('\n')
	require.NoError(h.t, err, "%s", h.words)
	_, _ = fmt.Sscan(line, &h.child, &h.socket, &h.runDir, &h.url)
	require.NotEmpty(h.t, h.runDir, line)
	return h
}

func (h *heldRun) release() { h.hold.Close() }

// wait gives obsrun's exit status, negative for a signal.
func (h *heldRun) wait() int {
	h.t.Helper()
	late := time.AfterFunc(longest, func() { _ = h.cmd.Process.Kill() })
	defer late.Stop()
	err := h.cmd.Wait()
	var exit *osexec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(h.t, err)
	}
	if status := h.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		return -int(status.Signal())
	}
	return h.cmd.ProcessState.ExitCode()
}

// gone waits until nothing of the run is left.
func (h *heldRun) gone() {
	h.t.Helper()
	require.NoError(h.t, h.alive.SetReadDeadline(time.Now().Add(longest)))
	_, err := h.alive.Read(make([]byte, 1))
	require.ErrorIs(h.t, err, io.EOF, "something of the run is still there")
}

// tell sends lines over a connection of its own and reports whether obsrun has
// acknowledged them: end of file after the client shut down its side.
func tell(socket string, lines ...string) bool {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(longest))
	for _, line := range lines {
		if _, err := io.WriteString(conn, line); err != nil {
			return false
		}
	}
	if conn.(*net.UnixConn).CloseWrite() != nil {
		return false
	}
	_, err = conn.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

// update is a line that says how many tokens a span has used, of about so many bytes.
func updateLine(span string, tokens, size int) string {
	line := fmt.Sprintf(`{"event":"span_update","span_id":%q,"tokens":%d,"filler":"`, span, tokens)
	return line + strings.Repeat("x", max(0, size-len(line)-3)) + "\"}\n"
}

// journalLines are the whole lines of a journal, and how many bytes follow the last.
func journalLines(t *testing.T, path string) (lines []string, torn int) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	lines = strings.SplitAfter(string(b), "\n")
	last := len(lines) - 1
	return lines[:last], len(lines[last])
}

// oneCommand is held while a command line runs in this process: the library behind it
// has global state.
var oneCommand sync.Mutex

// reported is what obsrun report makes of a run directory.
func reported(t *testing.T, runDir string) (summary report.Summary, words string, status int) {
	t.Helper()
	dir := t.TempDir()
	files := make([]*os.File, 2)
	for i, name := range []string{"out.json", "err"} {
		f, err := os.Create(filepath.Join(dir, name))
		require.NoError(t, err)
		defer f.Close()
		files[i] = f
	}
	oneCommand.Lock()
	defer oneCommand.Unlock()
	status = exec(t.Context(), world{args: []string{"report", "--format", "json", runDir}, env: os.Environ(), stdout: files[0], stderr: files[1]})
	said, err := os.ReadFile(files[1].Name())
	require.NoError(t, err)
	if status == 0 {
		summary, err = report.ReadSummary(files[0].Name())
		require.NoError(t, err)
	}
	return summary, string(said), status
}
