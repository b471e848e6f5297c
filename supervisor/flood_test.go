package supervisor

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Ten thousand processes write a line each and are gone, every tenth a program of its
// own. Every byte arrives, in order.
func TestManyShortChildren(t *testing.T) {
	const script = `i=0; while [ $i -lt 10000 ]; do case $i in *0) /bin/echo line $i;; *) (echo line $i);; esac; i=$((i+1)); done`
	var want bytes.Buffer
	for i := range 10000 {
		fmt.Fprintln(&want, "line", i)
	}
	t.Parallel()
	out, err := command(t, testConfig{Cast: t.TempDir() + "/cast"}, "sh", "-c", script).CombinedOutput()
	require.NoError(t, err)
	require.True(t, want.String() == string(out), "%d bytes instead of %d", len(out), want.Len())
}

// 200 MB to somebody who reads in bites: all of it arrives, and none of it is kept
// meanwhile.
func TestSlowReaderGetsAll(t *testing.T) {
	t.Parallel()
	const most = 200_000_000
	cmd := command(t, testConfig{Cast: os.DevNull}, breaking(t, "count", most)...)
	read, write, err := os.Pipe()
	require.NoError(t, err)
	defer read.Close()
	cmd.Stdout = write
	require.NoError(t, cmd.Start())
	defer kill(cmd)
	write.Close()
	got, total, peak := sha256.New(), 0, int64(0)
	buf := make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(read, buf)
		got.Write(buf[:n])
		if total += n; total%(20<<20) == 0 {
			time.Sleep(20 * time.Millisecond) // everything on the way is full then
			peak = peakMemory(t, cmd.Process.Pid)
		}
		if err != nil {
			break
		}
	}
	require.Zero(t, wait(t, cmd))
	want := sha256.New()
	require.NoError(t, writeNumbered(want, most, 0))
	require.Equal(t, want.Sum(nil), got.Sum(nil), "%d bytes arrived", total)
	assert.Less(t, peak, int64(150<<20), "bytes of memory")
}

// A terminal that changes its size all the time, while it is written to: the command
// has the last size in the end.
func TestResizeStorm(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		config.Cast = t.TempDir() + "/cast"
		term := newTerminal(t)
		cmd := term.run(config, breaking(t, "follow")...)
		term.expect("up\r\n")
		for i := range 2000 {
			require.NoError(t, pty.Setsize(term.master, &pty.Winsize{Rows: uint16(1 + i%200), Cols: uint16(1 + i%317)}))
		}
		require.NoError(t, pty.Setsize(term.master, &pty.Winsize{Rows: 51, Cols: 133}))
		term.insist("\n", "size 51 133 true")
		term.send("\x04")
		require.Zero(t, wait(t, cmd))
	})
}

// Orphans by the hundred are nobody's business: they are neither waited for nor do
// they stay behind as zombies of obsrun's.
func TestManyOrphans(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		const script = `echo $PPID; for r in $(seq 30); do for i in $(seq 40); do ( (:) & ); done; done; echo made; read x; exit 17`
		stdin, hold, err := os.Pipe()
		require.NoError(t, err)
		cmd := command(t, config, "sh", "-c", script)
		cmd.Stdin = stdin
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		defer kill(cmd)
		stdin.Close()
		var monitor int
		var made string
		_, err = fmt.Fscan(stdout, &monitor, &made)
		require.NoError(t, err)
		children := 0
		for _, pid := range processIDs() {
			if f, ok := processFact(pid); ok && (f.parent == monitor || f.parent == cmd.Process.Pid) {
				assert.False(t, f.dead, "zombie %d", pid)
				children++
			}
		}
		assert.Equal(t, 2, children, "the monitor, and the command")
		hold.Close()
		require.Equal(t, 17, wait(t, cmd))
	})
}

// peakMemory is the most that a process had of memory, in bytes; 0 where the system
// does not tell.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, text, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
	require.NoError(t, err)
	return kib << 10
}
