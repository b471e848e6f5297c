package supervisor

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
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
)

// Whatever signal ends the command, and whether or not it leaves a core file, the
// run tells what a shell would tell without obsrun.
func TestEveryDeath(t *testing.T) {
	harmless := []syscall.Signal{syscall.SIGCHLD, syscall.SIGCONT, syscall.SIGURG, syscall.SIGWINCH,
		syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU}
	both(t, func(t *testing.T, config testConfig) {
		path, report := reportFile(t)
		config.Report = path
		for sig := syscall.Signal(1); sig < 32; sig++ {
			if slices.Contains(harmless, sig) {
				continue
			}
			line := breaking(t, "die", int(sig))
			bare := exec.Command(line[0], line[1:]...)
			bare.Dir = t.TempDir()
			_ = bare.Run()
			truth := bare.ProcessState.Sys().(syscall.WaitStatus)
			if !truth.Signaled() || truth.Signal() != sig {
				require.NotEqual(t, "linux", runtime.GOOS, "%v: %v", sig, bare.ProcessState)
				continue // IO and INFO end nobody on macOS
			}

			config.Dir = t.TempDir()
			_, stderr, status := piped(t, config, "", line...)
			require.Empty(t, stderr)
			require.Equal(t, 128+int(sig), status)
			want := testReport{Code: 128 + int(sig), Signal: int(sig), CoreDumped: truth.CoreDump(),
				Interrupted: sig == syscall.SIGHUP || sig == syscall.SIGINT || sig == syscall.SIGTERM}
			assert.Equal(t, want, report(), "%v", sig)
		}
	})
}

// A descriptor of the three that is closed when obsrun starts is /dev/null, to it and
// to the command, and nobody's bytes go astray.
func TestClosedDescriptors(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		const input = "harness_test.go"
		text, err := os.ReadFile(input)
		require.NoError(t, err)
		for set := range 8 {
			dir := t.TempDir()
			want, closing := []string{string(text) + "out\n", "err\n"}, ""
			for fd, how := range []string{" 0<&-", " 1>&-", " 2>&-"} {
				if set&(1<<fd) == 0 {
					continue
				}
				closing += how
				switch fd {
				case 0:
					want[0] = strings.TrimPrefix(want[0], string(text))
				default:
					want[fd-1] = ""
				}
			}
			cmd := command(t, config, "sh", "-c", "cat; echo out; echo err >&2; echo proof >"+dir+"/proof; exit 7")
			cmd.Args = append([]string{"sh", "-c", `exec "$0" "$@"` + closing, cmd.Path}, cmd.Args[1:]...)
			cmd.Path = "/bin/sh"
			var files []*os.File
			for _, path := range []string{input, filepath.Join(dir, "out"), filepath.Join(dir, "err")} {
				flags := os.O_RDONLY
				if path != input {
					flags = os.O_RDWR | os.O_CREATE
				}
				f, err := os.OpenFile(path, flags, 0o600)
				require.NoError(t, err)
				defer f.Close()
				files = append(files, f)
			}
			cmd.Stdin, cmd.Stdout, cmd.Stderr = files[0], files[1], files[2]
			require.NoError(t, cmd.Start())
			require.Equal(t, 7, wait(t, cmd), closing)
			for i, name := range []string{"out", "err"} {
				got, err := os.ReadFile(filepath.Join(dir, name))
				require.NoError(t, err)
				assert.True(t, want[i] == string(got), "closed%s: %d bytes of %s instead of %d", closing, len(got), name, len(want[i]))
			}
			require.FileExists(t, dir+"/proof")
		}
	})
}

