package receiver

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// echoFormat is a log whose lines begin with a word: each line becomes an event
// with the line as its message, and the end of the log one without.
func echoFormat(word string) format {
	return format{
		claims: func(line []byte) bool { return bytes.HasPrefix(line, []byte(word)) },
		adapt: func() adapter {
			return adapter{
				line: func(line []byte, emit func(telemetry.Event)) error {
					if !bytes.HasPrefix(line, []byte(word)) {
						return errNotJSON
					}
					emit(telemetry.Event{Message: string(line)})
					return nil
				},
				end: func(emit func(telemetry.Event)) { emit(telemetry.Event{Message: "end of " + word}) },
			}
		},
	}
}

// tailOf gives a tail that looks when it is told to, and what it recorded.
func tailOf(paths ...string) (*Tail, *record) {
	r := &record{}
	done := make(chan struct{})
	close(done)
	t := &Tail{record: r.add, paths: paths, formats: []format{echoFormat("a"), echoFormat("b")}, stop: func() {}, done: done}
	t.find((*logFile).skip)
	return t, r
}

func (r *record) messages() []string {
	out := []string{}
	for _, ev := range r.all() {
		out = append(out, ev.Message)
	}
	return out
}

func put(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func grow(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = f.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func TestTail(t *testing.T) {
	type step func(t *testing.T, path string)
	grows := func(text string) step { return func(t *testing.T, path string) { grow(t, path, text) } }
	remove := func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) }
	cases := map[string]struct {
		before step
		after  []step // the tail looks after each
		want   []string
	}{
		"never there":                 {nil, []step{}, []string{}},
		"appears":                     {nil, []step{grows("a1\n"), grows("a2\n")}, []string{"a1", "a2", "end of a"}},
		"was there":                   {grows("a1\n"), []step{grows("a2\n")}, []string{"a2", "end of a"}},
		"was there, and nothing came": {grows("a1\n"), nil, []string{}},
		"half lines":                  {nil, []step{grows("a"), grows("1\na2"), grows("\n"), grows("a3\na4\na")}, []string{"a1", "a2", "a3", "a4", "LOG: its end was never written", "end of a"}},
		"blank lines, CR":             {nil, []step{grows("\n\r\na1\r\n\n")}, []string{"a1\r", "end of a"}},
		"other format":                {nil, []step{grows("b1\nb2\n")}, []string{"b1", "b2", "end of b"}},
		"no format":                   {nil, []step{grows("x1\nx2\n")}, []string{"LOG: not of a format that is known", "LOG: 2 lines were left out"}},
		"format found late":           {nil, []step{grows("x1\na1\n")}, []string{"LOG: not of a format that is known", "a1", "end of a"}},
		"garbage between":             {nil, []step{grows("a1\nx\n\x00\x00\na2\n"), grows("\xff\na3\n")}, []string{"a1", "LOG: not a JSON object of the expected shape", "a2", "a3", "end of a", "LOG: 3 lines were left out"}},
		"emptied": {grows("a0\n"), []step{
			grows("a1\n"), func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 0)) }, grows("a2\n"),
		}, []string{"a1", "end of a", "a2", "end of a"}},
		"emptied before the first look": {grows("a0 of an earlier run\n"), []step{
			func(t *testing.T, path string) { put(t, path, "a1\n") },
		}, []string{"a1", "end of a"}},
		"written anew, longer": {grows("a0\n"), []step{
			func(t *testing.T, path string) { put(t, path, "b1\nb2\nb3\n") }, grows("b4\n"),
			func(t *testing.T, path string) { put(t, path, "a1\na2\na3\na4\na5\na6\n") },
		}, []string{"b1", "b2", "b3", "b4", "end of b", "a1", "a2", "a3", "a4", "a5", "a6", "end of a"}},
		"replaced": {grows("a0\n"), []step{
			grows("a1\n"), func(t *testing.T, path string) {
				put(t, path+".new", "b1\nb2\n")
				require.NoError(t, os.Rename(path+".new", path))
			}, grows("b3\n"),
		}, []string{"a1", "b1", "b2", "b3", "end of a", "end of b"}},
		"rotated, and the old one still written": {nil, []step{
			grows("a1\n"), func(t *testing.T, path string) { require.NoError(t, os.Rename(path, path+".1")) },
			func(t *testing.T, path string) { grow(t, path+".1", "a2\n"); grow(t, path, "b1\n") },
		}, []string{"a1", "a2", "b1", "end of a", "end of b"}},
		"removed and made again":   {grows("a0\n"), []step{grows("a1\n"), remove, grows("a2\n")}, []string{"a1", "a2", "end of a", "end of a"}},
		"a directory, then a file": {func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) }, []step{remove, grows("a1\n")}, []string{"a1", "end of a"}},
		"a fifo":                   {func(t *testing.T, path string) { require.NoError(t, unix.Mkfifo(path, 0o600)) }, []step{remove, grows("a1\n")}, []string{"a1", "end of a"}},
		"a link to nothing, then to a file": {func(t *testing.T, path string) { require.NoError(t, os.Symlink(path+".x", path)) }, []step{
			func(t *testing.T, path string) { grow(t, path+".x", "a1\n") },
		}, []string{"a1", "end of a"}},
		"several MB": {nil, []step{grows("a" + strings.Repeat("y", 6<<20) + "\na1\n")}, []string{"a" + strings.Repeat("y", 6<<20), "a1", "end of a"}},
		"far too long": {nil, []step{
			grows("a1\n"), func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, maxLogLine+9)) }, grows("\na2\n"),
		}, []string{"a1", "LOG: longer than 64 MiB", "a2", "end of a"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tool_calls.jsonl")
			if c.before != nil {
				c.before(t, path)
			}
			tail, r := tailOf(path)
			for _, step := range c.after {
				step(t, path)
				tail.look(t.Context())
			}
			require.NoError(t, tail.Close(t.Context()))
			got := []string{}
			for _, ev := range r.all() {
				if ev.Type == telemetry.Log {
					assert.Equal(t, telemetry.SourceObsrun, ev.Source)
					assert.Contains(t, ev.Message, path)
					got = append(got, "LOG: "+ev.Message[strings.LastIndex(ev.Message, ": ")+2:])
				} else {
					got = append(got, ev.Message)
				}
			}
			require.Len(t, got, len(c.want))
			for i := range got {
				require.True(t, c.want[i] == got[i], "event %d is %.80q, not %.80q", i, got[i], c.want[i])
			}
		})
	}
}

