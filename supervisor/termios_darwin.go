package supervisor

import "golang.org/x/sys/unix"

const (
	ioctlGetTermios = unix.TIOCGETA
	ioctlSetTermios = unix.TIOCSETA
	disabledChar    = 0xff // a control character of this value is switched off
)
