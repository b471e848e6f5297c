package export

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
)

// attributesOf are a span's, by key.
func attributesOf(span *Span) map[string]any {
	all := make(map[string]any)
	for _, kv := range span.Attributes {
		all[kv.Key] = kv.Value
	}
	return all
}

func TestSpanID(t *testing.T) {
	for id, want := range map[string]string{
		"00f067aa0ba902b7":   "00f067aa0ba902b7",
		"lib-encoding":       "900b7d45630b9e8f", // printf lib-encoding | sha256sum
		"00F067AA0BA902B7":   spanID("00F067AA0BA902B7").String(),
		"0000000000000000":   spanID("0000000000000000").String(),
		"00f067aa0ba902b700": spanID("00f067aa0ba902b700").String(),
		"":                   spanID("").String(),
	} {
		got := spanID(id)
		assert.Equal(t, want, got.String(), id)
		assert.NotZero(t, got, id)
	}
	assert.NotEqual(t, spanID("00f067aa0ba902b7"), spanID("00F067AA0BA902B7"))
	assert.NotEqual(t, "0000000000000000", spanID("0000000000000000").String())
}

func TestTrace(t *testing.T) {
	tr := NewTrace("run-1", "1.2", map[string]string{"service.name": "pipeline", "obsrun.run_id": "outer", "team": "a"})
	span := tr.Phase(run.Phase{Name: "discovery", State: run.Done, StartMS: 1000, EndMS: 2000, WallMS: 900}, "root")
	assert.Equal(t, "4e65d3fbe8ad6535681b021b30785b12", span.Trace.String(), "the start of SHA-256(run-1)")
	assert.Equal(t, []any{"discovery", spanID("root"), int64(1000), int64(2000)}, []any{span.Name, span.Parent, span.StartMS, span.EndMS})
	assert.ElementsMatch(t, []Attribute{
		{"service.name", "pipeline"}, {"service.version", "1.2"}, {"obsrun.run_id", "run-1"}, {"team", "a"},
	}, tr.resource)
	assert.Equal(t, int64(900), attributesOf(span)["obsrun.duration_ms"])
}

