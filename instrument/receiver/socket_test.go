package receiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// record is what a receiver recorded.
type record struct {
	mu     sync.Mutex
	events []telemetry.Event
	synced int // how many there were at the last sync
}

func (r *record) add(ev telemetry.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, ev)
	return nil
}

func (r *record) addAll(events []telemetry.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range events {
		raw := bytes.Clone(ev.Raw) // the connection uses its memory again
		if ev.Fault == "" && raw != nil {
			source := ev.Source
			if err := ev.Decode(raw); err != nil {
				return err
			}
			ev.Source = source
		}
		ev.Raw = raw
		r.events = append(r.events, ev)
	}
	return nil
}

func (r *record) sync(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.synced = len(r.events)
	return nil
}

func (r *record) all() []telemetry.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// ids gives the span ids of the valid events, in order.
func (r *record) ids() []string {
	ids := []string{}
	for _, ev := range r.all() {
		if ev.Fault == "" {
			ids = append(ids, ev.SpanID)
		}
	}
	return ids
}

func (r *record) faults() []string {
	faults := []string{}
	for _, ev := range r.all() {
		if ev.Fault != "" {
			faults = append(faults, ev.Fault)
		}
	}
	return faults
}

func listen(t *testing.T) (*Socket, *record) {
	t.Helper()
	r := &record{}
	s, err := ListenSocket(r.addAll, r.sync)
	require.NoError(t, err)
	t.Cleanup(func() {
		select {
		case <-s.closing:
		default:
			assert.NoError(t, s.Close(context.Background()))
		}
	})
	return s, r
}

func dial(t *testing.T, s *Socket) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: s.Path, Net: "unix"})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// flush half-closes and waits for end of file: all that was written is recorded
// then.
func flush(t *testing.T, conn *net.UnixConn) {
	t.Helper()
	require.NoError(t, conn.CloseWrite())
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	n, err := conn.Read(make([]byte, 1))
	require.Zero(t, n)
	require.ErrorIs(t, err, io.EOF)
}

func send(t *testing.T, s *Socket, chunks ...string) {
	t.Helper()
	conn := dial(t, s)
	for _, chunk := range chunks {
		_, err := conn.Write([]byte(chunk))
		require.NoError(t, err)
	}
	flush(t, conn)
}

func start(id string) string { return fmt.Sprintf(`{"event":"span_start","span_id":%q}`, id) }

func TestSocketFile(t *testing.T) {
	for _, mask := range []int{0, 0o022, 0o777} {
		func() {
			defer unix.Umask(unix.Umask(mask))
			s, _ := listen(t)
			info, err := os.Lstat(s.Path)
			require.NoError(t, err)
			assert.Equal(t, os.ModeSocket|0o600, info.Mode())
			dir, err := os.Lstat(filepath.Dir(s.Path))
			require.NoError(t, err)
			assert.Equal(t, os.ModeDir|0o700, dir.Mode())
			require.NoError(t, s.Close(t.Context()))
			assert.NoDirExists(t, filepath.Dir(s.Path))
		}()
	}
}

func TestSocketPath(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 130))
	require.NoError(t, os.Mkdir(long, 0o700))
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for name, tmp := range map[string]string{
		"too long": long, "not there": filepath.Join(long, "none"), "a file": file, "relative": "no/such", "unset": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", tmp)
			s, r := listen(t)
			assert.Less(t, len(s.Path), 100)
			assert.True(t, filepath.IsAbs(s.Path))
			assert.True(t, strings.HasPrefix(s.Path, "/tmp/obsrun-"), s.Path)
			send(t, s, start("a")+"\n")
			assert.Equal(t, []string{"a"}, r.ids())
		})
	}
	left, err := os.ReadDir(long)
	require.NoError(t, err)
	assert.Empty(t, left, "what did not fit is removed again")
}

