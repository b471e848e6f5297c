package supervisor

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// breaker is the first argument that makes the test binary a command which is hard
// on whoever runs it. The second says how.
const breaker = "breaker"

var breakers = map[string]func(args []string) int{
	"die": die, "count": count, "follow": followSize,
}

// breaking is the command line of a breaker.
func breaking(t *testing.T, args ...any) []string {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	line := []string{exe, breaker}
	for _, arg := range args {
		line = append(line, fmt.Sprint(arg))
	}
	return line
}

// die ends by the signal, with a core file where the system lets it have one:
// die SIGNAL.
func die(args []string) int {
	number, _ := strconv.Atoi(args[0])
	sig := syscall.Signal(number)
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_CORE, &limit) == nil {
		limit.Cur = min(limit.Max, 1<<20)
		_ = unix.Setrlimit(unix.RLIMIT_CORE, &limit)
	}
	// Go catches most signals, so a shell in this place has to die.
	_ = syscall.Exec("/bin/sh", []string{"sh", "-c", fmt.Sprintf("kill -%d $$; sleep 100", sig)}, os.Environ())
	return 99
}

// numbered is a line that is like no other.
func numbered(i int) string {
	const filler = " the quick brown fox jumps over the lazy dog and over all that follows it"
	return strconv.Itoa(i) + filler[:10+i%60] + "\n"
}

// writeNumbered writes numbered lines until there are so many bytes.
func writeNumbered(w io.Writer, most int, pause time.Duration) error {
	for i, n := 0, 0; n < most; i++ {
		line := numbered(i)
		if _, err := io.WriteString(w, line); err != nil {
			return err
		}
		n += len(line)
		time.Sleep(pause)
	}
	return nil
}

// count writes numbered lines: count BYTES [PAUSE], the pause after each line.
func count(args []string) int {
	most, _ := strconv.Atoi(args[0])
	if len(args) > 1 {
		pause, _ := time.ParseDuration(args[1])
		if writeNumbered(os.Stdout, most, pause) != nil {
			return 98
		}
		return 0
	}
	w := bufio.NewWriterSize(os.Stdout, 64<<10)
	if writeNumbered(w, most, 0) != nil || w.Flush() != nil {
		return 98
	}
	return 0
}

// followSize writes whenever the size of its terminal changes, and tells the size at
// every line of input.
func followSize([]string) int {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	pressed := make(chan string)
	go func() {
		defer close(pressed)
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			pressed <- lines.Text()
		}
	}()
	fmt.Println("up")
	for told := false; ; {
		select {
		case <-changed:
			told = true
			fmt.Print(".")
		case _, ok := <-pressed:
			if !ok {
				return 0
			}
			cols, rows, err := term.GetSize(1)
			fmt.Println("size", rows, cols, told, err)
		}
	}
}
