package supervisor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The control socket between obsrun and its monitor: one launch, then frames in
// both directions. Both ends are the same binary, so there is no versioning.

// frame is one message. Meanings of A and B depend on Op.
type frame struct{ Op, A, B int32 }

const frameSize = 12

// From obsrun to the monitor.
const (
	opSignal     = iota + 1 // A: target, B: signal
	opForeground            // give the terminal to COMMAND and continue it
	opBackground            // take the terminal from COMMAND and continue it
	opRaw                   // B: length of a terminalState that follows
	opCooked                // the terminal is as it was; nothing to restore
)

// From the monitor to obsrun.
const (
	evStarted   = iota + 101 // A: process id of COMMAND
	evRefused                // A: errno of execve
	evStopped                // A: signal
	evContinued              //
	evExited                 // A: wait status
)

// Targets of opSignal.
const (
	toChild      = iota // COMMAND alone
	toGroup             // COMMAND's process group
	toForeground        // the foreground group of COMMAND's terminal
	toBoth              // COMMAND's group, and the foreground group if it is another
)

func writeFrame(w io.Writer, f frame, payload []byte) error {
	b := make([]byte, 0, frameSize+len(payload))
	b, _ = binary.Append(b, binary.NativeEndian, f)
	_, err := w.Write(append(b, payload...))
	return err
}

func readFrame(r io.Reader) (f frame, err error) {
	var b [frameSize]byte
	if _, err = io.ReadFull(r, b[:]); err == nil {
		_, err = binary.Decode(b[:], binary.NativeEndian, &f)
	}
	return f, err
}

// terminalState is what the monitor needs to undo raw mode.
type terminalState struct {
	Saved unix.Termios // to return to
	Raw   unix.Termios // what obsrun set; if the terminal differs, it is no longer ours
}

// launch is everything the monitor needs to start COMMAND. Strings travel
// separated by NUL, the one byte that none of them can hold.
type launch struct {
	Path       string
	Dir        string
	Args, Env  []string
	Ignored    []syscall.Signal // dispositions that COMMAND inherits as SIG_IGN
	Foreground bool             // start COMMAND in the foreground of its terminal
	Home       int              // group that has the terminal when COMMAND has not; 0: the monitor's own
}

const launchMagic = "obsrun launch"

func (l launch) write(w io.Writer) error {
	fields := []string{launchMagic, l.Path, l.Dir, strconv.FormatBool(l.Foreground), strconv.Itoa(l.Home)}
	fields = append(fields, strconv.Itoa(len(l.Ignored)))
	for _, sig := range l.Ignored {
		fields = append(fields, strconv.Itoa(int(sig)))
	}
	fields = append(fields, strconv.Itoa(len(l.Args)))
	fields = append(fields, l.Args...)
	fields = append(fields, l.Env...)
	text := strings.Join(fields, "\x00")
	b := binary.NativeEndian.AppendUint32(make([]byte, 0, 4+len(text)), uint32(len(text)))
	_, err := w.Write(append(b, text...))
	return err
}

func readLaunch(r io.Reader) (l launch, err error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return l, err
	}
	// Not more than was sent is allocated, whatever the size claims.
	var text bytes.Buffer
	length := int64(binary.NativeEndian.Uint32(size[:]))
	if _, err := io.CopyN(&text, r, length); err != nil {
		return l, err
	}
	fields := strings.Split(text.String(), "\x00")
	next := func() string {
		if len(fields) == 0 {
			err = errors.New("launch is cut short")
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
	if magic := next(); magic != launchMagic {
		return l, fmt.Errorf("not a launch: %q", magic)
	}
	l.Path, l.Dir = next(), next()
	l.Foreground, l.Home = next() == "true", number()
	for n := number(); n > 0 && err == nil; n-- {
		l.Ignored = append(l.Ignored, syscall.Signal(number()))
	}
	count := number()
	if err != nil || count < 0 || count > len(fields) {
		return l, errors.Join(err, errors.New("launch is cut short"))
	}
	l.Args, l.Env = fields[:count], fields[count:]
	return l, nil
}