// Paths that lead to one file are one; a link that is turned to another file
// brings that, from its beginning.
func TestTailPaths(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"run1", "run2"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
	}
	latest, own := filepath.Join(dir, "latest"), filepath.Join(dir, "run2", "log")
	require.NoError(t, os.Symlink("run1", latest))
	put(t, filepath.Join(dir, "run1", "log"), "a of an earlier run\n")
	tail, r := tailOf(own, filepath.Join(latest, "log"), filepath.Join(dir, "hard"))

	grow(t, own, "a1\n")
	require.NoError(t, os.Link(own, filepath.Join(dir, "hard")))
	require.NoError(t, os.Remove(latest))
	require.NoError(t, os.Symlink("run2", latest))
	tail.look(t.Context())
	grow(t, filepath.Join(latest, "log"), "a2\n")
	tail.look(t.Context())
	assert.Equal(t, []string{"a1", "a2"}, r.messages())

	grow(t, filepath.Join(dir, "run1", "log"), "a3, behind the link's back\n")
	tail.look(t.Context())
	require.NoError(t, tail.Close(t.Context()))
	assert.Equal(t, []string{"a1", "a2", "a3, behind the link's back", "end of a", "end of a"}, r.messages())
}

func TestTailManyFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	tail, r := tailOf(path)
	want := []string{}
	for i := range 5 * maxLogFiles {
		line := fmt.Sprintf("a%d", i)
		put(t, path+".new", line+"\n")
		require.NoError(t, os.Rename(path+".new", path))
		tail.look(t.Context())
		require.LessOrEqual(t, len(tail.files), maxLogFiles)
		want = append(want, line)
	}
	require.NoError(t, tail.Close(t.Context()))
	got := []string{}
	for _, message := range r.messages() {
		if message != "end of a" {
			got = append(got, message)
		}
	}
	assert.Equal(t, want, got)
}

// However the log grows, its events are the same.
func TestTailChunks(t *testing.T) {
	log := sdkFixture(t)
	want, err := os.ReadFile(filepath.Join(sdkFolder, "events.jsonl"))
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	for name, size := range map[string]func() int{
		"in one burst": func() int { return len(log) }, "line by line": nil,
		"in bits": func() int { return 1 + random.IntN(600) }, "in pieces": func() int { return 1 + random.IntN(200_000) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tool_calls.jsonl")
			tail, r := tailOf(path)
			tail.formats = []format{{claims: isSDKLine, adapt: func() adapter { return newSDKLog(time.UTC) }}}
			for rest := log; len(rest) > 0; {
				n := bytes.IndexByte(rest, '\n') + 1
				if size != nil {
					n = min(size(), len(rest))
				}
				grow(t, path, string(rest[:n]))
				rest = rest[n:]
				tail.look(t.Context())
			}
			require.NoError(t, tail.Close(t.Context()))
			require.Equal(t, string(want), text(r.all()))
		})
	}
}

// The real thing: the log directory is made, the log appears in it, under two
// names, and is written while it is followed.
func TestFollowToolCalls(t *testing.T) {
	log := sdkFixture(t)
	want, err := os.ReadFile(filepath.Join(sdkFolder, "events.jsonl"))
	require.NoError(t, err)
	dir := t.TempDir()
	runDir := filepath.Join(dir, "logs", "run1")
	r := &record{}
	tail := FollowToolCalls(r.add, time.UTC,
		filepath.Join(runDir, "tool_calls.jsonl"), filepath.Join(dir, "logs", "latest", "tool_calls.jsonl"))
	require.NoError(t, os.MkdirAll(runDir, 0o700))
	require.NoError(t, os.Symlink("run1", filepath.Join(dir, "logs", "latest")))
	path := filepath.Join(dir, "logs", "latest", "tool_calls.jsonl")
	lines := bytes.SplitAfter(log, []byte("\n"))
	for _, line := range lines[:100] {
		grow(t, path, string(line))
	}
	// What was written is seen while the log goes on, without a Close.
	require.Eventually(t, func() bool { return strings.Contains(text(r.all()), "toolu_0001_000") }, 10*time.Second, time.Millisecond)
	for _, line := range lines[100:] {
		grow(t, path, string(line))
	}
	require.NoError(t, tail.Close(t.Context()))
	require.Equal(t, string(want), text(r.all()))
}

// What was written an instant before the end is read.
func TestTailLastRead(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "tool_calls.jsonl")
		r := &record{}
		tail := FollowToolCalls(r.add, time.UTC, path)
		grow(t, path, lead(1, "text_block", "")+"\n")
		require.NoError(t, tail.Close(t.Context()))
		require.Len(t, r.all(), 3)
	}
}

func TestTailCloseContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	tail, r := tailOf(path)
	grow(t, path, strings.Repeat("a\n", 100_000))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, tail.Close(ctx), context.Canceled)
	assert.Less(t, len(r.all()), 2000)
}
