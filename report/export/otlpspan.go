package export

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"strings"
)

// The types below are those of OTLP's messages that a trace needs
// (opentelemetry-proto 1.11, trace.proto and common.proto), and how they are written as
// protobuf and in OTLP's JSON encoding
// (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding): ids are hex,
// 64-bit integers strings of digits, enumerations numbers. What is not set is left
// out of either.

// TraceID and SpanID are ids of W3C trace context; all 0 is none.
type (
	TraceID [16]byte
	SpanID  [8]byte
)

func (id TraceID) String() string { return hex.EncodeToString(id[:]) }
func (id SpanID) String() string  { return hex.EncodeToString(id[:]) }

// Kinds of spans, and the codes of a status.
const (
	KindInternal = 1
	KindClient   = 3

	StatusUnset = 0
	StatusOK    = 1
	StatusError = 2
)

// Span is a span that ended, or was lost. Its times are Unix milliseconds.
type Span struct {
	Trace          TraceID
	ID, Parent     SpanID // Parent is all 0 where there is none
	Name           string
	Kind           int
	StartMS, EndMS int64
	Attributes     []Attribute
	Events         []Event
	Links          []Link
	Status         Status
}

// Attribute has a value that is a string, bool, int64, float64 or []string.
type Attribute struct {
	Key   string
	Value any
}

// Event is something that happened during a span.
type Event struct {
	TimeMS     int64
	Name       string
	Attributes []Attribute
}

// Link is another span that one has to do with.
type Link struct {
	Trace      TraceID
	ID         SpanID
	Attributes []Attribute
}

// Status says how a span ended; a message is an error's.
type Status struct {
	Code    int
	Message string
}

// spanFlags are OTLP's SpanFlags: sampled, as in W3C trace context, and it is known
// that the parent is not remote.
const spanFlags uint32 = 0x01 | 0x100

// protobuf makes an ExportTraceServiceRequest of spans of the trace.
func (t *Trace) protobuf(spans []*Span) []byte {
	var b wire
	resource := func(b wire) wire { return b.attributes(1, t.resource) }
	scope := func(b wire) wire { return b.text(1, scopeName).text(2, t.version) }
	return b.message(1, func(b wire) wire { // ResourceSpans
		return b.message(1, resource).message(2, func(b wire) wire { // ScopeSpans
			b = b.message(1, scope)
			for _, s := range spans {
				b = b.message(2, s.fields)
			}
			return b
		})
	})
}

func (s *Span) fields(b wire) wire {
	b = b.bytes(1, s.Trace[:]).bytes(2, s.ID[:])
	if s.Parent != (SpanID{}) {
		b = b.bytes(4, s.Parent[:])
	}
	b = b.text(5, s.Name).number(6, uint64(s.Kind)).time(7, s.StartMS).time(8, s.EndMS).attributes(9, s.Attributes) // #nosec G115 -- a constant
	for _, e := range s.Events {
		b = b.message(11, func(b wire) wire { return b.time(1, e.TimeMS).text(2, e.Name).attributes(3, e.Attributes) })
	}
	for _, l := range s.Links {
		b = b.message(13, func(b wire) wire {
			return b.bytes(1, l.Trace[:]).bytes(2, l.ID[:]).attributes(4, l.Attributes).fixed32(6, spanFlags)
		})
	}
	status := func(b wire) wire { return b.text(2, s.Status.Message).number(3, uint64(s.Status.Code)) } // #nosec G115 -- a constant
	return b.message(15, status).fixed32(16, spanFlags)
}

// fields are those of a KeyValue.
func (a Attribute) fields(b wire) wire {
	return b.text(1, a.Key).message(2, func(b wire) wire {
		switch v := a.Value.(type) {
		case bool:
			if !v {
				return b.set(2, 0)
			}
			return b.set(2, 1)
		case int64:
			return b.set(3, uint64(v)) // #nosec G115 -- two's complement
		case float64:
			return b.fixed64(4, math.Float64bits(finite(v)))
		case []string:
			return b.message(5, func(b wire) wire {
				for _, text := range v {
					b = b.message(1, func(b wire) wire { return b.valid(1, text) })
				}
				return b
			})
		}
		text, _ := a.Value.(string)
		return b.valid(1, text)
	})
}

// wire is an encoded protobuf message that grows by fields
// (https://protobuf.dev/programming-guides/encoding).
type wire []byte

func (b wire) tag(number, wireType uint64) wire { return binary.AppendUvarint(b, number<<3|wireType) }