func TestSpans(t *testing.T) {
	type want struct {
		name   string
		kind   int
		status Status
		attrs  map[string]any // nil: not there
	}
	internal, client := KindInternal, KindClient
	ok := Status{Code: StatusOK}
	for name, c := range map[string]struct {
		span run.Span
		want
	}{
		"agent": {
			run.Span{Name: "encoding", Component: "encoding", Kind: "library-analysis", IsAgent: true, Phase: "library_depth_0", Source: "socket", State: run.Done,
				Message: "reading", Usage: run.Usage{Tokens: 110, Input: 100, Output: 10, Cached: 40, ToolUses: 3, CostUSD: 0.5}},
			want{"invoke_agent encoding", internal, ok, map[string]any{
				"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "encoding",
				"gen_ai.usage.input_tokens": int64(100), "gen_ai.usage.output_tokens": int64(10), "gen_ai.usage.cache_read.input_tokens": int64(40),
				"obsrun.tokens": int64(110), "obsrun.tool_uses": int64(3), "obsrun.cost_usd": 0.5, "obsrun.span_id": "s", "obsrun.attempt": int64(1), "obsrun.attempts": nil,
				"obsrun.component": "encoding", "obsrun.kind": "library-analysis", "obsrun.phase": "library_depth_0", "obsrun.state": "done", "obsrun.source": "socket", "obsrun.message": "reading",
				"error.type": nil,
			}},
		},
		"tokens of which no more is known": {
			run.Span{Name: "a", Kind: "agent", IsAgent: true, State: run.Done, Usage: run.Usage{Tokens: 42}},
			want{"invoke_agent a", internal, ok, map[string]any{"obsrun.tokens": int64(42), "gen_ai.usage.input_tokens": nil}},
		},
		"LLM call": {
			run.Span{Name: "m-1", Kind: "llm", State: run.Done, Usage: run.Usage{Tokens: 11, Input: 10, Output: 1},
				Attrs: json.RawMessage(`{"model":"m-1","provider":"openai","operation":"text_completion","finish_reason":"stop","server":"api.openai.com","ttft_ms":12.5,"retries":2,"stream":true,"deep":{"a":1},"list":[1],"none":null}`)},
			want{"text_completion m-1", client, ok, map[string]any{
				"gen_ai.operation.name": "text_completion", "gen_ai.request.model": "m-1", "gen_ai.provider.name": "openai", "gen_ai.response.finish_reasons": []string{"stop"},
				"server.address": "api.openai.com", "obsrun.attr.ttft_ms": 12.5, "obsrun.attr.retries": int64(2), "obsrun.attr.stream": true,
				"obsrun.attr.deep": nil, "obsrun.attr.list": nil, "obsrun.attr.none": nil, "obsrun.attr.operation": nil, "obsrun.attr.model": nil,
			}},
		},
		"LLM call of which nothing is known": {
			run.Span{Name: "x", Kind: "llm", State: run.Failed, Error: "429", Attrs: json.RawMessage(`{"operation":"ai.generateText.doGenerate","error_type":"rate_limit"}`)},
			want{"chat", client, Status{Code: StatusError, Message: "429"}, map[string]any{"gen_ai.operation.name": "chat", "error.type": "rate_limit"}},
		},
		"tool": {
			run.Span{Name: "Read", Kind: "tool", State: run.Failed, Error: "no such file", Attrs: json.RawMessage(`{"tool_call_id":"c1"}`)},
			want{"execute_tool Read", internal, Status{Code: StatusError, Message: "no such file"}, map[string]any{
				"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "Read", "gen_ai.tool.call.id": "c1", "error.type": "_OTHER",
			}},
		},
		"task": {
			run.Span{Name: "GET", Kind: "task", State: run.Cancelled, Usage: run.Usage{Tokens: 5, Input: 5}, Attrs: json.RawMessage(`not JSON`)},
			want{"GET", internal, Status{}, map[string]any{"gen_ai.operation.name": nil, "gen_ai.usage.input_tokens": nil, "obsrun.tokens": int64(5)}},
		},
		"lost": {
			run.Span{Name: "a", Kind: "agent", IsAgent: true, State: run.Lost},
			want{"invoke_agent a", internal, Status{Code: StatusError, Message: "lost: it was still open when the run ended"}, map[string]any{"obsrun.state": "lost"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.span.ID, c.span.Parent, c.span.StartMS, c.span.EndMS, c.span.DurationMS, c.span.Attempts = "s", "p", 1000, 3000, 2000, 1
			span := NewTrace("run-1", "1", nil).Span(c.span, c.span.Usage, nil)
			assert.Equal(t, c.name, span.Name)
			assert.Equal(t, c.kind, span.Kind)
			assert.Equal(t, c.status, span.Status)
			assert.Equal(t, []any{spanID("s"), spanID("p")}, []any{span.ID, span.Parent})
			assert.Equal(t, []any{int64(1000), int64(3000)}, []any{span.StartMS, span.EndMS})
			got := attributesOf(span)
			for key, value := range c.attrs {
				assert.Equal(t, value, got[key], key)
			}
			assert.NotContains(t, got, "obsrun.duration_ms")
		})
	}
}

func TestSpanTimes(t *testing.T) {
	tr := NewTrace("run-1", "1", nil)
	ms := func(span *Span) []int64 {
		return []int64{span.StartMS, span.EndMS}
	}
	for name, c := range map[string]struct {
		span run.Span
		want []int64
	}{
		"as told":               {run.Span{StartMS: 10, EndMS: 30}, []int64{10, 30}},
		"ends before it begins": {run.Span{StartMS: 30, EndMS: 10}, []int64{30, 30}},
		"never began":           {run.Span{QueuedMS: 20, EndMS: 90, State: run.Lost}, []int64{20, 20}},
		"nothing is known":      {run.Span{EndMS: 90, State: run.Lost}, []int64{90, 90}},
	} {
		assert.Equal(t, c.want, ms(tr.Span(c.span, run.Usage{}, nil)), name)
	}

	span := tr.Span(run.Span{StartMS: 100, EndMS: 900, QueuedMS: 50, DurationMS: 700, Attempts: 2}, run.Usage{}, []run.Stall{{TimeMS: 20}, {TimeMS: 300, IdleMS: 200, ResumedMS: 400}, {TimeMS: 500}})
	var events []any
	for _, e := range span.Events {
		events = append(events, e.Name, e.TimeMS)
	}
	assert.Equal(t, []any{"queued", int64(50), "stalled", int64(300), "resumed", int64(400), "stalled", int64(500)}, events)
	assert.Equal(t, int64(700), attributesOf(span)["obsrun.duration_ms"], "as it was told")
}

func TestAttempts(t *testing.T) {
	tr := NewTrace("run-1", "1", nil)
	v := run.Span{ID: "s", Parent: "p", Name: "a", Kind: "agent", IsAgent: true, State: run.Done, StartMS: 50, EndMS: 60, Attempts: 3,
		Earlier: []run.Interval{{StartMS: 10, EndMS: 20, State: run.Failed}, {StartMS: 30, EndMS: 40, State: run.Cancelled}}, Error: "of the last"}
	spans := []*Span{tr.Attempt(v, 1), tr.Attempt(v, 2), tr.Span(v, run.Usage{}, nil)}
	ids := make(map[SpanID]bool)
	for i, span := range spans {
		ids[span.ID] = true
		assert.Equal(t, int64(i+1), attributesOf(span)["obsrun.attempt"])
		assert.Equal(t, "invoke_agent a", span.Name)
		if i == 0 {
			assert.Empty(t, span.Links)
			continue
		}
		require.Len(t, span.Links, 1)
		assert.Equal(t, spanID("s"), span.Links[0].ID)
	}
	assert.Len(t, ids, 3)
	assert.True(t, ids[spanID("s")])
	assert.Equal(t, []int{StatusError, StatusUnset, StatusOK}, []int{spans[0].Status.Code, spans[1].Status.Code, spans[2].Status.Code})
	assert.Equal(t, "error", attributesOf(spans[0])["obsrun.state"])
	assert.Equal(t, int64(40), spans[1].EndMS)
}

func TestRoot(t *testing.T) {
	exit := 2
	tr := NewTrace("run-1", "1", nil)
	v := run.Span{ID: "00f067aa0ba902b7", Name: "run-1", Kind: "run"}
	info := run.Info{RunID: "run-1", Status: run.StatusError, StartMS: 1000, EndMS: 2000, ExitCode: &exit, Command: []string{"./analyze", "x"}, SourceRepo: "https://example.com/r", SourceCommit: "61019b4", Host: "h"}
	span := tr.Root(v, info, run.Totals{AgentsSpawned: 3, Lost: 1, Usage: run.Usage{Tokens: 9}})
	assert.Zero(t, span.Parent)
	assert.Equal(t, Status{Code: StatusError, Message: "exit status 2"}, span.Status)
	got := attributesOf(span)
	for key, want := range map[string]any{
		"process.exit.code": int64(2), "obsrun.command": []string{"./analyze", "x"}, "vcs.repository.url.full": "https://example.com/r",
		"vcs.ref.head.revision": "61019b4", "host.name": "h", "obsrun.agents": int64(3), "obsrun.lost": int64(1), "obsrun.tokens": int64(9), "obsrun.status": "error", "obsrun.errors": nil,
	} {
		assert.Equal(t, want, got[key], key)
	}
	info.Status = run.StatusInterrupted
	assert.Equal(t, "interrupted", tr.Root(v, info, run.Totals{}).Status.Message)
	info.Status = run.StatusOK
	assert.Equal(t, StatusOK, tr.Root(v, info, run.Totals{}).Status.Code)
	info.Status, info.Error = run.StatusError, "exec: not found"
	assert.Equal(t, "exec: not found", tr.Root(v, info, run.Totals{}).Status.Message)
}
