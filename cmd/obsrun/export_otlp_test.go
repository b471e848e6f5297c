package main

import (
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlptrace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/obsrun/obsrun/instrument/run"
)

// received is a span as a backend has it.
type received struct {
	*otlptrace.Span
	resource []*common.KeyValue
}

func attributeIn(list []*common.KeyValue, key string) any {
	for _, kv := range list {
		if kv.Key != key {
			continue
		}
		switch v := kv.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			return v.StringValue
		case *common.AnyValue_IntValue:
			return int(v.IntValue)
		default:
			return kv.Value.String()
		}
	}
	return nil
}

func (r received) attr(key string) any { return attributeIn(r.Attributes, key) }

// backend takes spans by OTLP/HTTP.
type backend struct {
	*httptest.Server
	mu       sync.Mutex
	spans    []received
	requests []*http.Request
	answer   int // 0 for 200
}

func newBackend(t *testing.T) *backend {
	b := new(backend)
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Close)
	return b
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var from io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		zip, err := gzip.NewReader(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		from = zip
	}
	body, err := io.ReadAll(from)
	var data otlptrace.TracesData
	if err != nil || proto.Unmarshal(body, &data) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = append(b.requests, r)
	if b.answer != 0 {
		w.WriteHeader(b.answer)
		return
	}
	for _, rs := range data.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, span := range ss.Spans {
				b.spans = append(b.spans, received{span, rs.GetResource().GetAttributes()})
			}
		}
	}
}

// asked are the requests that came so far, all the spans, named those of that name.
func (b *backend) asked() []*http.Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.requests)
}

func (b *backend) all() []received {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.spans)
}

func (b *backend) named(name string) (found []received) {
	for _, span := range b.all() {
		if span.Name == name {
			found = append(found, span)
		}
	}
	return found
}

func (b *backend) one(t *testing.T, name string) received {
	t.Helper()
	found := b.named(name)
	require.Len(t, found, 1, name)
	return found[0]
}

// peer is what "make tools" puts under testdata/otlp/.tools.
func peer(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../testdata/otlp/.tools", name))
	require.NoError(t, err)
	_, err = os.Stat(path)
	require.NoError(t, err, "run make tools")
	return path
}

// collector is an OpenTelemetry Collector that passes on to a backend.
type collector struct {
	t       *testing.T
	config  string
	address string
	cmd     *osexec.Cmd
}

func newCollector(t *testing.T, to *backend) *collector {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &collector{t: t, config: filepath.Join(t.TempDir(), "collector.yaml"), address: free.Addr().String()}
	require.NoError(t, free.Close())
	// A request is answered when it was passed on: what was taken is there.
	require.NoError(t, os.WriteFile(c.config, fmt.Appendf(nil, `
receivers: {otlp: {protocols: {http: {endpoint: %q}}}}
exporters: {otlphttp: {endpoint: %q, sending_queue: {enabled: false}}}
service: {pipelines: {traces: {receivers: [otlp], exporters: [otlphttp]}}}
`, c.address, to.URL), 0o600))
	c.start()
	t.Cleanup(c.kill)
	return c
}

func (c *collector) start() {
	c.t.Helper()
	c.cmd = osexec.Command(peer(c.t, "collector"), "--config", c.config)
	var words strings.Builder
	c.cmd.Stdout, c.cmd.Stderr = &words, &words
	require.NoError(c.t, c.cmd.Start())
	require.Eventually(c.t, func() bool {
		conn, err := net.Dial("tcp", c.address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, longest, 20*time.Millisecond, "the collector did not start: %s", &words)
}

func (c *collector) kill() {
	_ = c.cmd.Process.Signal(syscall.SIGKILL)
	_ = c.cmd.Wait()
}

// hashed is the id that a span has in a trace where its own is no such one.
func hashed(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:8])
}

