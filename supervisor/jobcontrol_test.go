package supervisor

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// both runs a test with and without a pseudo-terminal.
func both(t *testing.T, f func(t *testing.T, config testConfig)) {
	for _, noPTY := range []bool{false, true} {
		t.Run(fmt.Sprintf("nopty=%v", noPTY), func(t *testing.T) {
			t.Parallel()
			f(t, testConfig{NoPTY: noPTY})
		})
	}
}

func TestSelfStopAndForeground(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		term := newTerminal(t)
		shell := term.bash(config)
		term.send("$O sh -c 'echo one; kill -TSTP $$; echo two; kill -STOP $$; echo thr''ee; exit 5'\n")
		term.expect("one")
		term.expect("Stopped")
		term.expect("prompt> ")
		require.Equal(t, shell.Process.Pid, term.group(), "the shell has its terminal back")
		term.send("fg\n")
		term.expect("two")
		term.expect("Stopped")
		term.expect("prompt> ")
		term.send("fg\n")
		term.expect("three")
		term.expect("prompt> ")
		term.send("echo status $?\n")
		term.expect("status 5")
	})
}

func TestSuspendKey(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		term := newTerminal(t)
		term.bash(config)
		term.send("$O sh -c 'echo ready; exec cat'\n")
		term.expect("ready\r\n")
		term.send("first\n")
		term.expect("first\r\nfirst\r\n") // echo and cat
		term.send("\x1a")
		term.expect("Stopped")
		term.expect("prompt> ")
		term.send("stty -a | tr ' ' '\\n' | grep -x -e icanon -e opost -e echo | tr '\\n' ,\n")
		term.expect("icanon,echo,") // grep sees the words in the order of stty
		term.expect("prompt> ")
		term.send("fg\n")
		term.expect("exec cat'\r\n")
		term.send("second\n")
		term.expect("second\r\n")
		term.expect("second\r\n")
		term.send("\x04")
		term.expect("prompt> ")
		term.send("echo status $?\n")
		term.expect("status 0")
	})
}

func TestStartedInBackground(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		term := newTerminal(t)
		shell := term.bash(config)
		term.send("$O cat & sleep 0.1\n")
		term.expect("prompt> ")
		require.Equal(t, shell.Process.Pid, term.group())
		term.insist("jobs\n", "Stopped") // reading in the background
		term.expect("prompt> ")
		term.send("fg\n")
		term.expect("cat")
		term.send("hello\n")
		term.expect("hello\r\n")
		term.expect("hello\r\n")
		term.send("\x04")
		term.expect("prompt> ")
		term.send("echo status $?\n")
		term.expect("status 0")
	})
}

// A job that runs in the background gets no signal from fg: obsrun must notice.
func TestRunningJobBroughtToForeground(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		term := newTerminal(t)
		term.bash(config)
		fifo := t.TempDir() + "/fifo"
		require.NoError(t, syscall.Mkfifo(fifo, 0o600))
		term.send("$O sh -c 'read x <" + fifo + "; echo got $x; exec cat' & fg\n")
		term.send("\n")
		eventually(t, "somebody else than the shell has the terminal", func() bool {
			return config.NoPTY || term.isRaw()
		})
		out, err := exec.Command("sh", "-c", "echo word >"+fifo).CombinedOutput()
		require.NoError(t, err, string(out))
		term.expect("got word")
		term.send("typed\n")
		term.expect("typed\r\n")
		term.expect("typed\r\n")
		term.send("\x03")
		term.expect("prompt> ")
		term.send("echo status $?\n")
		term.expect("status 130")
	})
}

func TestContinuedInBackground(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		term := newTerminal(t)
		term.bash(config)
		term.send("$O sh -c 'echo ready; kill -TSTP $$; echo out; read x; echo got $x'\n")
		term.expect("ready\r\n")
		term.expect("prompt> ")
		term.send("bg; sleep 0.2\n")
		term.expect("\nout\r\n") // no second CR although the terminal is not raw
		term.expect("prompt> ")
		term.insist("jobs\n", "Stopped") // it reads
		term.expect("prompt> ")
		term.send("fg\n")
		term.send("word\n")
		term.expect("got word\r\n")
		term.expect("prompt> ")
	})
}