func TestSocketLines(t *testing.T) {
	a, b := start("a"), start("b")
	cases := map[string]struct {
		in     string
		ids    []string
		faults int
	}{
		"nothing":                {"", []string{}, 0},
		"one":                    {a + "\n", []string{"a"}, 0},
		"two":                    {a + "\n" + b + "\n", []string{"a", "b"}, 0},
		"CRLF":                   {a + "\r\n" + b + "\r\n", []string{"a", "b"}, 0},
		"blank lines":            {"\n\r\n \t \n" + a + "\n\n", []string{"a"}, 0},
		"no newline at the end":  {a + "\n" + b, []string{"a", "b"}, 0},
		"CR at the end":          {a + "\r", []string{"a"}, 0},
		"half a line at the end": {a + "\n" + b[:20], []string{"a"}, 1},
		"two objects in a line":  {a + b + "\n" + a + "\n", []string{"a"}, 1},
		"pretty printed":         {"{\n  \"event\": \"log\"\n}\n" + a + "\n", []string{"a"}, 3},
		"HTTP":                   {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", []string{}, 2},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, r := listen(t)
			send(t, s, c.in)
			assert.Equal(t, c.ids, r.ids())
			assert.Len(t, r.faults(), c.faults)
			for _, ev := range r.all() {
				assert.Equal(t, telemetry.SourceSocket, ev.Source)
			}
		})
	}
}

// hostile are lines that are no events. After each the connection goes on.
var hostile = []string{
	"x", "null", "true", "1", `"text"`, "[]", `[{"event":"log","message":"x"}]`, "{", "}", "{}", `{"event"}`, `{"event":}`,
	`{"event":"span_start"}`, `{"event":"span_start","span_id":""}`, `{"event":"span_start","span_id":7}`,
	`{"event":"span_start","span_id":null}`, `{"event":7,"span_id":"x"}`, `{"event":"","span_id":"x"}`,
	`{"EVENT":"span_start","span_id":"x"}`, `{"event":"span_start","span_id":"x"`, `{"event":"span_start","span_id":"x",}`,
	`{'event':'span_start','span_id':'x'}`, `{event:"span_start",span_id:"x"}`, `{"event":"span_start","span_id":"x"}}`,
	`{"event":"span_start","span_id":"x"} trailing`, `{"event":"span_start","span_id":"x"}{"event":"log","message":"y"}`,
	`{"event":"span_start","span_id":"x","ts":NaN}`, `{"event":"span_start","span_id":"x","ts":Infinity}`,
	`{"event":"span_start","span_id":"x","ts":01}`, `{"event":"span_start","span_id":"x","ts":1.}`,
	`{"event":"span_start","span_id":"x","ts":.5}`, `{"event":"span_start","span_id":"x","ts":+1}`,
	`{"event":"span_start","span_id":"x","a":0x1}`, "{\"event\":\"log\",\"message\":\"\xff\xfe\"}", "{\"event\":\"log\",\"message\":\"\xe2\x82\"}",
	"{\"event\":\"log\",\"message\":\"a\x00b\"}", "\x00\x00\x00\x00", "\ufeff" + `{"event":"log","message":"bom"}`,
	"\xff\xfe{\x00}\x00", `{"event":"log","message":"\x"}`, `{"event":"log","message":"\u12"}`, `{"event":"log"}`,
	`{"event":"phase"}`, `{"event":"artifact"}`, "event: log", "data: {}", "# comment", "// comment", `/**/{"event":"log","message":"x"}`,
	`{"event":"span_stalled","span_id":"x"}`, `{"event":"span_resumed","span_id":"x"}`,
	`{"event":"log","message":"x","source":"obsrun"}`, `{"event":"log","message":"x","recv_ms":1}`,
	strings.Repeat("[", 20000), `{"event":"log","message":"x","a":` + strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20001),
	"<xml/>", "\x1b[31mred\x1b[0m", "\x80\x04\x95", "PRI * HTTP/2.0",
}

func TestSocketHostile(t *testing.T) {
	s, r := listen(t)
	conn := dial(t, s)
	for i, line := range hostile {
		_, err := fmt.Fprintf(conn, "%s\n%s\n", line, start(fmt.Sprint(i)))
		require.NoError(t, err)
	}
	flush(t, conn)
	events := r.all()
	require.Len(t, events, 2*len(hostile))
	for i, line := range hostile {
		bad, good := events[2*i], events[2*i+1]
		assert.NotEmpty(t, bad.Fault, "%q was taken", line)
		assert.Equal(t, line, string(bad.Raw))
		assert.Equal(t, fmt.Sprint(i), good.SpanID, "after %q", line)
		assert.Empty(t, good.Fault)
	}
}

