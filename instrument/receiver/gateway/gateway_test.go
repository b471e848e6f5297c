package gateway

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
)

// stage is a gateway before a fake upstream.
type stage struct {
	*book
	t        testing.TB
	gateway  *Gateway
	upstream *httptest.Server
	client   *http.Client
}

// newStage starts both, the upstream over HTTP/1.1 or, with h2, over TLS and
// HTTP/2.
func newStage(t testing.TB, h2 bool, upstream http.HandlerFunc, set ...func(*Config)) *stage {
	t.Helper()
	s := &stage{t: t, book: newBook(), upstream: httptest.NewUnstartedServer(upstream)}
	s.upstream.Config.ErrorLog = nil
	if h2 {
		s.upstream.EnableHTTP2 = true
		s.upstream.StartTLS()
	} else {
		s.upstream.Start()
	}
	upstreams, err := Upstreams(Providers(), []string{"openai=" + s.upstream.URL + "/v1", "anthropic=" + s.upstream.URL}, nil)
	require.NoError(t, err)
	config := Config{Record: s.record, Upstreams: upstreams}
	for _, f := range set {
		f(&config)
	}
	s.gateway, err = Listen(config)
	require.NoError(t, err)
	if h2 {
		roots := x509.NewCertPool()
		roots.AddCert(s.upstream.Certificate())
		s.gateway.transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	s.client = &http.Client{
		Transport:     &http.Transport{DisableCompression: true, ExpectContinueTimeout: time.Minute, MaxIdleConnsPerHost: 64},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(func() {
		s.close()
		s.upstream.CloseClientConnections()
		s.upstream.Close()
		s.client.CloseIdleConnections()
	})
	return s
}

func (s *stage) base(provider string) string { return s.gateway.base(s.gateway.byName[provider]) }

func (s *stage) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	require.NoError(s.t, s.gateway.Close(ctx))
}

func (s *stage) post(path, body string, headers ...string) (*http.Response, string) {
	s.t.Helper()
	r, err := http.NewRequest("POST", path, strings.NewReader(body))
	require.NoError(s.t, err)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	response, err := s.client.Do(r)
	require.NoError(s.t, err)
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	return response, string(b)
}

// eventually waits for what the ledger does a moment after the call.
func (s *stage) eventually(f func() bool, what string) {
	s.t.Helper()
	require.Eventually(s.t, f, 5*time.Second, 2*time.Millisecond, what)
}

func attrsOf(t testing.TB, s run.Span) map[string]any {
	t.Helper()
	attrs := map[string]any{}
	if len(s.Attrs) > 0 {
		require.NoError(t, json.Unmarshal(s.Attrs, &attrs))
	}
	return attrs
}

const question1 = `{"model":"gpt-4o","stream":true,"messages":[{"role":"system","content":"canary-body S"},{"role":"user","content":"Analyze the node component.\ncanary-body"}]}`

func TestMetersBothProviders(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		for name, path := range map[string]string{
			"openai-chat.json": "openai/v1/chat/completions", "openai-chat.sse": "openai/v1/chat/completions",
			"openai-responses.json": "openai/v1/responses", "openai-responses.sse": "openai/v1/responses",
			"openai-embeddings.json":  "openai/v1/embeddings",
			"anthropic-messages.json": "anthropic/v1/messages?beta=true", "anthropic-messages.sse": "anthropic/v1/messages",
		} {
			for _, coding := range []string{"", "gzip", "deflate"} {
				t.Run(fmt.Sprintf("%s/%s/h2=%t", name, coding, h2), func(t *testing.T) {
					answer := pack(t, coding, body(t, name))
					s := newStage(t, h2, func(w http.ResponseWriter, r *http.Request) {
						assert.Equal(t, h2, r.ProtoMajor == 2)
						_, _ = io.Copy(io.Discard, r.Body)
						w.Header().Set("Content-Type", "application/json")
						if strings.HasSuffix(name, ".sse") {
							w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
						}
						if coding != "" {
							w.Header().Set("Content-Encoding", coding)
						}
						w.Header().Set("X-Request-Id", "req_"+strings.ReplaceAll(name, ".", "_"))
						for rest := answer; len(rest) > 0; { // in small pieces
							n := min(97, len(rest))
							_, _ = w.Write(rest[:n])
							w.(http.Flusher).Flush()
							rest = rest[n:]
						}
					})
					response, got := s.post("http://"+s.gateway.address+s.gateway.prefix+path, question1)
					assert.Equal(t, 200, response.StatusCode)
					assert.Equal(t, string(answer), got)
					assert.Equal(t, coding, response.Header.Get("Content-Encoding"))
					s.close()

					var expected map[string]facts
					require.NoError(t, json.Unmarshal(body(t, "expected.json"), &expected))
					want := expected[name]
					calls := s.spans("llm")
					require.Len(t, calls, 1)
					c := calls[0]
					assert.Equal(t, run.Done, c.State)
					assert.Equal(t, "gpt-4o", c.Name)
					assert.Equal(t, []int64{want.Input, want.Output, want.Cached}, []int64{c.Usage.Input, c.Usage.Output, c.Usage.Cached})
					attrs := attrsOf(t, c)
					assert.EqualValues(t, 200, attrs["status"])
					assert.Equal(t, want.Model, attrs["response_model"])
					assert.EqualValues(t, len(answer), attrs["response_bytes"])
					assert.EqualValues(t, len(question1), attrs["request_bytes"])
					if want.ToolCalls > 0 {
						assert.EqualValues(t, want.ToolCalls, attrs["tool_calls"])
					}
					if want.ID != "" {
						assert.Contains(t, s.lines(), `"call_id":"`+want.ID+`"`)
					}
					assert.Contains(t, s.lines(), `"call_id":"req_`)
					agents := s.spans("agent")
					if strings.Contains(name, "embeddings") {
						assert.Empty(t, agents)
						return
					}
					require.Len(t, agents, 1)
					assert.Equal(t, "node", agents[0].Component)
					assert.Equal(t, agents[0].ID, c.Parent)
					assert.Equal(t, want.ToolCalls, agents[0].Usage.ToolUses)
				})
			}
		}
	}
}

