package export

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// annotated is a run that is annotated, and what was told of it.
type annotated struct {
	*run.Recorder
	*Annotator
	mu    sync.Mutex
	lines []string
}

func newAnnotated(t *testing.T) *annotated {
	t.Helper()
	recorder, err := run.NewRecorder(t.TempDir(), time.Now)
	require.NoError(t, err)
	a := &annotated{Recorder: recorder}
	a.Annotator = Annotate(recorder.Feed(), func(line string) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.lines = append(a.lines, line)
	})
	require.NoError(t, recorder.Begin("x", map[string]any{"run_id": "x"}))
	return a
}

func (a *annotated) told() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string{}, a.lines...)
}

func (a *annotated) record(t *testing.T, events ...telemetry.Event) {
	t.Helper()
	for _, e := range events {
		if e.Source == "" {
			e.Source = telemetry.SourceSocket
		}
		require.NoError(t, a.Record(e))
	}
	require.NoError(t, a.Sync(t.Context()))
}

func agent(what telemetry.Type, id string) telemetry.Event {
	return telemetry.Event{Type: what, SpanID: id, Kind: "agent"}
}

// What fails or stalls is told while the run goes on, once; what is lost, at its end.
func TestAnnotate(t *testing.T) {
	a := newAnnotated(t)
	broken := agent(telemetry.SpanEnd, "b")
	broken.Name, broken.Phase, broken.Status, broken.Error = "bro,ken:\r\n::stop-commands::x", "work", telemetry.StatusError, "50% done"
	stalled := telemetry.Event{Type: telemetry.SpanStalled, SpanID: "s", IdleMS: telemetry.F(120_000), Source: telemetry.SourceObsrun}
	tool := telemetry.Event{Type: telemetry.SpanEnd, SpanID: "t", Kind: telemetry.KindTool, Status: telemetry.StatusError}
	a.record(t, agent(telemetry.SpanStart, "s"), agent(telemetry.SpanStart, "good"), agent(telemetry.SpanEnd, "good"), tool, broken, stalled)
	want := []string{
		"::warning title=Stalled::s has been silent for 2m 00.0s\n",
		`::error title=Agent failed::bro,ken:\r\n::stop-commands::x (agent) in work: 50%25 done` + "\n",
	}
	require.Eventually(t, func() bool { return len(a.told()) == 2 }, 10*time.Second, 5*time.Millisecond)
	assert.Equal(t, want, a.told())
	a.record(t, agent(telemetry.SpanUpdate, "s"), stalled, broken) // again
	require.NoError(t, a.Finish(telemetry.StatusOK, map[string]any{"exit_code": 0}))
	errors, warnings := a.Close()
	assert.Equal(t, [2]int{}, [2]int{errors, warnings})
	assert.Equal(t, append(want, "::error title=Agent lost::s (agent): it was still open when the run ended\n"), a.told())
}

// GitHub takes ten of each; a line is one write to a pipe.
func TestAnnotationsAreFew(t *testing.T) {
	a := newAnnotated(t)
	long := strings.Repeat("魚%\n", 20_000)
	for i := range 25 {
		e := agent(telemetry.SpanEnd, fmt.Sprint(i))
		e.Name, e.Phase, e.Kind, e.Error, e.Status = long, long, "agent", long, telemetry.StatusError
		a.record(t, e)
	}
	for i := range 12 {
		id := fmt.Sprintf("s%d", i)
		a.record(t, agent(telemetry.SpanStart, id), telemetry.Event{Type: telemetry.SpanStalled, SpanID: id, Source: telemetry.SourceObsrun}, agent(telemetry.SpanEnd, id))
	}
	require.NoError(t, a.Finish(telemetry.StatusOK, map[string]any{"exit_code": 0}))
	errors, warnings := a.Close()
	assert.Equal(t, [2]int{15, 2}, [2]int{errors, warnings})
	assert.Len(t, a.told(), 20)
	for _, line := range a.told() {
		assert.Less(t, len(line), 4096)
		assert.Regexp(t, `\A::(error title=Agent failed|warning title=Stalled)::[^\r\n]*\n\z`, line)
	}
}

// Nobody is looked at more often than there is something to see.
func TestAnnotatorEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := run.NewFeed()
		a := Annotate(feed, func(string) { t.Error("nothing happened") })
		time.Sleep(time.Hour)
		a.Close()
		a.Close()
	})
}
