package run

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// fold makes a state of lines. A line may be short: {…} with the event, "@12.5"
// as its ts in seconds after the start (and so recv_ms), "socket" as its source.
func fold(t testing.TB, lines ...string) *State {
	t.Helper()
	s := NewState()
	apply(t, s, start(0))
	apply(t, s, lines...)
	return s
}

const epoch = 1_700_000_000

func start(at float64) string {
	return fmt.Sprintf(`{"event":"span_start","span_id":"root","kind":"run","name":"r","ts":%f,"recv_ms":%d,"source":"obsrun"}`, epoch+at, int(at*1000))
}

func stop(at float64, more string) string {
	return fmt.Sprintf(`{"event":"span_end","span_id":"root","ts":%f,"recv_ms":%d,"source":"obsrun"%s}`, epoch+at, int(at*1000), more)
}

// ev makes a line that arrives when it happens.
func ev(at float64, event, id, more string) string {
	return evFrom("socket", at, event, id, more)
}

func evFrom(source string, at float64, event, id, more string) string {
	if more != "" {
		more = "," + more
	}
	return fmt.Sprintf(`{"event":%q,"span_id":%q%s,"ts":%f,"source":%q,"recv_ms":%d}`, event, id, more, epoch+at, source, int(at*1000))
}

func apply(t testing.TB, s *State, lines ...string) {
	t.Helper()
	for _, line := range lines {
		e, err := telemetry.Decode([]byte(line))
		require.NoError(t, err, line)
		s.Apply(e)
	}
	require.NoError(t, consistent(s))
}

func span(t testing.TB, s *State, id string) Span {
	t.Helper()
	v, ok := s.Span(id)
	require.True(t, ok, "no span %s", id)
	return v
}

func TestStates(t *testing.T) {
	agent := `"kind":"library-analysis"`
	cases := []struct {
		name  string
		lines []string
		want  string
	}{
		{"queued", []string{ev(1, "span_queued", "a", agent)}, Queued},
		{"running", []string{ev(1, "span_queued", "a", agent), ev(2, "span_start", "a", "")}, Running},
		{"done", []string{ev(1, "span_start", "a", agent), ev(2, "span_end", "a", `"status":"ok"`)}, Done},
		{"done without status", []string{ev(1, "span_start", "a", agent), ev(2, "span_end", "a", "")}, Done},
		{"error", []string{ev(1, "span_start", "a", agent), ev(2, "span_end", "a", `"status":"error","error":"x"`)}, Failed},
		{"error without status", []string{ev(1, "span_start", "a", agent), ev(2, "span_end", "a", `"error":"x"`)}, Failed},
		{"error, spelled otherwise", []string{ev(1, "span_start", "a", agent), ev(2, "span_end", "a", `"status":"FAILED"`)}, Failed},
		{"error, in another word", []string{ev(1, "span_start", "a", agent), ev(2, "span_end", "a", `"status":"crashed"`)}, Failed},
		{"another word with an error", []string{ev(1, "span_start", "a", agent), ev(2, "span_end", "a", `"status":"bad","error":"x"`)}, Failed},
		{"another word", []string{ev(1, "span_start", "a", agent), ev(2, "span_end", "a", `"status":"fine"`)}, Done},
		{"declared failed after its end", []string{ev(1, "span_start", "a", agent), ev(2, "span_end", "a", `"status":"ok"`), ev(3, "span_end", "a", `"status":"error","error":"x"`)}, Failed},
		{"a duplicate end", []string{ev(1, "span_start", "a", agent), ev(2, "span_end", "a", `"status":"error"`), ev(3, "span_end", "a", `"status":"ok"`)}, Failed},
		{"cancelled", []string{ev(1, "span_start", "a", agent), ev(2, "span_end", "a", `"status":"cancelled"`)}, Cancelled},
		{"lost", []string{ev(1, "span_start", "a", agent), stop(3, "")}, Lost},
		{"lost in the queue", []string{ev(1, "span_queued", "a", agent), stop(3, "")}, Lost},
		{"ended after the run", []string{ev(1, "span_start", "a", agent), stop(3, ""), ev(4, "span_end", "a", `"status":"ok"`)}, Done},
		{"stalled", []string{ev(1, "span_start", "a", agent), evFrom("obsrun", 9, "span_stalled", "a", "")}, Stalled},
		{"stalled, then active", []string{ev(1, "span_start", "a", agent), evFrom("obsrun", 9, "span_stalled", "a", ""), ev(10, "span_update", "a", "")}, Running},
		{"stalled, then active below", []string{
			ev(1, "span_start", "a", agent), evFrom("obsrun", 9, "span_stalled", "a", ""),
			ev(10, "span_start", "t", `"parent":"a","kind":"tool"`)}, Running},
		{"stalled, then resumed", []string{ev(1, "span_start", "a", agent), evFrom("obsrun", 9, "span_stalled", "a", ""), evFrom("obsrun", 10, "span_resumed", "a", "")}, Running},
		{"a child that is silent shows at its agent", []string{
			ev(1, "span_start", "a", agent), ev(1, "span_start", "t", `"parent":"a","kind":"tool"`),
			evFrom("obsrun", 9, "span_stalled", "t", "")}, Stalled},
		{"... until that ends", []string{
			ev(1, "span_start", "a", agent), ev(1, "span_start", "t", `"parent":"a","kind":"tool"`),
			evFrom("obsrun", 9, "span_stalled", "t", ""), ev(10, "span_end", "t", "")}, Running},
		{"flagged after its end", []string{ev(1, "span_start", "a", agent), ev(2, "span_end", "a", ""), evFrom("obsrun", 9, "span_stalled", "a", "")}, Done},
		{"activity without a start", []string{ev(1, "span_update", "a", agent)}, Running},
		{"update after the end", []string{ev(1, "span_start", "a", agent), ev(2, "span_end", "a", ""), ev(3, "span_update", "a", `"tokens":5`)}, Done},
		{"a second attempt", []string{ev(1, "span_start", "a", agent), ev(2, "span_end", "a", `"error":"x"`), ev(3, "span_start", "a", "")}, Running},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.want, span(t, fold(t, c.lines...), "a").State)
		})
	}
}

