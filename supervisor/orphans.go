package supervisor

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// orphanCheck is how often the first process looks for orphans that have ended.
const orphanCheck = time.Second

// firstProcess tells whether this is process 1, as the command of a container is. The
// kernel makes it the parent of all processes whose own have gone.
func firstProcess() bool { return os.Getpid() == 1 }

// reapOrphans takes orphans away that have ended, for as long as the first process
// lives: each keeps its number, of which a container may have few.
func reapOrphans(monitor int) {
	for range time.Tick(orphanCheck) {
		reap(monitor)
	}
}

// reap takes away what ended of this process's children but for the monitor and what
// runs in its own group: those obsrun started, and waits for.
func reap(monitor int) {
	self, group := os.Getpid(), unix.Getpgrp()
	for _, pid := range processIDs() {
		f, ok := processFact(pid)
		if !ok || !f.dead || f.parent != self || pid == monitor {
			continue
		}
		if g, err := unix.Getpgid(pid); err != nil || g == group {
			continue
		}
		_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
	}
}
