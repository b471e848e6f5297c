package otlp

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// Every row of the table of kinds says what a span is that has what it asks for.
func TestKindRows(t *testing.T) {
	for _, c := range []struct {
		convention, span string
		attrs            []any
		kind, name       string
	}{
		{claudeCode, "claude_code.interaction", nil, kindAgent, "claude-code"},
		{claudeCode, "claude_code.llm_request", []any{"model", "claude-x"}, "llm", "claude-x"},
		{claudeCode, "claude_code.tool.execution", nil, "task", "tool.execution"},
		{claudeCode, "claude_code.tool", []any{"tool_name", "Bash"}, "tool", "Bash"},
		{claudeCode, "claude_code.hook", nil, "task", "hook"},
		{googleADK, "call_llm", []any{"gen_ai.system", "gcp.vertex.agent", "gen_ai.request.model", "gemini-x"}, "llm", "gemini-x"},
		{vercel, "ai.generateText.doGenerate", []any{"ai.operationId", "ai.generateText.doGenerate", "ai.model.id", "m"}, "llm", "m"},
		{vercel, "ai.streamText.doStream", []any{"ai.operationId", "ai.streamText.doStream"}, "llm", "streamText.doStream"},
		{vercel, "ai.embed.doEmbed", []any{"ai.operationId", "ai.embed.doEmbed", "ai.model.id", "m"}, "llm", "m"},
		{vercel, "ai.rerank.doRerank", []any{"ai.operationId", "ai.rerank.doRerank"}, "task", "rerank.doRerank"},
		{vercel, "ai.toolCall", []any{"ai.operationId", "ai.toolCall", "ai.toolCall.name", "grep"}, "tool", "grep"},
		{vercel, "ai.generateText", []any{"ai.operationId", "ai.generateText", "ai.telemetry.functionId", "plan"}, kindAgent, "plan"},
		{vercel, "ai.streamText", []any{"ai.operationId", "ai.streamText"}, kindAgent, "streamText"},
		{vercel, "ai.generateObject", []any{"ai.operationId", "ai.generateObject"}, kindAgent, "generateObject"},
		{vercel, "ai.streamObject", []any{"ai.operationId", "ai.streamObject"}, kindAgent, "streamObject"},
		{vercel, "ai.embedMany", []any{"ai.operationId", "ai.embedMany"}, "task", "embedMany"},
		{genAI, "invoke_agent planner", []any{"gen_ai.operation.name", "invoke_agent"}, kindAgent, "planner"},
		{genAI, "create_agent planner", []any{"gen_ai.operation.name", "create_agent"}, "task", "planner"},
		{genAI, "invoke_workflow w", []any{"gen_ai.operation.name", "invoke_workflow", "gen_ai.workflow.name", "flow"}, "task", "flow"},
		{genAI, "chat m", []any{"gen_ai.operation.name", "chat", "gen_ai.request.model", "gpt-x"}, "llm", "gpt-x"},
		{genAI, "generate_content m", []any{"gen_ai.operation.name", "generate_content"}, "llm", "m"},
		{genAI, "text_completion m", []any{"gen_ai.operation.name", "text_completion"}, "llm", "m"},
		{genAI, "completion m", []any{"gen_ai.operation.name", "completion"}, "llm", "m"},
		{genAI, "call_llm m", []any{"gen_ai.operation.name", "call_llm"}, "llm", "m"},
		{genAI, "embeddings m", []any{"gen_ai.operation.name", "embeddings"}, "llm", "m"},
		{genAI, "execute_tool", []any{"gen_ai.operation.name", "execute_tool", "gen_ai.tool.name", "search"}, "tool", "search"},
		{genAI, "agent_step 1", []any{"gen_ai.operation.name", "agent_step"}, "task", "1"},
		{openInference, "run", []any{"openinference.span.kind", "AGENT", "agent.name", "writer"}, kindAgent, "writer"},
		{openInference, "ChatOpenAI", []any{"openinference.span.kind", "LLM", "llm.model_name", "gpt-x"}, "llm", "gpt-x"},
		{openInference, "e", []any{"openinference.span.kind", "EMBEDDING", "embedding.model_name", "ada"}, "llm", "ada"},
		{openInference, "t", []any{"openinference.span.kind", "TOOL", "tool.name", "search"}, "tool", "search"},
		{openInference, "LangGraph", []any{"openinference.span.kind", "CHAIN"}, "task", "LangGraph"},
		{openLLMetry, "x.agent", []any{"traceloop.span.kind", "agent", "traceloop.entity.name", "x"}, kindAgent, "x"},
		{openLLMetry, "x.tool", []any{"traceloop.span.kind", "tool", "traceloop.entity.name", "x"}, "tool", "x"},
		{openLLMetry, "x.workflow", []any{"traceloop.span.kind", "workflow", "traceloop.entity.name", "x"}, "task", "x"},
		{openLLMetry, "cohere.rerank", []any{"llm.request.type", "rerank"}, "task", "cohere.rerank"},
		{openLLMetry, "openai.chat", []any{"llm.request.type", "chat", "gen_ai.request.model", "m"}, "llm", "m"},
		{googleADK, "execute_tool get", []any{"gen_ai.system", "gcp.vertex.agent", "gen_ai.tool.name", "get"}, "tool", "get"},
		{googleADK, "agent_run [root]", nil, kindAgent, "root"},
		{genAI, "tool", []any{"gen_ai.tool.name", "get"}, "tool", "get"},
		{genAI, "openai.chat", []any{"gen_ai.usage.input_tokens", 5}, "llm", "openai.chat"},
		{genAI, "openai.chat", []any{"gen_ai.usage.prompt_tokens", 5}, "llm", "openai.chat"},
		{openInference, "llm", []any{"llm.token_count.prompt", 5}, "llm", "llm"},
		{genAI, "openai.chat", []any{"gen_ai.response.id", "r"}, "llm", "openai.chat"},
		{genAI, "invoke_agent", []any{"gen_ai.agent.name", "planner"}, kindAgent, "planner"},
		{"", "GET", []any{"http.request.method", "GET"}, "task", "GET"},
		{"", "", nil, "task", "task"},
		{"", strings.Repeat("ü", 300), nil, "task", strings.Repeat("ü", 98) + "…"},
	} {
		a := attributesOf(kv(c.attrs...))
		row := kindOf(c.span, a)
		assert.Equal(t, c.convention, row.convention, c.span)
		assert.Equal(t, c.kind, row.kind, c.span)
		assert.Equal(t, c.name, row.nameOf(c.span, a), c.span)
		reached[row] = true
	}
	for i := range kinds {
		assert.True(t, reached[&kinds[i]], "no case reaches %+v", kinds[i])
	}
}

