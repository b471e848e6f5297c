package run

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func path(s *State) []string {
	out := []string{}
	for _, seg := range s.CriticalPath() {
		out = append(out, fmt.Sprintf("%s %d-%d", seg.SpanID, seg.StartMS-epoch*1000, seg.EndMS-epoch*1000))
	}
	return out
}

func TestCriticalPath(t *testing.T) {
	cases := []struct {
		name  string
		lines []string
		want  []string
	}{
		{"nothing below", nil, []string{"root 0-10000"}},
		{"gaps belong to the parent",
			[]string{ev(1, "span_start", "a", ""), ev(3, "span_end", "a", ""), ev(4, "span_start", "b", ""), ev(9, "span_end", "b", "")},
			[]string{"root 0-1000", "a 1000-3000", "root 3000-4000", "b 4000-9000", "root 9000-10000"}},
		{"of parallel ones the last to end",
			[]string{ev(0, "span_start", "a", ""), ev(0, "span_start", "b", ""), ev(7, "span_end", "a", ""), ev(10, "span_end", "b", "")},
			[]string{"b 0-10000"}},
		{"overlap",
			[]string{ev(0, "span_start", "a", ""), ev(4, "span_start", "b", ""), ev(6, "span_end", "a", ""), ev(10, "span_end", "b", "")},
			[]string{"a 0-4000", "b 4000-10000"}},
		{"ties by earlier start, then id",
			[]string{ev(0, "span_start", "z", ""), ev(5, "span_start", "b", ""), ev(5, "span_start", "a", ""),
				ev(10, "span_end", "a", ""), ev(10, "span_end", "b", ""), ev(5, "span_end", "z", "")},
			[]string{"z 0-5000", "a 5000-10000"}},
		{"into what lies below, clipped to its parent",
			[]string{ev(1, "span_start", "a", ""), ev(0.5, "span_start", "t", `"parent":"a"`), ev(8, "span_end", "a", ""), ev(9, "span_end", "t", "")},
			[]string{"root 0-1000", "t 1000-8000", "root 8000-10000"}},
		{"open spans end with the run", []string{ev(2, "span_start", "a", "")}, []string{"root 0-2000", "a 2000-10000"}},
		{"processes take no part", []string{ev(0, "span_start", "p", `"kind":"process"`), ev(10, "span_end", "p", "")}, []string{"root 0-10000"}},
		{"nor what only waited", []string{ev(0, "span_queued", "q", "")}, []string{"root 0-10000"}},
		{"beyond the run's end", []string{ev(2, "span_start", "a", ""), evFrom("socket", 50, "span_end", "a", "")}, []string{"root 0-2000", "a 2000-10000"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := fold(t, c.lines...)
			assert.Empty(t, s.CriticalPath())
			apply(t, s, stop(10, ""))
			assert.Equal(t, c.want, path(s))
		})
	}
}

func TestCriticalPathCoversTheRunOnce(t *testing.T) {
	for seed := range 200 {
		s := NewState()
		apply(t, s, start(0))
		apply(t, s, scramble(newRand(seed), 60)...)
		apply(t, s, stop(40, ""))
		at := int64(epoch * 1000)
		for _, seg := range s.CriticalPath() {
			require.Equal(t, at, seg.StartMS, "seed %d", seed)
			require.Greater(t, seg.EndMS, seg.StartMS)
			at = seg.EndMS
		}
		require.Equal(t, int64(epoch*1000+40_000), at)
	}
}

func TestMaxParallel(t *testing.T) {
	agent := `"kind":"agent","phase":"x"`
	s := fold(t,
		ev(1, "span_start", "a", agent), ev(2, "span_start", "b", agent), ev(3, "span_end", "a", ""),
		ev(3, "span_start", "c", agent), ev(4, "span_start", "t", `"kind":"tool","parent":"c"`), ev(5, "span_end", "b", ""),
		ev(5, "span_end", "c", ""), ev(6, "span_start", "d", `"kind":"agent"`), ev(6, "span_end", "d", ""), ev(7, "span_queued", "q", agent))
	assert.Equal(t, 2, s.MaxParallel("x"), "what ends makes room for what begins")
	assert.Equal(t, 2, s.MaxParallel(""))
	assert.Equal(t, 0, s.MaxParallel("y"))
	s = fold(t, ev(1, "span_start", "a", agent), ev(2, "span_end", "a", ""), ev(8, "span_start", "a", ""), ev(1.5, "span_start", "b", agent), ev(1.6, "span_end", "b", ""))
	assert.Equal(t, 2, s.MaxParallel("x"), "earlier attempts count")
}

