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
	name string   // its name in the event's attrs
	keys []string // where it comes from, best first
}

// attrRows is all that is taken over besides names, counters and errors.
var attrRows = []attrRow{
	{"model", []string{"gen_ai.response.model", "ai.response.model", "llm.response.model_name", "gen_ai.request.model", "llm.model_name", "embedding.model_name", "ai.model.id", "model"}},
	{"provider", []string{"gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "ai.model.provider"}},
	{"operation", []string{"gen_ai.operation.name", "ai.operationId", "openinference.span.kind", "traceloop.span.kind", "llm.request.type"}},
	{"finish_reason", []string{"gen_ai.response.finish_reasons", "ai.response.finishReason", "stop_reason"}},
	{"agent_id", []string{"gen_ai.agent.id", "agent_id"}},
	{"session_id", []string{"gen_ai.conversation.id", "session.id"}},
	{"tool_call_id", []string{"gen_ai.tool.call.id", "ai.toolCall.id", "tool_use_id"}},
	{"cache_write_tokens", []string{"gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens", "llm.token_count.prompt_details.cache_write", "ai.usage.inputTokenDetails.cacheWriteTokens", "cache_creation_tokens"}},
	{"reasoning_tokens", []string{"gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens", "llm.token_count.completion_details.reasoning", "llm.usage.reasoning_tokens", "ai.usage.reasoningTokens", "thoughts_token_count"}},
	{"ttft_ms", []string{"ttft_ms", "ai.response.msToFirstChunk", "ai.stream.msToFirstChunk"}},
	{"request_attempts", []string{"attempt", "total_attempts"}},
	{"query_source", []string{"query_source"}},
	{"decision", []string{"decision"}},
	{"result_tokens", []string{"result_tokens"}},
	{"context_tokens", []string{"total_tokens"}},
	{"http_method", []string{"http.request.method", "http.method"}},
	{"http_status", []string{"http.response.status_code", "http.status_code", "status_code"}},
	{"server", []string{"server.address", "net.peer.name"}},
	{"error_type", []string{"error.type", "error_type"}},
}

// sortedRows are attrRows by name, and one for the service.
var sortedRows = slices.SortedFunc(slices.Values(append(slices.Clone(attrRows), attrRow{name: "service"})),
	func(a, b attrRow) int { return cmp.Compare(a.name, b.name) })

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
