package otlp

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	common "go.opentelemetry.io/proto/otlp/common/v1"
)

// maxText bounds a string among the attrs of an event, in bytes. What is longer
// is content, whatever its key says, and is left out.
const maxText = 200

// attrRow names an attribute that is taken over.
type attrRow struct {
	name  string   // its name in the event's attrs
	keys  []string // where it comes from, best first
	looks uint64   // of the keys
}

// attrRows is all that is taken over besides names, counters and errors.
var attrRows = []attrRow{
	{name: "model", keys: []string{"gen_ai.response.model", "ai.response.model", "llm.response.model_name", "gen_ai.request.model", "llm.model_name", "embedding.model_name", "ai.model.id", "model"}},
	{name: "provider", keys: []string{"gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "ai.model.provider"}},
	{name: "operation", keys: []string{"gen_ai.operation.name", "ai.operationId", "openinference.span.kind", "traceloop.span.kind", "llm.request.type"}},
	{name: "finish_reason", keys: []string{"gen_ai.response.finish_reasons", "ai.response.finishReason", "stop_reason"}},
	{name: "agent_id", keys: []string{"gen_ai.agent.id", "agent_id"}},
	{name: "session_id", keys: []string{"gen_ai.conversation.id", "session.id"}},
	{name: "tool_call_id", keys: []string{"gen_ai.tool.call.id", "ai.toolCall.id", "tool_use_id"}},
	{name: "cache_write_tokens", keys: []string{"gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens", "llm.token_count.prompt_details.cache_write", "ai.usage.inputTokenDetails.cacheWriteTokens", "cache_creation_tokens"}},
	{name: "reasoning_tokens", keys: []string{"gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens", "llm.token_count.completion_details.reasoning", "llm.usage.reasoning_tokens", "ai.usage.reasoningTokens", "thoughts_token_count"}},
	{name: "ttft_ms", keys: []string{"ttft_ms", "ai.response.msToFirstChunk", "ai.stream.msToFirstChunk"}},
	{name: "request_attempts", keys: []string{"attempt", "total_attempts"}},
	{name: "query_source", keys: []string{"query_source"}},
	{name: "decision", keys: []string{"decision"}},
	{name: "result_tokens", keys: []string{"result_tokens"}},
	{name: "context_tokens", keys: []string{"total_tokens"}},
	{name: "http_method", keys: []string{"http.request.method", "http.method"}},
	{name: "http_status", keys: []string{"http.response.status_code", "http.status_code", "status_code"}},
	{name: "server", keys: []string{"server.address", "net.peer.name"}},
	{name: "error_type", keys: []string{"error.type", "error_type"}},
}

// sortedRows are attrRows by name, and one for the service.
var sortedRows = func() []attrRow {
	rows := append(slices.Clone(attrRows), attrRow{name: "service"})
	for i := range rows {
		for _, key := range rows[i].keys {
			rows[i].looks |= look(key)
		}
	}
	slices.SortFunc(rows, func(a, b attrRow) int { return cmp.Compare(a.name, b.name) })
	return rows
}()

// attrsOf gives the attrs of an event, nil where there are none. Service is the
// resource's service.name.
func attrsOf(a attributes, service string) json.RawMessage {
	var room [256]byte
	b := append(room[:0], '{')
	put := func(name string, value any) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), name...), '"', ':')
		b = appendValue(b, value)
	}
	for i := range sortedRows {
		row := &sortedRows[i]
		if row.keys == nil && service != "" {
			put(row.name, service)
		}
		if a.looks&row.looks == 0 {
			continue
		}
		for _, key := range row.keys {
			if v, ok := a.find(key); ok {
				if v, ok := plain(v); ok {
					put(row.name, v)
					break
				}
			}
		}
	}
	if len(b) == 1 {
		return nil
	}
	return append(make(json.RawMessage, 0, len(b)+1), append(b, '}')...)
}

// appendValue writes what plain gives as encoding/json does.
func appendValue(b []byte, value any) []byte {
	switch v := value.(type) {
	case int64:
		return strconv.AppendInt(b, v, 10)
	case bool:
		return strconv.AppendBool(b, v)
	case string:
		if strings.IndexFunc(v, odd) < 0 {
			return append(append(append(b, '"'), v...), '"')
		}
	}
	quoted, err := json.Marshal(value)
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, quoted...)
}

// odd tells the letters that JSON, or encoding/json, does not write as they are.
func odd(r rune) bool {
	return r < ' ' || r >= 0x7f || r == '"' || r == '\\' || r == '<' || r == '>' || r == '&'
}

// plain gives a short value as JSON has it; of an array, the first.
func plain(v *common.AnyValue) (any, bool) {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue, v.StringValue != "" && len(v.StringValue) <= maxText
	case *common.AnyValue_BoolValue:
		return v.BoolValue, true
	case *common.AnyValue_IntValue:
		return v.IntValue, true
	case *common.AnyValue_DoubleValue:
		return v.DoubleValue, v.DoubleValue-v.DoubleValue == 0 // finite
	case *common.AnyValue_ArrayValue:
		if values := v.ArrayValue.GetValues(); len(values) > 0 && values[0].GetArrayValue() == nil {
			return plain(values[0])
		}
	}
	return nil, false
}

// serviceOf is the resource's service.name, empty where it is the SDK's default.
func serviceOf(resource attributes) string {
	name := resource.text("service.name")
	if strings.HasPrefix(name, "unknown_service") || len(name) > maxText {
		return ""
	}
	return name
}
