package supervisor

import "golang.org/x/sys/unix"

// await blocks until fd can be read (or written, if write is set), and reports
// whether wake became readable, which is the request to give up. wake may be -1.
// It is select, not poll: poll does not know terminals here.
func await(fd int, write bool, wake int) (woken bool, err error) {
	if fd >= unix.FD_SETSIZE || wake >= unix.FD_SETSIZE {
		return false, unix.EINVAL
	}
	for {
		var readable, writable unix.FdSet
		if write {
			writable.Set(fd)
		} else {
			readable.Set(fd)
		}
		if wake >= 0 {
			readable.Set(wake)
		}
		_, err := unix.Select(max(fd, wake)+1, &readable, &writable, nil, nil)
		if err == unix.EINTR {
			continue
		}
		return wake >= 0 && err == nil && readable.IsSet(wake), err
	}
}

// readable reports whether a read of fd would return at once.
func readable(fd int) bool {
	if fd >= unix.FD_SETSIZE {
		return false
	}
	var set unix.FdSet
	set.Set(fd)
	n, err := unix.Select(fd+1, &set, nil, nil, &unix.Timeval{})
	return err == nil && n > 0
}