// odd are lines that are events, however strange; they are kept as they came.
var odd = []string{
	`{"event":"made_up","x":1}`, `{"event":"span_start","span_id":"x","kind":7,"parent":[],"attrs":"no"}`,
	`{"event":"span_start","event":"span_end","span_id":"x","span_id":"y"}`, `{"event":"span_end","span_id":"x","status":"exploded"}`,
	`{"__proto__":{"a":1},"event":"log","message":"x"}`, `{"event":"span_update","span_id":"x","tokens":-5}`,
	`{"event":"span_update","span_id":"x","tokens":"12"}`, `{"event":"span_update","span_id":"x","tokens":1e308}`,
	`{"event":"span_update","span_id":"x","tokens":9007199254740993}`, `{"event":"span_update","span_id":"x","tokens":1e400}`,
	`{"event":"log","message":"\u0000\ud800"}`, `{"event":"log","message":"` + "\u2028\u202e" + `"}`,
	`{"event":"span_start","span_id":"` + strings.Repeat("x", 5000) + `"}`, ` {"event" : "log" , "message" : "x" } `,
	`{"event":"span_start","span_id":"x","ts":-1}`, `{"event":"span_start","span_id":"x","ts":1712534400123}`,
	`{"event":"log",` + "\t" + `"message":"x"}`,
	`{"event":"phase","name":"","name":"x"}`, `{"event":"log","message":"x","exit":{"deep":[[[1]]]}}`, `{"event":"artifact","path":"../../etc/passwd"}`,
}

func TestSocketOdd(t *testing.T) {
	s, r := listen(t)
	send(t, s, strings.Join(odd, "\n"))
	events := r.all()
	require.Len(t, events, len(odd))
	for i, line := range odd {
		assert.Empty(t, events[i].Fault, line)
		assert.Equal(t, strings.TrimSpace(line), strings.TrimSpace(string(events[i].Raw)))
	}
}

func TestSocketLongLines(t *testing.T) {
	padded := func(n int) string {
		const head, tail = `{"event":"log","message":"`, `"}`
		return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
	}
	const limit = telemetry.MaxLine
	for _, c := range []struct {
		size int
		end  string
		ok   bool
	}{
		{64<<10 - 1, "\n", true}, {64 << 10, "\n", true}, {64<<10 + 1, "\n", true}, {256 << 10, "\n", true},
		{limit - 1, "\n", true}, {limit, "\n", true}, {limit, "\r\n", true}, {limit, "", true},
		{limit + 1, "\n", false}, {limit + 1, "\r\n", false}, {limit + 2, "\n", false}, {limit + 1, "", false},
		{limit + 64<<10, "\n", false}, {8 << 20, "\n", false}, {8 << 20, "\r\n", false}, {8 << 20, "", false},
	} {
		t.Run(fmt.Sprintf("%d%q", c.size, c.end), func(t *testing.T) {
			s, r := listen(t)
			line := padded(c.size)
			after := ""
			if c.end != "" {
				after = start("after") + "\n"
			}
			send(t, s, start("before")+"\n"+line+c.end+after)
			events := r.all()
			want := 2
			if after != "" {
				want = 3
				require.Equal(t, "after", events[len(events)-1].SpanID)
			}
			require.Len(t, events, want)
			if c.ok {
				require.Empty(t, events[1].Fault)
				require.True(t, line == string(events[1].Raw))
				return
			}
			require.Contains(t, events[1].Fault, "over the limit of 1048576")
			require.Equal(t, line[:keptOfLine], string(events[1].Raw))
			require.Equal(t, keptOfLine, cap(events[1].Raw), "the rest of the line is not kept alive")
		})
	}
}

