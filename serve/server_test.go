package serve

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

func TestListenRefuses(t *testing.T) {
	rec, dir := record(t)
	for want, change := range map[string]func(*Config){
		"has no token":         func(c *Config) { c.Token = "" },
		"needed together":      func(c *Config) { c.TLSCert = "cert.pem" },
		"load TLS certificate": func(c *Config) { c.TLSCert, c.TLSKey = "/nothing/cert.pem", "/nothing/key.pem" },
		"--insecure":           func(c *Config) { c.Listen = "0.0.0.0:0" },
	} {
		cfg := config(rec, dir)
		change(&cfg)
		_, err := Listen(cfg)
		assert.ErrorContains(t, err, want)
	}
}

func TestPanic(t *testing.T) {
	rec, dir := record(t)
	cfg := config(rec, dir)
	faults := make(chan error, 10)
	cfg.Fault = func(err error) { faults <- err }
	cfg.Routes = []Route{
		{"GET", "/early", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			panic("early")
		})},
		{"GET", "/late", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(bytes.Repeat([]byte("x"), 100_000))
			panic(errors.New("late"))
		})},
		{"GET", "/abort", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })},
	}
	s := open(t, cfg)
	resp := ask(t, s, "GET", "/early")
	assert.Equal(t, 500, resp.StatusCode)
	assert.Contains(t, body(t, resp), "The run goes on")
	assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
	assert.ErrorContains(t, <-faults, "answer GET /early: panic: early")

	resp = ask(t, s, "GET", "/late")
	_, err := io.ReadAll(resp.Body)
	assert.Error(t, err, "the client sees that it is cut")
	assert.ErrorContains(t, <-faults, "late")

	answer := rawly(t, s, "GET /abort HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+testToken+"\r\n\r\n")
	assert.Empty(t, answer)
	assert.Empty(t, faults)
	assert.Equal(t, 200, ask(t, s, "GET", "/healthz").StatusCode)
}

func TestPage(t *testing.T) {
	rec, dir := record(t)
	s := open(t, config(rec, dir))
	resp := ask(t, s, "GET", "/")
	assert.Equal(t, testPage, body(t, resp))
	assert.Equal(t, "text/html; charset=utf-8", resp.Header.Get("Content-Type"))
	assert.Equal(t, testCSP, resp.Header.Get("Content-Security-Policy"))
	head := ask(t, s, "HEAD", "/")
	assert.Equal(t, int64(len(testPage)), head.ContentLength)
	assert.Empty(t, body(t, head))
	health := ask(t, s, "GET", "/healthz")
	assert.Equal(t, "ok", body(t, health))
}

func TestPageThatDoesNotAssemble(t *testing.T) {
	rec, dir := record(t)
	cfg := config(rec, dir)
	faults := make(chan error, 1)
	cfg.Fault = func(err error) { faults <- err }
	cfg.Page = func() ([]byte, string, error) { return nil, "", errors.New("does not fit") }
	s := open(t, cfg)
	resp := ask(t, s, "GET", "/")
	assert.Equal(t, http.StatusInternalServerError, resp.StatusCode)
	assert.Contains(t, body(t, resp), "The page can not be assembled.")
	assert.EqualError(t, <-faults, "assemble the dashboard: does not fit")
}

// certificate writes a certificate for localhost and 127.0.0.1 that signs itself.
func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "obsrun test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(cert, text, 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	pool = x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(text))
	return cert, key, pool
}