// nohup: what hangs up the terminal ends neither obsrun nor the command.
func TestNohup(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		dir := t.TempDir()
		cmd := command(t, config, "sh", "-c", "echo up; while ! test -e go; do sleep 0.02; done; echo went on; exit 4")
		path, err := exec.LookPath("nohup")
		require.NoError(t, err)
		cmd.Path, cmd.Args = path, append([]string{"nohup", cmd.Path}, cmd.Args[1:]...)
		cmd.Dir = dir
		term := newTerminal(t)
		term.attach(cmd)
		out := func() string { b, _ := os.ReadFile(dir + "/nohup.out"); return string(b) }
		eventually(t, "it runs", func() bool { return out() == "up\n" })
		require.NoError(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGHUP))
		require.NoError(t, os.WriteFile(dir+"/go", nil, 0o600))
		require.Equal(t, 4, wait(t, cmd))
		require.Equal(t, "up\nwent on\n", out())
	})
}

// obsrun or its monitor can be stopped and continued at any time: the command goes on
// for as long as there is room for what it writes, and not a byte is lost.
func TestObsrunStoppedAndContinued(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		for _, who := range []string{"obsrun", "monitor"} {
			t.Run(who, func(t *testing.T) {
				t.Parallel()
				const most = 40 << 10
				line := append([]string{"sh", "-c", `echo $PPID; "$@"; exit 6`, "sh"}, breaking(t, "count", most, "50us")...)
				cmd := command(t, config, line...)
				stdout, err := cmd.StdoutPipe()
				require.NoError(t, err)
				require.NoError(t, cmd.Start())
				defer kill(cmd)
				read := bufio.NewReader(stdout)
				var monitor int
				_, err = fmt.Fscanln(read, &monitor)
				require.NoError(t, err)
				victim := map[string]int{"obsrun": cmd.Process.Pid, "monitor": monitor}[who]
				got := make(chan string, 1)
				go func() {
					b, _ := io.ReadAll(read)
					got <- string(b)
				}()
				for range 5 {
					require.NoError(t, syscall.Kill(victim, syscall.SIGSTOP))
					time.Sleep(40 * time.Millisecond)
					require.NoError(t, syscall.Kill(victim, syscall.SIGCONT))
					time.Sleep(10 * time.Millisecond)
				}
				text := <-got
				require.Equal(t, 6, wait(t, cmd))
				var want strings.Builder
				require.NoError(t, writeNumbered(&want, most, 0))
				require.True(t, want.String() == text, "%d bytes instead of %d", len(text), want.Len())
			})
		}
	})
}

// A terminal that disappears is a hangup. A command that does not mind goes on, and its
// end counts.
func TestTerminalDisappears(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		for _, c := range []struct {
			script string
			status int
		}{
			{"touch up; exec sleep 100", 129},
			{"trap 'exit 9' HUP; touch up; while :; do sleep 0.02; done", 9},
			{"trap '' HUP; touch up; while ! test -e go; do echo more; sleep 0.02; done; exit 10", 10},
			{"trap '' HUP; touch up; while ! test -e go; do read x || sleep 0.02; done; exit 11", 11},
		} {
			path, report := reportFile(t)
			config.Report, config.Cast = path, t.TempDir()+"/cast"
			config.Interrupt = filepath.Join(t.TempDir(), "noted")
			m, s, err := pty.Open()
			require.NoError(t, err)
			cmd := command(t, config, "sh", "-c", c.script)
			cmd.Dir = t.TempDir()
			cmd.Stdin, cmd.Stdout, cmd.Stderr = s, s, s
			cmd.SysProcAttr.Setctty = true
			require.NoError(t, cmd.Start())
			t.Cleanup(func() { kill(cmd) })
			s.Close()
			eventually(t, "it is up", func() bool { _, err := os.Stat(cmd.Dir + "/up"); return err == nil })
			m.Close()
			eventually(t, "the hangup is noted", func() bool { _, err := os.Stat(config.Interrupt); return err == nil })
			require.NoError(t, os.WriteFile(cmd.Dir+"/go", nil, 0o600))
			require.Equal(t, c.status, wait(t, cmd), c.script)
			require.True(t, report().Interrupted)
		}
	})
}
