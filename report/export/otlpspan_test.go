package export

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	otlptrace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

var idField = regexp.MustCompile(`("(?:traceId|spanId|parentSpanId)":")([0-9a-f]*)"`)

// Protobuf's own library reads what is written, and the same of either encoding.
func TestEncodings(t *testing.T) {
	long := strings.Repeat("long ", 10_000) // lengths of one, two and three bytes
	spans := []*Span{
		{Trace: TraceID{1, 2}, ID: SpanID{3}, Parent: SpanID{4}, Name: "all", Kind: KindClient, StartMS: 1, EndMS: 1775606400123,
			Attributes: []Attribute{
				{"text", "t"}, {"empty", ""}, {"long", long}, {"yes", true}, {"no", false}, {"int", int64(5)}, {"zero", int64(0)}, {"negative", int64(math.MinInt64)},
				{"double", 0.5}, {"none", 0.0}, {"list", []string{"a", "", long}}, {"empty list", []string{}}, {"", "no key"}, {"letters", "ü\u2028\x00\"<"},
			},
			Events: []Event{{5, "queued", nil}, {6, "stalled", []Attribute{{"obsrun.idle_ms", int64(7)}}}},
			Links:  []Link{{TraceID{1, 2}, SpanID{9}, []Attribute{{"obsrun.link", "first attempt"}}}},
			Status: Status{StatusError, strings.Repeat("x", 130)}},
		{ID: SpanID{1}, Kind: KindInternal, StartMS: -5, EndMS: -1, Status: Status{Code: StatusOK}},
		{},
	}
	r := recorded(t, "troubled")
	tr := NewTrace(r.State.Info().RunID, "1", map[string]string{"team": "a", "empty": ""})
	for s := range tr.spans(r.State) {
		spans = append(spans, s)
	}
	var fromWire, fromJSON otlptrace.TracesData
	require.NoError(t, proto.Unmarshal(tr.protobuf(spans), &fromWire))
	line, err := compactJSON(tr.request(spans))
	require.NoError(t, err)
	line = idField.ReplaceAllFunc(line, func(match []byte) []byte {
		parts := idField.FindSubmatch(match)
		id, err := hex.DecodeString(string(parts[2]))
		require.NoError(t, err)
		return append(base64.StdEncoding.AppendEncode(parts[1], id), '"')
	})
	require.NoError(t, protojson.Unmarshal(line, &fromJSON))
	// Flags of links are not written in JSON.
	for _, s := range fromWire.ResourceSpans[0].ScopeSpans[0].Spans {
		for _, link := range s.Links {
			assert.Equal(t, spanFlags, link.Flags)
			link.Flags = 0
		}
	}
	assert.True(t, proto.Equal(&fromWire, &fromJSON), "%s\n%s", prototext.Format(&fromWire), prototext.Format(&fromJSON))
	assert.Len(t, fromWire.ResourceSpans[0].ScopeSpans[0].Spans, len(spans))
	assert.Greater(t, len(spans), 10)

	// What is no UTF-8 would make the endpoint refuse the batch.
	bad := &Span{Name: "\xff", Attributes: []Attribute{{"\xff", "\xff"}, {"list", []string{"\xff"}}}, Status: Status{StatusError, "\xff"}}
	require.NoError(t, proto.Unmarshal(tr.protobuf([]*Span{bad}), &fromWire))
	assert.Equal(t, "\uFFFD", fromWire.ResourceSpans[0].ScopeSpans[0].Spans[0].Name)
}

func TestNaN(t *testing.T) {
	var data otlptrace.TracesData
	tr := NewTrace("run-1", "1", nil)
	require.NoError(t, proto.Unmarshal(tr.protobuf([]*Span{{Attributes: []Attribute{{"x", math.NaN()}}}}), &data))
	assert.Zero(t, data.ResourceSpans[0].ScopeSpans[0].Spans[0].Attributes[0].Value.GetDoubleValue())
	_, err := compactJSON(tr.request([]*Span{{Attributes: []Attribute{{"x", math.Inf(1)}}}}))
	assert.NoError(t, err)
}

func TestPartialSuccess(t *testing.T) {
	for answer, want := range map[string]struct {
		rejected uint64
		why      string
	}{
		"":                           {0, ""},
		"\x0a\x06\x08\x01\x12\x02no": {1, "no"},
		"\x0a\x04\x12\x02no":         {0, "no"},
		"\x10\x05\x0a\x02\x08\x07":   {7, ""},
		"\x0a\x06\x08\x01\x12\x09no": {1, ""}, // cut off
		"\x0a\xff":                   {0, ""},
		"\xff\xff":                   {0, ""},
		"\x0b\x0b":                   {0, ""},
	} {
		rejected, why := partialSuccess([]byte(answer))
		assert.Equal(t, want.rejected, rejected, "%q", answer)
		assert.Equal(t, want.why, why, "%q", answer)
	}
}

func TestMayPass(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		header map[string]string
		want   time.Duration
	}{
		"busy":                  {503, nil, 0},
		"busy for a while":      {429, map[string]string{"Retry-After": "7"}, 7 * time.Second},
		"a bad gateway":         {502, map[string]string{"Retry-After": "-7"}, 0},
		"a gateway that waited": {504, map[string]string{"Retry-After": "soon"}, 0},
		"busy until then":       {503, map[string]string{"Date": "Wed, 08 Apr 2026 00:00:00 GMT", "Retry-After": "Wed, 08 Apr 2026 00:01:30 GMT"}, 90 * time.Second},
		"busy until before":     {503, map[string]string{"Date": "Wed, 08 Apr 2026 00:00:00 GMT", "Retry-After": "Tue, 07 Apr 2026 00:00:00 GMT"}, 0},
		"broken":                {500, map[string]string{"Retry-After": "7"}, never},
		"not understood":        {400, nil, never},
		"elsewhere":             {307, nil, never},
	} {
		resp := &http.Response{StatusCode: c.status, Header: make(http.Header)}
		for key, value := range c.header {
			resp.Header.Set(key, value)
		}
		assert.Equal(t, c.want, mayPass(resp), name)
	}
}
