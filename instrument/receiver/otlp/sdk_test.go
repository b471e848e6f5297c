package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

var update = flag.Bool("update", false, "write the golden files anew")

const goldens = "../../../testdata/otlp"

// ids counts them up, so that bodies are the same each time.
type ids struct{ n atomic.Uint64 }

func (g *ids) NewIDs(ctx context.Context) (oteltrace.TraceID, oteltrace.SpanID) {
	return oteltrace.TraceID{1, 2, 3}, g.NewSpanID(ctx, oteltrace.TraceID{})
}

func (g *ids) NewSpanID(context.Context, oteltrace.TraceID) (id oteltrace.SpanID) {
	binary.BigEndian.PutUint64(id[:], g.n.Add(1))
	return id
}

// playAgents plays an agent with a tool, two calls, a retry and a failure on the
// real SDK, exporting with what the environment says.
func playAgents(t *testing.T, options ...otlptracehttp.Option) {
	t.Helper()
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": "00-01020300000000000000000000000000-" + rootID + "-01"})
	exporter, err := otlptracehttp.New(ctx, options...)
	require.NoError(t, err)
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithIDGenerator(new(ids)), sdk.WithResource(nil))
	tracer := provider.Tracer("test")
	at := func(s float64) oteltrace.SpanEventOption {
		return oteltrace.WithTimestamp(time.Unix(1000, int64(s*1e9)).UTC())
	}
	start := func(ctx context.Context, name string, s float64, attrs ...attribute.KeyValue) (context.Context, oteltrace.Span) {
		return tracer.Start(ctx, name, at(s), oteltrace.WithAttributes(attrs...))
	}
	agent, agentSpan := start(ctx, "invoke_agent planner", 1,
		attribute.String("gen_ai.operation.name", "invoke_agent"), attribute.String("gen_ai.agent.name", "planner"),
		attribute.Int("gen_ai.usage.input_tokens", 999))
	chat := func(id string, s float64, in, cached, out int) oteltrace.Span {
		_, span := start(agent, "chat model-x", s,
			attribute.String("gen_ai.operation.name", "chat"), attribute.String("gen_ai.provider.name", "anthropic"),
			attribute.String("gen_ai.request.model", "model-x"), attribute.String("gen_ai.response.id", id),
			attribute.Int("gen_ai.usage.input_tokens", in), attribute.Int("gen_ai.usage.cache_read.input_tokens", cached), attribute.Int("gen_ai.usage.output_tokens", out),
			attribute.StringSlice("gen_ai.response.finish_reasons", []string{"tool_calls"}), attribute.String("gen_ai.input.messages", "SECRET"))
		span.End(at(s + 1.5))
		return span
	}
	chat("msg_00000001", 1.5, 100, 40, 10)
	tool, toolSpan := start(agent, "execute_tool search", 3, attribute.String("gen_ai.operation.name", "execute_tool"), attribute.String("gen_ai.tool.name", "search"), attribute.String("gen_ai.tool.call.arguments", "SECRET"))
	_, get := start(tool, "GET", 3.1, attribute.String("http.request.method", "GET"), attribute.String("url.full", "https://x/?key=SECRET"))
	get.End(at(3.2))
	toolSpan.RecordError(errors.New("no such index"), at(3.3))
	toolSpan.SetStatus(codes.Error, "")
	toolSpan.End(at(3.5))
	chat("msg_00000002", 4, 200, 0, 20)
	agentSpan.End(at(6))
	_, stray := tracer.Start(context.Background(), "a trace of its own", at(2), oteltrace.WithNewRoot())
	stray.End(at(3))
	require.NoError(t, provider.Shutdown(context.Background()))
}

