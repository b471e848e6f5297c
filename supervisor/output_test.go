package supervisor

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// However short its life, what the command wrote arrives.
func TestShortOutputIsComplete(t *testing.T) {
	out, err := os.Create(t.TempDir() + "/out")
	require.NoError(t, err)
	runs, begun := 0, time.Now()
	for runs < 1000 && time.Since(begun) < 2*time.Second {
		runs++
		p, err := Start(Command{Args: []string{"sh", "-c", "echo x"}, Env: os.Environ(), Stdout: out})
		require.NoError(t, err)
		require.Zero(t, p.Wait().Code)
		p.Close()
	}
	t.Logf("%d runs, %v each", runs, time.Since(begun)/time.Duration(runs))
	b, err := os.ReadFile(out.Name())
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("x\n", runs), string(b))
}

func TestMuchOutputIsComplete(t *testing.T) {
	var want bytes.Buffer
	for i := range 200_000 {
		fmt.Fprintln(&want, i+1)
	}
	both(t, func(t *testing.T, config testConfig) {
		out, _, status := piped(t, config, "", "seq", "200000")
		require.Zero(t, status)
		require.True(t, want.String() == out, "%d bytes instead of %d", len(out), want.Len())
	})
	// A reader that is slow at the end gets all of it, too.
	cmd := command(t, testConfig{}, "seq", "40000")
	r, w, err := os.Pipe()
	require.NoError(t, err)
	cmd.Stdout = w
	require.NoError(t, cmd.Start())
	defer kill(cmd)
	w.Close()
	buf, got := make([]byte, 16<<10), 0
	for {
		n, err := r.Read(buf)
		got += n
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		if got > 100<<10 {
			time.Sleep(200 * time.Millisecond)
		}
	}
	require.Zero(t, wait(t, cmd))
	require.Equal(t, bytes.Index(want.Bytes(), []byte("\n40001\n"))+1, got)
}

func TestBinaryOutput(t *testing.T) {
	var all bytes.Buffer
	for i := range 1 << 16 {
		all.WriteByte(byte(i))
		all.WriteByte(byte(i >> 8))
	}
	path := t.TempDir() + "/binary"
	require.NoError(t, os.WriteFile(path, all.Bytes(), 0o600))
	out, _, status := piped(t, testConfig{Cast: t.TempDir() + "/cast"}, "", "cat", path)
	require.Zero(t, status)
	require.True(t, all.String() == out, "%d bytes instead of %d", len(out), all.Len())
}

// A background process that keeps the terminal open neither delays the end for long nor
// loses what it says before.
func TestBackgroundProcesses(t *testing.T) {
	for name, c := range map[string]struct {
		script    string
		want      string // prefix of the output
		most      time.Duration
		survivors []string
	}{
		"silent":           {script: "sleep 100 & echo x", want: "x\n", most: 5 * time.Second},
		"late line":        {script: "(sleep 0.1; echo late) & echo x", want: "x\nlate\n", most: 5 * time.Second},
		"chatty":           {script: "(while :; do echo y; sleep 0.05; done) & echo x", want: "", most: 8 * time.Second},
		"flood":            {script: "yes & echo x", want: "", most: 8 * time.Second},
		"survivor":         {script: "echo x; trap '' HUP; sleep 100 2>&1 & sleep 0.2; exit 0", want: "x\n", most: 8 * time.Second, survivors: []string{"sleep"}},
		"off the terminal": {script: "sleep 100 >/dev/null 2>&1 </dev/null & echo x", want: "x\n", most: 5 * time.Second},
		"stopped":          {script: "sleep 100 & kill -STOP $!; echo x", want: "x\n", most: 5 * time.Second},
		// It says that it is there before the shell ends.
		"in its own session": {script: `f=$(mktemp); setsid sh -c "echo \$\$ >$f; exec sleep 100" >/dev/null 2>&1 </dev/null & while [ ! -s $f ]; do sleep 0.01; done; cat $f; rm $f`, most: 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, report := reportFile(t)
			begun := time.Now()
			out, _, status := piped(t, testConfig{Report: path}, "", "sh", "-c", c.script)
			took := time.Since(begun)
			require.Zero(t, status)
			require.True(t, strings.HasPrefix(out, c.want), "%.100q", out)
			assert.Less(t, took, c.most)
			var names []string
			for _, s := range report().Survivors {
				names = append(names, s.Name)
				require.NoError(t, syscall.Kill(s.PID, syscall.SIGKILL))
			}
			assert.Equal(t, c.survivors, names)
			if name == "in its own session" {
				pid, err := strconv.Atoi(strings.TrimSpace(out))
				require.NoError(t, err)
				require.NoError(t, syscall.Kill(pid, syscall.SIGKILL), "it was left alone")
			}
		})
	}
}

