package gateway

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// Config is what a gateway works with.
type Config struct {
	// Record takes an event. It may block: calls do not wait for it.
	Record func(telemetry.Event) error
	// Upstreams are where calls go; see the function of that name.
	Upstreams []Upstream
	// TraceID is the run's trace (32 hex digits): a call that carries it in its
	// traceparent hangs under the span that is named there. Empty where the
	// program's own traces do not arrive here, as that span would never be known.
	TraceID string
	// RootSpan is the id of the run's own span: a traceparent that names it says
	// nothing.
	RootSpan string
	// NamePatterns find an agent's component in its first user message, as their
	// group "name" or first group. They are tried before the ones that are built in.
	NamePatterns []*regexp.Regexp
}

// Gateway is a reverse proxy that listens on the loopback interface.
type Gateway struct {
	upstreams []Upstream
	byName    map[string]Upstream
	address   string // host:port
	prefix    string // of every path: /TOKEN/
	token     string
	traceID   string
	rootSpan  string
	seed      maphash.Seed

	transport *http.Transport
	proxy     *httputil.ReverseProxy
	server    *http.Server
	cancel    context.CancelFunc // of every call
	served    chan struct{}
	ledger    *ledger

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup // that are not settled in the ledger yet
}

// Listen opens the gateway on a port of its own and begins to serve.
func Listen(config Config) (*Gateway, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for LLM calls: %w", err)
	}
	var secret [16]byte
	_, _ = rand.Read(secret[:]) // never fails
	g := &Gateway{
		upstreams: config.Upstreams, byName: make(map[string]Upstream), address: listener.Addr().String(),
		token: hex.EncodeToString(secret[:]), traceID: config.TraceID, rootSpan: config.RootSpan, seed: maphash.MakeSeed(),
		transport: newTransport(), served: make(chan struct{}), ledger: newLedger(config),
	}
	g.prefix = "/" + g.token + "/"
	for _, u := range config.Upstreams {
		g.byName[u.Provider] = u
	}
	silent := log.New(io.Discard, "", 0) // the terminal is not ours, and bodies stand in some errors
	g.proxy = &httputil.ReverseProxy{
		Rewrite: g.rewrite, Transport: g.transport, FlushInterval: -1, ErrorLog: silent,
		BufferPool: &buffers{}, ModifyResponse: g.answered, ErrorHandler: g.failed,
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	// No timeout but for a request's head: a model may think for an hour, and a
	// client may keep a connection for longer.
	g.server = &http.Server{
		Handler: g, ErrorLog: silent, BaseContext: func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: headTimeout,
	}
	go g.ledger.run()
	go func() {
		defer close(g.served)
		_ = g.server.Serve(listener)
	}()
	return g, nil
}

// newTransport speaks to upstreams as an SDK would: HTTP/2 where it is offered,
// the user's proxies, no compression of its own.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		DisableCompression: true, MaxIdleConnsPerHost: 256, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: 30 * time.Second, ExpectContinueTimeout: time.Second,
		// A connection that died silently would hold every call on it for ever.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
}

// headTimeout is how long a client may take to send the head of a request.
const headTimeout = 30 * time.Second

// closeGrace is how long Close waits for calls that are under way.
const closeGrace = time.Second

// Close ends the gateway: it accepts nothing more, gives calls that are under way
// a second, or until ctx is done, cuts the rest, and records the ends of what is
// open. After it Record is not called again.
func (g *Gateway) Close(ctx context.Context) error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil
	}
	g.closed = true
	g.mu.Unlock()
	grace, cancel := context.WithTimeout(ctx, closeGrace)
	defer cancel()
	err := g.server.Shutdown(grace)
	g.cancel()
	_ = g.server.Close()
	<-g.served
	g.calls.Wait() // each has been cut, so that it ends
	g.transport.CloseIdleConnections()
	g.ledger.close()
	if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close the gateway: %w", err)
	}
	return nil
}

// begin counts a call that Close has to wait for.
func (g *Gateway) begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.calls.Add(1)
	}
	return !g.closed
}