func TestBadOrder(t *testing.T) {
	t.Run("an end without a start makes the span", func(t *testing.T) {
		a := span(t, fold(t, ev(20, "span_end", "a", `"duration_ms":5000,"kind":"agent"`)), "a")
		assert.Equal(t, int64(epoch+15)*1000, a.StartMS)
		assert.Equal(t, int64(epoch+20)*1000, a.EndMS)
		assert.Equal(t, int64(5000), a.DurationMS)
		assert.Equal(t, 1, a.Attempts)
	})
	t.Run("its start, told later, is no new attempt", func(t *testing.T) {
		a := span(t, fold(t, ev(20, "span_end", "a", ""), ev(12, "span_start", "a", `"kind":"agent"`)), "a")
		assert.Equal(t, Done, a.State)
		assert.Equal(t, 1, a.Attempts)
		assert.Equal(t, int64(epoch+12)*1000, a.StartMS)
		assert.Equal(t, int64(8000), a.DurationMS)
	})
	t.Run("a start of an open span updates it", func(t *testing.T) {
		a := span(t, fold(t, ev(1, "span_start", "a", ""), ev(4, "span_start", "a", `"kind":"agent","name":"n"`)), "a")
		assert.Equal(t, int64(epoch+1)*1000, a.StartMS)
		assert.Equal(t, "n", a.Name)
		assert.Equal(t, 1, a.Attempts)
	})
	t.Run("a start of an ended span is a new attempt", func(t *testing.T) {
		s := fold(t,
			ev(1, "span_start", "a", `"kind":"agent"`), ev(2, "span_end", "a", `"tokens":100,"tool_uses":3,"error":"rate limit"`),
			ev(5, "span_start", "a", ""), ev(6, "span_update", "a", `"tokens":10`), ev(9, "span_end", "a", `"status":"ok","tokens":50,"tool_uses":1`))
		a := span(t, s, "a")
		assert.Equal(t, 2, a.Attempts)
		assert.Equal(t, []Interval{{(epoch + 1) * 1000, (epoch + 2) * 1000, Failed}}, a.Earlier)
		assert.Equal(t, int64(4000), a.DurationMS)
		assert.Equal(t, int64(150), a.Tokens, "attempts add up")
		assert.Equal(t, int64(4), a.ToolUses)
		assert.Equal(t, Done, a.State)
		assert.Empty(t, a.Error)
		assert.Equal(t, 1, s.Totals().AgentsSpawned)
	})
	t.Run("a duplicate end changes nothing", func(t *testing.T) {
		end := ev(2, "span_end", "a", `"tokens":100`)
		s := fold(t, ev(1, "span_start", "a", `"kind":"agent"`), end, end)
		assert.Equal(t, int64(100), s.Totals().Tokens)
		assert.Equal(t, 1, s.Totals().Done)
	})
	t.Run("an unknown parent is the root until it appears", func(t *testing.T) {
		lines := []string{ev(1, "span_start", "c", `"parent":"p","kind":"tool"`)}
		assert.Equal(t, "root", span(t, fold(t, lines...), "c").Parent)
		s := fold(t, append(lines, ev(2, "span_start", "p", `"kind":"agent"`))...)
		assert.Equal(t, "p", span(t, s, "c").Parent)
		assert.Equal(t, "p", span(t, s, "c").Agent)
		assert.Equal(t, int64(1), span(t, s, "p").ToolUses)
	})
	t.Run("a circle is cut at the newest edge", func(t *testing.T) {
		s := fold(t, ev(1, "span_start", "a", `"parent":"c"`), ev(1, "span_start", "b", `"parent":"a"`), ev(1, "span_start", "c", `"parent":"b"`))
		assert.Equal(t, "root", span(t, s, "c").Parent, "told last") // a hangs under c from then on
		assert.Equal(t, "c", span(t, s, "a").Parent)
		assert.Equal(t, int64(1), s.Totals().CyclesCut)
	})
	t.Run("its own parent", func(t *testing.T) {
		s := fold(t, ev(1, "span_start", "a", `"parent":"a"`))
		assert.Equal(t, "root", span(t, s, "a").Parent)
		assert.Equal(t, int64(1), s.Totals().CyclesCut)
	})
	t.Run("negative durations count as 0", func(t *testing.T) {
		a := span(t, fold(t, ev(10, "span_start", "a", ""), ev(4, "span_end", "a", "")), "a")
		assert.Zero(t, a.DurationMS)
		assert.Equal(t, a.StartMS, a.EndMS)
		a = span(t, fold(t, ev(1, "span_start", "a", ""), ev(4, "span_end", "a", `"duration_ms":-7`)), "a")
		assert.Zero(t, a.DurationMS)
	})
	t.Run("duration_ms goes over the times, which place the bar", func(t *testing.T) {
		a := span(t, fold(t, ev(1, "span_start", "a", ""), ev(4, "span_end", "a", `"duration_ms":14820`)), "a")
		assert.Equal(t, int64(14820), a.DurationMS)
		assert.Equal(t, int64(3000), a.EndMS-a.StartMS)
	})
	t.Run("a child may outlive its parent", func(t *testing.T) {
		s := fold(t, ev(1, "span_start", "p", ""), ev(1, "span_start", "c", `"parent":"p"`), ev(2, "span_end", "p", ""), ev(9, "span_end", "c", ""))
		assert.Equal(t, int64(8000), span(t, s, "c").DurationMS)
		assert.Equal(t, int64(1000), span(t, s, "p").DurationMS)
	})
	t.Run("ts in milliseconds, microseconds, nanoseconds, and none", func(t *testing.T) {
		for _, ts := range []string{"1700000007", "1700000007000", "1700000007000000", "1700000007000000000"} {
			s := fold(t, `{"event":"span_start","span_id":"a","recv_ms":7000,"ts":`+ts+`}`)
			assert.Equal(t, int64(1700000007000), span(t, s, "a").StartMS, ts)
		}
		for _, ts := range []string{`"soon"`, "-5", "null", "1e300"} {
			s := fold(t, `{"event":"span_start","span_id":"a","recv_ms":7000,"ts":`+ts+`}`)
			assert.Equal(t, int64(1700000007000), span(t, s, "a").StartMS, "by arrival: %s", ts)
		}
	})
	t.Run("a tree that is too deep is cut", func(t *testing.T) {
		var lines []string
		for i := range 1000 {
			lines = append(lines, ev(1, "span_start", fmt.Sprint("n", i), fmt.Sprintf(`"parent":"n%d"`, i-1)))
		}
		s := fold(t, lines...)
		assert.Positive(t, s.Totals().CyclesCut)
	})
}

