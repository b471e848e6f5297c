package monitor

import (
	"os"
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
