package main

import (
	"os"
	osexec "os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// contained runs a shell script as the first process of a container, and exec'ed by it
// what it ends with.
func contained(t *testing.T, dir, script string) *osexec.Cmd {
	t.Helper()
	const setup = "mount --make-rprivate / && mount -t proc proc /proc"
	within := func(script string) *osexec.Cmd {
		cmd := osexec.Command("sh", "-c", script)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "CI=true")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Setsid: true}
		if id := os.Getuid(); id != 0 {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		return cmd
	}
	if words, err := within(setup).CombinedOutput(); err != nil {
		t.Skipf("NOT CHECKED: this system lets nobody have processes apart: %v %s", err, words)
	}
	return within(setup + " && " + script)
}

// The first process of a container inherits what loses its parent. It takes away what
// ended of that, and nobody's exit status with it.
func TestFirstProcess(t *testing.T) {
	t.Parallel()
	for _, flags := range []string{"", "--no-pty "} {
		cmd := contained(t, t.TempDir(), `exec obsrun `+flags+`-- sh -c '
			test -d /proc/1/fd || exit 1
			for i in $(seq 40); do (sleep 0.1 &); (setsid sleep 0.1 &); done
			for i in $(seq 100); do
				left=$(grep -l "^State:.*zombie" /proc/[0-9]*/status 2>/dev/null | wc -l)
				test $i -gt 3 && test $left = 0 && break
				sleep 0.1
			done
			echo "$left left"
			for i in $(seq 20); do sh -c "exit $i"; test $? = $i || echo "status of $i"; done
			exit 5'`)
		var out, words strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &words
		require.NoError(t, cmd.Start())
		late := time.AfterFunc(longest, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		late.Stop()
		assert.Equal(t, 5, cmd.ProcessState.ExitCode(), words.String())
		assert.Equal(t, "0 left\n", out.String())
		assert.Empty(t, words.String())
	}
}

// Signals reach the command of a container, whose first process has none of the kernel's
// defaults.
func TestFirstProcessIsSignalled(t *testing.T) {
	t.Parallel()
	for sig, want := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGINT: 130, syscall.SIGHUP: 129} {
		cmd := contained(t, t.TempDir(), `exec obsrun -- sh -c 'echo up; exec sleep 100'`)
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		late := time.AfterFunc(longest, func() { _ = cmd.Process.Kill() })
		_, err = stdout.Read(make([]byte, 3))
		require.NoError(t, err)
		require.NoError(t, cmd.Process.Signal(sig))
		_ = cmd.Wait()
		late.Stop()
		assert.Equal(t, want, cmd.ProcessState.ExitCode(), "%v", sig)
	}
}
