package otlp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// Target is where what arrives of one signal is forwarded to.
type Target struct {
	// URL is the whole one, with the signal's path.
	URL string
	// Header is set on each request, over what the exporter sent.
	Header http.Header
	// CA, Cert and Key are PEM files: the authority that the target's certificate
	// is checked against, and the client's own. Empty uses the system's, and none.
	CA, Cert, Key string
}

// Tee forwards what arrives to endpoints of the user's, unchanged: the bytes as
// they came, with the headers of the exporter but for those of the connection
// and obsrun's token. It never delays the answer; a target that is down or slow
// loses what no longer fits its queue, which is told once, and counted.
type Tee struct {
	lines map[signal]*line

	mu     sync.RWMutex
	closed bool
}

// line is the queue to one target.
type line struct {
	target Target
	client *http.Client
	queue  chan *http.Request
	record func(telemetry.Event) error

	ctx    context.Context // ends when nobody waits for it any more
	stop   context.CancelFunc
	done   chan struct{}
	bytes  atomic.Int64 // waiting
	lost   atomic.Int64 // requests that were not taken by the target
	failed sync.Once
}

const (
	maxQueue      = 256      // requests
	maxQueueBytes = 32 << 20 // of their bodies
	teeTimeout    = 10 * time.Second
	teeAttempts   = 3
)

// teeBackoff is the wait before the second attempt, and half of that before the
// third.
var teeBackoff = time.Second

// NewTee makes a tee to the targets of a Plan, nil where there are none. Record
// is told of what failed.
func NewTee(targets Targets, record func(telemetry.Event) error) (*Tee, error) {
	t := &Tee{lines: make(map[signal]*line)}
	for s, target := range map[signal]*Target{traces: targets.Traces, logRecords: targets.Logs, metricPoints: targets.Metrics} {
		if target == nil {
			continue
		}
		client, err := target.client()
		if err != nil {
			return nil, err
		}
		l := &line{target: *target, client: client, queue: make(chan *http.Request, maxQueue), record: record, done: make(chan struct{})}
		l.ctx, l.stop = context.WithCancel(context.Background())
		t.lines[s] = l
	}
	if len(t.lines) == 0 {
		return nil, nil
	}
	for _, l := range t.lines {
		go l.run()
	}
	return t, nil
}

// TLS is what its CA, Cert and Key say.
func (t *Target) TLS() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("read OTEL_EXPORTER_OTLP_CERTIFICATE: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read OTEL_EXPORTER_OTLP_CERTIFICATE: no certificate in %s", t.CA)
		}
	}
	if t.Cert != "" || t.Key != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("read OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func (t *Target) client() (*http.Client, error) {
	config, err := t.TLS()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = config
	transport.DisableCompression = true
	return &http.Client{
		Transport: transport, Timeout: teeTimeout,
		// The headers are for this target alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// ownHeaders are those of the connection to obsrun.
var ownHeaders = []string{
	"Authorization", "Cookie", "Connection", "Keep-Alive", "Proxy-Authorization", "Proxy-Authenticate",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length", "Expect", "Accept-Encoding",
}

func (t *Tee) forward(s signal, header http.Header, body string) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	l := t.lines[s]
	if l == nil || t.closed {
		return
	}
	req, err := http.NewRequestWithContext(l.ctx, http.MethodPost, l.target.URL, strings.NewReader(body))
	if err != nil {
		l.fault(err)
		return
	}
	req.Header = header.Clone()
	for _, key := range ownHeaders {
		req.Header.Del(key)
	}
	for key, values := range l.target.Header {
		req.Header[key] = values
	}
	size := int64(len(body))
	if l.bytes.Add(size) > maxQueueBytes && l.bytes.Load() != size {
		l.bytes.Add(-size)
		l.fault(errFull)
		return
	}
	select {
	case l.queue <- req:
	default:
		l.bytes.Add(-size)
		l.fault(errFull)
	}
}

var errFull = errors.New("it takes less than comes")

func (l *line) run() {
	defer close(l.done)
	for req := range l.queue {
		if err := l.send(req); err != nil {
			l.fault(err)
		}
		l.bytes.Add(-req.ContentLength)
	}
}

func (l *line) send(req *http.Request) error {
	wait := teeBackoff
	for attempt := 1; ; attempt++ {
		err, again := l.try(req)
		if err == nil || !again || attempt == teeAttempts {
			return err
		}
		select {
		case <-time.After(wait):
		case <-l.ctx.Done():
			return err
		}
		wait /= 2
	}
}

// try sends once, and says whether trying again can help: the specification
// names 429, 502, 503 and 504, and connections that failed.
func (l *line) try(req *http.Request) (err error, again bool) {
	req = req.Clone(l.ctx)
	if req.Body, err = req.GetBody(); err != nil {
		return err, false
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return err, l.ctx.Err() == nil
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fmt.Errorf("it answered %s", resp.Status), true
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("it answered %s", resp.Status), false
	}
	return nil, false
}

// fault counts a request that was not forwarded, and tells of the first.
func (l *line) fault(err error) {
	l.lost.Add(1)
	l.failed.Do(func() {
		var in *url.Error
		if errors.As(err, &in) {
			err = in.Err // without the URL, which can hold a key
		}
		l.warn(fmt.Sprintf("telemetry is not forwarded to %s: %v (told once)", publicURL(l.target.URL), err))
	})
}

func (l *line) warn(message string) {
	_ = l.record(telemetry.Event{Type: telemetry.Log, Source: telemetry.SourceObsrun, Level: "warn", Message: cut(message, maxMessage)})
}

// publicURL is scheme, host and path: no user, no query.
func publicURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "the endpoint that was set"
	}
	return strings.TrimSuffix((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(), "/")
}

// close sends what waits until ctx ends, and tells how much was lost.
func (t *Tee) close(ctx context.Context) {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	for _, l := range t.lines {
		close(l.queue)
	}
	for _, l := range t.lines {
		select {
		case <-l.done:
		case <-ctx.Done():
			l.stop()
			<-l.done
		}
		l.stop()
		l.client.CloseIdleConnections()
		if n := l.lost.Load(); n > 1 {
			l.warn(fmt.Sprintf("%d requests with telemetry were not forwarded to %s", n, publicURL(l.target.URL)))
		}
	}
}
