package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// crowded is a state with so many open agents, each with a tool call that is open.
func crowded(spans int) *run.State {
	state := run.NewState()
	apply := func(e telemetry.Event) {
		e.RecvMS, e.TS = telemetry.N(1), telemetry.F(1)
		state.Apply(e)
	}
	apply(telemetry.Event{Type: telemetry.SpanStart, SpanID: "root", Kind: telemetry.KindRun, Source: telemetry.SourceObsrun})
	for i := range spans / 2 {
		id := fmt.Sprint("agent-", i)
		apply(telemetry.Event{Type: telemetry.SpanStart, SpanID: id, Kind: "library-analysis", Phase: "p", Source: telemetry.SourceSocket})
		apply(telemetry.Event{Type: telemetry.SpanStart, SpanID: id + "-tool", Parent: id, Kind: "tool", Source: telemetry.SourceSocket})
	}
	return state
}

// What an event costs, and what a client is told after it, does not grow with the
// spans that are open.
func TestEventsDoNotSlowDown(t *testing.T) {
	cost := func(spans int, work func(state *run.State, i int)) time.Duration {
		state := crowded(spans)
		least := time.Hour
		for range 20 {
			began := time.Now()
			for i := range 200 {
				work(state, i)
			}
			least = min(least, time.Since(began)/200)
		}
		return least
	}
	event := func(kind telemetry.Type, i int) telemetry.Event {
		return telemetry.Event{
			Type: kind, SpanID: fmt.Sprintf("agent-%d-tool", i%100), Source: telemetry.SourceSocket, Kind: "tool",
			Counters: telemetry.Counters{Tokens: telemetry.N(int64(i))}, RecvMS: telemetry.N(int64(i)), TS: telemetry.F(float64(i)),
		}
	}
	for name, work := range map[string]func(*run.State, int){
		"an update": func(state *run.State, i int) { state.Apply(event(telemetry.SpanUpdate, i)) },
		"an end and a new start": func(state *run.State, i int) {
			state.Apply(event(telemetry.SpanEnd, i))
			state.Apply(event(telemetry.SpanStart, i))
		},
		"a flag and its end": func(state *run.State, i int) {
			state.Apply(telemetry.Event{Type: telemetry.SpanStalled, SpanID: fmt.Sprintf("agent-%d-tool", i%100), Source: telemetry.SourceObsrun})
			state.Apply(event(telemetry.SpanUpdate, i))
		},
		"what changed": func(state *run.State, i int) {
			before := state.Rev()
			state.Apply(event(telemetry.SpanUpdate, i))
			if got := len(state.Since(before, 1).Spans); got > 3 {
				t.Errorf("%d spans changed", got)
			}
		},
	} {
		few, many := cost(400, work), cost(20_000, work)
		assert.Less(t, many, 8*few+5*time.Microsecond, "%s: %v with 400 spans, %v with 20,000", name, few, many)
		t.Logf("%s: %v with 400 spans, %v with 20,000", name, few, many)
	}
}