func TestBurn(t *testing.T) {
	at := func(seconds float64) int64 { return int64((epoch + seconds) * 1000) }
	t.Run("increments are spread since the last report", func(t *testing.T) {
		s := fold(t, ev(0, "span_start", "a", `"kind":"agent"`), ev(30, "span_update", "a", `"tokens":3000`), ev(60, "span_update", "a", `"tokens":3000`), ev(90, "span_update", "a", `"tokens":9000`))
		b := s.Burn(at(90))
		assert.InDelta(t, 6000, b.Peak, 250)
		assert.InDelta(t, 6000, b.PerMin, 250, "6000 since 0:30, of which one report said nothing new")
		assert.InDelta(t, 6000, b.Mean, 100)
		assert.False(t, b.AtLeast)
	})
	t.Run("what comes with the end alone revises the past", func(t *testing.T) {
		s := fold(t, ev(0, "span_start", "a", `"kind":"agent"`))
		before := s.Burn(at(60))
		assert.True(t, before.AtLeast)
		assert.Zero(t, before.PerMin)
		apply(t, s, ev(60, "span_end", "a", `"tokens":6000`))
		after := s.Burn(at(60))
		assert.False(t, after.AtLeast)
		assert.InDelta(t, 6000, after.Series[30], 300)
	})
	t.Run("its integral is the total", func(t *testing.T) {
		s := fold(t, ev(0, "span_start", "a", `"kind":"agent"`), ev(17, "span_update", "a", `"tokens":1234`), ev(400, "span_end", "a", `"tokens":98765`), stop(1000, ""))
		b := s.Burn(0)
		assert.Equal(t, int64(5000), b.StepMS)
		assert.InDelta(t, 98765.0/1000*60, b.Mean, 1)
		assert.LessOrEqual(t, len(b.Series), burnPoints)
		assert.Len(t, b.Totals, len(b.Series))
		assert.Equal(t, int64(98765), b.Totals[len(b.Totals)-1])
	})
	t.Run("a lying clock makes no longer run", func(t *testing.T) {
		s := fold(t, `{"event":"span_start","span_id":"a","kind":"agent","ts":1700000000,"recv_ms":0}`,
			`{"event":"span_end","span_id":"a","tokens":500,"ts":1900000000,"recv_ms":2000}`)
		assert.Less(t, len(s.burn.direct), 100)
		assert.False(t, math.IsNaN(s.Burn(at(2)).PerMin))
	})
	t.Run("nothing yet", func(t *testing.T) {
		assert.Equal(t, []float64{}, NewState().Burn(at(0)).Series)
	})
}

func TestLimits(t *testing.T) {
	const second, minute = 1000, 60_000
	quiet := func(i int, seconds float64) []string { // starts and ends, nothing between
		id := fmt.Sprint("q", i)
		return []string{ev(0, "span_start", id, `"kind":"k"`), ev(seconds, "span_end", id, "")}
	}
	chatty := func(i int, gap float64) []string {
		id := fmt.Sprint("c", i)
		lines := []string{ev(0, "span_start", id, `"kind":"k"`)}
		for beat := range 4 {
			lines = append(lines, ev(gap*float64(beat+1), "span_update", id, ""))
		}
		return append(lines, ev(gap*5, "span_end", id, ""))
	}
	join := func(lists ...[]string) (all []string) {
		for _, list := range lists {
			all = append(all, list...)
		}
		return all
	}
	cases := []struct {
		name  string
		lines []string
		want  Limit
	}{
		{"unknown kind", nil, Limit{Age: 30 * minute}},
		{"two ended", join(quiet(1, 60), quiet(2, 60)), Limit{Age: 30 * minute}},
		{"three ended", join(quiet(1, 60), quiet(2, 60), quiet(3, 60)), Limit{Age: 10 * minute}},
		{"... and took long", join(quiet(1, 600), quiet(2, 900), quiet(3, 1800)), Limit{Age: 45 * minute}},
		{"reports, none ended", chatty(1, 10)[:5], Limit{Silence: 5 * minute}},
		{"reports, three ended", join(chatty(1, 10), chatty(2, 10), chatty(3, 10)), Limit{Silence: 120 * second}},
		{"... with long silences", join(chatty(1, 100), chatty(2, 10), chatty(3, 10)), Limit{Silence: 400 * second}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { assert.Equal(t, c.want, fold(t, c.lines...).Limit("k")) })
	}
}

