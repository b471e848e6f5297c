package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

func client(t testing.TB, line string) telemetry.Event {
	t.Helper()
	e, err := telemetry.DecodeClient([]byte(line))
	require.NoError(t, err)
	e.Source = telemetry.SourceSocket
	return e
}

// ticking is a clock that moves a millisecond at every look.
func ticking() func() time.Time {
	var mu sync.Mutex
	at := time.UnixMilli(epoch * 1000)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		at = at.Add(time.Millisecond)
		return at
	}
}

func record(t *testing.T) (*Recorder, string) {
	t.Helper()
	dir := t.TempDir()
	r, err := NewRecorder(dir, ticking())
	require.NoError(t, err)
	require.NoError(t, r.Begin("r", map[string]any{"run_id": "r"}))
	return r, dir
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.HasSuffix(b, []byte("\n")))
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// What is refused among events that came together takes nothing of the others along.
func TestRecordAllAmongRefused(t *testing.T) {
	dir := t.TempDir()
	r, err := NewRecorder(dir, time.Now)
	require.NoError(t, err)
	require.NoError(t, r.Begin("x", map[string]any{}))
	artifact := func(path string) telemetry.Event {
		return telemetry.Event{Type: telemetry.Artifact, Path: path, Source: telemetry.SourceSocket}
	}
	err = r.RecordAll([]telemetry.Event{
		artifact("a"), telemetry.Rejected(telemetry.SourceSocket, []byte("odd"), errors.New("not valid JSON")),
		{Type: telemetry.SpanEnd, SpanID: r.RootID(), Source: telemetry.SourceSocket}, artifact("b"), artifact("c"),
	})
	var refused *RefusedError
	assert.ErrorAs(t, err, &refused)
	require.NoError(t, r.RecordAll(nil))
	require.NoError(t, r.Finish("ok", map[string]any{}))
	loaded, err := Load(dir)
	require.NoError(t, err)
	assert.Equal(t, 3, loaded.State.Totals().Artifacts)
	assert.Equal(t, int64(2), loaded.State.Totals().RejectedEvents)
	rejected, err := os.ReadFile(RejectedPath(dir))
	require.NoError(t, err)
	assert.Equal(t, 2, bytes.Count(rejected, []byte{'\n'}), "%s", rejected)
	assert.ErrorIs(t, r.RecordAll([]telemetry.Event{artifact("late")}), ErrClosed)
}

// Receivers read into the same memory again and again.
func TestRecordAllKeepsNoLine(t *testing.T) {
	dir := t.TempDir()
	r, err := NewRecorder(dir, time.Now)
	require.NoError(t, err)
	var together [3]telemetry.Event
	var memory [128]byte
	for turn := range 200 {
		for i := range together {
			part := memory[i*40 : (i+1)*40]
			line := fmt.Appendf(part[:0], `{"event":"artifact","path":"file-%d-%d"}`, turn, i)
			require.Less(t, len(line), 41)
			require.NoError(t, together[i].DecodeClient(line))
			together[i].Source = telemetry.SourceSocket
		}
		require.NoError(t, r.RecordAll(together[:]))
	}
	require.NoError(t, r.Finish("ok", map[string]any{}))
	r.Feed().View(func(s *State) { assert.Equal(t, 600, s.Totals().Artifacts) })
	loaded, err := Load(dir)
	require.NoError(t, err)
	assert.Equal(t, 600, loaded.State.Totals().Artifacts)
	assert.Zero(t, loaded.Unreadable)
}

func TestRecorderWritesWhatCame(t *testing.T) {
	r, dir := record(t)
	require.NoError(t, r.Record(client(t, `{"event":"span_start",  "span_id":"a","mine":{"x":[1,2]},"ts":5}`)))
	require.NoError(t, r.Record(client(t, "{\"event\":\"span_end\",\r\"span_id\":\"a\"}")))
	require.NoError(t, r.Record(telemetry.Event{Type: telemetry.Artifact, Path: "p", Source: telemetry.SourceBurr}))
	require.NoError(t, r.Sync(context.Background()))
	got := lines(t, JournalPath(dir))
	assert.Equal(t, `{"event":"span_start",  "span_id":"a","mine":{"x":[1,2]},"ts":5,"source":"socket","recv_ms":2}`, got[1])
	assert.Equal(t, fmt.Sprintf(`{"event":"span_end","span_id":"a","ts":%d.004,"source":"socket","recv_ms":3}`, epoch), got[2])
	assert.Equal(t, fmt.Sprintf(`{"event":"artifact","path":"p","ts":%d.005,"source":"burr","recv_ms":4}`, epoch), got[3])
	require.NoError(t, r.Finish(telemetry.StatusOK, map[string]any{"exit_code": 0}))
	assert.ErrorIs(t, r.Record(client(t, `{"event":"x"}`)), ErrClosed)
	reached, last, err := r.Feed().Wait(context.Background(), 5)
	assert.NoError(t, err)
	assert.True(t, last)
	assert.Equal(t, int64(5), reached)
}

