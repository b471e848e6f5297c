package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// MaxLine is the longest line that a Reader gives unless it was made with another
// limit, in bytes without the newline.
const MaxLine = 4 << 20

// ErrTooLong is what Next returns in place of a line that is over the limit. The
// line is skipped and counted; the next call goes on behind it.
var ErrTooLong = errors.New("line is too long")

// The buffer is small while little comes at a time, since there can be a reader for
// each of many clients, and grows with what a read brings.
const (
	firstBuffer = 4 << 10
	readSize    = 32 << 10 // from here on only long lines let it grow
)

// Reader gives the lines of a journal that may still grow.
type Reader struct {
	src   io.Reader
	limit int
	buf   []byte
	// buf[start:scanned] has no newline, buf[scanned:end] was not looked at.
	start, scanned, end int
	line, offset        int64
	last                int // how much the last read brought
	// skipping is on within a line that is too long, of which skipped bytes were
	// thrown away.
	skipping bool
	skipped  int64
}

// NewReader reads lines from r, which may be a file that is still written: when
// it gives io.EOF, it is asked again at the next call of Next.
func NewReader(r io.Reader) *Reader { return NewReaderLimit(r, MaxLine) }

// NewReaderLimit is NewReader with a limit of its own for the length of a line,
// which is also what the reader may take of memory, about twice over.
func NewReaderLimit(r io.Reader, limit int) *Reader { return &Reader{src: r, limit: limit} }

// Next gives the next whole line without its newline, byte for byte as it stands
// in the file. It is valid until the next call.
//
// io.EOF says that there is no whole line, or not yet: call again when the file
// has grown. What stands behind the last newline is never given. ErrTooLong says
// that one line was skipped. Any other error is one of reading; nothing is lost
// by calling again.
func (r *Reader) Next() ([]byte, error) {
	for {
		if i := bytes.IndexByte(r.buf[r.scanned:r.end], '\n'); i >= 0 {
			return r.take(r.scanned + i)
		}
		r.scanned = r.end
		if r.skipping || r.end-r.start > r.limit {
			r.skipping = true
			r.skipped += int64(r.end - r.start)
			r.start, r.scanned, r.end = 0, 0, 0
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

// take hands out the line that ends before the newline at index i.
func (r *Reader) take(i int) ([]byte, error) {
	line := r.buf[r.start:i:i]
	r.line++
	r.offset += r.skipped + int64(len(line)) + 1
	r.start, r.scanned = i+1, i+1
	if r.skipping || len(line) > r.limit {
		r.skipping, r.skipped = false, 0
		return nil, ErrTooLong
	}
	return line, nil
}

// fill reads once, or a few times when that gives neither bytes nor an error.
func (r *Reader) fill() error {
	if r.start == r.end {
		r.start, r.scanned, r.end = 0, 0, 0
		if len(r.buf) > 1<<20 || len(r.buf) > firstBuffer && r.last < firstBuffer/2 {
			r.buf = nil // what once came is no reason to keep so much
		}
	}
	room := readSize
	if r.last < firstBuffer {
		room = firstBuffer / 2
	}
	if r.start > 0 && len(r.buf)-r.end < room {
		copy(r.buf, r.buf[r.start:r.end])
		r.end -= r.start
		r.scanned -= r.start
		r.start = 0
	}
	if len(r.buf)-r.end < room {
		grown := make([]byte, max(2*room, 2*len(r.buf)))
		copy(grown, r.buf[:r.end])
		r.buf = grown
	}
	for range 100 {
		n, err := r.src.Read(r.buf[r.end:])
		r.end += n
		if n > 0 {
			r.last = n
		}
		switch {
		case n > 0:
			return nil // an error will come again
		case err == io.EOF:
			return io.EOF
		case err != nil:
			return fmt.Errorf("read journal: %w", err)
		}
	}
	return fmt.Errorf("read journal: %w", io.ErrNoProgress)
}

// Line is the number of the line that Next gave last, or skipped; the first is 1.
func (r *Reader) Line() int64 { return r.line }

// Offset is how many bytes those lines are, newlines included: where the next
// line begins, counted from where the reader started.
func (r *Reader) Offset() int64 { return r.offset }

// Torn is how many bytes stand behind the last newline, as far as was read.
func (r *Reader) Torn() int { return int(r.skipped) + r.end - r.start }