// Over TLS an address that others reach is taken; the cookie is for TLS alone; and
// a stream over HTTP/2 outlives the deadline of its writes.
func TestTLS(t *testing.T) {
	t.Parallel()
	rec, dir := record(t)
	cfg := config(rec, dir)
	cert, key, pool := certificate(t)
	cfg.TLSCert, cfg.TLSKey, cfg.Listen = cert, key, "0.0.0.0:0"
	s := open(t, cfg, func(s *Server) { s.patience = 150 * time.Millisecond })
	require.True(t, strings.HasPrefix(s.URL(), "https://127.0.0.1:"), s.URL())

	for _, two := range []bool{false, true} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: two}
		browser := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		resp, err := browser.Get(s.URL())
		require.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, 303, resp.StatusCode)
		require.Len(t, resp.Cookies(), 1)
		assert.True(t, resp.Cookies()[0].Secure)

		resp, err = browser.Get(s.Base() + "/events?token=" + testToken)
		require.NoError(t, err)
		assert.Equal(t, two, resp.ProtoMajor == 2)
		stream := &messages{bufio.NewReader(resp.Body)}
		for i := range 3 {
			id := fmt.Sprint("span-", two, i)
			tell(t, rec, start(id))
			for !strings.Contains(stream.must(t).data, id) {
				continue
			}
			time.Sleep(s.patience + 100*time.Millisecond)
		}
		resp.Body.Close()
		transport.CloseIdleConnections()
	}
	plain, err := http.Get("http" + strings.TrimPrefix(s.Base(), "https") + "/healthz")
	require.NoError(t, err)
	plain.Body.Close()
	assert.Equal(t, 400, plain.StatusCode)
}

func TestShutdownIsPrompt(t *testing.T) {
	rec, dir := record(t)
	cfg := config(rec, dir)
	s, err := Listen(cfg)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	streams := []*messages{openStream(t, s, "/events"), openStream(t, s, "/state")}
	unused := dial(t, s) // as browsers open them in advance
	half := dial(t, s)
	_, err = half.Write([]byte("GET / HT"))
	require.NoError(t, err)
	for _, stream := range streams {
		stream.must(t)
	}

	began := time.Now()
	require.NoError(t, s.Shutdown(t.Context()))
	assert.Less(t, time.Since(began), shutdownLimit-100*time.Millisecond)
	assert.NoError(t, <-served)
	for _, stream := range streams {
		for err == nil {
			_, err = stream.next()
		}
		assert.Equal(t, io.EOF, err, "an answer that ends, not one that is cut")
		err = nil
	}
	for _, conn := range []net.Conn{unused, half} {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
		_, err := conn.Read(make([]byte, 1))
		assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	}
	_, err = net.Dial("tcp", strings.TrimPrefix(s.Base(), "http://"))
	assert.Error(t, err)
	assert.NoError(t, s.Shutdown(t.Context()), "twice")
	assert.NoError(t, s.Serve(), "after the end")
}

// A handler that does not end is not waited for long.
func TestShutdownCutsWhatHangs(t *testing.T) {
	rec, dir := record(t)
	cfg := config(rec, dir)
	release := make(chan struct{})
	entered := make(chan struct{})
	cfg.Routes = []Route{{"GET", "/hang", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-release
	})}}
	s := open(t, cfg)
	defer close(release)
	conn := dial(t, s)
	_, err := conn.Write([]byte("GET /hang HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + testToken + "\r\n\r\n"))
	require.NoError(t, err)
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	require.NoError(t, s.Shutdown(ctx))
	assert.Less(t, time.Since(began), shutdownLimit)
}

func TestSettle(t *testing.T) {
	t.Parallel()
	rec, dir := record(t)
	s := open(t, config(rec, dir))
	settled := func(within time.Duration) bool {
		began := time.Now()
		s.Settle(t.Context())
		return time.Since(began) < within
	}
	assert.True(t, settled(time.Second), "nobody is there")

	stream, events := openStream(t, s, "/state"), openStream(t, s, "/events")
	var m model
	m.apply(t, stream.must(t).data)
	for i := range 100 {
		tell(t, rec, update("a", int64(i)))
	}
	finish(t, rec)
	s.Settle(t.Context())
	require.NoError(t, s.Shutdown(t.Context()))
	var last message
	for _, got := range stream.all(t) {
		if last = got; got.data != "{}" {
			m.apply(t, got.data)
		}
	}
	assert.Equal(t, "end", last.event)
	assert.Equal(t, "ok", m.rest.Run.Status)
	assertLines(t, journalLines(t, dir), 0, events.all(t))
}

func TestSettleWaits(t *testing.T) {
	t.Parallel()
	rec, dir := record(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "terminal.cast"), bytes.Repeat([]byte("x"), 32<<20), 0o600))
	s := open(t, config(rec, dir))
	// A page was sent, which will open its stream.
	finish(t, rec)
	body(t, ask(t, s, "GET", "/"))
	done := make(chan struct{})
	go func() {
		s.Settle(context.Background())
		close(done)
	}()
	select {
	case <-done:
		t.Fatal("did not wait for the page's stream")
	case <-time.After(50 * time.Millisecond):
	}
	got := openStream(t, s, "/state").all(t)
	assert.Len(t, got, 2)
	// The page now asks for the recording.
	resp := ask(t, s, "GET", "/terminal.cast")
	time.Sleep(askGrace + 100*time.Millisecond)
	select {
	case <-done:
		t.Fatal("did not wait for the recording")
	default:
	}
	assert.Len(t, body(t, resp), 32<<20)
	<-done
}