// The law: a run that is loaded is the run that was seen live.
func TestLoadedEqualsLive(t *testing.T) {
	r, dir := record(t)
	for _, line := range scramble(newRand(5), 500) {
		e, err := telemetry.Decode([]byte(line))
		require.NoError(t, err)
		if e.SpanID != r.RootID() {
			e.Raw, e.TS, e.RecvMS = nil, telemetry.Float{}, telemetry.Int{}
			require.NoError(t, r.Record(e))
		}
	}
	require.NoError(t, r.Finish(telemetry.StatusOK, map[string]any{"exit_code": 0}))
	var live []byte
	r.Feed().View(func(s *State) { live, _ = json.Marshal(s.Since(0, 0)) })
	loaded, err := Load(dir)
	require.NoError(t, err)
	again, _ := json.Marshal(loaded.State.Since(0, 0))
	assert.JSONEq(t, string(live), string(again))
	assert.False(t, loaded.Live)
}

func TestRecorderRefuses(t *testing.T) {
	r, dir := record(t)
	var refused *RefusedError
	require.ErrorAs(t, r.Record(client(t, fmt.Sprintf(`{"event":"span_end","span_id":%q}`, r.RootID()))), &refused)
	for range 12 {
		require.NoError(t, r.Record(telemetry.Rejected("socket", []byte("gar\xffbage"), errors.New("not JSON"))))
	}
	require.NoError(t, r.Record(telemetry.Rejected("socket", bytes.Repeat([]byte("x"), 100_000), errors.New("too long"))))
	require.NoError(t, r.Finish(telemetry.StatusOK, map[string]any{}))
	r.Feed().View(func(s *State) {
		assert.Equal(t, int64(14), s.Totals().RejectedEvents)
		assert.Len(t, s.Logs(), 2, "told at the first and the tenth")
	})
	got := lines(t, RejectedPath(dir))
	require.Len(t, got, 14)
	var last rejection
	require.NoError(t, json.Unmarshal([]byte(got[13]), &last))
	assert.Equal(t, 100_000, last.Bytes)
	assert.Len(t, last.Input, maxRejectedLine)
	info, err := os.Stat(RejectedPath(dir))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
}

func TestRejectedIsBounded(t *testing.T) {
	l := &rejectLog{path: filepath.Join(t.TempDir(), "rejected.jsonl")}
	raw := bytes.Repeat([]byte("x"), maxRejectedLine)
	for range 2 * maxRejected / maxRejectedLine {
		_, err := l.add(time.Now(), "socket", raw, "no")
		require.NoError(t, err)
	}
	require.NoError(t, l.close())
	info, err := os.Stat(l.path)
	require.NoError(t, err)
	assert.LessOrEqual(t, info.Size(), int64(maxRejected))
	assert.Equal(t, int64(2*maxRejected/maxRejectedLine), l.total())
}

// What a reader is shown is in the file; nothing of a batch that could not be
// written is shown, and it is written once there is space.
func TestRecorderSurvivesAFullDisk(t *testing.T) {
	r, dir := record(t)
	require.NoError(t, r.Sync(context.Background()))
	var mu sync.Mutex
	full, tries := true, make(chan struct{}, 100)
	write := r.append
	r.append = func(b []byte) error {
		mu.Lock()
		defer mu.Unlock()
		select {
		case tries <- struct{}{}:
		default:
		}
		if full {
			return syscall.ENOSPC
		}
		return write(b)
	}
	require.NoError(t, r.Record(client(t, `{"event":"span_start","span_id":"a"}`)))
	<-tries
	<-tries
	r.Feed().View(func(s *State) { assert.Equal(t, int64(1), s.Rev(), "not shown") })
	big := `{"event":"log","message":"` + strings.Repeat("x", 1<<19) + `"}`
	for i := 0; ; i++ {
		require.Less(t, i, 100, "nobody is kept waiting by a full disk")
		if err := r.Record(client(t, big)); err != nil {
			require.ErrorIs(t, err, ErrFull)
			break
		}
	}
	mu.Lock()
	full = false
	mu.Unlock()
	require.NoError(t, r.Sync(context.Background()))
	require.NoError(t, r.Finish(telemetry.StatusOK, map[string]any{}))
	assert.Contains(t, strings.Join(lines(t, JournalPath(dir)), "\n"), "no space left on device); 1 events were lost")
	r.Feed().View(func(s *State) {
		_, ok := s.Span("a")
		assert.True(t, ok)
		assert.Len(t, s.Logs(), 1)
	})
}

