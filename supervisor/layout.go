package supervisor

import (
	"os"

	"golang.org/x/sys/unix"
)

// layout says which descriptor COMMAND gets for which stream.
type layout struct {
	screens []*screen     // the first is the controlling terminal; none with NoPTY
	files   [3]int        // COMMAND's stdin, stdout, stderr
	mode    *unix.Termios // what the controlling terminal was last given; nil: unknown
	outTTY  bool          // obsrun's stdout is a terminal
	sizeOf  int           // the terminal whose size is followed; -1: none
	size    unix.Winsize
}

// defaultSize is the size where there is no terminal to ask, or one that does not know.
var defaultSize = unix.Winsize{Row: 24, Col: 80}

// arrange decides the layout. The controlling terminal always stands for the user's
// one: what COMMAND writes to /dev/tty appears there, and echoed keys do. So where
// obsrun's stdout is no terminal but the user has one, stdout is a pseudo-terminal of
// its own, and neither prompts nor echo get among the output.
func (p *Process) arrange() (*layout, error) {
	c := &p.command
	l := &layout{sizeOf: -1, size: defaultSize}
	in, out, err := int(c.Stdin.Fd()), int(c.Stdout.Fd()), int(c.Stderr.Fd())
	l.files = [3]int{in, out, err}
	l.outTTY = isTerminal(c.Stdout)
	inTTY, outTTY, errTTY := isTerminal(c.Stdin), l.outTTY, isTerminal(c.Stderr)
	switch {
	case inTTY:
		l.sizeOf = in
	case outTTY:
		l.sizeOf = out
	case errTTY:
		l.sizeOf = err
	}
	l.readSize()
	if c.NoPTY {
		return l, nil
	}

	// The user's view: where the controlling terminal's output goes.
	view := -1
	switch {
	case outTTY:
		view = out
	case errTTY:
		view = err
	case p.keys != nil:
		view = p.keys.fd
	}
	main, e := l.add(p, view)
	if e != nil {
		return l, e
	}
	if inTTY {
		l.files[0] = main.slave
	}
	switch {
	case outTTY:
		l.files[1] = main.slave
		if errTTY && !sameFile(c.Stdout, c.Stderr) {
			second, e := l.add(p, err)
			if e != nil {
				return l, e
			}
			l.files[2] = second.slave
		} else if errTTY {
			l.files[2] = main.slave
		}
	case view >= 0:
		second, e := l.add(p, out)
		if e != nil {
			return l, e
		}
		l.files[1] = second.slave
		if errTTY {
			l.files[2] = main.slave
		} else if sameFile(c.Stdout, c.Stderr) {
			l.files[2] = second.slave
		}
	default: // no terminal anywhere
		main.sink = out
		if e := main.plain(); e != nil {
			return l, e
		}
		l.files[1] = main.slave
		if sameFile(c.Stdout, c.Stderr) {
			l.files[2] = main.slave
		}
	}
	for _, s := range l.screens {
		if s.sink == out {
			s.broke = func(err error) { go p.request(func() { p.stdoutBroke(err) }) }
		}
	}
	return l, nil
}

// add makes a pseudo-terminal whose output goes to sink. The first, the controlling
// one, looks like the user's terminal; the others only carry output, which leaves as
// it was written.
func (l *layout) add(p *Process, sink int) (*screen, error) {
	var mode *unix.Termios
	switch {
	case p.keys == nil:
		mode = terminalMode(sink)
	case p.keys.foreground():
		mode = terminalMode(p.keys.fd)
	default:
		// The mode is that of a shell that edits its next line. Ours comes when
		// obsrun is brought to the foreground; output is processed alike in both.
	}
	s, err := openScreen(mode, &l.size)
	if err != nil {
		return nil, err
	}
	first := len(l.screens) == 0
	l.screens = append(l.screens, s)
	s.sink, s.keys, s.activity, s.since = sink, p.keys, &p.output, p.since
	if err := s.prepare(); err != nil {
		return nil, err
	}
	if !first {
		return s, s.plain()
	}
	if m := terminalMode(p.keysFD()); m != nil && mode == nil {
		if own := terminalMode(s.slave); own != nil {
			own.Oflag = m.Oflag
			_ = unix.IoctlSetTermios(s.slave, ioctlSetTermios, own)
		}
	}
	l.mode = terminalMode(s.slave)
	if m := terminalMode(sink); m != nil {
		// Raw mode covers this sink only if it is the same terminal as the keyboard.
		s.cooked = m.Oflag&unix.OPOST != 0 && m.Oflag&unix.ONLCR != 0
		if !sameTerminal(sink, p.keys, int(p.command.Stdin.Fd())) {
			s.keys = nil
		}
	}
	return s, nil
}

