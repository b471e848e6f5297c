package report

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A call that the provider's limit refused twice, one that broke off once, one
// that went through, and one that two sources told of.
func TestWork(t *testing.T) {
	s := summaryOf(t, rootStart,
		`{"event":"span_start","span_id":"a","kind":"agent","ts":1000,"source":"socket"}`,
		`{"event":"span_start","span_id":"l1","parent":"a","kind":"llm","name":"m","ts":1001,"source":"gateway"}`,
		`{"event":"span_end","span_id":"l1","status":"error","duration_ms":100,"attrs":{"status":429,"error_type":"rate_limit_error","retry_after":2},"ts":1001.1,"source":"gateway"}`,
		`{"event":"span_start","span_id":"l1","attrs":{"attempt":2,"waited_ms":2000},"ts":1003.1,"source":"gateway"}`,
		`{"event":"span_end","span_id":"l1","status":"error","duration_ms":100,"attrs":{"status":429},"ts":1003.2,"source":"gateway"}`,
		`{"event":"span_start","span_id":"l1","attrs":{"attempt":3},"ts":1004.2,"source":"gateway"}`,
		`{"event":"span_end","span_id":"l1","status":"ok","duration_ms":800,"attrs":{"status":200,"response_model":"m-20260101"},"input_tokens":90,"output_tokens":10,"cached_tokens":30,"ts":1005,"source":"gateway"}`,
		`{"event":"span_start","span_id":"l2","parent":"a","kind":"llm","name":"m","ts":1005,"source":"gateway"}`,
		`{"event":"span_end","span_id":"l2","status":"error","duration_ms":200,"attrs":{"status":529,"error_type":"overloaded_error"},"ts":1005.2,"source":"gateway"}`,
		`{"event":"span_start","span_id":"l2","ts":1005.5,"source":"gateway"}`,
		`{"event":"span_end","span_id":"l2","status":"ok","duration_ms":500,"attrs":{"status":200},"ts":1006,"source":"gateway"}`,
		`{"event":"span_start","span_id":"l3","parent":"a","kind":"llm","name":"n","ts":1006,"source":"gateway"}`,
		`{"event":"span_end","span_id":"l3","duration_ms":1000,"attrs":{"request_attempts":3,"model":5},"tokens":7,"ts":1007,"source":"gateway"}`,
		`{"event":"span_queued","span_id":"l4","parent":"a","kind":"llm","ts":1006,"source":"gateway"}`,
		`{"event":"span_end","span_id":"a","ts":1008,"source":"socket"}`,
		rootEnd)
	require.Equal(t, &Work{
		AgentMS: 8000, MeanParallel: .8, LLMMS: 2300, LLMTimed: 3, Retries: 5, RetryMS: 400, WaitMS: 3300, RateLimited: 1, RateLimitWaitMS: 3000,
	}, s.Work)
	require.Equal(t, []Model{
		{Name: "m-20260101", Calls: 1, WithUsage: 1, InputTokens: 90, OutputTokens: 10, CachedTokens: 30},
		{Name: "m", Calls: 1}, {Name: "n", Calls: 1, WithUsage: 1},
	}, s.Models)
}

// A call counts once however many told of it.
func TestWorkOfACallThatTwoSourcesTold(t *testing.T) {
	s := summaryOf(t, rootStart,
		`{"event":"span_start","span_id":"a","kind":"agent","ts":1000,"source":"socket"}`,
		`{"event":"span_start","span_id":"g","parent":"a","kind":"llm","name":"m","call_id":"c","ts":1001,"source":"gateway"}`,
		`{"event":"span_end","span_id":"g","tokens":10,"ts":1002,"source":"gateway"}`,
		`{"event":"span_start","span_id":"o","parent":"a","kind":"llm","name":"m","call_id":"c","ts":1001,"source":"otlp"}`,
		`{"event":"span_end","span_id":"o","tokens":10,"ts":1002,"source":"otlp"}`,
		rootEnd)
	require.Equal(t, int64(1), s.Totals.LLMCalls)
	require.Equal(t, int64(1), s.Work.LLMTimed)
	require.Len(t, s.Models, 1)
	require.Equal(t, int64(1), s.Models[0].Calls)
}

