package supervisor

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/supervisor/monitor"
)

const probe = `import os, fcntl, struct, termios
def size(fd): return struct.unpack("4H", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))[:2]
def name(fd): return os.ttyname(fd) if os.isatty(fd) else "-"
tty = os.open("/dev/tty", os.O_RDWR)
names = [name(fd) for fd in range(3)]
print([os.isatty(fd) for fd in range(3)], names[0] == names[1], names[1] == names[2], size(tty))
`

// Which of the command's descriptors are terminals follows from which of obsrun's are,
// but stdout always is one.
func TestStreams(t *testing.T) {
	const T, P, F = "terminal", "pipe", "file"
	for _, c := range []struct {
		in, out, err string
		want         string
	}{
		{T, T, T, "[True, True, True] True True (33, 101)"},
		{T, T, F, "[True, True, False] True False (33, 101)"},
		{T, F, T, "[True, True, True] False False (33, 101)"},
		{T, F, F, "[True, True, True] False True (33, 101)"}, // one file for both
		{T, P, F, "[True, True, False] False False (33, 101)"},
		{F, T, T, "[False, True, True] False True (33, 101)"},
		{P, T, T, "[False, True, True] False True (33, 101)"},
		{F, F, T, "[False, True, True] False False (33, 101)"},
		{F, F, F, "[False, True, True] False True (24, 80)"},
		{P, P, F, "[False, True, False] False False (24, 80)"},
	} {
		for _, detached := range []bool{false, true} {
			t.Run(fmt.Sprint(c.in, c.out, c.err, detached), func(t *testing.T) {
				t.Parallel()
				term := newTerminal(t)
				file, err := os.OpenFile(t.TempDir()+"/file", os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
				require.NoError(t, err)
				r, w, err := os.Pipe()
				require.NoError(t, err)
				defer r.Close()
				pick := func(kind string) *os.File {
					return map[string]*os.File{T: term.slave, P: w, F: file}[kind]
				}
				cmd := command(t, testConfig{}, "python3", "-c", probe)
				cmd.Stdin, cmd.Stdout, cmd.Stderr = pick(c.in), pick(c.out), pick(c.err)
				if c.in == P {
					cmd.Stdin = r
				}
				if detached {
					require.NoError(t, cmd.Start())
				} else {
					term.attach(cmd)
				}
				require.Zero(t, wait(t, cmd))
				w.Close()
				switch c.out {
				case T:
					term.expect(c.want + "\r\n")
				case F:
					b, err := os.ReadFile(file.Name())
					require.NoError(t, err)
					assert.Equal(t, c.want+"\n", string(b))
				case P:
					var b bytes.Buffer
					b.ReadFrom(r)
					assert.Equal(t, c.want+"\n", b.String())
				}
			})
		}
	}
}

// Two terminals for stdout and stderr are two terminals inside.
func TestTwoTerminals(t *testing.T) {
	one, two := newTerminal(t), newTerminal(t)
	cmd := command(t, testConfig{}, "sh", "-c", "echo out; echo err >&2; echo tty >/dev/tty; test -t 2 && echo yes")
	cmd.Stderr = two.slave
	one.attach(cmd)
	one.expect("out\r\n")
	two.expect("err\r\n")
	require.Zero(t, wait(t, cmd))
	one.expect("tty\r\nyes\r\n")
	require.Equal(t, "err\r\n", two.shown())
}

// What is echoed or written to /dev/tty appears on the terminal and never among the
// output of a stdout that is elsewhere.
func TestEchoStaysOutOfStdout(t *testing.T) {
	term := newTerminal(t)
	out, err := os.Create(t.TempDir() + "/out")
	require.NoError(t, err)
	cmd := command(t, testConfig{}, "sh", "-c", "echo prompt >/dev/tty; read x; echo got $x; echo err >&2")
	cmd.Stdout = out
	term.attach(cmd)
	term.expect("prompt\r\n")
	term.send("typed\n")
	term.expect("typed\r\n")
	term.expect("err\r\n")
	require.Zero(t, wait(t, cmd))
	b, err := os.ReadFile(out.Name())
	require.NoError(t, err)
	require.Equal(t, "got typed\n", string(b))
}

func TestSizeIsFollowed(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		term := newTerminal(t)
		cmd := term.run(config, "bash", "-c", `trap 'echo changed; stty size; trap - WINCH' WINCH; stty size; echo ready; while :; do read -t 0.05 x && exit 4; stty size; done`)
		term.expect("33 101\r\nready\r\n")
		require.NoError(t, pty.Setsize(term.master, &pty.Winsize{Rows: 40, Cols: 120}))
		term.expect("changed\r\n40 120")
		require.NoError(t, pty.Setsize(term.master, &pty.Winsize{Rows: 0, Cols: 0}))
		require.NoError(t, pty.Setsize(term.master, &pty.Winsize{Rows: 41, Cols: 99}))
		term.expect("41 99")
		term.insist("\n", "\r\n")
		require.Equal(t, 4, wait(t, cmd))
	})
}

