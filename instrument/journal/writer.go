package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Writer appends lines to a journal file that it made.
type Writer struct {
	file *os.File
	// write is file.Write; a test puts a failing one in its place.
	write func([]byte) (int, error)
	// torn is how many bytes of a failed write may still stand at the end of the
	// file, because cutting them off failed too.
	torn int64
}

// Create makes the journal at path, mode 0600. It is an error if anything is
// there already, a dangling symbolic link included.
func Create(path string) (*Writer, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL | os.O_APPEND | syscall.O_NOFOLLOW
	file, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create journal: %w", err)
	}
	// A umask can take bits away that a later reader needs.
	if err := file.Chmod(0o600); err != nil {
		file.Close()
		return nil, fmt.Errorf("create journal: %w", err)
	}
	return &Writer{file: file, write: file.Write}, nil
}

var errHalfLine = errors.New("the last line has no newline at its end")

// Append writes one or more whole lines, each with its newline, in one write(2)
// at the end of the file, wherever that is by then. With an error nothing of
// them stays in the file: what a full disk let through is cut off again, so
// that the next Append begins on a line of its own. A later Append may well
// succeed, when space has returned.
func (w *Writer) Append(lines []byte) error {
	if len(lines) == 0 {
		return nil
	}
	if lines[len(lines)-1] != '\n' {
		return fmt.Errorf("append to journal: %w", errHalfLine)
	}
	if err := w.cut(); err != nil {
		return fmt.Errorf("append to journal: cut off an earlier half write: %w", err)
	}
	n, err := w.write(lines)
	if err == nil && n < len(lines) {
		err = io.ErrShortWrite
	}
	if err == nil {
		return nil
	}
	w.torn = int64(n)
	if cutErr := w.cut(); cutErr != nil {
		err = errors.Join(err, fmt.Errorf("cut off the half write: %w", cutErr))
	}
	return fmt.Errorf("append to journal: %w", err)
}

// cut takes what a failed write left off the end of the file. The end is asked
// for and not remembered: somebody may have truncated the file meanwhile.
func (w *Writer) cut() error {
	if w.torn == 0 {
		return nil
	}
	info, err := w.file.Stat()
	if err != nil {
		return err
	}
	if err := w.file.Truncate(max(0, info.Size()-w.torn)); err != nil {
		return err
	}
	w.torn = 0
	return nil
}

// Close closes the file. Nothing is buffered, so nothing can be lost by it.
func (w *Writer) Close() error {
	err := w.cut()
	if err := errors.Join(err, w.file.Close()); err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}