const orchestrator = `
obsrun emit phase name=discovery-complete wall_ms=5
obsrun emit span_start span_id=phase-depth0 kind=phase name=library-depth-0
obsrun emit span_queued span_id=lib-encoding parent=phase-depth0 kind=library-analysis component=encoding
obsrun emit span_start span_id=lib-encoding parent=phase-depth0 kind=library-analysis component=encoding
obsrun emit span_start span_id=call-1 parent=lib-encoding kind=llm name=model-x attrs='x'
obsrun emit span_end span_id=call-1 input_tokens=100 output_tokens=10 cached_tokens=40
obsrun emit span_start span_id=read-1 parent=lib-encoding kind=tool name=Read
obsrun emit span_end span_id=read-1 status=error error='no such file'
obsrun emit span_end span_id=lib-encoding status=error error='gave up' tool_uses=3
obsrun emit span_start span_id=lib-encoding parent=phase-depth0
obsrun emit span_end span_id=lib-encoding input_tokens=7 output_tokens=2
obsrun emit span_end span_id=phase-depth0
obsrun emit span_start span_id=stuck kind=agent name=stuck
`

// A run, exported through a real collector, as a backend behind it has it.
func TestOTLPExport(t *testing.T) {
	t.Parallel()
	to := newBackend(t)
	c := newCollector(t, to)
	dir := t.TempDir()
	stdout, stderr, status := obsrunWith(t, dir, []string{"OTEL_RESOURCE_ATTRIBUTES=deployment.environment=a%20b,obsrun.run_id=outer"},
		"--otlp-export", "http://"+c.address, "--source", "process=off", "--name", "exported", "--", "sh", "-c", orchestrator)
	require.Zero(t, status, stderr)
	assert.Empty(t, stdout+stderr)
	runDir, err := filepath.EvalSymlinks(filepath.Join(dir, "logs", "latest"))
	require.NoError(t, err)
	loaded, err := run.Load(runDir)
	require.NoError(t, err)
	runID, rootID := filepath.Base(runDir), loaded.State.RootID()

	traceID := sha256.Sum256([]byte(runID))
	ids := make(map[string]bool)
	for _, span := range to.all() {
		assert.Equal(t, hex.EncodeToString(traceID[:16]), hex.EncodeToString(span.TraceId), span.Name)
		assert.Equal(t, runID, attributeIn(span.resource, "obsrun.run_id"))
		assert.Equal(t, "obsrun", attributeIn(span.resource, "service.name"))
		assert.Equal(t, "a b", attributeIn(span.resource, "deployment.environment"))
		assert.False(t, ids[string(span.SpanId)], "%s twice", span.Name)
		ids[string(span.SpanId)] = true
	}
	for _, span := range to.all() {
		if span.Name != runID {
			assert.True(t, ids[string(span.ParentSpanId)], "the parent of %s", span.Name)
		}
	}

	root := to.one(t, runID)
	assert.Equal(t, rootID, hex.EncodeToString(root.SpanId))
	assert.Empty(t, root.ParentSpanId)
	assert.Equal(t, 0, root.attr("process.exit.code"))
	assert.Equal(t, otlptrace.Status_STATUS_CODE_OK, root.Status.Code)

	phase := to.one(t, "library-depth-0")
	assert.Equal(t, hashed("phase-depth0"), hex.EncodeToString(phase.SpanId))
	assert.Equal(t, rootID, hex.EncodeToString(phase.ParentSpanId))
	discovery := to.one(t, "discovery")
	assert.EqualValues(t, 5*time.Millisecond, discovery.EndTimeUnixNano-discovery.StartTimeUnixNano)

	attempts := to.named("invoke_agent encoding")
	require.Len(t, attempts, 2)
	slices.SortFunc(attempts, func(a, b received) int { return a.attr("obsrun.attempt").(int) - b.attr("obsrun.attempt").(int) })
	first, second := attempts[0], attempts[1]
	assert.Equal(t, hashed("lib-encoding"), hex.EncodeToString(first.SpanId))
	assert.Equal(t, otlptrace.Status_STATUS_CODE_ERROR, first.Status.Code)
	assert.Equal(t, otlptrace.Status_STATUS_CODE_OK, second.Status.Code)
	require.Len(t, second.Links, 1)
	assert.Equal(t, first.SpanId, second.Links[0].SpanId)
	for _, attempt := range attempts {
		assert.Equal(t, phase.SpanId, attempt.ParentSpanId)
		assert.Equal(t, "invoke_agent", attempt.attr("gen_ai.operation.name"))
		assert.Equal(t, "encoding", attempt.attr("gen_ai.agent.name"))
		assert.Equal(t, "library-analysis", attempt.attr("obsrun.kind"))
		assert.Equal(t, "library_depth_0", attempt.attr("obsrun.phase"))
		assert.Equal(t, "lib-encoding", attempt.attr("obsrun.span_id"))
	}
	loadedSpan, ok := loaded.State.Span("lib-encoding")
	require.True(t, ok)
	sum := 0
	for _, attempt := range attempts {
		if n, ok := attempt.attr("gen_ai.usage.input_tokens").(int); ok {
			sum += n
		}
	}
	assert.EqualValues(t, loadedSpan.Input, sum, "each token once")

	call := to.one(t, "chat")
	assert.Equal(t, otlptrace.Span_SPAN_KIND_CLIENT, call.Kind)
	assert.Equal(t, []any{100, 10, 40}, []any{call.attr("gen_ai.usage.input_tokens"), call.attr("gen_ai.usage.output_tokens"), call.attr("gen_ai.usage.cache_read.input_tokens")})
	assert.Equal(t, first.SpanId, call.ParentSpanId)
	tool := to.one(t, "execute_tool Read")
	assert.Equal(t, "no such file", tool.Status.Message)
	stuck := to.one(t, "invoke_agent stuck")
	assert.Equal(t, "lost", stuck.attr("obsrun.state"))
	assert.Equal(t, otlptrace.Status_STATUS_CODE_ERROR, stuck.Status.Code)
}