func TestUsage(t *testing.T) {
	agent := ev(1, "span_start", "a", `"kind":"agent"`)
	llm := func(id, more string) string {
		return ev(2, "span_end", id, `"parent":"a","kind":"llm","duration_ms":1`+more)
	}
	cases := []struct {
		name  string
		lines []string
		want  Usage
	}{
		{"input and output make tokens", []string{agent, ev(2, "span_update", "a", `"input_tokens":70,"output_tokens":7,"cached_tokens":60`)}, Usage{Tokens: 77, Input: 70, Output: 7, Cached: 60}},
		{"... told apart", []string{agent, ev(2, "span_update", "a", `"input_tokens":70`), ev(3, "span_update", "a", `"output_tokens":7`)}, Usage{Tokens: 77, Input: 70, Output: 7}},
		{"the largest value holds", []string{agent, ev(2, "span_update", "a", `"tokens":70`), ev(3, "span_update", "a", `"tokens":50`)}, Usage{Tokens: 70}},
		{"updates after the end count", []string{agent, ev(2, "span_end", "a", `"tokens":70`), ev(3, "span_update", "a", `"tokens":90,"tool_uses":2`)}, Usage{Tokens: 90, ToolUses: 2}},
		{"children sum", []string{agent, llm("x", `,"tokens":10`), llm("y", `,"tokens":20`)}, Usage{Tokens: 30}},
		{"its own, larger, supplies all", []string{agent, llm("x", `,"input_tokens":8,"output_tokens":2,"cost_usd":3`), ev(3, "span_end", "a", `"tokens":15,"input_tokens":11,"output_tokens":4,"cost_usd":1.5`)}, Usage{Tokens: 15, Input: 11, Output: 4, CostUSD: 1.5}},
		{"its own, smaller, does not", []string{agent, llm("x", `,"input_tokens":8,"output_tokens":2`), ev(3, "span_end", "a", `"input_tokens":5,"output_tokens":1`)}, Usage{Tokens: 10, Input: 8, Output: 2}},
		{"self adds", []string{agent, llm("x", `,"tokens":10`), ev(3, "span_end", "a", `"tokens":15,"tokens_scope":"self"`)}, Usage{Tokens: 25}},
		{"tool spans are tool uses", []string{agent, ev(2, "span_start", "t", `"parent":"a","kind":"tool"`), ev(2, "span_start", "u", `"parent":"a","kind":"tool"`)}, Usage{ToolUses: 2}},
		{"what the winning level lacks comes from the other", []string{agent, ev(2, "span_start", "t", `"parent":"a","kind":"tool"`), ev(2, "span_end", "a", `"tokens":9`)}, Usage{Tokens: 9, ToolUses: 1}},
		{"a tool that runs an agent", []string{
			agent, ev(2, "span_start", "t", `"parent":"a","kind":"tool"`), ev(2, "span_start", "sub", `"parent":"t","kind":"agent","tokens":5`),
			ev(2, "span_update", "sub", `"tokens":5,"tool_uses":3`)}, Usage{Tokens: 5, ToolUses: 4}},
		{"values that can not be", []string{agent, ev(2, "span_update", "a", `"tokens":-5,"tool_uses":"12","input_tokens":true,"output_tokens":1e308,"cost_usd":-1`)}, Usage{}},
		{"two sources tell the same", []string{agent, evFrom("otlp", 2, "span_update", "a", `"tokens":40`), evFrom("burr", 2, "span_update", "a", `"tokens":38,"tool_uses":4`)}, Usage{Tokens: 40, ToolUses: 4}},
		{"the same call from two sources", []string{
			agent, evFrom("burr", 2, "span_end", "b", `"parent":"a","kind":"llm","call_id":"r1","tokens":9`),
			evFrom("gateway", 2, "span_end", "g", `"parent":"a","kind":"llm","call_id":"r1","tokens":10`),
			evFrom("otlp", 2, "span_end", "o", `"parent":"a","kind":"llm","call_id":"r1","tokens":11`)}, Usage{Tokens: 10}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := fold(t, c.lines...)
			assert.Equal(t, c.want, span(t, s, "a").Usage)
			assert.Equal(t, c.want, s.Totals().Usage, "the run has what its only agent has")
		})
	}
}

