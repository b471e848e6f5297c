package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

func TestStateJSON(t *testing.T) {
	rec, dir := record(t)
	s := open(t, config(rec, dir))
	for i := range 20 {
		tell(t, rec, start(fmt.Sprint("s", i)))
		settle(t, rec)
		resp := ask(t, s, "GET", "/state")
		assert.Equal(t, "application/json; charset=utf-8", resp.Header.Get("Content-Type"))
		var d run.Delta
		require.NoError(t, json.Unmarshal([]byte(body(t, resp)), &d))
		assert.Equal(t, int64(0), d.From)
		assert.Equal(t, int64(i+2), d.Rev, "what was recorded before is in it")
		assert.Equal(t, i+1, d.Totals.Spans)
		assert.InDelta(t, time.Now().UnixMilli(), d.NowMS, 5000)
	}
	finish(t, rec)
	var m model
	d := m.apply(t, body(t, ask(t, s, "GET", "/state")))
	assert.Zero(t, d.NowMS)
	m.equals(t, rec.Feed())
	head := ask(t, s, "HEAD", "/state")
	assert.Equal(t, 200, head.StatusCode)
	assert.Empty(t, body(t, head))
}

func TestStateStreamOfEndedRun(t *testing.T) {
	rec, dir, lines := ended(t)
	s := open(t, config(rec, dir))
	for id, from := range map[string]int64{"": 0, "0": 0, "3": 3, strconv.Itoa(len(lines)): int64(len(lines)), "999": 0, "x": 0} {
		var headers []string
		if id != "" {
			headers = []string{"Last-Event-ID: " + id}
		}
		got := openStream(t, s, "/state", headers...).all(t)
		require.Len(t, got, 2, "from %q", id)
		assert.Equal(t, strconv.Itoa(len(lines)), got[0].id)
		assert.Equal(t, message{event: "end", data: "{}"}, got[1])
		var d run.Delta
		require.NoError(t, json.Unmarshal([]byte(got[0].data), &d))
		assert.Equal(t, from, d.From)
		assert.Zero(t, d.NowMS)
	}
}

// What a replay needs is asked for when it is needed.
func TestSamples(t *testing.T) {
	rec, dir := record(t)
	cfg := config(rec, dir)
	s := open(t, cfg)
	tell(t, rec, start("a"))
	tell(t, rec, update("a", 7))
	settle(t, rec)
	var samples run.Samples
	require.NoError(t, json.Unmarshal([]byte(body(t, ask(t, s, "GET", "/samples"))), &samples))
	require.Len(t, samples.Agents["a"], 1)
	assert.EqualValues(t, 7, samples.Agents["a"][0][1])

}

// The run before this one is told in the stream of the state: once, as soon as it is
// known, and again at the end.
func TestStateStreamTellsOfTheRunBefore(t *testing.T) {
	rec, dir := record(t)
	cfg := config(rec, dir)
	asked := 0
	cfg.Last = func() (any, error) { asked++; return map[string]any{"run_id": "before", "asked": asked}, nil }
	s := open(t, cfg)
	stream := openStream(t, s, "/state")
	said := func() (events []message) {
		for {
			m, err := stream.next()
			require.NoError(t, err)
			if m.event != "" {
				events = append(events, m)
			}
			if m.event == "last" || m.event == "end" {
				return events
			}
		}
	}
	tell(t, rec, start("a"))
	assert.Equal(t, []message{{event: "last", data: `{"asked":1,"run_id":"before"}`}}, said())
	finish(t, rec)
	assert.Equal(t, []message{{event: "last", data: `{"asked":2,"run_id":"before"}`}}, said())
	assert.Equal(t, []message{{event: "end", data: "{}"}}, said())

	for name, none := range map[string]func() (any, error){
		"none":          func() (any, error) { return nil, nil },
		"not readable":  func() (any, error) { return nil, errors.New("no such directory") },
		"not encodable": func() (any, error) { return math.NaN(), nil },
	} {
		cfg.Last = none
		for _, m := range openStream(t, open(t, cfg), "/state").all(t) {
			assert.NotEqual(t, "last", m.event, name)
		}
	}
}

