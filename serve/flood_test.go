package serve

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// footprint is what a server holds of its clients.
type footprint struct {
	goroutines, files int
	heap              uint64
}

func measure(t *testing.T) footprint {
	runtime.GC()
	runtime.GC() // what pools keep goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{runtime.NumGoroutine(), descriptors(t), m.HeapAlloc}
}

// leftNothing waits until as much is held as before.
func leftNothing(t *testing.T, before footprint) {
	t.Helper()
	wait(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before.goroutines })
	wait(t, "descriptors are closed", func() bool { return descriptors(t) <= before.files })
	wait(t, "the heap is as small", func() bool { return measure(t).heap <= before.heap+4<<20 })
}

func answered(t *testing.T, s *Server) {
	t.Helper()
	resp := ask(t, s, "GET", "/state")
	assert.Equal(t, 200, resp.StatusCode)
	body(t, resp)
	resp.Body.Close()
}

// listener reads the events of a run until it has seen the one that until names,
// and tells the longest time between two of them.
func listener(t *testing.T, s *Server, until string) (longest func() time.Duration) {
	resp := ask(t, s, "GET", "/events")
	stream := &messages{bufio.NewReader(resp.Body)}
	done := make(chan time.Duration, 1)
	go func() {
		var longest time.Duration
		defer resp.Body.Close()
		for last := time.Now(); ; {
			got, err := stream.next()
			if !assert.NoError(t, err) || strings.Contains(got.data, until) {
				done <- longest
				return
			}
			longest, last = max(longest, time.Since(last)), time.Now()
		}
	}()
	return func() time.Duration { return <-done }
}

// beat records an event every few milliseconds until the returned function is called.
func beat(t *testing.T, rec *run.Recorder) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			assert.NoError(t, rec.Record(telemetry.Event{Type: telemetry.Log, Message: fmt.Sprint("beat ", i), Source: telemetry.SourceSocket}))
			select {
			case <-time.After(5 * time.Millisecond):
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}

// A flood of requests, most of them refused, takes nothing from who listens, and
// leaves nothing.
func TestRequestFlood(t *testing.T) {
	rec, dir := record(t)
	s := open(t, config(rec, dir))
	answered(t, s)
	before := measure(t)
	stop := beat(t, rec)
	longest := listener(t, s, "the-last-one")

	const clients, each, pipelined = 8, 40, 25
	targets := []string{"/", "/state", "/nothing", "/healthz", "/telemetry.jsonl", "/?token=wrong", "/?code=wrong"}
	var answers atomic.Int64
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			conn := dial(t, s)
			reader := bufio.NewReader(conn)
			token := []string{"wrong", testToken}[c%2]
			for range each {
				var requests strings.Builder
				for i := range pipelined {
					fmt.Fprintf(&requests, "GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", targets[i%len(targets)], token)
				}
				if _, err := io.WriteString(conn, requests.String()); !assert.NoError(t, err) {
					return
				}
				for range pipelined {
					resp, err := http.ReadResponse(reader, nil)
					if !assert.NoError(t, err) {
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					answers.Add(1)
				}
			}
			conn.Close()
		})
	}
	wg.Wait()
	stop()
	tell(t, rec, start("the-last-one"))
	assert.EqualValues(t, clients*each*pipelined, answers.Load())
	assert.Less(t, longest(), 5*time.Second, "between two events, while the flood went on")
	leftNothing(t, before)
}

