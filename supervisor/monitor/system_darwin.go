package monitor

import (
	"os"
	"os/signal"
	"slices"
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

// deaf keeps the monitor from being ended by a signal until COMMAND runs, and what it gives
// keeps it so from then on, without COMMAND's inheriting either: caught signals return to
// their default in COMMAND, ignored ones would stay ignored.
func deaf(ignored []syscall.Signal) (deafen func()) {
	all := osSignals(slices.Concat(deadly, stopping))
	strays := make(chan os.Signal, 1)
	for _, sig := range all {
		if !slices.Contains(ignored, sig.(syscall.Signal)) {
			signal.Notify(strays, sig)
		}
	}
	return func() { signal.Ignore(all...) }
}

// changes tells when COMMAND may have stopped, gone on or ended.
func changes() (changed <-chan struct{}, follow func(pid int)) {
	children, tell := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(children, syscall.SIGCHLD)
	go func() {
		for range children {
			tell <- struct{}{}
		}
	}()
	return tell, func(int) {}
}
