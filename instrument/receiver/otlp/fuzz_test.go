package otlp

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

func toJSON(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(m)
	require.NoError(t, err)
	if tt, ok := t.(*testing.T); ok {
		return idsToHex(tt, b)
	}
	return b
}

// fuzz posts bodies to every path: nothing crashes, every answer is one that the
// protocol knows, and every event is a valid line.
func fuzz(f *testing.F, contentType string, seeds ...[]byte) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, j := newReceiver()
		for _, path := range Paths() {
			w := post(r, path, contentType, "", body)
			switch w.Code {
			case 200, 400:
			default:
				t.Fatalf("%s: %d", path, w.Code)
			}
			if contentType == jsonType && !json.Valid(w.Body.Bytes()) {
				t.Fatalf("%s: answered %q", path, w.Body)
			}
		}
		r.Close(context.Background())
		for _, e := range j.all() {
			if _, err := telemetry.Decode(e.Line()); err != nil {
				t.Fatalf("%v: %s", err, e.Line())
			}
		}
		j.fold(t)
	})
}

func seeds(t testing.TB) []proto.Message {
	return []proto.Message{
		tracesData(claudeSpans()...),
		tracesData(sp(1, 2, "p", 3, 3, "logfire.span_type", "pending_span", "logfire.pending_parent_id", "00ff")),
		logsData(lr("api_request", 3, 1, "input_tokens", "10", "request_id", "req_00000002"), &logs.LogRecord{SeverityNumber: 17, Body: anyValue("x")}),
		metricsData("m", sum("claude_code.token.usage", true, 5, "type", "input")),
	}
}

func FuzzProtobuf(f *testing.F) {
	var bodies [][]byte
	for _, m := range seeds(f) {
		b := encode(f, m)
		bodies = append(bodies, b, b[:len(b)/2])
	}
	fuzz(f, protobufType, bodies...)
}

func FuzzJSON(f *testing.F) {
	bodies := [][]byte{[]byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"01020304050607080102030405060708","spanId":"0102030405060708"}]}]}]}`)}
	for _, m := range seeds(f) {
		b := toJSON(f, m)
		bodies = append(bodies, b, b[:len(b)/2])
	}
	fuzz(f, jsonType, bodies...)
}

func FuzzGuess(f *testing.F) {
	for i, m := range seeds(f) {
		body := encode(f, m)
		s, ok := guess(string(body), false)
		require.True(f, ok)
		require.Equal(f, []signal{traces, traces, logRecords, metricPoints}[i], s)
		f.Add(body)
	}
	f.Fuzz(func(_ *testing.T, body []byte) {
		guess(string(body), false)
		guess(string(body), true)
	})
}
