package supervisor

import (
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
)

// bareCopy is the least that a program under a pseudo-terminal costs.
func bareCopy(b *testing.B, cmd *exec.Cmd) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(b, err)
	defer null.Close()
	master, err := pty.Start(cmd)
	require.NoError(b, err)
	io.Copy(struct{ io.Writer }{null}, master)
	require.NoError(b, cmd.Wait())
	master.Close()
}