func pack(t testing.TB, coding string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "deflate":
		w = zlib.NewWriter(&out)
	default:
		return b
	}
	_, err := w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

// What passes is what was sent, in both directions.
func TestTransparent(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2=%t", h2), func(t *testing.T) {
			var got *http.Request
			var gotBody []byte
			var trailer http.Header
			s := newStage(t, h2, func(w http.ResponseWriter, r *http.Request) {
				got = r
				gotBody, _ = io.ReadAll(r.Body)
				trailer = r.Trailer
				w.Header()["X-Many"] = []string{"1", "2"}
				w.Header().Set("Set-Cookie", "a=b")
				w.Header().Set("Location", "https://elsewhere.example/x")
				w.Header().Set("Trailer", "X-After")
				w.Header()["Date"] = nil
				w.Header()["Content-Type"] = nil
				w.WriteHeader(307)
				_, _ = w.Write([]byte("<html>"))
				w.(http.Flusher).Flush() // a length and trailers do not go together in HTTP/1.1
				w.Header().Set("X-After", "said")
				w.Header().Set(http.TrailerPrefix+"X-Unannounced", "too")
			})
			const target = "v1/files/a%2Fb%20c//d/../e;p?x=1;y=%zz&&q=a+b%20c&q"
			r, err := http.NewRequest("PATCH", "http://"+s.gateway.address, io.NopCloser(strings.NewReader("\x00\xffbinary")))
			require.NoError(t, err)
			r.URL.Opaque = s.gateway.prefix + "anthropic/" + target
			r.Header = http.Header{
				"Authorization": {"Bearer canary-key"}, "X-Forwarded-For": {"10.0.0.1"}, "Forwarded": {"for=x"}, "X-Two": {"a", "b"},
				"User-Agent": {""}, "Te": {"trailers"},
			}
			r.ContentLength = -1
			r.Trailer = http.Header{"X-Sum": {"42"}}
			response, err := s.client.Do(r)
			require.NoError(t, err)
			b, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			response.Body.Close()

			assert.Equal(t, "PATCH", got.Method)
			assert.Equal(t, "/"+target, got.RequestURI)
			assert.Equal(t, strings.TrimPrefix(strings.TrimPrefix(s.upstream.URL, "http://"), "https://"), got.Host)
			assert.Equal(t, "\x00\xffbinary", string(gotBody))
			assert.Equal(t, []string{"42"}, trailer["X-Sum"])
			assert.Equal(t, []string{"a", "b"}, got.Header["X-Two"])
			assert.Equal(t, []string{"10.0.0.1"}, got.Header["X-Forwarded-For"])
			assert.Equal(t, []string{"for=x"}, got.Header["Forwarded"])
			for _, key := range []string{"User-Agent", "Accept-Encoding", "Via", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				assert.NotContains(t, got.Header, key)
			}
			assert.Equal(t, 307, response.StatusCode)
			assert.Equal(t, "<html>", string(b))
			assert.Equal(t, []string{"1", "2"}, response.Header["X-Many"])
			assert.Equal(t, "https://elsewhere.example/x", response.Header.Get("Location"))
			assert.Equal(t, "said", response.Trailer.Get("X-After"))
			assert.Equal(t, "too", response.Trailer.Get("X-Unannounced"))
			for _, key := range []string{"Date", "Content-Type", "Via"} {
				assert.NotContains(t, response.Header, key)
			}
			s.close()
			assert.Empty(t, s.events, "that is no inference call")
		})
	}
}

