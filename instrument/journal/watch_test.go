package journal

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// awaken waits until the watch has told of something; false after a deadline
// that only a watch that missed it can reach.
func awaken(t *testing.T, wake <-chan struct{}) {
	t.Helper()
	select {
	case _, open := <-wake:
		require.True(t, open)
	case <-time.After(10 * time.Second):
		t.Fatal("no wake-up")
	}
}

// drain waits until the watch stands and is silent.
func drain(wake <-chan struct{}) {
	for {
		select {
		case <-wake:
		case <-time.After(30 * time.Millisecond):
			return
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = f.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// watchCases are changes of a file, each with what was there before.
var watchCases = map[string]struct {
	path           string
	before, change func(t *testing.T, dir string)
}{
	"grows": {
		"log",
		func(t *testing.T, dir string) { write(t, filepath.Join(dir, "log"), "a\n") },
		func(t *testing.T, dir string) { write(t, filepath.Join(dir, "log"), "b\n") },
	},
	"appears": {
		"log",
		func(*testing.T, string) {},
		func(t *testing.T, dir string) { write(t, filepath.Join(dir, "log"), "b\n") },
	},
	"appears with its directories": {
		"logs/latest/log",
		func(*testing.T, string) {},
		func(t *testing.T, dir string) {
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "logs/latest"), 0o700))
			write(t, filepath.Join(dir, "logs/latest/log"), "b\n")
		},
	},
	"is truncated": {
		"log",
		func(t *testing.T, dir string) { write(t, filepath.Join(dir, "log"), "a\n") },
		func(t *testing.T, dir string) { require.NoError(t, os.Truncate(filepath.Join(dir, "log"), 0)) },
	},
	"is removed": {
		"log",
		func(t *testing.T, dir string) { write(t, filepath.Join(dir, "log"), "a\n") },
		func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, "log"))) },
	},
	"is replaced": {
		"log",
		func(t *testing.T, dir string) { write(t, filepath.Join(dir, "log"), "a\n") },
		func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "new"), "b\n")
			require.NoError(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "log")))
		},
	},
	"behind a link": {
		"link",
		func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "log"), "a\n")
			require.NoError(t, os.Symlink("log", filepath.Join(dir, "link")))
		},
		func(t *testing.T, dir string) { write(t, filepath.Join(dir, "log"), "b\n") },
	},
	"directory link is replaced": {
		"latest/log",
		func(t *testing.T, dir string) {
			for _, run := range []string{"run1", "run2"} {
				require.NoError(t, os.Mkdir(filepath.Join(dir, run), 0o700))
				write(t, filepath.Join(dir, run, "log"), run+"\n")
			}
			require.NoError(t, os.Symlink("run1", filepath.Join(dir, "latest")))
		},
		func(t *testing.T, dir string) {
			require.NoError(t, os.Symlink("run2", filepath.Join(dir, "next")))
			require.NoError(t, os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "latest")))
		},
	},
}

func TestWatch(t *testing.T) {
	for name, c := range watchCases {
		for age, wait := range map[string]time.Duration{"young": 0, "grown": youngFor + 100*time.Millisecond} {
			t.Run(name+"/"+age, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				c.before(t, dir)
				path := filepath.Join(dir, c.path)
				wake := Watch(t.Context(), path)
				awaken(t, wake) // the first comes without a change
				time.Sleep(wait)
				drain(wake)
				c.change(t, dir)
				awaken(t, wake)
				drain(wake)
				// Whatever happened, the file that is there now is followed on.
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
				write(t, path, "more\n")
				awaken(t, wake)
			})
		}
	}
}

// The same where the system has no watches: only the poll tells.
func TestWatchPoll(t *testing.T) {
	for name, c := range watchCases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c.before(t, dir)
			poll := make(chan time.Time)
			w := &watch{again: func() {}, path: filepath.Join(dir, c.path), poll: poll, wake: make(chan struct{}, 1)}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); w.follow(ctx) }()
			awaken(t, w.wake)
			look := func() { poll <- time.Time{}; poll <- time.Time{} } // the first was dealt with when the second is taken
			look()
			require.Empty(t, w.wake, "woken without a change")
			c.change(t, dir)
			look()
			awaken(t, w.wake)
			look()
			require.Empty(t, w.wake, "woken twice for one change")
			cancel()
			<-done
		})
	}
}

func TestWatchEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	wake := Watch(ctx, filepath.Join(t.TempDir(), "log"))
	cancel()
	for range wake {
	}
}

func TestWatchCoalesces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	wake := Watch(t.Context(), path)
	for range 1000 {
		write(t, path, "line\n")
	}
	time.Sleep(20 * time.Millisecond)
	woken := 0
	for {
		select {
		case <-wake:
			woken++
			continue
		case <-time.After(50 * time.Millisecond):
		}
		break
	}
	require.Positive(t, woken)
	require.Less(t, woken, 10)
}

// A file that is still missing, in a directory where another is written to all the
// time, is looked for in longer steps: its directory is not watched any more.
func TestWatchInBusyDirectory(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "log"), filepath.Join(dir, "other")
	write(t, other, "a\n")
	w := Watch(t.Context(), path)
	awaken(t, w)
	time.Sleep(youngFor + 100*time.Millisecond)
	drain(w)
	for range 4 * busy {
		write(t, other, "a\n")
		time.Sleep(100 * time.Microsecond) // or the kernel makes one event of several
	}
	drain(w)
	for _, text := range []string{"b\n", "c\n"} {
		write(t, path, text)
		awaken(t, w)
		drain(w)
	}
	require.NoError(t, os.Remove(path))
	awaken(t, w)
	drain(w)
	write(t, path, "d\n")
	awaken(t, w)
}