func TestTerminalWithoutSize(t *testing.T) {
	term := newTerminal(t)
	require.NoError(t, pty.Setsize(term.master, &pty.Winsize{}))
	cmd := term.run(testConfig{}, "stty", "size")
	term.expect("24 80\r\n")
	require.Zero(t, wait(t, cmd))
}

func TestTerminalIsRestored(t *testing.T) {
	for name, c := range map[string]struct {
		config testConfig
		args   []string
		act    func(term *terminal, cmd *exec.Cmd)
	}{
		"exit":           {args: []string{"sh", "-c", "stty raw -echo; exit 3"}},
		"refused":        {args: []string{"/tmp"}},
		"killed command": {args: []string{"sh", "-c", "echo up; kill -9 $$"}},
		"TERM":           {args: []string{"sh", "-c", "echo up; exec sleep 100"}, act: func(_ *terminal, cmd *exec.Cmd) { cmd.Process.Signal(syscall.SIGTERM) }},
		"key":            {args: []string{"sh", "-c", "echo up; exec sleep 100"}, act: func(term *terminal, _ *exec.Cmd) { term.send("\x03") }},
		"KILL":           {args: []string{"sh", "-c", "echo up; exec sleep 100"}, act: func(_ *terminal, cmd *exec.Cmd) { cmd.Process.Kill() }},
		"panic in callback": {config: testConfig{Panic: "interrupt"}, args: []string{"sh", "-c", "echo up; exec sleep 100"},
			act: func(term *terminal, _ *exec.Cmd) { term.send("\x03") }},
		"panic in recording":         {config: testConfig{Panic: "cast"}, args: []string{"sh", "-c", "echo up; exec sleep 100"}},
		"stopped by KILL of monitor": {args: []string{"sh", "-c", "echo up; kill -9 $PPID; exec sleep 100"}},
	} {
		t.Run(name, func(t *testing.T) {
			term := newTerminal(t)
			before := term.mode()
			cmd := term.run(c.config, c.args...)
			if c.act != nil {
				term.expect("up")
				eventually(t, "the terminal is raw", term.isRaw)
				c.act(term, cmd)
			}
			wait(t, cmd)
			eventually(t, "the terminal is as before", func() bool { return term.mode() == before })
		})
	}
}

// Somebody who changed the terminal after obsrun was killed is not disturbed.
func TestMonitorLeavesAForeignModeAlone(t *testing.T) {
	term := newTerminal(t)
	before := term.mode()
	require.NoError(t, (&keyboard{fd: int(term.slave.Fd()), tell: func(int32, []byte) {}}).makeRaw())
	raw := term.mode()
	other := raw
	other.Lflag ^= 1
	state := monitor.TerminalState{Saved: modeOf(&before), Raw: modeOf(&other)}
	state.Apply(int(term.slave.Fd()))
	require.Equal(t, raw, term.mode())
	state.Raw = modeOf(&raw)
	state.Apply(int(term.slave.Fd()))
	require.Equal(t, before, term.mode())
}

func TestStdinIsInheritedByteForByte(t *testing.T) {
	every := make([]byte, 0, 300<<10)
	for i := range 300 << 10 {
		every = append(every, byte(i*7))
	}
	input := string(every) + strings.Repeat("x", 100_000)
	both(t, func(t *testing.T, config testConfig) {
		out, _, status := piped(t, config, input, "sha256sum")
		require.Zero(t, status)
		require.Equal(t, fmt.Sprintf("%x  -\n", sha256.Sum256([]byte(input))), out)
	})
	term := newTerminal(t)
	cmd := command(t, testConfig{}, "sha256sum")
	cmd.Stdin = strings.NewReader(input)
	term.attach(cmd)
	term.expect(fmt.Sprintf("%x  -\r\n", sha256.Sum256([]byte(input))))
	require.Zero(t, wait(t, cmd))
}