// Two sources that name no ids tell of the same calls of an agent.
func TestWorkOfCallsWithoutIDs(t *testing.T) {
	lines := []string{rootStart, `{"event":"span_start","span_id":"a","kind":"agent","ts":1000,"source":"socket"}`}
	for i, source := range []string{"gateway", "burr", "gateway", "burr"} {
		lines = append(lines, fmt.Sprintf(`{"event":"span_end","span_id":"c%d","parent":"a","kind":"llm","name":"m","input_tokens":10,"output_tokens":1,"duration_ms":500,"ts":1001,"source":%q}`, i, source))
	}
	s := summaryOf(t, append(lines, rootEnd)...)
	require.Equal(t, int64(22), s.Totals.TotalTokens)
	require.Equal(t, []Model{{Name: "m", Calls: 2, WithUsage: 2, InputTokens: 20, OutputTokens: 2}}, s.Models)
	require.Equal(t, int64(1000), s.Work.LLMMS)
}

// What matches no agent is work where its tokens are in the totals.
func TestWorkThatMatchesNoAgent(t *testing.T) {
	loose := `{"event":"span_end","span_id":"g","kind":"llm","name":"m","tokens":10,"ts":1001,"source":"gateway"}`
	s := summaryOf(t, rootStart, loose, rootEnd)
	require.Equal(t, int64(1), s.Models[0].Calls)
	s = summaryOf(t, rootStart, loose, `{"event":"span_end","span_id":"a","kind":"agent","tokens":10,"ts":1001,"source":"socket"}`, rootEnd)
	require.Empty(t, s.Models)
	require.Equal(t, int64(10), s.Totals.TotalTokens)
}

func TestModelsAreBounded(t *testing.T) {
	lines := []string{rootStart}
	for i := range 2 * maxModels {
		lines = append(lines, fmt.Sprintf(`{"event":"span_end","span_id":"l%d","ts":1002}`, i), fmt.Sprintf(`{"event":"span_update","span_id":"l%d","ts":1002}`, i),
			fmt.Sprintf(`{"event":"span_start","span_id":"m%d","kind":"llm","name":"m%d","ts":1002}`, i, i))
	}
	require.Len(t, summaryOf(t, append(lines, rootEnd)...).Models, maxModels)
}

func TestIdle(t *testing.T) {
	s := summaryOf(t, rootStart,
		`{"event":"span_start","span_id":"a","kind":"agent","ts":1000}`,
		`{"event":"span_start","span_id":"t","parent":"a","kind":"tool","ts":1001}`,
		`{"event":"span_end","span_id":"t","ts":1003}`,
		`{"event":"span_start","span_id":"u","parent":"a","kind":"tool","ts":1002}`,
		`{"event":"span_end","span_id":"u","ts":1004}`,
		`{"event":"span_start","span_id":"p","parent":"a","kind":"process","ts":1000}`,
		`{"event":"span_end","span_id":"a","ts":1006}`,
		`{"event":"span_start","span_id":"a","ts":1007}`,
		`{"event":"span_start","span_id":"v","parent":"a","kind":"llm","ts":1007.5}`,
		`{"event":"span_end","span_id":"a","ts":1008}`,
		`{"event":"span_end","span_id":"v","ts":1009}`,
		`{"event":"span_start","span_id":"alone","kind":"agent","ts":1000}`,
		`{"event":"span_end","span_id":"alone","ts":1001}`,
		rootEnd)
	require.Equal(t, int64(1000+2000+500), *s.Agents[0].IdleMS, "before, after, and in the second attempt; a process is not its work")
	require.Nil(t, s.Agents[1].IdleMS, "nothing is known of what it did")
}

