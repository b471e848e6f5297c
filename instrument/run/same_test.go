package run

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the log, the framework's telemetry and the gateway tell of one agent is
// one agent, in whatever order it arrives.
func TestOneAgentOfSeveralSources(t *testing.T) {
	log := []string{
		evFrom("burr", 10, "span_queued", "burr-node", `"kind":"library-analysis","component":"node"`),
		evFrom("burr", 11, "span_start", "burr-node", `"kind":"library-analysis","component":"node","phase":"library_depth_0"`),
		evFrom("burr", 13, "span_end", "burr-call", `"parent":"burr-node","kind":"llm","duration_ms":1500`),
		evFrom("burr", 14, "span_end", "burr-tool", `"parent":"burr-node","kind":"tool","status":"error"`),
		evFrom("burr", 20, "span_end", "burr-node", `"status":"ok"`),
	}
	metered := []string{
		evFrom("gateway", 11.2, "span_start", "g", `"kind":"agent","name":"node","component":"node"`),
		evFrom("gateway", 11.2, "span_start", "g-call", `"parent":"g","kind":"llm","name":"m"`),
		evFrom("gateway", 13, "span_end", "g-call", `"input_tokens":900,"output_tokens":100,"call_id":"req-1"`),
		evFrom("gateway", 19, "span_end", "g", `"status":"ok","tool_uses":1`),
	}
	framework := []string{
		evFrom("otlp", 11.1, "span_start", "o", `"kind":"agent","component":"Node"`),
		evFrom("otlp", 13, "span_end", "o-call", `"parent":"o","kind":"llm","tokens":1000,"call_id":"req-1"`),
		evFrom("otlp", 20, "span_end", "o", `"tokens":1000`),
	}
	orders := map[string][][]string{
		"log first": {log, metered, framework}, "log last": {metered, framework, log}, "log between": {framework, log, metered},
	}
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			var lines []string
			for _, list := range order {
				lines = append(lines, list...)
			}
			s := fold(t, lines...)
			totals := s.Totals()
			assert.Equal(t, 1, totals.Agents)
			assert.Equal(t, 1, totals.AgentsSpawned)
			assert.Equal(t, 1, totals.Done)
			assert.Equal(t, Usage{Tokens: 1000, Input: 900, Output: 100, ToolUses: 1}, totals.Usage)
			assert.Equal(t, 1, totals.LLMCalls)
			assert.Equal(t, 1, totals.LLMCallsWithUsage)
			assert.NotContains(t, totals.TokenSources, "unattributed")
			agent := span(t, s, "burr-node")
			assert.True(t, agent.IsAgent)
			assert.EqualValues(t, 1000, agent.Tokens)
			for _, id := range []string{"g", "o"} {
				v := span(t, s, id)
				assert.Equal(t, "burr-node", v.SameAs)
				assert.False(t, v.IsAgent)
			}
			assert.Equal(t, "burr-node", span(t, s, "g-call").Parent)
			assert.Equal(t, "g-call", span(t, s, "o-call").SameAs)
			assert.Equal(t, 1, s.MaxParallel(""))
			for _, p := range s.Phases() {
				assert.Equal(t, 1, p.Agents)
				assert.EqualValues(t, 1000, p.Tokens)
			}
			s = fold(t, append(lines, stop(30, ""))...)
			for _, segment := range s.CriticalPath() {
				assert.NotContains(t, []string{"g", "o"}, segment.SpanID)
			}
			failed, lost := s.Casualties()
			assert.Zero(t, failed+lost)
		})
	}
}