var reached = make(map[*kindRow]bool)

// Two vocabularies on one span: precedence.
func TestKindPrecedence(t *testing.T) {
	for want, attrs := range map[string][]any{
		kindAgent: {"gen_ai.operation.name", "invoke_agent", "openinference.span.kind", "CHAIN", "traceloop.span.kind", "task"},
		"tool":    {"openinference.span.kind", "TOOL", "traceloop.span.kind", "workflow", "gen_ai.usage.input_tokens", 5},
		"llm":     {"ai.operationId", "ai.generateText.doGenerate", "gen_ai.operation.name", "invoke_agent"},
	} {
		assert.Equal(t, want, kindOf("x", attributesOf(kv(attrs...))).kind, "%v", attrs)
	}
	assert.Equal(t, "llm", kindOf("claude_code.llm_request", attributesOf(kv("gen_ai.operation.name", "execute_tool"))).kind)
}

func TestUsageRows(t *testing.T) {
	for i, row := range usageRows {
		a := attributesOf(kv(row.key, 7))
		c, ok := usageOf(a)
		switch row.measure {
		case input:
			assert.Equal(t, telemetry.Counters{Tokens: telemetry.N(7), Input: telemetry.N(7)}, c, row.key)
		case output:
			assert.Equal(t, telemetry.Counters{Tokens: telemetry.N(7), Output: telemetry.N(7)}, c, row.key)
		case cacheRead:
			assert.Equal(t, telemetry.N(7), c.Cached, row.key)
			assert.Equal(t, telemetry.N(7), c.Input, row.key)
		case cacheWrite:
			assert.Equal(t, telemetry.N(7), c.Input, row.key)
		case total:
			assert.Equal(t, telemetry.Counters{Tokens: telemetry.N(7)}, c, row.key)
		case cost:
			assert.Equal(t, telemetry.Counters{CostUSD: telemetry.F(7)}, c, row.key)
		}
		assert.True(t, ok, row.key)
		// The first row of a measure wins over the later ones.
		for _, later := range usageRows[i+1:] {
			if later.measure == row.measure && row.measure == output {
				c, _ := usageOf(attributesOf(kv(later.key, 9, row.key, 7)))
				assert.Equal(t, telemetry.N(7), c.Output, "%s over %s", row.key, later.key)
			}
		}
	}
}

