package supervisor

import "golang.org/x/sys/unix"

// await blocks until fd can be read (or written, if write is set), and reports
// whether wake became readable, which is the request to give up. wake may be -1.
func await(fd int, write bool, wake int) (woken bool, err error) {
	var events int16 = unix.POLLIN
	if write {
		events = unix.POLLOUT
	}
	fds := [2]unix.PollFd{{Fd: int32(fd), Events: events}, {Fd: int32(wake), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds[:], -1)
		if err == unix.EINTR {
			continue
		}
		return fds[1].Revents != 0, err
	}
}

// readable reports whether a read of fd would return at once.
func readable(fd int) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds[:], 0)
	return err == nil && n > 0
}
