package supervisor

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/obsrun/obsrun/supervisor/monitor"
)

// processIDs lists all processes that /proc shows.
func processIDs() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	ids := make([]int, 0, len(names))
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		if pid, err := strconv.Atoi(name); err == nil {
			ids = append(ids, pid)
		}
	}
	return ids
}

// processFact reads /proc/PID/stat; see proc(5).
func processFact(pid int) (fact, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return fact{}, false
	}
	// The name stands in parentheses and may itself contain some.
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return fact{}, false
	}
	fields := strings.Fields(string(b[end+1:]))
	if len(fields) < 2 {
		return fact{}, false
	}
	parent, err := strconv.Atoi(fields[1])
	return fact{
		name:   string(b[open+1 : end]),
		parent: parent,
		dead:   fields[0] == "Z" || fields[0] == "X",
	}, err == nil
}

// madeSince lists the processes that were made since the process first was, and reports
// false where that takes a look at all of them. Numbers are given in order, to threads
// too, until they begin anew, which takes tens of thousands; the kernel tells the last one.
func madeSince(first int) ([]int, bool) {
	const most = 500
	b, err := os.ReadFile("/proc/loadavg") // see proc_loadavg(5)
	fields := bytes.Fields(b)
	if err != nil || len(fields) < 5 {
		return nil, false
	}
	last, err := strconv.Atoi(string(fields[4]))
	if err != nil || last < first || last-first > most {
		return nil, false
	}
	var ids []int
	for pid := first + 1; pid <= last; pid++ {
		if unix.Tgkill(pid, pid, 0) != unix.ESRCH { // as for a thread that leads none
			ids = append(ids, pid)
		}
	}
	return ids, true
}

// ignoredStops returns the stop signals that this process ignores. Go leaves them
// alone until they are asked for, so this is what the process was started with.
func ignoredStops() []syscall.Signal {
	var list []syscall.Signal
	for _, sig := range []syscall.Signal{syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU} {
		if monitor.Ignored(sig) {
			list = append(list, sig)
		}
	}
	return list
}
