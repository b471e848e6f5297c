package monitor

import (
	"os"
	"runtime"
	"strconv"
	"syscall"
)

// Name is argv[0] of the monitor, which is both its mark and what ps shows. The mark
// travels in argv because COMMAND inherits the environment. Three numbers follow: the
// descriptors of the control socket, of obsrun's own terminal and of COMMAND's; -1 is
// none.
const Name = "obsrun: monitor"

// Environment goes before that of the monitor, and COMMAND never sees it. The monitor does
// one thing at a time, whatever the machine and its limits are: threads that wait in the
// kernel do not count.
var Environment = []string{"GOMAXPROCS=1", "GODEBUG=containermaxprocs=0"}

// Processors is how many processors Go's runtime takes for itself.
var Processors = runtime.GOMAXPROCS(0)

func init() {
	if m := enter(os.Args); m != nil {
		// Packages are initialised on a goroutine that no other thread may run. Each
		// word between it and another goroutine would cost two changes of thread.
		go func() { os.Exit(m.run()) }()
		select {}
	}
	growStack()
	// Each processor has memory and threads of its own, which a short run would get for
	// nothing. Later, to give one up would cost as much as it did.
	for _, arg := range os.Args {
		if arg == "--" { // there is a command to start
			runtime.GOMAXPROCS(1)
			break
		}
	}
}

// growStack makes room on the stack in one go, as much as a run needs, before there is
// anything on it that would have to be moved each time it is doubled.
//
//go:noinline
func growStack() {
	var room [16 << 10]byte
	room[len(os.Args)%len(room)] = 1
}

// enter gives the monitor that this process was started as, nil if it was not.
func enter(args []string) *monitor {
	if len(args) != 4 || args[0] != Name {
		return nil
	}
	var fds [3]int
	for i := range fds {
		n, err := strconv.Atoi(args[1+i])
		if err != nil {
			return nil
		}
		fds[i] = n
	}
	if _, err := syscall.GetsockoptInt(fds[0], syscall.SOL_SOCKET, syscall.SO_TYPE); err != nil {
		return nil // somebody named a program so, nothing more
	}
	m := &monitor{control: os.NewFile(uintptr(fds[0]), "control"), terminal: fds[1], parent: syscall.Getppid()}
	syscall.CloseOnExec(fds[0])
	if m.terminal >= 0 {
		syscall.CloseOnExec(m.terminal)
	}
	if fds[2] >= 0 {
		syscall.Close(fds[2]) // it became the controlling terminal, and did its duty
	}
	return m
}
