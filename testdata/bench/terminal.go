package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/creack/pty"
)

// The size of what goes through a terminal, in bytes. What is recorded is less, so that
// it fits into a recording, which ends at 64 MiB.
const (
	shownBytes    = 100_000_000
	recordedBytes = 50_000_000
)

// terminal is how fast output goes through, to a user's terminal and, as in CI, to
// none.
var terminal = row{
	name: "terminal",
	work: "cat of 100 MB in lines of 80 to 120 bytes; 50 MB where they are recorded",
	run: func(b *bench) ([]line, error) {
		shown, recorded := filepath.Join(b.dir, "shown"), filepath.Join(b.dir, "recorded")
		for path, size := range map[string]int{shown: shownBytes, recorded: recordedBytes} {
			if err := os.WriteFile(path, textLines(size), 0o600); err != nil {
				return nil, err
			}
		}
		logs := filepath.Join(b.dir, "logs")
		obsrun := func(path, record, text string) []string {
			return []string{path, "--no-open", "-q", record, "--log-dir", logs, "--", "cat", text}
		}
		var lines []line
		for _, where := range []struct {
			name string
			run  func(argv ...string) (time.Duration, error)
		}{{"to a terminal", onTerminal}, {"to /dev/null", onNothing}} {
			rate := func(size int, argv ...string) func() (sample, error) {
				if argv[0] == "" {
					return nil
				}
				return func() (sample, error) {
					took, err := where.run(argv...)
					_ = os.RemoveAll(logs)
					return sample{"rate": float64(size) / 1e6 / took.Seconds()}, err
				}
			}
			typescript := filepath.Join(b.dir, "typescript")
			all, err := b.inTurn(
				contender{"obsrun", rate(shownBytes, obsrun(b.obsrun, "--no-record", shown)...)},
				contender{"bare", rate(shownBytes, b.peer("bare"), "cat", shown)},
				contender{"obsrun recording", rate(recordedBytes, obsrun(b.obsrun, "--record", recorded)...)},
				contender{"script", rate(recordedBytes, b.peer("script"), "-qc", "cat "+recorded, typescript)},
				contender{"asciinema", rate(recordedBytes, b.peer("asciinema"), "rec", "-q", "--overwrite", "-c", "cat "+recorded, typescript)},
				contender{"base", rate(shownBytes, obsrun(b.base, "--no-record", shown)...)},
				contender{"base recording", rate(recordedBytes, obsrun(b.base, "--record", recorded)...)},
			)
			if err != nil {
				return lines, err
			}
			against := func(what string, ours int, peer string, theirs int, goal goal) {
				lines = append(lines, line{what + " " + where.name, "MB/s", all[ours].of("rate"), peer, all[theirs].of("rate"), goal})
			}
			against("shown", 0, "bare creack/pty", 1, atLeast(0.95))
			against("recorded", 2, "script", 3, atLeast(0.9))
			against("recorded", 2, "asciinema rec", 4, atLeast(1.8))
			if b.base != "" {
				against("shown", 0, "base", 5, goal{})
				against("recorded", 2, "base", 6, goal{})
			}
		}
		return lines, nil
	},
}

// textLines makes lines of 80 to 120 bytes, the same ones each time.
func textLines(size int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var text bytes.Buffer
	for text.Len() < size {
		for range 79 + random.IntN(41) {
			text.WriteByte(' ' + byte(random.IntN(95)))
		}
		text.WriteByte('\n')
	}
	return text.Bytes()
}

// onNothing runs a program without a terminal.
func onNothing(argv ...string) (time.Duration, error) {
	begun := time.Now()
	err := exec.Command(argv[0], argv[1:]...).Run()
	return time.Since(begun), err
}

// onTerminal runs a program on a terminal that shows all at once.
func onTerminal(argv ...string) (time.Duration, error) {
	begun := time.Now()
	s, err := seat(argv...)
	if err != nil {
		return 0, err
	}
	defer s.master.Close()
	_, _ = io.Copy(struct{ io.Writer }{io.Discard}, s.master) // until EIO
	err = s.cmd.Wait()
	return time.Since(begun), err
}

// seated is a program on a terminal, and the master side of that.
type seated struct {
	cmd    *exec.Cmd
	master *os.File
}

// seat starts a program as a shell's first one is: on a terminal of its own, which is
// its controlling one.
func seat(argv ...string) (seated, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	master, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		return seated{}, fmt.Errorf("run %s: %w", filepath.Base(argv[0]), err)
	}
	return seated{cmd, master}, nil
}