// The collector is killed in the middle and comes back: what was sent to nobody is
// sent again.
func TestOTLPExportSurvivesTheCollector(t *testing.T) {
	t.Parallel()
	to := newBackend(t)
	c := newCollector(t, to)
	dir := t.TempDir()
	done := make(chan struct{})
	var stderr string
	var status int
	go func() {
		defer close(done)
		_, stderr, status = obsrunWith(t, dir, nil, "--otlp-export", "http://"+c.address+"/", "--source", "process=off", "--", "sh", "-c", `
			for i in 1 2 3; do obsrun span --kind agent before$i -- true; done
			while ! test -e killed; do sleep 0.05; done
			for i in 1 2 3; do obsrun span --kind agent between$i -- true; done
			while ! test -e back; do sleep 0.05; done
			for i in 1 2 3; do obsrun span --kind agent after$i -- true; done`)
	}()
	touch := func(name string) { require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600)) }
	require.Eventually(t, func() bool { return len(to.all()) == 3 }, longest, 20*time.Millisecond, "live")
	c.kill()
	touch("killed")
	warned := func() bool {
		text, _ := os.ReadFile(filepath.Join(dir, "logs", "latest", "telemetry.jsonl"))
		return strings.Contains(string(text), "the run is not exported to http://"+c.address+"/v1/traces")
	}
	require.Eventually(t, warned, longest, 20*time.Millisecond)
	c.start()
	touch("back")
	<-done
	require.Zero(t, status, stderr)
	assert.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
	assert.Contains(t, stderr, "told once")
	for _, when := range []string{"before", "between", "after"} {
		for i := range 3 {
			assert.NotEmpty(t, to.named(fmt.Sprint("invoke_agent ", when, i+1)))
		}
	}
	// What it was killed over before it could say that it has it came again, as the
	// same span.
	ids := make(map[string]bool)
	for _, span := range to.all() {
		ids[string(span.SpanId)] = true
	}
	assert.Len(t, ids, 10)
}

// An endpoint that is not there, or never answers, or refuses, costs the child
// nothing and the run a bounded wait.
func TestOTLPExportToNobody(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { silent.Close() })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	refusing := newBackend(t)
	refusing.mu.Lock()
	refusing.answer = http.StatusForbidden
	refusing.mu.Unlock()
	for name, c := range map[string]struct {
		url, reason string
	}{
		"closed":   {"http://" + closed.Addr().String(), "refused"},
		"silent":   {"http://" + silent.Addr().String(), "there was no time left"},
		"refusing": {refusing.URL, "403"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			start := time.Now()
			_, stderr, status := obsrunWith(t, dir, nil, "--otlp-export", c.url, "--source", "process=off", "--", "obsrun", "span", "--kind", "agent", "x", "--", "sh", "-c", "exit 7")
			assert.Equal(t, 7, status)
			assert.Less(t, time.Since(start), exportPatience+5*time.Second)
			assert.Contains(t, stderr, "2 of 2 spans were not exported to "+c.url+"/v1/traces: ")
			assert.Contains(t, stderr, c.reason)
			assert.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
		})
	}
}

