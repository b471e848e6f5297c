package monitor

import (
	"io"
	"math"
	"os"
	"os/signal"
	"syscall"
	"time"
	"unsafe"
)

const (
	failed        = 125 // exit status of a monitor that was not told what to do
	fallbackShell = "/bin/sh"
)

// The signals that would end the monitor, and those that would stop it.
var (
	deadly   = []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGPIPE}
	stopping = []syscall.Signal{syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU}
)

// monitor leads COMMAND's session, or in a run without a pseudo-terminal only
// its process group's parent. Its one goroutine does everything but wait.
type monitor struct {
	control  *os.File
	terminal int // obsrun's own terminal, to restore it; -1: none
	undo     *TerminalState

	parent  int  // obsrun
	pid     int  // COMMAND, which is also its process group
	home    int  // group that has the terminal when COMMAND has not
	granted bool // COMMAND's session may use its terminal
	lent    int  // foreground group when the terminal was taken from COMMAND; 0: none
	exited  bool
	asked   bool // obsrun had COMMAND continued since it stopped
	obeyed  int  // number of the last request to continue COMMAND
}

func (m *monitor) run() int {
	l, err := ReadLaunch(m.control)
	if err != nil {
		return failed
	}
	m.home = l.Home
	if m.home == 0 {
		m.home = syscall.Getpgrp()
	}

	if len(l.Ignored) > 0 { // no argument would mean every signal
		signal.Ignore(osSignals(l.Ignored)...)
	}
	deafen := deaf(l.Ignored)
	// All threads that it will need are made before COMMAND runs: where there may be no
	// more of them, nothing has begun yet.
	requests, ready := make(chan request), make(chan struct{})
	changed, follow := changes()
	go func() {
		close(ready)
		m.listen(requests)
	}()
	<-ready
	err = m.start(l)
	deafen()
	if err != nil {
		m.takeTerminal()
		errno, _ := err.(syscall.Errno)
		m.tell(Refused, int(errno), 0)
		return 0
	}
	m.detach()
	m.tell(Started, m.pid, 0)

	follow(m.pid)
	for {
		m.observe()
		select {
		case <-changed:
			m.observe()
			follow(m.pid)
		case r, ok := <-requests:
			if !ok {
				m.leave()
				return 0
			}
			m.obey(r)
		}
	}
}

// request is a frame from obsrun with the payload of a Raw.
type request struct {
	Frame
	state *TerminalState
}

func (m *monitor) listen(requests chan<- request) {
	defer close(requests)
	for {
		f, err := ReadFrame(m.control)
		if err != nil {
			return
		}
		r := request{Frame: f}
		if f.Op == Raw {
			r.state = new(TerminalState)
			if _, err := io.ReadFull(m.control, r.state.Bytes()); err != nil {
				return
			}
		}
		requests <- r
	}
}

// start runs COMMAND in a process group of its own.
func (m *monitor) start(l Launch) error {
	attr := &syscall.ProcAttr{
		Dir:   l.Dir,
		Env:   l.Env,
		Files: []uintptr{0, 1, 2}, // the others are inherited as they are
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	}
	if l.Foreground {
		if fd, err := OpenTerminal(); err == nil {
			defer syscall.Close(fd)
			attr.Sys.Foreground, attr.Sys.Ctty = true, fd
			m.granted = true
		}
	}
	pid, err := syscall.ForkExec(l.Path, l.Args, attr)
	if err == syscall.ENOEXEC {
		// A script without #! is the shell's, as for execvp.
		pid, err = syscall.ForkExec(fallbackShell, append([]string{fallbackShell, l.Path}, l.Args[1:]...), attr)
	}
	m.pid = pid
	return err
}