func TestTokenSources(t *testing.T) {
	t.Run("each source has its own sum", func(t *testing.T) {
		s := fold(t,
			ev(1, "span_start", "a", `"kind":"agent"`), ev(2, "span_update", "a", `"tokens":100`),
			evFrom("otlp", 2, "span_end", "x", `"parent":"a","kind":"llm","call_id":"1","tokens":60`),
			evFrom("otlp", 2, "span_end", "y", `"parent":"a","kind":"llm","call_id":"1","tokens":60`),
			evFrom("otlp", 2, "span_end", "z", `"parent":"a","kind":"llm"`))
		totals := s.Totals()
		assert.Equal(t, map[string]int64{"socket": 100, "otlp": 60}, totals.TokenSources)
		assert.Equal(t, int64(100), totals.Tokens)
		assert.Equal(t, 2, totals.LLMCalls)
		assert.Equal(t, 1, totals.LLMCallsWithUsage)
	})
	call := evFrom("gateway", 2, "span_end", "x", `"kind":"llm","tokens":60`)
	t.Run("a metered call of no agent is no part of what others told", func(t *testing.T) {
		s := fold(t, ev(1, "span_start", "a", `"kind":"agent"`), ev(2, "span_update", "a", `"tokens":100`), call)
		assert.Equal(t, int64(100), s.Totals().Tokens)
		assert.Equal(t, int64(60), s.Totals().TokenSources["unattributed"])
	})
	t.Run("... but counts where nobody else told", func(t *testing.T) {
		s := fold(t, ev(1, "span_start", "a", `"kind":"agent"`), call)
		assert.Equal(t, int64(60), s.Totals().Tokens)
	})
	t.Run("... and belongs to its agent once that is known", func(t *testing.T) {
		s := fold(t, evFrom("gateway", 2, "span_end", "x", `"kind":"llm","tokens":60,"parent":"a"`), ev(1, "span_start", "a", `"kind":"agent"`))
		assert.Equal(t, int64(60), span(t, s, "a").Tokens)
		assert.NotContains(t, s.Totals().TokenSources, "unattributed")
	})
}

