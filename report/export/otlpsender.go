package export

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// sender posts spans to an OTLP/HTTP endpoint, as the OTLP specification has it
// (opentelemetry-proto 1.11, docs/specification.md: OTLP/HTTP): gzip, one request after
// the other, and what may pass is tried again until the run is over.
type sender struct {
	live   *Live
	queue  chan *Span // has room for all that may wait; closed after the last
	client *http.Client
	zip    *gzip.Writer
	done   chan struct{}
}

const (
	// firstRetry grows by half from one attempt to the next, up to lastRetry, and each
	// wait is up to half shorter or longer, so that not all clients come at once.
	firstRetry = 500 * time.Millisecond
	lastRetry  = 3 * time.Second
	// maxAnswer is how much of an answer is read, in bytes.
	maxAnswer = 64 << 10
)

func newSender(l *Live) (*sender, error) {
	if _, err := http.NewRequest(http.MethodPost, l.to.URL, nil); err != nil {
		return nil, withoutURL(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = l.to.TLS
	return &sender{
		live: l, queue: make(chan *Span, maxWaiting), zip: gzip.NewWriter(io.Discard), done: make(chan struct{}),
		client: &http.Client{
			Transport: transport, Timeout: requestTimeout,
			// The headers are for this endpoint alone.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// run sends batches until the queue ends: full ones at once, others after a moment.
func (s *sender) run() {
	defer close(s.done)
	defer s.client.CloseIdleConnections()
	for span := range s.queue {
		batch := s.gather([]*Span{span})
		s.live.sentBatch(len(batch), s.send(batch))
	}
}

func (s *sender) gather(batch []*Span) []*Span {
	timer := time.NewTimer(pace)
	defer timer.Stop()
	for len(batch) < maxBatch {
		select {
		case span, ok := <-s.queue:
			if !ok {
				return batch
			}
			batch = append(batch, span)
		case <-timer.C:
			return batch
		}
	}
	return batch
}

// send delivers a batch, and gives how many spans of it were taken.
func (s *sender) send(batch []*Span) int {
	body := s.compressed(s.live.trace.protobuf(batch))
	for wait := firstRetry; ; wait = min(wait+wait/2, lastRetry) {
		if s.live.ctx.Err() != nil {
			return 0
		}
		rejected, again, err := s.post(body)
		switch {
		case err == nil:
			return len(batch) - int(min(rejected, uint64(len(batch)))) // #nosec G115 -- no more than there are
		case again < 0:
			return 0
		}
		jitter := wait/2 + rand.N(wait) // #nosec G404 -- no secret
		if !s.live.rest(max(jitter, again)) {
			return 0
		}
	}
}

// never says that a request must not be sent again.
const never = time.Duration(-1)

// post sends once. After an error, again is how long to wait at least, or never.
func (s *sender) post(body []byte) (rejected uint64, again time.Duration, err error) {
	made := false // as far as a connection is asked for
	ctx := httptrace.WithClientTrace(s.live.ctx, &httptrace.ClientTrace{GetConn: func(string) { made = true }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.live.to.URL, bytes.NewReader(body))
	if err != nil {
		s.live.heard(withoutURL(err), true)
		return 0, never, err
	}
	req.Header.Set("User-Agent", "obsrun/"+s.live.trace.version)
	for key, value := range s.live.to.Headers {
		req.Header.Set(key, value)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "gzip")
	resp, err := s.client.Do(req)
	if err != nil {
		if errors.Is(s.live.ctx.Err(), context.Canceled) { // nobody waits any more
			return 0, 0, err
		}
		// What net/http finds wrong with a request itself, such as a header's value,
		// has no error of its own, and will be wrong again.
		if !made {
			again = never
		}
		s.live.heard(withoutURL(err), !made)
		return 0, again, err
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // taken, whatever becomes of the rest
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		err = fmt.Errorf("it answered %s", resp.Status)
		again = mayPass(resp)
		s.live.heard(err, again < 0)
		return 0, again, err
	}
	s.live.heard(nil, false)
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/x-protobuf") {
		var why string
		if rejected, why = partialSuccess(answer); rejected > 0 {
			s.live.heard(fmt.Errorf("it rejected some spans: %s", why), true)
		}
	}
	return rejected, 0, nil
}

// mayPass tells when to try again after an answer: after the statuses that the
// specification names, and not before Retry-After.
func mayPass(resp *http.Response) time.Duration {
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	default:
		return never
	}
	after := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(after, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second // #nosec G115 -- 31 bits
	}
	if at, err := http.ParseTime(after); err == nil {
		if now, err := http.ParseTime(resp.Header.Get("Date")); err == nil { // by the same clock
			return max(0, at.Sub(now))
		}
	}
	return 0
}

// withoutURL is an error of net/http without the URL, which is told beside it.
func withoutURL(err error) error {
	var in *url.Error
	if errors.As(err, &in) {
		return in.Err
	}
	return err
}

func (s *sender) compressed(body []byte) []byte {
	var out bytes.Buffer
	s.zip.Reset(&out)
	_, _ = s.zip.Write(body) // a buffer takes all
	_ = s.zip.Close()
	return out.Bytes()
}

// partialSuccess reads an ExportTraceServiceResponse: how many spans were rejected,
// and why. What cannot be read says nothing.
func partialSuccess(answer []byte) (rejected uint64, why string) {
	eachField(answer, func(number uint64, _ uint64, partial []byte) {
		if number != 1 {
			return
		}
		eachField(partial, func(number, n uint64, data []byte) {
			switch {
			case number == 1 && data == nil:
				rejected = n
			case number == 2:
				why = string(data)
			}
		})
	})
	return rejected, why
}

// eachField goes over the numbers of variable length and what has a length in an
// encoded message, up to what is neither.
func eachField(b []byte, field func(number, n uint64, data []byte)) {
	for len(b) > 0 {
		tag, size := binary.Uvarint(b)
		if size <= 0 {
			return
		}
		b = b[size:]
		n, size := binary.Uvarint(b)
		if size <= 0 {
			return
		}
		b = b[size:]
		switch tag & 7 {
		case 0:
			field(tag>>3, n, nil)
		case 2:
			if n > uint64(len(b)) {
				return
			}
			field(tag>>3, n, b[:n:n])
			b = b[n:]
		default:
			return
		}
	}
}
