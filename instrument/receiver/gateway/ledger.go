package gateway

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// What calls tell the ledger.
type (
	// asked: a request is there. A slow one is told of twice, the second time when
	// it was read.
	asked struct {
		call     *call
		at       time.Time
		provider string
		endpoint endpoint
		who      caller
		question *question // nil: it could not be read
		digest   uint64    // of the request, if it is whole
		whole    bool
		read     bool
		bytes    int64
	}
	// beat: a part of the answer is there.
	beat struct {
		call      *call
		at        time.Time
		status    int
		requestID string
		ttfb      time.Duration
		bytes     int64
	}
	// done: the call is over.
	done struct {
		call       *call
		at         time.Time
		status     int // 0: there was no answer
		requestID  string
		ttfb       time.Duration // 0: not a byte of the body came
		retryAfter time.Duration
		bytes      int64
		coding     string
		reply      reply
		failure    string
		cancelled  bool // by the client
	}
)

// entry is a call in the ledger.
type entry struct {
	span    string
	parent  string
	agent   *agent
	model   string
	digest  uint64
	whole   bool
	attempt int
	heard   bool
	first   *beat // that is not told yet
}

// attempt is a call that failed in a way after which clients try again.
type attempt struct {
	entry *entry
	at    time.Time
}

const (
	inboxSize  = 8192
	maxAgents  = 10_000
	maxCallIDs = 100_000
	maxFailed  = 10_000
	// retryWithin is how long after a failure the same request is another attempt.
	retryWithin = 10 * time.Minute
)

// ledger makes events of what calls tell, and knows the agents. One goroutine does
// all its work: no call waits for it, whatever becomes of the events.
type ledger struct {
	record   func(telemetry.Event) error
	patterns []*regexp.Regexp

	inbox   chan func(*ledger)
	lost    atomic.Int64 // what found the inbox full
	closing sync.Once
	ended   chan struct{}

	entries   map[*call]*entry
	failed    map[uint64][]attempt // by digest, the latest last
	agents    map[string]*agent    // by what tells them apart
	byUser    map[string][]*agent  // by their first user message
	responses map[string]*agent    // by the id of a response to them
	live      map[*agent]struct{}  // agents with something left to decide
	callIDs   map[string]*entry
	begun     []*entry        // those whose first beat is to be told, unless they end before
	codings   map[string]bool // those that were told of
}

func newLedger(config Config) *ledger {
	return &ledger{
		record: config.Record, patterns: config.NamePatterns,
		inbox: make(chan func(*ledger), inboxSize), ended: make(chan struct{}),
		entries: make(map[*call]*entry), failed: make(map[uint64][]attempt), agents: make(map[string]*agent),
		byUser: make(map[string][]*agent), responses: make(map[string]*agent), live: make(map[*agent]struct{}),
		callIDs: make(map[string]*entry), codings: make(map[string]bool),
	}
}

// tell hands on without waiting.
func (l *ledger) tell(f func(*ledger)) {
	select {
	case l.inbox <- f:
	default:
		l.lost.Add(1)
	}
}

// run works until close.
func (l *ledger) run() {
	defer close(l.ended)
	due := time.Now().Add(time.Hour)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case f, ok := <-l.inbox:
			if !ok {
				l.finish(time.Now())
				return
			}
			sane(func() { f(l) })
			// It may have brought something to decide, but under load that is not
			// asked after each of many reports.
			if now := time.Now(); due.Sub(now) > lookEvery {
				due = now.Add(lookEvery)
				timer.Reset(lookEvery)
			}
		case now := <-timer.C:
			next := time.Hour
			sane(func() { next = l.decide(now) })
			due = now.Add(next)
			timer.Reset(next)
		}
	}
}

// close ends the ledger when all that was told is worked off. Nothing may be told
// any more.
func (l *ledger) close() {
	l.closing.Do(func() { close(l.inbox) })
	<-l.ended
}

func (l *ledger) send(e telemetry.Event, at time.Time) {
	e.Source = telemetry.SourceGateway
	e.TS = telemetry.F(float64(at.UnixMicro()) / 1e6)
	_ = l.record(e) // a fault of the record is told by the record
}

func (l *ledger) warn(at time.Time, message string) {
	l.send(telemetry.Event{Type: telemetry.Log, Level: "warn", Message: message}, at)
}

