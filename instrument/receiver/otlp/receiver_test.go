package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// journal collects what is recorded, as lines and folded.
type journal struct {
	mu     sync.Mutex
	events []telemetry.Event
	faults []telemetry.Event
}

const rootID = "00000000000000aa"

func (j *journal) record(e telemetry.Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e.Fault != "" {
		j.faults = append(j.faults, e)
		return nil
	}
	j.events = append(j.events, e)
	return nil
}

func (j *journal) all() []telemetry.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]telemetry.Event(nil), j.events...)
}

// of gives the events about a span.
func (j *journal) of(id string) []telemetry.Event {
	var found []telemetry.Event
	for _, e := range j.all() {
		if e.SpanID == id {
			found = append(found, e)
		}
	}
	return found
}

// fold gives the state of a run of these events. Each goes through its line, as
// in life.
func (j *journal) fold(t *testing.T) *run.State {
	t.Helper()
	s := run.NewState()
	apply := func(e telemetry.Event, recv int64) {
		source := e.Source
		e.Stamp(source, recv, 1000)
		decoded, err := telemetry.Decode(e.Raw)
		require.NoError(t, err)
		s.Apply(decoded)
	}
	apply(telemetry.Event{Type: telemetry.SpanStart, SpanID: rootID, Kind: telemetry.KindRun, Source: telemetry.SourceObsrun, TS: telemetry.F(1000)}, 0)
	for i, e := range j.all() {
		require.NotEmpty(t, e.Source)
		apply(e, int64(i+1))
	}
	return s
}

func (j *journal) recordAll(events []telemetry.Event) error {
	for _, e := range events {
		_ = j.record(e)
	}
	return nil
}

func newReceiver() (*Receiver, *journal) {
	j := new(journal)
	return New(j.recordAll, nil), j
}

// kv makes attributes of key, value pairs.
func kv(pairs ...any) []*common.KeyValue {
	var list []*common.KeyValue
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, &common.KeyValue{Key: pairs[i].(string), Value: anyValue(pairs[i+1])})
	}
	return list
}

func anyValue(v any) *common.AnyValue {
	switch v := v.(type) {
	case string:
		return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: v}}
	case bool:
		return &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: v}}
	case int:
		return &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: int64(v)}}
	case float64:
		return &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: v}}
	case []string:
		array := new(common.ArrayValue)
		for _, s := range v {
			array.Values = append(array.Values, anyValue(s))
		}
		return &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: array}}
	}
	panic("no such value")
}

// attributesOf are attributes as the receiver reads them.
func attributesOf(list []*common.KeyValue) *attributes {
	a := new(attributes)
	for _, kv := range list {
		message, err := proto.Marshal(kv)
		if err == nil {
			err = a.read(string(message))
		}
		if err != nil {
			panic(err)
		}
	}
	return a
}

// given takes in a message as if it had been posted.
func given(r *Receiver, m proto.Message) result {
	body, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	s := map[protoreflect.Name]signal{"TracesData": traces, "LogsData": logRecords, "MetricsData": metricPoints}[m.ProtoReflect().Descriptor().Name()]
	p, err := decode(s, string(body), false)
	if err != nil {
		panic(err)
	}
	return r.take(s, p)
}

const second = uint64(time.Second)

// sp makes a span that runs from second from to second to after 1000.
func sp(id byte, parent byte, name string, from, to int, attrs ...any) *trace.Span {
	s := &trace.Span{
		TraceId: bytes.Repeat([]byte{7}, 16), SpanId: []byte{0, 0, 0, 0, 0, 0, 0, id}, Name: name,
		StartTimeUnixNano: uint64(1000+from) * second, EndTimeUnixNano: uint64(1000+to) * second, Attributes: kv(attrs...),
	}
	if parent != 0 {
		s.ParentSpanId = []byte{0, 0, 0, 0, 0, 0, 0, parent}
	}
	return s
}

func sid(id byte) string { return hex.EncodeToString([]byte{0, 0, 0, 0, 0, 0, 0, id}) }

func tracesData(spans ...*trace.Span) *trace.TracesData {
	return &trace.TracesData{ResourceSpans: []*trace.ResourceSpans{{
		Resource:   &resource.Resource{Attributes: kv("service.name", "svc")},
		ScopeSpans: []*trace.ScopeSpans{{Spans: spans}},
	}}}
}

