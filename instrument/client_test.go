package instrument

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// program is the environment variable that makes the test binary a program that
// uses the client as its users do.
const program = "INSTRUMENT_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if name := os.Getenv(program); name != "" {
		programs[name]()
		os.Exit(3)
	}
	for _, key := range []string{"OBSRUN_SOCKET", "OBSRUN_PARENT_SPAN", "OBSRUN_RUN_ID"} {
		os.Unsetenv(key)
	}
	os.Exit(m.Run())
}

var programs = map[string]func(){
	"exit without close": func() {
		_, span := Start(context.Background(), "work", Options{})
		for range 100 {
			span.ToolUses(1)
		}
		span.End(nil)
		os.Exit(3)
	},
	"close": func() {
		ctx, span := Start(context.Background(), "work", Options{})
		Log(ctx, "info", "hello")
		span.End(nil)
		fmt.Println(Close(), strings.Join(span.Env(), " ") != "")
	},
	"panic": func() {
		_, span := Start(context.Background(), "work", Options{})
		span.End(nil)
		panic("x")
	},
}

// server keeps what each connection sent until its end of file, then closes it.
type server struct {
	path     string
	listener net.Listener
	gate     chan struct{} // closed when it may read

	mu    sync.Mutex
	conns []*connection
}

type connection struct {
	got  bytes.Buffer
	done chan struct{} // closed at its end of file
}

func newServer(t *testing.T, reading bool) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "obsrun-") // t.TempDir can be too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &server{path: filepath.Join(dir, "s"), gate: make(chan struct{})}
	s.listener, err = net.Listen("unix", s.path)
	require.NoError(t, err)
	t.Cleanup(func() { s.listener.Close() })
	if reading {
		close(s.gate)
	}
	go func() {
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				return
			}
			c := &connection{done: make(chan struct{})}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			go func() {
				<-s.gate
				io.Copy(&c.got, conn)
				close(c.done)
				conn.Close()
			}()
		}
	}()
	return s
}

