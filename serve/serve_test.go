package serve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

const (
	testToken = "the-token"
	testRun   = "eigenda-20260408-abc123"
	testPage  = "<!doctype html><title>the page</title>"
	testCSP   = "default-src 'none'; script-src 'sha256-x'; frame-ancestors 'none'"
)

func page() ([]byte, string, error) { return []byte(testPage), testCSP, nil }

// record begins a run in a new directory. It is finished, at the latest, with the test.
func record(t testing.TB) (*run.Recorder, string) {
	t.Helper()
	dir := t.TempDir()
	rec, err := run.NewRecorder(dir, time.Now)
	require.NoError(t, err)
	require.NoError(t, rec.Begin("eigenda", map[string]any{"run_id": testRun}))
	sync := sync.OnceFunc(func() { _ = rec.Finish(telemetry.StatusOK, map[string]any{}) })
	t.Cleanup(sync)
	settle(t, rec)
	return rec, dir
}

func settle(t testing.TB, rec *run.Recorder) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.NoError(t, rec.Sync(ctx))
}

func finish(t testing.TB, rec *run.Recorder) {
	t.Helper()
	require.NoError(t, rec.Finish(telemetry.StatusOK, map[string]any{"exit_code": 0}))
}

func tell(t testing.TB, rec *run.Recorder, events ...telemetry.Event) {
	t.Helper()
	for _, event := range events {
		if event.Source == "" {
			event.Source = telemetry.SourceSocket
		}
		require.NoError(t, rec.Record(event))
	}
}

func start(id string) telemetry.Event {
	return telemetry.Event{Type: telemetry.SpanStart, SpanID: id, Kind: "library-analysis"}
}

func update(id string, tokens int64) telemetry.Event {
	return telemetry.Event{Type: telemetry.SpanUpdate, SpanID: id, Counters: telemetry.Counters{Tokens: telemetry.N(tokens)}}
}

func end(id string) telemetry.Event {
	return telemetry.Event{Type: telemetry.SpanEnd, SpanID: id, Status: telemetry.StatusOK}
}

func journalLines(t testing.TB, dir string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, journalFile.name))
	require.NoError(t, err)
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

func config(rec *run.Recorder, dir string) Config {
	return Config{
		RunID: testRun, Dir: dir, Feed: rec.Feed(), Page: page, Token: testToken, Listen: "127.0.0.1:0",
	}
}

// open starts a server, which is shut down with the test.
func open(t testing.TB, cfg Config, adjust ...func(*Server)) *Server {
	t.Helper()
	s, err := Listen(cfg)
	require.NoError(t, err)
	for _, change := range adjust {
		change(s)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		assert.NoError(t, s.Shutdown(context.Background()))
		assert.NoError(t, <-served)
	})
	return s
}

// client is a browser without a jar: it follows no redirect and keeps no
// connection.
func client(t testing.TB) *http.Client {
	transport := &http.Transport{DisableKeepAlives: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask sends a request with the token; headers are "Name: value".
func ask(t testing.TB, s *Server, method, path string, headers ...string) *http.Response {
	t.Helper()
	return askAs(t, s, method, path, append([]string{"Authorization: Bearer " + testToken}, headers...)...)
}

func askAs(t testing.TB, s *Server, method, path string, headers ...string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, s.Base()+path, nil)
	require.NoError(t, err)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	resp, err := client(t).Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func body(t testing.TB, resp *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(data)
}

// rawly sends text as it is, and gives the answer up to its end.
func rawly(t testing.TB, s *Server, text string) string {
	t.Helper()
	conn := dial(t, s)
	_, err := conn.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	return string(answer)
}

func dial(t testing.TB, s *Server) net.Conn {
	t.Helper()
	base, err := url.Parse(s.Base())
	require.NoError(t, err)
	conn, err := net.Dial("tcp", base.Host)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// message is one event of an event stream; comment is the text of a comment.
type message struct{ id, event, data, comment string }

// messages reads an event stream as a browser does. Its error is io.EOF at the end.
type messages struct{ r *bufio.Reader }

func (m *messages) next() (message, error) {
	var got message
	for {
		line, err := m.r.ReadString('\n')
		if err != nil {
			return message{}, err
		}
		line = strings.TrimSuffix(line, "\n")
		field, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "":
			if got != (message{}) {
				return got, nil
			}
		case field == "id":
			got.id = value
		case field == "event":
			got.event = value
		case field == "data":
			if got.data != "" {
				return message{}, fmt.Errorf("two data fields: %q", value)
			}
			got.data = value
		case field == "":
			got.comment = value
		default:
			return message{}, fmt.Errorf("no field: %q", line)
		}
	}
}

// stream opens an event stream.
func openStream(t testing.TB, s *Server, path string, headers ...string) *messages {
	t.Helper()
	resp := ask(t, s, "GET", path, append(headers, "Accept: text/event-stream")...)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "text/event-stream; charset=utf-8", resp.Header.Get("Content-Type"))
	return &messages{bufio.NewReader(resp.Body)}
}

func (m *messages) must(t testing.TB) message {
	t.Helper()
	got, err := m.next()
	require.NoError(t, err)
	return got
}

// all reads to the end of the stream.
func (m *messages) all(t testing.TB) []message {
	t.Helper()
	var out []message
	for {
		got, err := m.next()
		if err == io.EOF {
			return out
		}
		require.NoError(t, err)
		out = append(out, got)
	}
}

// model is what a page makes of deltas: it replaces and never computes.
type model struct {
	rest  run.Delta
	spans map[string]run.Span
	logs  []run.Entry
}

func (m *model) apply(t testing.TB, data string) run.Delta {
	t.Helper()
	var d run.Delta
	require.NoError(t, json.Unmarshal([]byte(data), &d))
	if d.From == 0 {
		m.spans, m.logs = make(map[string]run.Span), nil
	}
	for _, span := range d.Spans {
		m.spans[span.ID] = span
	}
	m.logs = append(m.logs, d.Logs...)
	m.rest = d
	return d
}

// equals says that the model is what the whole state has.
func (m *model) equals(t testing.TB, feed *run.Feed) {
	t.Helper()
	var want model
	var text []byte
	feed.View(func(state *run.State) {
		var err error
		text, err = json.Marshal(state.Since(0, 0))
		require.NoError(t, err)
	})
	want.apply(t, string(text))
	require.Len(t, m.spans, len(want.spans))
	for id, span := range want.spans {
		require.Equal(t, span, m.spans[id], "in a stream that ended at line %d", m.rest.Rev)
	}
	require.Equal(t, want.logs, m.logs)
	got, rest := m.rest, want.rest
	got.Spans, got.Logs, got.From, got.NowMS = nil, nil, 0, 0
	rest.Spans, rest.Logs = nil, nil
	require.Equal(t, rest, got)
}

// sink is a ResponseWriter without a connection, for tests on a fake clock.
type sink struct {
	mu     sync.Mutex
	header http.Header
	text   bytes.Buffer
}

func (s *sink) Header() http.Header {
	if s.header == nil {
		s.header = make(http.Header)
	}
	return s.header
}
func (s *sink) WriteHeader(int) {}
func (s *sink) Flush()          {}
func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// take gives what was written since it was called last.
func (s *sink) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.text.String()
	s.text.Reset()
	return text
}