// A header of one hop stays on it, and HEAD, 204 and empty POSTs come through.
func TestBodilessAndHopByHop(t *testing.T) {
	s := newStage(t, false, func(w http.ResponseWriter, r *http.Request) {
		assert.Empty(t, r.Header.Get("X-Hop"))
		assert.Empty(t, r.Header.Get("Proxy-Authorization"))
		switch r.Method {
		case "HEAD":
			w.Header().Set("Content-Length", "1234")
		case "DELETE":
			w.WriteHeader(204)
		default:
			assert.EqualValues(t, 0, r.ContentLength)
		}
	})
	for _, method := range []string{"HEAD", "DELETE", "POST"} {
		r, _ := http.NewRequest(method, s.base("openai")+"/chat/completions", nil)
		r.Header = http.Header{"Connection": {"X-Hop"}, "X-Hop": {"1"}, "Proxy-Authorization": {"x"}}
		response, err := s.client.Do(r)
		require.NoError(t, err)
		response.Body.Close()
		if method == "HEAD" {
			assert.EqualValues(t, 1234, response.ContentLength)
		}
	}
	s.close()
	calls := s.spans("llm")
	require.Len(t, calls, 1)
	assert.Equal(t, "chat.completions", calls[0].Name)
	assert.Equal(t, run.Done, calls[0].State)
}

// Each piece of a stream arrives before the next is sent, and the call is seen
// while it lasts.
func TestStreamsAtOnce(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2=%t", h2), func(t *testing.T) {
			next := make(chan struct{})
			s := newStage(t, h2, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				for _, b := range body(t, "anthropic-messages.sse") {
					<-next
					_, _ = w.Write([]byte{b})
					w.(http.Flusher).Flush()
				}
			})
			r, _ := http.NewRequest("POST", s.base("anthropic")+"/v1/messages", strings.NewReader(question1))
			go func() { next <- struct{}{} }()
			response, err := s.client.Do(r)
			require.NoError(t, err)
			defer response.Body.Close()
			s.eventually(func() bool { c := s.spans("llm"); return len(c) == 1 && c[0].State == run.Running }, "the call is live")
			s.eventually(func() bool { return attrsOf(t, s.spans("llm")[0])["status"] != nil }, "its status is known")
			var one [1]byte
			for i, want := range body(t, "anthropic-messages.sse") {
				if i > 0 {
					next <- struct{}{}
				}
				_, err := io.ReadFull(response.Body, one[:])
				require.NoError(t, err)
				require.Equal(t, want, one[0])
			}
			s.close()
			assert.EqualValues(t, 4109+89, s.spans("llm")[0].Usage.Tokens)
		})
	}
}

// A request reaches the upstream while it is still being written, and an answer
// may begin before its end.
func TestFullDuplex(t *testing.T) {
	s := newStage(t, false, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			_, _ = fmt.Fprintln(w, "echo", lines.Text())
			w.(http.Flusher).Flush()
		}
	})
	in, out := io.Pipe()
	r, _ := http.NewRequest("POST", s.base("openai")+"/chat/completions", in)
	go func() { _, _ = io.WriteString(out, "one\n") }()
	response, err := s.client.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	answer := bufio.NewReader(response.Body)
	for _, word := range []string{"one", "two", "three"} {
		if word != "one" {
			_, _ = io.WriteString(out, word+"\n")
		}
		line, err := answer.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, "echo "+word+"\n", line)
	}
	out.Close()
	_, err = answer.ReadByte()
	assert.Equal(t, io.EOF, err)
}

