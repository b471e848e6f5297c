package supervisor

import (
	"regexp"
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

// fillProcesses asks for CPU time, memory and IO of these processes. What children used
// that ended is not told: what lives and ends between two looks is missing. Nor is the
// highest memory, and how a zombie ended.
func fillProcesses(list []processStat, ask question) {
	for i := range list {
		if list[i].state == zombie {
			continue
		}
		p := process.Process{Pid: int32(list[i].pid)}
		if times, err := p.Times(); err == nil {
			list[i].own.cpu = time.Duration((times.User + times.System) * float64(time.Second))
		}
		if ask.memory {
			if memory, err := p.MemoryInfo(); err == nil {
				list[i].rss = int64(memory.RSS)
			}
		}
		if ask.io {
			if io, err := p.IOCounters(); err == nil {
				list[i].own.read, list[i].own.written = int64(io.DiskReadBytes), int64(io.DiskWriteBytes)
				list[i].metered = true
			}
		}
	}
}

func realKernel() kernel {
	return kernel{readProcesses, nil, fillProcesses, processArgs, processDir, processBegan, func() {}}
}

// environment is what an entry of an environment looks like.
var environment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)

// processArgs reads the command line. The system keeps the environment right behind
// it, and a first argument that is empty lets the first entry of that slip in: what
// looks like one at the end loses its value.
func processArgs(pid int) []string {
	args, err := (&process.Process{Pid: int32(pid)}).CmdlineSlice()
	if err != nil || len(args) == 0 {
		return nil
	}
	if name := environment.FindString(args[len(args)-1]); name != "" {
		args[len(args)-1] = name + "…"
	}
	for size, i := 0, 0; i < len(args); i++ {
		if size += len(args[i]) + 1; size > maxArgs {
			return args[:max(1, i)]
		}
	}
	return args
}

func processDir(pid int) string {
	dir, _ := (&process.Process{Pid: int32(pid)}).Cwd()
	return dir
}

// processBegan needs no clock: the system tells the time.
func processBegan(p *processStat, _ time.Time) time.Time { return time.Unix(0, int64(p.start)) }