func TestSurvivorsWithoutPseudoTerminal(t *testing.T) {
	path, report := reportFile(t)
	_, _, status := piped(t, testConfig{NoPTY: true, Report: path}, "", "sh", "-c", "sleep 100 >/dev/null 2>&1 </dev/null & sleep 0.2; exit 2")
	require.Equal(t, 2, status)
	require.Len(t, report().Survivors, 1)
	require.Equal(t, "sleep", report().Survivors[0].Name)
	require.NoError(t, syscall.Kill(report().Survivors[0].PID, syscall.SIGKILL))
}

// A terminal that is closed for a while is not the end of the output.
func TestTerminalReopened(t *testing.T) {
	out, _, status := piped(t, testConfig{}, "", "sh", "-c", "exec 3>/dev/null >&3 2>&3 <&3; sleep 0.3; echo again >/dev/tty")
	require.Zero(t, status)
	require.Equal(t, "again\n", out)
}

func TestStdoutBreaks(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		status int
	}{
		"default":  {"exec yes", 128 + int(syscall.SIGPIPE)},
		"ignoring": {"trap '' PIPE; trap 'exit 7' HUP; echo x; while :; do echo y; sleep 0.01; done", 7},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, report := reportFile(t)
			cmd := command(t, testConfig{Report: path}, "sh", "-c", c.script)
			stdout, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			defer kill(cmd)
			line := make([]byte, 1)
			_, err = stdout.Read(line)
			require.NoError(t, err)
			require.NoError(t, stdout.Close())
			require.Equal(t, c.status, wait(t, cmd))
			require.Equal(t, "broken pipe", report().Stdout)
			require.False(t, report().Interrupted, "the HUP was our own")
		})
	}
}

func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if os.IsNotExist(err) {
		t.Skip("there is no /dev/full here")
	}
	require.NoError(t, err)
	path, report := reportFile(t)
	cmd := command(t, testConfig{Report: path}, "sh", "-c", "trap 'exit 4' PIPE; echo x; while :; do sleep 0.01; done")
	cmd.Stdout = full
	require.NoError(t, cmd.Start())
	require.Equal(t, 4, wait(t, cmd))
	require.Equal(t, "no space left on device", report().Stdout)
}

// When nobody reads the output and somebody wants obsrun to end, it ends.
func TestSignalEndsABlockedDrain(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	path, report := reportFile(t)
	cmd := command(t, testConfig{Report: path, Linger: time.Second}, "sh", "-c", "head -c 72000 /dev/zero; echo $$ >&2")
	cmd.Stdout = w
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer kill(cmd)
	w.Close()
	ended := make([]byte, 16)
	_, err = stderr.Read(ended)
	require.NoError(t, err)
	time.Sleep(50 * time.Millisecond)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.Zero(t, wait(t, cmd))
	require.Equal(t, "terminated", report().Late)
}

func BenchmarkThroughput(b *testing.B) {
	const size = 64 << 20
	for _, cast := range []bool{false, true} {
		b.Run(fmt.Sprintf("cast=%v", cast), func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
				require.NoError(b, err)
				c := Command{Args: []string{"head", "-c", strconv.Itoa(size), "/dev/zero"}, Env: os.Environ(), Stdout: null}
				if cast {
					c.Cast = NewCast(io.Discard)
				}
				p, err := Start(c)
				require.NoError(b, err)
				require.Zero(b, p.Wait().Code)
				p.Close()
			}
		})
	}
	b.Run("bare", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			bareCopy(b, exec.Command("head", "-c", strconv.Itoa(size), "/dev/zero"))
		}
	})
}
