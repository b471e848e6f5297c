package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"hash/maphash"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// announceAfter is how long a call is kept back while its request is read: its
	// model and whose it is may stand at the end.
	announceAfter = 100 * time.Millisecond
	// beatEvery is how often a streaming answer is told to go on.
	beatEvery = 5 * time.Second
)

// newSpanID makes an id as W3C trace context has it: 16 hex digits.
func newSpanID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// caller is what headers say of who makes a call.
type caller struct {
	// Claude Code's: the session, the agent in it (none for the main one) and the
	// agent that started that.
	session, agent, parent string
	span                   string // of the run's trace
	retry                  int    // how often the SDK has tried before
}

func (g *Gateway) callerOf(h http.Header) caller {
	who := caller{
		session: word(h.Get("X-Claude-Code-Session-Id")),
		agent:   word(h.Get("X-Claude-Code-Agent-Id")),
		parent:  word(h.Get("X-Claude-Code-Parent-Agent-Id")),
	}
	who.retry, _ = strconv.Atoi(h.Get("X-Stainless-Retry-Count"))
	who.retry = max(0, min(who.retry, 1000))
	// traceparent: VERSION-TRACE-SPAN-FLAGS (W3C Trace Context, 3.2).
	parts := strings.Split(h.Get("Traceparent"), "-")
	if g.traceID != "" && len(parts) >= 4 && parts[1] == g.traceID && len(parts[2]) == 16 && parts[2] != g.rootSpan {
		if _, err := hex.DecodeString(parts[2]); err == nil {
			who.span = parts[2]
		}
	}
	return who
}

// call is one request and its answer on their way.
type call struct {
	g        *Gateway
	upstream Upstream
	endpoint endpoint
	began    time.Time
	who      caller
	length   int64 // of the request, -1 where it is not known
	cancel   func() bool

	// The request is read by the transport, and may be while the answer arrives.
	mu        sync.Mutex
	question  *question
	digest    maphash.Hash
	size      int64 // of the request, so far
	blind     bool  // reading failed: pass only
	complete  bool  // all of the request was read
	early     bool  // the ledger knows that there is a call
	announced bool  // ... and what it asks for

	// The answer is read by the handler.
	status     int
	requestID  string
	retryAfter time.Duration
	coding     string // of an answer that cannot be read
	answer     *answer
	onlooker   *onlooker
	received   int64
	firstByte  time.Time
	lastBeat   time.Time
	bodyEnd    error  // io.EOF once it was complete
	failure    string // why there is no answer
}

func newCall(g *Gateway, u Upstream, e endpoint, r *http.Request) *call {
	c := &call{g: g, upstream: u, endpoint: e, began: time.Now(), who: g.callerOf(r.Header), length: r.ContentLength}
	c.digest.SetSeed(g.seed)
	_, _ = c.digest.WriteString(r.URL.Path)
	c.question = newQuestion(e)
	c.blind = r.Header.Get("Content-Encoding") != "" || !isJSON(r.Header.Get("Content-Type"))
	c.cancel = time.AfterFunc(announceAfter, c.announceEarly).Stop
	return c
}

func isJSON(contentType string) bool {
	return contentType == "" || strings.Contains(strings.ToLower(contentType), "json")
}

// questionBody is a request's body that is looked at as it is read.
type questionBody struct {
	io.ReadCloser
	call *call
}

func (b *questionBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.call.asked(p[:n], err == io.EOF)
	return n, err
}

// asked takes a part of the request.
func (c *call) asked(b []byte, end bool) {
	c.mu.Lock()
	c.size += int64(len(b))
	if !c.announced && len(b) > 0 {
		_, _ = c.digest.Write(b)
		if !c.blind {
			c.blind = !sane(func() { c.question.scan.write(b) })
		}
	}
	c.complete = c.complete || end || c.size == c.length
	end = c.complete
	c.mu.Unlock()
	if end {
		c.announce()
	}
}

// sane runs f and tells whether it came back: a fault of ours is none of the call's.
func sane(f func()) (ok bool) {
	defer func() { ok = recover() == nil }()
	f()
	return true
}

// announceEarly tells the ledger of a call whose request takes its time.
func (c *call) announceEarly() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.announced || c.early {
		return
	}
	c.early = true
	begun := asked{call: c, at: c.began, provider: c.upstream.Provider, endpoint: c.endpoint, who: c.who}
	c.g.ledger.tell(func(l *ledger) { l.asked(begun) })
}

