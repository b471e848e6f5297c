package export

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// kept is what was handed on.
type kept struct{ spans []*Span }

func (k *kept) take() (names []string) {
	for _, s := range k.spans {
		names = append(names, s.Name)
	}
	k.spans = nil
	return names
}

// record begins a run.
func record(t *testing.T) *run.Recorder {
	t.Helper()
	r, err := run.NewRecorder(t.TempDir(), time.Now)
	require.NoError(t, err)
	require.NoError(t, r.Begin("run-1", map[string]any{"run_id": "run-1"}))
	return r
}

// tell records events and waits until they are folded.
func tell(t *testing.T, r *run.Recorder, events ...telemetry.Event) {
	t.Helper()
	for _, e := range events {
		if e.Source == "" {
			e.Source = telemetry.SourceSocket
		}
		require.NoError(t, r.Record(e))
	}
	require.NoError(t, r.Sync(t.Context()))
}

func start(id string) telemetry.Event {
	return telemetry.Event{Type: telemetry.SpanStart, SpanID: id, Kind: "agent", Name: id}
}

func end(id string, tokens int64) telemetry.Event {
	return telemetry.Event{Type: telemetry.SpanEnd, SpanID: id, Counters: telemetry.Counters{Input: telemetry.N(tokens), Output: telemetry.N(0)}}
}

// looker is a Live without a loop and an endpoint.
func looker(r *run.Recorder) (*Live, *kept) {
	k := new(kept)
	return &Live{
		feed: r.Feed(), trace: NewTrace("run-1", "1", nil), hand: func(s *Span) { k.spans = append(k.spans, s) }, ctx: context.Background(),
		sent: make(map[string]sent), settled: make(map[string]run.Span), bySpan: make(map[string]bool),
	}, k
}

func TestLooks(t *testing.T) {
	r := record(t)
	l, k := looker(r)
	look := func(want ...string) {
		t.Helper()
		l.look(false)
		assert.Equal(t, want, k.take())
		l.waiting.Store(0)
	}
	look()
	tell(t, r, start("a"), start("b"), end("a", 10))
	look() // it may be heard of again
	look("invoke_agent a")
	look()
	tell(t, r, end("b", 1))
	look()
	tell(t, r, telemetry.Event{Type: telemetry.SpanUpdate, SpanID: "b", Counters: telemetry.Counters{Input: telemetry.N(7)}})
	look()
	l.look(false)
	require.Len(t, k.spans, 1)
	assert.EqualValues(t, 7, attributesOf(k.spans[0])["gen_ai.usage.input_tokens"], "what came after its end")
	k.take()

	// Another attempt.
	tell(t, r, start("a"))
	look()
	tell(t, r, end("a", 5))
	look()
	l.look(false)
	require.Len(t, k.spans, 1)
	assert.EqualValues(t, 5, attributesOf(k.spans[0])["gen_ai.usage.input_tokens"], "of this attempt alone")
	assert.EqualValues(t, 2, attributesOf(k.spans[0])["obsrun.attempt"])
	k.take()
	tell(t, r, start("a"), end("a", 1), start("a"), start("lost"), telemetry.Event{Type: telemetry.Phase, Name: "p-complete", WallMS: telemetry.F(5)})
	look("invoke_agent a")

	require.NoError(t, r.Finish(telemetry.StatusOK, map[string]any{"exit_code": 0}))
	look()
	l.look(true)
	assert.ElementsMatch(t, []string{"invoke_agent a", "invoke_agent lost", "p", "run-1"}, k.take())
}

