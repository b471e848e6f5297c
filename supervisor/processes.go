package supervisor

import (
	"strings"
	"syscall"
	"time"
)

// processStat is what the kernel says of a process at one moment.
type processStat struct {
	pid, parent, session int
	start                uint64 // in the kernel's units: with pid it names a process for good
	state                processState
	name                 [16]byte // the kernel's short name, NUL-padded
	// own is what the process used; waited what its children used that ended and were
	// waited for, and theirs. What can only be had one process at a time is 0 until
	// kernel.fill.
	own, waited use
	// rss is the resident memory in bytes, peak its highest, where the kernel was asked
	// for that.
	rss, peak int64
	metered   bool // it is known what it read and wrote
	// status is the wait status of a zombie, where known.
	status syscall.WaitStatus
	known  bool
}

// use is what was consumed: CPU time, user and system; bytes from and to storage.
type use struct {
	cpu           time.Duration
	read, written int64
}

func (u use) plus(v use) use {
	return use{u.cpu + v.cpu, u.read + v.read, u.written + v.written}
}

func (u use) minus(v use) use {
	return use{u.cpu - v.cpu, u.read - v.read, u.written - v.written}
}

// floor is u without what is negative.
func (u use) floor() use { return use{max(0, u.cpu), max(0, u.read), max(0, u.written)} }

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
// the machine, and as much again where it is metered.
type processTree struct {
	kernel        kernel
	metered       bool // memory and IO are asked for, too
	knowsIO       bool // ... and somebody's IO was told
	root, session int  // session: 0 where the command shares it with strangers
	known         map[int]processStat
	atIO          map[int]processStat // known at the last look that asked for IO
	used          use
	table         []processStat
	// strangers are not read again, as nobody can join a tree later; only their
	// number can be used again, so they are forgotten every so many looks.
	strangers map[int]struct{}
	looks     int
}

const strangersFor = 10

// kernel is what the system tells of processes; tests have one of their own.
type kernel struct {
	// list appends all processes but those to skip.
	list func(table []processStat, skip map[int]struct{}) []processStat
	// one gives a single process. Where it is nil, list tells of it.
	one func(pid int) (processStat, bool)
	// fill adds what list could not tell of these processes.
	fill func(list []processStat, ask question)
	// args gives the command line, dir the working directory; empty where they are not
	// for obsrun to know.
	args func(pid int) []string
	dir  func(pid int) string
	// began gives when the process did; now is the present.
	began func(p *processStat, now time.Time) time.Time
	close func()
}

// question is what is asked of each process at a look beside its CPU time.
type question struct {
	memory, io bool
	look       int
}

// IO is asked for every ioTurn looks, and at the first ones, since many runs are short;
// the highest memory of a process, which is the dearest question, every peakTurn.
const ioTurn, peakTurn = 5, 10

func (q question) peak(pid int) bool { return q.memory && (q.look+pid)%peakTurn == 0 }

func (t *processTree) ask() question {
	return question{memory: t.metered, io: t.metered && (t.looks <= 2*ioTurn || t.looks%ioTurn == 0), look: t.looks}
}

// processCount is a processTree at one moment.
type processCount struct {
	root int // process id of the command
	// used is the CPU time that the tree has used since the first look, that of
	// processes that ended meanwhile included where somebody waited for them. read and
	// written are bytes likewise, known where metered.
	used          time.Duration
	read, written int64
	metered       bool
	rss           int64 // bytes, all processes added up
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

// newProcessTree begins to follow the tree below pid, which has just been started: what
// it has started by now is found at the first look. So the processes of the machine are
// not counted while the command wants to run.
func newProcessTree(pid int, k kernel, metered bool) *processTree {
	t := &processTree{kernel: k, root: pid, metered: metered, strangers: make(map[int]struct{})}
	p, ok := t.find(pid)
	if !ok {
		return t
	}
	// Under a monitor the session is the command's alone. Elsewhere it is that of
	// the shell above, with everything that runs there.
	if p.parent == p.session {
		t.session = p.session
	}
	t.looks++
	t.table = append(t.table, p)
	t.known = map[int]processStat{pid: p}
	t.known = t.members()
	t.atIO = t.known
	return t
}

func (t *processTree) find(pid int) (processStat, bool) {
	if t.kernel.one != nil {
		return t.kernel.one(pid)
	}
	for _, p := range t.kernel.list(nil, nil) {
		if p.pid == pid {
			return p, true
		}
	}
	return processStat{}, false
}

// look takes another look.
func (t *processTree) look() processCount {
	if len(t.known) == 0 && t.session == 0 {
		return t.count()
	}
	t.read()
	before, now := t.known, t.members()
	t.known = now
	t.used.cpu += spent(before, now).cpu
	if t.ask().io {
		io := spent(t.atIO, now)
		t.used.read += io.read
		t.used.written += io.written
		t.atIO = now
	}

	count := t.count()
	for i := range t.table {
		p, ok := now[t.table[i].pid]
		if !ok {
			continue
		}
		if p.state != zombie {
			count.live++
			count.rss += p.rss
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

func (t *processTree) count() processCount {
	return processCount{root: t.root, used: t.used.cpu, read: t.used.read, written: t.used.written, metered: t.knowsIO}
}

func (t *processTree) read() {
	if t.looks++; t.looks%strangersFor == 0 {
		clear(t.strangers)
	}
	t.table = t.kernel.list(t.table[:0], t.strangers)
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
	ask := t.ask()
	t.kernel.fill(found, ask)
	all := make(map[int]processStat, len(found))
	for _, p := range found {
		if was := t.known[p.pid]; !ask.io && was.start == p.start { // as of the last time
			p.own.read, p.own.written, p.metered = was.own.read, was.own.written, was.metered
			p.waited.read, p.waited.written = was.waited.read, was.waited.written
		}
		all[p.pid] = p
		t.knowsIO = t.knowsIO || p.metered
	}
	return all
}

// spent gives what was used between two looks. What a process used until it ended
// turns up once more at the one that waited for it: of what that one gained, only what
// was not known before counts.
func spent(before, now map[int]processStat) (sum use) {
	alive := func(p processStat) bool {
		q, ok := now[p.pid]
		return ok && q.start == p.start
	}
	passedOn := make(map[int]use)
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
			passedOn[heir.pid] = passedOn[heir.pid].plus(p.own).plus(p.waited)
		}
	}
	for _, p := range now {
		own, waited := p.own, p.waited
		if was, ok := before[p.pid]; ok && was.start == p.start {
			own, waited = own.minus(was.own), waited.minus(was.waited)
		}
		sum = sum.plus(own.floor()).plus(waited.minus(passedOn[p.pid]).floor())
	}
	return sum
}