// play records a run of many spans with retries, late tokens, phases, stalls and
// logs, in an order that seed decides.
func play(t *testing.T, rec *run.Recorder, seed uint64, steps int) {
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range steps {
		id := fmt.Sprint("agent-", random.IntN(12))
		switch random.IntN(9) {
		case 0:
			tell(t, rec, telemetry.Event{Type: telemetry.SpanQueued, SpanID: id, Kind: "agent"})
		case 1, 2:
			e := start(id)
			e.Parent = "phase-" + strconv.Itoa(random.IntN(3))
			tell(t, rec, e)
		case 3:
			tell(t, rec, end(id))
		case 4:
			tell(t, rec, telemetry.Event{Type: telemetry.Log, Level: "warn", Message: fmt.Sprint("warning ", i), SpanID: id})
		case 5:
			tell(t, rec, telemetry.Event{Type: telemetry.Phase, Name: "phase-" + strconv.Itoa(random.IntN(3)), Counts: map[string]float64{fmt.Sprint("count", random.IntN(9)): float64(i)}})
		case 6:
			tell(t, rec, telemetry.Event{Type: telemetry.SpanStalled, SpanID: id, IdleMS: telemetry.F(5000), Source: telemetry.SourceObsrun})
		case 7:
			tell(t, rec, telemetry.Event{Type: telemetry.SpanStart, SpanID: "phase-" + strconv.Itoa(random.IntN(3)), Kind: "phase"})
		default:
			tell(t, rec, update(id, int64(random.IntN(100000))))
		}
		if random.IntN(20) == 0 {
			time.Sleep(time.Duration(random.IntN(int(8 * time.Millisecond))))
		}
	}
}

// Whole state plus deltas is the whole state, for clients that come early, late
// and again, however the run goes.
func TestDeltasAddUp(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		rec, dir := record(t)
		s := open(t, config(rec, dir))
		var clients sync.WaitGroup
		for n := range 9 {
			clients.Go(func() {
				time.Sleep(time.Duration(n*20) * time.Millisecond)
				var m model
				var reached int64
				stream := openStream(t, s, "/state")
				for k := 0; ; k++ {
					got, err := stream.next()
					if !assert.NoError(t, err) {
						return
					}
					if got.event == "end" {
						break
					}
					d := m.apply(t, got.data)
					assert.Contains(t, []int64{0, reached}, d.From)
					assert.Equal(t, strconv.FormatInt(d.Rev, 10), got.id)
					assert.GreaterOrEqual(t, d.Rev, reached)
					reached = d.Rev
					if k%7 == 6 && n%3 == 0 {
						stream = openStream(t, s, "/state", "Last-Event-ID: "+got.id)
					}
				}
				m.equals(t, rec.Feed())
			})
		}
		play(t, rec, seed, 800)
		finish(t, rec)
		clients.Wait()
	}
}

// A run that was abandoned ends without a line: what that changed is in the last
// delta all the same, also for a client that has every line.
func TestAbandonedRun(t *testing.T) {
	t.Parallel()
	directory, err := run.Create(t.TempDir(), testRun, time.Now())
	require.NoError(t, err)
	dir := directory.Path
	rec, err := run.NewRecorder(dir, time.Now)
	require.NoError(t, err)
	require.NoError(t, rec.Begin("x", map[string]any{"run_id": testRun}))
	tell(t, rec, start("a"), start("b"),
		telemetry.Event{Type: telemetry.Log, Level: "warn", Message: "the last line"})
	settle(t, rec)
	t.Cleanup(func() { _ = rec.Finish(telemetry.StatusOK, map[string]any{}) })
	feed, stop, err := run.Follow(t.Context(), dir)
	require.NoError(t, err)
	defer stop()
	cfg := config(rec, dir)
	cfg.Feed = feed
	s := open(t, cfg)

	var m model
	stream := openStream(t, s, "/state")
	first := stream.must(t)
	d := m.apply(t, first.data)
	assert.Equal(t, run.StatusRunning, d.Run.Status)
	assert.Equal(t, run.Running, m.spans["a"].State)

	require.NoError(t, directory.Close()) // as the system does when obsrun is killed
	for {
		got := stream.must(t)
		if got.event == "end" {
			break
		}
		m.apply(t, got.data)
	}
	assert.Equal(t, run.StatusInterrupted, m.rest.Run.Status)
	assert.Equal(t, run.Lost, m.spans["a"].State)
	m.equals(t, feed)

	var again model
	again.apply(t, first.data)
	got := openStream(t, s, "/state", "Last-Event-ID: "+first.id).all(t)
	require.Len(t, got, 2)
	again.apply(t, got[0].data)
	again.equals(t, feed)
}

