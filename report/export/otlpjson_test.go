package export

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	otlptrace "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/obsrun/obsrun/instrument/receiver/otlp"
	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// received lets our own receiver read what was exported, into another run, which
// begins and ends when the first one did.
func received(t *testing.T, r Run) *run.State {
	t.Helper()
	now := time.UnixMilli(r.State.Info().StartMS)
	recorder, err := run.NewRecorder(t.TempDir(), func() time.Time { return now })
	require.NoError(t, err)
	require.NoError(t, recorder.Begin("again", map[string]any{"run_id": "again-1"}))
	receiver := otlp.New(recorder.RecordAll, nil)
	for line := range bytes.Lines(written(t, "otlp-json", r)) {
		request := httptest.NewRequest(http.MethodPost, "/v1/traces", bytes.NewReader(line))
		request.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		receiver.ServeHTTP(answer, request)
		require.Equal(t, http.StatusOK, answer.Code, answer.Body)
		require.NotContains(t, answer.Body.String(), "rejected")
	}
	receiver.Close(context.Background())
	now = time.UnixMilli(r.State.Info().EndMS)
	require.NoError(t, recorder.Finish(telemetry.StatusOK, map[string]any{}))
	var state *run.State
	recorder.Feed().View(func(s *run.State) { state = s })
	return state
}

// Our own receiver understands which spans are agents, what they are called, of what
// kind and in which phase, when they were, whether they failed, what hangs under
// what, and tokens by input and output.
func TestOTLPJSONIsReceived(t *testing.T) {
	for _, name := range []string{"troubled", "eigenda-planned"} {
		r := recorded(t, name)
		state := received(t, r)
		agents := 0
		for want := range r.State.Spans() {
			got, ok := state.Span(spanID(want.ID).String())
			require.True(t, ok, want.ID)
			assert.Equal(t, spanID(want.Parent).String(), got.Parent, want.ID)
			assert.Equal(t, []any{want.IsAgent, want.Kind, want.Component, want.Phase}, []any{got.IsAgent, got.Kind, got.Component, got.Phase}, want.ID)
			if want.IsAgent {
				agents++
				assert.Equal(t, want.Name, got.Name)
			}
			if want.Attempts > 1 {
				continue // others are spans of their own
			}
			if want.StartMS != 0 {
				assert.Equal(t, []int64{want.StartMS, want.EndMS}, []int64{got.StartMS, got.EndMS}, want.ID)
			}
			switch want.State {
			case run.Done, run.Failed:
				assert.Equal(t, want.State == run.Failed, got.State == run.Failed, want.ID)
			case run.Lost:
				assert.Contains(t, []string{run.Failed, run.Lost}, got.State, want.ID)
			}
			if want.Kind == telemetry.KindLLM {
				assert.Equal(t, []int64{want.Tokens, want.Input, want.Output, want.Cached}, []int64{got.Tokens, got.Input, got.Output, got.Cached})
			}
		}
		assert.Equal(t, r.State.Totals().Agents, agents)
	}
}