// callAttrs are the attrs of an llm span. Sizes are in bytes as they passed. Of a
// call that was tried again the span keeps what its last failed attempt said of
// the failure.
type callAttrs struct {
	Provider   string  `json:"provider,omitempty"`
	Endpoint   string  `json:"endpoint,omitempty"`
	Stream     bool    `json:"stream,omitempty"`
	Model      string  `json:"response_model,omitempty"` // where it is another than was asked for
	Attempt    int     `json:"attempt,omitempty"`        // from the second on
	WaitedMS   int64   `json:"waited_ms,omitempty"`      // since the attempt before failed
	Status     int     `json:"status,omitempty"`
	TTFB       float64 `json:"ttfb_ms,omitempty"`     // from the request's first byte to the first of the answer's body
	RetryAfter float64 `json:"retry_after,omitempty"` // in seconds, as the provider asked
	ErrorType  string  `json:"error_type,omitempty"`
	ErrorCode  string  `json:"error_code,omitempty"`
	Finish     string  `json:"finish_reason,omitempty"`
	ToolCalls  int64   `json:"tool_calls,omitempty"` // that the model asked for
	Request    int64   `json:"request_bytes,omitempty"`
	Answer     int64   `json:"response_bytes,omitempty"`
	Coding     string  `json:"content_encoding,omitempty"` // in which the answer could not be read
}

func (l *ledger) asked(a asked) {
	if e := l.entries[a.call]; e != nil {
		l.identified(e, a)
		return
	}
	e := &entry{span: newSpanID(), attempt: 1 + a.who.retry}
	attrs := callAttrs{Provider: a.provider, Endpoint: a.endpoint.name}
	// A request that failed and comes again is another attempt of the same span.
	if before, ok := l.retried(a); ok {
		e.span, e.agent = before.entry.span, before.entry.agent
		e.attempt = max(before.entry.attempt+1, e.attempt)
		attrs.WaitedMS = a.at.Sub(before.at).Milliseconds()
	}
	if e.attempt > 1 {
		attrs.Attempt = e.attempt
	}
	l.entries[a.call] = e
	l.describe(e, a, &attrs)
	name := e.model
	if name == "" {
		name = a.endpoint.name
	}
	l.send(telemetry.Event{
		Type: telemetry.SpanStart, SpanID: e.span, Parent: e.parent, Kind: telemetry.KindLLM, Name: name,
		Attrs: telemetry.Attrs(attrs),
	}, a.at)
	if e.agent != nil {
		e.agent.begin(a.at)
	}
}

// identified tells what was learnt of a call after it was told of.
func (l *ledger) identified(e *entry, a asked) {
	var attrs callAttrs
	l.describe(e, a, &attrs)
	l.send(telemetry.Event{
		Type: telemetry.SpanUpdate, SpanID: e.span, Parent: e.parent, Name: e.model, Attrs: telemetry.Attrs(attrs),
	}, time.Now())
	if e.agent != nil {
		e.agent.begin(a.at)
	}
}

// describe notes what a request says, and finds where its call belongs.
func (l *ledger) describe(e *entry, a asked, attrs *callAttrs) {
	e.digest, e.whole, attrs.Request = a.digest, a.whole, a.bytes
	if a.question != nil {
		e.model, attrs.Stream = a.question.model, a.question.stream
	}
	switch {
	case a.who.span != "":
		e.parent = a.who.span
		return
	case e.agent == nil && a.read:
		e.agent = l.agentOf(a)
	}
	if e.agent != nil {
		e.parent = l.place(e.agent, a.at, a.question)
	}
}

// retried finds the failed call of which this is another attempt.
func (l *ledger) retried(a asked) (attempt, bool) {
	list := l.failed[a.digest]
	if !a.whole || len(list) == 0 {
		return attempt{}, false
	}
	before := list[len(list)-1]
	if list = list[:len(list)-1]; len(list) == 0 {
		delete(l.failed, a.digest)
	} else {
		l.failed[a.digest] = list
	}
	return before, a.at.Sub(before.at) < retryWithin
}

// beat keeps the first part of an answer back for a moment: of a short one the end says
// the same, and most are over by then.
func (l *ledger) beat(b beat) {
	e := l.entries[b.call]
	switch {
	case e == nil:
		return
	case e.agent != nil:
		e.agent.last = b.at
	}
	if e.heard || e.first != nil {
		l.goesOn(e, b)
		return
	}
	e.first = &b
	l.begun = append(l.begun, e)
}

// tellBegun tells of the answers that have begun and go on.
func (l *ledger) tellBegun() {
	for _, e := range l.begun {
		if e.first != nil {
			l.goesOn(e, *e.first)
		}
	}
	clear(l.begun)
	l.begun = l.begun[:0]
}

func (l *ledger) goesOn(e *entry, b beat) {
	e.first = nil
	event := telemetry.Event{Type: telemetry.SpanUpdate, SpanID: e.span}
	if !e.heard {
		e.heard = true
		event.CallID = l.callID(e, b.requestID)
		event.Attrs = telemetry.Attrs(callAttrs{Status: b.status, TTFB: milliseconds(b.ttfb)})
	} else {
		event.Attrs = telemetry.Attrs(callAttrs{Answer: b.bytes})
	}
	l.send(event, b.at)
}

