package otlp

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// lr makes a Claude Code log record at second at after 1000, on a span if that
// is not 0.
func lr(event string, at int, span byte, attrs ...any) *logs.LogRecord {
	r := &logs.LogRecord{
		TimeUnixNano: uint64(1000+at) * second, SeverityNumber: 9, Body: anyValue("claude_code." + event),
		Attributes: kv(append(attrs, "event.name", event, "session.id", "sess-1")...),
	}
	if span != 0 {
		r.TraceId = make([]byte, 16)
		r.TraceId[0] = 7
		r.SpanId = []byte{0, 0, 0, 0, 0, 0, 0, span}
	}
	return r
}

func TestLogRows(t *testing.T) {
	for event, want := range map[string]meaning{
		"claude_code.api_request": call, "claude_code.api_error": failedCall, "claude_code.tool_result": toolUse,
		"claude_code.subagent_completed": agentRun, "claude_code.api_retries_exhausted": problem, "claude_code.api_refusal": problem,
		"claude_code.internal_error": problem, "claude_code.mcp_server_connection": problem, "claude_code.compaction": problem,
		"claude_code.user_prompt": nothing, "claude_code.assistant_response": nothing, "claude_code.api_request_body": nothing,
		"gemini_cli.api_response": call, "gemini_cli.api_error": failedCall, "gemini_cli.tool_call": toolUse, "gemini_cli.user_prompt": nothing,
		"gen_ai.user.message": nothing,
	} {
		row := logRowOf(event)
		require.NotNil(t, row, event)
		assert.Equal(t, want, row.meaning, event)
	}
	assert.Nil(t, logRowOf("other"))
}

// Without traces the log records are all there is.
func TestClaudeCodeByLogsAlone(t *testing.T) {
	r, j := newReceiver()
	data := logsData(
		lr("user_prompt", 0, 0, "prompt", "SECRET"),
		lr("api_request", 3, 0, "model", "claude-x", "input_tokens", "10", "output_tokens", "5", "cache_read_tokens", "100", "cache_creation_tokens", "20",
			"cost_usd", "0.25", "duration_ms", "2000", "request_id", "req_00000001"),
		lr("tool_result", 5, 0, "tool_name", "Bash", "success", "false", "error_type", "ShellError", "duration_ms", "1000", "tool_use_id", "toolu_1", "tool_input", "SECRET"),
		lr("subagent_completed", 9, 0, "agent_type", "Explore", "total_tokens", 9999, "total_tool_uses", 3, "duration_ms", 4000, "model", "claude-x"),
		lr("api_error", 9, 0, "model", "claude-x", "error", "Overloaded", "status_code", 529, "duration_ms", "500"),
		lr("mcp_server_connection", 9, 0, "status", "failed", "error_code", "ECONNREFUSED"),
		lr("mcp_server_connection", 9, 0, "status", "connected"),
	)
	given(r, data)
	given(r, data) // sent again
	r.Close(context.Background())
	s := j.fold(t)
	var seen []string
	for span := range s.Spans() {
		seen = append(seen, fmt.Sprintf("%s %s %s %d-%d %d", span.Kind, span.Name, span.State, span.StartMS, span.EndMS, span.Tokens))
	}
	assert.Equal(t, []string{
		"llm claude-x done 1001000-1003000 135", "tool Bash error 1004000-1005000 0", "agent Explore done 1005000-1009000 0", "llm claude-x error 1008500-1009000 0",
	}, seen)
	totals := s.Totals()
	assert.EqualValues(t, 135, totals.Tokens)
	assert.EqualValues(t, 130, totals.Input)
	assert.EqualValues(t, 100, totals.Cached)
	assert.Equal(t, 0.25, totals.CostUSD)
	var messages []string
	for _, entry := range s.Logs() {
		messages = append(messages, entry.Level+" "+entry.Message)
	}
	assert.Equal(t, []string{"error API request failed (529): Overloaded", "error MCP server did not connect: ECONNREFUSED"}, messages)
	for _, e := range j.all() {
		assert.NotContains(t, string(e.Line()), "SECRET")
	}
}

