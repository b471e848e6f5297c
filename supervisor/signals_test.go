package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// counter logs each signal it gets and exits at a further TERM.
const counter = `
import signal, sys, os, time
names = {s: s.name for s in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)}
def got(number, frame):
    os.write(1, ("got " + signal.Signals(number).name + "\n").encode())
for s in names: signal.signal(s, got)
if "helper" in sys.argv and os.fork() == 0:
    def helper(number, frame):
        os.write(1, ("helper " + signal.Signals(number).name + "\n").encode())
    for s in names: signal.signal(s, helper)
    if "front" in sys.argv:
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.setpgid(0, 0)
        os.tcsetpgrp(os.open("/dev/tty", os.O_RDWR), os.getpid())
    os.write(1, b"helper ready\n")
    while True: time.sleep(1)
os.write(1, b"ready\n")
while True: time.sleep(1)
`

func TestSignals(t *testing.T) {
	all := []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM}
	name := map[syscall.Signal]string{syscall.SIGINT: "INT", syscall.SIGQUIT: "QUIT", syscall.SIGHUP: "HUP",
		syscall.SIGUSR1: "USR1", syscall.SIGUSR2: "USR2", syscall.SIGTERM: "TERM"}
	for _, c := range []struct {
		what   string
		args   []string
		child  []syscall.Signal // reach the command
		helper []syscall.Signal // reach its child process
	}{
		{"alone", nil, all, nil},
		{"group", []string{"helper"}, all, []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGTERM}},
		{"another in front", []string{"helper", "front"},
			[]syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM},
			[]syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGTERM}},
	} {
		both(t, func(t *testing.T, config testConfig) {
			t.Run(c.what, func(t *testing.T) {
				path, report := reportFile(t)
				config.Report, config.Interrupt = path, filepath.Join(t.TempDir(), "noted")
				term := newTerminal(t)
				cmd := term.run(config, append([]string{"python3", "-c", counter}, c.args...)...)
				if c.args != nil {
					term.expect("helper ready")
				}
				eventually(t, "ready", func() bool { return strings.Contains(strings.ReplaceAll(term.shown(), "helper ready", ""), "ready") })
				for _, sig := range all {
					require.NoError(t, cmd.Process.Signal(sig))
					want := 0
					for _, s := range c.child {
						if s == sig {
							want++
						}
					}
					for _, s := range c.helper {
						if s == sig {
							want++
						}
					}
					eventually(t, sig.String(), func() bool { return strings.Count(term.shown(), "SIG"+name[sig]) >= want })
				}
				require.NoError(t, cmd.Process.Signal(syscall.SIGTERM)) // the second: KILL
				require.Equal(t, 137, wait(t, cmd))
				shown := term.shown()
				for _, sig := range all {
					assert.Equal(t, slices.Contains(c.child, sig), strings.Contains(shown, "got SIG"+name[sig]), "%v", sig)
					assert.Equal(t, slices.Contains(c.helper, sig), strings.Contains(shown, "helper SIG"+name[sig]), "%v", sig)
					assert.LessOrEqual(t, strings.Count(shown, "got SIG"+name[sig]), 1, "each arrives once")
				}
				require.True(t, report().Interrupted)
				noted, err := os.ReadFile(config.Interrupt)
				require.NoError(t, err)
				require.Equal(t, "interrupt\n", string(noted), "only the first")
			})
		})
	}
}

// Without a second signal a command that does not want to end is not made to.
func TestIgnoredTERMIsPatient(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		path, report := reportFile(t)
		config.Report, config.Interrupt = path, filepath.Join(t.TempDir(), "noted")
		term := newTerminal(t)
		cmd := term.run(config, "sh", "-c", "trap '' TERM; echo up; read x; exit 8")
		term.expect("up")
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		eventually(t, "the signal is noted", func() bool { _, err := os.Stat(config.Interrupt); return err == nil })
		term.send("\n")
		require.Equal(t, 8, wait(t, cmd))
		require.True(t, report().Interrupted)
	})
}

func TestTerminate(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		for script, status := range map[string]int{
			"exec sleep 100": 143,
			"trap 'exit 6' TERM; while :; do sleep 0.02; done": 6,
			"trap '' TERM; while :; do sleep 0.02; done":       137,
			"sleep 100": 143,
		} {
			path, report := reportFile(t)
			config.Report, config.Terminate, config.Grace = path, 100*time.Millisecond, 200*time.Millisecond
			_, _, got := piped(t, config, "", "sh", "-c", script)
			require.Equal(t, status, got, script)
			require.False(t, report().Interrupted, "it was obsrun's own doing")
		}
	})
}

// The command's group ends with it, as a shell's job does.
func TestTERMReachesTheWholeGroup(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		cmd := command(t, config, "sh", "-c", "sleep 100 & sleep 100 & sleep 100 & echo $$; wait")
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		defer kill(cmd)
		var pid int
		_, err = fmt.Fscan(out, &pid)
		require.NoError(t, err)
		eventually(t, "all run", func() bool { return len(groupMembers(pid)) == 4 })
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		require.Equal(t, 143, wait(t, cmd))
		eventually(t, "all ended", func() bool { return len(groupMembers(pid)) == 0 })
	})
}

// A signal that comes when the command has ended goes to the caller.
func TestLateSignals(t *testing.T) {
	path, report := reportFile(t)
	cmd := command(t, testConfig{Report: path, Linger: patience}, "sh", "-c", "echo $PPID; exit 3")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer kill(cmd)
	var monitor int
	_, err = fmt.Fscan(out, &monitor)
	require.NoError(t, err)
	eventually(t, "the monitor has ended", func() bool { return gone(monitor) })
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.Equal(t, 3, wait(t, cmd))
	require.Equal(t, "interrupt", report().Late)
}

// When obsrun is killed its command is hung up, and nothing of obsrun stays behind.
func TestKilledObsrun(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		dir := t.TempDir()
		term := newTerminal(t)
		cmd := term.run(config, "sh", "-c", "trap 'echo hung up >"+dir+"/said; exit' HUP; echo $PPID $$.; while :; do sleep 0.02; done")
		term.expect(".\r\n")
		var monitor, child int
		_, err := fmt.Sscan(term.shown(), &monitor, &child)
		require.NoError(t, err)
		require.NoError(t, cmd.Process.Kill())
		wait(t, cmd)
		eventually(t, "the command was hung up", func() bool { b, _ := os.ReadFile(dir + "/said"); return string(b) == "hung up\n" })
		eventually(t, "both ended", func() bool { return gone(monitor) && gone(child) })
	})
}

// When the monitor is killed obsrun says so.
func TestKilledMonitor(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		path, report := reportFile(t)
		config.Report = path
		said := t.TempDir() + "/said"
		_, _, status := piped(t, config, "", "sh", "-c", "trap 'echo hung up >"+said+"; exit' HUP; sleep 0.1; kill -9 $PPID; while :; do sleep 0.02; done")
		require.Equal(t, 125, status)
		eventually(t, "the command was hung up", func() bool { b, _ := os.ReadFile(said); return string(b) == "hung up\n" })
		require.Equal(t, ErrMonitorKilled.Error(), report().Err)
	})
}

func gone(pid int) bool {
	f, ok := processFact(pid)
	return !ok || f.dead
}
