package receiver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

const (
	// maxSocketPath is where a socket's path stops to fit everywhere: macOS has
	// room for 103 bytes, Linux for 107.
	maxSocketPath = 99
	// idleBacklog is how long no client may have come before the listener is closed:
	// what waits then would be reset although its writes succeeded.
	idleBacklog = 20 * time.Millisecond
	// drainTime is how long open connections may go on after that.
	drainTime = time.Second

	firstBackoff = 5 * time.Millisecond
	lastBackoff  = 500 * time.Millisecond
)

// Socket is the telemetry socket: a unix stream socket that takes events as
// lines of JSON from any number of clients.
//
// What a client wrote before it shut down its side for writing is recorded and
// synced before it reads end of file. A line that is no event is recorded as
// rejected, and the connection goes on.
type Socket struct {
	// Path is where clients connect, absolute and under 100 bytes.
	Path string

	record   func([]telemetry.Event) error
	sync     func(context.Context) error
	listener *net.UnixListener
	own      os.FileInfo // the socket file as it was made

	ctx     context.Context // ends when nobody waits for a sync any more
	stop    context.CancelFunc
	closing chan struct{} // closed when Close begins
	accepts chan struct{} // closed when no more clients are taken
	clients sync.WaitGroup

	mu    sync.Mutex
	conns map[*net.UnixConn]struct{}
	until time.Time // when accepting ends at the latest, once closing
	last  time.Time // when a client was accepted last; zero: none was
}

// ListenSocket makes the socket, mode 0600, in a new private directory under
// the system's directory for temporary files, or under /tmp where that path is
// too long or cannot be used. record gets the events of a connection in their
// order, as many as came together, of several connections at once, and keeps
// neither the slice nor the lines; sync returns when everything that
// was recorded before is in the journal.
func ListenSocket(record func([]telemetry.Event) error, sync func(context.Context) error) (*Socket, error) {
	listener, path, err := listenUnder(os.TempDir())
	if err != nil {
		var second error
		if listener, path, second = listenUnder("/tmp"); second != nil {
			advice := "set TMPDIR to a directory that can be written"
			if errors.Is(second, syscall.EMFILE) {
				advice = "ulimit -n raises the limit"
			}
			return nil, fmt.Errorf("listen on the telemetry socket: %w; %w (%s)", err, second, advice)
		}
	}
	own, err := os.Lstat(path)
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("listen on the telemetry socket: %w", err)
	}
	s := &Socket{
		Path: path, record: record, sync: sync, listener: listener, own: own,
		closing: make(chan struct{}), accepts: make(chan struct{}), conns: make(map[*net.UnixConn]struct{}),
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	go s.accept()
	return s, nil
}

func listenUnder(tmp string) (*net.UnixListener, string, error) {
	tmp, err := filepath.Abs(tmp)
	if err != nil {
		return nil, "", err
	}
	dir, err := os.MkdirTemp(tmp, "obsrun-")
	if err != nil {
		return nil, "", err
	}
	path := filepath.Join(dir, "telemetry.sock")
	listener, err := listenIn(dir, path)
	if err != nil {
		os.Remove(path)
		os.Remove(dir)
		return nil, "", err
	}
	return listener, path, nil
}

func listenIn(dir, path string) (*net.UnixListener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("%s: over %d bytes long", path, maxSocketPath)
	}
	// The umask may have taken bits away that the owner needs, or have left
	// others theirs; the directory keeps them out until the socket's mode is set.
	if err := os.Chmod(dir, 0o700); err != nil { // #nosec G302 -- a directory
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false) // it would remove whatever stands there by then
	if err := os.Chmod(path, 0o600); err != nil {
		listener.Close()
		return nil, err
	}
	return listener, nil
}

