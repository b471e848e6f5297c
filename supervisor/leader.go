package supervisor

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/obsrun/obsrun/supervisor/monitor"
)

// leader is obsrun's side of the monitor.
type leader struct {
	pid     int
	socket  int // the descriptor of control
	control *os.File
	write   sync.Mutex
	events  chan monitor.Frame // closed when the monitor is gone
}

// refusedPID tells a refused execve from a failure before it.
const refusedPID = -1

// lead starts the monitor, which then waits for launch or close. It takes a while until
// it is ready, in which there are other things to do.
func lead(lay *layout, keys *keyboard) (*leader, error) {
	exe, err := self()
	if err != nil {
		return nil, fmt.Errorf("find obsrun's own program: %w", err)
	}
	near, far, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	control := os.NewFile(uintptr(near), "control")
	m := &leader{socket: near, control: control, events: make(chan monitor.Frame, 16)}
	m.pid, err = startMonitor(exe, far, lay, keys)
	unix.Close(far)
	if err != nil {
		control.Close()
		return nil, fmt.Errorf("start the monitor: %w", err)
	}
	return m, nil
}

// launch has the monitor start COMMAND, and gives its process id. If it was refused by
// execve, that is refusedPID and the error is the errno. With an error the monitor has
// ended.
func (m *leader) launch(l monitor.Launch) (int, error) {
	first, err := m.handshake(l)
	if err == nil && first.Op == monitor.Started {
		go m.listen()
		return int(first.A), nil
	}
	m.dismiss()
	if err != nil {
		return 0, fmt.Errorf("start the monitor: %w", err)
	}
	return refusedPID, unix.Errno(first.A)
}

// dismiss ends a monitor that runs nothing.
func (m *leader) dismiss() {
	close(m.events) // nobody listens
	m.close()
}

func (m *leader) handshake(l monitor.Launch) (first monitor.Frame, err error) {
	if err = l.Write(m.control); err == nil {
		first, err = monitor.ReadFrame(m.control)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) {
		err = errors.New("it ended at once (are there too many processes? ulimit -u raises the limit)")
	}
	return first, err
}

// self is a path that executes this very program.
func self() (string, error) {
	exe, err := os.Executable()
	if runtime.GOOS != "linux" {
		return exe, err
	}
	const proc = "/proc/self/exe"
	now, e1 := os.Stat(proc)
	named, e2 := os.Stat(exe)
	if e1 == nil && (err != nil || e2 != nil || !os.SameFile(now, named)) {
		return proc, nil // replaced or deleted since it was started
	}
	return exe, err
}

// startMonitor runs the monitor with COMMAND's descriptors. Descriptors that this process
// was given beyond the three stay where they are, for COMMAND; the monitor's own come
// after them.
func startMonitor(exe string, control int, lay *layout, keys *keyboard) (int, error) {
	const closed = ^uintptr(0)
	files := []uintptr{uintptr(lay.files[0]), uintptr(lay.files[1]), uintptr(lay.files[2])}
	for _, fd := range inheritedFiles() {
		for len(files) < fd {
			files = append(files, closed)
		}
		files = append(files, uintptr(fd))
	}
	add := func(fd int) int {
		if fd < 0 {
			return -1
		}
		files = append(files, uintptr(fd))
		return len(files) - 1
	}
	sys := &syscall.SysProcAttr{}
	controlAt, keysAt, slaveAt := add(control), -1, -1
	if keys != nil {
		keysAt = add(keys.fd)
	}
	if len(lay.screens) > 0 {
		slaveAt = add(lay.screens[0].slave)
		sys.Setsid, sys.Setctty, sys.Ctty = true, true, slaveAt
	} else {
		sys.Setpgid = true
	}
	argv := []string{monitor.Name, strconv.Itoa(controlAt), strconv.Itoa(keysAt), strconv.Itoa(slaveAt)}
	return syscall.ForkExec(exe, argv, &syscall.ProcAttr{Env: append(monitor.Environment, os.Environ()...), Files: files, Sys: sys})
}

// inheritedFiles lists, in order, the descriptors above stderr that were passed to this
// process to be passed on. Go marks all that it opens itself.
func inheritedFiles() []int {
	dir, err := os.Open("/dev/fd")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	// A number beyond the limit of open files can not be set, but stays as it is.
	limit := unix.Rlimit{Cur: math.MaxInt32}
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	var list []int
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd < 3 || uint64(fd) >= limit.Cur {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			list = append(list, fd)
		}
	}
	slices.Sort(list)
	return list
}

// socketPair is a pair of stream sockets that are not passed on, and that the poller
// waits for: a thread that waited in the kernel would keep others from running.
func socketPair() (near, far int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, -1, err
	}
	for _, fd := range pair {
		unix.CloseOnExec(fd)
		if err == nil {
			err = unix.SetNonblock(fd, true)
		}
	}
	if err != nil {
		unix.Close(pair[0])
		unix.Close(pair[1])
		return -1, -1, err
	}
	return pair[0], pair[1], nil
}

func (m *leader) listen() {
	defer close(m.events)
	for {
		f, err := monitor.ReadFrame(m.control)
		if err != nil {
			return
		}
		m.events <- f
	}
}

// send asks the monitor for something. If it is gone, its events say so.
func (m *leader) send(op int32, a, b int) {
	m.write.Lock()
	defer m.write.Unlock()
	_ = monitor.Frame{Op: op, A: int32(a), B: int32(b)}.Write(m.control, nil)
}

// tell sends a frame with a payload.
func (m *leader) tell(op int32, payload []byte) {
	m.write.Lock()
	defer m.write.Unlock()
	_ = monitor.Frame{Op: op, B: int32(len(payload))}.Write(m.control, payload)
}

// close ends the monitor, and with it the session, and reaps it.
func (m *leader) close() {
	_ = unix.Shutdown(m.socket, unix.SHUT_WR)
	for range m.events { // listen ends with the monitor's end of the socket
	}
	for {
		_, err := syscall.Wait4(m.pid, nil, 0, nil)
		if err != syscall.EINTR {
			break
		}
	}
	m.control.Close()
}
