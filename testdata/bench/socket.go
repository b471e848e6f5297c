package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// socket is how fast events are taken, validated, written to the journal and folded,
// against a program that only copies them to a file.
var socket = row{
	name: "socket",
	work: "400,000 events over 4 connections",
	run: func(b *bench) ([]line, error) {
		var lines []line
		for _, batch := range []struct {
			events     int
			each, many goal
		}{{1, atLeast(0.7), goal{}}, {64, goal{}, beyond(1.5)}} {
			flood := []string{"--", b.peer("flood"), "-events", "400000", "-batch", fmt.Sprint(batch.events)}
			all, err := b.inTurn(
				contender{"obsrun", b.flooded(b.obsrun, append([]string{"-q", "--no-open", "--no-record", "--no-pty", "--listen", "off", "--log-dir", filepath.Join(b.dir, "logs")}, flood...))},
				contender{"copy", b.flooded(b.peer("copy"), append([]string{filepath.Join(b.dir, "copied")}, flood...))},
				contender{"base", b.flooded(b.base, append([]string{"-q", "--no-open", "--no-record", "--no-pty", "--listen", "off", "--log-dir", filepath.Join(b.dir, "logs")}, flood...))},
			)
			if err != nil {
				return nil, err
			}
			what := fmt.Sprintf("%d a write", batch.events)
			lines = append(lines, line{what, "M events/s", all[0].of("rate"), "bare copy to a file", all[1].of("rate"), batch.each})
			if batch.events > 1 {
				lines = append(lines,
					line{what, "M events/s", all[0].of("rate"), "", nil, batch.many},
					line{what + ", CPU an event", "us", all[0].of("CPU"), "", nil, within(1.2)})
			}
			if b.base != "" {
				lines = append(lines, line{what, "M events/s", all[0].of("rate"), "base", all[2].of("rate"), goal{}},
					line{what + ", CPU an event", "us", all[0].of("CPU"), "base", all[2].of("CPU"), goal{}})
			}
		}
		return lines, nil
	},
}

// flooded runs a program that runs flood, and gives the rate that flood saw and what
// the program itself used for an event.
func (b *bench) flooded(path string, args []string) func() (sample, error) {
	if path == "" || b.peer("flood") == "" {
		return nil
	}
	const events = 400_000
	return func() (sample, error) {
		defer os.RemoveAll(filepath.Join(b.dir, "logs"))
		defer os.Remove(filepath.Join(b.dir, "copied"))
		var out bytes.Buffer
		cmd := exec.Command(path, args...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = b.dir, &out, os.Stderr
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("run %s: %w", filepath.Base(path), err)
		}
		var saw struct{ Wall, CPU float64 }
		if err := json.Unmarshal(out.Bytes(), &saw); err != nil {
			return nil, fmt.Errorf("read what flood saw: %w", err)
		}
		return sample{"rate": events / saw.Wall / 1e3, "CPU": (ms(cpu(cmd)) - saw.CPU) * 1e3 / events}, nil
	}
}