// lines gives every line once all connections are at their end.
func (s *server) lines(t *testing.T) []string {
	t.Helper()
	last, err := net.Dial("unix", s.path) // accepted after all others
	require.NoError(t, err)
	require.NoError(t, last.(*net.UnixConn).CloseWrite())
	io.Copy(io.Discard, last)
	var lines []string
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		<-c.done
		text := c.got.String()
		require.True(t, text == "" || strings.HasSuffix(text, "\n"), "torn line")
		for line := range strings.Lines(text) {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

// events decodes the lines as obsrun does.
func (s *server) events(t *testing.T) []telemetry.Event {
	t.Helper()
	var events []telemetry.Event
	for _, line := range s.lines(t) {
		e, err := telemetry.DecodeClient([]byte(line))
		require.NoError(t, err, "%.200s", line)
		events = append(events, e)
	}
	return events
}

func count(events []telemetry.Event, kind telemetry.Type) (n int) {
	for _, e := range events {
		if e.Type == kind {
			n++
		}
	}
	return n
}

func dialed(s *server) (context.Context, *Client) {
	c := Dial(s.path, "root")
	c.RunID = "run-1"
	return NewContext(context.Background(), c), c
}

func TestExactLines(t *testing.T) {
	s := newServer(t, true)
	ctx, c := dialed(s)
	now := time.UnixMicro(1712534400123456)
	c.Now = func() time.Time { return now }
	ctx, span := Start(ctx, "encoding", Options{
		ID: "lib-1", Kind: "library-analysis", Component: "encoding", Phase: "depth-2", Attrs: map[string]any{"n": 1},
	})
	span.Tokens(100)
	span.Use(Usage{Input: 40000, Output: 2000, Cached: 10, CostUSD: 0.5})
	span.ToolUses(31)
	span.Update("half", map[string]any{"done": 0.5})
	Log(ctx, "info", "look")
	Artifact(ctx, "a.md", "analysis")
	Phase(ctx, "library-depth-0-complete", 68400*time.Millisecond, map[string]float64{"libraries": 9})
	Emit(ctx, telemetry.Event{Type: telemetry.SpanStart, SpanID: "x"})
	Emit(ctx, telemetry.Event{Type: telemetry.Log, Raw: []byte("{\"event\":\"log\",\n\"message\":\"raw\",\"more\":[1]}")})
	now = now.Add(14820 * time.Millisecond)
	span.End(nil)
	span.End(errors.New("twice"))
	c.Emit(telemetry.Event{Type: "custom", Raw: []byte(`not { json`)})
	require.NoError(t, c.Close())

	const counters = `"tokens":42100,"input_tokens":40000,"output_tokens":2000,"cached_tokens":10,"cost_usd":0.5`
	const ts = `"ts":1712534400.123456}`
	assert.Equal(t, []string{
		`{"event":"span_start","span_id":"lib-1","parent":"root","component":"encoding","name":"encoding","kind":"library-analysis","phase":"depth-2","attrs":{"n":1},` + ts,
		`{"event":"span_update","span_id":"lib-1","tokens":100,` + ts,
		`{"event":"span_update","span_id":"lib-1",` + counters + `,` + ts,
		`{"event":"span_update","span_id":"lib-1",` + counters + `,"tool_uses":31,` + ts,
		`{"event":"span_update","span_id":"lib-1","message":"half",` + counters + `,"tool_uses":31,"attrs":{"done":0.5},` + ts,
		`{"event":"log","span_id":"lib-1","level":"info","message":"look",` + ts,
		`{"event":"artifact","span_id":"lib-1","kind":"analysis","path":"a.md",` + ts,
		`{"event":"phase","name":"library-depth-0-complete","wall_ms":68400,"libraries":9,` + ts,
		`{"event":"span_start","span_id":"x","parent":"lib-1",` + ts,
		`{"event":"log","message":"raw","more":[1],"span_id":"lib-1",` + ts,
		`{"event":"span_end","span_id":"lib-1","status":"ok","duration_ms":14820,` + counters + `,"tool_uses":31,"ts":1712534414.943456}`,
		`not { json`,
	}, s.lines(t))
}

func TestExplicitTimes(t *testing.T) {
	s := newServer(t, true)
	ctx, c := dialed(s)
	_, span := Start(ctx, "a", Options{ID: "a", Parent: "elsewhere", CallID: "call", At: time.UnixMilli(1000)})
	span.Finish(Outcome{At: time.UnixMilli(2500), Duration: 1200 * time.Microsecond, Status: "cancelled"})
	_, span = Start(ctx, "b", Options{ID: "b", At: time.UnixMilli(1000)})
	span.Finish(Outcome{At: time.UnixMilli(2500), Err: errors.New("bad")})
	require.NoError(t, c.Close())
	assert.Equal(t, []string{
		`{"event":"span_start","span_id":"a","parent":"elsewhere","name":"a","call_id":"call","ts":1}`,
		`{"event":"span_end","span_id":"a","status":"cancelled","duration_ms":1.2,"ts":2.5}`,
		`{"event":"span_start","span_id":"b","parent":"root","name":"b","ts":1}`,
		`{"event":"span_end","span_id":"b","status":"error","error":"bad","duration_ms":1500,"ts":2.5}`,
	}, s.lines(t))
}

func TestNestingQueuesAndAttempts(t *testing.T) {
	s := newServer(t, true)
	ctx, c := dialed(s)
	outer, o := Start(ctx, "outer", Options{ID: "o"})
	q := Queue(outer, "work", Options{ID: "w"})
	inner := q.Start(ctx)
	q.Tokens(5)
	_, leaf := Start(inner, "leaf", Options{ID: "l"})
	leaf.End(fmt.Errorf("wrapped: %w", context.Canceled))
	q.End(errors.New("bad"))
	q.Start(ctx)
	q.Tokens(2)
	q.End(nil)
	o.End(nil)
	Current(ctx).Update("", map[string]any{"source_repo": "r"})
	Current(ctx).End(nil) // another process's: not ours to end
	Queue(ctx, "never", Options{ID: "n"}).End(context.Canceled)
	require.NoError(t, c.Close())
	var got []string
	for _, e := range s.events(t) {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s %d %s", e.Type, e.SpanID, e.Parent, e.Tokens.N, e.Status)))
	}
	assert.Equal(t, []string{
		"span_start o root 0", "span_queued w o 0", "span_start w o 0", "span_update w  5", "span_start l w 0",
		"span_end l  0 cancelled", "span_end w  5 error", "span_start w o 0", "span_update w  2", "span_end w  2 ok",
		"span_end o  0 ok", "span_update root  0", "span_queued n root 0", "span_end n  0 cancelled",
	}, got)
}

func TestMintedIDs(t *testing.T) {
	s := newServer(t, true)
	ctx, _ := dialed(s)
	seen := map[string]bool{}
	for range 500 {
		_, span := Start(ctx, "x", Options{})
		assert.Regexp(t, regexp.MustCompile("^[0-9a-f]{16}$"), span.ID())
		seen[span.ID()] = true
	}
	assert.Len(t, seen, 500)
}

func TestEnv(t *testing.T) {
	s := newServer(t, true)
	ctx, c := dialed(s)
	const trace = "TRACEPARENT=00-4e65d3fbe8ad6535681b021b30785b12-" // the start of SHA-256("run-1")
	for id, parent := range map[string]string{"root": "4813494d137e1631", "lib-1": "b8cc5e5f9fb66a2d", "00f067aa0ba902b7": "00f067aa0ba902b7"} {
		_, span := Start(ctx, "x", Options{ID: id})
		assert.Equal(t, []string{"OBSRUN_PARENT_SPAN=" + id, trace + parent + "-01"}, span.Env())
	}
	c.RunID = ""
	assert.Equal(t, []string{"OBSRUN_PARENT_SPAN=root"}, Current(ctx).Env())
}

func TestOutsideObsrun(t *testing.T) {
	assert.Nil(t, Default())
	assert.Nil(t, Dial("", "root"))
	for _, ctx := range []context.Context{context.Background(), NewContext(context.Background(), nil)} {
		got, span := Start(ctx, "x", Options{})
		assert.Equal(t, ctx, got)
		assert.Nil(t, span)
		exercise(ctx)
		allocated := testing.AllocsPerRun(100, func() {
			_, span := Start(ctx, "x", Options{Kind: "agent"})
			span.Tokens(1)
			span.ToolUses(1)
			span.End(nil)
		})
		assert.Zero(t, allocated)
	}
	assert.NoError(t, Close())
}

// exercise calls everything once.
func exercise(ctx context.Context) {
	ctx, span := Start(ctx, "x", Options{})
	span.Tokens(1)
	span.Use(Usage{Input: 1})
	span.ToolUses(1)
	span.Update("m", nil)
	_ = span.ID() + strings.Join(span.Env(), "")
	Log(ctx, "info", "x")
	Phase(ctx, "p", 0, nil)
	Artifact(ctx, "a", "")
	Emit(ctx, telemetry.Event{Type: "x"})
	q := Queue(ctx, "q", Options{})
	q.Start(ctx)
	q.Finish(Outcome{})
	Current(ctx).Update("x", nil)
	span.End(nil)
}

func TestSocketThatCannotBeReached(t *testing.T) {
	dir := t.TempDir()
	short, err := os.MkdirTemp("", "obsrun-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(short) })
	dead := filepath.Join(short, "dead")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	l.Close()
	for _, path := range []string{filepath.Join(dir, "none"), dir, "/dev/null", dead, strings.Repeat("x", 300)} {
		c := Dial(path, "root")
		begin := time.Now()
		exercise(NewContext(context.Background(), c))
		assert.Less(t, time.Since(begin), 3*time.Second)
		assert.ErrorContains(t, c.Close(), "connect to obsrun", path)
		assert.ErrorContains(t, c.Close(), "connect to obsrun", "again")
	}
	assert.NoError(t, Dial("/nowhere", "").Close(), "nothing was sent")
}

func TestCloseWaitsForTheConfirmation(t *testing.T) {
	s := newServer(t, true)
	s.listener.Close()
	os.Remove(s.path)
	l, err := net.Listen("unix", s.path)
	require.NoError(t, err)
	defer l.Close()
	ctx, c := dialed(s)
	Log(ctx, "info", "x")
	conn, err := l.Accept()
	require.NoError(t, err)
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	got, err := io.ReadAll(conn) // ends with the half-close
	require.NoError(t, err)
	assert.Contains(t, string(got), `"message":"x"`)
	select {
	case <-closed:
		t.Fatal("closed without a confirmation")
	case <-time.After(100 * time.Millisecond):
	}
	conn.Close()
	assert.NoError(t, <-closed)
	Log(ctx, "info", "late")
	assert.NoError(t, c.Close())
}

func TestCloseGivesUp(t *testing.T) {
	s := newServer(t, false)
	defer close(s.gate)
	var wg sync.WaitGroup
	for name, events := range map[string]int{"await obsrun's confirmation": 1, "flush to obsrun": 5000} {
		wg.Go(func() {
			ctx, c := dialed(s)
			for range events {
				Log(ctx, "info", strings.Repeat("x", 100))
			}
			begin := time.Now()
			assert.ErrorContains(t, c.Close(), name)
			assert.GreaterOrEqual(t, time.Since(begin), closeTimeout)
			assert.Less(t, time.Since(begin), 10*closeTimeout)
		})
	}
	wg.Wait()
}

func TestServerDies(t *testing.T) {
	s := newServer(t, true)
	s.listener.Close()
	os.Remove(s.path)
	l, err := net.Listen("unix", s.path)
	require.NoError(t, err)
	ctx, c := dialed(s)
	Log(ctx, "info", "x")
	conn, err := l.Accept()
	require.NoError(t, err)
	conn.Close()
	l.Close()
	for range 1000 {
		exercise(ctx)
	}
	assert.ErrorContains(t, c.Close(), "write to obsrun")
}

func TestSlowServerDelaysNobodyAndTheLossIsTold(t *testing.T) {
	s := newServer(t, false)
	ctx, c := dialed(s)
	_, span := Start(ctx, "flood", Options{})
	begin := time.Now()
	for i := range 30000 {
		span.Update("", map[string]any{"i": i})
	}
	took := time.Since(begin)
	span.End(nil)
	close(s.gate)
	require.NoError(t, c.Close())
	events := s.events(t)
	lost := 0
	for _, e := range events {
		if e.Type == telemetry.Log {
			assert.Equal(t, "warn", e.Level)
			number := regexp.MustCompile(`^obsrun client lost (\d+) events?: its buffer was full$`).FindStringSubmatch(e.Message)
			require.NotNil(t, number, e.Message)
			n, _ := strconv.Atoi(number[1])
			lost += n
		}
	}
	assert.Greater(t, lost, 10000)
	assert.Equal(t, 30000, count(events, telemetry.SpanUpdate)+lost)
	assert.Equal(t, 1, count(events, telemetry.SpanEnd), "ends have a reserve")
	assert.Less(t, took, 15*time.Second, "a wait of 1 ms an event would take 30 s")
}

func TestFullBacklogIsWaitedFor(t *testing.T) {
	dir, err := os.MkdirTemp("", "obsrun-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}))
	require.NoError(t, syscall.Listen(fd, 0))
	file := os.NewFile(uintptr(fd), "listener")
	l, err := net.FileListener(file)
	require.NoError(t, err)
	file.Close()
	defer l.Close()
	const clients = 5
	results := make(chan error, clients)
	for i := range clients {
		c := Dial(path, "root")
		Log(NewContext(context.Background(), c), "info", strconv.Itoa(i))
		go func() { results <- c.Close() }()
	}
	time.Sleep(50 * time.Millisecond)
	var messages []string
	for range clients {
		conn, err := l.Accept()
		require.NoError(t, err)
		line, err := bufio.NewReader(conn).ReadBytes('\n')
		require.NoError(t, err)
		conn.Close()
		e, err := telemetry.DecodeClient(bytes.TrimSpace(line))
		require.NoError(t, err)
		messages = append(messages, e.Message)
	}
	slices.Sort(messages)
	assert.Equal(t, []string{"0", "1", "2", "3", "4"}, messages)
	for range clients {
		assert.NoError(t, <-results)
	}
}

func TestTenGoroutines(t *testing.T) {
	s := newServer(t, true)
	ctx, c := dialed(s)
	ctx, shared := Start(ctx, "shared", Options{ID: "shared"})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range 200 {
				_, span := Start(ctx, "x", Options{})
				shared.Tokens(1)
				span.End(nil)
			}
		})
	}
	wg.Wait()
	require.NoError(t, c.Close())
	var last int64
	events := s.events(t)
	for _, e := range events {
		if e.SpanID == "shared" && e.Type == telemetry.SpanUpdate {
			last++
			assert.Equal(t, last, e.Tokens.N)
		}
	}
	assert.EqualValues(t, 2000, last)
	assert.Equal(t, 2000, count(events, telemetry.SpanEnd))
}

func TestPrograms(t *testing.T) {
	for name, ends := range map[string]int{"exit without close": 1, "close": 1, "panic": 1} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, true)
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), program+"="+name, "OBSRUN_SOCKET="+s.path, "OBSRUN_PARENT_SPAN=outer", "OBSRUN_RUN_ID=run-1")
			out, err := cmd.Output()
			require.Error(t, err)
			events := s.events(t)
			assert.Equal(t, ends, count(events, telemetry.SpanEnd))
			assert.Equal(t, "outer", events[0].Parent)
			if name == "close" {
				assert.Equal(t, "<nil> true\n", string(out))
			}
		})
	}
}

