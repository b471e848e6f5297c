package supervisor

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// clockTick is the unit of the times in /proc/PID/stat: USER_HZ, which is 100 on
// every architecture that Go supports.
const clockTick = time.Second / 100

var pageSize = int64(os.Getpagesize())

// procTable reads /proc with one buffer, and keeps the file of each process that it
// reads again open, which spares half of a look: together a small part of what it costs
// by gopsutil (see BenchmarkProcessTree).
type procTable struct {
	dir  int // /proc; -1: not open
	kept map[int]keptFile
	most int // files that are kept open
	look int
	name []byte
	buf  [2048]byte
}

type keptFile struct{ fd, look int }

// maxKept bounds the files that are kept open; where few may be open, a quarter
// of those.
const maxKept = 256

func mostKept() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(maxKept, limit.Cur/4))
}

func newProcTable() *procTable {
	return &procTable{dir: -1, most: mostKept(), kept: make(map[int]keptFile), name: make([]byte, 0, 32)}
}

func (t *procTable) open() bool {
	if t.dir < 0 {
		dir, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return false
		}
		t.dir = dir
	}
	return true
}

func (t *procTable) close() {
	if t.dir >= 0 {
		unix.Close(t.dir)
		t.dir = -1
	}
	for _, file := range t.kept {
		unix.Close(file.fd)
	}
	clear(t.kept)
}

// path gives PID followed by rest.
func (t *procTable) path(pid int, rest string) string {
	t.name = append(strconv.AppendInt(t.name[:0], int64(pid), 10), rest...)
	return string(t.name)
}

// read gives what a file says, as far as it fits; nil if it cannot be read: the process
// ended, or belongs to somebody else.
func (t *procTable) read(pid int, rest string) []byte {
	fd, err := unix.Openat(t.dir, t.path(pid, rest), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	n, _ := unix.Read(fd, t.buf[:])
	return t.buf[:max(0, n)]
}

// stat reads /proc/PID/stat.
func (t *procTable) stat(pid int) []byte {
	if file, ok := t.kept[pid]; ok {
		if n, err := unix.Pread(file.fd, t.buf[:], 0); err == nil && n > 0 {
			t.kept[pid] = keptFile{file.fd, t.look}
			return t.buf[:n]
		}
		unix.Close(file.fd) // it ended: its number may be another's
		delete(t.kept, pid)
	}
	if len(t.kept) >= t.most {
		return t.read(pid, "/stat")
	}
	fd, err := unix.Openat(t.dir, t.path(pid, "/stat"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	n, err := unix.Read(fd, t.buf[:])
	if err != nil || n <= 0 {
		unix.Close(fd)
		return nil
	}
	t.kept[pid] = keptFile{fd, t.look}
	return t.buf[:n]
}

// list appends the processes that /proc shows, but for those to skip.
func (t *procTable) list(table []processStat, skip map[int]struct{}) []processStat {
	if !t.open() {
		return table
	}
	t.look++
	for _, pid := range processIDs() {
		if _, ok := skip[pid]; ok {
			continue
		}
		var p processStat
		if p.parse(t.stat(pid)) {
			p.pid = pid
			table = append(table, p)
		}
	}
	for pid, file := range t.kept {
		if file.look != t.look {
			unix.Close(file.fd)
			delete(t.kept, pid)
		}
	}
	return table
}

// one gives a single process.
func (t *procTable) one(pid int) (processStat, bool) {
	p := processStat{pid: pid}
	return p, t.open() && p.parse(t.stat(pid))
}

// parse reads /proc/PID/stat as proc(5) has it.
func (p *processStat) parse(line []byte) bool {
	// The name stands in parentheses and may itself contain some.
	open, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return false
	}
	copy(p.name[:], line[open+1:end])
	var ticks [4]uint64
	field := 2 // the one that was read last, numbered as in proc(5)
	for word := range bytes.FieldsSeq(line[end+1:]) {
		field++
		switch {
		case field == 3:
			switch word[0] {
			case 'T', 't':
				p.state = stopped
			case 'D':
				p.state = blocked
			case 'Z', 'X':
				p.state = zombie
			}
		case field == 4:
			p.parent = int(decimal(word))
		case field == 6:
			p.session = int(decimal(word))
		case field >= 14 && field <= 17:
			ticks[field-14] = decimal(word)
		case field == 20 && p.state == zombie && decimal(word) > 1:
			p.state = 0 // its first thread has ended, the others go on
		case field == 22:
			p.start = decimal(word)
			p.own.cpu = time.Duration(ticks[0]+ticks[1]) * clockTick
			p.waited.cpu = time.Duration(ticks[2]+ticks[3]) * clockTick
		case field == 24:
			p.rss = int64(decimal(word)) * pageSize
			if p.state != zombie {
				return true
			}
		case field == 52:
			p.status, p.known = syscall.WaitStatus(decimal(word)), true
			return true
		}
	}
	return field >= 24
}

// decimal reads a number without sign; anything else ends it.
func decimal(word []byte) (n uint64) {
	for _, c := range word {
		if c < '0' || c > '9' {
			break
		}
		n = 10*n + uint64(c-'0')
	}
	return n
}

// fill asks what is not in /proc/PID/stat.
func (t *procTable) fill(list []processStat, ask question) {
	if !t.open() {
		return
	}
	for i := range list {
		p := &list[i]
		if p.state == zombie {
			// An exit status that is not for obsrun to see is shown as 0.
			var info unix.Stat_t
			if p.status == 0 && (unix.Fstatat(t.dir, t.path(p.pid, ""), &info, 0) != nil ||
				int(info.Uid) != os.Geteuid() && os.Geteuid() != 0) {
				p.known = false
			}
		}
		if ask.io {
			// The kernel adds what children read and wrote to the parent that waits for
			// them, and does not keep it apart as it does with times.
			if text := t.read(p.pid, "/io"); len(text) > 0 {
				p.waited.read, p.waited.written = labelled(text, "\nread_bytes:"), labelled(text, "\nwrite_bytes:")
				p.metered = true
			}
		}
		if ask.peak(p.pid) {
			p.peak = labelled(t.read(p.pid, "/status"), "\nVmHWM:") << 10
		}
	}
}

// labelled gives the number behind a label.
func labelled(text []byte, label string) int64 {
	_, rest, _ := bytes.Cut(text, []byte(label))
	return int64(decimal(bytes.TrimLeft(rest, " \t")))
}

// processArgs reads the command line, at most the beginning of one that is very long.
func processArgs(pid int) []string {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/cmdline", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	buf := make([]byte, maxArgs)
	n, err := unix.Read(fd, buf)
	if err != nil || n <= 0 {
		return nil
	}
	whole := n < len(buf)
	words := bytes.Split(bytes.TrimSuffix(buf[:n], []byte{0}), []byte{0})
	if !whole && len(words) > 1 {
		words = words[:len(words)-1] // a part of a word could be a part of a secret
	}
	args := make([]string, len(words))
	for i, word := range words {
		args[i] = string(word)
	}
	return args
}

func processDir(pid int) string {
	dir, _ := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
	return dir
}

// processBegan turns ticks since the machine's start into a time of the wall clock.
func processBegan(p *processStat, now time.Time) time.Time {
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return now
	}
	return now.Add(time.Duration(p.start)*clockTick - time.Duration(up.Nano()))
}

func realKernel() kernel {
	t := newProcTable()
	return kernel{t.list, t.one, t.fill, processArgs, processDir, processBegan, t.close}
}
