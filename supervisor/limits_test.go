package supervisor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// limited puts cmd under a limit of the shell's ulimit, from before obsrun starts.
func limited(t *testing.T, cmd *exec.Cmd, limit string) {
	t.Helper()
	bash, err := exec.LookPath("bash")
	require.NoError(t, err)
	cmd.Args = append([]string{"bash", "-c", "ulimit " + limit + ` && exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = bash
}

// However few files may be open: the command runs as it should, or obsrun says why it
// does not start it.
func TestFewDescriptors(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		starve(t, config, "-n", "ulimit -n", 8, 24, func(*exec.Cmd) int { return 0 })
	})
}

// The same with processes, of a user who may have only a few.
func TestFewProcesses(t *testing.T) {
	exe, err := os.Open(os.Args[0])
	require.NoError(t, err)
	t.Cleanup(func() { exe.Close() })
	if os.Getuid() == 0 {
		both(t, func(t *testing.T, config testConfig) {
			starve(t, config, "-u", "ulimit -u", 6, 30, func(cmd *exec.Cmd) int {
				// The limit is not root's, and the path to the tests may be.
				cmd.Path, cmd.ExtraFiles = "/proc/self/fd/3", []*os.File{exe}
				user := uint32(61234)
				if config.NoPTY {
					user++ // not to count what runs beside
				}
				cmd.SysProcAttr.Credential = &syscall.Credential{Uid: user, Gid: user}
				cmd.Dir = "/"
				return 0
			})
		})
		return
	}
	// The limit counts all that the user has on the machine, so nothing runs beside.
	for _, noPTY := range []bool{false, true} {
		t.Run(fmt.Sprintf("nopty=%v", noPTY), func(t *testing.T) {
			starve(t, testConfig{NoPTY: noPTY}, "-u", "ulimit -u", 6, 30, func(*exec.Cmd) int {
				return threadsOf(t, os.Getuid())
			})
		})
	}
}

// threadsOf counts the threads of a user.
func threadsOf(t *testing.T, uid int) (n int) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != uid {
			continue
		}
		tasks, _ := os.ReadDir(dir + "/task")
		n += len(tasks)
	}
	return n
}

// starve runs a command with less and less of what a limit bounds; prepare gives how
// much of it others have.
func starve(t *testing.T, config testConfig, limit, advice string, least, most int, prepare func(*exec.Cmd) int) {
	ran, refused := 0, 0
	for n := most; n >= least; n-- {
		cmd := command(t, config, "sh", "-c", "echo out; exit 7")
		limited(t, cmd, fmt.Sprint(limit, " ", n+prepare(cmd)))
		var out, words strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &words
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { kill(cmd) })
		status := wait(t, cmd)
		text := words.String()
		switch {
		case status == 7:
			ran++
			assert.Empty(t, text, "%d", n)
			assert.Equal(t, "out\n", out.String(), "%d", n)
			continue
		case strings.Contains(text, "fatal error: ") || strings.Contains(text, "SIGABRT: abort"):
			continue // Go itself needed more than there is, when the command ran, too
		case limit == "-u" && status == statusFault && text == "":
			// So did the monitor, when the command ran: ErrMonitorKilled in Exit.
			continue
		default:
			refused++
			assert.Contains(t, []int{125, 126}, status, "%d: %s", n, text)
			assert.Regexp(t, `^obsrun: .*\(.*`+advice+`.*\)\n$`, text, "%d", n)
		}
		assert.Empty(t, out.String(), "%d", n)
	}
	t.Logf("%s %d to %d: %d ran, %d were refused", limit, least, most, ran, refused)
	assert.Positive(t, ran)
	assert.Less(t, ran, most-least+1)
}

// A descriptor whose number is beyond the limit is passed on like any other.
func TestDescriptorBeyondTheLimit(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		words, err := os.Create(t.TempDir() + "/words")
		require.NoError(t, err)
		defer words.Close()
		cmd := command(t, config, "bash", "-c", "echo passed >&200; exit 7")
		limited(t, cmd, "-n 100")
		cmd.Args[2] = "exec 200>&3 3>&-; " + cmd.Args[2]
		cmd.ExtraFiles = []*os.File{words}
		out, err := cmd.CombinedOutput()
		require.Equal(t, 7, cmd.ProcessState.ExitCode(), "%v %s", err, out)
		b, err := os.ReadFile(words.Name())
		require.NoError(t, err)
		require.Equal(t, "passed\n", string(b))
	})
}