func TestUsage(t *testing.T) {
	for name, c := range map[string]struct {
		attrs                         []any
		tokens, input, output, cached int64
	}{
		"plain":                       {[]any{"gen_ai.usage.input_tokens", 100, "gen_ai.usage.output_tokens", 20}, 120, 100, 20, 0},
		"input includes the cache":    {[]any{"gen_ai.usage.input_tokens", 100, "gen_ai.usage.output_tokens", 20, "gen_ai.usage.cache_read.input_tokens", 80}, 120, 100, 20, 80},
		"Anthropic's own count":       {[]any{"input_tokens", 2, "output_tokens", 1200, "cache_read_tokens", 84562, "cache_creation_tokens", 7096}, 2 + 84562 + 7096 + 1200, 2 + 84562 + 7096, 1200, 84562},
		"the same, cache is smaller":  {[]any{"input_tokens", 100, "output_tokens", 1, "cache_read_tokens", 10}, 111, 110, 1, 10},
		"the cache cannot be larger":  {[]any{"gen_ai.usage.input_tokens", 10, "gen_ai.usage.output_tokens", 1, "gen_ai.usage.cache_read_input_tokens", 50}, 61, 60, 1, 50},
		"the total tells (Bedrock)":   {[]any{"gen_ai.usage.input_tokens", 100, "gen_ai.usage.output_tokens", 10, "gen_ai.usage.cache_read_input_tokens", 40, "gen_ai.usage.total_tokens", 150}, 150, 140, 10, 40},
		"thoughts are in the total":   {[]any{"input_token_count", 100, "output_token_count", 10, "total_token_count", 150}, 150, 100, 10, 0},
		"a total that is too small":   {[]any{"gen_ai.usage.input_tokens", 100, "gen_ai.usage.output_tokens", 10, "gen_ai.usage.total_tokens", 50}, 110, 100, 10, 0},
		"numbers as strings":          {[]any{"input_tokens", "5", "output_tokens", "6"}, 11, 5, 6, 0},
		"doubles":                     {[]any{"llm.token_count.prompt", 5.0, "llm.token_count.completion", 6.0}, 11, 5, 6, 0},
		"both pairs are counted once": {[]any{"gen_ai.usage.input_tokens", 5, "gen_ai.usage.prompt_tokens", 5, "ai.usage.inputTokens", 5, "gen_ai.usage.output_tokens", 1}, 6, 5, 1, 0},
		"negative is nothing":         {[]any{"gen_ai.usage.input_tokens", -5, "gen_ai.usage.output_tokens", 1}, 1, 0, 1, 0},
	} {
		got, ok := usageOf(attributesOf(kv(c.attrs...)))
		assert.True(t, ok, name)
		assert.Equal(t, [4]int64{c.tokens, c.input, c.output, c.cached}, [4]int64{got.Tokens.N, got.Input.N, got.Output.N, got.Cached.N}, name)
	}
	_, ok := usageOf(attributesOf(kv("gen_ai.usage.input_tokens", "many", "gen_ai.usage.output_tokens", 1e300)))
	assert.False(t, ok)
}

func TestCallID(t *testing.T) {
	for want, attrs := range map[string][]any{
		"msg_01AbCdEf": {"request_id", "req_01AbCdEf", "gen_ai.response.id", "msg_01AbCdEf"},
		"req_01AbCdEf": {"request_id", "req_01AbCdEf", "gen_ai.response.id", "id-0"},
		"":             {"gen_ai.response.id", "0"},
	} {
		assert.Equal(t, want, callID(attributesOf(kv(attrs...))))
	}
}

func TestAttrRows(t *testing.T) {
	for _, row := range attrRows {
		for _, key := range row.keys {
			assert.JSONEq(t, `{"`+row.name+`":"v"}`, string(attrsOf(attributesOf(kv(key, "v")), "")), key)
		}
	}
	// Content is not among them, whatever its size, and neither is anything long.
	assert.Nil(t, attrsOf(attributesOf(kv(
		"gen_ai.input.messages", "[]", "gen_ai.prompt", "p", "input.value", "v", "ai.prompt", "p", "ai.toolCall.args", "{}",
		"llm.input_messages.0.message.content", "c", "traceloop.entity.input", "i", "gcp.vertex.agent.llm_request", "{}", "user_prompt", "u",
		"gen_ai.request.model", strings.Repeat("x", 201),
	)), ""))
	assert.JSONEq(t, `{"finish_reason":"stop","http_status":200,"service":"svc"}`, string(attrsOf(attributesOf(kv(
		"gen_ai.response.finish_reasons", []string{"stop", "x"}, "http.status_code", 200)), "svc")))
	assert.Empty(t, serviceOf(attributesOf(kv("service.name", "unknown_service:node"))))
	assert.Nil(t, attrsOf(attributesOf([]*common.KeyValue{{Key: "model"}, {Key: "ttft_ms", Value: &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: nan()}}}}), ""))
}