// An interaction with a subagent, spans and log records both.
func claudeSpans() []*trace.Span {
	execution := sp(6, 5, "claude_code.tool.execution", 14, 15, "success", false, "error", "ShellError")
	execution.Status = &trace.Status{Code: trace.Status_STATUS_CODE_ERROR, Message: "ShellError"}
	return []*trace.Span{
		sp(2, 1, "claude_code.llm_request", 1, 3, "model", "claude-x", "input_tokens", 10, "output_tokens", 5, "request_id", "req_00000002", "gen_ai.response.id", "req_00000002"),
		sp(4, 8, "claude_code.llm_request", 6, 12, "model", "claude-y", "input_tokens", 20, "output_tokens", 5, "request_id", "req_00000004", "agent_id", "a-17", "query_source", "agent:builtin:Explore"),
		execution,
		sp(5, 8, "claude_code.tool", 13, 15, "tool_name", "Bash", "tool_use_id", "toolu_5", "agent_id", "a-17"),
		sp(8, 3, "claude_code.tool.execution", 5, 18, "success", true),
		sp(3, 1, "claude_code.tool", 4, 19, "tool_name", "Task", "tool_use_id", "toolu_3"),
		sp(1, 0xaa, "claude_code.interaction", 0, 20),
	}
}

func TestClaudeCodeSubagents(t *testing.T) {
	spans := claudeSpans()
	apiLogs := logsData(
		lr("api_request", 3, 1, "model", "claude-x", "input_tokens", "10", "output_tokens", "5", "cost_usd", 0.5, "request_id", "req_00000002"),
		lr("api_request", 12, 3, "model", "claude-y", "input_tokens", "20", "output_tokens", "5", "cost_usd", 0.25, "request_id", "req_00000004"),
		lr("tool_result", 15, 3, "tool_name", "Bash", "success", "false", "error_type", "ShellError", "tool_use_id", "toolu_5"),
	)
	completed := logsData(lr("subagent_completed", 18, 8, "agent_type", "Explore", "total_tool_uses", 1, "total_tokens", 25))
	for name, feed := range map[string]func(r *Receiver){
		"one batch":       func(r *Receiver) { given(r, tracesData(spans...)); given(r, apiLogs); given(r, completed) },
		"logs first":      func(r *Receiver) { given(r, apiLogs); given(r, completed); given(r, tracesData(spans...)) },
		"without logs":    func(r *Receiver) { given(r, tracesData(spans...)) },
		"one at a time":   func(r *Receiver) { each(r, spans); given(r, apiLogs) },
		"logs in between": func(r *Receiver) { each(r, spans[:3]); given(r, apiLogs); each(r, spans[3:]) },
	} {
		t.Run(name, func(t *testing.T) {
			r, j := newReceiver()
			feed(r)
			s := j.fold(t)
			agent, ok := s.Span(idOf("claude code agent a-17"))
			require.True(t, ok)
			assert.Equal(t, []any{"Explore", "agent", "done", sid(8)}, []any{agent.Name, agent.Kind, agent.State, agent.Parent})
			assert.EqualValues(t, 25, agent.Tokens)
			inner, _ := s.Span(sid(4))
			assert.Equal(t, agent.ID, inner.Parent)
			bash, _ := s.Span(sid(5))
			assert.Equal(t, []any{agent.ID, "error", "ShellError"}, []any{bash.Parent, bash.State, bash.Error})
			main, _ := s.Span(sid(1))
			assert.EqualValues(t, 40, main.Tokens)
			assert.EqualValues(t, 2, main.ToolUses)
			assert.Equal(t, []any{rootID, "done"}, []any{main.Parent, main.State})
			totals := s.Totals()
			assert.Equal(t, 2, totals.Agents)
			assert.Equal(t, 2, totals.LLMCalls)
			assert.Zero(t, totals.Errors)
			assert.Equal(t, 1, totals.ToolErrors)
			if name != "without logs" {
				assert.Equal(t, 0.75, totals.CostUSD)
			}
			n := len(j.all())
			r.Close(context.Background())
			assert.Len(t, j.all(), n, "nothing was kept back")
		})
	}
}

func each(r *Receiver, spans []*trace.Span) {
	for _, s := range spans {
		given(r, tracesData(s))
	}
}

