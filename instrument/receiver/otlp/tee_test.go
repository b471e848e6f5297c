package otlp

import (
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// collector is a target that keeps what it was sent.
type collector struct {
	mu     sync.Mutex
	header []http.Header
	path   []string
	body   [][]byte
	status func(n int) int
	block  chan struct{}
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if c.block != nil {
		select {
		case <-c.block:
		case <-r.Context().Done():
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.header, c.path, c.body = append(c.header, r.Header), append(c.path, r.URL.Path), append(c.body, body)
	if c.status != nil {
		w.WriteHeader(c.status(len(c.body)))
	}
}

func (j *journal) messages() []string {
	var all []string
	for _, e := range j.all() {
		if e.Type == "log" {
			all = append(all, e.Message)
		}
	}
	return all
}

func teeTo(t *testing.T, url string, header http.Header) (*Receiver, *journal) {
	t.Helper()
	j := new(journal)
	tee, err := NewTee(Targets{Traces: &Target{URL: url + "/v1/traces", Header: header}}, j.record)
	require.NoError(t, err)
	return New(j.recordAll, tee), j
}

func TestMain(m *testing.M) {
	teeBackoff = time.Millisecond
	os.Exit(m.Run())
}

func TestTee(t *testing.T) {
	c := new(collector)
	server := httptest.NewServer(c)
	defer server.Close()
	r, j := teeTo(t, server.URL, http.Header{"X-Key": {"k1"}, "Authorization": {"Basic abc"}})
	body := zip(t, encode(t, tracesData(sp(1, 0, "work", 1, 2))))
	req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(body)))
	req.Header = http.Header{
		"Content-Type": {protobufType}, "Content-Encoding": {"gzip"}, "Authorization": {"Bearer TOKEN"}, "Cookie": {"obsrun_x=TOKEN"},
		"User-Agent": {"OTel-OTLP/1"}, "X-Key": {"other"}, "X-Own": {"yes"}, "Connection": {"close"},
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	assert.Equal(t, 200, w.Code)
	// Logs have no target, and what cannot be read here is forwarded all the same.
	assert.Equal(t, 200, post(r, "/v1/logs", protobufType, "", nil).Code)
	assert.Equal(t, 400, post(r, "/v1/traces", protobufType, "", []byte("1234")).Code)
	r.Close(context.Background())

	require.Len(t, c.body, 2)
	assert.Equal(t, "/v1/traces", c.path[0])
	assert.Equal(t, body, c.body[0], "byte for byte")
	assert.Equal(t, "1234", string(c.body[1]))
	for key, want := range map[string]string{
		"Content-Type": protobufType, "Content-Encoding": "gzip", "Authorization": "Basic abc", "User-Agent": "OTel-OTLP/1", "X-Key": "k1", "X-Own": "yes", "Cookie": "",
	} {
		assert.Equal(t, want, c.header[0].Get(key), key)
	}
	for _, h := range c.header {
		for _, values := range h {
			assert.NotContains(t, strings.Join(values, " "), "TOKEN")
		}
	}
	assert.Empty(t, j.messages())
	assert.Equal(t, 200, post(r, "/v1/traces", protobufType, "", nil).Code, "after the end it is only taken")
}

func TestTeeTriesAgain(t *testing.T) {
	c := &collector{status: func(n int) int {
		if n < 3 {
			return 503
		}
		return 200
	}}
	server := httptest.NewServer(c)
	defer server.Close()
	r, j := teeTo(t, server.URL, nil)
	post(r, "/v1/traces", protobufType, "", nil)
	r.Close(context.Background())
	assert.Len(t, c.body, 3)
	assert.Empty(t, j.messages())
}

func TestTeeTellsOnce(t *testing.T) {
	down := httptest.NewServer(http.NotFoundHandler())
	downURL := down.URL
	down.Close()
	refusing := httptest.NewServer(&collector{status: func(int) int { return 401 }})
	defer refusing.Close()
	moved := httptest.NewServer(http.RedirectHandler("http://example.invalid/", http.StatusTemporaryRedirect))
	defer moved.Close()
	for url, says := range map[string]string{downURL: "refused", refusing.URL: "401", moved.URL: "307"} {
		r, j := teeTo(t, strings.Replace(url, "http://", "http://user:pw@", 1), nil)
		for range 5 {
			assert.Equal(t, 200, post(r, "/v1/traces", protobufType, "", nil).Code)
		}
		r.Close(context.Background())
		require.Len(t, j.messages(), 2)
		assert.Contains(t, j.messages()[0], says)
		assert.Contains(t, j.messages()[1], "5 requests")
		for _, m := range j.messages() {
			assert.NotContains(t, m, "pw")
		}
	}
}

// A target that hangs delays nobody and costs bounded memory.
func TestTeeSlow(t *testing.T) {
	c := &collector{block: make(chan struct{})}
	server := httptest.NewServer(c)
	defer server.Close()
	defer close(c.block)
	r, j := teeTo(t, server.URL, nil)
	began := time.Now()
	for range 2 * maxQueue {
		assert.Equal(t, 200, post(r, "/v1/traces", protobufType, "", nil).Code)
	}
	assert.Less(t, time.Since(began), teeTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	r.Close(ctx)
	require.Len(t, j.messages(), 2)
	assert.Contains(t, j.messages()[0], "less than comes")
}

func TestTeeBytes(t *testing.T) {
	c := &collector{block: make(chan struct{})}
	server := httptest.NewServer(c)
	defer server.Close()
	j := new(journal)
	tee, err := NewTee(Targets{Traces: &Target{URL: server.URL}}, j.record)
	require.NoError(t, err)
	big := make([]byte, maxQueueBytes/2+1)
	tee.forward(traces, http.Header{}, string(big))
	tee.forward(traces, http.Header{}, string(big))
	assert.Len(t, j.messages(), 1)
	close(c.block)
	tee.close(context.Background())
	assert.Len(t, c.body, 1)
}

func TestTeeTLS(t *testing.T) {
	c := new(collector)
	server := httptest.NewTLSServer(c)
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	j := new(journal)
	tee, err := NewTee(Targets{Logs: &Target{URL: server.URL, CA: ca}}, j.record)
	require.NoError(t, err)
	tee.forward(logRecords, http.Header{}, "x")
	tee.close(context.Background())
	assert.Len(t, c.body, 1)
	assert.Empty(t, j.messages())
}

func TestTeeRefuses(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for _, target := range []Target{{CA: filepath.Join(dir, "none")}, {CA: empty}, {Cert: empty, Key: empty}} {
		target.URL = "https://example.com"
		_, err := NewTee(Targets{Metrics: &target}, nil)
		assert.ErrorContains(t, err, "OTEL_EXPORTER_OTLP_")
	}
	tee, err := NewTee(Targets{}, nil)
	assert.NoError(t, err)
	assert.Nil(t, tee)
}
