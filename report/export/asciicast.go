package export

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/obsrun/obsrun/instrument/run"
)

// Asciicast copies the recording of the terminal, asciicast v2
// (https://docs.asciinema.org/manual/asciicast/v2/), as it is. Of a run that goes
// on it is what was recorded so far, up to the last whole line.
func Asciicast(w io.Writer, r Run) error {
	path := run.CastPath(r.Dir)
	f, err := openRegular(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no recording of this run's terminal: %s is not there; runs are recorded with --record, not with --no-pty, and in CI only when asked", path)
	}
	if err != nil {
		return fmt.Errorf("open recording: %w", err)
	}
	defer f.Close()
	lines := bufio.NewReaderSize(f, 64<<10)
	for n := 0; ; n++ {
		line, err := lines.ReadBytes('\n')
		switch {
		case err == io.EOF && n == 0:
			return fmt.Errorf("%s has no whole line, so nothing was recorded", path)
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("read recording: %w", err)
		}
		if _, err := w.Write(line); err != nil {
			return fmt.Errorf("write recording: %w", err)
		}
	}
}

// openRegular opens a file that is one. A link is not followed: who can write into
// the run's directory must not get other files sent around.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%s is no file", path)
	}
	return f, nil
}