// The SDK, told by nothing but the environment that the child is given.
func TestGoSDKByEnvironment(t *testing.T) {
	self := certificate(t, nil)
	file := filepath.Join(t.TempDir(), "cert.pem")
	require.NoError(t, os.WriteFile(file, []byte(self.pem), 0o600))
	pair := tls.Certificate{Certificate: [][]byte{self.Raw}, PrivateKey: self.key}
	for _, c := range []struct {
		compression string
		secure      bool
		user        []string
	}{
		{"", false, nil},
		{"gzip", true, nil},
		{"", false, []string{"OTEL_EXPORTER_OTLP_CERTIFICATE=" + file, "OTEL_EXPORTER_OTLP_ENDPOINT=https://127.0.0.1:1"}},
		{"", true, []string{"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE=/nowhere", "OTEL_EXPORTER_OTLP_ENDPOINT=https://127.0.0.1:1"}},
	} {
		r, j := newReceiver()
		zipped := false
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Authorization") != "Bearer to+k/=n" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			zipped = req.Header.Get("Content-Encoding") == "gzip"
			r.ServeHTTP(w, req)
		}))
		if server.TLS = (&tls.Config{Certificates: []tls.Certificate{pair}}); c.secure {
			server.StartTLS()
		} else {
			server.Start()
		}
		for _, entry := range c.user {
			key, value, _ := strings.Cut(entry, "=")
			t.Setenv(key, value)
		}
		p := Environment(c.user, Address{Endpoint: server.URL, Token: "to+k/=n", RunID: "run-1", Certificate: file}, "")
		for _, v := range p.Set {
			t.Setenv(v.Name, v.Value)
		}
		t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", c.compression)
		playAgents(t)
		server.Close()
		assert.Equal(t, c.compression == "gzip", zipped)

		s := j.fold(t)
		totals := s.Totals()
		assert.EqualValues(t, 330, totals.Tokens)
		assert.EqualValues(t, 300, totals.Input)
		assert.EqualValues(t, 40, totals.Cached)
		assert.Equal(t, 2, totals.LLMCallsWithUsage)
		assert.EqualValues(t, 1, totals.ToolUses)
		assert.Equal(t, 1, totals.ToolErrors)
		assert.Equal(t, 1, totals.Agents)
		assert.Equal(t, 6, totals.Spans)
		for _, e := range j.all() {
			assert.NotContains(t, string(e.Line()), "SECRET")
		}
		assert.Empty(t, j.faults)
	}
}

// Bodies kept in testdata give the events that are kept beside them: one of the
// Go SDK, the same as JSON, and one in the shape that Claude Code's
// documentation gives.
func TestGoldens(t *testing.T) {
	if *update {
		writeSDKBody(t)
	}
	for _, name := range []string{"sdk-go.traces.pb", "sdk-go.traces.json", "claude-code.traces.json", "claude-code.logs.json", "vercel-ai.traces.json"} {
		t.Run(name, func(t *testing.T) {
			body, err := os.ReadFile(filepath.Join(goldens, name))
			require.NoError(t, err)
			r, j := newReceiver()
			contentType, path := protobufType, "/v1/traces"
			if strings.HasSuffix(name, ".json") {
				contentType = jsonType
			}
			if strings.Contains(name, ".logs.") {
				path = "/v1/logs"
			}
			w := post(r, path, contentType, "", body)
			require.Equal(t, 200, w.Code, w.Body)
			require.LessOrEqual(t, w.Body.Len(), 2, "no partial success")
			r.Close(context.Background())
			var lines []byte
			for _, e := range j.all() {
				lines = append(append(lines, e.Line()...), '\n')
			}
			assert.NotContains(t, string(lines), "SECRET")
			golden := filepath.Join(goldens, strings.TrimSuffix(name, filepath.Ext(name))+".events.jsonl")
			if *update {
				require.NoError(t, os.WriteFile(golden, lines, 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			assert.Equal(t, string(want), string(lines))
		})
	}
}

// writeSDKBody keeps what the SDK posts, as it is and as OTLP/JSON.
func writeSDKBody(t *testing.T) {
	t.Helper()
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		if req.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(bytes.NewReader(b))
			assert.NoError(t, err)
			b, _ = io.ReadAll(z)
		}
		body = b
	}))
	defer server.Close()
	t.Setenv("OTEL_SERVICE_NAME", "planner-app")
	playAgents(t, otlptracehttp.WithEndpointURL(server.URL+"/v1/traces"))
	require.NoError(t, os.WriteFile(filepath.Join(goldens, "sdk-go.traces.pb"), body, 0o644))
	var data trace.TracesData
	require.NoError(t, proto.Unmarshal(body, &data))
	asJSON, err := protojson.MarshalOptions{UseEnumNumbers: true, Multiline: true}.Marshal(&data)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(goldens, "sdk-go.traces.json"), idsToHex(t, asJSON), 0o644))
}