// A quiet run is told of once a second; a busy one at most 20 times. A client that
// left costs nothing.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec, dir := record(t)
		v := newView(config(rec, dir), func(error) {})
		ctx, cancel := context.WithCancel(t.Context())
		w := &sink{}
		done := make(chan struct{})
		go func() {
			defer close(done)
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/state", nil)
			r.Header.Set("Accept", "text/event-stream")
			v.serveState(w, r)
		}()
		synctest.Wait()
		assert.Equal(t, 1, strings.Count(w.take(), "data: "))

		time.Sleep(10 * time.Second)
		synctest.Wait()
		texts := strings.Split(strings.TrimSpace(w.take()), "\n\n")
		assert.Len(t, texts, 10)
		var before int64
		for _, text := range texts {
			id, data, _ := strings.Cut(text, "\ndata: ")
			assert.Equal(t, "id: 1", id)
			var d run.Delta
			require.NoError(t, json.Unmarshal([]byte(data), &d))
			assert.Empty(t, d.Spans)
			assert.Empty(t, d.Logs)
			assert.Equal(t, int64(1), d.From)
			assert.Greater(t, d.NowMS, before)
			before = d.NowMS
		}

		for i := range 300 { // for 3 s
			tell(t, rec, start(fmt.Sprint("s", i)))
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		assert.InDelta(t, 60, strings.Count(w.take(), "data: "), 2)

		cancel()
		<-done
		assert.Zero(t, v.pulse.clients)
		assert.Zero(t, v.audience.busy)
		assert.Nil(t, v.pulse.whole)
		assert.Empty(t, v.pulse.waiting)
		finish(t, rec)
	}) // which fails if a goroutine is left
}

// Clients that keep up share each delta.
func TestDeltaIsEncodedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec, _ := record(t)
		p := newPulse(rec.Feed())
		defer p.join()()
		frames := make(chan *frame, 100)
		for range 100 {
			go func() {
				f, err := p.next(t.Context(), 1)
				assert.NoError(t, err)
				frames <- f
			}()
		}
		synctest.Wait()
		tell(t, rec, start("a"))
		first := <-frames
		for range 99 {
			assert.Same(t, first, <-frames)
		}
		assert.Equal(t, int64(2), first.rev)

		defer p.read()()
		one, err := p.state(false)
		require.NoError(t, err)
		two, err := p.state(false)
		require.NoError(t, err)
		assert.Same(t, one, two)
		three, err := p.state(true)
		require.NoError(t, err)
		assert.Same(t, one, three, "nothing was recorded since")
		tell(t, rec, start("b"))
		settle(t, rec)
		four, err := p.state(true)
		require.NoError(t, err)
		assert.Equal(t, int64(3), four.rev)
		time.Sleep(2 * clockEvery)
		p.wholeMu.Lock()
		assert.Nil(t, p.whole, "an old whole state is let go")
		p.wholeMu.Unlock()
		finish(t, rec)
	})
}

func TestUnencodableState(t *testing.T) {
	rec, dir := record(t)
	tell(t, rec, telemetry.Event{Type: telemetry.SpanStart, SpanID: "a", Attrs: json.RawMessage(`{"a":1}`)})
	var faults []error
	v := newView(config(rec, dir), func(err error) { faults = append(faults, err) })
	f := &frame{delta: run.Delta{Burn: run.Burn{PerMin: nan()}}}
	_, err := f.bytes()
	require.Error(t, err)
	v.unencodable(err)
	v.unencodable(err)
	require.Len(t, faults, 1)
	assert.ErrorContains(t, faults[0], "encode the state")
}

func nan() float64 { zero := 0.0; return zero / zero }

// BenchmarkWholeState is what a client that connects costs, in a run of 100,000 spans.
func BenchmarkWholeState(b *testing.B) {
	feed := large(b, 100_000)
	p := newPulse(feed)
	b.ResetTimer()
	for b.Loop() {
		f, err := p.since(0)
		require.NoError(b, err)
		b.SetBytes(int64(len(f.json)))
	}
}

// BenchmarkDelta is what a beat costs there when little has changed.
func BenchmarkDelta(b *testing.B) {
	feed := large(b, 100_000)
	p := newPulse(feed)
	reached, _ := progress(feed)
	for b.Loop() {
		_, err := p.since(reached - 10)
		require.NoError(b, err)
	}
}

func large(b *testing.B, spans int) *run.Feed {
	rec, _ := record(b)
	for i := range spans {
		e := start(fmt.Sprint("span-", i))
		e.Phase = fmt.Sprint("phase-", i%20)
		tell(b, rec, e)
	}
	settle(b, rec)
	return rec.Feed()
}