// Without a shell that could continue it, a stopped command goes on.
func TestStopWithoutJobControl(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		out, _, status := piped(t, config, "", "sh", "-c", "kill -TSTP $$; echo one; kill -STOP $$; echo two")
		require.Equal(t, "one\ntwo\n", out)
		require.Zero(t, status)

		term := newTerminal(t)
		cmd := term.run(config, "sh", "-c", "echo a; kill -TSTP $$; echo b; kill -STOP $$; read x; echo got $x")
		term.expect("b\r\n")
		term.send("word\n")
		term.expect("got word\r\n")
		require.Zero(t, wait(t, cmd))
	})
}

// A shell that is stopped while it starts a program can hang in vfork, with obsrun and
// without, so the commands here replace their shell before a key is pressed.

// A pipeline leaves the keys to whoever reads them.
func TestPipeline(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		term := newTerminal(t)
		term.bash(config)
		term.send("echo data | $O sh -c 'read x; echo $x; read y </dev/tty; echo key $y'; echo status $?\n")
		term.expect("\ndata\r\n")
		term.send("typed\n")
		term.expect("key typed\r\n")
		term.expect("status 0")

		term.send("$O sh -c 'echo out; exec sleep 100' | sh -c 'cat; read y </dev/tty; echo key $y'\n")
		eventually(t, "the pipeline runs", func() bool { return strings.Contains(term.shown(), "\nout\r\n") })
		require.False(t, term.isRaw())
		term.send("\x03")
		term.expect("prompt> ")

		term.send("$O sh -c 'echo up >/dev/tty; exec sleep 100' | cat\n")
		term.expect("up\r\n")
		term.insist("\x1a", "Stopped")
		term.expect("prompt> ")
		term.send("fg\n")
		term.expect("\n")
		term.insist("\x03", "prompt> ")
	})
}

// An interactive shell as command hands its own terminal around.
func TestShellInside(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		term := newTerminal(t)
		term.bash(config)
		term.send("PS1='in''ner> ' $O bash --norc --noprofile -i\n")
		term.expect("inner> ")
		term.send("sh -c 'echo st'\"\"'arted; exec sleep 100'\n")
		term.expect("started\r\n")
		term.insist("\x1a", "Stopped")
		term.expect("inner> ")
		term.send("fg\n")
		term.expect("sleep 100'\r\n")
		term.insist("\x03", "inner> ")
		term.send("suspend\n")
		term.expect("Stopped")
		term.expect("prompt> ")
		term.send("fg\n")
		term.expect("inner> ")
		term.send("echo $((6*7))\n")
		term.expect("\n42\r\n")
		term.send("exit 9\n")
		term.expect("prompt> ")
		term.send("echo status $?\n")
		term.expect("status 9")
	})
}

// A command that somebody else stops and continues takes obsrun with it both times.
func TestStoppedAndContinuedFromOutside(t *testing.T) {
	both(t, func(t *testing.T, config testConfig) {
		term := newTerminal(t)
		term.bash(config)
		term.send("$O sh -c 'echo pid $$.; read x; echo got $x'\n")
		term.expect("pid ")
		term.expect(".\r\n")
		text := term.shown()
		at := strings.LastIndex(text, "pid ")
		pid, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(text[at+4:]), "."))
		require.NoError(t, err)
		require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
		term.expect("Stopped")
		term.expect("prompt> ")
		require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
		term.send("sleep 0.2; jobs\n")
		term.expect("prompt> ")
		term.send("fg\n")
		term.expect("\n")
		term.send("word\n")
		term.expect("got word\r\n")
		term.expect("prompt> ")
	})
}