// OTLP's JSON encoding is not Protobuf's: this is what it says of a span.
func TestOTLPJSONEncoding(t *testing.T) {
	r := folded(t,
		`{"event":"span_start","span_id":"00f067aa0ba902b7","kind":"run","name":"x","attrs":{"run_id":"run-1","command":["a","b"],"exit_code":3},"ts":1000,"source":"obsrun","recv_ms":0}`,
		`{"event":"phase","name":"discovery-complete","wall_ms":500,"ts":1001,"source":"socket","recv_ms":1000}`,
		`{"event":"span_start","span_id":"a","kind":"agent","name":"a","attrs":{"rate":0.5,"ok":true},"ts":1001,"source":"socket","recv_ms":1000}`,
		`{"event":"span_end","span_id":"a","status":"error","error":"gave up","input_tokens":7,"output_tokens":2,"ts":1002.5,"source":"socket","recv_ms":2500}`,
		`{"event":"span_start","span_id":"a","ts":1003,"source":"socket","recv_ms":3000}`,
		`{"event":"span_end","span_id":"a","input_tokens":1,"output_tokens":1,"ts":1004,"source":"socket","recv_ms":4000}`,
		`{"event":"span_end","span_id":"00f067aa0ba902b7","status":"error","attrs":{"exit_code":3},"ts":1005,"source":"obsrun","recv_ms":5000}`,
	)
	b := written(t, "otlp-json", r)
	require.Equal(t, 1, bytes.Count(b, []byte("\n")))
	var got struct {
		ResourceSpans []struct {
			Resource   map[string]any
			ScopeSpans []struct {
				Scope map[string]any
				Spans []map[string]any
			}
		}
	}
	require.NoError(t, json.Unmarshal(b, &got))
	spans := got.ResourceSpans[0].ScopeSpans[0].Spans
	require.Len(t, spans, 4)
	root, phase, first, second := spans[0], spans[1], spans[2], spans[3]
	value := func(span map[string]any, key string) any {
		for _, a := range span["attributes"].([]any) {
			if a := a.(map[string]any); a["key"] == key {
				return a["value"]
			}
		}
		return nil
	}
	assert.Equal(t, "4e65d3fbe8ad6535681b021b30785b12", root["traceId"], "the start of SHA-256(run-1)")
	assert.Equal(t, "00f067aa0ba902b7", root["spanId"])
	assert.NotContains(t, root, "parentSpanId")
	assert.Equal(t, map[string]any{"code": 2.0, "message": "exit status 3"}, root["status"])
	assert.Equal(t, map[string]any{"intValue": "3"}, value(root, "process.exit.code"))
	assert.Equal(t, map[string]any{"arrayValue": map[string]any{"values": []any{map[string]any{"stringValue": "a"}, map[string]any{"stringValue": "b"}}}}, value(root, "obsrun.command"))
	assert.Equal(t, []any{"discovery", "1000500000000", "1001000000000"}, []any{phase["name"], phase["startTimeUnixNano"], phase["endTimeUnixNano"]})
	assert.Equal(t, []any{spanID("a").String(), "00f067aa0ba902b7", 1.0, "1002500000000"}, []any{first["spanId"], first["parentSpanId"], first["kind"], first["endTimeUnixNano"]})
	assert.Equal(t, attemptID("a", 2).String(), second["spanId"])
	assert.Equal(t, spanID("a").String(), second["links"].([]any)[0].(map[string]any)["spanId"])
	assert.Equal(t, map[string]any{"intValue": "8"}, value(second, "gen_ai.usage.input_tokens"), "all attempts")
	assert.Equal(t, map[string]any{"doubleValue": 0.5}, value(second, "obsrun.attr.rate"))
	assert.Equal(t, map[string]any{"boolValue": true}, value(second, "obsrun.attr.ok"))
	assert.Equal(t, map[string]any{"code": 1.0}, second["status"])
	assert.Equal(t, []any{map[string]any{"key": "service.name", "value": map[string]any{"stringValue": "obsrun"}}}, got.ResourceSpans[0].Resource["attributes"].([]any)[1:2])
	assert.Equal(t, map[string]any{"name": scopeName, "version": "1.2.3"}, got.ResourceSpans[0].ScopeSpans[0].Scope)
	assert.Equal(t, int(otlptrace.Span_SPAN_KIND_CLIENT), 3)
}

// A line has so many spans at most, and no span is in two.
func TestOTLPJSONBatches(t *testing.T) {
	lines := []string{`{"event":"span_start","span_id":"r","kind":"run","attrs":{"run_id":"x"},"ts":1000,"source":"obsrun","recv_ms":0}`}
	for i := range 2*maxBatch + 10 {
		b, err := json.Marshal(map[string]any{"event": "span_end", "span_id": string(rune('a' + i)), "kind": "task", "ts": 1001, "source": "socket", "recv_ms": 1})
		require.NoError(t, err)
		lines = append(lines, string(b))
	}
	b := written(t, "otlp-json", folded(t, lines...))
	assert.Equal(t, 3, bytes.Count(b, []byte("\n")))
	assert.Equal(t, 2*maxBatch+10, bytes.Count(b, []byte(`"spanId"`)))
}