// announce tells the ledger of the call, with what is known of the request.
func (c *call) announce() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.announced {
		return
	}
	c.announced = true
	c.cancel()
	begun := asked{
		call: c, at: c.began, provider: c.upstream.Provider, endpoint: c.endpoint, who: c.who, read: true,
		digest: c.digest.Sum64(), bytes: c.size, whole: c.complete || c.length == 0,
	}
	if !c.blind {
		begun.question = c.question
	}
	c.question = nil // what it kept of the request is not kept longer
	c.g.ledger.tell(func(l *ledger) { l.asked(begun) })
}

// answered takes the head of the answer.
func (c *call) answered(r *http.Response) {
	c.announce()
	c.status = r.StatusCode
	for _, key := range []string{"Request-Id", "X-Request-Id"} {
		if c.requestID == "" {
			c.requestID = word(r.Header.Get(key))
		}
	}
	c.retryAfter = retryAfter(r.Header, time.Now())
	kind := strings.ToLower(r.Header.Get("Content-Type"))
	isStream := strings.HasPrefix(kind, "text/event-stream")
	if isStream || isJSON(kind) {
		c.answer = newAnswer(isStream)
		on, ok := onlook(r.Header.Get("Content-Encoding"), c.answer.write)
		if ok {
			c.onlooker = &on
		} else {
			c.coding = word(strings.ToLower(r.Header.Get("Content-Encoding")))
		}
	}
	if r.Body != nil {
		r.Body = &answerBody{ReadCloser: r.Body, call: c}
	}
}

// retryAfter is how long the provider asks to wait (RFC 9110, 10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 && ms < 1e9 {
		return time.Duration(ms * float64(time.Millisecond))
	}
	value := h.Get("Retry-After")
	if s, err := strconv.ParseFloat(value, 64); err == nil {
		if s > 0 && s < 1e6 {
			return time.Duration(s * float64(time.Second))
		}
		return 0
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now).Round(time.Second))
	}
	return 0
}

// answerBody is an answer's body that is looked at as it is read.
type answerBody struct {
	io.ReadCloser
	call *call
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.call.passed(p[:n], err)
	return n, err
}

// passed takes a part of the answer.
func (c *call) passed(b []byte, err error) {
	if len(b) > 0 {
		now := time.Now()
		c.received += int64(len(b))
		if c.firstByte.IsZero() {
			c.firstByte = now
			c.lastBeat = now
			c.beat(now)
		} else if now.Sub(c.lastBeat) >= beatEvery {
			c.lastBeat = now
			c.beat(now)
		}
		if c.onlooker != nil && !sane(func() { c.onlooker.write(b) }) {
			c.onlooker, c.answer = nil, nil
		}
	}
	if err != nil && c.bodyEnd == nil {
		c.bodyEnd = err
	}
}

// beat tells that the answer arrives.
func (c *call) beat(now time.Time) {
	b := beat{call: c, at: now, status: c.status, requestID: c.requestID, ttfb: c.firstByte.Sub(c.began), bytes: c.received}
	c.g.ledger.tell(func(l *ledger) { l.beat(b) })
}

// fail says why there is no answer.
func (c *call) fail(reason string) {
	c.announce()
	c.failure = reason
}

// finish tells the ledger how the call ended, as soon as all of the answer was
// looked at.
func (c *call) finish(ctx context.Context) {
	c.announce()
	end := done{
		call: c, at: time.Now(), status: c.status, requestID: c.requestID, retryAfter: c.retryAfter,
		bytes: c.received, coding: c.coding, failure: c.failure,
	}
	if !c.firstByte.IsZero() {
		end.ttfb = c.firstByte.Sub(c.began)
	}
	gone := ctx.Err() != nil
	settle := func() {
		defer c.g.calls.Done()
		if c.answer != nil && c.onlooker != nil {
			if sane(c.answer.end) {
				end.reply = c.answer.reply
			}
		}
		switch {
		case c.failure != "":
			end.cancelled = gone
		case errors.Is(c.bodyEnd, io.EOF) || end.reply.complete || c.status == http.StatusSwitchingProtocols:
		case c.bodyEnd != nil && !gone:
			end.failure = "the answer broke off"
		default:
			end.cancelled = true
		}
		c.g.ledger.tell(func(l *ledger) { l.done(end) })
	}
	if c.onlooker != nil {
		c.onlooker.close(settle)
	} else {
		settle()
	}
}
