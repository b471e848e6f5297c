package supervisor

import (
	"golang.org/x/sys/unix"
)

// Survivor is a process that COMMAND left running in its session and that did not
// end when it was hung up.
type Survivor struct {
	PID  int
	Name string // the kernel's short name of the command
}

// fact is what the kernel says of a process.
type fact struct {
	name   string
	parent int
	dead   bool // a zombie, waiting to be reaped
}

// sessionMembers lists the live processes of session sid except its leader. young says that
// the leader was made a moment ago, and so were they.
func sessionMembers(sid int, young bool) []Survivor {
	ids, known := []int(nil), false
	if young {
		ids, known = madeSince(sid)
	}
	if !known {
		ids = processIDs()
	}
	return survivors(ids, func(pid int) bool {
		s, err := unix.Getsid(pid)
		return err == nil && s == sid && pid != sid
	})
}

// groupMembers lists the live processes of process group pgid.
func groupMembers(pgid int) []Survivor {
	return survivors(processIDs(), func(pid int) bool {
		g, err := unix.Getpgid(pid)
		return err == nil && g == pgid
	})
}

func survivors(ids []int, belongs func(pid int) bool) []Survivor {
	var list []Survivor
	for _, pid := range ids {
		if !belongs(pid) {
			continue
		}
		if f, ok := processFact(pid); ok && !f.dead {
			list = append(list, Survivor{pid, f.name})
		}
	}
	return list
}

// jobControlled reports whether somebody would notice if this process group
// stopped, and could continue it: POSIX calls the group orphaned if no member has
// a parent in another group of the same session. Stopping an orphaned group is
// stopping for good.
func jobControlled() bool {
	group := unix.Getpgrp()
	session, err := unix.Getsid(0)
	if err != nil {
		return false
	}
	watches := func(parent int) bool {
		if parent <= 0 { // outside this container
			return false
		}
		s, err := unix.Getsid(parent)
		if err != nil || s != session {
			return false
		}
		g, err := unix.Getpgid(parent)
		return err == nil && g != group
	}
	if watches(unix.Getppid()) {
		return true
	}
	for _, pid := range processIDs() {
		if g, err := unix.Getpgid(pid); err != nil || g != group {
			continue
		}
		if f, ok := processFact(pid); ok && !f.dead && watches(f.parent) {
			return true
		}
	}
	return false
}
