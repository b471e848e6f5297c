package monitor

import (
	"errors"
	"io"
	"strconv"
	"syscall"
	"unsafe"
)

// The control socket between obsrun and its monitor: one Launch, then frames in
// both directions. Both ends are the same binary, so there is no versioning.

// Frame is one message. Meanings of A and B depend on Op.
type Frame struct{ Op, A, B int32 }

const frameSize = int(unsafe.Sizeof(Frame{}))

// From obsrun to the monitor.
const (
	Signal     = iota + 1 // A: target, B: signal
	Foreground            // give the terminal to COMMAND and continue it; A: number of the request
	Background            // take the terminal from COMMAND and continue it; A: number of the request
	Raw                   // a TerminalState follows
	Cooked                // the terminal is as it was; nothing to restore
)

// From the monitor to obsrun.
const (
	Started   = iota + 101 // A: process id of COMMAND
	Refused                // A: errno of execve
	Stopped                // A: signal, B: number of the last request that was obeyed
	Continued              //
	Exited                 // A: wait status, B: CPU time in milliseconds
)

// Targets of Signal.
const (
	ToChild      = iota // COMMAND alone
	ToGroup             // COMMAND's process group
	ToForeground        // the foreground group of COMMAND's terminal
	ToBoth              // COMMAND's group, and the foreground group if it is another
)

// Write sends f and what belongs to it in one piece.
func (f Frame) Write(w io.Writer, payload []byte) error {
	head := (*[frameSize]byte)(unsafe.Pointer(&f))
	b := make([]byte, 0, frameSize+len(payload))
	_, err := w.Write(append(append(b, head[:]...), payload...))
	return err
}

// ReadFrame takes the next frame. io.EOF says that the other end is gone.
func ReadFrame(r io.Reader) (f Frame, err error) {
	_, err = io.ReadFull(r, (*[frameSize]byte)(unsafe.Pointer(&f))[:])
	if err != nil {
		return Frame{}, err
	}
	return f, nil
}

// Mode is a terminal mode as the kernel has it (struct termios), with room to spare.
type Mode [10]uint64

// TerminalState is what the monitor needs to undo raw mode.
type TerminalState struct {
	Saved Mode // to return to
	Raw   Mode // what obsrun set; if the terminal differs, it is no longer ours
}

// Bytes are what follows a frame Raw.
func (s *TerminalState) Bytes() []byte {
	return (*[unsafe.Sizeof(*s)]byte)(unsafe.Pointer(s))[:]
}

// Apply restores a terminal that is still as obsrun left it. One that differs has
// been taken over by somebody who knows better, the shell's line editor say.
func (s *TerminalState) Apply(fd int) {
	var now Mode
	if ioctl(fd, ioctlGetMode, unsafe.Pointer(&now)) == nil && now == s.Raw {
		_ = ioctl(fd, ioctlSetMode, unsafe.Pointer(&s.Saved))
	}
}

// Launch is everything the monitor needs to start COMMAND. Strings travel
// separated by NUL, the one byte that none of them can hold.
type Launch struct {
	Path       string
	Dir        string
	Args, Env  []string
	Ignored    []syscall.Signal // dispositions that COMMAND inherits as SIG_IGN
	Foreground bool             // start COMMAND in the foreground of its terminal
	Home       int              // group that has the terminal when COMMAND has not; 0: the monitor's own
}

const launchMagic = "obsrun launch"

// Write sends l.
func (l Launch) Write(w io.Writer) error {
	const size = 4
	b := append(make([]byte, size, 4<<10), launchMagic...)
	field := func(s string) { b = append(append(b, 0), s...) }
	field(l.Path)
	field(l.Dir)
	field(strconv.FormatBool(l.Foreground))
	field(strconv.Itoa(l.Home))
	field(strconv.Itoa(len(l.Ignored)))
	for _, sig := range l.Ignored {
		field(strconv.Itoa(int(sig)))
	}
	field(strconv.Itoa(len(l.Args)))
	for _, arg := range l.Args {
		field(arg)
	}
	for _, entry := range l.Env {
		field(entry)
	}
	length := uint32(len(b) - size)
	copy(b, (*[size]byte)(unsafe.Pointer(&length))[:])
	_, err := w.Write(b)
	return err
}

var errCutShort = errors.New("launch is cut short")

// ReadLaunch takes what Launch.Write sent.
func ReadLaunch(r io.Reader) (l Launch, err error) {
	var length uint32
	if _, err := io.ReadFull(r, (*[4]byte)(unsafe.Pointer(&length))[:]); err != nil {
		return l, err
	}
	// Not more than was sent is allocated, whatever the length claims.
	text, err := io.ReadAll(io.LimitReader(r, int64(length)))
	if err != nil {
		return l, err
	}
	if len(text) < int(length) {
		return l, io.ErrUnexpectedEOF
	}
	fields := split(string(text))
	next := func() string {
		if len(fields) == 0 {
			err = errCutShort
			return ""
		}
		s := fields[0]
		fields = fields[1:]
		return s
	}
	number := func() int {
		n, e := strconv.Atoi(next())
		if e != nil && err == nil {
			err = e
		}
		return n
	}
	if next() != launchMagic {
		return l, errors.New("not a launch")
	}
	l.Path, l.Dir = next(), next()
	l.Foreground, l.Home = next() == "true", number()
	for n := number(); n > 0 && err == nil; n-- {
		l.Ignored = append(l.Ignored, syscall.Signal(number()))
	}
	count := number()
	if err != nil || count < 0 || count > len(fields) {
		return l, errors.Join(err, errCutShort)
	}
	l.Args, l.Env = fields[:count], fields[count:]
	return l, nil
}

// split parts text at each NUL.
func split(text string) []string {
	n := 1
	for i := range len(text) {
		if text[i] == 0 {
			n++
		}
	}
	fields := make([]string, 0, n)
	begin := 0
	for i := range len(text) {
		if text[i] == 0 {
			fields = append(fields, text[begin:i])
			begin = i + 1
		}
	}
	return append(fields, text[begin:])
}