// record attaches the recording to what is shown on a terminal or, if nothing is, to
// stdout.
func (p *Process) record() {
	if p.command.Cast == nil {
		return
	}
	l, out := p.layout, int(p.command.Stdout.Fd())
	shown := false
	for i, s := range l.screens {
		if terminalMode(s.sink) != nil {
			s.tap = p.command.Cast.stream(i > 0)
			shown = true
		}
	}
	for _, s := range l.screens {
		if !shown && s.sink == out {
			s.tap = p.command.Cast.stream(true)
		}
	}
}

// keysFD is the keyboard's descriptor, -1 without one.
func (p *Process) keysFD() int {
	if p.keys == nil {
		return -1
	}
	return p.keys.fd
}

// adopt gives the controlling terminal the mode of the user's one, unless COMMAND has set
// one of its own.
func (l *layout) adopt(keys *keyboard) {
	slave := l.screens[0].slave
	mode, now := terminalMode(keys.fd), terminalMode(slave)
	if mode == nil || now == nil || l.mode == nil || *now != *l.mode {
		return
	}
	if unix.IoctlSetTermios(slave, ioctlSetTermios, mode) == nil {
		l.mode = terminalMode(slave)
	}
}

// terminalMode is the mode of a terminal, nil if fd is none.
func terminalMode(fd int) *unix.Termios {
	if fd < 0 {
		return nil
	}
	mode, err := unix.IoctlGetTermios(fd, ioctlGetTermios)
	if err != nil {
		return nil
	}
	return mode
}

func (l *layout) close() {
	for _, s := range l.screens {
		s.close()
	}
}

// readSize asks for the size to give the screens and reports whether it changed. A
// terminal of no size, as some CI systems provide, counts as one that does not know.
func (l *layout) readSize() bool {
	if l.sizeOf < 0 {
		return false
	}
	size, err := unix.IoctlGetWinsize(l.sizeOf, unix.TIOCGWINSZ)
	if err != nil || size.Row == 0 || size.Col == 0 || *size == l.size {
		return false
	}
	l.size = *size
	return true
}

// sameFile reports whether both descriptors lead to the same place.
func sameFile(a, b *os.File) bool {
	var sa, sb unix.Stat_t
	if unix.Fstat(int(a.Fd()), &sa) != nil || unix.Fstat(int(b.Fd()), &sb) != nil {
		return false
	}
	return sa.Dev == sb.Dev && sa.Ino == sb.Ino
}

// sameTerminal reports whether the sink is the terminal that keys come from. The
// keyboard is either stdin's terminal or, as controlling terminal, the only one that
// has a foreground group for us.
func sameTerminal(sink int, keys *keyboard, stdin int) bool {
	switch {
	case keys == nil:
		return false
	case sink == keys.fd:
		return true
	case keys.job:
		_, err := unix.IoctlGetInt(sink, unix.TIOCGPGRP)
		return err == nil
	}
	var sa, sb unix.Stat_t
	return unix.Fstat(sink, &sa) == nil && unix.Fstat(stdin, &sb) == nil && sa.Dev == sb.Dev && sa.Ino == sb.Ino
}
