package otlp

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// nested is a value that lies so deep in lists.
func nested(depth int) *common.AnyValue {
	v := anyValue("deep")
	for range depth {
		v = &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: []*common.AnyValue{v}}}}
	}
	return v
}

// A small body can have a great many items, each of which would take memory.
func TestTooManyItems(t *testing.T) {
	group := func(n int, item string) string {
		items := strings.Repeat(item, n)
		return string(appendField(nil, 1, appendField(nil, 2, []byte(items))))
	}
	point := func(n int, labels string) string { // of a metric that is kept
		metric := appendField(nil, 1, []byte(metricRows[0].name))
		return group(1, string(appendField(nil, 2, appendField(metric, 7, []byte(strings.Repeat(string(appendField(nil, 1, []byte(labels))), n))))))
	}
	for _, c := range []struct {
		name, path string
		body       func(n int) string
	}{
		{"log records", "/v1/logs", func(n int) string { return group(n, "\x12\x00") }},
		{"data points", "/v1/metrics", func(n int) string { return point(n, "") }},
		{"labels", "/v1/metrics", func(n int) string { return point(1, strings.Repeat("\x3a\x00", n)) }},
		{"spans", "/v1/traces", func(n int) string {
			return group(n, string(appendField(nil, 2, appendField(appendField(nil, 1, bytes.Repeat([]byte{7}, 16)), 2, bytes.Repeat([]byte{7}, 8)))))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for n, want := range map[int]int{maxItems: http.StatusOK, maxItems + 1: http.StatusRequestEntityTooLarge} {
				r := New(func([]telemetry.Event) error { return nil }, nil)
				req := httptest.NewRequest(http.MethodPost, c.path, strings.NewReader(c.body(n)))
				req.Header.Set("Content-Type", protobufType)
				w := httptest.NewRecorder()
				r.ServeHTTP(w, req)
				assert.Equal(t, want, w.Code, "%d: %s", n, w.Body)
			}
		})
	}
}

// Text that is cut within a rune is mended in the same way wherever it stands.
func TestBrokenText(t *testing.T) {
	list := attributes{}
	require.NoError(t, list.read(string(appendField(appendField(nil, 1, []byte("gen_ai.request.model")), 2, appendField(nil, 1, []byte("\xff\xfemodel"))))))
	assert.JSONEq(t, `{"model":"\ufffdmodel"}`, string(appendAttrs(nil, &list, "")))
}

// Spans that are valid and absurd become lines that the journal takes: valid, and
// no longer than a line may be.
func TestAbsurdSpans(t *testing.T) {
	huge := strings.Repeat("x", 2<<20)
	with := func(change func(*trace.Span)) *trace.Span {
		span := sp(1, 0, "work", 1, 2, "gen_ai.operation.name", "invoke_agent")
		change(span)
		return span
	}
	attribute := func(key string, value *common.AnyValue) *trace.Span {
		return with(func(s *trace.Span) { s.Attributes = append(s.Attributes, &common.KeyValue{Key: key, Value: value}) })
	}
	many := func(s *trace.Span) {
		for i := range 10_000 {
			s.Attributes = append(s.Attributes, &common.KeyValue{Key: fmt.Sprint("key-", i), Value: anyValue("value")})
		}
	}
	for name, span := range map[string]*trace.Span{
		"a long name":            with(func(s *trace.Span) { s.Name = huge }),
		"a long attribute":       attribute("gen_ai.agent.name", anyValue(huge)),
		"a long unknown one":     attribute("unknown", anyValue(huge)),
		"a long key":             attribute(huge, anyValue("x")),
		"a long model":           attribute("gen_ai.request.model", anyValue(huge)),
		"many attributes":        with(many),
		"many links":             with(func(s *trace.Span) { s.Links = make([]*trace.Span_Link, 1000); fill(s.Links) }),
		"deep lists":             attribute("deep", nested(2000)),
		"deep, where it matters": attribute("gen_ai.usage.input_tokens", nested(2000)),
		"no value":               attribute("gen_ai.agent.name", nil),
		"a list for a name":      attribute("gen_ai.agent.name", anyValue([]string{"a", huge})),
		"bytes":                  attribute("gen_ai.agent.name", &common.AnyValue{Value: &common.AnyValue_BytesValue{BytesValue: []byte(huge)}}),
		"control characters":     with(func(s *trace.Span) { s.Name = "\x00\x1b]0;x\x07\u202e\u2028\n\r" }),
		"a long error":           with(func(s *trace.Span) { s.Status = &trace.Status{Code: trace.Status_STATUS_CODE_ERROR, Message: huge} }),
		"a long event": with(func(s *trace.Span) {
			s.Events = []*trace.Span_Event{{Name: "exception", Attributes: kv("exception.message", huge, "exception.type", huge)}}
		}),
		"many events": with(func(s *trace.Span) {
			for range 5_000 {
				s.Events = append(s.Events, &trace.Span_Event{Name: "exception", Attributes: kv("exception.message", "x")})
			}
		}),
		"a trace state": with(func(s *trace.Span) { s.TraceState = huge }),
	} {
		t.Run(name, func(t *testing.T) {
			r, j := newReceiver()
			w := post(r, "/v1/traces", protobufType, "", encode(t, tracesData(span)))
			require.Contains(t, []int{200, 400}, w.Code)
			assert.Less(t, w.Body.Len(), 10_000)
			if w.Code == 200 {
				require.NotEmpty(t, j.all())
			}
			for _, e := range j.all() {
				line := e.Line()
				assert.Less(t, len(line), telemetry.MaxLine)
				_, err := telemetry.Decode(line)
				assert.NoError(t, err)
			}
			for _, e := range j.faults {
				assert.Less(t, len(e.Raw)+len(e.Fault), 10_000)
			}
			j.fold(t)
		})
	}
}

