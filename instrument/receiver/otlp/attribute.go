package otlp

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// sortedRows are attrRows by name with the ids of their keys, and one without any for
// the service.
var sortedRows = sync.OnceValue(func() []namedRow {
	rows := []namedRow{{name: "service"}}
	for _, row := range attrRows {
		rows = append(rows, namedRow{row.name, keyedBy(row.keys...)})
	}
	slices.SortFunc(rows, func(a, b namedRow) int { return cmp.Compare(a.name, b.name) })
	return rows
})

type namedRow struct {
	name string
	keyed
}

// appendAttrs appends the attrs of an event, nothing where there are none. Service is
// the resource's service.name.
func appendAttrs(b []byte, a *attributes, service string) []byte {
	begin := len(b)
	put := func(name string) {
		before := byte(',')
		if len(b) == begin {
			before = '{'
		}
		b = append(append(append(b, before, '"'), name...), '"', ':')
	}
	rows := sortedRows()
	for i := range rows {
		row := &rows[i]
		if row.ids == nil && service != "" {
			put(row.name)
			b = appendText(b, service)
		}
		if !a.have.meets(&row.any) {
			continue
		}
		for _, id := range row.ids {
			if v, ok := a.plain(id); ok {
				put(row.name)
				b = v.appendTo(b)
				break
			}
		}
	}
	if len(b) > begin {
		b = append(b, '}')
	}
	return b
}

// plain gives a short value that JSON has; of an array, the first.
func (a *attributes) plain(id keyID) (v value, ok bool) {
	if !a.have.has(id) {
		return value{}, false
	}
	if v = *a.at(id); v.sort == isArray {
		v, _ = v.element()
	}
	switch v.sort {
	case isText:
		v.text = v.string()
		return v, v.text != "" && len(v.text) <= maxText
	case isBool, isInt:
		return v, true
	case isDouble:
		f := math.Float64frombits(v.bits)
		return v, f-f == 0 // finite
	}
	return value{}, false
}

// appendTo writes what plain gives as encoding/json does.
func (v *value) appendTo(b []byte) []byte {
	switch v.sort {
	case isInt:
		return strconv.AppendInt(b, int64(v.bits), 10) // #nosec G115 -- two's complement
	case isBool:
		return strconv.AppendBool(b, v.bits != 0)
	case isText:
		return appendText(b, v.text)
	}
	quoted, _ := json.Marshal(math.Float64frombits(v.bits)) // finite
	return append(b, quoted...)
}

// appendText writes a JSON string; what is no UTF-8 in it is replaced.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s)
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// serviceOf is the resource's service.name, empty where it is the SDK's default.
func serviceOf(resource *attributes) string {
	name := resource.text("service.name")
	if strings.HasPrefix(name, "unknown_service") || len(name) > maxText {
		return ""
	}
	return name
}
