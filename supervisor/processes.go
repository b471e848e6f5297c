package supervisor

import (
	"strings"
	"time"
)

// processStat is what the kernel says of a process at one moment.
type processStat struct {
	pid, parent, session int
	start                uint64 // in the kernel's units: with pid it names a process for good
	state                processState
	name                 [16]byte // the kernel's short name, NUL-padded
	// own is the CPU time, user and system, of the process; waited that of its
	// children that ended and were waited for, and of theirs. Where they can only be
	// had one process at a time they are 0 until fillTimes.
	own, waited time.Duration
}

// processState is a state that explains silence; 0 is any other.
type processState byte

const (
	stopped processState = 1 + iota // by a signal or a debugger
	blocked                         // in the kernel, where no signal reaches it
	zombie                          // ended, and not waited for
)

func (p *processStat) label() string {
	name, _, _ := strings.Cut(string(p.name[:]), "\x00")
	return name
}

// processTree follows a command and everything that it started: its descendants,
// and what was once seen among them or is still in its session although its own
// parent has ended. What left the session and lost its parent between two looks is
// not found again.
//
// A look costs some 10 microseconds for each process of the tree and each new one of
// the machine, so it is taken only when somebody has a question.
type processTree struct {
	root, session int // session: 0 where the command shares it with strangers
	known         map[int]processStat
	used          time.Duration
	table         []processStat
	// strangers are not read again, as nobody can join a tree later; only their
	// number can be used again, so they are forgotten every so many looks.
	strangers map[int]struct{}
	looks     int
}

const strangersFor = 10

// processCount is a processTree at one moment.
type processCount struct {
	root int // process id of the command
	// used is the CPU time that the tree has used since the first look, that of
	// processes that ended meanwhile included where somebody waited for them.
	used time.Duration
	// live counts the processes that have not ended, zombies left out.
	live int
	// command is the name of the root process, empty when it has ended.
	command string
	// odd are the processes that are stopped, zombies, or were blocked at this look
	// and the one before: every process is blocked for a moment now and then.
	odd []oddProcess
}

type oddProcess struct {
	pid   int
	name  string
	state processState
}

// newProcessTree takes the first look at the tree below pid.
func newProcessTree(pid int) *processTree {
	t := &processTree{root: pid, strangers: make(map[int]struct{})}
	t.read()
	for i := range t.table {
		p := &t.table[i]
		if p.pid != pid {
			continue
		}
		// Under a monitor the session is the command's alone. Elsewhere it is that of
		// the shell above, with everything that runs there.
		if p.parent == p.session {
			t.session = p.session
		}
		t.known = map[int]processStat{pid: *p}
		t.known = t.members()
		break
	}
	return t
}

// look takes another look.
func (t *processTree) look() processCount {
	if len(t.known) == 0 && t.session == 0 {
		return processCount{root: t.root, used: t.used}
	}
	t.read()
	before, now := t.known, t.members()
	t.known = now
	t.used += spent(before, now)

	count := processCount{root: t.root, used: t.used}
	for i := range t.table {
		p, ok := now[t.table[i].pid]
		if !ok {
			continue
		}
		if p.state != zombie {
			count.live++
			if p.pid == t.root {
				count.command = p.label()
			}
		}
		if p.state != 0 && (p.state != blocked || before[p.pid].state == blocked && before[p.pid].start == p.start) {
			count.odd = append(count.odd, oddProcess{p.pid, p.label(), p.state})
		}
	}
	return count
}

func (t *processTree) read() {
	if t.looks++; t.looks%strangersFor == 0 {
		clear(t.strangers)
	}
	t.table = readProcesses(t.table[:0], t.strangers)
}

// members finds the processes of the table that belong to the tree.
func (t *processTree) members() map[int]processStat {
	index := make(map[int]int, len(t.table))
	for i := range t.table {
		index[t.table[i].pid] = i
	}
	belongs := make([]int8, len(t.table)) // 1 it does, -1 it does not, 0 not known yet
	var path []int
	found := make([]processStat, 0, len(t.known)+8)
	for i := range t.table {
		path = path[:0]
		verdict, at := int8(-1), i
		for {
			p := &t.table[at]
			if belongs[at] != 0 {
				verdict = belongs[at]
				break
			}
			path = append(path, at)
			belongs[at] = -1 // ends a circle, which a table read in passing can have
			was, seen := t.known[p.pid]
			if seen && was.start == p.start || t.session != 0 && p.session == t.session && p.pid != t.session {
				verdict = 1
				break
			}
			above, ok := index[p.parent]
			// A parent that is younger is another process under a used number.
			if !ok || t.table[above].start > p.start {
				break
			}
			at = above
		}
		for _, k := range path {
			belongs[k] = verdict
		}
		if verdict > 0 {
			found = append(found, t.table[i])
		} else {
			t.strangers[t.table[i].pid] = struct{}{}
		}
	}
	fillTimes(found)
	all := make(map[int]processStat, len(found))
	for _, p := range found {
		all[p.pid] = p
	}
	return all
}

// spent gives the CPU time that was used between two looks. What a process used
// until it ended turns up once more at the one that waited for it: of what that one
// gained, only what was not known before counts.
func spent(before, now map[int]processStat) time.Duration {
	alive := func(p processStat) bool {
		q, ok := now[p.pid]
		return ok && q.start == p.start
	}
	passedOn := make(map[int]time.Duration)
	for _, p := range before {
		if alive(p) {
			continue
		}
		heir, ok := before[p.parent]
		for range len(before) {
			if !ok || alive(heir) {
				break
			}
			heir, ok = before[heir.parent]
		}
		if ok {
			passedOn[heir.pid] += p.own + p.waited
		}
	}
	var sum time.Duration
	for _, p := range now {
		own, waited := p.own, p.waited
		if was, ok := before[p.pid]; ok && was.start == p.start {
			own, waited = own-was.own, waited-was.waited
		}
		sum += max(0, own) + max(0, waited-passedOn[p.pid])
	}
	return sum
}
