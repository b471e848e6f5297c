package supervisor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

const (
	castLimit   = 64 << 20              // bytes of a recording
	castBacklog = 4 << 20               // bytes of output that may wait to be written
	castHurry   = 256 << 10             // bytes of it that are written without waiting for more: they are in the processor's cache yet
	castBatch   = 20 * time.Millisecond // the most that a killed obsrun loses
	castStuck   = time.Second           // how long output waits for a disk before the recording is given up
)

// ErrCastFull says that the recording reached its limit of 64 MiB. What it holds up to
// there is valid.
var ErrCastFull = errors.New("recording stopped: it reached 64 MiB")

// ErrCastSlow says that the recording was given up, because writing it would have
// delayed the command.
var ErrCastSlow = errors.New("recording stopped: writing it takes too long")

// Cast records what the terminal showed as asciicast v2
// (https://docs.asciinema.org/manual/asciicast/v2/): a header line, then "o" events for
// output and "r" events for a new size, times in seconds since the start. It never
// holds keyboard input.
//
// Bytes that are not UTF-8 become U+FFFD, because the format is JSON. Recording is
// done beside the output: a slow or full disk ends the recording, not the run.
type Cast struct {
	w     io.Writer
	limit int64

	taps []*tap

	mu      sync.Mutex
	raw     []byte // output that waits to be encoded
	marks   []castMark
	begun   bool
	closed  bool
	err     error
	drained sync.Cond // raw became empty, or the recording ended

	over    atomic.Bool // nothing more will be recorded
	asleep  bool        // the loop waits for something to record, not for more of it
	wake    chan struct{}
	ended   chan struct{}
	written int64
	start   time.Time
}

// castMark is one event of the backlog.
type castMark struct {
	at         time.Duration
	tap        *tap // output; nil: a new size
	n          int  // bytes of raw
	cols, rows uint16
}

// tap is one stream of output into a recording. A nil tap records nothing.
type tap struct {
	cast  *Cast
	plain bool   // no output processing was done: NL means CR NL
	carry []byte // the beginning of a UTF-8 sequence
	cr    bool   // the last byte was CR
}

// NewCast returns a recorder that writes to w, once it is given to a [Command]. The
// caller closes w after [Process.Wait].
func NewCast(w io.Writer) *Cast {
	c := &Cast{w: w, limit: castLimit, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	c.drained.L = &c.mu
	return c
}

// Err is why the recording ended early: [ErrCastFull], [ErrCastSlow] or the failure of
// a write. It is meant for after [Process.Wait].
func (c *Cast) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// begin writes the header. The format has a place for variables of the
// environment, which stays empty: their values are recorded nowhere.
func (c *Cast) begin(start time.Time, cols, rows uint16, spawn func(func())) {
	header := fmt.Appendf(nil, `{"version":2,"width":%d,"height":%d,"timestamp":%d}`, cols, rows, start.Unix())
	c.start, c.begun = start, true
	spawn(func() {
		defer close(c.ended)
		c.write(append(header, '\n'))
		c.loop()
	})
}

// stream adds a stream of output to the recording. plain says that no output
// processing is done on it.
func (c *Cast) stream(plain bool) *tap {
	t := &tap{cast: c, plain: plain}
	c.taps = append(c.taps, t)
	return t
}

// output records b, which it copies.
func (t *tap) output(b []byte) {
	if t == nil || t.cast.over.Load() {
		return
	}
	c := t.cast
	at := time.Since(c.start)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.raw)+len(b) > castBacklog && !c.waitDrained() {
		return
	}
	before := len(c.raw)
	c.raw = append(c.raw, b...)
	c.marks = append(c.marks, castMark{at: at, tap: t, n: len(b)})
	// To wake the loop for each key would delay the next one.
	if c.asleep || before <= castHurry && len(c.raw) > castHurry {
		c.asleep = false
		c.nudge()
	}
}

// waitDrained waits a moment for the backlog to be written, with the lock held, and
// reports whether it was.
func (c *Cast) waitDrained() bool {
	stuck := time.AfterFunc(castStuck, func() { c.finish(ErrCastSlow) })
	defer stuck.Stop()
	for len(c.raw) > 0 && !c.over.Load() {
		c.drained.Wait()
	}
	return !c.over.Load()
}

// resize records a new size.
func (c *Cast) resize(cols, rows uint16) {
	if c == nil || c.over.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.marks = append(c.marks, castMark{at: time.Since(c.start), cols: cols, rows: rows})
	c.nudge()
}

func (c *Cast) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// finish ends the recording for the reason err.
func (c *Cast) finish(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over.Swap(true) {
		return
	}
	c.err = err
	c.raw, c.marks = nil, nil
	c.drained.Broadcast()
	c.nudge()
}

// close writes what is left. It does not wait for a disk that hangs.
func (c *Cast) close() {
	if c == nil || !c.begun {
		return
	}
	c.mu.Lock()
	c.closed = true
	c.nudge()
	c.mu.Unlock()
	select {
	case <-c.ended:
	case <-time.After(castStuck):
		c.finish(ErrCastSlow)
	}
}

