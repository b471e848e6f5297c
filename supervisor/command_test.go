package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestExitStatus(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		path, report := reportFile(t)
		config.Report = path
		for _, code := range []int{0, 1, 2, 3, 42, 124, 125, 126, 127, 128, 137, 255} {
			_, _, status := piped(t, config, "", "sh", "-c", fmt.Sprintf("exit %d", code))
			require.Equal(t, code, status)
			require.Equal(t, testReport{Code: code}, report())
		}
		for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGKILL,
			syscall.SIGSEGV, syscall.SIGTERM, syscall.SIGUSR1} {
			_, _, status := piped(t, config, "", "sh", "-c", fmt.Sprintf("ulimit -c 0; kill -%d $$", sig))
			interrupted := sig == syscall.SIGHUP || sig == syscall.SIGINT || sig == syscall.SIGTERM
			require.Equal(t, 128+int(sig), status)
			require.Equal(t, testReport{Code: status, Signal: int(sig), Interrupted: interrupted}, report())
		}
	})
}

// Every status comes through, and with it what was written right before the end.
func TestEveryExitStatus(t *testing.T) {
	const script = `for i in $(seq $0 2 255); do "$EXE" sh -c "printf $i,; exit $i"; [ $? = $i ] || echo wrong $i; done`
	for first := range 2 {
		t.Run(fmt.Sprint("from ", first), func(t *testing.T) {
			t.Parallel()
			cmd := command(t, testConfig{NoPTY: first == 1})
			cmd.Env = append(cmd.Env, "EXE="+cmd.Path)
			cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", script, fmt.Sprint(first)}
			out, err := cmd.CombinedOutput()
			require.NoError(t, err)
			var want strings.Builder
			for i := first; i < 256; i += 2 {
				fmt.Fprint(&want, i, ",")
			}
			require.Equal(t, want.String(), string(out))
		})
	}
}

func TestRefusedCommands(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), mode))
		return path
	}
	plain := write("plain", "#!/bin/sh\n", 0o644)
	orphan := write("orphan", "#!/no/such/interpreter -x\n", 0o755)
	loader := write("loader", "\x7fELF garbage", 0o755)
	script := write("script", "echo $0 $1 without interpreter line\n", 0o755)
	for _, c := range []struct {
		name    string
		args    []string
		status  int
		message string
	}{
		{"unknown", []string{"no-such-command"}, 127, "run no-such-command: command not found in PATH"},
		{"empty", []string{""}, 127, "the command name is empty"},
		{"missing", []string{dir + "/none"}, 127, dir + "/none: no such file"},
		{"below a file", []string{plain + "/x"}, 127, "no such file"},
		{"directory", []string{dir}, 126, "is a directory"},
		{"not executable", []string{plain}, 126, "permission denied"},
		{"interpreter", []string{orphan}, 126, "bad interpreter /no/such/interpreter"},
		{"too long", []string{"echo", strings.Repeat("x", 4<<20)}, 126, "argument list too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Start(Command{Args: c.args, Env: os.Environ()})
			var refused *StartError
			require.ErrorAs(t, err, &refused)
			assert.Equal(t, c.status, refused.Status)
			assert.Contains(t, err.Error(), c.message)
		})
	}
	_, err := Start(Command{})
	require.ErrorContains(t, err, "no command")
	_, err = Start(Command{Args: []string{"true", "a\x00b"}})
	require.ErrorContains(t, err, "NUL")
	_, err = Start(Command{Args: []string{"true"}, Dir: dir + "/none", Env: os.Environ()})
	var failed *StartError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, 125, failed.Status)

	// The kernel refuses these two; a shell runs them as scripts.
	out, _, status := piped(t, testConfig{}, "", script, "argument")
	require.Zero(t, status)
	require.Equal(t, script+" argument without interpreter line\n", out)
	_, _, status = piped(t, testConfig{}, "", loader)
	require.NotZero(t, status)
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"a", "b", "c"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	require.NoError(t, os.WriteFile(dir+"/a/tool", nil, 0o644))
	require.NoError(t, os.Mkdir(dir+"/b/tool", 0o755))
	require.NoError(t, os.WriteFile(dir+"/c/tool", nil, 0o755))
	path := func(entries ...string) []string {
		return []string{"HOME=/", "PATH=" + strings.Join(entries, ":"), "PATH=/second"}
	}

	got, err := Resolve("tool", path(dir+"/a", dir+"/b", dir+"/c"), "")
	require.NoError(t, err)
	require.Equal(t, dir+"/c/tool", got, "what cannot be run is passed over")
	_, err = Resolve("tool", path(dir+"/a", dir+"/b"), "")
	require.Equal(t, 126, err.(*StartError).Status)
	_, err = Resolve("tool", path(dir), "")
	require.Equal(t, 127, err.(*StartError).Status)
	got, err = Resolve("tool", path(""), dir+"/c")
	require.NoError(t, err)
	require.Equal(t, "./tool", got, "an empty entry is the working directory")
	got, err = Resolve("c/tool", nil, dir)
	require.NoError(t, err)
	require.Equal(t, "c/tool", got)
	got, err = Resolve("sh", nil, "")
	require.NoError(t, err)
	require.Contains(t, []string{"/bin/sh", "/usr/bin/sh"}, got, "no PATH at all")
}

