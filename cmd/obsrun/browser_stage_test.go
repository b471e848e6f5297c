package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/serve"
	"github.com/obsrun/obsrun/testdata/eigenda"
	"github.com/obsrun/obsrun/ui"
)

const stageRun = "eigenda-20260408-abc123"

// stage is a run for the browser to look at: the recorder, the server and the
// page of the program, with a clock that can be set. The run began so long ago
// that what was played until now fits in between: the page's clock is the real one.
type stage struct {
	t        *testing.T
	dir      string
	begin    time.Time
	at       atomic.Int64 // nanoseconds since begin; below 0 the clock is the real one
	recorder *run.Recorder
	config   serve.Config
	server   *serve.Server
	served   chan error
	over     bool
}

// newStage begins a run that long ago and serves it.
func newStage(t *testing.T, ago time.Duration, attrs ...any) *stage {
	t.Helper()
	s := &stage{t: t, dir: t.TempDir(), begin: time.Now().Add(-ago)}
	var err error
	s.recorder, err = run.NewRecorder(s.dir, s.now)
	require.NoError(t, err)
	all := map[string]any{"run_id": stageRun, "command": []string{"./analyze", "eigenda"}}
	for i := 0; i+1 < len(attrs); i += 2 {
		all[attrs[i].(string)] = attrs[i+1]
	}
	require.NoError(t, s.recorder.Begin(stageRun, all))
	t.Cleanup(func() { s.finish(telemetry.StatusOK, map[string]any{"exit_code": 0}) })
	s.config = serve.Config{
		RunID: stageRun, Dir: s.dir, Feed: s.recorder.Feed(), Page: ui.Page, Token: serve.NewToken(), Listen: "127.0.0.1:0",
		Fault: func(err error) { t.Errorf("the server's fault: %v", err) },
	}
	s.sync()
	s.clockRuns()
	s.listen()
	t.Cleanup(s.shutdown)
	return s
}

func (s *stage) now() time.Time {
	if at := s.at.Load(); at >= 0 {
		return s.begin.Add(time.Duration(at))
	}
	return time.Now()
}

// clockRuns lets the clock be the real one from now on.
func (s *stage) clockRuns() { s.at.Store(-1) }

// listen serves at the address that was served before, or a free one.
func (s *stage) listen() {
	s.t.Helper()
	server, err := serve.Listen(s.config)
	require.NoError(s.t, err)
	s.server, s.served = server, make(chan error, 1)
	s.config.Listen = server.Base()[len("http://"):]
	go func() { s.served <- server.Serve() }()
}

func (s *stage) shutdown() {
	if s.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	assert.NoError(s.t, s.server.Shutdown(ctx))
	assert.NoError(s.t, <-s.served)
	s.server = nil
}

// tell records events that came now, and waits until they can be seen.
func (s *stage) tell(events ...telemetry.Event) {
	s.t.Helper()
	s.record(events...)
	s.sync()
}

func (s *stage) record(events ...telemetry.Event) {
	s.t.Helper()
	for _, e := range events {
		if e.Parent == "" && (e.Type == telemetry.SpanStart || e.Type == telemetry.SpanQueued) {
			e.Parent = s.recorder.RootID() // as the client does
		}
		if e.Source == "" {
			e.Source = telemetry.SourceSocket
		}
		require.NoError(s.t, s.recorder.Record(e))
	}
}

func (s *stage) sync() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(s.t, s.recorder.Sync(ctx))
}

// tellAt records events that came that long after the run's start.
func (s *stage) tellAt(at time.Duration, events ...telemetry.Event) {
	s.t.Helper()
	s.at.Store(int64(at))
	defer s.clockRuns()
	s.tell(events...)
}

// finish ends the run, now or at the moment the clock stands at.
func (s *stage) finish(status string, attrs map[string]any) {
	if s.over {
		return
	}
	s.over = true
	assert.NoError(s.t, s.recorder.Finish(status, attrs))
}