// The variables of the orchestrator's SDK mean nothing to obsrun's, except for the
// headers of the same server.
func TestOTLPExportEnvironment(t *testing.T) {
	t.Parallel()
	to, users := newBackend(t), newBackend(t)
	hostile := []string{
		"OTEL_SDK_DISABLED=true", "OTEL_TRACES_SAMPLER=always_off", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=" + users.URL + "/v1/traces",
		"OTEL_EXPORTER_OTLP_HEADERS=x-key=secret", "OTEL_EXPORTER_OTLP_TRACES_HEADERS=x-key=secret", "OTEL_EXPORTER_OTLP_CERTIFICATE=/nowhere.pem",
		"OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_EXPORTER_OTLP_TIMEOUT=soon", "OTEL_EXPORTER_OTLP_COMPRESSION=what", "OTEL_BSP_MAX_QUEUE_SIZE=1",
		"OTEL_BSP_EXPORT_TIMEOUT=1", "OTEL_BSP_SCHEDULE_DELAY=3600000", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=1", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT=1", "OTEL_SERVICE_NAME=pipeline",
	}
	stdout, stderr, status := obsrunWith(t, t.TempDir(), append(hostile, "OBSRUN_OTLP_EXPORT="+to.URL+"/", "OBSRUN_OTLP_EXPORT_HEADERS=x-own=a%20b"),
		"--source", "process=off", "--", "sh", "-c", `test -z "$OBSRUN_OTLP_EXPORT$OBSRUN_OTLP_EXPORT_HEADERS" && test "$OTEL_EXPORTER_OTLP_TIMEOUT" = soon && obsrun span --kind agent encoding -- true`)
	require.Zero(t, status, stderr)
	assert.Empty(t, stdout+stderr)
	assert.Empty(t, users.asked())
	require.Len(t, to.all(), 2)
	agent := to.one(t, "invoke_agent encoding")
	assert.Equal(t, "encoding", agent.attr("gen_ai.agent.name"))
	assert.Equal(t, "pipeline", attributeIn(agent.resource, "service.name"))
	for _, r := range to.asked() {
		assert.Equal(t, []string{"", "a b", "gzip"}, []string{r.Header.Get("x-key"), r.Header.Get("x-own"), r.Header.Get("Content-Encoding")})
		assert.Equal(t, "/v1/traces", r.URL.Path)
	}

	// The same server: its headers.
	_, stderr, status = obsrunWith(t, t.TempDir(), []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + users.URL, "OTEL_EXPORTER_OTLP_HEADERS=x-key=a%20b"},
		"--otlp-export", strings.Replace(users.URL, "127.0.0.1", "localhost", 1), "--source", "process=off", "--", "true")
	require.Zero(t, status, stderr)
	require.NotEmpty(t, users.asked())
	for _, r := range users.asked() {
		assert.Equal(t, "a b", r.Header.Get("x-key"))
	}
}

// agents.mjs: two agents of the AI SDK, one of whose tools fails.
func playJavaScript(t *testing.T, env []string, args ...string) (state *run.State, runDir string) {
	t.Helper()
	dir := t.TempDir()
	program, err := filepath.Abs("../../testdata/otlp/javascript/agents.mjs")
	require.NoError(t, err)
	text, err := os.ReadFile(program)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "agents.mjs"), text, 0o600))
	require.NoError(t, os.Symlink(peer(t, "javascript/node_modules"), filepath.Join(dir, "node_modules")))
	stdout, stderr, status := obsrunWith(t, dir, env, append([]string{"--source", "process=off"}, args...)...)
	require.Zero(t, status, stdout+stderr)
	require.Empty(t, stdout+stderr)
	runDir, err = filepath.EvalSymlinks(filepath.Join(dir, "logs", "latest"))
	require.NoError(t, err)
	loaded, err := run.Load(runDir)
	require.NoError(t, err)
	return loaded.State, runDir
}