type (
	panics   struct{}
	badError struct{}
	raw      string
	loop     struct{ Next *loop }
)

func (panics) MarshalJSON() ([]byte, error) { panic("no") }
func (badError) Error() string              { panic("no") }
func (r raw) MarshalJSON() ([]byte, error)  { return []byte(r), nil }

func TestHostileValues(t *testing.T) {
	s := newServer(t, true)
	ctx, c := dialed(s)
	cycle := map[string]any{}
	cycle["me"] = cycle
	ring := &loop{}
	ring.Next = ring
	var deep any
	for range 5000 {
		deep = []any{deep}
	}
	_, span := Start(ctx, "n\xff", Options{ID: "a\x00\n\r", Kind: "\u2028", Attrs: map[string]any{
		"nan": math.NaN(), "inf": float32(math.Inf(1)), "cycle": cycle, "ring": ring, "deep": deep, "panics": panics{}, "bad": badError{},
		"raw": raw(`"` + "\xff" + `"`), "broken": raw(`{`), "chan": make(chan int), "bytes": []byte("ab"), "floats": []float64{1, math.NaN()},
		"strings": []string{"a\xff"}, "map": map[string]string{"\xff": "x"}, "nil": nil, "struct": struct{ A int }{1}, "nested": []float32{float32(math.NaN())},
		"when": time.Unix(0, 0).UTC(), "half": "a\xed\xa0\x80b", "error": io.EOF, "html": "<&>",
	}})
	span.Use(Usage{Total: -1, Input: -1, Cached: -5, CostUSD: math.NaN()})
	span.Use(Usage{CostUSD: math.Inf(1)})
	span.ToolUses(-1)
	Emit(ctx, telemetry.Event{Type: telemetry.Phase, Name: "p", WallMS: telemetry.F(math.NaN()), Counts: map[string]float64{"a": math.Inf(1), "b": 1}})
	Emit(ctx, telemetry.Event{Type: "x", TS: telemetry.F(math.Inf(-1)), Counters: telemetry.Counters{CostUSD: telemetry.F(math.NaN())}})
	span.End(badError{})
	require.NoError(t, c.Close())
	events := s.events(t)
	require.Len(t, events, 7)
	assert.Equal(t, "n\ufffd", events[0].Name)
	assert.JSONEq(t, `{"nan":null,"inf":null,"panics":"(instrument.panics that is not JSON)","bad":"(instrument.badError that cannot be shown)",
		"raw":"\ufffd","broken":"(instrument.raw that is not JSON)","chan":"(chan int that is not JSON)","bytes":"YWI=","floats":[1,null],
		"strings":["a\ufffd"],"map":{"\ufffd":"x"},"nil":null,"struct":{"A":1},"nested":"([]float32 that is not JSON)",
		"when":"1970-01-01T00:00:00Z","half":"a\ufffd\ufffd\ufffdb","error":"EOF","html":"<&>","ring":"(*instrument.loop that is not JSON)"}`,
		regexp.MustCompile(`"(cycle|deep)":(\{"me":)*(\[)*"\(too deep\)"[\]}]*,`).ReplaceAllString(string(events[0].Attrs), ""))
	assert.False(t, events[1].Tokens.OK || events[1].Input.OK || events[1].CostUSD.OK || events[2].CostUSD.OK || events[3].ToolUses.OK)
	assert.Equal(t, "(instrument.badError that cannot be shown)", events[6].Error)
}