// A page that was sent the last state has a moment to ask for more.
func TestSettleLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec, dir := record(t)
		finish(t, rec)
		v := newView(config(rec, dir), func(error) {})
		r := httptest.NewRequest(http.MethodGet, "/state", nil)
		r.Header.Set("Accept", "text/event-stream")
		w := &sink{}
		v.serveState(w, r)
		require.Contains(t, w.take(), "event: end\n")
		began := time.Now()
		v.audience.settled(t.Context())
		assert.Equal(t, askGrace, time.Since(began).Round(10*time.Millisecond))
	})
}

// So has one that looked which files there are, or got one of them.
func TestSettleLingersAfterFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec, dir := record(t)
		finish(t, rec)
		v := newView(config(rec, dir), func(error) {})
		for path, answer := range map[string]http.HandlerFunc{
			filesPath: v.listFiles, emulatorPath: v.serveEmulator, "/telemetry.jsonl": v.serveFile(journalFile),
		} {
			answer(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
			began := time.Now()
			v.audience.settled(t.Context())
			assert.Equal(t, askGrace, time.Since(began).Round(10*time.Millisecond), path)
		}
	})
}

func TestSettleGivesUp(t *testing.T) {
	t.Parallel()
	rec, dir := record(t)
	s := open(t, config(rec, dir))
	stream := openStream(t, s, "/state") // the run goes on, so that it is never sent the end
	stream.must(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	s.Settle(ctx)
	assert.Error(t, ctx.Err())
	began := time.Now()
	s.Settle(t.Context())
	assert.GreaterOrEqual(t, time.Since(began), settleLimit)
}

// A body that is announced and never comes does not hold a connection.
func TestBodyThatNeverComes(t *testing.T) {
	rec, dir := record(t)
	s := open(t, config(rec, dir), func(s *Server) { s.patience = 200 * time.Millisecond })
	for _, token := range []string{testToken, "wrong"} {
		answer := rawly(t, s, "POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+token+"\r\nContent-Length: 1000\r\n\r\n")
		assert.Contains(t, answer, "HTTP/1.1 4", token)
	}
}

// A connection serves many requests, also after a stream on it ended.
func TestKeptConnection(t *testing.T) {
	t.Parallel()
	rec, dir := record(t)
	tell(t, rec, telemetry.Event{Type: telemetry.Log, Message: "x"})
	finish(t, rec)
	s := open(t, config(rec, dir), func(s *Server) { s.patience = 100 * time.Millisecond })
	transport := &http.Transport{MaxConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	browser := &http.Client{Transport: transport}
	for _, path := range []string{"/events", "/state", "/healthz", "/telemetry.jsonl", "/"} {
		time.Sleep(150 * time.Millisecond)
		r, err := http.NewRequest("GET", s.Base()+path, nil)
		require.NoError(t, err)
		r.AddCookie(&http.Cookie{Name: cookieName(testRun), Value: testToken})
		resp, err := browser.Do(r)
		require.NoError(t, err)
		body(t, resp)
		assert.Equal(t, 200, resp.StatusCode)
	}
	wait(t, "no answer is being given", func() bool { return idle(s) })
}