// However the bytes are cut, the events are the same.
func TestSocketChunks(t *testing.T) {
	lines := []string{start("a"), start("b") + "\r", "", "no event", start("c"), `{"event":"log","message":"` + strings.Repeat("y", 5000) + `"}`, start("d")}
	in := strings.Join(lines, "\n")
	s, r := listen(t)
	send(t, s, in)
	want := r.all()
	require.Len(t, want, 6)
	same := func(t *testing.T, got []telemetry.Event) {
		require.Len(t, got, len(want))
		for i := range want {
			require.Equal(t, string(want[i].Raw), string(got[i].Raw))
			require.Equal(t, want[i].Fault, got[i].Fault)
		}
	}
	t.Run("byte by byte", func(t *testing.T) {
		s, r := listen(t)
		send(t, s, strings.Split(in, "")...)
		same(t, r.all())
	})
	// The splitter itself, at every pair of cuts around the short lines.
	split := func(chunks ...string) []telemetry.Event {
		r := &record{}
		c := connection{record: r.addAll, buf: make([]byte, 64)}
		for _, chunk := range chunks {
			for len(chunk) > 0 {
				n := copy(c.room(), chunk)
				c.took(n)
				chunk = chunk[n:]
			}
		}
		c.last()
		return r.all()
	}
	for i := range 64 {
		for j := i; j < 64; j++ {
			same(t, split(in[:i], in[i:j], in[j:]))
		}
	}
	for size := 1; size < 200; size += 7 {
		chunks := []string{}
		for chunk := range slices.Chunk([]byte(in), size) {
			chunks = append(chunks, string(chunk))
		}
		same(t, split(chunks...))
	}
}

func FuzzConnection(f *testing.F) {
	f.Add([]byte(start("a")+"\n\nx\r\n"+start("b")), uint16(1))
	f.Add(bytes.Repeat([]byte("y"), 5000), uint16(4096))
	f.Fuzz(func(t *testing.T, in []byte, size uint16) {
		r := &record{}
		c := connection{record: r.addAll, buf: make([]byte, 64)}
		for rest := in; len(rest) > 0; {
			n := copy(c.room(), rest[:min(len(rest), int(size)+1)])
			c.took(n)
			rest = rest[n:]
		}
		c.last()
		want := []string{}
		for line := range strings.SplitSeq(string(in), "\n") {
			if line = strings.Trim(line, " \t\r"); line != "" {
				want = append(want, line)
			}
		}
		got := []string{}
		for _, ev := range r.all() {
			got = append(got, strings.Trim(string(ev.Raw), " \t\r"))
		}
		require.Equal(t, want, got)
	})
}

// Many clients, some coming back: every event once, whole, in the order of its
// connection.
func TestSocketManyClients(t *testing.T) {
	const clients, each, visits = 32, 150, 3
	s, r := listen(t)
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			for visit := range visits {
				conn := dial(t, s)
				for i := range each / visits {
					n := visit*each/visits + i
					line := fmt.Sprintf(`{"event":"log","message":"%s","client":%d,"n":%d}`, strings.Repeat("x", 100+(n*n*131)%6000), client, n)
					if _, err := conn.Write([]byte(line + "\n")); err != nil {
						t.Error(err)
					}
				}
				flush(t, conn)
			}
		})
	}
	wg.Wait()
	next := map[int]int{}
	for _, ev := range r.all() {
		require.Empty(t, ev.Fault)
		var client, n int
		at := bytes.LastIndex(ev.Raw, []byte(`,"client"`))
		_, err := fmt.Sscanf(string(ev.Raw[at:]), `,"client":%d,"n":%d}`, &client, &n)
		require.NoError(t, err)
		require.Equal(t, next[client], n, "client %d", client)
		next[client]++
	}
	for client := range clients {
		require.Equal(t, each, next[client])
	}
}