// view asks the state that the page should show.
func (s *stage) view(ask func(*run.State)) { s.recorder.Feed().View(ask) }

// playProfile begins the EigenDA run and plays its script up to a moment, which is
// now. At its end the run is finished.
func playProfile(t *testing.T, until time.Duration) *stage {
	t.Helper()
	profile := eigenda.Load()
	s := newStage(t, until, "source_repo", profile.SourceRepo, "source_commit", profile.SourceCommit)
	for _, cue := range newScript(profile, 1).cues {
		if cue.at > until {
			break
		}
		s.at.Store(int64(cue.at))
		s.record(cue.events...)
	}
	if wall := time.Duration(profile.TotalWallMS) * time.Millisecond; until >= wall {
		s.at.Store(int64(wall))
		s.finish(telemetry.StatusOK, map[string]any{"exit_code": 0, "obsrun_exit": 0})
	}
	s.sync()
	s.clockRuns()
	return s
}

const wholeProfile = 312500 * time.Millisecond

// Short forms of events.

func queuedSpan(id string) telemetry.Event {
	return telemetry.Event{Type: telemetry.SpanQueued, SpanID: id, Name: id, Kind: "library-analysis"}
}

func startedSpan(id string) telemetry.Event {
	return telemetry.Event{Type: telemetry.SpanStart, SpanID: id, Name: id, Kind: "library-analysis"}
}

func usedTokens(id string, tokens int64) telemetry.Event {
	return telemetry.Event{Type: telemetry.SpanUpdate, SpanID: id, Counters: telemetry.Counters{Tokens: telemetry.N(tokens)}}
}

func endedWell(id string) telemetry.Event {
	return telemetry.Event{Type: telemetry.SpanEnd, SpanID: id, Status: telemetry.StatusOK}
}

func endedBadly(id, why string) telemetry.Event {
	return telemetry.Event{Type: telemetry.SpanEnd, SpanID: id, Status: telemetry.StatusError, Error: why}
}

func inPhase(phase string, e telemetry.Event) telemetry.Event {
	e.Phase = phase
	return e
}

// Numbers as the page writes them.

func clockText(ms int64) string {
	s := ms / 1000
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

func stopwatchText(ms int64) string {
	tenths := (ms + 50) / 100
	return fmt.Sprintf("%d:%02d.%d", tenths/600, tenths/10%60, tenths%10)
}

func compactText(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprint(n)
	case n < 999950:
		return fmt.Sprintf("%.1f k", float64(n)/1e3)
	}
	return fmt.Sprintf("%.2f M", float64(n)/1e6)
}

// countText is a count in a row, where none is a dash.
func countText(n int64) string {
	if n == 0 {
		return "–"
	}
	return compactText(n)
}

// followStage serves a run directory that others write to, as `obsrun serve` does.
func followStage(t *testing.T, dir string) *stage {
	t.Helper()
	feed, stop, err := run.Follow(context.Background(), dir)
	require.NoError(t, err)
	t.Cleanup(stop)
	s := &stage{t: t, dir: dir, over: true}
	s.config = serve.Config{
		RunID: stageRun, Dir: dir, Feed: feed, Page: ui.Page, Token: serve.NewToken(), Listen: "127.0.0.1:0",
		Fault: func(err error) { t.Errorf("the server's fault: %v", err) },
	}
	s.listen()
	t.Cleanup(s.shutdown)
	return s
}

// journalFile is a telemetry.jsonl that is written by hand.
type journalFile struct {
	t    *testing.T
	file *os.File
}

func newJournal(t *testing.T, dir string) *journalFile {
	t.Helper()
	file, err := os.OpenFile(run.JournalPath(dir), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	return &journalFile{t, file}
}

func (j *journalFile) write(text string) {
	j.t.Helper()
	_, err := j.file.WriteString(text)
	require.NoError(j.t, err)
}