// callID gives an id that tells the call from all others. One that came before,
// as those of stubs do, would make two calls one.
func (l *ledger) callID(e *entry, id string) string {
	if id == "" {
		return ""
	}
	if of, known := l.callIDs[id]; known && of.span != e.span {
		return ""
	}
	if len(l.callIDs) >= maxCallIDs {
		clear(l.callIDs)
	}
	l.callIDs[id] = e
	return id
}

func (l *ledger) done(d done) {
	e := l.entries[d.call]
	if e == nil {
		return
	}
	delete(l.entries, d.call)
	e.first = nil
	r := &d.reply
	event := telemetry.Event{
		Type: telemetry.SpanEnd, SpanID: e.span, Status: telemetry.StatusOK,
		DurationMS: telemetry.F(milliseconds(d.at.Sub(d.call.began))), Counters: r.counters(),
	}
	attrs := callAttrs{
		Status: d.status, TTFB: milliseconds(d.ttfb), RetryAfter: d.retryAfter.Seconds(), Finish: r.finish,
		ErrorType: r.errorType, ErrorCode: r.errorCode, ToolCalls: r.toolCalls, Answer: d.bytes, Coding: d.coding,
	}
	if r.model != e.model {
		attrs.Model = r.model
		if e.model == "" {
			event.Name = r.model
		}
	}
	event.Status, event.Error = verdict(&d)
	event.Attrs = telemetry.Attrs(attrs)
	event.CallID = l.callID(e, r.id)
	if !e.heard { // the request's id is told first, as the last one told stays with the span
		if id := l.callID(e, d.requestID); id != "" {
			l.send(telemetry.Event{Type: telemetry.SpanUpdate, SpanID: e.span, CallID: id}, d.at)
		}
	}
	l.send(event, d.at)
	if d.coding != "" && !l.codings[d.coding] && len(l.codings) < 8 {
		l.codings[d.coding] = true
		l.warn(d.at, "gateway: answers in the content coding "+d.coding+" pass unread: their tokens are not known")
	}
	if event.Status != telemetry.StatusOK && e.whole && (d.cancelled || tryAgain(d.status)) {
		if len(l.failed) >= maxFailed {
			clear(l.failed)
		}
		l.failed[e.digest] = append(l.failed[e.digest], attempt{entry: e, at: d.at})
	}
	if e.agent != nil {
		l.concluded(e.agent, &d, event.Status, event.Error)
	}
}

// tryAgain tells whether clients repeat a request after this status.
func tryAgain(status int) bool {
	switch status {
	case 0, http.StatusOK, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return true // 200: the answer broke off, or had an error in it
	}
	return status >= 500
}

// verdict is the status of a call's span, and what went wrong.
func verdict(d *done) (status, fault string) {
	switch {
	case d.cancelled && d.status < 400: // one who got an error need not read all of it
		return telemetry.StatusCancelled, ""
	case d.failure != "" && !d.cancelled:
		fault = d.failure
		if d.status != 0 {
			fault = fmt.Sprintf("HTTP %d, but %s", d.status, d.failure)
		} else {
			fault = "no answer: " + fault
		}
	case d.status >= 400:
		fault = fmt.Sprintf("HTTP %d", d.status)
	case d.reply.failed:
		fault = "the answer is an error"
	default:
		return telemetry.StatusOK, ""
	}
	if d.reply.errorType != "" {
		fault += " (" + d.reply.errorType + ")"
	} else if d.reply.errorCode != "" {
		fault += " (" + d.reply.errorCode + ")"
	}
	if d.retryAfter > 0 {
		fault += fmt.Sprintf(", to be tried again after %g s", d.retryAfter.Seconds())
	}
	return telemetry.StatusError, fault
}

// finish ends what is open.
func (l *ledger) finish(now time.Time) {
	l.tellBegun()
	for c, e := range l.entries { // calls whose end found the inbox full
		delete(l.entries, c)
		l.send(telemetry.Event{Type: telemetry.SpanEnd, SpanID: e.span, Status: telemetry.StatusCancelled}, now)
	}
	for a := range l.live {
		l.leave(a)
	}
	if n := l.lost.Load(); n > 0 {
		l.warn(now, fmt.Sprintf("gateway: %d reports on calls were lost, as recording was too slow", n))
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// hashed is a short form of text that is not to be kept.
func hashed(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		_, _ = h.Write([]byte(part))
		_, _ = h.Write([]byte{0})
	}
	return string(h.Sum(nil)[:16])
}