// A request that takes long to come is shown meanwhile, and is known once it is
// there.
func TestSlowRequest(t *testing.T) {
	s := newStage(t, false, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	in, out := io.Pipe()
	r, _ := http.NewRequest("POST", s.base("openai")+"/chat/completions", in)
	go func() { _, _ = io.WriteString(out, question1[:30]) }()
	over := make(chan struct{})
	go func() {
		defer close(over)
		if response, err := s.client.Do(r); assert.NoError(t, err) {
			response.Body.Close()
		}
	}()
	s.eventually(func() bool { return len(s.spans("llm")) == 1 }, "shown")
	assert.Equal(t, "chat.completions", s.spans("llm")[0].Name)
	_, _ = io.WriteString(out, question1[30:])
	out.Close()
	<-over
	s.close()
	require.Len(t, s.spans("agent"), 1)
	c := s.spans("llm")[0]
	assert.Equal(t, "gpt-4o", c.Name)
	assert.Equal(t, s.spans("agent")[0].ID, c.Parent)
	assert.EqualValues(t, len(question1), attrsOf(t, c)["request_bytes"])
	assert.EqualValues(t, 1, c.Attempts)
}

func TestContinueAndEarlyHints(t *testing.T) {
	s := newStage(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</x>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		b, _ := io.ReadAll(r.Body) // sends 100 Continue
		_, _ = w.Write(b)
	})
	var hints, continues int
	r, _ := http.NewRequest("POST", s.base("openai")+"/chat/completions", strings.NewReader(question1))
	r.Header.Set("Expect", "100-continue")
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got100Continue: func() { continues++ },
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
			if code == http.StatusEarlyHints {
				hints++
			}
			return nil
		},
	}))
	began := time.Now()
	response, err := s.client.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	b, _ := io.ReadAll(response.Body)
	assert.Equal(t, question1, string(b))
	assert.Equal(t, 1, hints)
	assert.Equal(t, 1, continues)
	assert.Less(t, time.Since(began), 10*time.Second)
}

func TestCancelledByTheClient(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		for _, when := range []string{"before an answer", "in the stream", "in the request"} {
			t.Run(fmt.Sprintf("%s/h2=%t", when, h2), func(t *testing.T) {
				arrived, gone := make(chan struct{}), make(chan struct{})
				s := newStage(t, h2, func(w http.ResponseWriter, r *http.Request) {
					if when == "in the stream" {
						w.Header().Set("Content-Type", "text/event-stream")
						_, _ = io.Copy(io.Discard, r.Body)
						_, _ = w.Write(body(t, "anthropic-messages.sse")[:400])
						w.(http.Flusher).Flush()
					}
					if when == "in the request" {
						_, _ = io.ReadFull(r.Body, make([]byte, 3))
						close(arrived)
						_, err := io.Copy(io.Discard, r.Body)
						assert.Error(t, err)
					} else {
						_, _ = io.Copy(io.Discard, r.Body)
						close(arrived)
						<-r.Context().Done()
					}
					close(gone)
				})
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				var send io.Reader = strings.NewReader(question1)
				if when == "in the request" {
					in, out := io.Pipe()
					go func() { _, _ = io.WriteString(out, question1[:20]) }()
					send = in
				}
				r, _ := http.NewRequestWithContext(ctx, "POST", s.base("anthropic")+"/v1/messages", send)
				seen := make(chan struct{})
				go func() {
					if response, err := s.client.Do(r); err == nil {
						_, _ = io.ReadFull(response.Body, make([]byte, 400))
						close(seen)
						_, _ = io.Copy(io.Discard, response.Body)
						response.Body.Close()
					}
				}()
				<-arrived
				if when == "in the stream" {
					<-seen
				}
				cancel()
				select {
				case <-gone:
				case <-time.After(5 * time.Second):
					t.Fatal("the upstream was not told")
				}
				s.eventually(func() bool { c := s.spans("llm"); return len(c) == 1 && c[0].State == run.Cancelled }, "cancelled")
				if when == "in the stream" {
					assert.EqualValues(t, 4109, s.spans("llm")[0].Usage.Input, "what was said until then counts")
				}
			})
		}
	}
}

