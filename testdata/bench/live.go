package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// live is a program that runs while it is measured.
type live struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	env map[string]string // what COMMAND was given, of a run
	// killed says that it does not end with its standard input.
	killed bool
}

// start runs a program that is told what to do by lines on its standard input.
func (b *bench) start(path string, args ...string) (*live, error) {
	l := &live{cmd: exec.Command(path, args...)}
	l.cmd.Dir, l.cmd.Stderr = b.dir, os.Stderr
	var err error
	if l.in, err = l.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	l.out = bufio.NewReader(out)
	if err := l.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	return l, nil
}

// startRun runs obsrun with a shell that does what it is told, after it has said what
// its environment is.
func (b *bench) startRun(obsrun string, flags ...string) (*live, error) {
	args := append([]string{"-q", "--no-open", "--no-record", "--no-pty", "--log-dir", filepath.Join(b.dir, "logs")}, flags...)
	l, err := b.start(obsrun, append(args, "--", "sh", "-c", `env; echo; while read -r command; do eval "$command"; done`)...)
	if err != nil {
		return nil, err
	}
	l.env = make(map[string]string)
	for {
		said, err := l.out.ReadString('\n')
		if err != nil {
			l.stop()
			return nil, fmt.Errorf("read the environment of a run: %w", err)
		}
		said = strings.TrimSuffix(said, "\n")
		if said == "" {
			return l, nil
		}
		if key, value, ok := strings.Cut(said, "="); ok {
			l.env[key] = value
		}
	}
}

func (l *live) tell(format string, args ...any) error {
	_, err := fmt.Fprintf(l.in, format+"\n", args...)
	return err
}

// stop ends it, and its run.
func (l *live) stop() {
	l.in.Close()
	if l.killed {
		_ = l.cmd.Process.Kill()
	}
	go func() { _, _ = io.Copy(io.Discard, l.out) }()
	late := time.AfterFunc(10*time.Second, func() { _ = l.cmd.Process.Kill() })
	_ = l.cmd.Wait()
	late.Stop()
}

// used is the CPU time that the program itself took so far, in milliseconds, and its
// resident memory now, in MB: by /proc, so 0 where that is not there.
func (l *live) used() (cpu, memory float64) {
	proc := filepath.Join("/proc", strconv.Itoa(l.cmd.Process.Pid))
	stat, _ := os.ReadFile(filepath.Join(proc, "stat"))
	if _, rest, ok := strings.Cut(string(stat), ") "); ok {
		fields := strings.Fields(rest)
		for _, ticks := range []int{11, 12} { // user and system, in hundredths of a second
			n, _ := strconv.ParseFloat(fields[ticks], 64)
			cpu += n * 10
		}
		pages, _ := strconv.ParseFloat(fields[21], 64)
		memory = pages * float64(os.Getpagesize()) / 1e6
	}
	return max(cpu, threadTime(proc)), memory
}

// threadTime is the same CPU time in milliseconds, of the threads that there are: it
// is exact, where the one of the whole is in hundredths of a second.
func threadTime(proc string) float64 {
	var total float64
	threads, _ := filepath.Glob(filepath.Join(proc, "task", "*", "schedstat"))
	for _, thread := range threads {
		text, _ := os.ReadFile(thread)
		ran, _, _ := strings.Cut(string(text), " ")
		ns, _ := strconv.ParseFloat(ran, 64)
		total += ns / 1e6
	}
	return total
}
