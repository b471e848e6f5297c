package supervisor

import (
	"bytes"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// clockTick is the unit of the CPU times in /proc: USER_HZ, which is 100 on every
// architecture that Go supports.
const clockTick = time.Second / 100

// readProcesses appends the processes that /proc shows, but for those to skip. One file each, read with one
// buffer: a small part of what it costs by gopsutil, which opens several (see
// BenchmarkProcessTree).
func readProcesses(table []processStat, skip map[int]struct{}) []processStat {
	proc, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return table
	}
	defer unix.Close(proc)
	var buf [1024]byte
	name := make([]byte, 0, 32)
	for _, pid := range processIDs() {
		if _, ok := skip[pid]; ok {
			continue
		}
		name = append(strconv.AppendInt(name[:0], int64(pid), 10), "/stat"...)
		fd, err := unix.Openat(proc, string(name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue // it ended
		}
		n, err := unix.Read(fd, buf[:])
		unix.Close(fd)
		if err != nil || n <= 0 {
			continue
		}
		var p processStat
		if p.parse(buf[:n]) {
			p.pid = pid
			table = append(table, p)
		}
	}
	return table
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
		case field == 22:
			p.start = decimal(word)
			p.own = time.Duration(ticks[0]+ticks[1]) * clockTick
			p.waited = time.Duration(ticks[2]+ticks[3]) * clockTick
			return true
		}
	}
	return false
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

// fillTimes has nothing to add: /proc tells all at once.
func fillTimes([]processStat) {}