func TestPhases(t *testing.T) {
	phases := func(t *testing.T, lines ...string) map[string]Phase {
		byName := make(map[string]Phase)
		for _, p := range fold(t, lines...).Phases() {
			byName[p.Name] = p
		}
		return byName
	}
	t.Run("names", func(t *testing.T) {
		got := phases(t,
			ev(1, "span_start", "x", `"kind":"phase","name":"library-depth-0","component":"c"`),
			ev(1, "span_start", "y", `"kind":"discovery","component":"find-all"`),
			ev(1, "span_start", "phase-depth2", `"kind":"phase"`),
			ev(1, "span_start", "a", `"kind":"agent","phase":"the-end"`),
			`{"event":"phase","name":"library-depth-7-complete","libraries":9,"wall_ms":68400,"ts":1700000070}`)
		for _, name := range []string{"library_depth_0", "find_all", "depth2", "the_end", "library_depth_7"} {
			assert.Contains(t, got, name)
		}
		p := got["library_depth_7"]
		assert.Equal(t, Done, p.State)
		assert.Equal(t, int64(68400), p.WallMS)
		assert.Equal(t, int64(1700000070000-68400), p.StartMS, "opened at ts - wall_ms")
		assert.Equal(t, map[string]float64{"libraries": 9}, p.Counts)
	})
	t.Run("of a span: the nearest phase span, else its field, else that of its parent", func(t *testing.T) {
		s := fold(t,
			ev(1, "span_start", "p", `"kind":"phase","name":"outer"`), ev(1, "span_start", "q", `"kind":"phase","name":"inner","parent":"p"`),
			ev(1, "span_start", "a", `"kind":"agent","parent":"q","phase":"field"`), ev(1, "span_start", "b", `"kind":"agent","phase":"field"`),
			ev(1, "span_start", "t", `"kind":"tool","parent":"b"`), ev(1, "span_start", "c", `"kind":"agent"`))
		for id, want := range map[string]string{"a": "inner", "b": "field", "t": "field", "c": ""} {
			assert.Equal(t, want, span(t, s, id).Phase, id)
		}
	})
	t.Run("wall: wall_ms, else the span's duration, else first to last", func(t *testing.T) {
		inPhase := []string{ev(3, "span_start", "a", `"kind":"agent","phase":"x"`), ev(10, "span_end", "a", "")}
		assert.Equal(t, int64(7000), phases(t, inPhase...)["x"].WallMS)
		withSpan := append([]string{ev(2, "span_start", "p", `"kind":"phase","name":"x"`)}, append(inPhase, ev(11, "span_end", "p", `"duration_ms":8888`))...)
		assert.Equal(t, int64(8888), phases(t, withSpan...)["x"].WallMS)
		told := append(withSpan, `{"event":"phase","name":"x-complete","wall_ms":777,"ts":1700000012}`)
		assert.Equal(t, int64(777), phases(t, told...)["x"].WallMS)
	})
	t.Run("the same name twice is one phase", func(t *testing.T) {
		p := phases(t,
			ev(1, "span_start", "p", `"kind":"phase","name":"x"`), ev(3, "span_end", "p", ""),
			ev(5, "span_start", "q", `"kind":"phase","name":"x"`), ev(6, "span_end", "q", ""))["x"]
		assert.Equal(t, int64(3000), p.WallMS)
	})
	t.Run("numbers follow a span that moves", func(t *testing.T) {
		s := fold(t,
			ev(1, "span_start", "a", `"kind":"agent","parent":"p","phase":"x"`), ev(2, "span_end", "a", `"tokens":10,"error":"e"`),
			ev(1, "span_start", "p", `"kind":"phase","name":"y"`))
		var y Phase
		for _, p := range s.Phases() {
			assert.NotEqual(t, "x", p.Name == "x" && p.Agents > 0, p)
			if p.Name == "y" {
				y = p
			}
		}
		assert.Equal(t, 1, y.Agents)
		assert.Equal(t, 1, y.Errors)
		assert.Equal(t, int64(10), y.Tokens)
	})
	t.Run("order of beginning, those that wait last", func(t *testing.T) {
		var names []string
		for _, p := range fold(t,
			ev(1, "span_queued", "s", `"kind":"phase","name":"synthesis"`),
			ev(9, "span_start", "b", `"kind":"phase","name":"second"`), ev(2, "span_start", "a", `"kind":"phase","name":"first"`)).Phases() {
			names = append(names, p.Name+" "+p.State)
		}
		assert.Equal(t, []string{"first running", "second running", "synthesis queued"}, names)
	})
}

