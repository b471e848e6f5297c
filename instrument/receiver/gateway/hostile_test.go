package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// Answers that are absurd pass byte by byte, and what is recorded of them is short
// and valid.
func TestAbsurdAnswers(t *testing.T) {
	huge := strings.Repeat("x", 4<<20)
	events := "text/event-stream"
	for name, c := range map[string]struct{ kind, body string }{
		"a line without an end":   {events, "data: " + huge},
		"a name without an end":   {events, huge},
		"many empty lines":        {events, strings.Repeat("\n", 1<<20)},
		"many small events":       {events, strings.Repeat("data: {}\n\n", 100_000)},
		"CR alone":                {events, strings.Repeat("data: {\"usage\":{\"prompt_tokens\":1}}\r\r", 1000)},
		"NUL and BOM":             {events, "\ufeffdata: {\"id\":\"\x00\"}\n\n\x00\n\n"},
		"deep JSON":               {"application/json", strings.Repeat(`{"usage":`, 100_000)},
		"deep lists":              {"application/json", strings.Repeat("[", 1<<20)},
		"a string without an end": {"application/json", `{"model":"` + huge},
		"a huge number":           {"application/json", `{"usage":{"prompt_tokens":` + strings.Repeat("9", 1<<20) + `}}`},
		"a negative number":       {"application/json", `{"usage":{"prompt_tokens":-5,"completion_tokens":1e400,"total_tokens":"7"}}`},
		"twice the same key":      {"application/json", `{"usage":{"prompt_tokens":1,"prompt_tokens":2},"usage":{"prompt_tokens":3}}`},
		"a secret for a model":    {"application/json", `{"model":"sk-canary-0123456789abcdef","id":"canary \u001b[31m"}`},
		"escapes for a model":     {"application/json", "{\"model\":\"\\u001b]0;x\\u0007\u202e\",\"id\":\"\\ud800\"}"},
		"bad UTF-8":               {"application/json", "{\"model\":\"\xff\xfe\",\"id\":\"\xc0\xaf\"}"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, false, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", c.kind)
				_, _ = io.WriteString(w, c.body)
			})
			_, got := s.post(s.base("openai")+"/chat/completions", question1)
			require.True(t, c.body == got, "%d bytes of %d", len(got), len(c.body))
			s.close()
			assert.Len(t, s.spans("llm"), 1)
			for _, e := range s.events {
				line := e.Line()
				assert.Less(t, len(line), 4096)
				_, err := telemetry.Decode(line)
				assert.NoError(t, err)
			}
			assert.NotContains(t, s.lines(), "canary")
			usage := s.spans("llm")[0].Usage
			assert.True(t, usage.Tokens >= 0 && usage.Input >= 0 && usage.Output >= 0, "%+v", usage)
		})
	}
}

// Where a provider sends a client elsewhere, the client is told: the gateway goes
// nowhere but to the provider.
func TestRedirectsAreTheClients(t *testing.T) {
	var elsewhere bool
	other, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere = true })}
	go func() { _ = server.Serve(other) }()
	defer server.Close()
	s := newStage(t, false, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+other.Addr().String()+"/steal", http.StatusTemporaryRedirect)
	})
	response, _ := s.post(s.base("openai")+"/chat/completions", question1, "Authorization", "Bearer sk-canary")
	assert.Equal(t, http.StatusTemporaryRedirect, response.StatusCode)
	assert.Equal(t, "http://"+other.Addr().String()+"/steal", response.Header.Get("Location"))
	assert.False(t, elsewhere)
}

// A request that two servers could read in two ways is refused, or reaches the
// provider in one way of the gateway's own.
func TestSmuggling(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]string{} // the framing of what arrived, by path and query
	s := newStage(t, false, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		defer mu.Unlock()
		seen[r.URL.RequestURI()] = strings.Join(append(r.TransferEncoding, r.Header["Content-Length"]...), ",")
	})
	cases := []struct {
		name, head string
		refused    bool
	}{
		{"two codings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n%s", true},
		{"an odd coding", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n%s", true},
		{"a coding with a blank", "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n%s", true},
		{"a coding with a control character", "Transfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n%s", true},
		{"two lengths", "Content-Length: 0\r\nContent-Length: 9\r\n\r\n%s", true},
		{"a negative length", "Content-Length: -1\r\n\r\n%s", true},
		{"a length with a plus", "Content-Length: +0\r\n\r\n%s", true},
		{"a length and chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
		{"a folded line", "X-A: b\r\n Content-Length: 9\r\nContent-Length: 0\r\n\r\n", false},
		{"a bare LF", "Content-Length: 0\n\n", false},
	}
	for i, c := range cases {
		conn, err := net.Dial("tcp", s.gateway.address)
		require.NoError(t, err)
		head := c.head
		if c.refused {
			head = fmt.Sprintf(head, fmt.Sprintf("GET %sopenai/v1/smuggled?%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", s.gateway.prefix, i))
		}
		_, err = fmt.Fprintf(conn, "POST %sopenai/v1/chat/completions?%d HTTP/1.1\r\nHost: 127.0.0.1\r\n%s", s.gateway.prefix, i, head)
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err, c.name)
		assert.Equal(t, c.refused, response.StatusCode >= 400, "%s: %s", c.name, response.Status)
		conn.Close()
	}
	s.close()
	mu.Lock()
	defer mu.Unlock()
	for i, c := range cases {
		framing, arrived := seen[fmt.Sprintf("/v1/chat/completions?%d", i)]
		assert.Equal(t, !c.refused, arrived, c.name)
		assert.NotContains(t, framing, "chunked,", c.name)
		assert.NotContains(t, seen, fmt.Sprintf("/v1/smuggled?%d", i), c.name)
	}
}

// Clients that come, ask and go in the middle of an answer, or say half of a
// question, leave nothing behind.
func TestClientsThatGo(t *testing.T) {
	s := newStage(t, false, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for range 1000 {
			if _, err := io.WriteString(w, "data: {}\n\n"); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-time.After(time.Millisecond):
			case <-r.Context().Done():
				return
			}
		}
	})
	s.post(s.base("openai")+"/models", "")
	s.client.CloseIdleConnections()
	before := runtime.NumGoroutine()
	target := s.gateway.prefix + "openai/v1/chat/completions"
	var clients sync.WaitGroup
	for i := range 100 {
		clients.Go(func() {
			conn, err := net.Dial("tcp", s.gateway.address)
			if !assert.NoError(t, err) {
				return
			}
			defer conn.Close()
			switch i % 4 {
			case 0: // nothing
			case 1:
				_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: 127.0", target)
			case 2:
				_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{\"model\":", target)
				time.Sleep(20 * time.Millisecond)
			case 3:
				_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s", target, len(question1), question1)
				_, _ = io.ReadFull(conn, make([]byte, 300))
			}
		})
	}
	clients.Wait()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		s.gateway.transport.CloseIdleConnections()
		if now := runtime.NumGoroutine(); now <= before+5 { // the provider's and the gateway's own
			break
		} else if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", now, before)
		}
	}
	s.close()
	for _, span := range s.spans("llm") {
		assert.NotEqual(t, "running", span.State)
	}
}