// The client reads end of file only after its lines were recorded and synced.
func TestSocketHalfClose(t *testing.T) {
	r := &record{}
	release := make(chan struct{})
	s, err := ListenSocket(r.addAll, func(ctx context.Context) error {
		select {
		case <-release:
			return r.sync(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	require.NoError(t, err)
	conn := dial(t, s)
	_, err = conn.Write([]byte(start("a") + "\n" + start("b")))
	require.NoError(t, err)
	require.NoError(t, conn.CloseWrite())
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "closed before the sync")
	close(release)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, s.Close(t.Context()))
	assert.Equal(t, 2, r.synced)
}

// Clients that wait in the backlog, have written and are gone: nothing of them
// is lost, although the socket is closed at once.
func TestSocketBacklog(t *testing.T) {
	s, r := listen(t)
	const clients = 300
	for i := range clients {
		conn := dial(t, s)
		_, err := conn.Write([]byte(start(fmt.Sprint(i)) + "\n"))
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
	require.NoError(t, s.Close(t.Context()))
	assert.Len(t, r.ids(), clients)
	_, err := net.Dial("unix", s.Path)
	require.Error(t, err)
}

// A client that comes at the last moment, after a long silence, is heard; and nobody
// is waited for.
func TestSocketLastMoment(t *testing.T) {
	fastest := time.Hour
	for range 200 {
		s, r := listen(t)
		clients := make([]*net.UnixConn, 5)
		for i := range clients {
			clients[i] = dial(t, s)
			_, err := clients[i].Write([]byte(start(fmt.Sprint(i)) + "\n"))
			require.NoError(t, err)
			require.NoError(t, clients[i].Close())
		}
		s.mu.Lock()
		s.last = time.Time{} // as if no other had come before, and these were not seen yet
		s.mu.Unlock()
		began := time.Now()
		require.NoError(t, s.Close(t.Context()))
		fastest = min(fastest, time.Since(began))
		require.Len(t, r.ids(), len(clients))
		require.NoFileExists(t, s.Path)
	}
	assert.Less(t, fastest, idleBacklog)
}

// A client that stays, silent or within a line, delays the end by no more than a
// second; what it had finished is kept.
func TestSocketStayingClients(t *testing.T) {
	s, r := listen(t)
	silent, half, long := dial(t, s), dial(t, s), dial(t, s)
	for conn, text := range map[*net.UnixConn]string{
		silent: start("silent") + "\n", half: start("half") + "\n" + `{"event":"span_`, long: strings.Repeat("z", telemetry.MaxLine+9),
	} {
		_, err := conn.Write([]byte(text))
		require.NoError(t, err)
	}
	began := time.Now()
	require.NoError(t, s.Close(t.Context()))
	assert.Less(t, time.Since(began), 3*time.Second)
	assert.ElementsMatch(t, []string{"silent", "half"}, r.ids())
	assert.ElementsMatch(t, []string{errCut.Error(), "line of 1048585 bytes, over the limit of 1048576"}, r.faults())
	_, err := silent.Read(make([]byte, 1))
	assert.Error(t, err)
}

func TestSocketCloseContext(t *testing.T) {
	s, _ := listen(t)
	dial(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	require.NoError(t, s.Close(ctx))
	assert.Less(t, time.Since(began), 800*time.Millisecond)
}

// A flood that never ends does not hold up the end, and what was whole is whole.
func TestSocketFlood(t *testing.T) {
	s, r := listen(t)
	conn := dial(t, s)
	done := make(chan error, 1)
	go func() {
		lines := []byte(strings.Repeat(start("flood")+"\n", 100))
		for {
			if _, err := conn.Write(lines); err != nil {
				done <- err
				return
			}
		}
	}()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	require.NoError(t, s.Close(ctx))
	assert.Less(t, time.Since(began), 5*time.Second)
	require.Error(t, <-done)
	assert.NotEmpty(t, r.ids())
	for _, fault := range r.faults() {
		assert.Equal(t, errCut.Error(), fault)
	}
}

// Clients that read, half-close or reset.
func TestSocketRudeClients(t *testing.T) {
	s, r := listen(t)
	reading := dial(t, s)
	go func() { _, _ = io.Copy(io.Discard, reading) }()
	reset := dial(t, s)
	_, err := reset.Write([]byte(start("reset") + "\n"))
	require.NoError(t, err)
	require.NoError(t, reset.SetWriteBuffer(1))
	raw, err := reset.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}))
	require.NoError(t, reset.Close())
	deaf := dial(t, s)
	require.NoError(t, deaf.CloseRead())
	_, err = deaf.Write([]byte(start("deaf") + "\n"))
	require.NoError(t, err)
	require.NoError(t, deaf.Close())
	_, err = reading.Write([]byte(start("reading")))
	require.NoError(t, err)
	require.NoError(t, reading.CloseWrite())
	require.NoError(t, s.Close(t.Context()))
	assert.ElementsMatch(t, []string{"reset", "deaf", "reading"}, r.ids())
	assert.Empty(t, r.faults())
}

func TestSocketRemoved(t *testing.T) {
	s, r := listen(t)
	conn := dial(t, s)
	send(t, s, start("first"))
	require.NoError(t, os.Remove(s.Path))
	_, err := conn.Write([]byte(start("second") + "\n"))
	require.NoError(t, err)
	flush(t, conn)
	require.NoError(t, s.Close(t.Context()))
	events := r.all()
	require.Len(t, events, 3)
	assert.Equal(t, "second", events[1].SpanID)
	assert.Equal(t, telemetry.Log, events[2].Type)
	assert.Contains(t, events[2].Message, "was removed")
	assert.Equal(t, telemetry.SourceObsrun, events[2].Source)
	assert.NoDirExists(t, filepath.Dir(s.Path))
}

// What took the socket's place is neither removed nor followed.
func TestSocketReplaced(t *testing.T) {
	keep := filepath.Join(t.TempDir(), "keep")
	require.NoError(t, os.WriteFile(keep, []byte("x"), 0o600))
	for name, put := range map[string]func(path string) error{
		"file": func(p string) error { return os.WriteFile(p, []byte("x"), 0o600) },
		"link": func(p string) error { return os.Symlink(keep, p) },
		"socket": func(p string) error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: p, Net: "unix"})
			if err == nil {
				l.SetUnlinkOnClose(false)
				err = l.Close()
			}
			return err
		},
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := listen(t)
			defer os.RemoveAll(filepath.Dir(s.Path))
			require.NoError(t, os.Rename(s.Path, s.Path+".away"))
			require.NoError(t, put(s.Path))
			require.NoError(t, s.Close(t.Context()))
			_, err := os.Lstat(s.Path)
			assert.NoError(t, err)
			assert.FileExists(t, keep)
		})
	}
}

