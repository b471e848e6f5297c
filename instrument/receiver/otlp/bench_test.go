package otlp

import (
	"encoding/binary"
	"fmt"
	"testing"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// batchOf is an export of so many spans: one agent in twenty, and below it LLM calls
// and tool uses in turn.
func batchOf(b *testing.B, first, count int) []byte {
	b.Helper()
	id := func(n int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)*0x9E3779B97F4A7C15+1) }
	var spans []*trace.Span
	for i := first; i < first+count; i++ {
		agent := i / 20 * 20
		s := &trace.Span{
			TraceId: append(id(7), id(9)...), SpanId: id(i), ParentSpanId: id(agent),
			StartTimeUnixNano: 1775606400e9 + uint64(i)*1e6, EndTimeUnixNano: 1775606400e9 + uint64(i)*1e6 + 5e8,
		}
		switch {
		case i == agent:
			s.ParentSpanId, s.Name = nil, "invoke_agent analyst"
			s.Attributes = kv("gen_ai.operation.name", "invoke_agent", "gen_ai.agent.name", "analyst", "gen_ai.agent.id", fmt.Sprint("a", i))
		case i%2 == 0:
			s.Name = "chat claude-sonnet-4-5"
			s.Attributes = kv("gen_ai.operation.name", "chat", "gen_ai.provider.name", "anthropic", "gen_ai.request.model", "claude-sonnet-4-5",
				"gen_ai.response.id", fmt.Sprint("msg_", 10_000_000+i), "gen_ai.usage.input_tokens", 2000, "gen_ai.usage.output_tokens", 200)
		default:
			s.Name = "execute_tool Read"
			s.Attributes = kv("gen_ai.operation.name", "execute_tool", "gen_ai.tool.name", "Read", "gen_ai.tool.call.id", fmt.Sprint("toolu_", i))
		}
		spans = append(spans, s)
	}
	body, err := proto.Marshal(&trace.TracesData{ResourceSpans: []*trace.ResourceSpans{{
		Resource:   &resource.Resource{Attributes: []*common.KeyValue{kv("service.name", "analyze")[0]}},
		ScopeSpans: []*trace.ScopeSpans{{Spans: spans}},
	}}})
	if err != nil {
		b.Fatal(err)
	}
	return body
}

// What a span costs, from its bytes to its events.
func BenchmarkSpans(b *testing.B) {
	const batch = 512
	bodies := make([]string, 64)
	for i := range bodies {
		bodies[i] = string(batchOf(b, i*batch, batch))
	}
	r := New(func([]telemetry.Event) error { return nil }, nil)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += batch { // one at a time
		if i/batch%len(bodies) == 0 {
			r.mem = newMemory()
		}
		p, err := decode(traces, bodies[i/batch%len(bodies)], false)
		if err != nil {
			b.Fatal(err)
		}
		r.take(traces, p)
	}
}