// An SDK that closes the stream behind its last event has not given up.
func TestClosedBehindTheLastEvent(t *testing.T) {
	s := newStage(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = w.Write(body(t, "anthropic-messages.sse"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	r, _ := http.NewRequest("POST", s.base("anthropic")+"/v1/messages", strings.NewReader(question1))
	response, err := s.client.Do(r)
	require.NoError(t, err)
	_, err = io.ReadFull(response.Body, make([]byte, len(body(t, "anthropic-messages.sse"))))
	require.NoError(t, err)
	response.Body.Close()
	s.eventually(func() bool { c := s.spans("llm"); return len(c) == 1 && c[0].State == run.Done }, "done")
	assert.EqualValues(t, 89, s.spans("llm")[0].Usage.Output)
}

func TestBrokenByTheUpstream(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2=%t", h2), func(t *testing.T) {
			s := newStage(t, h2, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = w.Write(body(t, "anthropic-messages.sse")[:400])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			})
			r, _ := http.NewRequest("POST", s.base("anthropic")+"/v1/messages", strings.NewReader(question1))
			response, err := s.client.Do(r)
			require.NoError(t, err)
			b, err := io.ReadAll(response.Body)
			assert.Error(t, err, "a cut answer is not made whole")
			assert.Equal(t, string(body(t, "anthropic-messages.sse")[:400]), string(b))
			response.Body.Close()
			s.eventually(func() bool { c := s.spans("llm"); return len(c) == 1 && c[0].State == run.Failed }, "failed")
			assert.Equal(t, "HTTP 200, but the answer broke off", s.spans("llm")[0].Error)
		})
	}
}

func TestUpstreamErrorsPass(t *testing.T) {
	tries := 0
	s := newStage(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if tries++; tries == 1 {
			w.Header().Set("Retry-After", "1")
			w.Header().Set("Retry-After-Ms", "20")
			w.WriteHeader(429)
			_, _ = w.Write(body(t, "openai-error.json"))
			return
		}
		_, _ = w.Write(body(t, "openai-chat.json"))
	})
	response, b := s.post(s.base("openai")+"/chat/completions", question1)
	assert.Equal(t, 429, response.StatusCode)
	assert.Equal(t, string(body(t, "openai-error.json")), b)
	s.eventually(func() bool { c := s.spans("llm"); return len(c) == 1 && c[0].State == run.Failed }, "failed")
	assert.Equal(t, "HTTP 429 (tokens), to be tried again after 0.02 s", s.spans("llm")[0].Error)
	response, _ = s.post(s.base("openai")+"/chat/completions", question1, "X-Stainless-Retry-Count", "1")
	assert.Equal(t, 200, response.StatusCode)
	s.close()
	calls := s.spans("llm")
	require.Len(t, calls, 1)
	assert.Equal(t, run.Done, calls[0].State)
	assert.Equal(t, 2, calls[0].Attempts)
	assert.EqualValues(t, 2, attrsOf(t, calls[0])["attempt"])
}

func TestUpstreamDown(t *testing.T) {
	s := newStage(t, false, func(http.ResponseWriter, *http.Request) {})
	s.upstream.Close()
	response, b := s.post(s.base("openai")+"/chat/completions", question1)
	assert.Equal(t, 502, response.StatusCode)
	var told struct {
		Type  string
		Error struct{ Type, Message string }
	}
	require.NoError(t, json.Unmarshal([]byte(b), &told))
	assert.Equal(t, "error", told.Type)
	assert.Equal(t, "obsrun gateway: no answer from "+s.upstream.URL+": connection refused", told.Error.Message)
	s.close()
	assert.Equal(t, "no answer: connection refused", s.spans("llm")[0].Error)
}