// A subagent in the background outlives the tool that started it.
func TestClaudeCodeBackgroundAgents(t *testing.T) {
	home := sp(8, 3, "claude_code.tool.execution", 5, 6, "success", true)
	first := sp(4, 8, "claude_code.llm_request", 6, 12, "model", "m", "input_tokens", 20, "agent_id", "a-17")
	second := sp(5, 8, "claude_code.llm_request", 12, 30, "model", "m", "input_tokens", 20, "agent_id", "a-17")
	for name, c := range map[string]struct {
		feed func(*Receiver)
		end  int64
	}{
		"end of the run": {func(r *Receiver) { each(r, []*trace.Span{home, first, second}) }, 1030000},
		"one batch":      {func(r *Receiver) { given(r, tracesData(home, first, second)) }, 1030000},
		"told": {func(r *Receiver) {
			each(r, []*trace.Span{home, first, second})
			given(r, logsData(lr("subagent_completed", 31, 8, "agent_type", "Explore")))
		}, 1031000},
	} {
		r, j := newReceiver()
		c.feed(r)
		r.Close(context.Background())
		agent, _ := j.fold(t).Span(idOf("claude code agent a-17"))
		require.NotZero(t, agent.EndMS, name)
		assert.Equal(t, c.end, agent.EndMS, name)
		assert.EqualValues(t, 40, agent.Tokens)
		assert.Equal(t, "subagent", agent.Name)
	}
	// The agent of a tool that never ended was interrupted.
	r, j := newReceiver()
	each(r, []*trace.Span{first})
	r.Close(context.Background())
	agent, _ := j.fold(t).Span(idOf("claude code agent a-17"))
	assert.Equal(t, "running", agent.State)
}

// Log records with trace context whose spans go elsewhere still count, at the end.
func TestHeldRecords(t *testing.T) {
	r, j := newReceiver()
	given(r, logsData(lr("api_request", 3, 1, "model", "m", "input_tokens", "10", "output_tokens", "5", "request_id", "req_00000002")))
	assert.Empty(t, j.all())
	r.Close(context.Background())
	assert.EqualValues(t, 15, j.fold(t).Totals().Tokens)
}

func TestGeminiCLI(t *testing.T) {
	r, j := newReceiver()
	given(r, logsData(
		&logs.LogRecord{TimeUnixNano: 1002 * second, Body: anyValue("API response from gemini"), Attributes: kv("event.name", "gemini_cli.api_response", "model", "gemini-x",
			"input_token_count", 100, "output_token_count", 10, "cached_content_token_count", 40, "thoughts_token_count", 5, "total_token_count", 115, "duration_ms", 900)},
		&logs.LogRecord{TimeUnixNano: 1003 * second, Attributes: kv("event.name", "gemini_cli.tool_call", "function_name", "read_file", "success", true, "function_args", "SECRET")},
	))
	totals := j.fold(t).Totals()
	assert.EqualValues(t, 115, totals.Tokens)
	assert.EqualValues(t, 1, totals.ToolUses)
}

func TestWarnings(t *testing.T) {
	r, j := newReceiver()
	record := &logs.LogRecord{ObservedTimeUnixNano: 1002 * second, SeverityNumber: 13, Body: anyValue(" slow "), SpanId: []byte{0, 0, 0, 0, 0, 0, 0, 5}}
	given(r, logsData(record, record,
		&logs.LogRecord{TimeUnixNano: 1002 * second, SeverityNumber: 12, Body: anyValue("info")},
		&logs.LogRecord{TimeUnixNano: 1002 * second, SeverityNumber: 21, Body: anyValue("Task failed"), Attributes: kv("exception.message", "no such host", "exception.stacktrace", "SECRET")},
		&logs.LogRecord{TimeUnixNano: 1002 * second, SeverityNumber: 17, EventName: "thing.broke"},
		&logs.LogRecord{TimeUnixNano: 1002 * second, SeverityNumber: 17}, nil,
	))
	var got []string
	for _, e := range j.all() {
		got = append(got, fmt.Sprintf("%s %s %s", e.Level, e.Message, e.SpanID))
	}
	assert.Equal(t, []string{"warn slow " + sid(5), "error Task failed: no such host ", "error thing.broke "}, got)

	var many []*logs.LogRecord
	for i := range 2 * maxShown {
		many = append(many, &logs.LogRecord{TimeUnixNano: uint64(i+1) * second, SeverityNumber: 17, Body: anyValue(strings.Repeat("x", 2000))})
	}
	given(r, logsData(many...))
	assert.Len(t, j.all(), maxShown+1)
	last := j.all()[maxShown]
	assert.Equal(t, telemetry.SourceObsrun, last.Source)
	assert.Contains(t, last.Message, "further ones are not shown")
	assert.LessOrEqual(t, len(j.all()[10].Message), maxMessage)
}

