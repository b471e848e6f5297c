package monitor

import (
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"unsafe"
)

const (
	ioctlGetMode  = syscall.TCGETS
	ioctlSetMode  = syscall.TCSETS
	ioctlGetGroup = syscall.TIOCGPGRP
	ioctlSetGroup = syscall.TIOCSPGRP
)

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// parentOf reads /proc/PID/stat; see proc(5).
func parentOf(pid int) (int, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	// The name stands in parentheses and may itself contain some: behind the last
	// one come a space, the state, a space and the parent.
	end := len(b) - 1
	for end >= 0 && b[end] != ')' {
		end--
	}
	parent, found := 0, false
	for i := end + len(") S "); end >= 0 && i < len(b) && '0' <= b[i] && b[i] <= '9'; i++ {
		parent, found = 10*parent+int(b[i]-'0'), true
	}
	return parent, found
}

// deaf keeps the monitor from being ended by a signal until COMMAND runs, and what it gives
// keeps it so from then on, without COMMAND's inheriting either. The signals that COMMAND
// is to ignore are ignored already.
//
// It goes past os/signal, which takes a thread and several changes of it for each signal,
// while COMMAND waits. What Go's runtime handled when this process began it returns to its
// default between fork and exec, however it stands by then.
func deaf(ignored []syscall.Signal) (deafen func()) {
	for _, sig := range deadly {
		if !slices.Contains(ignored, sig) {
			ignore(sig)
		}
	}
	// The runtime leaves those that stop a process alone. The kernel does not stop a
	// group that nobody could continue, as that of a session's leader.
	if sid, _, errno := syscall.RawSyscall(syscall.SYS_GETSID, 0, 0, 0); errno != 0 || int(sid) != os.Getpid() {
		strays := make(chan os.Signal, 1)
		for _, sig := range stopping {
			if !slices.Contains(ignored, sig) {
				signal.Notify(strays, sig)
			}
		}
	}
	return func() {
		for _, sig := range stopping {
			ignore(sig)
		}
	}
}

// disposition is struct sigaction as the kernel has it, with room to spare.
type disposition [8]uintptr

const sigIgn = 1 // SIG_IGN of signal.h

// layout says where in a disposition the handler stands, and how long a mask is, in bytes.
func layout() (handler int, mask uintptr) {
	if len(runtime.GOARCH) > 4 && runtime.GOARCH[:4] == "mips" { // flags come first
		return 1, 16
	}
	return 0, 8
}

// ignore is rt_sigaction(2) with SIG_IGN.
func ignore(sig syscall.Signal) {
	var act disposition
	handler, mask := layout()
	act[handler] = sigIgn
	_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&act)), 0, mask, 0, 0)
}

// Ignored reports whether this process ignores sig, by the kernel's word.
func Ignored(sig syscall.Signal) bool {
	var act disposition
	handler, mask := layout()
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(&act)), mask, 0, 0)
	return errno == 0 && act[handler] == sigIgn
}

// changes tells when COMMAND has stopped, gone on or ended, each time after follow was
// called with its process id: it is to be called when the change before has been seen to.
// A thread waits for it in the kernel, which leaves the change where it is.
func changes() (changed <-chan struct{}, follow func(pid int)) {
	tell, pids := make(chan struct{}), make(chan int, 1)
	go func() {
		for pid := range pids {
			const byPID = 1 // P_PID
			var info [128]byte
			for {
				_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, byPID, uintptr(pid), uintptr(unsafe.Pointer(&info)),
					syscall.WEXITED|syscall.WSTOPPED|syscall.WCONTINUED|syscall.WNOWAIT, 0, 0)
				if errno == 0 {
					break
				}
				if errno != syscall.EINTR { // it has been waited for
					return
				}
			}
			tell <- struct{}{}
		}
	}()
	return tell, func(pid int) { pids <- pid }
}