// Upstreams that are no HTTP servers, or not the right ones, are told of in words
// of the gateway's own.
func TestUpstreamOfAnotherKind(t *testing.T) {
	for _, tt := range []struct {
		say, want string
		tls       bool
	}{
		{say: "canary-answer\r\n\r\n", want: "what it sent is no HTTP, or the request is none that can be passed on"},
		{say: "", want: "the connection was closed"},
		{say: "SSH-2.0\r\n", want: "TLS failed", tls: true},
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				if tt.tls {
					_, _ = conn.Read(make([]byte, 4096))
				} else if request, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.Copy(io.Discard, request.Body)
				}
				_, _ = io.WriteString(conn, tt.say)
				// Closing with something unread would reset the connection, and what
				// was said might be lost with it.
				_ = conn.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}
		}()
		s := newStage(t, false, func(http.ResponseWriter, *http.Request) {}, func(c *Config) {
			scheme := "http://"
			if tt.tls {
				scheme = "https://"
			}
			c.Upstreams, _ = Upstreams([]string{"openai"}, []string{scheme + listener.Addr().String()}, nil)
		})
		response, b := s.post(s.base("openai")+"/chat/completions", question1)
		assert.Equal(t, 502, response.StatusCode)
		assert.Contains(t, b, tt.want)
		assert.NotContains(t, b, "canary")
		s.close()
		assert.Equal(t, "no answer: "+tt.want, s.spans("llm")[0].Error)
		listener.Close()
	}
}

func TestBigBodies(t *testing.T) {
	text := strings.Repeat(`line \"of\" text\n`, 1<<18)
	answer := `{"choices":[{"message":{"content":"` + text + `"}}],"usage":{"prompt_tokens":7,"completion_tokens":1}}`
	for _, coding := range []string{"", "gzip"} {
		s := newStage(t, true, func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			assert.EqualValues(t, len(text)+len(question1)+10, n)
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", coding)
			_, _ = w.Write(pack(t, coding, []byte(answer)))
		})
		request := strings.TrimSuffix(question1, "}") + `,"pad":"` + text + `"}`
		_, b := s.post(s.base("openai")+"/chat/completions", request+" ")
		assert.Equal(t, string(pack(t, coding, []byte(answer))), b)
		s.close()
		assert.EqualValues(t, 8, s.spans("llm")[0].Usage.Tokens)
		assert.Equal(t, "gpt-4o", s.spans("llm")[0].Name)
	}
}

// A small body that unpacks to a very large one passes as it is, and is read only
// so far.
func TestGzipBomb(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = io.WriteString(z, `{"usage":{"prompt_tokens":7},"x":"`)
	_ = z.Close()
	member := pack(t, "gzip", make([]byte, 16<<20))
	for range 640 { // 10 GiB
		bomb.Write(member)
	}
	s := newStage(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes())
	})
	_, b := s.post(s.base("openai")+"/chat/completions", question1)
	assert.Equal(t, bomb.Len(), len(b))
	s.close()
	assert.EqualValues(t, 7, s.spans("llm")[0].Usage.Input)
}

func TestUnreadableAnswers(t *testing.T) {
	for _, tt := range []struct{ coding, kind, body string }{
		{"br", "application/json", "\x1b\x00"}, {"gzip", "application/json", "no gzip"}, {"gzip", "application/json", ""}, {"deflate", "application/json", "\x78"},
		{"", "application/json", "{{{{\x00"}, {"", "audio/mpeg", "\x00{"}, {"", "", "{\"usage\""}, {"", "text/event-stream", "data: {\ndata"},
	} {
		s := newStage(t, false, func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = []string{tt.kind}
			w.Header().Set("Content-Encoding", tt.coding)
			_, _ = io.WriteString(w, tt.body)
		})
		_, b := s.post(s.base("openai")+"/chat/completions", "\x00{not json")
		assert.Equal(t, tt.body, b)
		s.close()
		require.Len(t, s.spans("llm"), 1)
		assert.Equal(t, run.Done, s.spans("llm")[0].State)
		if tt.coding == "br" {
			assert.Contains(t, s.lines(), "content coding br")
			assert.Equal(t, "br", attrsOf(t, s.spans("llm")[0])["content_encoding"])
		}
	}
}

