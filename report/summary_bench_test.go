package report

import (
	"fmt"
	"testing"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// manySpans is the state of a run with n agents, each with nine tool calls.
func manySpans(b *testing.B, n int) *run.State {
	b.Helper()
	state := run.NewState()
	apply := func(line string) {
		e, err := telemetry.Decode([]byte(line))
		if err != nil {
			b.Fatal(err)
		}
		state.Apply(e)
	}
	apply(rootStart)
	for i := range n {
		apply(fmt.Sprintf(`{"event":"span_start","span_id":"a%d","kind":"agent","phase":"p%d","ts":%d}`, i, i%20, 1001+i/100))
		for k := range 9 {
			apply(fmt.Sprintf(`{"event":"span_start","span_id":"t%d-%d","parent":"a%d","kind":"tool","ts":%d}`, i, k, i, 1001+i/100))
		}
		apply(fmt.Sprintf(`{"event":"span_end","span_id":"a%d","tokens":100,"ts":%d}`, i, 1002+i/100))
	}
	return state
}

func BenchmarkSummarize(b *testing.B) {
	state := manySpans(b, 10_000)
	b.ResetTimer()
	for b.Loop() {
		Summarize(state)
	}
}

func BenchmarkCompare(b *testing.B) {
	s := Summarize(manySpans(b, 10_000))
	b.ResetTimer()
	for b.Loop() {
		Compare(s, s)
	}
}