// Components are worked on again, and agents of other components at the same time.
func TestAgentsAreKeptApart(t *testing.T) {
	agent := func(source, id, component string, from, to float64) []string {
		return []string{
			evFrom(source, from, "span_start", id, fmt.Sprintf(`"kind":"agent","component":%q`, component)),
			evFrom(source, to, "span_end", id, `"tokens":10`),
		}
	}
	t.Run("by time", func(t *testing.T) {
		s := fold(t, append(append(agent("burr", "b1", "node", 10, 20), agent("burr", "b2", "node", 30, 40)...),
			append(agent("gateway", "g1", "node", 11, 19), agent("gateway", "g2", "node", 31, 39)...)...)...)
		assert.Equal(t, "b1", span(t, s, "g1").SameAs)
		assert.Equal(t, "b2", span(t, s, "g2").SameAs)
		assert.EqualValues(t, 20, s.Totals().Tokens)
	})
	t.Run("by component", func(t *testing.T) {
		s := fold(t, append(agent("burr", "b", "node", 10, 20), agent("otlp", "o", "api", 10, 20)...)...)
		assert.Equal(t, 2, s.Totals().Agents)
		assert.EqualValues(t, 20, s.Totals().Tokens)
	})
	t.Run("one source tells of each once", func(t *testing.T) {
		s := fold(t, append(agent("burr", "b1", "node", 10, 20), agent("burr", "b2", "node", 12, 18)...)...)
		assert.Equal(t, 2, s.Totals().Agents)
	})
	t.Run("the nearest in time", func(t *testing.T) {
		s := fold(t, append(append(agent("burr", "b1", "node", 10, 40), agent("burr", "b2", "node", 30, 40)...),
			agent("gateway", "g", "node", 31, 39)...)...)
		assert.Equal(t, "b2", span(t, s, "g").SameAs)
	})
}

func TestTheSameCallTellsTheAgent(t *testing.T) {
	s := fold(t,
		evFrom("gateway", 2, "span_start", "g", `"kind":"agent","name":"agent-12ab34"`),
		evFrom("gateway", 3, "span_end", "g1", `"parent":"g","kind":"llm","call_id":"r1","tokens":10`),
		evFrom("gateway", 4, "span_end", "g2", `"parent":"g","kind":"llm","call_id":"r2","tokens":20`),
		evFrom("tool_calls", 1, "span_start", "a", `"kind":"library-analysis","component":"node"`),
		evFrom("tool_calls", 3, "span_end", "a1", `"parent":"a","kind":"llm","call_id":"r1","tokens":9`),
		evFrom("tool_calls", 5, "span_end", "a3", `"parent":"a","kind":"llm","call_id":"r3","tokens":4`))
	assert.Equal(t, "a", span(t, s, "g").SameAs)
	assert.Equal(t, 1, s.Totals().Agents)
	assert.EqualValues(t, 30, span(t, s, "a").Tokens, "r1 once; r2 and what only the log has may be one call")
}

// Two sources that tell of the calls of one agent without ids tell of the same
// calls: the one that saw more counts.
func TestCallsWithoutIDs(t *testing.T) {
	lines := []string{ev(1, "span_start", "a", `"kind":"agent"`)}
	for i := range 5 {
		lines = append(lines, evFrom("socket", 2, "span_end", fmt.Sprint("s", i), `"parent":"a","kind":"llm","tokens":10`))
		lines = append(lines, evFrom("socket", 2, "span_end", fmt.Sprint("t", i), `"parent":"a","kind":"tool"`))
	}
	for i := range 4 {
		lines = append(lines, evFrom("otlp", 2, "span_end", fmt.Sprint("o", i), `"parent":"a","kind":"llm","tokens":10`))
	}
	s := fold(t, lines...)
	assert.EqualValues(t, 50, s.Totals().Tokens)
	assert.Equal(t, 5, s.Totals().LLMCalls)
	assert.EqualValues(t, 5, s.Totals().ToolUses)
	s = fold(t, append(lines,
		evFrom("otlp", 2, "span_start", "w", `"parent":"a","kind":"task"`),
		evFrom("otlp", 2, "span_end", "o8", `"parent":"w","kind":"llm","tokens":10`),
		evFrom("otlp", 2, "span_end", "o9", `"parent":"w","kind":"llm","tokens":10`))...)
	assert.EqualValues(t, 60, s.Totals().Tokens)
	s = fold(t, append(lines,
		ev(2, "span_start", "sub", `"parent":"a","kind":"agent"`),
		evFrom("otlp", 2, "span_end", "o9", `"parent":"sub","kind":"llm","tokens":10`))...)
	assert.EqualValues(t, 60, s.Totals().Tokens, "what another agent used is another matter")
}

