package supervisor

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// apart gives cmd a view of the file system of its own, which the shell commands of
// setup change before it begins. It reports whether this system lets us have one.
func apart(cmd *exec.Cmd, setup string) bool {
	separate := func(cmd *exec.Cmd) {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNS
		if id := os.Getuid(); id != 0 {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
	}
	setup = "mount --make-rprivate / && " + setup
	try := exec.Command("sh", "-c", setup)
	try.SysProcAttr = &syscall.SysProcAttr{}
	separate(try)
	if try.Run() != nil {
		return false
	}
	cmd.Args = append([]string{"sh", "-c", setup + ` && exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	separate(cmd)
	return true
}

// Where there are no pseudo-terminals nothing is started, and --no-pty is advised,
// which works.
func TestWithoutPseudoTerminals(t *testing.T) {
	for name, setup := range map[string]string{
		"no ptmx": "mount --bind /dev/null /dev/ptmx",
		"no pts":  "mount -t tmpfs none /dev/pts",
	} {
		both(t, func(t *testing.T, config testConfig) {
			t.Run(name, func(t *testing.T) {
				proof := filepath.Join(t.TempDir(), "proof")
				cmd := command(t, config, "sh", "-c", "echo >"+proof+"; exit 7")
				if !apart(cmd, setup) {
					t.Logf("mount namespaces are refused here (%s): the limit of open files stands in for them", setup)
					if config.NoPTY {
						return // TestFewDescriptors has it
					}
					limited(t, cmd, "-n 8")
				}
				out, _ := cmd.CombinedOutput()
				status := cmd.ProcessState.ExitCode()
				if config.NoPTY {
					require.Equal(t, 7, status, string(out))
					require.FileExists(t, proof)
					return
				}
				require.Equal(t, 125, status, string(out))
				assert.Regexp(t, `^obsrun: no pseudo-terminal is available \(--no-pty runs without\): [^\n]+\n$`, string(out))
				require.NoFileExists(t, proof)
			})
		})
	}
}
