package supervisor

import (
	"bytes"
	"os"
	"sync"
	"unicode"
	"unsafe"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/obsrun/obsrun/supervisor/monitor"
)

// keyboard is the user's terminal: keys come from it, and only its mode is ever
// changed. Its methods may be called from any goroutine.
type keyboard struct {
	fd      int  // own description where possible, so that it can be non-blocking
	private bool // fd is ours to close
	job     bool // it is our controlling terminal: there is a foreground to be in

	mu    sync.Mutex
	raw   bool
	saved unix.Termios
	tell  func(op int32, payload []byte) // to the monitor
}

// openKeyboard finds the user's terminal: stdin, else the controlling terminal.
// It returns nil if there is none.
func openKeyboard(stdin int) *keyboard {
	k := &keyboard{fd: stdin, tell: func(int32, []byte) {}}
	if term.IsTerminal(stdin) {
		if _, err := unix.IoctlGetInt(stdin, unix.TIOCGPGRP); err != nil {
			// Not our controlling terminal, so /dev/tty would be another.
			return k
		}
	}
	if fd, err := monitor.OpenTerminal(); err == nil {
		k.fd, k.private, k.job = fd, true, true
		return k
	}
	if term.IsTerminal(stdin) {
		return k
	}
	return nil
}

func (k *keyboard) close() {
	if k.private {
		unix.Close(k.fd)
	}
}

// foreground reports whether this process may read and change the terminal. A
// terminal that is not ours to control has no background.
func (k *keyboard) foreground() bool {
	if !k.job {
		return true
	}
	group, err := unix.IoctlGetInt(k.fd, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// gone reports whether the terminal was closed.
func (k *keyboard) gone() bool {
	_, err := unix.IoctlGetInt(k.fd, unix.TIOCGPGRP)
	return k.job && err == unix.EIO
}

// makeRaw passes every key on as it is. It is called only in the foreground: in
// the background the kernel would stop us for trying.
func (k *keyboard) makeRaw() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	saved := k.saved
	if !k.raw {
		now, err := unix.IoctlGetTermios(k.fd, ioctlGetTermios)
		if err != nil {
			return err
		}
		saved = *now
	}
	if _, err := term.MakeRaw(k.fd); err != nil {
		return err
	}
	raw, err := unix.IoctlGetTermios(k.fd, ioctlGetTermios)
	if err != nil {
		return err
	}
	k.saved, k.raw = saved, true
	state := monitor.TerminalState{Saved: modeOf(&saved), Raw: modeOf(raw)}
	k.tell(monitor.Raw, state.Bytes())
	return nil
}

// restore undoes makeRaw, any number of times. In the background the terminal is
// somebody else's by now and stays as it is.
func (k *keyboard) restore() {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.raw {
		return
	}
	if k.foreground() {
		_ = unix.IoctlSetTermios(k.fd, ioctlSetTermios, &k.saved)
	}
	k.raw = false
	k.tell(monitor.Cooked, nil)
}

// modeOf gives a mode as the monitor takes it.
func modeOf(t *unix.Termios) (mode monitor.Mode) {
	*(*unix.Termios)(unsafe.Pointer(&mode)) = *t
	return mode
}

func (k *keyboard) isRaw() bool {
	if k == nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.raw
}

// typist carries keys from the keyboard to the pseudo-terminal, while it is on.
type typist struct {
	keys   *keyboard
	master int

	typed     func()         // a key was passed on
	interrupt func()         // the interrupt character was passed on, and means it
	hungUp    func()         // the terminal went away
	lost      func()         // obsrun is no longer in the foreground
	spawn     func(func())   // runs a goroutine that restores the terminal if it panics
	pending   []byte         // read, but not yet accepted by the pseudo-terminal
	buf       [16 << 10]byte //
	wake      *os.File       // closed to stop
	ended     chan struct{}  // closed when stopped
}

// start begins to carry keys; nothing happens if it already does.
func (t *typist) start() error {
	if t.wake != nil {
		select {
		case <-t.ended:
			t.stop() // it ended by itself
		default:
			return nil
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	t.wake, t.ended = w, make(chan struct{})
	ended := t.ended
	t.spawn(func() {
		defer close(ended)
		defer r.Close()
		t.carry(int(r.Fd()))
	})
	return nil
}

// stop returns when no further key will be taken from the keyboard.
func (t *typist) stop() {
	if t == nil || t.wake == nil {
		return
	}
	t.wake.Close()
	<-t.ended
	t.wake = nil
}

func (t *typist) carry(wake int) {
	for {
		for len(t.pending) > 0 {
			n, err := unix.Write(t.master, t.pending)
			switch {
			case n > 0:
				t.pending = t.pending[n:]
				continue
			case err == unix.EINTR:
				continue
			case err != unix.EAGAIN:
				return
			}
			// The command does not read its terminal just now.
			if woken, err := await(t.master, true, wake); woken || err != nil {
				return
			}
		}
		if woken, err := await(t.keys.fd, false, wake); woken || err != nil {
			return
		}
		if !t.keys.foreground() {
			if t.keys.gone() {
				t.hungUp()
			} else {
				t.lost() // reading would stop us
			}
			return
		}
		n, err := unix.Read(t.keys.fd, t.buf[:])
		switch {
		case n > 0:
		case err == unix.EINTR || err == unix.EAGAIN:
			continue
		default: // end of file or EIO: the terminal is gone
			t.hungUp()
			return
		}
		t.typed()
		interrupts := t.interrupts(t.buf[:n])
		t.pending = t.buf[:n]
		if w, err := unix.Write(t.master, t.pending); err == nil {
			t.pending = t.pending[w:]
		}
		if interrupts {
			t.interrupt()
		}
	}
}

// interrupts reports whether keys contain the character for which the line
// discipline of the pseudo-terminal sends SIGINT. An editor that has switched it
// off gets a key like any other.
func (t *typist) interrupts(keys []byte) bool {
	if bytes.IndexFunc(keys, unicode.IsControl) < 0 {
		return false // what nearly every key is, without asking the kernel
	}
	mode, err := unix.IoctlGetTermios(t.master, ioctlGetTermios)
	if err != nil || mode.Lflag&unix.ISIG == 0 || mode.Cc[unix.VINTR] == disabledChar {
		return false
	}
	return bytes.IndexByte(keys, mode.Cc[unix.VINTR]) >= 0
}