func TestPercent(t *testing.T) {
	percent := func(lines ...string) string {
		b, _ := json.Marshal(fold(t, lines...).Totals().Percent)
		return string(b)
	}
	var plan, third, all []string
	for i := range 3 {
		id := fmt.Sprint("a", i)
		plan = append(plan, ev(1, "span_queued", id, `"kind":"agent"`))
		all = append(all, ev(2, "span_start", id, ""), ev(3, "span_end", id, `"error":"no"`))
	}
	third = append(append(third, plan...), all[:2]...)
	all = append(append([]string{}, plan...), all...)
	assert.Equal(t, "null", percent(ev(1, "span_start", "a", `"kind":"agent"`)), "no plan, no percent")
	assert.Equal(t, "0", percent(plan...))
	assert.Equal(t, "33", percent(third...), "floor")
	assert.Equal(t, "99", percent(all...), "at most 99 until the run has ended")
	assert.Equal(t, "100", percent(append(all, stop(4, ""))...))
	assert.Equal(t, "33", percent(append(third, stop(4, ""))...), "lost is not ended")
	again := append(all, ev(5, "span_start", "a0", ""))
	assert.Equal(t, "99", percent(again...), "a new attempt takes nothing back")
}

func TestTheRunItself(t *testing.T) {
	s := NewState()
	apply(t, s, `{"event":"span_start","span_id":"f00","kind":"run","name":"eigenda-1","ts":1700000000.5,"recv_ms":0,"source":"obsrun","attrs":{"run_id":"eigenda-1","command":["./analyze","eigenda"],"source_repo":"/here","source_from":"cwd","survivors":null}}`)
	assert.Equal(t, "f00", s.RootID())
	info := s.Info()
	assert.Equal(t, "eigenda-1", info.RunID)
	assert.Equal(t, StatusRunning, info.Status)
	assert.Equal(t, "cwd", info.SourceFrom)

	apply(t, s, `{"event":"span_update","span_id":"f00","ts":1700000001,"recv_ms":500,"source":"socket","attrs":{"source_repo":"https://github.com/Layr-Labs/eigenda","source_commit":"61019b4","exit_code":0,"run_id":"other"}}`)
	info = s.Info()
	assert.Equal(t, "https://github.com/Layr-Labs/eigenda", info.SourceRepo)
	assert.Equal(t, "61019b4", info.SourceCommit)
	assert.Empty(t, info.SourceFrom)
	apply(t, s, `{"event":"span_update","span_id":"f00","ts":1700000001,"recv_ms":500,"source":"obsrun","attrs":{"source_repo":"/late","source_from":"cwd"}}`)
	info = s.Info()
	assert.Equal(t, "https://github.com/Layr-Labs/eigenda", info.SourceRepo, "the work tree is a guess")
	assert.Empty(t, info.SourceFrom)
	assert.Equal(t, "eigenda-1", info.RunID, "only what the run is about can be told by a client")
	assert.Nil(t, info.ExitCode)

	apply(t, s, `{"event":"span_end","span_id":"f00","status":"error","duration_ms":2500,"ts":1700000003,"recv_ms":2500,"source":"obsrun","attrs":{"exit_code":3,"obsrun_exit":3,"rejected_events":4}}`)
	info = s.Info()
	assert.Equal(t, StatusError, info.Status)
	assert.Equal(t, 3, *info.ExitCode)
	assert.Equal(t, int64(2500), info.WallMS)
	assert.Equal(t, int64(4), s.Totals().RejectedEvents)
	assert.Equal(t, int64(4), s.Rev())

	s = fold(t, ev(1, "span_start", "a", `"kind":"agent"`))
	s.Abandon()
	assert.Equal(t, StatusInterrupted, s.Info().Status)
	assert.Equal(t, Lost, span(t, s, "a").State)
}