// loop encodes the backlog in batches.
func (c *Cast) loop() {
	var raw, spare, line []byte
	var marks, spareMarks []castMark
	for {
		c.mu.Lock()
		c.asleep = len(c.marks) == 0
		waiting := c.asleep && !c.closed && !c.over.Load()
		c.mu.Unlock()
		if waiting {
			<-c.wake
		}
		c.mu.Lock()
		c.asleep = false
		c.mu.Unlock()
		c.pause()
		c.mu.Lock()
		raw, marks = c.raw, c.marks
		c.raw, c.marks = spare[:0], spareMarks[:0]
		closed := c.closed
		c.drained.Broadcast()
		c.mu.Unlock()

		line = line[:0]
		at := 0
		for _, m := range marks {
			if m.tap == nil {
				line = append(castTime(line, m.at), `,"r","`...)
				line = strconv.AppendUint(line, uint64(m.cols), 10)
				line = append(line, 'x')
				line = strconv.AppendUint(line, uint64(m.rows), 10)
				line = append(line, "\"]\n"...)
			} else {
				before := len(line)
				line = append(castTime(line, m.at), `,"o","`...)
				text := len(line)
				line = m.tap.encode(line, raw[at:at+m.n])
				at += m.n
				if len(line) == text {
					line = line[:before] // nothing but the start of a sequence
				} else {
					line = append(line, "\"]\n"...)
				}
			}
			if len(line) > castHurry {
				c.write(line)
				line = line[:0]
			}
		}
		if closed {
			// A sequence that never came to its end.
			for _, t := range c.taps {
				if len(t.carry) > 0 {
					line = append(castTime(line, time.Since(c.start)), `,"o","\ufffd"]`+"\n"...)
					t.carry = t.carry[:0]
				}
			}
		}
		c.write(line)
		spare, spareMarks = raw, marks
		if closed || c.over.Load() {
			return
		}
	}
}

// pause lets a batch gather, unless the recording ends meanwhile or the backlog
// grows long.
func (c *Cast) pause() {
	timer := time.NewTimer(castBatch)
	defer timer.Stop()
	for {
		c.mu.Lock()
		hurry := c.closed || len(c.raw) > castHurry
		c.mu.Unlock()
		if hurry || c.over.Load() {
			return
		}
		select {
		case <-timer.C:
			return
		case <-c.wake:
		}
	}
}

// write appends whole lines to the recording, as many as the limit allows.
func (c *Cast) write(lines []byte) {
	if len(lines) == 0 || c.over.Load() {
		return
	}
	full := false
	if room := c.limit - c.written; int64(len(lines)) > room {
		full = true
		lines = lines[:max(room, 0)]
		for len(lines) > 0 && lines[len(lines)-1] != '\n' {
			lines = lines[:len(lines)-1]
		}
	}
	n, err := c.w.Write(lines)
	c.written += int64(n)
	switch {
	case err != nil:
		c.finish(fmt.Errorf("write the recording: %w", err))
	case full:
		c.finish(ErrCastFull)
	}
}

// castTime begins an event with its time in seconds, to the microsecond.
func castTime(line []byte, at time.Duration) []byte {
	const digits = 6
	micros := uint64(max(at, 0).Round(time.Microsecond) / time.Microsecond)
	line = strconv.AppendUint(append(line, '['), micros/1e6, 10)
	end := len(line) + 1 + digits
	line = append(line, ".000000"...)
	for fraction := micros % 1e6; fraction > 0; fraction /= 10 {
		end--
		line[end] = '0' + byte(fraction%10)
	}
	return line
}

const hexDigits = "0123456789abcdef"

// shortEscapes are the bytes that JSON writes with a backslash and one letter and
// that output is full of; 0 is any other.
var shortEscapes = [256]byte{'"': '"', '\\': '\\', '\n': 'n', '\r': 'r'}

// longestEscape is how many bytes one byte becomes at most: \u0000.
const longestEscape = 6

// special marks, by their highest bits, the bytes of x that do not stand for themselves in
// a JSON string: all but printable ASCII, the quote and the backslash. What it marks
// behind the first of them, in the order of the memory, may be wrong.
func special(x uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	quote, backslash := x^ones*'"', x^ones*'\\'
	return (x | // not ASCII
		(x + ones) | // DEL
		(x-ones*' ')&^x |
		(quote-ones)&^quote |
		(backslash-ones)&^backslash) & highs
}

// encode appends b as the inside of a JSON string. A UTF-8 sequence that is cut off at
// the end of b is kept for the next call.
func (t *tap) encode(line, b []byte) []byte {
	if len(t.carry) > 0 {
		b = append(t.carry, b...)
		t.carry = nil
	}
	const word = 8
	n := len(line)
	line = slices.Grow(line, longestEscape*len(b)+word)
	line = line[:cap(line)]
	for i := 0; i < len(b); {
		// Nearly all there is stands for itself. Eight bytes are taken at once; those
		// that do not, and what is behind them, are written over.
		if len(b)-i >= word {
			x := binary.LittleEndian.Uint64(b[i:])
			binary.LittleEndian.PutUint64(line[n:], x)
			marked := special(x)
			if marked == 0 {
				t.cr = false
				i, n = i+word, n+word
				continue
			}
			if run := bits.TrailingZeros64(marked) / 8; run > 0 {
				t.cr = false
				i, n = i+run, n+run
			}
		} else if special(uint64(b[i])|' '*0x0101010101010100) == 0 {
			t.cr = false
			line[n] = b[i]
			i, n = i+1, n+1
			continue
		}
		c := b[i]
		if letter := shortEscapes[c]; letter != 0 {
			if c == '\n' && t.plain && !t.cr {
				n += copy(line[n:], `\r`)
			}
			line[n], line[n+1] = '\\', letter
			t.cr = c == '\r'
			i, n = i+1, n+2
			continue
		}
		t.cr = false
		if c < utf8.RuneSelf {
			n += copy(line[n:], `\u00`)
			line[n], line[n+1] = hexDigits[c>>4], hexDigits[c&15]
			i, n = i+1, n+2
			continue
		}
		if !utf8.FullRune(b[i:]) {
			t.carry = append([]byte(nil), b[i:]...)
			break
		}
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			n += copy(line[n:], `\ufffd`)
		} else {
			n += copy(line[n:], b[i:i+size])
		}
		i += size
	}
	return line[:n]
}
