package serve

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// narrow accepts connections with a small send buffer, so that a client that
// reads nothing is noticed without megabytes being sent to it.
type narrow struct{ net.Listener }

func (n narrow) Accept() (net.Conn, error) {
	conn, err := n.Listener.Accept()
	if slotted, ok := conn.(*slotted); ok {
		_ = slotted.Conn.(*net.TCPConn).SetWriteBuffer(16 << 10)
	}
	return conn, err
}

func descriptors(t *testing.T) int {
	entries, err := os.ReadDir("/dev/fd")
	require.NoError(t, err)
	return len(entries)
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 2000 {
		if done() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("in vain: ", what)
}

// request asks for a stream: of the state when i is even, else of the events.
func request(t *testing.T, conn net.Conn, i int) {
	t.Helper()
	path := []string{"/state", "/events"}[i%2]
	_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nAccept: text/event-stream\r\n\r\n", path, testToken)
	require.NoError(t, err)
}

// neverRead opens streams that nobody reads.
func neverRead(t *testing.T, s *Server, n int) []net.Conn {
	t.Helper()
	var conns []net.Conn
	for i := range n {
		conn := dial(t, s)
		require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4<<10))
		request(t, conn, i)
		conns = append(conns, conn)
	}
	return conns
}

// flood records more than the buffers of a client that reads nothing hold.
func flood(t *testing.T, rec *run.Recorder) {
	t.Helper()
	filler := strings.Repeat("x", 4000)
	for i := range 60 {
		id := fmt.Sprint("s", i%7)
		tell(t, rec, start(id), telemetry.Event{Type: telemetry.SpanUpdate, SpanID: id, Message: fmt.Sprint("update ", i, " ", filler)})
		time.Sleep(10 * time.Millisecond)
	}
	tell(t, rec, start("the-last-one"))
}

func connected(s *Server, n int) func() bool {
	return func() bool {
		s.view.audience.mu.Lock()
		defer s.view.audience.mu.Unlock()
		return s.view.audience.busy == n
	}
}

// 500 clients, of which 100 never read: the others are told everything while those
// are stuck, and nothing is left of any of them.
func TestCrowd(t *testing.T) {
	readers, stuck := 400, 100
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if limit.Cur < 1200 { // both ends live here
		readers, stuck = 160, 40
	}
	rec, dir := record(t)
	s := open(t, config(rec, dir), func(s *Server) {
		s.patience = time.Minute // longer than the test: nobody is dropped
		s.listener = narrow{s.listener}
	})
	ask(t, s, "GET", "/healthz").Body.Close()
	before := measure(t)

	conns := neverRead(t, s, stuck)
	var clients, told sync.WaitGroup
	for i := range readers {
		conn := dial(t, s)
		conns = append(conns, conn)
		request(t, conn, i)
		told.Add(1)
		clients.Go(func() {
			heard := sync.OnceFunc(told.Done)
			defer heard()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if !assert.NoError(t, err) {
				return
			}
			stream := &messages{bufio.NewReader(resp.Body)}
			for {
				got, err := stream.next()
				if !assert.NoError(t, err) || got.event == "end" {
					return
				}
				if strings.Contains(got.data, "the-last-one") {
					heard()
				}
			}
		})
	}
	wait(t, "all are in", connected(s, readers+stuck))
	flood(t, rec)
	told.Wait()
	assert.True(t, connected(s, readers+stuck)(), "those that never read are still there")
	finish(t, rec)
	clients.Wait()
	wait(t, "the readers are done", connected(s, stuck))
	for _, conn := range conns {
		conn.Close()
	}
	conns = nil
	leftNothing(t, before)
}

// A client that reads nothing is dropped when its patience is over, though the
// connection stands.
func TestStuckClientIsDropped(t *testing.T) {
	rec, dir := record(t)
	s := open(t, config(rec, dir), func(s *Server) {
		s.patience = 100 * time.Millisecond
		s.listener = narrow{s.listener}
	})
	neverRead(t, s, 6)
	wait(t, "all are in", connected(s, 6))
	flood(t, rec)
	wait(t, "all are dropped", connected(s, 0))
	wait(t, "the connections are closed", func() bool { return idle(s) })
}

func idle(s *Server) bool {
	s.conns.mu.Lock()
	defer s.conns.mu.Unlock()
	return len(s.conns.active) == 0
}