// An orchestrator in JavaScript that knows nothing of obsrun, with the real
// OpenTelemetry SDK: with a trace of its own, and in the one that it was given.
func TestJavaScriptOpenTelemetry(t *testing.T) {
	cert, key := selfSigned(t)
	for name, c := range map[string]struct{ env, flags, args []string }{
		"its own trace":  {nil, nil, nil},
		"TLS":            {nil, []string{"--tls-cert", cert, "--tls-key", key}, nil},
		"TRACEPARENT":    {nil, nil, []string{"joined"}},
		"gzip":           {[]string{"OTEL_EXPORTER_OTLP_COMPRESSION=gzip"}, nil, nil},
		"simple batches": {[]string{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE=1"}, nil, []string{"joined"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state, runDir := playJavaScript(t, c.env, append(append(c.flags, "--", "node", "agents.mjs"), c.args...)...)
			journal, err := os.ReadFile(run.JournalPath(runDir))
			require.NoError(t, err)
			assert.NotContains(t, string(journal), "SECRET")
			totals := state.Totals()
			assert.Equal(t, 2, totals.AgentsSpawned)
			assert.Equal(t, []int{4, 4}, []int{totals.LLMCalls, totals.LLMCallsWithUsage})
			assert.Equal(t, []int64{440, 400, 40, 160}, []int64{totals.Tokens, totals.Input, totals.Output, totals.Cached})
			assert.EqualValues(t, 2, totals.ToolUses)
			assert.Equal(t, 1, totals.ToolErrors)
			var agents []string
			for span := range state.Spans() {
				parent, _ := state.Span(span.Parent)
				switch {
				case span.IsAgent:
					agents = append(agents, span.Name)
					assert.Equal(t, "analysis", parent.Name)
					assert.EqualValues(t, 220, span.Tokens)
				case span.Name == "analysis":
					assert.Equal(t, state.RootID(), span.Parent)
				default:
					assert.True(t, parent.IsAgent, span.Name)
				}
				assert.NotZero(t, span.StartMS)
			}
			slices.Sort(agents)
			assert.Equal(t, []string{"encoding", "retrieval"}, agents)
		})
	}
}

// selfSigned makes a certificate for 127.0.0.1 and its key, as PEM files.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "obsrun"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	certDER, err := x509.CreateCertificate(rand.Reader, c, c, &private.PublicKey, private)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certDER}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	return cert, key
}

// Where the endpoint is the one that the orchestrator's telemetry is forwarded to,
// nothing arrives there twice, and it is one trace.
func TestOTLPExportBesideTheTee(t *testing.T) {
	t.Parallel()
	to, other := newBackend(t), newBackend(t)
	user := []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + to.URL}
	state, _ := playJavaScript(t, user, "--otlp-export", to.URL, "--", "sh", "-c", "obsrun span --kind agent lead -- node agents.mjs joined")
	parents := make(map[string]string)
	for _, span := range to.all() {
		id := hex.EncodeToString(span.SpanId)
		assert.NotContains(t, parents, id, span.Name)
		parents[id] = hex.EncodeToString(span.ParentSpanId)
		assert.Equal(t, to.one(t, "invoke_agent lead").TraceId, span.TraceId, span.Name)
	}
	for id := range parents {
		if id != state.RootID() {
			assert.Contains(t, parents, parents[id], id)
		}
	}
	lead := to.one(t, "invoke_agent lead")
	assert.Equal(t, lead.SpanId, to.one(t, "analysis").ParentSpanId)

	// Elsewhere all of them are exported.
	state, _ = playJavaScript(t, user, "--otlp-export", other.URL, "--", "node", "agents.mjs", "joined")
	assert.Len(t, other.all(), state.Totals().Spans+1)
	assert.Len(t, other.named("chat fake-1"), 4)
	assert.Len(t, other.named("execute_tool readFile"), 2)
	assert.Equal(t, other.one(t, "analysis").SpanId, other.one(t, "invoke_agent retrieval").ParentSpanId)
}