func TestFlagsGoOverWhatAClientSays(t *testing.T) {
	s := NewState()
	apply(t, s,
		`{"event":"span_start","span_id":"f00","kind":"run","ts":1,"source":"obsrun","attrs":{"source_repo":"flag"}}`,
		`{"event":"span_update","span_id":"f00","ts":1,"source":"socket","attrs":{"source_repo":"client"}}`)
	assert.Equal(t, "flag", s.Info().SourceRepo)
}

func TestArtifactsAndLogs(t *testing.T) {
	s := fold(t,
		`{"event":"artifact","path":"a.md","kind":"analysis","ts":1}`, `{"event":"artifact","path":"a.md","kind":"analysis","ts":1}`,
		`{"event":"artifact","path":"m.json","kind":"manifest","ts":1}`,
		`{"event":"log","message":"hm","level":"warn","ts":1}`, `{"event":"log","message":"hello","ts":1}`, `{"event":"not_ours","x":1}`)
	totals := s.Totals()
	assert.Equal(t, 1, totals.AnalysesWritten)
	assert.Equal(t, 2, totals.Artifacts)
	assert.Equal(t, int64(1), totals.UnknownEvents)
	require.Len(t, s.Logs(), 1)
	assert.Equal(t, "hm", s.Logs()[0].Message)
}

func TestNamesSayNothingBad(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	s := fold(t, ev(1, "span_start", long, `"kind":"agent"`))
	assert.Equal(t, long, span(t, s, long).Name)
}

func TestLinesWithoutARun(t *testing.T) {
	s := NewState()
	apply(t, s, ev(10, "span_start", "a", `"kind":"agent"`), ev(40, "span_end", "a", ""))
	s.Abandon()
	assert.Equal(t, int64(epoch*1000), s.Info().StartMS, "recv_ms says when it began")
	assert.Equal(t, int64(40_000), s.Info().WallMS)
}
