package supervisor

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const zombieState = 5 // SZOMB of sys/proc.h

// processIDs lists all processes.
func processIDs() []int {
	list, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil
	}
	ids := make([]int, len(list))
	for i := range list {
		ids[i] = int(list[i].Proc.P_pid)
	}
	return ids
}

// processFact asks sysctl; see sysctl(3), KERN_PROC_PID.
func processFact(pid int) (fact, bool) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return fact{}, false
	}
	return fact{
		name:   unix.ByteSliceToString(info.Proc.P_comm[:]),
		parent: int(info.Eproc.Ppid),
		dead:   info.Proc.P_stat == zombieState,
	}, true
}

// madeSince would list the processes that were made since first was. Numbers are not given
// in order here.
func madeSince(int) ([]int, bool) { return nil, false }

// ignoredStops returns the stop signals that this process was started to ignore.
// There is no way to learn it here without C.
func ignoredStops() []syscall.Signal { return nil }
