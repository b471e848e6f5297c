package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/receiver"
	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/serve"
	"github.com/obsrun/obsrun/ui"
)

var wholeSoak = flag.Bool("soak", false, "play one hour of 100 agents with 2 million events and 50 dashboards, and print what it took")

// soak is what is played.
type soak struct {
	agents, events, dashboards int
	lasts                      time.Duration // of the machine's time
	seems                      time.Duration // of the run's
	p99                        time.Duration // from an event's write to a client that has it
}

// plant is what a run is made of, without a child: the socket, the recorder and the
// dashboard's server.
type plant struct {
	recorder *run.Recorder
	socket   *receiver.Socket
	server   *serve.Server
	dir      string
}

func newPlant(t *testing.T, now func() time.Time) *plant {
	s := &plant{dir: t.TempDir()}
	var err error
	s.recorder, err = run.NewRecorder(s.dir, now)
	require.NoError(t, err)
	require.NoError(t, s.recorder.Begin("soak", map[string]any{"run_id": "soak-20260408-abc123"}))
	s.socket, err = receiver.ListenSocket(s.recorder.RecordAll, s.recorder.Sync)
	require.NoError(t, err)
	s.server, err = serve.Listen(serve.Config{
		RunID: "soak-20260408-abc123", Dir: s.dir, Feed: s.recorder.Feed(), Page: ui.Page, Token: "token", Listen: "127.0.0.1:0",
		Fault: func(err error) { t.Error(err) },
	})
	require.NoError(t, err)
	go func() { _ = s.server.Serve() }()
	return s
}

// end closes what a run's end closes, in that order.
func (s *plant) end(t *testing.T) {
	assert.NoError(t, s.socket.Close(context.Background()))
	assert.NoError(t, s.recorder.Finish(telemetry.StatusOK, map[string]any{"exit_code": 0}))
	s.server.Settle(context.Background())
}

func (s *plant) connect(t *testing.T) net.Conn {
	conn, err := net.Dial("unix", s.socket.Path)
	require.NoError(t, err)
	return conn
}

// follow opens a stream and gives its messages to each, until the run's end.
func (s *plant) follow(t *testing.T, clients *sync.WaitGroup, path string, each func(data []byte)) {
	request, err := http.NewRequest(http.MethodGet, s.server.Base()+path, nil)
	require.NoError(t, err)
	request.Header.Set("Accept", "text/event-stream")
	request.Header.Set("Authorization", "Bearer token")
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	require.NoError(t, err)
	require.Equal(t, 200, answer.StatusCode)
	clients.Go(func() {
		defer answer.Body.Close()
		if each == nil {
			_, err := io.Copy(io.Discard, answer.Body)
			assert.NoError(t, err)
			return
		}
		lines, ended := bufio.NewReaderSize(answer.Body, 64<<10), false
		var long []byte
		for {
			line, err := lines.ReadSlice('\n')
			if err == bufio.ErrBufferFull {
				long = append(long, line...)
				continue
			}
			if len(long) > 0 {
				line = append(long, line...)
				long = line[:0]
			}
			if err != nil {
				assert.True(t, err == io.EOF && ended, "the stream ended early: %v", err)
				return
			}
			ended = ended || bytes.Equal(line, []byte("event: end\n"))
			if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
				each(data)
			}
		}
	})
}

// probes are events whose way is timed.
type probes struct {
	mu   sync.Mutex
	sent []time.Time // by number
	took map[string][]time.Duration
	seen map[string]int // the newest, by client
}

func (p *probes) send(t *testing.T, conn net.Conn) {
	p.mu.Lock()
	p.sent = append(p.sent, time.Now())
	n := len(p.sent)
	p.mu.Unlock()
	_, err := fmt.Fprintf(conn, `{"event":"span_update","span_id":"probe","tokens":%d}`+"\n", n)
	require.NoError(t, err)
}

// arrived notes that a client has the probes up to number n.
func (p *probes) arrived(path, client string, n int) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := p.seen[client]; i < n; i++ {
		p.took[path] = append(p.took[path], now.Sub(p.sent[i]))
	}
	p.seen[client] = max(p.seen[client], n)
}

