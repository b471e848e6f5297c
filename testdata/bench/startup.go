package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"time"
)

// startup is how long the shortest program takes under obsrun, with everything on: the
// dashboard, the recording, all sources.
var startup = row{
	name: "startup",
	work: "obsrun --no-open -- true, everything on",
	run: func(b *bench) ([]line, error) {
		obsrun := func(path string) func() (sample, error) {
			if path == "" {
				return nil
			}
			return b.whole(path, "--no-open", "--record", "--log-dir", filepath.Join(b.dir, "logs"), "--", "true")
		}
		all, err := b.inTurn(
			contender{"obsrun", obsrun(b.obsrun)},
			contender{"bare", b.whole(b.peer("bare"), "true")},
			contender{"otel-cli", b.whole(b.peer("otel-cli"), "exec", "--service", "bench", "--name", "true", "--", "true")},
			contender{"script", b.whole(b.peer("script"), "-qec", "true", "/dev/null")},
			contender{"base", obsrun(b.base)},
		)
		if err != nil {
			return nil, err
		}
		against := func(what, peer string, theirs samples, goal goal) line {
			return line{what, "ms", all[0].of(what), peer, theirs.of(what), goal}
		}
		lines := []line{
			against("wall", "bare creack/pty", all[1], atMost(2.5)),
			against("wall", "otel-cli exec", all[2], atMost(1.2)),
			against("CPU", "script", all[3], atMost(2)),
		}
		if b.base != "" {
			lines = append(lines, against("wall", "base", all[4], goal{}), against("CPU", "base", all[4], goal{}))
		}
		return lines, nil
	},
}

// whole gives the work of running a program to its end, without a terminal: its wall
// time, and the CPU time of all that it started, in milliseconds. It is nil for a
// program that is not there.
func (b *bench) whole(path string, args ...string) func() (sample, error) {
	if path == "" {
		return nil
	}
	return func() (sample, error) {
		cmd := exec.Command(path, args...)
		cmd.Dir = b.repo // a work tree, as most runs have one
		begun := time.Now()
		err := cmd.Run()
		wall := time.Since(begun)
		if err != nil {
			return nil, fmt.Errorf("run %s: %w", filepath.Base(path), err)
		}
		return sample{"wall": ms(wall), "CPU": ms(cpu(cmd))}, nil
	}
}

// cpu is what a program used and those that it waited for.
func cpu(cmd *exec.Cmd) time.Duration {
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