// What the command is started with is what it would get without obsrun.
func TestSurroundings(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		dir := t.TempDir()
		file, err := os.Create(dir + "/passed")
		require.NoError(t, err)
		bare, under := surroundings(t, dir, file, nil), surroundings(t, dir, file, &config)
		assert.Equal(t, bare, under)
		assert.Equal(t, `[b'', b'a\nb', b'--', b'\xff\xfe', b'\xc3\xbc']`, under[1])
		assert.Regexp(t, `\[0, 1, 2, 3, 5\b`, under[3])
		assert.Regexp(t, `^set\(\) \(200, \d+\)$`, under[5])
	})
}

// surroundings is what a program sees of its surroundings, under obsrun or, without a
// config, by itself.
func surroundings(t *testing.T, dir string, file *os.File, config *testConfig) []string {
	args := []string{"python3", "-c", `
import os, sys, signal, resource, fcntl
print(os.getcwd())
print([os.fsencode(a) for a in sys.argv[1:]])
print(sorted(k for k in os.environ if k.startswith("OBSRUN_")), os.environb.get(b"BINARY"))
print(sorted(int(fd) for fd in os.listdir("/dev/fd") if os.path.exists("/dev/fd/" + fd)), -1)
print([fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK for fd in range(3)])
print(signal.pthread_sigmask(signal.SIG_BLOCK, []), resource.getrlimit(resource.RLIMIT_NOFILE))
print([(s, signal.getsignal(s)) for s in range(1, 32)], os.umask(0))
print(os.getpriority(os.PRIO_PROCESS, 0), os.getpgrp() == os.getpid())
`, "", "a\nb", "--", "\xff\xfe", "ü"}
	var cmd *exec.Cmd
	if config != nil {
		cmd = command(t, *config, args...)
	} else {
		cmd = command(t, testConfig{})
		path, err := exec.LookPath(args[0])
		require.NoError(t, err)
		cmd.Path, cmd.Args = path, args
		cmd.Env = append(os.Environ(), "PS1=prompt> ", "HISTFILE=/dev/null")
	}
	cmd.Dir = dir
	cmd.Env = append(cmd.Env, "BINARY=\xff\xfe")
	cmd.ExtraFiles = []*os.File{file, nil, file}
	cmd.Stdin = strings.NewReader("")
	// Go raises the soft limit of open files, but for itself only.
	cmd.Args = append([]string{"sh", "-c", `ulimit -S -n 200; umask 027; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return strings.Split(string(out), "\n")
}

// nohup and a shell's & ignore signals; so do obsrun and its command then.
func TestIgnoredSignalsStayIgnored(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		term := newTerminal(t)
		cmd := command(t, config, "sh", "-c", "trap 'echo usr' USR1; kill -HUP $PPID; kill -HUP $$; kill -INT $$; kill -QUIT $$; echo alive; read x; echo done")
		cmd.Args = append([]string{"sh", "-c", `trap '' HUP INT QUIT TSTP; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = "/bin/sh"
		term.attach(cmd)
		term.expect("alive")
		for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP} {
			require.NoError(t, cmd.Process.Signal(sig))
		}
		term.send("\x03\x1a\n") // the keys mean nothing either
		term.insist("\n", "done")
		require.Zero(t, wait(t, cmd))
	})
}

