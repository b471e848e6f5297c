package export

import (
	"fmt"
	"io"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// OTLPJSON writes the spans as OTLP's file format has them
// (https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/): each line is
// an ExportTraceServiceRequest in OTLP's JSON encoding, with up to 512 spans. The
// spans and their ids are those that the live export sends, so that a backend that
// has both has them once, but for attempts after the first, which say here what all
// attempts together consumed. OpenTelemetry knows spans that ended: of a run that
// goes on, those that are open are left out, and so is the run's own.
func OTLPJSON(w io.Writer, r Run) error {
	info := r.State.Info()
	t := NewTrace(info.RunID, r.Version, nil)
	var batch []sdk.ReadOnlySpan
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		line, err := compactJSON(requestOf(batch))
		batch = batch[:0]
		if err == nil {
			_, err = w.Write(append(line, '\n'))
		}
		if err != nil {
			return fmt.Errorf("write OTLP JSON: %w", err)
		}
		return nil
	}
	for span := range t.spans(r.State) {
		if batch = append(batch, span); len(batch) == maxBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// spans gives all that ended: the run's own, its phases, the others as they first
// appeared.
func (t *Trace) spans(state *run.State) func(yield func(sdk.ReadOnlySpan) bool) {
	info := state.Info()
	stalls := make(map[string][]run.Stall)
	for _, stall := range state.Stalls() {
		stalls[stall.SpanID] = append(stalls[stall.SpanID], stall)
	}
	bySpan := make(map[string]bool) // phases that are spans
	for v := range state.Spans() {
		if v.Kind == telemetry.KindPhase || v.Kind == telemetry.KindDiscovery {
			bySpan[v.Phase] = true
		}
	}
	return func(yield func(sdk.ReadOnlySpan) bool) {
		if root, ok := state.Span(state.RootID()); ok && state.Ended() && info.StartMS != 0 {
			if !yield(t.Root(root, info, state.Totals())) {
				return
			}
		}
		for _, p := range state.Phases() {
			if !bySpan[p.Name] && p.StartMS != 0 && (p.EndMS != 0 || state.Ended()) && !yield(t.Phase(p, state.RootID())) {
				return
			}
		}
		for v := range state.Spans() {
			if v.SameAs != "" {
				continue
			}
			for n := range v.Earlier {
				if !yield(t.Attempt(v, n+1)) {
					return
				}
			}
			if over(v.State) && !yield(t.Span(v, v.Usage, stalls[v.ID])) {
				return
			}
		}
	}
}

// The types below are OTLP's messages in its JSON encoding
// (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding): ids are hex,
// 64-bit integers strings of digits, enumerations numbers. What is not set is left
// out.

type otlpRequest struct {
	ResourceSpans []otlpResourceSpans `json:"resourceSpans"`
}

type otlpResourceSpans struct {
	Resource struct {
		Attributes []otlpAttribute `json:"attributes,omitempty"`
	} `json:"resource"`
	ScopeSpans []otlpScopeSpans `json:"scopeSpans"`
}

type otlpScopeSpans struct {
	Scope struct {
		Name    string `json:"name"`
		Version string `json:"version,omitempty"`
	} `json:"scope"`
	Spans []otlpSpan `json:"spans"`
}

type otlpSpan struct {
	TraceID    string          `json:"traceId"`
	SpanID     string          `json:"spanId"`
	Parent     string          `json:"parentSpanId,omitempty"`
	Flags      uint32          `json:"flags"`
	Name       string          `json:"name"`
	Kind       int             `json:"kind"`
	Start      string          `json:"startTimeUnixNano"`
	End        string          `json:"endTimeUnixNano"`
	Attributes []otlpAttribute `json:"attributes,omitempty"`
	Events     []otlpEvent     `json:"events,omitempty"`
	Links      []otlpLink      `json:"links,omitempty"`
	Status     otlpStatus      `json:"status"`
}

type otlpEvent struct {
	Time       string          `json:"timeUnixNano"`
	Name       string          `json:"name"`
	Attributes []otlpAttribute `json:"attributes,omitempty"`
}

type otlpLink struct {
	TraceID    string          `json:"traceId"`
	SpanID     string          `json:"spanId"`
	Attributes []otlpAttribute `json:"attributes,omitempty"`
}

type otlpStatus struct {
	Message string `json:"message,omitempty"`
	Code    int    `json:"code,omitempty"` // 1: ok, 2: error
}

type otlpAttribute struct {
	Key   string         `json:"key"`
	Value map[string]any `json:"value"` // one member, which says the type
}

// requestOf puts the spans of one trace into a request.
func requestOf(spans []sdk.ReadOnlySpan) otlpRequest {
	var all otlpResourceSpans
	all.Resource.Attributes = otlpAttributes(spans[0].Resource().Attributes())
	var scope otlpScopeSpans
	scope.Scope.Name, scope.Scope.Version = spans[0].InstrumentationScope().Name, spans[0].InstrumentationScope().Version
	for _, span := range spans {
		scope.Spans = append(scope.Spans, otlpSpanOf(span))
	}
	all.ScopeSpans = []otlpScopeSpans{scope}
	return otlpRequest{[]otlpResourceSpans{all}}
}

// spanFlags are OTLP's SpanFlags: sampled, as in W3C trace context, and it is known
// that the parent is not remote.
const spanFlags = uint32(trace.FlagsSampled) | 0x100

func otlpSpanOf(s sdk.ReadOnlySpan) otlpSpan {
	out := otlpSpan{
		TraceID: s.SpanContext().TraceID().String(), SpanID: s.SpanContext().SpanID().String(), Flags: spanFlags,
		Name: s.Name(), Kind: int(s.SpanKind()), // both count internal as 1, server 2, client 3
		Start: nanos(s.StartTime().UnixNano()), End: nanos(s.EndTime().UnixNano()), Attributes: otlpAttributes(s.Attributes()),
	}
	if s.Parent().SpanID().IsValid() {
		out.Parent = s.Parent().SpanID().String()
	}
	for _, e := range s.Events() {
		out.Events = append(out.Events, otlpEvent{nanos(e.Time.UnixNano()), e.Name, otlpAttributes(e.Attributes)})
	}
	for _, l := range s.Links() {
		out.Links = append(out.Links, otlpLink{l.SpanContext.TraceID().String(), l.SpanContext.SpanID().String(), otlpAttributes(l.Attributes)})
	}
	switch s.Status().Code {
	case codes.Ok:
		out.Status.Code = 1
	case codes.Error:
		out.Status = otlpStatus{s.Status().Description, 2}
	}
	return out
}

func otlpAttributes(list []attribute.KeyValue) []otlpAttribute {
	var out []otlpAttribute
	for _, kv := range list {
		out = append(out, otlpAttribute{string(kv.Key), otlpValue(kv.Value)})
	}
	return out
}

func otlpValue(v attribute.Value) map[string]any {
	switch v.Type() {
	case attribute.BOOL:
		return map[string]any{"boolValue": v.AsBool()}
	case attribute.INT64:
		return map[string]any{"intValue": strconv.FormatInt(v.AsInt64(), 10)}
	case attribute.FLOAT64:
		return map[string]any{"doubleValue": finite(v.AsFloat64())}
	case attribute.STRINGSLICE:
		values := []map[string]any{}
		for _, text := range v.AsStringSlice() {
			values = append(values, map[string]any{"stringValue": text})
		}
		return map[string]any{"arrayValue": map[string]any{"values": values}}
	}
	return map[string]any{"stringValue": v.AsString()}
}

// nanos is a time in nanoseconds; one before 1970 is 1970.
func nanos(ns int64) string { return strconv.FormatInt(max(0, ns), 10) }