// No key, header or text is in any event, nor in an answer of the gateway's own.
func TestNothingIsKept(t *testing.T) {
	s := newStage(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Request-Id", "canary response header")
		w.Header().Set("Openai-Organization", "canary-org")
		if r.Header.Get("X-Fail") != "" {
			w.WriteHeader(401)
			_, _ = io.WriteString(w, `{"error":{"message":"Incorrect API key provided: canary-key","type":"canary with text","code":"sk-canary-0123456789abcdef"}}`)
			return
		}
		_, _ = io.WriteString(w, `{"id":"canary id","choices":[{"message":{"content":"canary-answer","tool_calls":[{"id":"canary-call","function":{"name":"canary_tool","arguments":"canary"}}]}}],"usage":{"prompt_tokens":1}}`)
	})
	for _, fail := range []string{"", "1"} {
		for _, path := range []string{"/chat/completions?key=canary-query", "/responses", "/embeddings"} {
			s.post(s.base("openai")+path, `{"model":"canary model","messages":[{"role":"system","content":"canary-system"},{"role":"user","content":"canary-user"}],"input":"canary-input","user":"canary","previous_response_id":"canary-previous"}`,
				"Authorization", "Bearer sk-canary", "X-Api-Key", "canary", "Cookie", "canary", "X-Fail", fail, "Traceparent", "00-canary-canary-00",
				"X-Claude-Code-Agent-Id", "canary-agent", "X-Claude-Code-Session-Id", "canary-session", "User-Agent", "canary")
		}
	}
	s.upstream.Close()
	_, b := s.post(s.base("openai")+"/chat/completions?canary", `canary`, "X-Api-Key", "canary")
	assert.NotContains(t, b, "canary")
	assert.NotContains(t, b, s.gateway.token)
	s.close()
	require.NotEmpty(t, s.lines())
	assert.NotContains(t, s.lines(), "canary")
	assert.NotContains(t, s.lines(), s.gateway.token)
	assert.Contains(t, s.lines(), "HTTP 401")
}

func TestStrangersAreRefused(t *testing.T) {
	reached := false
	s := newStage(t, false, func(http.ResponseWriter, *http.Request) { reached = true })
	good := s.gateway.prefix + "openai/v1/models"
	for _, tt := range []struct {
		request string
		want    int
	}{
		{"GET / HTTP/1.1\r\nHost: 127.0.0.1", 404},
		{"GET /openai/v1/models HTTP/1.1\r\nHost: 127.0.0.1", 404},
		{"GET /" + strings.Repeat("0", 32) + "/openai/v1/models HTTP/1.1\r\nHost: localhost", 404},
		{"GET " + s.gateway.prefix + "google/v1/models HTTP/1.1\r\nHost: localhost", 404},
		{"GET " + good + " HTTP/1.1\r\nHost: evil.example", 403},
		{"GET " + good + " HTTP/1.1\r\nHost: 127.0.0.1.evil.example", 403},
		{"GET " + good + " HTTP/1.1\r\nHost: 10.0.0.1", 403},
		{"GET " + good + " HTTP/1.1\r\nHost: ", 403},
		{"GET http://evil.example" + good + " HTTP/1.1\r\nHost: 127.0.0.1", 403},
		{"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22", 403},
		{"POST " + good + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2", 400},
		{"POST " + good + " HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: identity\r\nContent-Length: 1", 501},
		{"GET " + good + " HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1", 400},
	} {
		conn, err := net.Dial("tcp", s.gateway.address)
		require.NoError(t, err)
		_, _ = io.WriteString(conn, tt.request+"\r\nConnection: close\r\n\r\n")
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err, tt.request)
		assert.Equal(t, tt.want, response.StatusCode, tt.request)
		assert.Empty(t, response.Header.Get("Access-Control-Allow-Origin"))
		conn.Close()
	}
	assert.False(t, reached)
	for _, host := range []string{"localhost:1", "LOCALHOST", "127.0.0.1:80", "[::1]:80", "127.9.9.9"} {
		assert.True(t, isLoopback(host), host)
	}
}

// The address keeps what an SDK would see of the upstream's.
func TestAddressMapping(t *testing.T) {
	for _, tt := range []struct{ upstream, sdk, want string }{
		{"/v1", "/chat/completions", "/v1/chat/completions"},
		{"", "/v1/messages", "/v1/messages"},
		{"/", "/v1/messages", "//v1/messages"},
		{"/openai/deployments/a%2Fb/", "responses", "/openai/deployments/a%2Fb/responses"},
	} {
		var got string
		s := newStage(t, false, func(w http.ResponseWriter, r *http.Request) { got = r.RequestURI })
		u, _ := url.Parse(s.upstream.URL + tt.upstream)
		own := s.gateway.base(Upstream{Provider: "openai", URL: u})
		s.post(own+tt.sdk, "{}")
		assert.Equal(t, tt.want, got)
		s.close()
		assert.Len(t, s.spans("llm"), 1, tt.want)
	}
}

