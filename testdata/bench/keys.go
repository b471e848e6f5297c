package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"syscall"
	"time"
)

const (
	keysPressed = 1000
	keyPause    = time.Millisecond // between one key's echo and the next key
)

// keys is how long a key takes to the program and its answer back to the screen.
var keys = row{
	name: "keys",
	work: "1000 keys to cat on a raw terminal, one by one, and back",
	run: func(b *bench) ([]line, error) {
		const program = "stty raw -echo; echo ready; exec cat"
		typed := func(argv ...string) func() (sample, error) {
			if argv[0] == "" {
				return nil
			}
			return func() (sample, error) { return typeKeys(argv...) }
		}
		obsrun := func(path string) []string {
			return []string{path, "--no-open", "-q", "--record", "--log-dir", filepath.Join(b.dir, "logs"), "--", "sh", "-c", program}
		}
		all, err := b.inTurn(
			contender{"obsrun", typed(obsrun(b.obsrun)...)},
			contender{"script", typed(b.peer("script"), "-qc", program, filepath.Join(b.dir, "typescript"))},
			contender{"base", typed(obsrun(b.base)...)},
		)
		if err != nil {
			return nil, err
		}
		against := func(what, peer string, theirs samples, goal goal) line {
			return line{what, "us", all[0].of(what), peer, theirs.of(what), goal}
		}
		lines := []line{
			against("p50", "script", all[1], atMost(1.05)),
			against("p99", "script", all[1], atMost(1.3)),
		}
		if b.base != "" {
			lines = append(lines, against("p50", "base", all[2], goal{}), against("p99", "base", all[2], goal{}))
		}
		return lines, nil
	},
}

// typeKeys runs a program that says ready and sends each byte back.
func typeKeys(argv ...string) (sample, error) {
	s, err := seat(argv...)
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		s.master.Close()
		_ = s.cmd.Wait()
	}()
	buf := make([]byte, 4096)
	var seen []byte
	for !bytes.Contains(seen, []byte("ready")) {
		n, err := s.master.Read(buf)
		if err != nil {
			return nil, fmt.Errorf("wait until it is ready: %w", err)
		}
		seen = append(seen, buf[:n]...)
	}
	time.Sleep(100 * time.Millisecond) // the rest of that line, and the start of cat
	took := make([]float64, 0, keysPressed)
	_ = s.master.SetReadDeadline(time.Now().Add(time.Minute))
	for i := range keysPressed {
		key := 'a' + byte(i%26)
		begun := time.Now()
		if _, err := s.master.Write([]byte{key}); err != nil {
			return nil, fmt.Errorf("press a key: %w", err)
		}
		for echoed := false; !echoed; {
			n, err := s.master.Read(buf)
			if err != nil {
				return nil, fmt.Errorf("read its echo: %w", err)
			}
			echoed = bytes.IndexByte(buf[:n], key) >= 0
		}
		took = append(took, float64(time.Since(begun))/float64(time.Microsecond))
		time.Sleep(keyPause)
	}
	return sample{"p50": median(took), "p99": quantile(took, 0.99)}, nil
}
