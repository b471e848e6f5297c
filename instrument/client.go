package instrument

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

const (
	maxEvents = 10_000
	maxBytes  = 4 << 20
	// closeTimeout bounds how long Close waits for obsrun.
	closeTimeout = 2 * time.Second
	// connectTimeout is how long a connect is tried again that may succeed a
	// moment later.
	connectTimeout = 5 * time.Second
	longestPause   = 50 * time.Millisecond
)

// share is the percentage of the buffer that an event may fill. Counters are
// totals, so a lost update is made good by the next one or by the end, while a
// lost end leaves a span open for ever.
func share(t telemetry.Type) int {
	switch t {
	case telemetry.SpanEnd:
		return 100
	case telemetry.SpanStart, telemetry.SpanQueued, telemetry.Phase, telemetry.Artifact:
		return 90
	}
	return otherShare
}

const otherShare = 80

// Client is one connection to obsrun's telemetry socket, with its buffer and its
// losses. A nil Client does nothing. Its methods may be called from any
// goroutine; its fields must be set before the first event.
type Client struct {
	// RunID is the run's id, from which Span.Env makes trace ids; without it
	// there is no TRACEPARENT.
	RunID string
	// Now is the clock of timestamps and durations.
	Now func() time.Time

	path, parent string
	closing      sync.Once
	closed       error // what Close returned

	mu      sync.Mutex
	off     bool // no event is taken any more
	fault   error
	conn    *net.UnixConn
	raw     syscall.RawConn
	queue   [][]byte
	bytes   int
	offset  int // how much of the first queued line is written
	lost    int
	writing bool // a goroutine writes what the socket did not take
	// connectUntil is when a connect that fails for now is given up.
	connectUntil time.Time
}

// Dial gives a client for the unix socket at path, whose outermost spans hang
// under the span with the id parent. It connects with the first event. Nil when
// path is empty. For programs that speak to the obsrun that started them there
// is Default.
func Dial(path, parent string) *Client {
	if path == "" {
		return nil
	}
	return &Client{Now: time.Now, path: path, parent: parent}
}

// Emit sends any event. Where they are missing, ts, the parent of a span, and
// the span_id of log and artifact are filled in with what the client knows. An
// event with Raw goes out as that line; it must have been decoded. What is wrong with an event is not told
// here: obsrun notes it in rejected.jsonl.
func (c *Client) Emit(e telemetry.Event) {
	c.emit(e, c.outermost())
}

func (c *Client) emit(e telemetry.Event, here *Span) {
	if c == nil || here == nil {
		return
	}
	c.send(complete(e, here.id, c.Now()))
}

// send takes an event in and writes as much as the socket takes at once.
func (c *Client) send(e telemetry.Event) {
	c.mu.Lock()
	off := c.off
	c.mu.Unlock()
	if off {
		return
	}
	line := encode(e)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.off {
		return
	}
	if len(line) > telemetry.MaxLine+1 && e.Raw == nil || !c.room(len(line), share(e.Type)) {
		c.lost++
		return
	}
	if c.room(0, otherShare) {
		c.reportLoss()
	}
	c.push(line)
	c.pump()
	if len(c.queue) > 0 && !c.writing {
		c.writing = true
		go c.write()
	}
}

func (c *Client) room(n, share int) bool {
	return len(c.queue) < maxEvents*share/100 && c.bytes+n <= maxBytes/100*share
}

func (c *Client) reportLoss() {
	if c.lost == 0 || c.off {
		return
	}
	events := " events"
	if c.lost == 1 {
		events = " event"
	}
	message := "obsrun client lost " + strconv.Itoa(c.lost) + events + ": its buffer was full"
	c.lost = 0
	c.push(encode(telemetry.Event{Type: telemetry.Log, Level: "warn", Message: message, TS: seconds(c.Now())}))
}

func (c *Client) push(line []byte) {
	c.queue = append(c.queue, line)
	c.bytes += len(line)
}

