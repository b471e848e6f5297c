package monitor

import (
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the package imports decides when it is initialised, and so how soon COMMAND runs.
func TestImportsNothingSlow(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", ".")
	cmd.Env = append(cmd.Environ(), "GOOS=linux", "GOARCH="+runtime.GOARCH)
	out, err := cmd.Output()
	require.NoError(t, err)
	deps := strings.Fields(string(out))
	require.Contains(t, deps, "os/signal")
	for _, slow := range []string{"unicode", "reflect", "fmt", "strings", "bytes", "golang.org/x/sys/unix"} {
		require.NotContains(t, deps, slow)
	}
}

func TestEnterTakesNoOther(t *testing.T) {
	for _, args := range [][]string{nil, {Name}, {Name, "x", "-1", "-1"}, {Name, "1000000", "-1", "-1"}, {"obsrun", "3", "-1", "4"}} {
		require.Nil(t, enter(args), "%q", args)
	}
}