// What came by OTLP is left out where it is forwarded. A parent that is still to
// come is one already.
func TestLooksAtOTLP(t *testing.T) {
	for _, skip := range []bool{false, true} {
		r := record(t)
		l, k := looker(r)
		l.to.SkipOTLP = skip
		foreign := func(id, parent string) []telemetry.Event {
			s, e := start(id), end(id, 1)
			s.Parent, s.Source, e.Source = parent, telemetry.SourceOTLP, telemetry.SourceOTLP
			return []telemetry.Event{s, e}
		}
		tell(t, r, foreign("00000000000000a2", "00000000000000a1")...)
		tell(t, r, start("own"), end("own", 1))
		l.look(false)
		l.look(false)
		want := []string{"invoke_agent own"}
		if !skip {
			want = append(want, "invoke_agent 00000000000000a2")
			for _, span := range k.spans {
				if span.Name == want[1] {
					assert.Equal(t, "00000000000000a1", span.Parent.String())
				}
			}
		}
		assert.ElementsMatch(t, want, k.take())
		tell(t, r, foreign("00000000000000a1", "")...)
		l.look(false)
		l.look(false)
		if skip {
			assert.Empty(t, k.take())
		} else {
			assert.Equal(t, []string{"invoke_agent 00000000000000a1"}, k.take())
		}
		require.NoError(t, r.Finish(telemetry.StatusOK, map[string]any{}))
		l.look(true)
		assert.Equal(t, []string{"run-1"}, k.take())
	}
}

// However the looks fall, each attempt of each span goes out once, and the tokens
// of all attempts are those of the span.
func TestLooksAtAnyMoment(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		r := record(t)
		l, k := looker(r)
		for range 300 {
			id := fmt.Sprint("s", random.IntN(20))
			switch random.IntN(5) {
			case 0, 1:
				tell(t, r, start(id))
			case 2, 3:
				tell(t, r, end(id, int64(random.IntN(100))))
			default:
				l.look(false)
			}
		}
		require.NoError(t, r.Finish(telemetry.StatusOK, map[string]any{}))
		if seed%2 == 0 {
			l.look(false)
		}
		l.look(true)
		times := make(map[string]int)
		tokens := make(map[string]int64)
		attempts := make(map[string]int)
		for _, s := range k.spans {
			a := attributesOf(s)
			times[s.ID.String()]++
			if id, ok := a["obsrun.span_id"].(string); ok {
				n, _ := a["gen_ai.usage.input_tokens"].(int64)
				tokens[id] += n
				attempts[id]++
			}
		}
		for id, n := range times {
			require.Equal(t, 1, n, id)
		}
		r.Feed().View(func(s *run.State) {
			for v := range s.Spans() {
				require.Equal(t, v.Attempts, attempts[v.ID], v.ID)
				// What is told after the end, once it was sent, is not seen there.
				require.LessOrEqual(t, tokens[v.ID], v.Input, v.ID)
			}
		})
	}
}

// endpoint is a backend whose answers are a function.
type endpoint struct {
	*httptest.Server
	mu    sync.Mutex
	asked int
}

func newEndpoint(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) *endpoint {
	e := new(endpoint)
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		e.asked++
		n := e.asked
		e.mu.Unlock()
		zip, err := gzip.NewReader(r.Body)
		if assert.NoError(t, err) {
			_, err = io.Copy(io.Discard, zip)
			assert.NoError(t, err)
		}
		answer(n, w, r)
	}))
	t.Cleanup(e.Close)
	return e
}

// told is what a person would read.
type told struct {
	mu    sync.Mutex
	words []string
}

func (w *told) tell(level, _ string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.words = append(w.words, level)
}

func (w *told) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string{}, w.words...)
}