// Clients that send their request line by line, byte by byte, or never to its end
// are cut, and hold up nobody: as many as there are slots for.
func TestSlowRequests(t *testing.T) {
	const crowd = 60
	rec, dir := record(t)
	s := open(t, config(rec, dir), func(s *Server) {
		s.http.ReadHeaderTimeout = 300 * time.Millisecond
		s.patience = 300 * time.Millisecond
		s.listener.(*limited).slots = make(chan struct{}, crowd)
	})
	answered(t, s)
	before := measure(t)
	head := "GET /state HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + testToken + "\r\n"
	post := "POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + testToken + "\r\nContent-Length: 100000\r\n\r\n"
	var wg sync.WaitGroup
	for i := range crowd {
		conn := dial(t, s)
		wg.Go(func() {
			defer conn.Close()
			var text string
			switch i % 4 {
			case 0: // says nothing
			case 1:
				text = "GET /sta"
			case 2: // a byte at a time, for ever
				text = head + strings.Repeat("X-More: x\r\n", 1<<20)
			case 3:
				text = post + strings.Repeat("x", 99999)
			}
			cut := make(chan struct{})
			go func() {
				_, _ = io.Copy(io.Discard, conn)
				close(cut)
			}()
			for at := 0; ; at++ {
				if at < len(text) && i%4 > 1 {
					_, _ = io.WriteString(conn, text[at:at+1])
				} else if at == 0 {
					_, _ = io.WriteString(conn, text)
				}
				select {
				case <-cut:
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
		})
	}
	began := time.Now()
	answered(t, s) // once some of the slow ones were cut
	wg.Wait()
	assert.Less(t, time.Since(began), 10*time.Second)
	leftNothing(t, before)
}

// A request with more header than is taken, in one line or in many, is refused.
func TestHeaderFlood(t *testing.T) {
	rec, dir := record(t)
	s := open(t, config(rec, dir))
	for name, header := range map[string]string{
		"one line":   "X-Long: " + strings.Repeat("x", 1<<20) + "\r\n",
		"many lines": strings.Repeat("X-Short: x\r\n", 1<<17),
		"cookies":    strings.Repeat("Cookie: "+cookieName(testRun)+"=x\r\n", 1<<15),
		"the target": "",
	} {
		target := "/state"
		if header == "" {
			target += "?" + strings.Repeat("x=y&", 1<<18)
		}
		conn := dial(t, s)
		go func() { // the server answers before it has read all
			_, _ = io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+testToken+"\r\n"+header+"\r\n")
		}()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if assert.NoError(t, err, name) {
			assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, resp.StatusCode, name)
		}
		conn.Close()
	}
	answered(t, s)
}

// More connections than there are slots wait their turn; when they are gone,
// nothing is left of them.
func TestConnectionFlood(t *testing.T) {
	rec, dir := record(t)
	s := open(t, config(rec, dir), func(s *Server) { s.listener.(*limited).slots = make(chan struct{}, 20) })
	answered(t, s)
	before := measure(t)
	stop := beat(t, rec)
	longest := listener(t, s, "the-last-one")
	var idle []net.Conn
	for range 300 {
		idle = append(idle, dial(t, s))
	}
	for _, conn := range idle {
		require.NoError(t, conn.Close())
	}
	answered(t, s)
	stop()
	tell(t, rec, start("the-last-one"))
	assert.Less(t, longest(), 5*time.Second)
	leftNothing(t, before)
}

// Clients of HTTP/1.0 get whole answers that end with the connection, streams too,
// and several requests that are sent at once are answered in their order.
func TestOldClients(t *testing.T) {
	rec, dir := record(t)
	tell(t, rec, start("a"))
	finish(t, rec)
	s := open(t, config(rec, dir))
	for path, want := range map[string]string{"/state": `"id":"a"`, "/events": "event: end\n", "/telemetry.jsonl": `"span_id":"a"`} {
		answer := rawly(t, s, "GET "+path+" HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer "+testToken+"\r\n\r\n")
		assert.Contains(t, answer, "HTTP/1.0 200", path)
		assert.Contains(t, answer, want, path)
		assert.NotContains(t, answer, "Transfer-Encoding", path)
	}
	request := "GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + testToken + "\r\n%s\r\n"
	answer := rawly(t, s, fmt.Sprintf(request, "/healthz", "")+fmt.Sprintf(request, "/nothing", "")+fmt.Sprintf(request, "/telemetry.jsonl", "Connection: close\r\n"))
	order := []int{strings.Index(answer, "200 OK"), strings.Index(answer, "404 Not"), strings.LastIndex(answer, "200 OK")}
	assert.IsIncreasing(t, order)
}
