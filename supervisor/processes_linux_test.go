package supervisor

import (
	"os"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestProcTable(t *testing.T) {
	table := newProcTable()
	defer table.close()
	skip := make(map[int]struct{})
	find := func(pid int) (found processStat) {
		for _, p := range table.list(nil, skip) {
			if p.pid == pid {
				found = p
			}
		}
		return found
	}
	self := find(os.Getpid())
	assert.Equal(t, os.Getppid(), self.parent)
	assert.Positive(t, self.rss)
	kept := table.kept[os.Getpid()]
	assert.Equal(t, self.start, find(os.Getpid()).start)
	assert.Equal(t, kept.fd, table.kept[os.Getpid()].fd, "it is read from the same file")
	assert.LessOrEqual(t, len(table.kept), maxKept)

	list := []processStat{self}
	table.fill(list, question{memory: true, io: true, look: peakTurn - self.pid%peakTurn})
	assert.True(t, list[0].metered)
	assert.GreaterOrEqual(t, list[0].peak, self.rss/2)

	// The file of a process that has gone, or that is not asked for, is closed.
	pid := shell(t, `echo $$; exec sleep 1000`)
	require.NotZero(t, find(pid).start)
	gone := table.kept[pid].fd
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	var status unix.WaitStatus
	_, err := unix.Wait4(pid, &status, 0, nil)
	require.NoError(t, err)
	assert.Zero(t, find(pid).start)
	assert.NotContains(t, table.kept, pid)
	link, _ := os.Readlink("/proc/self/fd/" + strconv.Itoa(gone))
	assert.NotContains(t, link, strconv.Itoa(pid))
	skip[os.Getpid()] = struct{}{}
	find(os.Getpid())
	assert.NotContains(t, table.kept, os.Getpid())
}

func TestProcessStatParse(t *testing.T) {
	const tail = " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"
	var p processStat
	// What a name can hold, and a number of an exit status at the end.
	line := "4711 (a) Z (b) Z 17 4711 42 0 -1 4194560 1 2 3 4 150 50 30 20 20 0 1 0 987654 0 0 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 1792"
	require.True(t, p.parse([]byte(line)))
	assert.Equal(t, "a) Z (b", p.label())
	assert.Equal(t, zombie, p.state)
	assert.Equal(t, []int{17, 42}, []int{p.parent, p.session})
	assert.Equal(t, 2*clockTick*100, p.own.cpu)
	assert.Equal(t, clockTick*50, p.waited.cpu)
	assert.Equal(t, uint64(987654), p.start)
	assert.True(t, p.known)
	assert.Equal(t, 7, p.status.ExitStatus())

	p = processStat{}
	require.True(t, p.parse([]byte("1 (x) Z 17 1 42 0 -1 0 1 2 3 4 150 50 30 20 20 0 3 0 99 0 7")))
	assert.Zero(t, p.state, "threads go on without the first one")
	assert.Equal(t, 7*pageSize, p.rss)
	for _, text := range []string{"", "1", "1 (x", "1 )x(", "1 (x)", "1 (x) S", "1 (x) S" + tail} {
		p = processStat{}
		assert.False(t, p.parse([]byte(text)), text)
	}
}