// listen lets a client look for probes.
func (p *probes) listen(t *testing.T, path, client string) func([]byte) {
	if path == "/events" {
		mark, field := []byte(`"span_id":"probe"`), []byte(`"tokens":`)
		return func(data []byte) {
			if !bytes.Contains(data, mark) {
				return
			}
			if _, number, ok := bytes.Cut(data, field); ok {
				digits, _, _ := bytes.Cut(bytes.ReplaceAll(number, []byte("}"), []byte(",")), []byte(","))
				n, err := strconv.Atoi(string(digits))
				assert.NoError(t, err)
				p.arrived(path, client, n)
			}
		}
	}
	return func(data []byte) {
		var delta struct {
			Spans []struct {
				ID     string `json:"id"`
				Tokens int    `json:"tokens"`
			} `json:"spans"`
		}
		if bytes.Contains(data, []byte(`"id":"probe"`)) && assert.NoError(t, json.Unmarshal(data, &delta)) {
			for _, span := range delta.Spans {
				if span.ID == "probe" {
					p.arrived(path, client, span.Tokens)
				}
			}
		}
	}
}

func quantile(values []time.Duration, q float64) time.Duration {
	slices.Sort(values)
	return values[min(len(values)-1, int(q*float64(len(values))))]
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/dev/fd")
	require.NoError(t, err)
	return len(entries)
}

// eventually waits for what takes a moment.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(longest); !done(); time.Sleep(5 * time.Millisecond) {
		require.True(t, time.Now().Before(end), "in vain: %s", what)
	}
}

// TestSoak plays a long run with many dashboards: its memory grows with its spans
// and with nothing else, an event is with every client soon, all the while, and
// nothing is left at the end. Without -soak it is a short one, whose bounds are wide:
// the machine may have other work, and the race detector slows it down.
func TestSoak(t *testing.T) {
	play := soak{agents: 100, events: 10_000, dashboards: 50, lasts: 2 * time.Second, seems: 2 * time.Minute, p99: 5 * time.Second}
	if *wholeSoak {
		play = soak{agents: 100, events: 2_000_000, dashboards: 50, lasts: 150 * time.Second, seems: time.Hour, p99: 500 * time.Millisecond}
	}
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	heaps := play.run(t)
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, "descriptors are closed", func() bool { return openFiles(t) <= files })
	t.Logf("heap: %v MB", heaps)
}

// toolEvery is after how many events an agent uses a tool: a span of its own.
const toolEvery = 200

