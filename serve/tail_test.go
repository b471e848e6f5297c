package serve

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// written makes a journal of lines, and a view of it that has a stream for places.
func written(t *testing.T, lines ...string) *view {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, journalFile.name), []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	v := &view{dir: dir}
	t.Cleanup(v.tail.enter())
	return v
}

// placed is a place at the journal's beginning, and what is sent to it.
func placed(t *testing.T, v *view) (*place, *sink) {
	t.Helper()
	file, err := openRegular(v.dir, journalFile.name)
	require.NoError(t, err)
	p, w := newPlace(v, file, mark{}), new(sink)
	t.Cleanup(p.close)
	p.stream = &stream{out: w}
	return p, w
}

func sent(first int, lines ...string) string {
	var b []byte
	for i, line := range lines {
		b = appendMessage(b, int64(first+i), []byte(line))
	}
	return string(b)
}

func numbered(n, size int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf(`{"n":%d,"x":%q}`, i+1, strings.Repeat("x", size))
	}
	return lines
}

// Whoever has caught up holds neither a file nor a buffer, and is sent what others
// are sent, from the same memory.
func TestTailIsShared(t *testing.T) {
	lines := numbered(100, 10)
	v := written(t, lines...)
	a, fromA := placed(t, v)
	b, fromB := placed(t, v)
	require.NoError(t, a.send(t.Context(), 40))
	assert.Nil(t, a.file, "it is the tail's now")
	assert.Nil(t, a.buf)
	require.NoError(t, b.send(t.Context(), 40))
	assert.Nil(t, b.file)
	assert.Equal(t, sent(1, lines[:40]...), fromA.take())
	assert.Equal(t, sent(1, lines[:40]...), fromB.take())
	for _, reached := range []int64{41, 47, 47, 100} {
		require.NoError(t, a.send(t.Context(), reached))
	}
	require.NoError(t, b.send(t.Context(), 100))
	assert.Equal(t, sent(41, lines[40:]...), fromA.take())
	assert.Equal(t, sent(41, lines[40:]...), fromB.take())
	x, _, ok, err := v.tail.after(mark{line: 60}, 70)
	y, _, _, _ := v.tail.after(mark{line: 60}, 70)
	require.NoError(t, err)
	require.True(t, ok)
	assert.Equal(t, sent(61, lines[60:70]...), string(x))
	assert.Same(t, &x[0], &y[0])
}

// Who falls behind the tail reads the file from where it stood, and joins again.
func TestTailDoesNotReachBack(t *testing.T) {
	lines := numbered(3000, 2000)
	v := written(t, lines...)
	slow, fromSlow := placed(t, v)
	fast, fromFast := placed(t, v)
	require.NoError(t, slow.send(t.Context(), 10))
	require.NoError(t, fast.send(t.Context(), 10))
	fromSlow.take()
	fromFast.take()
	require.NoError(t, fast.send(t.Context(), 2900))
	assert.Equal(t, sent(11, lines[10:2900]...), fromFast.take())
	assert.LessOrEqual(t, v.tail.size, tailSize)
	_, _, ok, err := v.tail.after(slow.at, 2900)
	require.NoError(t, err)
	assert.False(t, ok)
	require.NoError(t, slow.send(t.Context(), 2950))
	assert.Equal(t, sent(11, lines[10:2950]...), fromSlow.take())
	assert.Nil(t, slow.file)
	require.NoError(t, slow.send(t.Context(), 3000))
	require.NoError(t, fast.send(t.Context(), 3000))
	assert.Equal(t, sent(2951, lines[2950:]...), fromSlow.take())
	assert.Equal(t, sent(2901, lines[2900:]...), fromFast.take())

	offset := int64(0)
	for line := range int64(3001) {
		if line > 0 {
			offset += int64(len(lines[line-1])) + 1
		}
		at, ok := v.tail.find(line)
		if line < v.tail.from.line {
			assert.False(t, ok)
		} else if ok = assert.True(t, ok, line); ok {
			assert.Equal(t, mark{line, offset}, at)
		}
	}
	back, fromBack := placed(t, v)
	require.NoError(t, back.skip(t.Context(), 2995))
	assert.Nil(t, back.file, "it need not go through the file")
	require.NoError(t, back.send(t.Context(), 3000))
	assert.Equal(t, sent(2996, lines[2995:]...), fromBack.take())
}

