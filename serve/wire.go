package serve

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// wire is the connection of a stream that net/http was relieved of: its goroutine, its
// buffers and the request are given back, and what is left of a client that listens is
// this, and a small goroutine that waits for it to leave. The answer ends with the
// connection. There is none over TLS, where net/http keeps the stream.
type wire struct {
	conn     net.Conn
	patience time.Duration
	all      *wires
	// attempt writes what fits without waiting; it is nil where that can not be done.
	attempt func([]byte) (int, error)
	over    func() // called when nobody uses it any more; may be nil
}

// talk has somebody write to the wire until the client leaves, and returns at once.
func (w *wire) talk(say func(context.Context)) {
	ctx, cancel := context.WithCancel(w.all.ctx)
	go func() {
		w.leaving()
		cancel()
	}()
	go func() {
		defer w.close()
		defer w.all.sane()
		say(ctx)
	}()
}

// Write sends p in pieces, each within a deadline, as reply does.
func (w *wire) Write(p []byte) (written int, err error) {
	for {
		piece := p[:min(len(p), pieceSize)]
		_ = w.conn.SetWriteDeadline(time.Now().Add(w.patience))
		n, err := w.conn.Write(piece)
		written += n
		if p = p[len(piece):]; err != nil || len(p) == 0 {
			return written, err
		}
	}
}

// maxWaste is how much a client may send behind its request, which nobody reads.
const maxWaste = 64 << 10

// leaving waits until the client has closed the connection, or it was closed here.
func (w *wire) leaving() {
	var waste [64]byte
	for left := maxWaste; left > 0; {
		n, err := w.conn.Read(waste[:])
		if err != nil {
			break
		}
		left -= n
	}
	w.conn.Close()
}

// close is for who used it last.
func (w *wire) close() {
	w.conn.Close()
	if w.over != nil {
		w.over()
	}
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	delete(w.all.open, w)
}

// attemptOf gives a function that writes to a connection without waiting: less than it
// is given, and an error, where the system takes no more for now.
func attemptOf(conn net.Conn) func([]byte) (int, error) {
	if s, ok := conn.(*slotted); ok {
		conn = s.Conn
	}
	system, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := system.SyscallConn()
	if err != nil {
		return nil
	}
	var text []byte
	var written int
	var failed error
	write := func(descriptor uintptr) {
		for {
			written, failed = syscall.Write(int(descriptor), text)
			if failed != syscall.EINTR {
				return
			}
		}
	}
	return func(b []byte) (int, error) {
		text, written = b, 0
		err := raw.Control(write) // not Write, whose deadline is that of other writes
		text = nil
		if err == nil {
			err = failed
		}
		return max(0, written), err
	}
}

// wires are those of a server.
type wires struct {
	ctx   context.Context // done when the server shuts down
	fault func(error)

	mu     sync.Mutex
	open   map[*wire]struct{}
	closed bool
}

// take relieves net/http of a connection and sends the head of an answer that is a
// stream.
func (c *wires) take(w *reply, r *http.Request) (*wire, error) {
	conn, _, err := w.control.Hijack()
	if err != nil {
		return nil, err
	}
	taken := &wire{conn: conn, patience: w.patience, all: c, attempt: attemptOf(conn), over: w.over}
	w.over, w.taken = nil, true
	c.mu.Lock()
	if !c.closed {
		if c.open == nil {
			c.open = make(map[*wire]struct{})
		}
		c.open[taken] = struct{}{}
	}
	closed := c.closed
	c.mu.Unlock()
	if closed {
		taken.close()
		return nil, net.ErrClosed
	}
	header := w.Header()
	header.Set("Connection", "close")
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	head := headWriter("HTTP/1." + strconv.Itoa(min(1, r.ProtoMinor)) + " 200 OK\r\n")
	_ = header.Write(&head)
	if _, err := taken.Write(append(head, "\r\n"...)); err != nil {
		taken.close()
		return nil, err
	}
	return taken, nil
}

type headWriter []byte

func (b *headWriter) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

// sane is deferred where a panic would end more than a stream.
func (c *wires) sane() {
	if cause := recover(); cause != nil {
		c.fault(fmt.Errorf("send a stream: panic: %v\n%s", cause, debug.Stack()))
	}
}

// shut closes all wires, and lets none be taken any more.
func (c *wires) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for w := range c.open {
		w.conn.Close()
	}
}

// gone waits until nobody uses a wire.
func (c *wires) gone(ctx context.Context) {
	poll(ctx, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.open) == 0
	})
}