// With no descriptor free, clients wait and lose nothing, and it is told once.
// In a process of its own, which has few.
func TestSocketNoDescriptors(t *testing.T) {
	if os.Getenv("RECEIVER_TEST_LIMITED") != "" {
		if err := exhaust(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			syscall.Exit(1)
		}
		syscall.Exit(0)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestSocketNoDescriptors$")
	cmd.Env = append(os.Environ(), "RECEIVER_TEST_LIMITED=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func exhaust() error {
	r := &record{}
	s, err := ListenSocket(r.addAll, r.sync)
	if err != nil {
		return err
	}
	const clients = 40
	conns := make([]int, clients) // made first: the limit holds for both ends, which live here
	for i := range conns {
		if conns[i], err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); err != nil {
			return err
		}
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = uint64(conns[clients-1] + 5)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	for i, fd := range conns {
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: s.Path}); err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
		if _, err := unix.Write(fd, []byte(start(fmt.Sprint(i))+"\n")); err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
	}
	// All stay until somebody had to wait, then leave.
	isLog := func(ev telemetry.Event) bool { return ev.Type == telemetry.Log }
	for deadline := time.Now().Add(5 * time.Second); !slices.ContainsFunc(r.all(), isLog); {
		if time.Now().After(deadline) {
			return errors.New("no client had to wait")
		}
		time.Sleep(time.Millisecond)
	}
	for _, fd := range conns {
		unix.Close(fd)
	}
	if err := s.Close(context.Background()); err != nil {
		return err
	}
	told, taken := 0, 0
	for _, ev := range r.all() {
		if isLog(ev) {
			told++
		} else {
			taken++
		}
	}
	if told != 1 || taken != clients {
		return fmt.Errorf("%d events of %d, %d messages", taken, clients, told)
	}
	return nil
}

// A record that fails is not the client's business.
func TestSocketRecordFails(t *testing.T) {
	recorded := 0
	s, err := ListenSocket(
		func(events []telemetry.Event) error { recorded += len(events); return errors.New("no") },
		func(context.Context) error { return errors.New("no") },
	)
	require.NoError(t, err)
	send(t, s, start("a")+"\nx\n"+start("b")+"\n")
	require.NoError(t, s.Close(t.Context()))
	assert.Equal(t, 3, recorded)
}
