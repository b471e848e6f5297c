package monitor

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	ioctlGetMode  = unix.TIOCGETA
	ioctlSetMode  = unix.TIOCSETA
	ioctlGetGroup = unix.TIOCGPGRP
	ioctlSetGroup = unix.TIOCSPGRP
)

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// parentOf asks sysctl; see sysctl(3), KERN_PROC_PID.
func parentOf(pid int) (int, bool) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return 0, false
	}
	return int(info.Eproc.Ppid), true
}
