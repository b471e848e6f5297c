package supervisor

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/supervisor/monitor"
)

// Neither a program of the monitor's name nor odd arguments make a monitor.
func TestMonitorIsNotMetByAccident(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	for _, args := range [][]string{
		{monitor.Name, "0", "-1", "-1"},
		{monitor.Name, "x", "y", "z"},
		{monitor.Name, "3"},
	} {
		cmd := exec.Command(exe)
		cmd.Args = args
		cmd.Env = append(os.Environ(), configVariable+"={}")
		out, _ := cmd.CombinedOutput()
		require.Contains(t, string(out), "obsrun: run", "%q", args)
	}
}