// ServeHTTP passes a request on. It is for the gateway's own server, and exported
// because http.Handler wants it so.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !isLoopback(r.Host) || r.Method == http.MethodConnect {
		refuse(w, http.StatusForbidden, "this address answers under the name 127.0.0.1 or localhost only")
		return
	}
	token, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	name, _, _ := strings.Cut(rest, "/")
	upstream, known := g.byName[name]
	if subtle.ConstantTimeCompare([]byte(token), []byte(g.token)) != 1 || !known {
		refuse(w, http.StatusNotFound, "there is nothing here: the base URL is the one in the environment of the program that obsrun started")
		return
	}
	// A request may still be read while its answer is written.
	_ = http.NewResponseController(w).EnableFullDuplex()
	// What the upstream does not say is not made up.
	w.Header()["Date"], w.Header()["Content-Type"] = nil, nil

	e, metered := endpointOf(r.Method, r.URL.Path)
	if !metered || !g.begin() {
		g.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), routeKey{}, route{upstream: upstream})))
		return
	}
	c := newCall(g, upstream, e, r)
	defer c.finish(r.Context()) // also when the proxy panics, which is how it cuts a connection
	r.Body = &questionBody{ReadCloser: r.Body, call: c}
	g.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), routeKey{}, route{upstream: upstream, call: c})))
}

// route is what a request carries through the proxy.
type route struct {
	upstream Upstream
	call     *call // nil: it is not metered
}

type routeKey struct{}

func routeOf(r *http.Request) route {
	to, _ := r.Context().Value(routeKey{}).(route)
	return to
}

// rewrite sends a request to its upstream as it came.
func (g *Gateway) rewrite(p *httputil.ProxyRequest) {
	to := routeOf(p.In).upstream
	strip := g.prefix + to.Provider
	u := *p.In.URL
	u.Scheme, u.Host = to.URL.Scheme, to.URL.Host
	u.Path = strings.TrimPrefix(u.Path, strip)
	u.RawPath = strings.TrimPrefix(u.RawPath, strip)
	p.Out.URL, p.Out.Host = &u, ""
	for _, key := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := p.In.Header[key]; ok {
			p.Out.Header[key] = values
		}
	}
	p.Out.Trailer = p.In.Trailer // filled when the body was read
}

// answered sees the head of an answer.
func (g *Gateway) answered(response *http.Response) error {
	if c := routeOf(response.Request).call; c != nil && response.StatusCode != http.StatusSwitchingProtocols {
		c.answered(response)
	}
	return nil
}

// failed answers for an upstream that could not be reached.
func (g *Gateway) failed(w http.ResponseWriter, r *http.Request, err error) {
	to := routeOf(r)
	reason := reasonOf(err)
	if to.call != nil {
		to.call.fail(reason)
	}
	refuse(w, http.StatusBadGateway, "no answer from "+to.upstream.URL.Scheme+"://"+to.upstream.URL.Host+": "+reason)
}

// reasonOf says in words of its own why there was no answer: errors of the HTTP
// library can quote what was received.
func reasonOf(err error) string {
	var dns *net.DNSError
	var operation *net.OpError
	var alert tls.AlertError
	var record tls.RecordHeaderError
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, context.Canceled):
		return "the call was given up"
	case errors.As(err, &certificate), errors.As(err, &authority):
		return "its certificate is not trusted"
	case errors.As(err, &alert), errors.As(err, &record):
		return "TLS failed"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "there is no host of this name"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "the network is unreachable"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "it took too long"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		strings.Contains(err.Error(), "server closed"): // of the transport, which has no type for it
		return "the connection was closed"
	case errors.As(err, &operation) && operation.Op == "dial":
		return "it cannot be connected to"
	}
	return "what it sent is no HTTP, or the request is none that can be passed on"
}

// refuse answers in a form that both providers' SDKs can show.
func refuse(w http.ResponseWriter, status int, message string) {
	body, _ := json.Marshal(map[string]any{
		"type":  "error",
		"error": map[string]string{"type": "obsrun_gateway_error", "message": "obsrun gateway: " + message},
	})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// isLoopback tells whether a Host header names this machine as it is seen from
// itself.
func isLoopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && address.IsLoopback()
}

// buffers are the proxy's, used again.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }
