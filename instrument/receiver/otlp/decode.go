package otlp

import (
	"encoding/json"
	"fmt"
	"strings"
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

// payload is a body that was read: the items of one signal. An export request has the
// same wire format as the data message of its signal.
type payload struct {
	spans  *batch
	logs   *logBatch
	points *pointBatch
}

// decode reads a body of a known signal.
func decode(s signal, body string, isJSON bool) (p payload, err error) {
	if isJSON {
		if body, err = transcode(body, requests()[s]); err != nil {
			return p, fmt.Errorf("decode OTLP/JSON: %w", err)
		}
	}
	switch s {
	case traces:
		p.spans = batches.Get().(*batch)
		err = p.spans.readSpans(body)
	case logRecords:
		p.logs = new(logBatch)
		err = p.logs.read(body)
	default:
		p.points = new(pointBatch)
		err = p.points.read(body)
	}
	if err != nil {
		return payload{}, fmt.Errorf("decode OTLP/protobuf: %w", err)
	}
	return p, nil
}

// guess tells the signal of a body by its content, for exporters that post to
// the endpoint as it stands. False where nothing in it tells.
func guess(body string, isJSON bool) (signal, bool) {
	if isJSON {
		var top map[string]json.RawMessage
		if json.Unmarshal([]byte(body), &top) != nil {
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
	f := fields{rest: item}
	for f.next() {
		switch f.tag {
		case tagOf(1, fixed64), tagOf(11, fixed64), // the two times
			tagOf(2, varintType): // severity
			return logRecords, true
		case tagOf(1, bytesType):
			found = metricPoints
			if len(f.data) == 16 {
				found = traces // unless it is a metric's name of that length
			}
		case tagOf(7, bytesType): // sum
			if found == traces {
				return metricPoints, true
			}
		case tagOf(2, bytesType):
			if found == traces && len(f.data) == 8 {
				return traces, true
			}
		}
	}
	return found, found != noSignal && !f.bad
}