// Agents that only the gateway made out count while nobody tells of any.
func TestInferredAgents(t *testing.T) {
	lead := []string{
		evFrom("gateway", 2, "span_start", "g", `"kind":"agent","name":"agent-12ab34"`),
		evFrom("gateway", 3, "span_end", "g1", `"parent":"g","kind":"llm","tokens":10`),
	}
	s := fold(t, lead...)
	assert.Equal(t, 1, s.Totals().Agents)
	assert.EqualValues(t, 10, s.Totals().Tokens)
	assert.EqualValues(t, 10, span(t, s, "g").Tokens)

	s = fold(t, append(lead, evFrom("burr", 4, "span_start", "b", `"kind":"agent","component":"node"`))...)
	assert.Equal(t, 1, s.Totals().Agents, "beside agents that are told of it is the lead's own work")
	assert.EqualValues(t, 10, s.Totals().Tokens)
	assert.EqualValues(t, 10, s.Totals().TokenSources["unattributed"])

	s = fold(t, append(lead, evFrom("burr", 4, "span_end", "b", `"kind":"agent","component":"node","tokens":70`))...)
	assert.EqualValues(t, 70, s.Totals().Tokens, "the log may have told of it already")
	require.NoError(t, consistent(s))
}

func TestAWaitingAgentIsHeardOfElsewhere(t *testing.T) {
	s := fold(t,
		evFrom("burr", 1, "span_queued", "b", `"kind":"agent","component":"node"`),
		evFrom("gateway", 5, "span_start", "g", `"kind":"agent","component":"node"`))
	assert.Equal(t, Running, span(t, s, "b").State)
	assert.Equal(t, 1, s.Totals().Running)
	apply(t, s, evFrom("burr", 4, "span_start", "b", ""))
	assert.Equal(t, span(t, s, "root").StartMS+4000, span(t, s, "b").StartMS)
	require.NoError(t, consistent(s))
}

// A metered call that matches no agent belongs to the one whose call it is.
func TestTheSameCallFindsItsAgent(t *testing.T) {
	agent := ev(1, "span_start", "a", `"kind":"agent"`)
	loose := evFrom("gateway", 2, "span_end", "g", `"kind":"llm","call_id":"c","tokens":10`)
	known := evFrom("otlp", 2, "span_end", "o", `"parent":"a","kind":"llm","call_id":"c","tokens":11`)
	for name, lines := range map[string][]string{
		"metered first": {agent, loose, known}, "metered last": {agent, known, loose}, "agent last": {loose, known, agent},
		"the better known is below the agent": {agent,
			evFrom("otlp", 2, "span_end", "o", `"kind":"llm","call_id":"c","tokens":11`),
			evFrom("gateway", 2, "span_end", "g", `"parent":"a","kind":"llm","call_id":"c","tokens":10`)},
	} {
		t.Run(name, func(t *testing.T) {
			s := fold(t, lines...)
			assert.EqualValues(t, 10, span(t, s, "a").Tokens)
			assert.EqualValues(t, 10, s.Totals().Tokens)
			assert.Equal(t, 1, s.Totals().LLMCalls)
			assert.NotContains(t, s.Totals().TokenSources, "unattributed")
		})
	}
}

// Parallel agents of one component, each told of by two sources, are as many.
func TestParallelNamesakes(t *testing.T) {
	var lines []string
	for _, source := range []string{"burr", "gateway"} {
		for i := range 2 {
			lines = append(lines, evFrom(source, 10+float64(i)/10, "span_start", fmt.Sprint(source, i), `"kind":"agent","component":"node"`))
		}
	}
	for i := range 2 {
		lines = append(lines, evFrom("gateway", 15, "span_end", fmt.Sprint("g", i), fmt.Sprintf(`"parent":"gateway%d","kind":"llm","tokens":1000`, i)))
	}
	s := fold(t, lines...)
	assert.EqualValues(t, 2000, s.Totals().Tokens)
	assert.EqualValues(t, 1000, span(t, s, "burr0").Tokens)
	assert.EqualValues(t, 1000, span(t, s, "burr1").Tokens)
	assert.Equal(t, 2, s.Totals().Agents)
}

