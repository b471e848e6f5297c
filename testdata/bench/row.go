package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// row is one piece of work and how to measure it.
type row struct {
	name string // for ROWS
	work string // what is done, in a few words
	run  func(b *bench) ([]line, error)
}

// line is one comparison. ours and theirs are samples in the same unit; theirs is
// empty where there is no peer, or it is not installed.
type line struct {
	what   string // wall, CPU, p99, ...
	unit   string // ms, MB/s, ...
	ours   []float64
	peer   string
	theirs []float64
	goal   goal
}

// bench is what a row may use.
type bench struct {
	obsrun string // the program under test, absolute
	base   string // another one to compare with; "": none
	repo   string // the project's root, absolute
	dir    string // an empty directory, made for each row
	rounds int
}

// row measures one row in a directory of its own.
func (b *bench) row(r row) ([]line, error) {
	dir, err := os.MkdirTemp("", "bench-"+r.name+"-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	b.dir = dir
	return r.run(b)
}

// peer is the path of a program: one that the script tools built, else one of the
// system; "" where there is none.
func (b *bench) peer(name string) string {
	if path, err := filepath.Abs(filepath.Join(".tools", name)); err == nil {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	path, _ := exec.LookPath(name)
	return path
}

// contender is somebody who does the work, and gives what that took.
type contender struct {
	name string
	work func() (sample, error) // nil: not installed
}

// sample is what one call measured, by name.
type sample map[string]float64

// samples are those of one contender, in order; none where it is not installed.
type samples []sample

// of gives the values of one name.
func (s samples) of(name string) []float64 {
	var values []float64
	for _, one := range s {
		if value, ok := one[name]; ok {
			values = append(values, value)
		}
	}
	return values
}

// inTurn has every contender do the work once to warm up, and then b.rounds times in
// turn, so that what else the machine does falls on all alike. Each round begins with
// the next of them.
func (b *bench) inTurn(contenders ...contender) ([]samples, error) {
	all := make([]samples, len(contenders))
	for round := -1; round < b.rounds; round++ {
		for i := range contenders {
			i = (i + round + 1) % len(contenders)
			if contenders[i].work == nil {
				continue
			}
			// Not in the middle of it; and Linux counts the memory of who starts a program
			// into the most that this ever had.
			debug.FreeOSMemory()
			one, err := contenders[i].work()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", contenders[i].name, err)
			}
			if round >= 0 {
				all[i] = append(all[i], one)
			}
		}
	}
	return all, nil
}

// beside adds lines that compare with another obsrun, where there is one. What is
// compared is the name of a value and its unit.
func (b *bench) beside(lines []line, ours, base samples, what ...string) []line {
	if b.base == "" {
		return lines
	}
	for _, what := range what {
		name, unit, _ := strings.Cut(what, " ")
		lines = append(lines, line{name, unit, ours.of(name), "base", base.of(name), goal{}})
	}
	return lines
}