func nan() float64 { var zero float64; return zero / zero }

func TestSpanEvents(t *testing.T) {
	r, j := newReceiver()
	bad := sp(2, 1, "chat m", 2, 5, "gen_ai.operation.name", "chat", "gen_ai.request.model", "m", "gen_ai.response.id", "resp-0001", "gen_ai.usage.input_tokens", 10)
	bad.Status = &trace.Status{Code: trace.Status_STATUS_CODE_ERROR}
	bad.Events = []*trace.Span_Event{{Name: "exception", Attributes: kv("exception.message", "no more "+strings.Repeat("x", 999), "exception.stacktrace", "secret")}, {Name: "note"}}
	given(r, tracesData(bad, sp(1, 9, "invoke_agent a", 1, 6, "gen_ai.operation.name", "invoke_agent")))
	require.Len(t, j.all(), 4)
	assert.Equal(t, telemetry.Event{
		Type: "span_start", Source: "otlp", SpanID: sid(1), Parent: sid(9), Name: "a", Kind: "agent", TS: telemetry.F(1001),
		Attrs: j.all()[0].Attrs,
	}, j.all()[0], "parents go first")
	assert.JSONEq(t, `{"operation":"invoke_agent","service":"svc"}`, string(j.all()[0].Attrs))
	end := j.of(sid(2))[1]
	assert.Equal(t, "error", end.Status)
	assert.True(t, strings.HasPrefix(end.Error, "no more xxx") && len(end.Error) <= maxMessage)
	assert.Equal(t, telemetry.F(3000), end.DurationMS)
	assert.Equal(t, telemetry.F(1005), end.TS)
	assert.Equal(t, "resp-0001", j.of(sid(2))[0].CallID)
	assert.NotContains(t, string(end.Line()), "secret")

	// The same once more is not a second attempt.
	given(r, tracesData(bad))
	assert.Len(t, j.all(), 4)
}

func TestErrorText(t *testing.T) {
	for want, change := range map[string]func(*trace.Span){
		"told":    func(s *trace.Span) { s.Status.Message = "told" },
		"timeout": func(s *trace.Span) { s.Attributes = kv("error.type", "timeout") },
		"failed":  func(*trace.Span) {},
	} {
		r, j := newReceiver()
		s := sp(1, 0, "x", 1, 2)
		s.Status = &trace.Status{Code: trace.Status_STATUS_CODE_ERROR}
		change(s)
		given(r, tracesData(s))
		assert.Equal(t, want, j.of(sid(1))[1].Error)
	}
}

func TestOddTimes(t *testing.T) {
	r, j := newReceiver()
	backwards := sp(1, 0, "backwards", 5, 2)
	never := sp(2, 0, "no start", 0, 7)
	never.StartTimeUnixNano = 0
	open := sp(3, 0, "open", 5, 0)
	open.EndTimeUnixNano = 0
	far := sp(4, 0, "far", 1, 2)
	far.StartTimeUnixNano, far.EndTimeUnixNano = 1<<63, 1<<64-1
	self := sp(5, 5, "its own parent", 1, 2)
	given(r, tracesData(backwards, never, open, far, self))
	assert.Equal(t, telemetry.F(0), j.of(sid(1))[1].DurationMS)
	assert.Equal(t, telemetry.F(1007), j.of(sid(2))[0].TS)
	assert.False(t, j.of(sid(2))[1].DurationMS.OK)
	assert.Len(t, j.of(sid(3)), 1)
	assert.False(t, j.of(sid(4))[0].TS.OK || j.of(sid(4))[1].DurationMS.OK)
	assert.Empty(t, j.of(sid(5))[0].Parent)
	s := j.fold(t)
	assert.Equal(t, 5, s.Totals().Spans)

	// The open one ends later.
	given(r, tracesData(sp(3, 0, "open", 5, 9)))
	span, _ := j.fold(t).Span(sid(3))
	assert.Equal(t, 1, span.Attempts)
}