func TestManyAtOnce(t *testing.T) {
	s := newStage(t, true, func(w http.ResponseWriter, r *http.Request) {
		var asked struct{ Messages []struct{ Content string } }
		_ = json.NewDecoder(r.Body).Decode(&asked)
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"id":"id-%s","choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":%d,"completion_tokens":1}}`,
			strings.Fields(asked.Messages[0].Content)[2], len(asked.Messages))
	})
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			for turn := 1; turn <= 5; turn++ {
				messages := fmt.Sprintf(`{"role":"user","content":"Analyze the c%d component"}`, i)
				for range turn - 1 {
					messages += `,{"role":"assistant","content":"x"}`
				}
				response, err := s.client.Post(s.base("openai")+"/chat/completions", "application/json", strings.NewReader(`{"model":"m","messages":[`+messages+`]}`))
				if assert.NoError(t, err) {
					b, _ := io.ReadAll(response.Body)
					response.Body.Close()
					assert.Equal(t, 200, response.StatusCode, "%s", b)
				}
			}
		})
	}
	wg.Wait()
	s.close()
	agents := s.spans("agent")
	assert.Len(t, agents, 40)
	for _, a := range agents {
		assert.EqualValues(t, 1+2+3+4+5+5, a.Usage.Tokens)
	}
	assert.Len(t, s.spans("llm"), 200)
}

// Close cuts what does not end, and is quick where nothing is open.
func TestClose(t *testing.T) {
	s := newStage(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	began := time.Now()
	idle := newStage(t, false, func(http.ResponseWriter, *http.Request) {})
	idle.post(idle.base("openai")+"/models", "")
	idle.close()
	idle.close()
	assert.Less(t, time.Since(began), closeGrace)

	r, _ := http.NewRequest("POST", s.base("openai")+"/chat/completions", strings.NewReader(question1))
	response, err := s.client.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	require.NoError(t, s.gateway.Close(ctx))
	assert.Equal(t, run.Cancelled, s.spans("llm")[0].State)
	assert.Equal(t, run.Cancelled, s.spans("agent")[0].State)
	events := len(s.events)
	_, err = io.ReadAll(response.Body)
	assert.Error(t, err)
	_, err = s.client.Get(s.base("openai"))
	assert.Error(t, err)
	assert.Len(t, s.events, events, "nothing is recorded after Close")
}

func TestTraceparent(t *testing.T) {
	const trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	s := newStage(t, false, func(http.ResponseWriter, *http.Request) {}, func(c *Config) { c.TraceID, c.RootSpan = trace, "aaaaaaaaaaaaaaaa" })
	for _, tt := range []struct{ header, want string }{
		{"00-" + trace + "-" + span + "-01", span},
		{"00-" + trace + "-" + span + "-01-more", span},
		{"00-" + strings.Repeat("1", 32) + "-" + span + "-01", ""},
		{"00-" + trace + "-aaaaaaaaaaaaaaaa-01", ""},
		{"00-" + trace + "-zzzzzzzzzzzzzzzz-01", ""},
		{"nonsense", ""}, {"", ""},
	} {
		assert.Equal(t, tt.want, s.gateway.callerOf(http.Header{"Traceparent": {tt.header}}).span, tt.header)
	}
	s.gateway.traceID = ""
	assert.Empty(t, s.gateway.callerOf(http.Header{"Traceparent": {"00-" + trace + "-" + span + "-01"}}).span)
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 4, 8, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		ms, s string
		want  time.Duration
	}{
		{"1500", "2", 1500 * time.Millisecond}, {"", "2", 2 * time.Second}, {"", "0.5", 500 * time.Millisecond},
		{"", "Wed, 08 Apr 2026 00:00:30 GMT", 30 * time.Second}, {"", "Tue, 07 Apr 2026 00:00:30 GMT", 0},
		{"x", "soon", 0}, {"-1", "-5", 0}, {"NaN", "Inf", 0}, {"", "1e300", 0}, {"", "", 0},
	} {
		assert.Equal(t, tt.want, retryAfter(http.Header{"Retry-After-Ms": {tt.ms}, "Retry-After": {tt.s}}, now), "%v", tt)
	}
}