// phaseOf folds agents that begin and end at these seconds into one phase.
func phaseOf(t *testing.T, extra string, times ...[2]float64) Phase {
	lines := []string{rootStart, `{"event":"span_start","span_id":"p","kind":"phase","name":"work","ts":1000}`}
	for i, at := range times {
		lines = append(lines,
			fmt.Sprintf(`{"event":"span_start","span_id":"a%d","parent":"p","kind":"agent","ts":%v}`, i, 1000+at[0]),
			fmt.Sprintf(`{"event":"span_end","span_id":"a%d","ts":%v}`, i, 1000+at[1]))
	}
	if extra != "" {
		lines = append(lines, extra)
	}
	s := summaryOf(t, append(lines, `{"event":"span_end","span_id":"p","ts":1010}`, rootEnd)...)
	require.Len(t, s.Phases, 1)
	return s.Phases[0]
}

func TestStragglers(t *testing.T) {
	p := phaseOf(t, "", [2]float64{0, 2}, [2]float64{0, 3}, [2]float64{0, 10})
	require.Equal(t, &Straggler{Agent: "a2", Name: "a2", WallMS: 10000, MedianMS: 3000, WaitedMS: 7000}, p.Straggler)
	require.Equal(t, &WhatIf{UnlimitedSlotsMS: 0, StragglerAtMedianMS: 7000}, p.WhatIf)
	require.Equal(t, int64(15000), p.AgentMS)
	require.Equal(t, 1.5, p.MeanParallel)
	require.Nil(t, p.Slots)

	p = phaseOf(t, "", [2]float64{0, 4}, [2]float64{4, 8}, [2]float64{8, 10})
	require.Nil(t, p.Straggler, "they take turns")
	require.Equal(t, &WhatIf{UnlimitedSlotsMS: 6000}, p.WhatIf)

	p = phaseOf(t, `{"event":"phase","name":"work-complete","max_workers":2,"wall_ms":10000,"ts":1010}`, [2]float64{0, 6}, [2]float64{0, 6}, [2]float64{6, 9}, [2]float64{5, 10})
	require.Equal(t, int64(2), *p.Slots)
	require.Equal(t, "3/2", p.atOnce(), "what it said and what it did")
	require.Equal(t, &Straggler{Agent: "a3", Name: "a3", WallMS: 5000, MedianMS: 5500, WaitedMS: 1000}, p.Straggler)
	require.Equal(t, &WhatIf{UnlimitedSlotsMS: 4000}, p.WhatIf, "the straggler is below the median already")

	p = phaseOf(t, "", [2]float64{0, 9})
	require.Nil(t, p.Straggler)
	require.Nil(t, p.WhatIf, "one agent waits for none")
}

func TestNestedAgentsAreNoStragglers(t *testing.T) {
	p := phaseOf(t, `{"event":"span_start","span_id":"sub","parent":"a0","kind":"agent","ts":1009.5}`, [2]float64{0, 5}, [2]float64{0, 6})
	require.Equal(t, "a1", p.Straggler.Agent)
}

func TestPricesOf(t *testing.T) {
	p := BuiltInPrices()
	require.NotEmpty(t, p.Date)
	for model, want := range map[string]string{
		"claude-sonnet-4-20250514": "claude-sonnet-4", "claude-sonnet-4-5-20250929": "claude-sonnet-4-5", "claude-sonnet-4-5": "claude-sonnet-4-5",
		"anthropic/claude-haiku-4-5": "claude-haiku-4-5", "gpt-4o-2024-08-06": "gpt-4o", "gpt-4o-mini-2024-07-18": "gpt-4o-mini",
		"claude-3-5-haiku-latest": "claude-3-5-haiku", "claude-opus-4@20250514": "claude-opus-4", "gpt-5": "gpt-5",
		"claude-sonnet-4-9": "", "gpt-5-turbo": "", "gpt-5.4": "", "gpt-4o-audio": "", "model": "", "": "", "/": "",
	} {
		price, ok := p.of(model)
		require.Equal(t, want, price.Model, model)
		require.Equal(t, want != "", ok, model)
	}
}