func TestLive(t *testing.T) {
	drop := func(w http.ResponseWriter) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if assert.NoError(t, err) {
			conn.Close()
		}
	}
	for name, c := range map[string]struct {
		answer      func(n int, w http.ResponseWriter, r *http.Request)
		undelivered int64
		told        []string
		asked       int // at least
	}{
		"takes all": {func(int, http.ResponseWriter, *http.Request) {}, 0, []string{}, 1},
		"is busy at first": {func(n int, w http.ResponseWriter, _ *http.Request) {
			if n <= 2 {
				w.WriteHeader([]int{http.StatusServiceUnavailable, http.StatusTooManyRequests}[n-1])
			}
		}, 0, []string{"warn", "info"}, 3},
		"breaks the connection": {func(n int, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				drop(w)
			}
		}, 0, []string{"warn", "info"}, 2},
		"takes a part": {func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-protobuf")
			// partial_success { rejected_spans: 1, error_message: "no" }
			_, err := w.Write([]byte{0x0a, 0x06, 0x08, 0x01, 0x12, 0x02, 'n', 'o'})
			assert.NoError(t, err)
		}, 1, []string{"warn"}, 1},
		"refuses": {func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, 3, []string{"warn"}, 1},
		"is away for a moment": {func(n int, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}, 0, []string{"warn", "info"}, 2},
		"is away for longer than anybody waits": {func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, 3, []string{"warn"}, 1},
		"is elsewhere": {func(_ int, w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "/v1/traces", r.URL.Path, "nothing is sent where it points to")
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, 3, []string{"warn"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEndpoint(t, func(n int, w http.ResponseWriter, r *http.Request) {
				assert.Equal(t, "k", r.Header.Get("X-Key"))
				c.answer(n, w, r)
			})
			r, words := record(t), new(told)
			l, err := Start(r.Feed(), NewTrace("run-1", "1", nil), Endpoint{URL: e.URL + "/v1/traces", Headers: map[string]string{"X-Key": "k"}, Tell: words.tell})
			require.NoError(t, err)
			tell(t, r, start("a"), end("a", 1), start("b"))
			require.NoError(t, r.Finish(telemetry.StatusOK, map[string]any{}))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			spans, undelivered, reason := l.Close(ctx)
			assert.NoError(t, ctx.Err())
			assert.EqualValues(t, 3, spans)
			assert.Equal(t, c.undelivered, undelivered, reason)
			assert.Equal(t, c.undelivered > 0, reason != "")
			assert.Equal(t, c.told, words.all())
			assert.Equal(t, c.undelivered < 3, l.Answered())
			e.mu.Lock()
			defer e.mu.Unlock()
			assert.GreaterOrEqual(t, e.asked, c.asked)
		})
	}
}

// A batch is lost, or put off for an hour, while the run goes on: its end does not
// wait for what cannot be, asks no more of who wants to be left alone, and says why
// spans are missing though others were taken since.
func TestLiveLosesABatch(t *testing.T) {
	for name, c := range map[string]struct {
		answers     []int // the last again and again
		undelivered int64
		reason      string
		asked       int
	}{
		"too large, then taken":        {[]int{413, 200}, 1, "it answered 413 Request Entity Too Large", 2},
		"put off":                      {[]int{503}, 2, "it answered 503 Service Unavailable", 1},
		"taken, then put off":          {[]int{200, 503}, 1, "it answered 503 Service Unavailable", 2},
		"rejected in part, then taken": {[]int{0, 200}, 1, "it rejected some spans: no", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			came := make(chan struct{}, 10)
			e := newEndpoint(t, func(n int, w http.ResponseWriter, _ *http.Request) {
				defer func() { came <- struct{}{} }()
				switch status := c.answers[min(n, len(c.answers))-1]; status {
				case 0:
					w.Header().Set("Content-Type", "application/x-protobuf")
					_, err := w.Write([]byte{0x0a, 0x06, 0x08, 0x01, 0x12, 0x02, 'n', 'o'})
					assert.NoError(t, err)
				default:
					w.Header().Set("Retry-After", "3600")
					w.WriteHeader(status)
				}
			})
			r, words := record(t), new(told)
			l, err := Start(r.Feed(), NewTrace("run-1", "1", nil), Endpoint{URL: e.URL, Tell: words.tell})
			require.NoError(t, err)
			tell(t, r, start("a"), end("a", 1))
			select {
			case <-came:
			case <-time.After(20 * time.Second):
				t.Fatal("nothing came")
			}
			if c.answers[0] != http.StatusOK {
				require.Eventually(t, func() bool { return len(words.all()) > 0 }, 20*time.Second, time.Millisecond)
			}
			require.NoError(t, r.Finish(telemetry.StatusOK, map[string]any{}))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			spans, undelivered, reason := l.Close(ctx)
			assert.NoError(t, ctx.Err(), "it gave up in time")
			assert.Equal(t, []int64{2, c.undelivered}, []int64{spans, undelivered})
			assert.Equal(t, c.reason, reason)
			e.mu.Lock()
			defer e.mu.Unlock()
			assert.Equal(t, c.asked, e.asked)
		})
	}
}