// Usage is taken from the leaves: in whatever order and batches spans come, no
// token counts twice.
func TestTokensOfLeaves(t *testing.T) {
	chat := func(id, parent byte, in int) *trace.Span {
		return sp(id, parent, "chat m", int(id), int(id)+2, "gen_ai.operation.name", "chat", "gen_ai.usage.input_tokens", in, "gen_ai.usage.output_tokens", 10)
	}
	agent := sp(1, 0, "invoke_agent a", 1, 20, "gen_ai.operation.name", "invoke_agent", "gen_ai.usage.input_tokens", 300, "gen_ai.usage.output_tokens", 20)
	wrapper := sp(2, 1, "ChatOpenAI", 2, 10, "openinference.span.kind", "LLM", "llm.token_count.prompt", 100, "llm.token_count.completion", 10)
	task := sp(3, 2, "POST", 3, 9)
	spans := []*trace.Span{chat(4, 3, 100), task, wrapper, chat(5, 1, 200), agent}
	for _, batches := range [][][]*trace.Span{
		{spans},
		{{spans[4], spans[3], spans[2], spans[1], spans[0]}},
		{{spans[0]}, {spans[1]}, {spans[2]}, {spans[3]}, {spans[4]}},
		{{spans[0], spans[1]}, {spans[3], spans[2], spans[4]}},
	} {
		r, j := newReceiver()
		for _, batch := range batches {
			given(r, tracesData(batch...))
		}
		s := j.fold(t)
		assert.EqualValues(t, 320, s.Totals().Tokens)
		assert.Equal(t, 2, s.Totals().LLMCalls)
		assert.Equal(t, map[string]int64{"otlp": 320}, s.Totals().TokenSources)
		a, _ := s.Span(sid(1))
		assert.EqualValues(t, 320, a.Tokens)
		w, _ := s.Span(sid(2))
		assert.Equal(t, "task", w.Kind)
	}
	// Children that come after their parent: the fold takes the larger.
	r, j := newReceiver()
	for i := len(spans) - 1; i >= 0; i-- {
		given(r, tracesData(spans[i]))
	}
	assert.EqualValues(t, 320, j.fold(t).Totals().Tokens)

	// An agent alone says itself what it used.
	r, j = newReceiver()
	given(r, tracesData(agent, sp(4, 1, "chat m", 3, 4, "gen_ai.operation.name", "chat")))
	assert.EqualValues(t, 320, j.fold(t).Totals().Tokens)
	given(r, tracesData(sp(7, 0, "w", 1, 2, "traceloop.span.kind", "workflow", "gen_ai.usage.input_tokens", 1000)))
	assert.EqualValues(t, 320, j.fold(t).Totals().Tokens, "a workflow's usage is the sum of others'")

	// A call whose inner one has no usage keeps its own.
	r, j = newReceiver()
	given(r, tracesData(wrapper, sp(4, 2, "chat m", 3, 4, "gen_ai.operation.name", "chat")))
	assert.EqualValues(t, 110, j.fold(t).Totals().Tokens)
}

// One call that two instrumentations tell of.
func TestOneCallOnce(t *testing.T) {
	r, j := newReceiver()
	attrs := []any{"gen_ai.operation.name", "chat", "gen_ai.response.id", "chatcmpl-1", "gen_ai.usage.input_tokens", 100}
	given(r, tracesData(sp(1, 0, "invoke_agent a", 1, 9, "gen_ai.operation.name", "invoke_agent"), sp(2, 1, "chat", 2, 3, attrs...), sp(3, 1, "openai.chat", 2, 3, attrs...)))
	assert.EqualValues(t, 100, j.fold(t).Totals().Tokens)
	assert.Equal(t, 1, j.fold(t).Totals().LLMCalls)
}

func TestParents(t *testing.T) {
	r, j := newReceiver()
	ofRoot := sp(1, 0, "picked up TRACEPARENT", 1, 2)
	ofRoot.ParentSpanId = []byte{0, 0, 0, 0, 0, 0, 0, 0xaa}
	given(r, tracesData(ofRoot, sp(2, 0, "did not", 1, 2), sp(3, 99, "its parent never comes", 1, 2), sp(4, 1, "child", 1, 2)))
	s := j.fold(t)
	for id, parent := range map[byte]string{1: rootID, 2: rootID, 3: rootID, 4: sid(1)} {
		span, ok := s.Span(sid(id))
		require.True(t, ok)
		assert.Equal(t, parent, span.Parent, span.Name)
	}
	assert.Equal(t, rootID, j.of(sid(1))[0].Parent)
}