// pump writes as much as the socket takes without waiting.
func (c *Client) pump() {
	for len(c.queue) > 0 && !c.off {
		if c.conn == nil {
			if err := c.connect(); err != nil {
				c.connectFailed(err)
				return
			}
		}
		line := c.queue[0]
		n, err := c.writeNow(line[c.offset:])
		c.offset += n
		if c.offset == len(line) {
			c.queue[0] = nil
			c.queue = c.queue[1:]
			c.bytes -= len(line)
			c.offset = 0
		}
		if errors.Is(err, syscall.EAGAIN) {
			return
		}
		if err != nil {
			c.stop(fmt.Errorf("write to obsrun: %w", err))
		}
	}
}

func (c *Client) writeNow(b []byte) (n int, err error) {
	rawErr := c.raw.Write(func(fd uintptr) bool {
		for {
			n, err = syscall.Write(int(fd), b)
			if !errors.Is(err, syscall.EINTR) {
				return true // also when the socket is full: waiting is for the goroutine
			}
		}
	})
	return max(n, 0), errors.Join(err, rawErr)
}

func (c *Client) connect() error {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: c.path, Net: "unix"})
	if err != nil {
		return err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		conn.Close()
		return err
	}
	c.conn, c.raw = conn, raw
	return nil
}

func (c *Client) connectFailed(err error) {
	now := time.Now()
	if c.connectUntil.IsZero() {
		c.connectUntil = now.Add(connectTimeout)
	}
	mayPass := slices.ContainsFunc(temporary, func(errno syscall.Errno) bool { return errors.Is(err, errno) })
	if !mayPass || now.After(c.connectUntil) {
		c.stop(fmt.Errorf("connect to obsrun: %w", err))
	}
}

// temporary are the reasons for which a connect may succeed a moment later. A
// full backlog is EAGAIN on Linux and ECONNREFUSED on macOS.
var temporary = func() []syscall.Errno {
	errnos := []syscall.Errno{syscall.EAGAIN, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM}
	if runtime.GOOS == "darwin" {
		errnos = append(errnos, syscall.ECONNREFUSED)
	}
	return errnos
}()

// stop makes the client do nothing from now on.
func (c *Client) stop(fault error) {
	c.off = true
	c.fault = fault
	c.queue, c.bytes = nil, 0
	if c.conn != nil {
		c.conn.Close()
	}
}

// write goes on writing until nothing is left.
func (c *Client) write() {
	for pause := time.Millisecond; ; pause = min(2*pause, longestPause) {
		time.Sleep(pause)
		c.mu.Lock()
		before, offset := len(c.queue), c.offset
		c.pump()
		if len(c.queue) == 0 {
			c.writing = false
			c.mu.Unlock()
			return
		}
		if before != len(c.queue) || offset != c.offset {
			pause = time.Millisecond
		}
		c.mu.Unlock()
	}
}

// Close writes what is buffered, closes the writing half of the connection and
// waits until obsrun has closed the other: then everything is in the journal. It
// waits for 2 seconds at most. Nil when that was confirmed or nothing was ever
// sent; else the error says what failed. Events after it are dropped, and later
// calls return the same.
func (c *Client) Close() error {
	if c == nil {
		return nil
	}
	c.closing.Do(func() { c.closed = c.close(time.Now().Add(closeTimeout)) })
	return c.closed
}

func (c *Client) close(deadline time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reportLoss()
	for pause := time.Millisecond; ; pause = min(2*pause, longestPause) {
		c.pump()
		if c.off {
			return c.fault
		}
		if len(c.queue) == 0 {
			break
		}
		if time.Now().After(deadline) {
			left := len(c.queue)
			c.stop(fmt.Errorf("flush to obsrun: %d events were not taken within %v", left, closeTimeout))
			return c.fault
		}
		c.mu.Unlock()
		time.Sleep(pause)
		c.mu.Lock()
	}
	c.off = true
	if c.conn == nil {
		return nil
	}
	defer c.conn.Close()
	if err := c.conn.CloseWrite(); err != nil {
		return fmt.Errorf("half-close to obsrun: %w", err)
	}
	if err := c.conn.SetReadDeadline(deadline); err != nil {
		return fmt.Errorf("await obsrun's confirmation: %w", err)
	}
	for buf := make([]byte, 512); ; {
		if _, err := c.conn.Read(buf); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("await obsrun's confirmation: %w", err)
		}
	}
}
