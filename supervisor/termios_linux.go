package supervisor

import "golang.org/x/sys/unix"

const (
	ioctlGetTermios = unix.TCGETS
	ioctlSetTermios = unix.TCSETS
	disabledChar    = 0 // a control character of this value is switched off
)