// A run that another obsrun exports keeps what only obsrun tells apart.
func TestSpansOfObsrun(t *testing.T) {
	r, j := newReceiver()
	given(r, tracesData(
		sp(1, 0, "phase", 1, 9, "obsrun.kind", "phase", "obsrun.phase", "library_depth_0"),
		sp(2, 1, "invoke_agent encoding", 1, 9, "gen_ai.operation.name", "invoke_agent", "gen_ai.agent.name", "encoding",
			"obsrun.kind", "library-analysis", "obsrun.component", "enc", "obsrun.phase", "library_depth_0", "gen_ai.usage.input_tokens", 10, "gen_ai.usage.output_tokens", 1)))
	span, ok := j.fold(t).Span(sid(2))
	require.True(t, ok)
	assert.Equal(t, []any{"library-analysis", "enc", "phase", "encoding", int64(11)}, []any{span.Kind, span.Component, span.Phase, span.Name, span.Tokens})
}

// Logfire sends a pending span when a span starts.
func TestPendingSpans(t *testing.T) {
	pending := func(id, real byte, parent, name string) *trace.Span {
		s := sp(id, real, name, 3, 3, "logfire.span_type", "pending_span", "logfire.pending_parent_id", parent, "gen_ai.operation.name", "invoke_agent", "gen_ai.agent.name", "a")
		return s
	}
	r, j := newReceiver()
	given(r, tracesData(pending(11, 1, "0000000000000000", "invoke_agent a (pending)"), pending(12, 2, sid(1), "b")))
	s := j.fold(t)
	one, _ := s.Span(sid(1))
	two, _ := s.Span(sid(2))
	assert.Equal(t, []string{"running", "running", "a"}, []string{one.State, two.State, one.Name})
	assert.Equal(t, sid(1), two.Parent)
	assert.Equal(t, 2, s.Totals().Spans, "the pending span itself is none")

	given(r, tracesData(sp(1, 0, "invoke_agent a", 3, 9, "gen_ai.operation.name", "invoke_agent", "logfire.span_type", "span")))
	one, _ = j.fold(t).Span(sid(1))
	assert.Equal(t, "done", one.State)
	assert.Equal(t, 1, one.Attempts)
	given(r, tracesData(pending(11, 1, "0000000000000000", "late"), pending(13, 0, "", "of nothing")))
	one, _ = j.fold(t).Span(sid(1))
	assert.Equal(t, 1, one.Attempts)

	n := len(j.all())
	given(r, tracesData(sp(21, 1, "beware", 4, 4, "logfire.span_type", "log", "logfire.level_num", 13, "logfire.msg", "content", "logfire.msg_template", "beware {x}"),
		sp(22, 1, "by the way", 4, 4, "logfire.span_type", "log", "logfire.level_num", 9)))
	require.Len(t, j.all(), n+1)
	assert.Equal(t, "beware {x}", j.all()[n].Message)
	assert.Equal(t, sid(1), j.all()[n].SpanID)
}

// Sorted batches, long chains and many spans cost little.
func TestLongChain(t *testing.T) {
	var spans []*trace.Span
	const n = 20_000
	for i := 1; i <= n; i++ {
		s := sp(0, 0, "step", 1, 2)
		s.SpanId = []byte{1, 0, 0, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)}
		if i > 1 {
			s.ParentSpanId = []byte{1, 0, 0, 0, 0, byte((i - 1) >> 16), byte((i - 1) >> 8), byte(i - 1)}
		}
		if i%2 == 0 {
			s.Attributes = kv("gen_ai.operation.name", "chat", "gen_ai.usage.input_tokens", 1)
		}
		spans = append(spans, s)
	}
	r, j := newReceiver()
	given(r, tracesData(spans...))
	assert.Len(t, j.all(), 2*n)
}

func TestRecent(t *testing.T) {
	r := recent[int, int]{limit: 4}
	for i := range 100 {
		r.set(i, i)
	}
	assert.LessOrEqual(t, len(r.now)+len(r.old), 8)
	v, ok := r.get(99)
	assert.True(t, ok)
	assert.Equal(t, 99, v)
	assert.True(t, r.has(96))
	assert.False(t, r.has(1))
}