func logsData(records ...*logs.LogRecord) *logs.LogsData {
	return &logs.LogsData{ResourceLogs: []*logs.ResourceLogs{{
		Resource: &resource.Resource{Attributes: kv("service.name", "svc")}, ScopeLogs: []*logs.ScopeLogs{{LogRecords: records}},
	}}}
}

func metricsData(service string, list ...*metrics.Metric) *metrics.MetricsData {
	return &metrics.MetricsData{ResourceMetrics: []*metrics.ResourceMetrics{{
		Resource: &resource.Resource{Attributes: kv("service.name", service)}, ScopeMetrics: []*metrics.ScopeMetrics{{Metrics: list}},
	}}}
}

func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	require.NoError(t, err)
	return b
}

func zip(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

func post(h http.Handler, path, contentType, encoding string, body []byte) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	req.Header.Set("Content-Type", contentType)
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

// status reads a google.rpc.Status.
func status(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	if w.Header().Get("Content-Type") == jsonType {
		var s struct {
			Code    int
			Message string
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &s))
		assert.NotZero(t, s.Code)
		return s.Message
	}
	require.Equal(t, protobufType, w.Header().Get("Content-Type"))
	message, ok := descend(w.Body.String(), 2)
	require.True(t, ok)
	return message
}

func TestTakesEveryFormatAndPath(t *testing.T) {
	one := tracesData(sp(1, 0, "work", 1, 2))
	log := logsData(&logs.LogRecord{TimeUnixNano: 1001 * second, SeverityNumber: 13, Body: anyValue("beware")})
	lateLog := logsData(&logs.LogRecord{ObservedTimeUnixNano: 1001 * second, SeverityNumber: 17, Body: anyValue("beware")})
	metric := metricsData("m", sum("claude_code.token.usage", false, 5, "type", "input"))
	json1 := `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"07070707070707070707070707070707","spanId":"00000000000000Aa","name":"work",
		"startTimeUnixNano":"1001000000000","endTimeUnixNano":1002000000000,"kind":1,"unheard":{"spanId":"zz"},"status":{"code":2,"message":"no"}}]}]}]}`
	for name, c := range map[string]struct {
		path, contentType, encoding string
		body                        []byte
		want                        int // events
	}{
		"protobuf":             {"/v1/traces", protobufType, "", encode(t, one), 2},
		"protobuf, gzip":       {"/v1/traces", protobufType, "gzip", zip(t, encode(t, one)), 2},
		"protobuf, identity":   {"/v1/traces", protobufType, "identity", encode(t, one), 2},
		"with a parameter":     {"/v1/traces", protobufType + "; charset=utf-8", "", encode(t, one), 2},
		"JSON":                 {"/v1/traces", jsonType, "", []byte(json1), 2},
		"JSON, gzip":           {"/v1/traces", jsonType, "gzip", zip(t, []byte(json1)), 2},
		"empty":                {"/v1/traces", protobufType, "", nil, 0},
		"empty JSON":           {"/v1/traces", jsonType, "", []byte("{}"), 0},
		"logs":                 {"/v1/logs", protobufType, "", encode(t, log), 1},
		"metrics":              {"/v1/metrics", protobufType, "", encode(t, metric), 0},
		"root, traces":         {"/", protobufType, "", encode(t, one), 2},
		"root, logs":           {"/", protobufType, "", encode(t, log), 1},
		"root, logs, observed": {"/", protobufType, "", encode(t, lateLog), 1},
		"root, metrics":        {"/", protobufType, "", encode(t, metric), 0},
		"root, JSON":           {"/", jsonType, "", []byte(json1), 2},
		"root, empty":          {"/", protobufType, "", nil, 0},
		"root, empty JSON":     {"/", jsonType, "", []byte("{}"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			r, j := newReceiver()
			w := post(r, c.path, c.contentType, c.encoding, c.body)
			require.Equal(t, 200, w.Code, w.Body)
			if strings.HasPrefix(c.contentType, jsonType) {
				assert.Equal(t, "{}", w.Body.String())
				assert.Equal(t, jsonType, w.Header().Get("Content-Type"))
			} else {
				assert.Empty(t, w.Body.Bytes(), "an empty message")
				assert.Equal(t, protobufType, w.Header().Get("Content-Type"))
			}
			assert.Len(t, j.all(), c.want)
			assert.Empty(t, j.faults)
		})
	}
}

func TestRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		path, contentType, encoding string
		body                        string
		status                      int
		says                        string
	}{
		"no type":            {"/v1/traces", "", "", "", 415, jsonType},
		"text":               {"/v1/traces", "text/plain", "", "{}", 415, protobufType},
		"brotli":             {"/v1/traces", jsonType, "br", "{}", 415, "gzip"},
		"garbage":            {"/v1/traces", protobufType, "", "1234", 400, "protobuf"},
		"garbage as JSON":    {"/v1/logs", jsonType, "", "1234", 400, "JSON"},
		"half JSON":          {"/v1/logs", jsonType, "", `{"resourceLogs":[`, 400, "JSON"},
		"wrong JSON":         {"/v1/metrics", jsonType, "", `{"resourceMetrics":7}`, 400, "JSON"},
		"not gzip":           {"/v1/traces", protobufType, "gzip", "plain", 400, "decompress"},
		"half gzip":          {"/v1/traces", protobufType, "gzip", string(zip(t, bytes.Repeat([]byte("x"), 999))[:20]), 400, "decompress"},
		"gzip without a say": {"/v1/traces", protobufType, "", string(zip(t, []byte("x"))), 400, "protobuf"},
		"what is it":         {"/", protobufType, "", "\x0a\x00", 400, "neither"},
		"what is it, JSON":   {"/", jsonType, "", `{"a":1}`, 400, "neither"},
	} {
		t.Run(name, func(t *testing.T) {
			r, j := newReceiver()
			w := post(r, c.path, c.contentType, c.encoding, []byte(c.body))
			assert.Equal(t, c.status, w.Code)
			assert.Contains(t, status(t, w), c.says)
			assert.Empty(t, j.all())
			assert.Len(t, j.faults, 1, "it is counted")
		})
	}
	r, _ := newReceiver()
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/traces", nil))
	assert.Equal(t, 405, w.Code)
	assert.Equal(t, "POST", w.Header().Get("Allow"))

	r, j := newReceiver()
	req := httptest.NewRequest(http.MethodPost, "/v1/traces", io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	req.Header.Set("Content-Type", protobufType)
	w = httptest.NewRecorder()
	r.ServeHTTP(w, req)
	assert.Equal(t, 400, w.Code, "a body that is cut off")
	assert.Len(t, j.faults, 1)
}

// limits: one byte decides, as it came and after decompression.
func TestBodyLimit(t *testing.T) {
	// A span whose name fills the body up to exactly that size.
	fill := func(size int) []byte {
		span := sp(1, 0, "", 1, 2)
		for n := size; ; n-- {
			span.Name = strings.Repeat("n", n)
			if d := len(encode(t, tracesData(span))) - size; d > 0 {
				n -= d - 1
			} else {
				require.Zero(t, d)
				return encode(t, tracesData(span))
			}
		}
	}
	r, j := newReceiver()
	r.limit = 1 << 20
	exact, more := fill(1<<20), fill(1<<20+1)
	assert.Equal(t, 200, post(r, "/v1/traces", protobufType, "", exact).Code)
	assert.Len(t, j.all(), 2)
	for encoding, body := range map[string][]byte{"": more, "gzip": zip(t, more)} {
		w := post(r, "/v1/traces", protobufType, encoding, body)
		assert.Equal(t, 413, w.Code)
		assert.Contains(t, status(t, w), "larger than 1048576 bytes")
	}
	// Nothing announced.
	req := httptest.NewRequest(http.MethodPost, "/v1/traces", io.MultiReader(bytes.NewReader(more)))
	req.ContentLength = -1
	req.Header.Set("Content-Type", protobufType)
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	assert.Equal(t, 413, w.Code)
	assert.Len(t, j.faults, 3)
}

func TestBodyLimitOfTheSpecification(t *testing.T) {
	assert.Equal(t, 67108864, MaxBody)
	r, _ := newReceiver()
	// An unknown field of that size is skipped.
	body := protowire.AppendTag(nil, 15, protowire.BytesType)
	body = protowire.AppendBytes(body, make([]byte, MaxBody-5))
	require.Len(t, body, MaxBody)
	assert.Equal(t, 200, post(r, "/v1/traces", protobufType, "", body).Code)
	assert.Equal(t, 413, post(r, "/v1/traces", protobufType, "", append(body, 0)).Code)
}