// Waits end with who waits.
func TestLiveRests(t *testing.T) {
	for name, c := range map[string]struct {
		patience, wait, lasts time.Duration
		again                 bool
	}{
		"there is time":     {5 * time.Second, 4 * time.Second, 4 * time.Second, true},
		"there is none":     {5 * time.Second, time.Hour, time.Second, false},
		"there is no limit": {0, time.Hour, time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &Live{closing: make(chan struct{})}
				l.ctx, l.stop = context.WithCancel(t.Context())
				defer l.stop()
				time.AfterFunc(time.Second, func() {
					if c.patience > 0 {
						l.deadline = time.Now().Add(c.patience)
					}
					close(l.closing)
				})
				began := time.Now()
				assert.Equal(t, c.again, l.rest(c.wait))
				assert.Equal(t, c.lasts, time.Since(began))
			})
		})
	}
}

// A request that cannot be made is not tried again.
func TestLiveCannotBeMade(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, func(int, http.ResponseWriter, *http.Request) {})
	r := record(t)
	l, err := Start(r.Feed(), NewTrace("run-1", "1", nil), Endpoint{URL: e.URL, Headers: map[string]string{"X-Key": "secret\x01"}, Tell: new(told).tell})
	require.NoError(t, err)
	require.NoError(t, r.Finish(telemetry.StatusOK, map[string]any{}))
	ctx, cancel := context.WithCancel(t.Context()) // without a deadline, for which it could give up
	defer cancel()
	defer time.AfterFunc(20*time.Second, cancel).Stop()
	spans, undelivered, reason := l.Close(ctx)
	assert.NoError(t, ctx.Err(), "it gave up in time")
	assert.Equal(t, []int64{1, 1}, []int64{spans, undelivered})
	assert.Contains(t, reason, `invalid header field value for "X-Key"`)
	assert.NotContains(t, reason, "secret")
	assert.Zero(t, e.asked)
}

// It is live: a span arrives while the run goes on.
func TestLiveIsLive(t *testing.T) {
	t.Parallel()
	came := make(chan struct{}, 10)
	e := newEndpoint(t, func(int, http.ResponseWriter, *http.Request) { came <- struct{}{} })
	r := record(t)
	l, err := Start(r.Feed(), NewTrace("run-1", "1", nil), Endpoint{URL: e.URL, Tell: new(told).tell})
	require.NoError(t, err)
	tell(t, r, start("a"), end("a", 1))
	select {
	case <-came:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
	}
	require.NoError(t, r.Finish(telemetry.StatusOK, map[string]any{}))
	spans, undelivered, _ := l.Close(t.Context())
	assert.Equal(t, []int64{2, 0}, []int64{spans, undelivered})
}

// An endpoint that never answers costs bounded memory and a bounded wait.
func TestLiveToNobody(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	r := record(t)
	l, err := Start(r.Feed(), NewTrace("run-1", "1", nil), Endpoint{URL: "http://" + silent.Addr().String(), Tell: new(told).tell})
	require.NoError(t, err)
	const many = 3 * maxWaiting
	var events []telemetry.Event
	for i := range many {
		id := fmt.Sprint("s", i)
		events = append(events, start(id), end(id, 1))
	}
	tell(t, r, events...)
	require.Eventually(t, func() bool { return l.waiting.Load() == maxWaiting }, 20*time.Second, 10*time.Millisecond)
	require.NoError(t, r.Finish(telemetry.StatusOK, map[string]any{}))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	spans, undelivered, _ := l.Close(ctx)
	assert.Less(t, time.Since(began), 10*time.Second)
	assert.Equal(t, []int64{many + 1, many + 1}, []int64{spans, undelivered})
	assert.LessOrEqual(t, l.waiting.Load(), int64(maxWaiting))
}
