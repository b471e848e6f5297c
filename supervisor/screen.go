package supervisor

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/obsrun/obsrun/supervisor/monitor"
)

// chunkSize is the most that is copied in one go. A pseudo-terminal hands out
// 4 KiB at a time on Linux; several reads fill one write when output is heavy.
const chunkSize = 64 << 10

// Processors is how many processors Go's runtime takes for itself. A program whose
// command line has a "--" in it begins with one: it may be about to start a command, and
// what more of them cost would delay that.
var Processors = monitor.Processors

// KernelWaits is how many threads wait in the kernel for terminals, at most: two for
// output, one for keys. Each can keep one of the runtime's processors for up to 10 ms
// (see runtime.GOMAXPROCS), and on a small machine these are all there are: who calls
// [Start] gives as many in addition.
const KernelWaits = 3

// screen is one pseudo-terminal and the way its output takes.
type screen struct {
	master int // ours, non-blocking
	slave  int // COMMAND's; held open until it ended, so that a pause is not mistaken for the end

	sink     int  // descriptor of obsrun that output goes to; -1: nowhere
	cooked   bool // the sink is a terminal that does its own output processing whenever keys is not raw
	keys     *keyboard
	tap      *tap // recording; nil: none
	activity *atomic.Int64
	since    func() time.Duration // monotonic clock
	broke    func(error)          // the sink failed; called once; may be nil

	scratch  []byte
	stopping atomic.Bool
	wake     *os.File      // closed to stop
	woken    int           // its other end
	ended    chan struct{} // closed when the copying has ended
	idle     atomic.Int64  // since() when the pseudo-terminal was found empty; 0: not waiting
	empties  atomic.Int64  // how often it was found empty
	bytes    atomic.Int64  // read so far
}

// openScreen makes a pseudo-terminal of the given size. mode is the terminal mode to
// start with, nil for the system's default.
func openScreen(mode *unix.Termios, size *unix.Winsize) (*screen, error) {
	m, s, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("no pseudo-terminal is available (--no-pty runs without): %w", err)
	}
	// The files are registered with Go's poller, which would wake for every
	// byte. Plain descriptors are read without it.
	defer m.Close()
	defer s.Close()
	sc := &screen{master: -1, slave: -1, sink: -1, woken: -1, ended: make(chan struct{})}
	if sc.master, err = duplicate(m); err == nil {
		sc.slave, err = duplicate(s)
	}
	if err == nil {
		err = unix.SetNonblock(sc.master, true)
	}
	if err == nil && mode != nil {
		err = unix.IoctlSetTermios(sc.slave, ioctlSetTermios, mode)
	}
	if err == nil {
		err = sc.resize(size)
	}
	if err != nil {
		sc.close()
		return nil, fmt.Errorf("set up a pseudo-terminal: %w", err)
	}
	return sc, nil
}

// duplicate returns a blocking descriptor for f that is not passed on.
func duplicate(f *os.File) (int, error) {
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
}

func (s *screen) resize(size *unix.Winsize) error {
	return unix.IoctlSetWinsize(s.master, unix.TIOCSWINSZ, size)
}

// plain switches off output processing: bytes leave as they were written.
func (s *screen) plain() error {
	mode, err := unix.IoctlGetTermios(s.slave, ioctlGetTermios)
	if err != nil {
		return err
	}
	mode.Oflag &^= unix.OPOST
	return unix.IoctlSetTermios(s.slave, ioctlSetTermios, mode)
}

func (s *screen) closeSlave() {
	if s.slave >= 0 {
		unix.Close(s.slave)
		s.slave = -1
	}
}

// close releases the pseudo-terminal. The copying must have ended or never begun.
func (s *screen) close() {
	s.closeSlave()
	for _, fd := range []*int{&s.master, &s.woken} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
	if s.wake != nil {
		s.wake.Close()
		s.wake = nil
	}
}

// prepare makes the means by which stop ends the copying.
func (s *screen) prepare() error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("set up a pseudo-terminal: %w", err)
	}
	defer r.Close()
	s.wake = w
	if s.woken, err = duplicate(r); err != nil {
		return fmt.Errorf("set up a pseudo-terminal: %w", err)
	}
	return nil
}

// stop ends the copying as soon as the pseudo-terminal is empty or a chunk was
// written; a write that blocks is not interrupted.
func (s *screen) stop() {
	s.stopping.Store(true)
	if s.wake != nil {
		s.wake.Close()
		s.wake = nil
	}
}

// copy carries output to the sink until every slave descriptor is closed or stop
// was called. It is the hot path: no allocation, no lock but the recording's.
func (s *screen) copy() {
	defer close(s.ended)
	buf := make([]byte, chunkSize)
	for {
		n, last := s.fill(buf)
		if n > 0 {
			s.bytes.Add(int64(n))
			s.activity.Store(int64(s.since()))
			s.deliver(buf[:n])
			s.tap.output(buf[:n])
		}
		if last || s.stopping.Load() {
			return
		}
	}
}

// calm reports whether all that was written to the pseudo-terminal is delivered. The
// copying may be behind by any time on a busy machine, so the kernel is asked, too.
func (s *screen) calm() bool {
	select {
	case <-s.ended:
		return true
	default:
		return s.idle.Load() > 0 && !readable(s.master) && s.idle.Load() > 0
	}
}

// fill reads what is there, waiting for the first byte, and reports whether the
// output has ended.
func (s *screen) fill(buf []byte) (n int, last bool) {
	for {
		r, err := unix.Read(s.master, buf[n:])
		switch {
		case r > 0:
			n += r
			if r < 2<<10 || n > len(buf)-4<<10 {
				return n, false // a trickle is not held back
			}
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			if n > 0 {
				return n, false
			}
			s.empties.Add(1)
			s.idle.Store(int64(s.since()) | 1)
			woken, err := await(s.master, false, s.woken)
			s.idle.Store(0)
			if woken || err != nil {
				return 0, true
			}
		default:
			// End of file, which is EIO on Linux.
			return n, true
		}
	}
}

// deliver writes b to the sink. After a failure output is still read, so that
// COMMAND is not blocked before it has noticed.
func (s *screen) deliver(b []byte) {
	if s.sink < 0 {
		return
	}
	if s.cooked && !s.keys.isRaw() {
		s.scratch = unprocess(s.scratch[:0], b)
		b = s.scratch
	}
	for len(b) > 0 {
		n, err := unix.Write(s.sink, b)
		switch {
		case n > 0:
			b = b[n:]
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			// Somebody else made it non-blocking.
			if _, err := await(s.sink, true, -1); err != nil {
				s.fail(err)
				return
			}
		default:
			s.fail(err)
			return
		}
	}
}

func (s *screen) fail(err error) {
	s.sink = -1
	if s.broke != nil {
		s.broke(err)
	}
}

// unprocess appends b to dst without the CR that a terminal's output processing puts
// before each NL, because the terminal behind will put it there again.
func unprocess(dst, b []byte) []byte {
	for i, c := range b {
		if c != '\r' || i+1 == len(b) || b[i+1] != '\n' {
			dst = append(dst, c)
		}
	}
	return dst
}
