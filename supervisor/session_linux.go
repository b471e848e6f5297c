package supervisor

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
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

// ignoredStops returns the stop signals that this process ignores. Go leaves them
// alone until they are asked for, so this is what the process was started with.
func ignoredStops() []syscall.Signal {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return nil
	}
	defer f.Close()
	var list []syscall.Signal
	for lines := bufio.NewScanner(f); lines.Scan(); {
		text, ok := strings.CutPrefix(lines.Text(), "SigIgn:")
		if !ok {
			continue
		}
		mask, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
		if err != nil {
			return nil
		}
		for _, sig := range []syscall.Signal{syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU} {
			if mask&(1<<(sig-1)) != 0 {
				list = append(list, sig)
			}
		}
	}
	return list
}