func TestLinesStayUnderTheLimit(t *testing.T) {
	s := newServer(t, true)
	ctx, c := dialed(s)
	many := map[string]any{}
	for i := range 60000 {
		many[strconv.Itoa(i)] = i
	}
	long := strings.Repeat("\x01", 1<<20)
	values := []any{
		strings.Repeat("x", 2<<20), long, strings.Repeat("😀", 1<<20), many, slices.Repeat([]any{"yyyyyyyyyy"}, 1<<17),
		[]byte(long), struct{ A string }{long}, slices.Repeat([]any{slices.Repeat([]any{"a"}, 1000)}, 1000), map[string]any{long: long},
	}
	for _, value := range values {
		_, span := Start(ctx, "big", Options{Attrs: map[string]any{"huge": value, "a small one": 1}})
		span.Update(long, map[string]any{"huge": value})
		span.End(errors.New(long))
		for drained := false; !drained; time.Sleep(time.Millisecond) { // the buffer holds 4 MiB
			c.mu.Lock()
			drained = len(c.queue) == 0
			c.mu.Unlock()
		}
	}
	_, span := Start(ctx, long, Options{ID: long, Kind: long, Component: long, Phase: long, Parent: long, CallID: long})
	span.End(nil)
	require.NoError(t, c.Close())
	events := s.events(t) // DecodeClient checks the length
	assert.Len(t, events, 3*len(values)+2)
	for i := range values {
		assert.Contains(t, string(events[3*i].Attrs), `"a small one":1`)
	}
	assert.Equal(t, events[len(events)-2].SpanID, events[len(events)-1].SpanID)
}
