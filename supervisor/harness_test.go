package supervisor

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// patience bounds everything that a test waits for; what works takes milliseconds.
const patience = 20 * time.Second

// terminal is a user's terminal: the test sits at its master side.
type terminal struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	mu     sync.Mutex
	seen   []byte
	at     int           // what expect has consumed of seen
	more   chan struct{} // closed and replaced when seen grows
	closed bool
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	m, s, err := pty.Open()
	require.NoError(t, err)
	require.NoError(t, pty.Setsize(m, &pty.Winsize{Rows: 33, Cols: 101}))
	term := &terminal{t: t, master: m, slave: s, more: make(chan struct{})}
	t.Cleanup(func() { m.Close(); s.Close() })
	s.Fd() // blocking, as a shell's terminal is
	go term.read()
	return term
}

func (term *terminal) read() {
	buf := make([]byte, 32<<10)
	for {
		n, err := term.master.Read(buf)
		term.mu.Lock()
		term.seen = append(term.seen, buf[:n]...)
		close(term.more)
		term.more = make(chan struct{})
		term.closed = err != nil
		term.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// expect waits for text after what was expected before.
func (term *terminal) expect(text string) {
	term.t.Helper()
	deadline := time.After(patience)
	for {
		term.mu.Lock()
		i := bytes.Index(term.seen[term.at:], []byte(text))
		rest, more, closed := string(term.seen[term.at:]), term.more, term.closed
		if i >= 0 {
			term.at += i + len(text)
		}
		term.mu.Unlock()
		switch {
		case i >= 0:
			return
		case closed:
			require.FailNowf(term.t, "terminal closed", "waiting for %q after %q", text, rest)
		}
		select {
		case <-more:
		case <-deadline:
			require.FailNowf(term.t, "terminal is silent", "waiting for %q after %q\nall: %q", text, rest, term.shown())
		}
	}
}

// screen is all that was shown so far.
func (term *terminal) shown() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return string(term.seen)
}

func (term *terminal) send(keys string) {
	term.t.Helper()
	_, err := term.master.WriteString(keys)
	require.NoError(term.t, err)
}

// insist presses keys until text appears: a key can come before the program that it is
// meant for is in the foreground.
func (term *terminal) insist(keys, text string) {
	term.t.Helper()
	eventually(term.t, text, func() bool {
		term.send(keys)
		for range 20 {
			term.mu.Lock()
			i := bytes.Index(term.seen[term.at:], []byte(text))
			if i >= 0 {
				term.at += i + len(text)
			}
			term.mu.Unlock()
			if i >= 0 {
				return true
			}
			time.Sleep(5 * time.Millisecond)
		}
		return false
	})
}

func (term *terminal) mode() unix.Termios {
	term.t.Helper()
	mode, err := unix.IoctlGetTermios(int(term.slave.Fd()), ioctlGetTermios)
	require.NoError(term.t, err)
	return *mode
}

func (term *terminal) isRaw() bool { m := term.mode(); return m.Lflag&unix.ICANON == 0 }

func (term *terminal) group() int {
	group, err := unix.IoctlGetInt(int(term.master.Fd()), unix.TIOCGPGRP)
	require.NoError(term.t, err)
	return group
}

// eventually waits for a condition that nothing announces.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			require.FailNow(t, "never: "+what)
		}
	}
}

// command is an obsrun that runs args, with the standard streams still to be set.
func command(t *testing.T, config testConfig, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	b, err := json.Marshal(config)
	require.NoError(t, err)
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), configVariable+"="+string(b), "PS1=prompt> ", "HISTFILE=/dev/null")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// run starts obsrun as the leader of the terminal's session, with all streams on it.
func (term *terminal) run(config testConfig, args ...string) *exec.Cmd {
	term.t.Helper()
	cmd := command(term.t, config, args...)
	term.attach(cmd)
	return cmd
}

// attach starts cmd on the terminal; streams that are set stay.
func (term *terminal) attach(cmd *exec.Cmd) {
	term.t.Helper()
	if cmd.Stdin == nil {
		cmd.Stdin = term.slave
	}
	if cmd.Stdout == nil {
		cmd.Stdout = term.slave
	}
	if cmd.Stderr == nil {
		cmd.Stderr = term.slave
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, term.slave)
	cmd.SysProcAttr.Setctty, cmd.SysProcAttr.Ctty = true, 2+len(cmd.ExtraFiles)
	term.t.Cleanup(func() { kill(cmd) })
	require.NoError(term.t, cmd.Start())
}

// kill ends cmd, which leads a session, and everything in that session. Monitors hang up
// their own when they lose their obsrun.
func kill(cmd *exec.Cmd) {
	if cmd.Process == nil {
		return
	}
	for _, p := range sessionMembers(cmd.Process.Pid, false) {
		syscall.Kill(p.PID, syscall.SIGKILL)
	}
	if cmd.ProcessState == nil {
		cmd.Process.Kill()
		cmd.Wait()
	}
}

// bash is an interactive shell on the terminal in which $O is an obsrun.
func (term *terminal) bash(config testConfig) *exec.Cmd {
	term.t.Helper()
	cmd := command(term.t, config)
	cmd.Args = []string{"bash", "--norc", "--noprofile", "-i"}
	exe := cmd.Path
	path, err := exec.LookPath("bash")
	require.NoError(term.t, err)
	cmd.Path = path
	for i, entry := range cmd.Env {
		if value, ok := strings.CutPrefix(entry, configVariable+"="); ok {
			cmd.Env[i] = "CONFIG=" + value
		}
	}
	cmd.Env = append(cmd.Env, "O=env "+configVariable+"="+config.text(term.t)+" "+exe, "TERM=dumb")
	term.attach(cmd)
	term.expect("prompt> ")
	return cmd
}

func (c testConfig) text(t *testing.T) string {
	b, err := json.Marshal(c)
	require.NoError(t, err)
	require.NotContains(t, string(b), " ")
	return string(b)
}

// wait returns the exit status of cmd, which must end.
func wait(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			require.NoError(t, err)
		}
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if status.Signaled() {
			return -int(status.Signal())
		}
		return status.ExitStatus()
	case <-time.After(patience):
		cmd.Process.Signal(syscall.SIGKILL)
		require.FailNow(t, "obsrun hangs")
		return 0
	}
}

// piped runs obsrun without any terminal and returns what it wrote.
func piped(t *testing.T, config testConfig, stdin string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := command(t, config, args...)
	var out, err bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &err
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { kill(cmd) })
	status = wait(t, cmd)
	return out.String(), err.String(), status
}

// reportFile is a path for testConfig.Report and a function that reads it.
func reportFile(t *testing.T) (string, func() testReport) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report")
	return path, func() (r testReport) {
		t.Helper()
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(b, &r))
		return r
	}
}
