package supervisor

import (
	"time"

	"github.com/shirou/gopsutil/v4/process"
	"golang.org/x/sys/unix"
)

// sstop is SSTOP of sys/proc.h.
const sstop = 4

// readProcesses appends all processes: one call gives them all, so that there is
// nothing to skip. Whether one is blocked in the kernel is not told.
func readProcesses(table []processStat, _ map[int]struct{}) []processStat {
	list, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return table
	}
	for i := range list {
		info := &list[i]
		p := processStat{
			pid: int(info.Proc.P_pid), parent: int(info.Eproc.Ppid),
			start: uint64(info.Proc.P_starttime.Nano()),
		}
		if session, err := unix.Getsid(p.pid); err == nil {
			p.session = session
		}
		copy(p.name[:], unix.ByteSliceToString(info.Proc.P_comm[:]))
		switch info.Proc.P_stat {
		case sstop:
			p.state = stopped
		case zombieState:
			p.state = zombie
		}
		table = append(table, p)
	}
	return table
}

// fillTimes asks for the CPU times of these processes. That of children that ended is
// not told: what lives and ends between two looks is missing.
func fillTimes(list []processStat) {
	for i := range list {
		p := process.Process{Pid: int32(list[i].pid)}
		if times, err := p.Times(); err == nil {
			list[i].own = time.Duration((times.User + times.System) * float64(time.Second))
		}
	}
}
