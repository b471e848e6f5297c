package serve

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// A client that leaves is noticed though there is nothing to send to it, and whatever
// it sent besides its request.
func TestLeavingIsNoticed(t *testing.T) {
	rec, dir := record(t)
	s := open(t, config(rec, dir))
	ask(t, s, "GET", "/healthz").Body.Close()
	before := measure(t)
	for i := range 20 {
		conn := dial(t, s)
		request(t, conn, i)
		if i%5 == 0 {
			_, _ = conn.Write([]byte(strings.Repeat("GET / HTTP/1.1\r\n\r\n", 1000)))
		}
		_, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		wait(t, "it is in", connected(s, 1))
		began := time.Now()
		conn.Close()
		wait(t, "it is out", connected(s, 0))
		assert.Less(t, time.Since(began), 5*time.Second)
	}
	wait(t, "the wires are given back", func() bool {
		s.wires.mu.Lock()
		defer s.wires.mu.Unlock()
		return len(s.wires.open) == 0
	})
	leftNothing(t, before)
}

// A client that does not stop sending is cut.
func TestWasteIsBounded(t *testing.T) {
	rec, dir := record(t)
	s := open(t, config(rec, dir))
	for i := range 2 {
		conn := dial(t, s)
		request(t, conn, i)
		wait(t, "it is in", connected(s, 1))
		for range 2 * maxWaste / 1024 {
			if _, err := conn.Write(make([]byte, 1024)); err != nil {
				break
			}
		}
		wait(t, "it is out", connected(s, 0))
	}
}

// The head of a stream has what other answers have, and says how it ends.
func TestHeadOfWire(t *testing.T) {
	rec, dir, _ := ended(t)
	s := open(t, config(rec, dir))
	for _, version := range []string{"1.0", "1.1"} {
		for _, path := range []string{"/events", "/state"} {
			answer := rawly(t, s, fmt.Sprintf("GET %s HTTP/%s\r\nHost: localhost\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n\r\n", path, version, testToken))
			head, text, _ := strings.Cut(answer, "\r\n\r\n")
			assert.True(t, strings.HasPrefix(head, "HTTP/"+version+" 200 OK\r\n"), head)
			for _, field := range []string{"Connection: close", "Content-Type: text/event-stream; charset=utf-8", "X-Content-Type-Options: nosniff", "Date: "} {
				assert.Contains(t, head, "\r\n"+field)
			}
			assert.NotContains(t, head, "Transfer-Encoding")
			assert.True(t, strings.HasPrefix(text, "id: "), text)
			assert.True(t, strings.HasSuffix(text, "event: end\ndata: {}\n\n"))
		}
	}
}

// A run of a directory stays open while somebody follows it.
func TestWireKeepsRunOpen(t *testing.T) {
	rec, dir := record(t)
	tell(t, rec, telemetry.Event{Type: telemetry.Log, Message: "x"})
	cfg := Config{
		RunID: "runs", Page: page, Token: testToken, Listen: "127.0.0.1:0",
		Library: &Library{
			RunPage: page,
			Open:    func(string) (string, *run.Feed, func(), error) { return dir, rec.Feed(), func() {}, nil },
		},
	}
	s := open(t, cfg)
	users := func() int {
		s.shelf.mu.Lock()
		defer s.shelf.mu.Unlock()
		return s.shelf.volumes[testRun].users
	}
	for _, path := range []string{"/events", "/state"} {
		resp := ask(t, s, "GET", runsPath+"/"+testRun+path, "Accept: text/event-stream")
		stream := &messages{bufio.NewReader(resp.Body)}
		stream.must(t)
		assert.Equal(t, 1, users())
		resp.Body.Close()
		wait(t, "it is given back", func() bool { return users() == 0 })
	}
}