func TestSuspects(t *testing.T) {
	s := fold(t,
		ev(1, "span_start", "a", `"kind":"agent","name":"A"`), ev(2, "span_start", "l", `"kind":"llm","parent":"a"`),
		ev(3, "span_start", "b", `"kind":"agent"`), ev(4, "span_start", "p", `"kind":"process"`), ev(5, "span_queued", "q", `"kind":"agent"`))
	var got []string
	for v := range s.Suspects() {
		got = append(got, fmt.Sprint(v.SpanID, " ", v.Agent, " ", v.HeardMS, " ", v.OpenLLM))
	}
	assert.Equal(t, []string{"root  5000 false", "l a 2000 true", "b b 3000 false"}, got)
	apply(t, s, ev(6, "span_end", "l", ""))
	got = nil
	for v := range s.Suspects() {
		got = append(got, v.SpanID)
	}
	assert.Equal(t, []string{"root", "a", "b"}, got, "heard of below is heard of")
	apply(t, s, stop(9, ""))
	for range s.Suspects() {
		t.Fatal("nothing is suspect when the run has ended")
	}
}

func TestStallsAreKept(t *testing.T) {
	s := fold(t, ev(1, "span_start", "a", `"kind":"agent","name":"A","phase":"x"`), ev(2, "span_start", "t", `"kind":"tool","parent":"a"`),
		evFrom("obsrun", 60, "span_stalled", "t", `"idle_ms":58000,"evidence":{"cpu_percent":0}`))
	stall := s.Stalls()[0]
	assert.Equal(t, "A", stall.Name)
	assert.Equal(t, "a", stall.Agent)
	assert.Equal(t, int64(58000), stall.IdleMS)
	assert.True(t, stall.Open)
	assert.JSONEq(t, `{"cpu_percent":0}`, string(span(t, s, "a").Evidence))
	assert.Equal(t, 1, s.Phases()[0].Stalls)
	apply(t, s, ev(70, "span_update", "t", ""))
	assert.False(t, s.Stalls()[0].Open)
	assert.Equal(t, int64((epoch+70)*1000), s.Stalls()[0].ResumedMS)
	assert.Equal(t, Running, span(t, s, "a").State)
	apply(t, s, evFrom("obsrun", 160, "span_stalled", "t", ""), stop(170, ""))
	assert.True(t, s.Stalls()[1].Open, "still stalled when the run ended")
}

// The cost of an event does not grow with the spans there are.
func BenchmarkApply(b *testing.B) {
	for _, spans := range []int{1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(spans), func(b *testing.B) {
			s := NewState()
			apply(b, s, start(0))
			for i := range spans {
				s.Apply(event(b, ev(1, "span_start", fmt.Sprint("s", i), fmt.Sprintf(`"kind":"agent","parent":"s%d","phase":"p"`, i/10))))
			}
			update := event(b, ev(2, "span_update", fmt.Sprint("s", spans-1), `"tokens":1`))
			b.ResetTimer()
			for i := range b.N {
				update.Tokens.N = int64(i)
				s.Apply(update)
			}
		})
	}
}

func TestProcessesHideNoSilence(t *testing.T) {
	s := fold(t, ev(1, "span_start", "a", `"kind":"agent"`), ev(2, "span_start", "p", `"kind":"process","parent":"a"`))
	var got []string
	for v := range s.Suspects() {
		got = append(got, v.SpanID+" "+v.LastEvent+" "+v.LastSpan)
	}
	assert.Equal(t, []string{"root span_start p", "a span_start p"}, got)
}

func TestASuspendedMachineIsNobodysSilence(t *testing.T) {
	s := fold(t, ev(1, "span_start", "a", `"kind":"agent"`),
		`{"event":"log","message":"suspended","attrs":{"suspended_ms":3600000},"ts":1700003601,"source":"obsrun","recv_ms":3601000}`,
		ev(3602, "span_end", "a", ""))
	assert.Equal(t, int64(1000), s.kinds["agent"].silences[0])
	for v := range s.Suspects() {
		assert.Equal(t, int64(3602_000), v.HeardMS)
	}
}