// set is number for what counts as 0, too: a member of a oneof.
func (b wire) set(number, n uint64) wire { return binary.AppendUvarint(b.tag(number, 0), n) }

func (b wire) number(number, n uint64) wire {
	if n == 0 {
		return b
	}
	return b.set(number, n)
}

func (b wire) fixed64(number, bits uint64) wire {
	return binary.LittleEndian.AppendUint64(b.tag(number, 1), bits)
}

func (b wire) fixed32(number uint64, bits uint32) wire {
	return binary.LittleEndian.AppendUint32(b.tag(number, 5), bits)
}

// time writes Unix milliseconds as OTLP's nanoseconds; one before 1970 is 1970.
func (b wire) time(number uint64, ms int64) wire {
	return b.fixed64(number, uint64(max(0, ms))*1e6)
}

func (b wire) bytes(number uint64, data []byte) wire {
	b = binary.AppendUvarint(b.tag(number, 2), uint64(len(data)))
	return append(b, data...)
}

func (b wire) text(number uint64, s string) wire {
	if s == "" {
		return b
	}
	return b.valid(number, s)
}

// valid is text for what counts when it is empty, too.
func (b wire) valid(number uint64, s string) wire {
	return b.bytes(number, []byte(strings.ToValidUTF8(s, "\uFFFD")))
}

func (b wire) attributes(number uint64, list []Attribute) wire {
	for _, a := range list {
		b = b.message(number, a.fields)
	}
	return b
}

// message writes a message of so many fields as content appends. Its length, which
// stands before, is known only then.
func (b wire) message(number uint64, content func(wire) wire) wire {
	b = b.tag(number, 2)
	begin := len(b)
	b = content(b)
	size := len(b) - begin
	var room [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(room[:], uint64(size)) // #nosec G115 -- a length
	b = append(b, room[:n]...)
	copy(b[begin+n:], b[begin:begin+size])
	copy(b[begin:], room[:n])
	return b
}

// otlpRequest and what follows is the same in JSON.
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

type otlpAttribute struct {
	Key   string         `json:"key"`
	Value map[string]any `json:"value"` // one member, which says the type
}

type otlpStatus struct {
	Message string `json:"message,omitempty"`
	Code    int    `json:"code,omitempty"`
}

// request makes an ExportTraceServiceRequest of spans of the trace.
func (t *Trace) request(spans []*Span) otlpRequest {
	var all otlpResourceSpans
	all.Resource.Attributes = otlpAttributes(t.resource)
	var scope otlpScopeSpans
	scope.Scope.Name, scope.Scope.Version = scopeName, t.version
	for _, span := range spans {
		scope.Spans = append(scope.Spans, otlpSpanOf(span))
	}
	all.ScopeSpans = []otlpScopeSpans{scope}
	return otlpRequest{[]otlpResourceSpans{all}}
}

func otlpSpanOf(s *Span) otlpSpan {
	out := otlpSpan{
		TraceID: s.Trace.String(), SpanID: s.ID.String(), Flags: spanFlags, Name: s.Name, Kind: s.Kind,
		Start: nanos(s.StartMS), End: nanos(s.EndMS), Attributes: otlpAttributes(s.Attributes), Status: otlpStatus{s.Status.Message, s.Status.Code},
	}
	if s.Parent != (SpanID{}) {
		out.Parent = s.Parent.String()
	}
	for _, e := range s.Events {
		out.Events = append(out.Events, otlpEvent{nanos(e.TimeMS), e.Name, otlpAttributes(e.Attributes)})
	}
	for _, l := range s.Links {
		out.Links = append(out.Links, otlpLink{l.Trace.String(), l.ID.String(), otlpAttributes(l.Attributes)})
	}
	return out
}

func otlpAttributes(list []Attribute) []otlpAttribute {
	var out []otlpAttribute
	for _, a := range list {
		out = append(out, otlpAttribute{a.Key, otlpValue(a.Value)})
	}
	return out
}

func otlpValue(value any) map[string]any {
	switch v := value.(type) {
	case bool:
		return map[string]any{"boolValue": v}
	case int64:
		return map[string]any{"intValue": strconv.FormatInt(v, 10)}
	case float64:
		return map[string]any{"doubleValue": finite(v)}
	case []string:
		values := []map[string]any{}
		for _, text := range v {
			values = append(values, otlpValue(text))
		}
		return map[string]any{"arrayValue": map[string]any{"values": values}}
	}
	return map[string]any{"stringValue": value}
}

// nanos is a time in nanoseconds; one before 1970 is 1970.
func nanos(ms int64) string { return strconv.FormatInt(max(0, ms)*1e6, 10) }