func TestEstimate(t *testing.T) {
	tenth := .1
	prices := Prices{From: "file", Models: []Price{{Model: "m", Input: 1, Output: 10, Cached: &tenth}, {Model: "n", Input: 2, Output: 3}}}
	s := Summary{Totals: Totals{TotalTokens: 8e6}, Models: []Model{
		{Name: "m", InputTokens: 2e6, CachedTokens: 1e6, OutputTokens: 1e6}, {Name: "n", InputTokens: 1e6, CachedTokens: 1e6},
		{Name: "other", InputTokens: 1}, {Name: "silent"},
	}}
	e := s.Estimate(prices)
	require.Equal(t, Estimate{USD: 1 + .1 + 10 + 2, Prices: "file", Unpriced: []string{"other"}, Covered: .5}, e)
	require.Equal(t, "$13.10 by the prices of file, for 50% of the tokens; no price for other", e.text())
	require.Zero(t, s.Totals.CostUSD, "it is no cost that was told")
	told := s
	told.Totals.CostUSD = 1
	told.Models = []Model{{Name: "gpt-5", InputTokens: 1e6}}
	require.Nil(t, told.estimated(), "what was told needs no estimate")
	told.Totals.CostUSD = 0
	require.Equal(t, 1.25, told.estimated().USD)
	require.Equal(t, "built-in", told.estimated().Prices)
}

// What is absurd in a summary is refused, not computed with.
func TestAbsurdWork(t *testing.T) {
	good := string(documentOf(t, loadSummary(t, "../testdata/runs/eigenda-planned")))
	for _, field := range []string{"agent_ms", "llm_ms", "rate_limit_wait_ms"} {
		at := strings.LastIndex(good, `"`+field+`": `)
		end := at + strings.IndexAny(good[at:], ",\n")
		_, err := ParseSummary([]byte(good[:at] + `"` + field + `": -1` + good[end:]))
		require.ErrorContains(t, err, "which no run has"[6:], field)
	}
	var old Summary
	require.NoError(t, json.Unmarshal([]byte(published), &old))
	require.Nil(t, old.Work)
	require.Contains(t, causes(workOf(&old), workOf(&old))[0].Why, "not known")
}

func TestTrend(t *testing.T) {
	runs := []Summary{
		{RunID: "a", TotalWallMS: 100, StartedAt: "2026-04-08T00:00:00Z"}, {RunID: "b", TotalWallMS: 150, Totals: Totals{CostUSD: 2}},
		{RunID: "c", TotalWallMS: 300, Phases: Phases{{Name: deepName, Depths: Phases{{Name: "2", WallMS: 9}}}}},
	}
	wall, err := TrendOf("total_wall_ms", runs)
	require.NoError(t, err)
	require.Equal(t, []float64{150, 100, 300}, []float64{wall.Median, wall.Min, wall.Max})
	require.Equal(t, 100.0, *wall.Points[2].Percent)
	require.Equal(t, "▁▃█", wall.sparkline())
	price, err := TrendOf("cost_usd", runs)
	require.NoError(t, err)
	require.Equal(t, 1, price.N)
	require.Equal(t, " ▄ ", price.sparkline())
	deep, err := TrendOf("phases.library_depth_2.wall_ms", runs)
	require.NoError(t, err)
	require.Equal(t, 9.0, *deep.Points[2].Value)
	require.Nil(t, deep.Points[0].Value)
	_, err = TrendOf("wall", runs)
	require.ErrorContains(t, err, "no measure is called")
	none, err := TrendOf("errors", nil)
	require.NoError(t, err)
	var b strings.Builder
	require.NoError(t, TrendText(&b, none, TextOptions{}))
	b.WriteString("\n")
	require.NoError(t, TrendText(&b, wall, TextOptions{Width: 60}))
	require.Equal(t, `errors  no runs

RUN  STARTED (UTC)  STATUS  VALUE  PERCENT

total_wall_ms  3 runs
▁▃█
median 150ms, from 100ms to 300ms

RUN  STARTED (UTC)        VALUE  PERCENT
a    2026-04-08 00:00:00  100ms           █████
b                         150ms   +50.0%  ████████
c                         300ms  +100.0%  ████████████████
`, b.String())
}