func TestRecorderGivesUpAtTheEnd(t *testing.T) {
	r, _ := record(t)
	require.NoError(t, r.Sync(context.Background()))
	r.append = func([]byte) error { return syscall.ENOSPC }
	require.NoError(t, r.Record(client(t, `{"event":"span_start","span_id":"a"}`)))
	err := r.Finish(telemetry.StatusOK, map[string]any{})
	require.ErrorIs(t, err, syscall.ENOSPC)
	assert.ErrorContains(t, err, "2 events were lost")
	_, last, _ := r.Feed().Wait(context.Background(), 99)
	assert.True(t, last, "readers are not left waiting")
}

func TestRecorderManyAtOnce(t *testing.T) {
	r, dir := record(t)
	var wg sync.WaitGroup
	for c := range 16 {
		wg.Go(func() {
			for i := range 500 {
				assert.NoError(t, r.Record(client(t, fmt.Sprintf(`{"event":"span_update","span_id":"c%d","tokens":%d}`, c, i))))
			}
			assert.NoError(t, r.Sync(context.Background()))
		})
	}
	wg.Wait()
	require.NoError(t, r.Finish(telemetry.StatusOK, map[string]any{}))
	next := make(map[string]int64)
	for i, line := range lines(t, JournalPath(dir)) {
		e, err := telemetry.Decode([]byte(line))
		require.NoError(t, err, "line %d", i)
		if e.Tokens.OK {
			assert.Equal(t, next[e.SpanID], e.Tokens.N, "in the order of its connection")
			next[e.SpanID]++
		}
	}
	assert.Len(t, next, 16)
}

func TestFollow(t *testing.T) {
	logDir := t.TempDir()
	d, err := Create(logDir, "r-20260101-aaaaaa", time.Now())
	require.NoError(t, err)
	r, err := NewRecorder(d.Path, time.Now)
	require.NoError(t, err)
	require.NoError(t, r.Begin("r", map[string]any{"run_id": "r"}))
	require.NoError(t, r.Sync(context.Background()))

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	feed, stop, err := Follow(ctx, d.Path)
	require.NoError(t, err)
	defer stop()
	require.NoError(t, r.Record(client(t, `{"event":"span_start","span_id":"a"}`)))
	reached, last, err := feed.Wait(ctx, 1)
	require.NoError(t, err)
	assert.Equal(t, int64(2), reached)
	assert.False(t, last)
	require.NoError(t, r.Finish(telemetry.StatusOK, map[string]any{"exit_code": 0}))
	for !last {
		reached, last, err = feed.Wait(ctx, reached)
		require.NoError(t, err)
	}
	feed.View(func(s *State) { assert.Equal(t, StatusOK, s.Info().Status) })
	require.NoError(t, d.Close())
}

// A run whose obsrun was killed: no end, a torn last line, no lock.
func TestLoadAfterAKill(t *testing.T) {
	dir := t.TempDir()
	journal := start(0) + "\n" + ev(1, "span_start", "a", `"kind":"agent"`) + "\n" + "not an event\n" + ev(2, "span_update", "a", `"tokens":7`) + "\n" + `{"event":"span_en`
	require.NoError(t, os.WriteFile(JournalPath(dir), []byte(journal), 0o600))
	l, err := Load(dir)
	require.NoError(t, err)
	assert.Equal(t, 17, l.Torn)
	assert.Equal(t, int64(1), l.Unreadable)
	assert.Equal(t, int64(4), l.State.Rev(), "the revision is the line's number")
	assert.Equal(t, StatusInterrupted, l.State.Info().Status)
	assert.Equal(t, Lost, span(t, l.State, "a").State)
	assert.Equal(t, int64(2000), l.State.Info().WallMS)

	ctx := context.Background()
	feed, stop, err := Follow(ctx, dir)
	require.NoError(t, err)
	defer stop()
	_, last, err := feed.Wait(ctx, 0)
	require.NoError(t, err)
	assert.True(t, last)
}