// A framework that nests what is one agent reports it once.
func TestNestedNamesakes(t *testing.T) {
	outer := evFrom("otlp", 9, "span_end", "outer", `"kind":"agent","name":"node","tokens":1000,"duration_ms":8000`)
	inner := evFrom("otlp", 8, "span_end", "inner", `"parent":"outer","kind":"agent","name":"node","tokens":1000,"duration_ms":6000`)
	told := []string{ev(1, "span_start", "a", `"kind":"agent","component":"node"`), ev(9, "span_end", "a", "")}
	for _, lines := range [][]string{{told[0], told[1], outer, inner}, {told[0], told[1], inner, outer}, {outer, inner, told[0], told[1]}, {inner, outer, told[0], told[1]}} {
		s := fold(t, lines...)
		assert.EqualValues(t, 1000, s.Totals().Tokens)
		assert.Equal(t, 1, s.Totals().Agents)
	}
}

// Two instrumentations of one program tell of one call twice.
func TestOneCallToldThreeTimes(t *testing.T) {
	s := fold(t, ev(1, "span_start", "a", `"kind":"agent"`),
		evFrom("gateway", 2, "span_end", "g", `"parent":"a","kind":"llm","call_id":"c","tokens":10`),
		evFrom("otlp", 2, "span_end", "o1", `"parent":"a","kind":"llm","call_id":"c","tokens":10`),
		evFrom("otlp", 2, "span_end", "o2", `"parent":"a","kind":"llm","call_id":"c","tokens":10`))
	assert.EqualValues(t, 10, s.Totals().Tokens)
	assert.Equal(t, 1, s.Totals().LLMCalls)
}

// Who sees an agent fail is believed where its own source says nothing of how it
// ended.
func TestAFailureThatAnotherSourceSaw(t *testing.T) {
	start := ev(1, "span_start", "a", `"kind":"agent","component":"node"`)
	died := evFrom("otlp", 5, "span_end", "o", `"kind":"agent","component":"node","status":"error","error":"died","duration_ms":4000`)
	for _, lines := range [][]string{{start, ev(5, "span_end", "a", ""), died}, {start, died, ev(5, "span_end", "a", "")}} {
		s := fold(t, lines...)
		assert.Equal(t, Failed, span(t, s, "a").State)
		assert.Equal(t, "died", span(t, s, "a").Error)
		failed, _ := s.Casualties()
		assert.Equal(t, 1, failed)
	}
	s := fold(t, start, died, ev(5, "span_end", "a", `"status":"ok"`))
	assert.Equal(t, Done, span(t, s, "a").State, "it says that it did not")
	s = fold(t, start, ev(5, "span_end", "a", ""),
		evFrom("gateway", 5, "span_end", "g", `"kind":"agent","component":"node","status":"error","duration_ms":4000`))
	assert.Equal(t, Done, span(t, s, "a").State, "the gateway sees calls fail, not agents")
}

// The gateway hears of an agent only while it calls: its silence is no stall.
func TestInferredAgentsAreNoSuspects(t *testing.T) {
	s := fold(t, evFrom("gateway", 1, "span_start", "g", `"kind":"agent"`), evFrom("gateway", 1, "span_start", "c", `"parent":"g","kind":"llm"`))
	ids := func() (ids []string) {
		for suspect := range s.Suspects() {
			ids = append(ids, suspect.SpanID)
		}
		return ids
	}
	assert.Equal(t, []string{"root", "c"}, ids())
	apply(t, s, evFrom("gateway", 2, "span_end", "c", ""))
	assert.Equal(t, []string{"root"}, ids())
}
