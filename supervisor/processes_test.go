package supervisor

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v4/process"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// shell starts a script that leads a session of its own, and gives the process id
// that it prints first. Everything in its process group ends with the test.
func shell(t testing.TB, script string) (pid int) {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	pid, err = strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err)
	return pid
}

// burn is shell code that computes for a while; burned is what of it can be
// relied upon.
const (
	burn   = `i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done`
	burned = 30 * time.Millisecond
)

func treeOf(t testing.TB, pid int) *processTree {
	tree := newProcessTree(pid, realKernel(), false)
	t.Cleanup(tree.kernel.close)
	return tree
}

func lookUntil(t *testing.T, tree *processTree, good func(processCount) bool) processCount {
	t.Helper()
	var c processCount
	require.Eventually(t, func() bool { c = tree.look(); return good(c) }, 20*time.Second, 5*time.Millisecond, "last seen: %+v", &c)
	return c
}

func TestProcessTreeTellsBusyFromIdle(t *testing.T) {
	busy := treeOf(t, shell(t, `echo $$; while :; do :; done`))
	idle := treeOf(t, shell(t, `echo $$; exec sleep 1000`))
	lookUntil(t, busy, func(c processCount) bool { return c.used >= 200*time.Millisecond })
	c := lookUntil(t, idle, func(c processCount) bool { return c.command == "sleep" })
	assert.Less(t, c.used, 50*time.Millisecond)
	assert.Equal(t, 1, c.live)
	assert.Empty(t, c.odd)
}

func TestProcessTreeCountsFromTheFirstLook(t *testing.T) {
	pid := shell(t, burn+`; echo $$; exec sleep 1000`)
	tree := treeOf(t, pid)
	assert.Less(t, tree.look().used, burned)
}

func TestProcessTreeSeesDescendants(t *testing.T) {
	tree := treeOf(t, shell(t, `echo $$; (sleep 1000 & sh -c 'while :; do :; done' & wait) & wait`))
	c := lookUntil(t, tree, func(c processCount) bool { return c.live == 4 && c.used >= 100*time.Millisecond })
	assert.Equal(t, "sh", c.command)
}

func TestProcessTreeKeepsOrphans(t *testing.T) {
	t.Run("of the session", func(t *testing.T) {
		// The inner shell is followed: the outer one leads the session, as the monitor does.
		pid := shell(t, `sh -c 'echo $$; sleep 0.2; (sh -c "while :; do :; done" &); exec sleep 1000' & wait`)
		tree := treeOf(t, pid)
		require.NotZero(t, tree.session)
		lookUntil(t, tree, func(c processCount) bool { return c.live == 2 && c.used >= 100*time.Millisecond })
	})
	t.Run("that were seen before", func(t *testing.T) {
		pid := shell(t, `echo $$; (sleep 1000 & sleep 0.3; :); exec sleep 1000`)
		tree := treeOf(t, pid)
		require.Zero(t, tree.session, "the session is the shell's own")
		lookUntil(t, tree, func(c processCount) bool { return c.live == 4 })
		c := lookUntil(t, tree, func(c processCount) bool { return c.command == "sleep" })
		assert.Equal(t, 2, c.live)
	})
}

func TestProcessTreeSharesNoSessionWithStrangers(t *testing.T) {
	pid := shell(t, `sleep 1000 & sh -c 'echo $$; exec sleep 1000' & wait`)
	tree := treeOf(t, pid)
	// Its parent leads the session here, which is what marks a monitor. So look at the
	// parent, whose own parent does not.
	require.NotZero(t, tree.session)
	parent := tree.session
	assert.Zero(t, treeOf(t, parent).session)
	assert.Zero(t, treeOf(t, os.Getpid()).session)
}

func TestProcessTreeNamesStates(t *testing.T) {
	pid := shell(t, `echo $$; sleep 1000 & wait`)
	tree := treeOf(t, pid)
	lookUntil(t, tree, func(c processCount) bool { return c.live == 2 })
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	c := lookUntil(t, tree, func(c processCount) bool { return len(c.odd) == 1 })
	assert.Equal(t, []oddProcess{{pid, "sh", stopped}}, c.odd)
	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
	lookUntil(t, tree, func(c processCount) bool { return len(c.odd) == 0 })

	waiter := shell(t, `sh -c 'sleep 0.1 & echo $$; exec sleep 1000' & wait`)
	tree = treeOf(t, waiter)
	c = lookUntil(t, tree, func(c processCount) bool { return len(c.odd) == 1 })
	assert.Equal(t, zombie, c.odd[0].state)
	assert.Equal(t, 1, c.live)
}

func TestProcessTreeOfNobody(t *testing.T) {
	cmd := exec.Command("true")
	require.NoError(t, cmd.Run())
	tree := treeOf(t, cmd.Process.Pid)
	assert.Equal(t, processCount{root: tree.root}, tree.look())
}

func TestProcessTreeIgnoresAReusedNumber(t *testing.T) {
	pid := shell(t, `echo $$; while :; do :; done`)
	tree := treeOf(t, pid)
	was := tree.known[pid]
	was.start-- // the number belonged to somebody else then
	tree.known[pid] = was
	c := tree.look()
	assert.Equal(t, processCount{root: pid}, c)
}

