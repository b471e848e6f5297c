package otlp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// signal is one of the three sorts of telemetry that OTLP carries.
type signal int

const (
	noSignal signal = iota // not told by the path
	traces
	logRecords
	metricPoints
)

// signals by their path on an endpoint, and by the field that JSON has them in.
var signals = [...]struct{ path, field, rejected string }{
	noSignal:     {"/", "", ""},
	traces:       {"/v1/traces", "resourceSpans", "rejectedSpans"},
	logRecords:   {"/v1/logs", "resourceLogs", "rejectedLogRecords"},
	metricPoints: {"/v1/metrics", "resourceMetrics", "rejectedDataPoints"},
}

// signalOf tells a signal by the end of a path.
func signalOf(path string) signal {
	path = strings.TrimSuffix(path, "/")
	for _, s := range []signal{traces, logRecords, metricPoints} {
		if strings.HasSuffix(path, signals[s].path) {
			return s
		}
	}
	return noSignal
}

// payload is a decoded body: the messages of one signal. An export request has
// the same wire format as the data message of its signal, and the request
// messages would pull in gRPC.
type payload struct {
	traces  trace.TracesData
	logs    logs.LogsData
	metrics metrics.MetricsData
}

func (p *payload) message(s signal) proto.Message {
	switch s {
	case traces:
		return &p.traces
	case logRecords:
		return &p.logs
	default:
		return &p.metrics
	}
}

// decode reads a body of a known signal.
func decode(s signal, body []byte, isJSON bool) (*payload, error) {
	p := new(payload)
	m := p.message(s)
	if isJSON {
		if err := unmarshalJSON(body, m); err != nil {
			return nil, fmt.Errorf("decode OTLP/JSON: %w", err)
		}
		return p, nil
	}
	err := proto.Unmarshal(body, m)
	if err != nil && strings.Contains(err.Error(), "UTF-8") {
		// One attribute that is cut within a rune must not cost the whole batch.
		proto.Reset(m)
		err = proto.Unmarshal(repairText(body, m.ProtoReflect().Descriptor(), 0), m)
	}
	if err != nil {
		return nil, fmt.Errorf("decode OTLP/protobuf: %w", err)
	}
	return p, nil
}

// maxDepth is how deep a message is looked into: attribute values nest.
const maxDepth = 100

// repairText gives the encoded message with what is no UTF-8 in its strings
// replaced. What cannot be read is left as it is, for the decoder to refuse.
func repairText(b []byte, md protoreflect.MessageDescriptor, depth int) []byte {
	if depth > maxDepth {
		return b
	}
	out := make([]byte, 0, len(b))
	for rest := b; len(rest) > 0; {
		num, typ, n := protowire.ConsumeField(rest)
		if n < 0 {
			return append(out, rest...)
		}
		fieldBytes := rest[:n]
		rest = rest[n:]
		fd := md.Fields().ByNumber(num)
		if typ != protowire.BytesType || fd == nil {
			out = append(out, fieldBytes...)
			continue
		}
		_, _, tag := protowire.ConsumeTag(fieldBytes)
		value, _ := protowire.ConsumeBytes(fieldBytes[tag:])
		switch fd.Kind() {
		case protoreflect.StringKind:
			value = bytes.ToValidUTF8(value, []byte("\uFFFD"))
		case protoreflect.MessageKind:
			value = repairText(value, fd.Message(), depth+1)
		}
		out = append(out, fieldBytes[:tag]...)
		out = protowire.AppendBytes(out, value)
	}
	return out
}

// guess tells the signal of a body by its content, for exporters that post to
// the endpoint as it stands. False where nothing in it tells.
func guess(body []byte, isJSON bool) (signal, bool) {
	if isJSON {
		var top map[string]json.RawMessage
		if json.Unmarshal(body, &top) != nil {
			return noSignal, false
		}
		for _, s := range []signal{traces, logRecords, metricPoints} {
			if _, ok := top[signals[s].field]; ok {
				return s, true
			}
		}
		return noSignal, false
	}
	// The three nest alike: resource (1), scope (2), item (2). The first item
	// tells: a span begins with an id of 16 bytes, a log record with a fixed64, a
	// metric with its name.
	item, ok := descend(body, 1, 2, 2)
	if !ok {
		return noSignal, false
	}
	found := noSignal
	for rest := item; len(rest) > 0; {
		num, typ, n := protowire.ConsumeField(rest)
		if n < 0 {
			return noSignal, false
		}
		value := rest[:n]
		rest = rest[n:]
		switch {
		case typ == protowire.Fixed64Type && (num == 1 || num == 11), // the two times
			typ == protowire.VarintType && num == 2: // severity
			return logRecords, true
		case num == 1 && typ == protowire.BytesType:
			found = metricPoints
			if _, _, tag := protowire.ConsumeTag(value); tag > 0 {
				if id, _ := protowire.ConsumeBytes(value[tag:]); len(id) == 16 {
					found = traces // unless it is a metric's name of that length
				}
			}
		case typ == protowire.BytesType && (num == 7 || num == 10): // sum, exponential histogram
			if found == traces && num == 7 {
				return metricPoints, true
			}
		case num == 2 && typ == protowire.BytesType && found == traces:
			if _, _, tag := protowire.ConsumeTag(value); tag > 0 {
				if id, _ := protowire.ConsumeBytes(value[tag:]); len(id) == 8 {
					return traces, true
				}
			}
		}
	}
	return found, found != noSignal
}

// descend gives the content of the first field along a path of field numbers.
func descend(b []byte, path ...protowire.Number) ([]byte, bool) {
next:
	for _, want := range path {
		for len(b) > 0 {
			num, typ, n := protowire.ConsumeField(b)
			if n < 0 {
				return nil, false
			}
			if num == want && typ == protowire.BytesType {
				_, _, tag := protowire.ConsumeTag(b)
				b, _ = protowire.ConsumeBytes(b[tag:])
				continue next
			}
			b = b[n:]
		}
		return nil, false
	}
	return b, true
}
