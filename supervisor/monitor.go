package supervisor

import (
	"encoding/binary"
	"math"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// monitorName is argv[0] of the monitor, which is both its mark and what ps
// shows. The mark travels in argv because COMMAND inherits the environment.
const monitorName = "obsrun: monitor"

// Monitor runs the session leader and returns its exit status and true if this
// process was re-executed as one. main calls it before anything else:
//
//	if code, ok := supervisor.Monitor(); ok {
//		os.Exit(code)
//	}
func Monitor() (code int, ok bool) {
	if len(os.Args) != 4 || os.Args[0] != monitorName {
		return 0, false
	}
	var fds [3]int
	for i := range fds {
		n, err := strconv.Atoi(os.Args[1+i])
		if err != nil {
			return 0, false
		}
		fds[i] = n
	}
	if _, err := unix.GetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		return 0, false // somebody named a program so, nothing more
	}
	m := monitor{control: os.NewFile(uintptr(fds[0]), "control"), terminal: fds[1], parent: unix.Getppid()}
	unix.CloseOnExec(fds[0])
	if m.terminal >= 0 {
		unix.CloseOnExec(m.terminal)
	}
	if fds[2] >= 0 {
		unix.Close(fds[2]) // it became the controlling terminal, and did its duty
	}
	return m.run(), true
}

// monitor leads COMMAND's session, or in a run without a pseudo-terminal only
// its process group's parent. Its one goroutine does everything but wait.
type monitor struct {
	control  *os.File
	terminal int // obsrun's own terminal, to restore it; -1: none
	undo     *terminalState

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
	l, err := readLaunch(m.control)
	if err != nil {
		return statusFault
	}
	m.home = l.Home
	if m.home == 0 {
		m.home = unix.Getpgrp()
	}

	// Caught signals return to their default in COMMAND, ignored ones stay
	// ignored. So what must be ignored there is ignored now, the rest is caught
	// until COMMAND runs and ignored only afterwards.
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGCHLD)
	if len(l.Ignored) > 0 { // no argument would mean every signal
		signal.Ignore(osSignals(l.Ignored)...)
	}
	strays := make(chan os.Signal, 1)
	deaf := []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGALRM, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGPIPE}
	for _, sig := range deaf {
		if !contains(l.Ignored, sig.(syscall.Signal)) {
			signal.Notify(strays, sig)
		}
	}
	err = m.start(l)
	signal.Ignore(deaf...)
	if err != nil {
		m.takeTerminal()
		errno, _ := err.(syscall.Errno)
		m.tell(evRefused, int(errno), 0)
		return 0
	}
	m.detach()
	m.tell(evStarted, m.pid, 0)

	requests := make(chan request)
	go m.listen(requests)
	for {
		m.observe()
		select {
		case <-changed:
		case r, ok := <-requests:
			if !ok {
				m.leave()
				return 0
			}
			m.obey(r)
		}
	}
}

// request is a frame from obsrun with the payload of an opRaw.
type request struct {
	frame
	state *terminalState
}

func (m *monitor) listen(requests chan<- request) {
	defer close(requests)
	for {
		f, err := readFrame(m.control)
		if err != nil {
			return
		}
		r := request{frame: f}
		if f.Op == opRaw {
			r.state = new(terminalState)
			if err := binary.Read(m.control, binary.NativeEndian, r.state); err != nil {
				return
			}
		}
		requests <- r
	}
}

// start runs COMMAND in a process group of its own.
func (m *monitor) start(l launch) error {
	attr := &syscall.ProcAttr{
		Dir:   l.Dir,
		Env:   l.Env,
		Files: []uintptr{0, 1, 2}, // the others are inherited as they are
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	}
	if l.Foreground {
		if fd, err := openTerminal(); err == nil {
			defer unix.Close(fd)
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
		unix.Close(fd)
		// The lowest free number is the one just closed.
		unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	}
}

func (m *monitor) tell(op int32, a, b int) {
	// A failure means that obsrun is gone, which listen will see.
	_ = writeFrame(m.control, frame{op, int32(a), int32(b)}, nil)
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
			m.tell(evStopped, int(status.StopSignal()), m.obeyed)
		case status.Continued():
			m.tell(evContinued, 0, 0)
			// obsrun may have stopped itself, and COMMAND was continued by somebody
			// who does not know of obsrun.
			if parent := unix.Getppid(); parent == m.parent && !m.asked {
				_ = syscall.Kill(parent, syscall.SIGCONT)
			}
		default:
			m.exited = true
			if m.home != unix.Getpgrp() {
				m.takeTerminal() // it is the user's own, and the next one waits for it
			}
			cpu := time.Duration(used.Utime.Nano() + used.Stime.Nano())
			m.tell(evExited, int(status), int(min(cpu.Milliseconds(), math.MaxInt32)))
		}
	}
}

func (m *monitor) obey(r request) {
	switch r.Op {
	case opRaw:
		m.undo = r.state
	case opCooked:
		m.undo = nil
	case opSignal:
		m.signal(int(r.A), syscall.Signal(r.B))
	case opForeground:
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
	case opBackground:
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
	case toChild:
		_ = syscall.Kill(m.pid, sig)
	case toGroup:
		_ = syscall.Kill(-m.pid, sig)
	case toForeground:
		_ = syscall.Kill(-front, sig)
	case toBoth:
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
	case group == m.pid || m.home == unix.Getpgrp():
		return true
	}
	for pid := group; pid > 1; {
		f, ok := processFact(pid)
		if !ok {
			return false
		}
		if f.parent == m.pid {
			return true
		}
		pid = f.parent
	}
	return false
}

// leave is the end: obsrun closed the socket, or died. In the second case the
// terminal is put in order and COMMAND is told that nobody listens any more.
func (m *monitor) leave() {
	if m.undo != nil {
		m.undo.apply(m.terminal)
	}
	if m.exited {
		return
	}
	m.signal(toBoth, syscall.SIGHUP)
	m.signal(toBoth, syscall.SIGCONT)
	m.takeTerminal()
}

// apply restores a terminal that is still as obsrun left it. One that differs has
// been taken over by somebody who knows better, the shell's line editor say.
func (s *terminalState) apply(fd int) {
	now, err := unix.IoctlGetTermios(fd, ioctlGetTermios)
	if err == nil && now.Iflag == s.Raw.Iflag && now.Oflag == s.Raw.Oflag && now.Cflag == s.Raw.Cflag && now.Lflag == s.Raw.Lflag && now.Cc == s.Raw.Cc {
		_ = unix.IoctlSetTermios(fd, ioctlSetTermios, &s.Saved)
	}
}

// openTerminal opens the controlling terminal of this process. The monitor does
// so for each question instead of keeping a descriptor: one that it held would
// keep obsrun from seeing the end of the output.
func openTerminal() (int, error) {
	return unix.Open("/dev/tty", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
}

// terminalGroup is the foreground group of the controlling terminal, 0 without one.
func terminalGroup() int {
	fd, err := openTerminal()
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	if err != nil {
		return 0
	}
	return group
}

// handTerminal makes group the foreground group. SIGTTOU is ignored here, so a
// background process may do it.
func (m *monitor) handTerminal(group int) {
	fd, err := openTerminal()
	if err != nil {
		return
	}
	defer unix.Close(fd)
	_ = unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, group)
}

func osSignals(list []syscall.Signal) []os.Signal {
	signals := make([]os.Signal, len(list))
	for i, sig := range list {
		signals[i] = sig
	}
	return signals
}

func contains(list []syscall.Signal, sig syscall.Signal) bool {
	for _, s := range list {
		if s == sig {
			return true
		}
	}
	return false
}