func (play soak) run(t *testing.T) (heaps []uint64) {
	began := time.Now()
	speed := int64(play.seems / play.lasts)
	s := newPlant(t, func() time.Time { return began.Add(time.Since(began) * time.Duration(speed)) })
	p := &probes{took: map[string][]time.Duration{}, seen: map[string]int{}}

	var clients sync.WaitGroup
	for i := range play.dashboards {
		switch path := []string{"/state", "/events"}[i%10/9]; {
		case i%10 < 8 && i >= 4: // reads and looks at nothing
			s.follow(t, &clients, path, nil)
		default:
			s.follow(t, &clients, path, p.listen(t, path, fmt.Sprint(i)))
		}
	}

	// The agents, a few to a connection, each at an even pace.
	const connections = 10
	var sent atomic.Int64
	var producers sync.WaitGroup
	each := play.events / play.agents
	for c := range connections {
		producers.Go(func() {
			conn := s.connect(t)
			defer conn.Close()
			lines := bufio.NewWriterSize(conn, 16<<10)
			for n := range each {
				for a := c; a < play.agents; a += connections {
					switch {
					case n == 0:
						fmt.Fprintf(lines, `{"event":"span_start","span_id":"agent-%d","kind":"library-analysis","component":"component-%d"}`+"\n", a, a)
					case n == each-1:
						fmt.Fprintf(lines, `{"event":"span_end","span_id":"agent-%d","status":"ok","tokens":%d}`+"\n", a, n)
					case n%toolEvery == 1 && n+1 < each-1:
						fmt.Fprintf(lines, `{"event":"span_start","span_id":"tool-%d-%d","parent":"agent-%d","kind":"tool","name":"read_file"}`+"\n", a, n, a)
					case n%toolEvery == 2 && n < each-1:
						fmt.Fprintf(lines, `{"event":"span_end","span_id":"tool-%d-%d","status":"ok"}`+"\n", a, n-1)
					default:
						fmt.Fprintf(lines, `{"event":"span_update","span_id":"agent-%d","tokens":%d,"message":"reading file %d of many"}`+"\n", a, n, n)
					}
				}
				sent.Add(int64(play.agents / connections))
				if due := play.lasts * time.Duration(n) / time.Duration(each); n%8 == 0 && due > time.Since(began) {
					if !assert.NoError(t, lines.Flush()) {
						return
					}
					time.Sleep(due - time.Since(began))
				}
			}
			assert.NoError(t, lines.Flush())
		})
	}
	prober := s.connect(t)
	_, err := io.WriteString(prober, `{"event":"span_start","span_id":"probe","kind":"tool"}`+"\n")
	require.NoError(t, err)
	for quarter := 1; quarter <= 4; quarter++ {
		for sent.Load() < int64(play.events*quarter/4) && !t.Failed() {
			p.send(t, prober)
			time.Sleep(20 * time.Millisecond)
		}
		heaps = append(heaps, heapInUse()>>20)
	}
	producers.Wait()
	took := time.Since(began)
	require.NoError(t, prober.Close())
	s.end(t)
	clients.Wait()
	var totals run.Totals
	var reached int64
	s.recorder.Feed().View(func(state *run.State) { totals, reached = state.Totals(), state.Rev() })
	require.NoError(t, s.server.Shutdown(context.Background()))

	// Nothing is lost, nothing is there twice.
	want := int64(each*play.agents+len(p.sent)) + 3
	assert.Equal(t, want, reached)
	assert.Equal(t, play.agents, totals.Done)
	assert.EqualValues(t, play.agents*(each-1)+len(p.sent), totals.Tokens)
	journal, err := os.Open(run.JournalPath(s.dir))
	require.NoError(t, err)
	defer journal.Close()
	lines := int64(0)
	for r, buf := bufio.NewReader(journal), make([]byte, 1<<20); ; {
		n, err := r.Read(buf)
		lines += int64(bytes.Count(buf[:n], []byte{'\n'}))
		if err != nil {
			break
		}
	}
	assert.Equal(t, want, lines)

	// What is kept grows with the spans: those of the last three quarters.
	spans := uint64(play.agents * (each / toolEvery) * 3 / 4)
	assert.LessOrEqual(t, heaps[3], heaps[0]+(spans*4<<10)>>20+24, "MB of heap, from the first quarter to the last: %v", heaps)
	for path, took := range p.took {
		require.NotEmpty(t, took)
		assert.Less(t, quantile(took, 0.99), play.p99, path)
		t.Logf("%s: event to client p50 %v, p99 %v, longest %v of %d", path, quantile(took, 0.5), quantile(took, 0.99), quantile(took, 1), len(took))
	}
	assert.Len(t, p.took, 2)
	t.Logf("%d events in %v, %.0f a second", lines, took.Round(time.Millisecond), float64(lines)/took.Seconds())
	return heaps
}

// A flood as fast as it comes, 200,000 lines and more a second on a free machine:
// every line is kept, and who watches the state is told all the while.
func TestFlood(t *testing.T) {
	const connections, each, batch = 4, 15_000, 50
	s := newPlant(t, time.Now)
	var clients sync.WaitGroup
	var heard []time.Time
	s.follow(t, &clients, "/state", func([]byte) { heard = append(heard, time.Now()) })
	began := time.Now()
	var producers sync.WaitGroup
	for c := range connections {
		producers.Go(func() {
			conn := s.connect(t)
			defer conn.Close()
			var lines strings.Builder
			for n := range each {
				fmt.Fprintf(&lines, `{"event":"span_update","span_id":"agent-%d","tokens":%d,"tool_uses":3}`+"\n", n%10+10*c, n)
				if n%batch == batch-1 {
					if _, err := io.WriteString(conn, lines.String()); !assert.NoError(t, err) {
						return
					}
					lines.Reset()
				}
			}
			assert.NoError(t, conn.(*net.UnixConn).CloseWrite())
			_, err := io.Copy(io.Discard, conn) // recorded and written
			assert.NoError(t, err)
		})
	}
	producers.Wait()
	took := time.Since(began)
	s.end(t)
	clients.Wait()
	var reached int64
	s.recorder.Feed().View(func(state *run.State) { reached = state.Rev() })
	require.NoError(t, s.server.Shutdown(context.Background()))
	assert.EqualValues(t, connections*each+2, reached)
	longest := time.Duration(0)
	for i := 1; i < len(heard); i++ {
		longest = max(longest, heard[i].Sub(heard[i-1]))
	}
	assert.Less(t, longest, 10*time.Second, "without a word to the reader")
	t.Logf("%.0f lines a second; %d deltas, %v apart at most", connections*each/took.Seconds(), len(heard), longest)
}