// A Process leaves no goroutine and no descriptor behind, however it ended.
func TestNothingIsLeftBehind(t *testing.T) {
	descriptors := func() int {
		runtime.GC() // ends what earlier tests left to the finalizers
		names, err := os.ReadDir("/dev/fd")
		require.NoError(t, err)
		return len(names)
	}
	out, err := os.Create(t.TempDir() + "/out")
	require.NoError(t, err)
	defer out.Close()
	term := newTerminal(t)
	once := func() {
		for _, c := range []Command{
			{Args: []string{"sh", "-c", "echo x; sleep 100 & exit 3"}, Stdout: out, Stderr: out},
			{Args: []string{"sh", "-c", "echo x"}, Stdin: term.slave, Stdout: term.slave, Stderr: term.slave},
			{Args: []string{"sh", "-c", "echo x"}, NoPTY: true, Stdout: out},
			{Args: []string{"/no/such/command"}},
			{Args: []string{t.TempDir()}},
		} {
			c.Env = os.Environ()
			var record bytes.Buffer
			c.Cast = NewCast(&record)
			p, err := Start(c)
			if err != nil {
				continue
			}
			p.Wait()
			p.Close()
		}
	}
	once()
	goroutines, files := runtime.NumGoroutine(), descriptors()
	for range 5 {
		once()
	}
	eventually(t, "the goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
	require.LessOrEqual(t, descriptors(), files)
}

// What was made ready and is not wanted leaves nothing behind, its monitor neither.
func TestPreparedIsGivenUp(t *testing.T) {
	once := func() {
		for _, noPTY := range []bool{false, true} {
			r := Prepare(Command{Args: []string{"true"}, NoPTY: noPTY})
			require.NoError(t, r.err)
			monitor := r.process.monitor.pid
			require.NoError(t, syscall.Kill(monitor, 0))
			r.Close()
			r.Close()
			require.ErrorIs(t, syscall.Kill(monitor, 0), syscall.ESRCH)
		}
	}
	once()
	files := func() int {
		entries, err := os.ReadDir("/dev/fd")
		require.NoError(t, err)
		return len(entries)
	}
	before := files()
	once()
	require.LessOrEqual(t, files(), before)
}

func TestNestedRuns(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	args := []string{"sh", "-c", "test -t 1 && echo deep; exit 7"}
	for range 16 { // of two processes each, which are large with the race detector
		args = append([]string{"env", configVariable + "={}", exe}, args...)
	}
	out, _, status := piped(t, testConfig{}, "", args...)
	require.Equal(t, 7, status)
	require.Equal(t, "deep\r\n", strings.ReplaceAll(out, "\n", "\r\n"))

	term := newTerminal(t)
	cmd := term.run(testConfig{}, args...)
	term.expect("deep\r\n")
	require.Equal(t, 7, wait(t, cmd))
}

func TestNoPseudoTerminals(t *testing.T) {
	cmd := command(t, testConfig{}, "sh", "-c", "echo started >"+t.TempDir()+"/proof")
	cmd.Args = append([]string{"sh", "-c", `ulimit -n 8; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.True(t, errors.As(err, &exit), string(out))
	require.Equal(t, 125, exit.ExitCode(), string(out))
	require.Contains(t, string(out), "obsrun:")
}

func TestUnprocess(t *testing.T) {
	for in, want := range map[string]string{"": "", "a\r\nb": "a\nb", "\r\r\n": "\r\n", "\r": "\r", "a\rb\n": "a\rb\n"} {
		require.Equal(t, want, string(unprocess(nil, []byte(in))), "%q", in)
	}
}

// Who was made after the leader of a session is found as quickly as it was made.
func TestSessionOfAMomentAgo(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sleep 100 & sleep 100 & wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, cmd.Start())
	leader := cmd.Process.Pid
	defer kill(cmd)
	for _, young := range []bool{false, true} {
		eventually(t, "both sleep", func() bool { return len(sessionMembers(leader, young)) == 2 })
	}
	all := sessionMembers(leader, false)
	require.ElementsMatch(t, all, sessionMembers(leader, true))
	for _, s := range all {
		_ = syscall.Kill(s.PID, syscall.SIGKILL)
	}
	_, known := madeSince(1 << 30)
	require.False(t, known, "the numbers began anew")
}

func TestSessionFacts(t *testing.T) {
	cmd := exec.Command("sleep", "100")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, cmd.Start())
	defer kill(cmd)
	eventually(t, "sleep leads its group", func() bool { return len(groupMembers(cmd.Process.Pid)) == 1 })
	f, ok := processFact(cmd.Process.Pid)
	require.True(t, ok)
	require.Equal(t, os.Getpid(), f.parent)
	for _, young := range []bool{false, true} {
		require.Empty(t, sessionMembers(cmd.Process.Pid, young), "the leader does not count")
	}
	_, ok = processFact(1 << 30)
	require.False(t, ok)
}