// accept takes clients until Close found that none waits.
func (s *Socket) accept() {
	defer close(s.accepts)
	defer s.listener.Close()
	defer s.sweep()
	backoff := firstBackoff
	told := false
	for {
		conn, err := s.listener.AcceptUnix()
		if err == nil {
			backoff = firstBackoff
			s.serve(conn)
			if !s.again() {
				return
			}
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if errors.Is(err, os.ErrDeadlineExceeded) { // Close has set one: nobody waits
			return
		}
		// Most likely no descriptor is free. The client waits in the backlog and
		// loses nothing.
		if !told {
			told = true
			s.warn(fmt.Sprintf("a telemetry client has to wait: %v", err))
		}
		select {
		case <-time.After(backoff):
		case <-s.closing:
			time.Sleep(firstBackoff)
			if !s.again() {
				return
			}
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

// sweep takes the clients that wait at this very moment: the deadline that ended
// accept says nothing about them, and closing the listener would reset them although
// they have written.
func (s *Socket) sweep() {
	s.mu.Lock()
	until := s.until
	s.mu.Unlock()
	raw, err := s.listener.SyscallConn()
	if err != nil {
		return
	}
	for {
		var fd int
		var accept error
		err := raw.Control(func(listener uintptr) { // it does not block
			syscall.ForkLock.RLock()
			defer syscall.ForkLock.RUnlock()
			if fd, _, accept = syscall.Accept(int(listener)); accept == nil {
				syscall.CloseOnExec(fd)
			}
		})
		switch {
		case err != nil, accept == syscall.EAGAIN:
			return
		case accept == nil:
			s.adopt(fd)
		case accept == syscall.EINTR, accept == syscall.ECONNABORTED:
		case time.Now().After(until):
			return
		default: // no descriptor is free
			time.Sleep(firstBackoff)
		}
	}
}

// adopt serves the client at fd.
func (s *Socket) adopt(fd int) {
	file := os.NewFile(uintptr(fd), "client")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		s.warn(fmt.Sprintf("a telemetry client could not be served: %v", err))
		return
	}
	s.serve(conn.(*net.UnixConn))
}

// again lets the listener wait for one more client, and says whether it may.
func (s *Socket) again() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until.IsZero() {
		return true
	}
	now := time.Now()
	if now.After(s.until) {
		return false
	}
	return s.listener.SetDeadline(now.Add(idleBacklog)) == nil
}

func (s *Socket) warn(message string) {
	_ = s.record([]telemetry.Event{{Type: telemetry.Log, Level: "warn", Message: message, Source: telemetry.SourceObsrun}})
}

// serve reads from one client until it is done.
func (s *Socket) serve(conn *net.UnixConn) {
	s.mu.Lock()
	s.conns[conn] = struct{}{}
	s.last = time.Now()
	s.mu.Unlock()
	s.clients.Go(func() {
		c := connection{conn: conn, record: s.record}
		c.read()
		_ = s.sync(s.ctx) // before the client sees end of file
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
		conn.Close()
	})
}

// Close ends the socket when the orchestrator is gone: it takes clients until none has
// come for 20 ms, which is at once where that is the case already, reads on for up to
// 1 s from those that are connected, cuts what is still open then, and removes the
// socket and its directory. All whole lines that arrived are recorded when it returns.
// ctx shortens the wait. It is to be called once.
func (s *Socket) Close(ctx context.Context) error {
	hard := time.Now().Add(drainTime)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(hard) {
		hard = deadline
	}
	s.mu.Lock()
	s.until = hard
	idle := time.Since(s.last) >= idleBacklog
	s.mu.Unlock()
	var removed error
	if idle {
		// Nobody who is not waiting by now finds the way any more, so that what sweep
		// takes is all there is. Where clients come just now there may be more of them
		// than the backlog holds, and these are given the time to get in.
		removed = s.remove()
	}
	close(s.closing)
	if idle {
		_ = s.listener.SetDeadline(time.Now())
	} else if !s.again() {
		s.listener.Close()
	}
	<-s.accepts

	drained := make(chan struct{})
	go func() { s.clients.Wait(); close(drained) }()
	select {
	case <-drained:
	case <-time.After(time.Until(hard)):
	case <-ctx.Done():
	}
	s.mu.Lock()
	for conn := range s.conns {
		_ = conn.SetReadDeadline(time.Now()) // its reader takes what lies there, and ends
	}
	s.mu.Unlock()
	s.stop()
	<-drained
	if !idle {
		removed = s.remove()
	}
	return removed
}

// remove removes the socket file and its directory, if they are still ours.
func (s *Socket) remove() error {
	info, err := os.Lstat(s.Path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		s.warn("the telemetry socket was removed while the run went on; clients that came later found none")
	case err != nil:
		return fmt.Errorf("remove the telemetry socket: %w", err)
	case !os.SameFile(info, s.own):
		s.warn("something else stands in place of the telemetry socket: " + s.Path + " is left alone")
		return nil
	default:
		if err := os.Remove(s.Path); err != nil {
			return fmt.Errorf("remove the telemetry socket: %w", err)
		}
	}
	// A directory with something foreign in it stays.
	if err := os.Remove(filepath.Dir(s.Path)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the telemetry socket's directory: %w", err)
	}
	return nil
}
