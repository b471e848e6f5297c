package receiver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

const (
	firstBuffer = 4 << 10  // of a client that has said nothing yet
	fullBuffer  = 64 << 10 // of one that says much
	// keptOfLine is how much of a line that is over the limit is handed on.
	keptOfLine = 4 << 10
)

var errCut = errors.New("the connection ended within the line")

// maxTogether is how many events of one client are recorded in one go.
const maxTogether = 64

// connection splits what one client sends into lines.
type connection struct {
	conn   *net.UnixConn
	record func([]telemetry.Event) error
	events []telemetry.Event // read, and not recorded yet

	buf []byte
	end int // buf[:end] is the beginning of a line
	// skipped is how many bytes of a line over the limit were thrown away; buf
	// then holds its first ones.
	skipped int
}

// read takes everything until the client is done or cut off.
func (c *connection) read() {
	c.buf = make([]byte, firstBuffer)
	for {
		n, err := c.conn.Read(c.room())
		c.took(n)
		switch {
		case err == nil:
		case err == io.EOF, errors.Is(err, os.ErrDeadlineExceeded) && c.rest():
			c.last()
			return
		default:
			c.cut()
			return
		}
	}
}

// rest takes what a client that is cut off has written so far, without waiting
// for more, and says whether it had ended.
func (c *connection) rest() (ended bool) {
	raw, err := c.conn.SyscallConn()
	if err != nil || c.conn.SetReadDeadline(time.Time{}) != nil {
		return false
	}
	const most = 1 << 20 // more than a socket buffers, should it never stop
	for taken := 0; taken < most; {
		var n int
		var readErr error
		err := raw.Read(func(fd uintptr) bool {
			n, readErr = syscall.Read(int(fd), c.room())
			return true
		})
		if err != nil || readErr != nil || n == 0 {
			return err == nil && readErr == nil
		}
		c.took(n)
		taken += n
	}
	return false
}

// room is where the next bytes go. The buffer grows with what a client sends, so
// that many silent ones cost little.
func (c *connection) room() []byte {
	if len(c.buf)-c.end < firstBuffer/2 {
		grown := make([]byte, 2*len(c.buf))
		copy(grown, c.buf[:c.end])
		c.buf = grown
	}
	return c.buf[c.end:]
}

// took records the lines that n more bytes made whole.
func (c *connection) took(n int) {
	if n <= 0 {
		return
	}
	if n == len(c.buf)-c.end && len(c.buf) < fullBuffer {
		c.buf = append(c.buf, make([]byte, len(c.buf))...)
	}
	fresh := c.buf[c.end : c.end+n]
	stop := bytes.LastIndexByte(fresh, '\n')
	if stop < 0 {
		c.end += n
		c.hold()
		return
	}
	begin := 0
	if c.skipped > 0 {
		first := bytes.IndexByte(fresh, '\n')
		c.tooLong(c.skipped + first)
		begin = c.end + first + 1
	}
	whole := c.buf[begin : c.end+stop+1]
	c.lines(whole)
	left := c.buf[c.end+stop+1 : c.end+n]
	if len(c.buf) > fullBuffer && len(left) < firstBuffer {
		c.buf = make([]byte, fullBuffer) // one long line is no reason to keep so much
	}
	c.end, c.skipped = copy(c.buf, left), 0
}

// hold keeps the memory of an unfinished line within bounds.
func (c *connection) hold() {
	switch {
	case c.skipped > 0:
		c.skipped += c.end - keptOfLine
		c.end = keptOfLine
	case c.end > telemetry.MaxLine+1: // it may be a whole one with its CR
		c.skipped = c.end
		c.end = keptOfLine
		c.buf = append([]byte(nil), c.buf[:fullBuffer]...)
	}
}

func (c *connection) lines(whole []byte) {
	for len(whole) > 0 {
		line, rest, _ := bytes.Cut(whole, []byte{'\n'})
		whole = rest
		c.line(bytes.TrimSuffix(line, []byte{'\r'}))
	}
	c.flush()
}

// flush records the events that were read. The lines can be overwritten then.
func (c *connection) flush() {
	_ = c.record(c.events)
	if len(c.events) < maxTogether { // perhaps the last for long, and they hold on to the journal's lines
		clear(c.events[:cap(c.events)])
	}
	c.events = c.events[:0]
}

// blank tells whether there is nothing in the line but what JSON takes for space.
func blank(line []byte) bool { return len(bytes.TrimLeft(line, " \t\r")) == 0 }

func (c *connection) line(line []byte) {
	if blank(line) {
		return
	}
	if len(c.events) == maxTogether {
		c.flush()
	}
	n := len(c.events)
	if n == cap(c.events) {
		c.events = slices.Grow(c.events, max(n, 1))
	}
	c.events = c.events[:n+1] // with an old event, which DecodeClient clears
	event := &c.events[n]
	err := event.DecodeClient(line)
	switch {
	case err != nil && len(line) > telemetry.MaxLine:
		*event = telemetry.Rejected(telemetry.SourceSocket, bytes.Clone(line[:keptOfLine]), err)
	case err != nil:
		*event = telemetry.Rejected(telemetry.SourceSocket, line, err)
	default:
		event.Source = telemetry.SourceSocket
	}
}

func (c *connection) reject(line []byte, err error) {
	c.events = append(c.events, telemetry.Rejected(telemetry.SourceSocket, bytes.Clone(line), err))
	c.flush()
}

func (c *connection) tooLong(length int) {
	c.reject(c.buf[:keptOfLine], fmt.Errorf("line of %d bytes, over the limit of %d", length, telemetry.MaxLine))
}

// last takes the last line of a client that has ended: a newline may be missing.
func (c *connection) last() {
	if c.skipped > 0 {
		c.tooLong(c.skipped)
		return
	}
	c.line(bytes.TrimSuffix(c.buf[:c.end], []byte{'\r'}))
	c.flush()
}

// cut tells of a line whose end never came.
func (c *connection) cut() {
	switch {
	case c.skipped > 0:
		c.tooLong(c.skipped)
	case !blank(c.buf[:c.end]):
		c.reject(c.buf[:min(c.end, keptOfLine)], errCut)
	}
}