// What is sent to a client stays as it is while others go on.
func TestTailKeepsWhatItGave(t *testing.T) {
	lines := numbered(3000, 2000)
	v := written(t, lines...)
	a, _ := placed(t, v)
	require.NoError(t, a.send(t.Context(), 5))
	text, behind, ok, err := v.tail.after(a.at, 8)
	require.NoError(t, err)
	require.True(t, ok)
	assert.EqualValues(t, 8, behind.line)
	require.NoError(t, a.send(t.Context(), 3000))
	assert.Equal(t, sent(6, lines[5:8]...), string(text))
}

func TestTailOfLongLines(t *testing.T) {
	lines := []string{"{}", strings.Repeat("a", 3*blockSize), "", strings.Repeat("b", tailSize+5), "{\r}", "{}"}
	v := written(t, lines...)
	a, from := placed(t, v)
	require.NoError(t, a.send(t.Context(), 1))
	for i := range int64(5) {
		require.NoError(t, a.send(t.Context(), i+2))
	}
	assert.Equal(t, strings.ReplaceAll(sent(1, lines...), "\r", " "), from.take())
}

// A line that no reader takes is counted, and nothing is sent in its place.
func TestTailOfLinesTooLong(t *testing.T) {
	lines := []string{"{}", strings.Repeat("a", 5<<20), `{"n":3}`}
	v := written(t, lines...)
	a, from := placed(t, v)
	require.NoError(t, a.send(t.Context(), 1))
	require.NoError(t, a.send(t.Context(), 2))
	require.NoError(t, a.send(t.Context(), 3))
	assert.Equal(t, sent(1, "{}")+sent(3, `{"n":3}`), from.take())
}

func TestTailOfCutJournal(t *testing.T) {
	v := written(t, numbered(10, 10)...)
	a, _ := placed(t, v)
	b, _ := placed(t, v)
	require.NoError(t, a.send(t.Context(), 10))
	require.NoError(t, b.send(t.Context(), 10))
	require.NoError(t, os.Truncate(filepath.Join(v.dir, journalFile.name), 0))
	assert.ErrorIs(t, a.send(t.Context(), 11), errShort)
	assert.ErrorIs(t, b.send(t.Context(), 11), errShort)
	require.NoError(t, os.Remove(filepath.Join(v.dir, journalFile.name)))
	assert.ErrorIs(t, b.send(t.Context(), 12), errShort)
}

// Nothing is kept when the last client has left.
func TestTailIsDropped(t *testing.T) {
	v := written(t, numbered(10, 10)...)
	leave := v.tail.enter()
	a, _ := placed(t, v)
	require.NoError(t, a.send(t.Context(), 5))
	require.NoError(t, a.send(t.Context(), 10))
	leave()
	assert.NotNil(t, v.tail.file, "another is there")

	alone := &view{dir: v.dir}
	leave = alone.tail.enter()
	b, _ := placed(t, alone)
	require.NoError(t, b.send(t.Context(), 5))
	require.NoError(t, b.send(t.Context(), 10))
	leave()
	assert.Nil(t, alone.tail.file)
	assert.Nil(t, alone.tail.blocks)
	assert.Zero(t, alone.tail.size)
}

// One event after the other is told at once; in a flood, several are told together.
func TestFloodIsGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec, dir := record(t)
		v := newView(config(rec, dir), func(error) {})
		ctx, cancel := context.WithCancel(t.Context())
		w := &sink{}
		done := make(chan struct{})
		go func() {
			defer close(done)
			v.serveEvents(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/events", nil))
		}()
		synctest.Wait()
		w.take()
		burst := func(n int) string {
			t.Helper()
			var events []telemetry.Event
			for i := range n {
				events = append(events, start("s"+strconv.Itoa(i)))
			}
			tell(t, rec, events...)
			synctest.Wait()
			return w.take()
		}
		for range 20 {
			assert.Equal(t, 1, strings.Count(burst(1), "data: "), "at once")
		}
		told, waited := 0, false
		for range 100 {
			got := strings.Count(burst(50), "data: ")
			told, waited = told+got, waited || got == 0
		}
		assert.True(t, waited)
		time.Sleep(gather)
		synctest.Wait()
		assert.Equal(t, 50*100, told+strings.Count(w.take(), "data: "), "nothing is lost")
		time.Sleep(gather)
		synctest.Wait()
		assert.Equal(t, 1, strings.Count(burst(1), "data: "), "at once again")
		cancel()
		<-done
		finish(t, rec)
	})
}