func fill(links []*trace.Span_Link) {
	for i := range links {
		links[i] = &trace.Span_Link{TraceId: make([]byte, 16), SpanId: make([]byte, 8)}
	}
}

// So do records of logs.
func TestAbsurdLogs(t *testing.T) {
	huge := strings.Repeat("x", 2<<20)
	for name, record := range map[string]*logs.LogRecord{
		"a long body":      {SeverityNumber: 17, Body: anyValue(huge)},
		"a deep body":      {SeverityNumber: 17, Body: nested(2000)},
		"a long name":      {SeverityNumber: 17, EventName: huge, Body: anyValue("x")},
		"a long attribute": {SeverityNumber: 17, Body: anyValue("x"), Attributes: kv("event.name", huge, "exception.message", huge)},
		"a call":           {SeverityNumber: 9, Body: anyValue("claude_code.api_request"), Attributes: kv("event.name", "api_request", "model", huge, "request_id", huge, "input_tokens", huge)},
		"a severity":       {SeverityNumber: 1 << 30, SeverityText: huge, Body: anyValue("x")},
	} {
		t.Run(name, func(t *testing.T) {
			r, j := newReceiver()
			w := post(r, "/v1/logs", protobufType, "", encode(t, logsData(record)))
			require.Contains(t, []int{200, 400}, w.Code)
			r.Close(t.Context())
			for _, e := range j.all() {
				assert.Less(t, len(e.Line()), telemetry.MaxLine)
			}
			j.fold(t)
		})
	}
}

// Bodies that nest without end, or announce more than they have, are refused, and
// cost no more than they are long.
func TestHostileBodies(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for name, c := range map[string]struct{ contentType, body string }{
		"deep lists":              {jsonType, strings.Repeat("[", 1<<20)},
		"deep objects":            {jsonType, strings.Repeat(`{"resourceSpans":[`, 50_000)},
		"deep values":             {jsonType, `{"resourceSpans":[{"resource":{"attributes":[{"key":"a","value":` + strings.Repeat(`{"arrayValue":{"values":[`, 20_000)},
		"a length beyond the end": {protobufType, "\x0a\xff\xff\xff\xff\x0f"},
		"a length beyond all":     {protobufType, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"},
		"an endless number":       {protobufType, strings.Repeat("\xff", 1000)},
		"groups without an end":   {protobufType, strings.Repeat("\x0b", 100_000)},
		"a field 0":               {protobufType, "\x00\x00"},
		"BOM":                     {jsonType, "\ufeff{}"},
		"NUL":                     {jsonType, "{}\x00"},
		"two documents":           {jsonType, "{}{}"},
		"UTF-16":                  {jsonType, "{\x00}\x00"},
		"bad UTF-8":               {jsonType, "{\"resourceSpans\":[{\"schemaUrl\":\"\xff\"}]}"},
		"a huge number":           {jsonType, `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"07070707070707070707070707070707","spanId":"0000000000000001","startTimeUnixNano":"1` + strings.Repeat("0", 1<<20) + `"}]}]}]}`},
		"a number out of range":   {jsonType, `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"07070707070707070707070707070707","spanId":"0000000000000001","startTimeUnixNano":-1}]}]}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/v1/traces", "/"} {
				r, j := newReceiver()
				w := post(r, path, c.contentType, "", []byte(c.body))
				assert.Equal(t, 400, w.Code, path)
				assert.Less(t, w.Body.Len(), 2000)
				assert.Empty(t, j.all())
				assert.Len(t, j.faults, 1)
			}
		})
	}
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(512<<20))
}

// Clients that stop in the middle of a body keep their place for a moment only, and
// the others lose nothing.
func TestSlowBodies(t *testing.T) {
	r, j := newReceiver()
	r.silence = 200 * time.Millisecond
	server := httptest.NewServer(r)
	defer server.Close()
	var slow sync.WaitGroup
	for range 2 * maxAtOnce {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		_, err = fmt.Fprintf(conn, "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 1000\r\n\r\nhalf", protobufType)
		require.NoError(t, err)
		slow.Go(func() {
			defer conn.Close()
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if assert.NoError(t, err) {
				assert.Equal(t, 400, answer.StatusCode)
			}
		})
	}
	body := encode(t, tracesData(sp(1, 0, "work", 1, 2)))
	resp, err := http.Post(server.URL+"/v1/traces", protobufType, bytes.NewReader(body))
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, 200, resp.StatusCode)
	slow.Wait()
	assert.Len(t, j.all(), 2)
	assert.Len(t, j.faults, 2*maxAtOnce)
}
