package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func create(t *testing.T) (*Writer, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "telemetry.jsonl")
	w, err := Create(path)
	require.NoError(t, err)
	t.Cleanup(func() { w.file.Close() })
	return w, path
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

func TestCreateMode(t *testing.T) {
	for _, mask := range []int{0, 0o022, 0o777} {
		func() {
			defer unix.Umask(unix.Umask(mask))
			_, path := create(t)
			info, err := os.Stat(path)
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o600), info.Mode(), "umask %o", mask)
		}()
	}
}

func TestCreateRefusesWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	cases := map[string]func(path string) error{
		"file":              func(p string) error { return os.WriteFile(p, []byte("x\n"), 0o600) },
		"directory":         func(p string) error { return os.Mkdir(p, 0o700) },
		"link to nothing":   func(p string) error { return os.Symlink(target, p) },
		"link to itself":    func(p string) error { return os.Symlink(p, p) },
		"fifo":              func(p string) error { return unix.Mkfifo(p, 0o600) },
		"below a file":      func(p string) error { return os.WriteFile(filepath.Dir(p), nil, 0o600) },
		"no such directory": func(string) error { return nil },
	}
	for name, plant := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "telemetry.jsonl")
			if name == "below a file" || name == "no such directory" {
				path = filepath.Join(filepath.Dir(path), "below", "telemetry.jsonl")
			}
			require.NoError(t, plant(path))
			_, err := Create(path)
			require.Error(t, err)
			assert.Contains(t, err.Error(), "create journal: ")
			assert.Contains(t, err.Error(), path)
			assert.NoFileExists(t, target)
		})
	}
}

func TestAppend(t *testing.T) {
	w, path := create(t)
	require.NoError(t, w.Append([]byte("one\n")))
	require.NoError(t, w.Append([]byte("two\nthree\n")))
	require.NoError(t, w.Append(nil))
	require.ErrorIs(t, w.Append([]byte("half")), errHalfLine)
	require.ErrorIs(t, w.Append([]byte("four\nhalf")), errHalfLine)
	require.NoError(t, w.Append([]byte("\n")))
	require.NoError(t, w.Close())
	assert.Equal(t, "one\ntwo\nthree\n\n", content(t, path))
	assert.ErrorIs(t, w.Append([]byte("late\n")), os.ErrClosed)
}

// Somebody empties the file while it is written: the next line stands at its
// new end, and not behind a hole.
func TestAppendToTruncatedFile(t *testing.T) {
	w, path := create(t)
	require.NoError(t, w.Append([]byte("one\n")))
	require.NoError(t, os.Truncate(path, 0))
	require.NoError(t, w.Append([]byte("two\n")))
	assert.Equal(t, "two\n", content(t, path))
}

func TestAppendAfterFailure(t *testing.T) {
	const batch = "line 1\nline 2\n"
	for n := 0; n < len(batch); n++ {
		for _, fault := range []error{syscall.ENOSPC, syscall.EIO, nil} {
			w, path := create(t)
			require.NoError(t, w.Append([]byte("before\n")))
			good := w.write
			w.write = func(b []byte) (int, error) {
				written, err := good(b[:n])
				require.NoError(t, err)
				return written, fault
			}
			err := w.Append([]byte(batch))
			if fault == nil {
				fault = io.ErrShortWrite
			}
			require.ErrorIs(t, err, fault)
			assert.Equal(t, "before\n", content(t, path))
			w.write = good
			require.NoError(t, w.Append([]byte("after\n")))
			assert.Equal(t, "before\nafter\n", content(t, path), "%d bytes got through", n)
		}
	}
}

// The half write could not be cut off at once: it is at the next chance, and
// nothing is glued to it before.
func TestAppendCutsLater(t *testing.T) {
	w, path := create(t)
	require.NoError(t, w.Append([]byte("before\n")))
	good, file := w.write, w.file
	readOnly, err := os.Open(path)
	require.NoError(t, err)
	defer readOnly.Close()
	w.write = func(b []byte) (int, error) {
		n, err := good(b[:3])
		require.NoError(t, err)
		w.file = readOnly // which cannot be truncated
		return n, syscall.ENOSPC
	}
	err = w.Append([]byte("torn\n"))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorIs(t, err, syscall.EINVAL)
	w.write = func([]byte) (int, error) { t.Fatal("written behind a half line"); return 0, nil }
	require.Error(t, w.Append([]byte("glued\n")))
	assert.Equal(t, "before\ntor", content(t, path))
	w.write, w.file = good, file
	require.NoError(t, w.Append([]byte("after\n")))
	assert.Equal(t, "before\nafter\n", content(t, path))
}

// A real limit of the kernel, in a process of its own: a write that is cut
// short, then lines small enough to fit, then room again.
func TestAppendAtFileSizeLimit(t *testing.T) {
	if path := os.Getenv("JOURNAL_TEST_LIMITED"); path != "" {
		appendUnderLimit(path)
	}
	path := filepath.Join(t.TempDir(), "telemetry.jsonl")
	cmd := exec.Command(os.Args[0], "-test.run=^TestAppendAtFileSizeLimit$")
	cmd.Env = append(os.Environ(), "JOURNAL_TEST_LIMITED="+path)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, strings.Repeat("x", 4000)+"\nfits\n"+strings.Repeat("z", 200)+"\n", content(t, path))
}

func appendUnderLimit(path string) {
	fail := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
		syscall.Exit(1)
	}
	w, err := Create(path)
	if err != nil {
		fail("%v", err)
	}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		fail("%v", err)
	}
	limit := old
	limit.Cur = 4096
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		fail("%v", err)
	}
	line := func(c string, n int) []byte { return []byte(strings.Repeat(c, n) + "\n") }
	if err := w.Append(line("x", 4000)); err != nil {
		fail("first line: %v", err)
	}
	if err := w.Append(line("y", 200)); !errors.Is(err, syscall.EFBIG) {
		fail("over the limit: %v, want EFBIG", err)
	}
	if err := w.Append([]byte("fits\n")); err != nil {
		fail("a line that fits: %v", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		fail("%v", err)
	}
	if err := w.Append(line("z", 200)); err != nil {
		fail("room again: %v", err)
	}
	if err := w.Close(); err != nil {
		fail("%v", err)
	}
	syscall.Exit(0)
}

// A reader beside the writer sees every line, whole and once, whatever the two
// do to each other's timing.
func TestAppendBesideReader(t *testing.T) {
	w, path := create(t)
	const lines = 5000
	written := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < lines && err == nil; {
			var batch bytes.Buffer
			for range 1 + i%7 {
				if i < lines {
					fmt.Fprintf(&batch, "%d %s\n", i, strings.Repeat("x", i%300))
					i++
				}
			}
			err = w.Append(batch.Bytes())
		}
		written <- err
	}()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	wake := Watch(t.Context(), path)
	r := NewReader(f)
	for i := 0; i < lines; {
		line, err := r.Next()
		if err == io.EOF {
			<-wake
			continue
		}
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("%d %s", i, strings.Repeat("x", i%300)), string(line))
		i++
	}
	require.NoError(t, <-written)
	assert.EqualValues(t, lines, r.Line())
	assert.Zero(t, r.Torn())
}