func TestGzipBomb(t *testing.T) {
	r, _ := newReceiver()
	r.limit = 16 << 20
	// Members of a gzip stream add up: 10 GiB in 10 MB, of which the limit is looked at.
	bomb := bytes.Repeat(zip(t, make([]byte, 1<<20)), 10<<10)
	require.Less(t, len(bomb), int(r.limit))
	assert.Equal(t, 413, post(r, "/v1/traces", protobufType, "gzip", bomb).Code)
}

func TestPartialSuccess(t *testing.T) {
	zero := sp(2, 0, "zero", 1, 2)
	zero.SpanId = make([]byte, 8)
	short := sp(3, 0, "short", 1, 2)
	short.TraceId = []byte{1, 2}
	body := encode(t, tracesData(sp(1, 0, "good", 1, 2), zero, short))
	r, j := newReceiver()
	w := post(r, "/v1/traces", protobufType, "", body)
	require.Equal(t, 200, w.Code)
	partial, ok := descend(w.Body.String(), 1)
	require.True(t, ok)
	n, _ := uvarint(partial[1:])
	assert.EqualValues(t, 2, n)
	assert.Len(t, j.all(), 2)
	assert.Len(t, j.faults, 1)

	w = post(r, "/v1/traces", jsonType, "", []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[
		{"traceId":"xyz","spanId":"0000000000000001"},{"traceId":"07070707070707070707070707070707","spanId":"0000000000000000"},{}]}]}]}`))
	require.Equal(t, 200, w.Code)
	assert.JSONEq(t, `{"partialSuccess":{"rejectedSpans":"3","errorMessage":"a span without a valid trace_id (16 bytes) and span_id (8 bytes), not all zero"}}`, w.Body.String())
}

// One attribute that is no UTF-8 costs itself, not the batch.
func TestRepairsText(t *testing.T) {
	body := encode(t, tracesData(sp(1, 0, "BROKEN", 1, 2, "gen_ai.operation.name", "chat", "gen_ai.request.model", "BROKEN")))
	body = bytes.ReplaceAll(body, []byte("BROKEN"), []byte("BRO\xffEN"))
	r, j := newReceiver()
	require.Equal(t, 200, post(r, "/v1/traces", protobufType, "", body).Code)
	assert.Equal(t, "BRO\uFFFDEN", j.of(sid(1))[0].Name)
}

func TestOverload(t *testing.T) {
	r, _ := newReceiver()
	r.patience = time.Millisecond
	for range maxAtOnce {
		r.places <- struct{}{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/traces", nil)
	req.Header.Set("Content-Type", protobufType)
	r.ServeHTTP(httptest.NewRecorder(), req) // gone: returns
	w := post(r, "/v1/traces", protobufType, "", nil)
	assert.Equal(t, 503, w.Code)
	assert.NotEmpty(t, w.Header().Get("Retry-After"))
	<-r.places
	assert.Equal(t, 200, post(r, "/v1/traces", protobufType, "", nil).Code)
}

func TestFlood(t *testing.T) {
	r, j := newReceiver()
	server := httptest.NewServer(r)
	defer server.Close()
	var wg sync.WaitGroup
	const clients, requests = 8, 25
	for c := range clients {
		wg.Go(func() {
			for n := range requests {
				span := sp(1, 0, "work", 1, 2)
				span.SpanId = []byte{1, 2, 3, 4, 5, 6, byte(c), byte(n)}
				resp, err := http.Post(server.URL+"/v1/traces", protobufType, bytes.NewReader(encode(t, tracesData(span))))
				if assert.NoError(t, err) {
					assert.Equal(t, 200, resp.StatusCode)
					resp.Body.Close()
				}
			}
		})
	}
	wg.Wait()
	assert.Len(t, j.all(), 2*clients*requests)
}

func sum(name string, cumulative bool, value int, attrs ...any) *metrics.Metric {
	temporality := metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA
	if cumulative {
		temporality = metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE
	}
	return &metrics.Metric{Name: name, Data: &metrics.Metric_Sum{Sum: &metrics.Sum{
		AggregationTemporality: temporality, IsMonotonic: true,
		DataPoints: []*metrics.NumberDataPoint{{
			Attributes: kv(attrs...), StartTimeUnixNano: 1000 * second, TimeUnixNano: 1060 * second,
			Value: &metrics.NumberDataPoint_AsInt{AsInt: int64(value)},
		}},
	}}}
}