// detach gives up COMMAND's standard descriptors: the end of a pipe must be seen
// when COMMAND closes it, not when the monitor does.
func (m *monitor) detach() {
	for fd := range 3 {
		syscall.Close(fd)
		// The lowest free number is the one just closed.
		syscall.Open(os.DevNull, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	}
}

func (m *monitor) tell(op int32, a, b int) {
	// A failure means that obsrun is gone, which listen will see.
	_ = Frame{op, int32(a), int32(b)}.Write(m.control, nil)
}

// observe reports every change of COMMAND's state since the last call.
func (m *monitor) observe() {
	for !m.exited {
		var status syscall.WaitStatus
		var used syscall.Rusage
		pid, err := syscall.Wait4(m.pid, &status, syscall.WNOHANG|syscall.WUNTRACED|syscall.WCONTINUED, &used)
		if err == syscall.EINTR {
			continue
		}
		if pid != m.pid {
			return
		}
		switch {
		case status.Stopped():
			m.asked = false
			m.takeTerminal()
			m.tell(Stopped, int(status.StopSignal()), m.obeyed)
		case status.Continued():
			m.tell(Continued, 0, 0)
			// obsrun may have stopped itself, and COMMAND was continued by somebody
			// who does not know of obsrun.
			if parent := syscall.Getppid(); parent == m.parent && !m.asked {
				_ = syscall.Kill(parent, syscall.SIGCONT)
			}
		default:
			m.exited = true
			if m.home != syscall.Getpgrp() {
				m.takeTerminal() // it is the user's own, and the next one waits for it
			}
			cpu := time.Duration(used.Utime.Nano() + used.Stime.Nano())
			m.tell(Exited, int(status), int(min(cpu.Milliseconds(), math.MaxInt32)))
		}
	}
}

func (m *monitor) obey(r request) {
	switch r.Op {
	case Raw:
		m.undo = r.state
	case Cooked:
		m.undo = nil
	case Signal:
		m.signal(int(r.A), syscall.Signal(r.B))
	case Foreground:
		m.obeyed = int(r.A)
		if m.exited {
			return
		}
		group := m.pid
		if m.lent > 0 && syscall.Kill(-m.lent, 0) == nil {
			group = m.lent
		}
		m.handTerminal(group)
		m.granted = true
		m.resume()
		m.lent = 0
	case Background:
		m.obeyed = int(r.A)
		if m.exited {
			return
		}
		m.takeTerminal()
		m.resume()
	}
}

// resume continues COMMAND and the group that had the terminal when it stopped.
func (m *monitor) resume() {
	m.asked = true
	_ = syscall.Kill(-m.pid, syscall.SIGCONT)
	if m.lent > 0 && m.lent != m.pid {
		_ = syscall.Kill(-m.lent, syscall.SIGCONT)
	}
}

// signal sends sig to a target. The process group outlives COMMAND as a name only
// while it has members, so nothing is sent once COMMAND was reaped.
func (m *monitor) signal(target int, sig syscall.Signal) {
	if m.exited {
		return
	}
	front := m.pid
	if m.granted {
		if group := terminalGroup(); m.ours(group) {
			front = group
		}
	}
	switch target {
	case ToChild:
		_ = syscall.Kill(m.pid, sig)
	case ToGroup:
		_ = syscall.Kill(-m.pid, sig)
	case ToForeground:
		_ = syscall.Kill(-front, sig)
	case ToBoth:
		_ = syscall.Kill(-m.pid, sig)
		if front != m.pid {
			_ = syscall.Kill(-front, sig)
		}
	}
}

// takeTerminal puts the home group into the foreground and remembers whose place
// it took.
func (m *monitor) takeTerminal() {
	if !m.granted {
		return
	}
	m.lent, m.granted = 0, false
	if group := terminalGroup(); m.ours(group) {
		m.lent = group
		m.handTerminal(m.home)
	}
}

// ours reports whether group is of COMMAND's making. On a pseudo-terminal all are; on the
// user's own, a shell may have taken the foreground back.
func (m *monitor) ours(group int) bool {
	switch {
	case group <= 0 || group == m.home:
		return false
	case group == m.pid || m.home == syscall.Getpgrp():
		return true
	}
	for pid := group; pid > 1; {
		parent, ok := parentOf(pid)
		if !ok {
			return false
		}
		if parent == m.pid {
			return true
		}
		pid = parent
	}
	return false
}

// leave is the end: obsrun closed the socket, or died. In the second case the
// terminal is put in order and COMMAND is told that nobody listens any more.
func (m *monitor) leave() {
	if m.undo != nil {
		m.undo.Apply(m.terminal)
	}
	if m.exited {
		return
	}
	m.signal(ToBoth, syscall.SIGHUP)
	m.signal(ToBoth, syscall.SIGCONT)
	m.takeTerminal()
}

// OpenTerminal opens the controlling terminal of this process, for asking and telling,
// without waiting and without making it one. The monitor does so for each question
// instead of keeping a descriptor: one that it held would keep obsrun from seeing the
// end of the output.
func OpenTerminal() (int, error) {
	return syscall.Open("/dev/tty", syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
}

// terminalGroup is the foreground group of the controlling terminal, 0 without one.
func terminalGroup() int {
	fd, err := OpenTerminal()
	if err != nil {
		return 0
	}
	defer syscall.Close(fd)
	var group int32
	if ioctl(fd, ioctlGetGroup, unsafe.Pointer(&group)) != nil {
		return 0
	}
	return int(group)
}

// handTerminal makes group the foreground group. SIGTTOU is ignored here, so a
// background process may do it.
func (m *monitor) handTerminal(group int) {
	fd, err := OpenTerminal()
	if err != nil {
		return
	}
	defer syscall.Close(fd)
	to := int32(group)
	_ = ioctl(fd, ioctlSetGroup, unsafe.Pointer(&to))
}

func osSignals(list []syscall.Signal) []os.Signal {
	signals := make([]os.Signal, len(list))
	for i, sig := range list {
		signals[i] = sig
	}
	return signals
}