func TestMetrics(t *testing.T) {
	type sample struct {
		service    string
		metric     string
		cumulative bool
		value      int
		attrs      []any
		at         int
	}
	for name, c := range map[string]struct {
		samples []sample
		tokens  int64
		cost    float64
	}{
		"deltas add up": {[]sample{
			{"claude", "claude_code.token.usage", false, 10, []any{"type", "input", "session.id", "s"}, 1},
			{"claude", "claude_code.token.usage", false, 10, []any{"type", "input", "session.id", "s"}, 2},
			{"claude", "claude_code.token.usage", false, 5, []any{"type", "output", "session.id", "s"}, 2},
			{"claude", "claude_code.token.usage", false, 100, []any{"type", "cacheRead", "session.id", "s"}, 2},
			{"claude", "claude_code.cost.usage", false, 2, []any{"session.id", "s"}, 2},
		}, 125, 2},
		"sent again": {[]sample{
			{"claude", "claude_code.token.usage", false, 10, []any{"type", "input"}, 1},
			{"claude", "claude_code.token.usage", false, 10, []any{"type", "input"}, 1},
		}, 10, 0},
		"cumulative ones are totals": {[]sample{
			{"py", "gen_ai.client.token.usage", true, 10, []any{"gen_ai.token.type", "input"}, 1},
			{"py", "gen_ai.client.token.usage", true, 30, []any{"gen_ai.token.type", "input"}, 2},
			{"py", "gen_ai.client.token.usage", true, 5, []any{"gen_ai.token.type", "output"}, 2},
			{"other", "gen_ai.client.token.usage", true, 7, []any{"gen_ai.token.type", "output"}, 2},
		}, 42, 0},
		"Gemini CLI says it twice": {[]sample{
			{"gemini-cli", "gemini_cli.token.usage", true, 10, []any{"type", "input"}, 1},
			{"gemini-cli", "gen_ai.client.token.usage", true, 10, []any{"gen_ai.token.type", "input"}, 1},
		}, 10, 0},
		"others": {[]sample{
			{"x", "http.server.duration", true, 10, nil, 1},
			{"x", "claude_code.token.usage", false, -10, []any{"type", "input"}, 1},
			{"x", "claude_code.token.usage", false, 10, []any{"type", "unheard"}, 1},
		}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r, j := newReceiver()
			for _, s := range c.samples {
				m := sum(s.metric, s.cumulative, s.value, s.attrs...)
				m.GetSum().DataPoints[0].TimeUnixNano = uint64(1000+s.at) * second
				given(r, metricsData(s.service, m))
			}
			assert.Empty(t, j.all(), "nobody can know yet")
			r.Close(context.Background())
			totals := j.fold(t).Totals()
			assert.Equal(t, c.tokens, totals.Tokens)
			assert.Equal(t, c.cost, totals.CostUSD)
		})
	}
}

// Metrics give way to spans and log records of the same sender.
func TestMetricsGiveWay(t *testing.T) {
	r, j := newReceiver()
	given(r, metricsData("svc", sum("gen_ai.client.token.usage", true, 1000, "gen_ai.token.type", "input")))
	given(r, metricsData("other", sum("gen_ai.client.token.usage", true, 7, "gen_ai.token.type", "input")))
	given(r, tracesData(sp(1, 0, "chat", 1, 2, "gen_ai.operation.name", "chat", "gen_ai.usage.input_tokens", 100)))
	r.Close(context.Background())
	assert.EqualValues(t, 107, j.fold(t).Totals().Tokens)
}

func TestHistogramMetrics(t *testing.T) {
	total := 12.0
	r, j := newReceiver()
	given(r, metricsData("svc",
		&metrics.Metric{Name: "gen_ai.client.token.usage", Data: &metrics.Metric_Histogram{Histogram: &metrics.Histogram{
			DataPoints: []*metrics.HistogramDataPoint{nil, {Sum: &total, TimeUnixNano: second, Attributes: kv("gen_ai.token.type", "input")}, {Attributes: kv("gen_ai.token.type", "input")}}}}},
		&metrics.Metric{Name: "gen_ai.client.token.usage", Data: &metrics.Metric_ExponentialHistogram{ExponentialHistogram: &metrics.ExponentialHistogram{
			DataPoints: []*metrics.ExponentialHistogramDataPoint{{Sum: &total, TimeUnixNano: second, Attributes: kv("gen_ai.token.type", "output")}}}}},
		&metrics.Metric{Name: "gen_ai.client.token.usage", Data: &metrics.Metric_Gauge{}}, nil,
	))
	r.Close(context.Background())
	assert.EqualValues(t, 24, j.fold(t).Totals().Tokens)
}