func TestKeysReachTheCommand(t *testing.T) {
	term := newTerminal(t)
	cmd := term.run(testConfig{}, "sh", "-c", `trap 'echo quit' QUIT; echo ready; cat; echo eof; stty raw; echo raw; head -c 4 | od -An -tx1`)
	term.expect("ready\r\n")
	eventually(t, "raw", term.isRaw)
	term.send("word\n\x04")
	term.expect("word\r\nword\r\n")
	term.expect("eof\r\n")
	term.expect("raw")
	term.send("\x03\x1a\x04\xff")
	term.expect("03 1a 04 ff")
	require.Zero(t, wait(t, cmd))
}

// An interrupt key counts as one only where the command lets it be one.
func TestInterruptKey(t *testing.T) {
	path, report := reportFile(t)
	noted := filepath.Join(t.TempDir(), "noted")
	term := newTerminal(t)
	cmd := term.run(testConfig{Report: path, Interrupt: noted}, "sh", "-c", "stty -isig; echo off; head -n 1 | od -An -tx1; stty isig; trap 'echo trapped' INT; echo on; read x; read y; exit 6")
	term.expect("off\r\n")
	term.send("\x03\n")
	term.expect("03 0a")
	term.expect("on\r\n")
	_, err := os.Stat(noted)
	require.ErrorIs(t, err, os.ErrNotExist)
	term.send("\x03")
	term.insist("\n", "trapped")
	term.send("\n\n\n")
	require.Equal(t, 6, wait(t, cmd))
	require.Equal(t, testReport{Code: 6, Interrupted: true}, report())
	b, err := os.ReadFile(noted)
	require.NoError(t, err)
	require.Equal(t, "interrupt\n", string(b))
}

// Ctrl-\ is QUIT for the command alone: obsrun lives to tell of its death.
func TestQuitKey(t *testing.T) {
	path, report := reportFile(t)
	term := newTerminal(t)
	cmd := term.run(testConfig{Report: path}, "sh", "-c", "ulimit -c 0; echo on; exec sleep 60")
	term.expect("on\r\n")
	term.insist("\x1c", "\\")
	wait(t, cmd)
	got := report()
	require.Equal(t, 128+int(syscall.SIGQUIT), got.Code)
	require.Equal(t, int(syscall.SIGQUIT), got.Signal)
}

// A terminal that is not looked at blocks the command and nothing else.
func TestSlowTerminal(t *testing.T) {
	m, s, err := pty.Open()
	require.NoError(t, err)
	defer m.Close()
	defer s.Close()
	s.Fd()
	path, report := reportFile(t)
	noted := filepath.Join(t.TempDir(), "noted")
	cmd := command(t, testConfig{Report: path, Interrupt: noted}, "sh", "-c", "echo x; trap 'exit 5' TERM; while :; do echo 0123456789012345678901234567890123456789; done")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s, s, s
	cmd.SysProcAttr.Setctty = true
	require.NoError(t, cmd.Start())
	defer kill(cmd)
	_, err = m.Read(make([]byte, 1)) // the only look at it for now
	require.NoError(t, err)
	time.Sleep(100 * time.Millisecond) // everything is full then
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	eventually(t, "the signal is noted", func() bool { _, err := os.Stat(noted); return err == nil })
	go func() {
		buf := make([]byte, 32<<10)
		for {
			if _, err := m.Read(buf); err != nil {
				return
			}
		}
	}()
	require.Equal(t, 5, wait(t, cmd))
	require.True(t, report().Interrupted)
}

func TestTerminalCloses(t *testing.T) {
	path, report := reportFile(t)
	m, s, err := pty.Open()
	require.NoError(t, err)
	defer m.Close()
	cmd := command(t, testConfig{Report: path}, "sh", "-c", "trap 'exit 9' HUP; echo up; while :; do sleep 0.05; done")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s, s, s
	cmd.SysProcAttr.Setctty = true
	require.NoError(t, cmd.Start())
	defer kill(cmd)
	require.NoError(t, s.Close())
	_, err = m.Read(make([]byte, 16))
	require.NoError(t, err)
	require.NoError(t, m.Close())
	require.Equal(t, 9, wait(t, cmd))
	require.True(t, report().Interrupted)
}