func TestProcessSpent(t *testing.T) {
	set := func(list ...processStat) map[int]processStat {
		m := make(map[int]processStat)
		for _, p := range list {
			m[p.pid] = p
		}
		return m
	}
	p := func(pid, parent int, own, waited time.Duration) processStat {
		return processStat{pid: pid, parent: parent, start: uint64(pid), own: use{cpu: own}, waited: use{cpu: waited}}
	}
	cases := []struct {
		name        string
		before, now map[int]processStat
		want        time.Duration
	}{
		{"nothing", set(), set(), 0},
		{"own time", set(p(1, 0, 5, 7)), set(p(1, 0, 9, 7)), 4},
		{"a new process counts whole", set(p(1, 0, 5, 0)), set(p(1, 0, 5, 0), p(2, 1, 3, 2)), 5},
		{"a child that lived and ended between two looks", set(p(1, 0, 5, 7)), set(p(1, 0, 5, 17)), 10},
		{"a known child ended: only its rest", set(p(1, 0, 5, 0), p(2, 1, 8, 1)), set(p(1, 0, 5, 12)), 3},
		{"a known grandchild too", set(p(1, 0, 5, 0), p(2, 1, 8, 0), p(3, 2, 20, 0)), set(p(1, 0, 5, 30)), 2},
		{"it ended and nobody waited", set(p(1, 0, 5, 0), p(2, 1, 8, 0)), set(p(1, 0, 6, 0)), 1},
		{"an orphan ended", set(p(1, 0, 5, 0), p(2, 77, 8, 0)), set(p(1, 0, 6, 0)), 1},
		{"the number was used again", set(p(1, 0, 5, 0), p(2, 1, 8, 0)), set(p(1, 0, 5, 9), processStat{pid: 2, parent: 1, start: 9, own: use{cpu: 4}}), 5},
		{"parents in a circle", set(p(2, 3, 8, 0), p(3, 2, 8, 0)), set(), 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { assert.Equal(t, use{cpu: c.want}, spent(c.before, c.now)) })
	}
}

// Children that end between two looks are the usual case: a script's commands.
func TestProcessTreeCountsWhatEnded(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Skip("macOS does not tell the CPU time of children that ended")
	}
	tree := treeOf(t, shell(t, `echo $$; sh -c '`+burn+`'; sh -c '`+burn+`'; exec sleep 1000`))
	var c processCount
	require.Eventually(t, func() bool { // no look in between
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", tree.root))
		return strings.TrimSpace(string(b)) == "sleep"
	}, 20*time.Second, 10*time.Millisecond)
	c = tree.look()
	assert.GreaterOrEqual(t, c.used, 2*burned)
	again := tree.look()
	assert.Less(t, again.used-c.used, burned, "counted once")
}

// What children read and wrote that have ended, and who is known when IO is not asked
// for at every look.
func TestProcessTreeCountsIO(t *testing.T) {
	stat := func(pid int, read int64) processStat {
		return processStat{pid: pid, parent: pid - 1, session: 1, start: uint64(pid), waited: use{read: read}, metered: true}
	}
	var table []processStat
	k := kernel{
		list: func(into []processStat, _ map[int]struct{}) []processStat {
			for _, p := range table {
				p.waited, p.metered = use{}, false // not at every look
				into = append(into, p)
			}
			return into
		},
		fill: func(list []processStat, ask question) {
			for i := range list {
				for _, p := range table {
					if ask.io && p.pid == list[i].pid {
						list[i].waited, list[i].metered = p.waited, true
					}
				}
			}
		},
	}
	table = []processStat{stat(2, 10), stat(3, 100)}
	tree := newProcessTree(2, k, true)
	tree.looks = 2*ioTurn - 1 // from here on one look in five asks
	tree.look()
	require.Equal(t, int64(100), tree.used.read, "what 3 read before the first look")
	look := func() int64 { return tree.look().read }
	table = []processStat{stat(2, 10), stat(3, 500)}
	assert.Equal(t, int64(100), look(), "not asked yet")
	assert.Equal(t, int64(100), tree.known[3].waited.read, "as of the last time")
	table = []processStat{stat(2, 710)} // 3 read 200 more, and was waited for
	for range ioTurn {
		look()
	}
	assert.Equal(t, int64(700), tree.used.read)
	for range 3 * ioTurn {
		look()
	}
	assert.Equal(t, int64(700), tree.used.read, "counted once")
}

// ownTime is the CPU time of this process: on a busy machine the one thing to go by.
func ownTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// What a look at a command with 100 children costs, and what it would by gopsutil
// alone. At one look a second 3 ms are 0.3 % of a core.
func BenchmarkProcessTree(b *testing.B) {
	pid := shell(b, `echo $$; i=0; while [ $i -lt 100 ]; do sleep 1000 & i=$((i+1)); done; wait`)
	tree := treeOf(b, pid)
	for tree.look().live < 101 {
		time.Sleep(10 * time.Millisecond)
	}
	measure := func(name string, look func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			began := ownTime()
			for b.Loop() {
				look()
			}
			b.ReportMetric(float64((ownTime()-began).Microseconds())/float64(b.N), "cpu-µs/op")
			b.ReportMetric(float64(len(tree.known)), "processes")
		})
	}
	measure("look", func() { tree.look() })
	metered := newProcessTree(pid, realKernel(), true)
	measure("metered", func() { metered.look() })
	p := FollowProcesses(ProcessConfig{PID: pid, Record: func(telemetry.Event) error { return nil }})
	b.Cleanup(func() { p.Close(Exit{}) })
	measure("followed", func() { p.tell(p.observe(0)) })
	b.Run("gopsutil", func(b *testing.B) {
		for b.Loop() {
			all, err := process.Processes()
			require.NoError(b, err)
			parents := make(map[int32]int32)
			for _, p := range all {
				parents[p.Pid], _ = p.Ppid()
			}
			for _, p := range all {
				if parents[p.Pid] == int32(pid) || p.Pid == int32(pid) {
					_, _ = p.Times()
					_, _ = p.Status()
				}
			}
		}
	})
}
