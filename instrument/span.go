package instrument

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// Options say more of a span than its name. The zero value is fine.
type Options struct {
	// Kind is what sort of work it is. Without it the span is a task, which is
	// no agent.
	Kind             string
	Component, Phase string
	// ID is for a span that others name too; by default an id is minted.
	ID string
	// Parent is the id of the span that this one hangs under; by default that in
	// the context.
	Parent string
	// CallID is the provider's response or request id of an LLM call.
	CallID string
	Attrs  map[string]any
	// At is when it happened; by default now.
	At time.Time
}

// Usage is what a piece of work consumed.
type Usage struct {
	// Total is for tokens of which is not known whether they were input or
	// output; it is added to those.
	Total int64
	// Input includes Cached.
	Input, Output, Cached int64
	// CostUSD is in US dollars.
	CostUSD float64
}

// Outcome is how a span ended.
type Outcome struct {
	// Err makes the status error, or cancelled where it is context.Canceled.
	Err error
	// Status is one of telemetry's; by default it follows from Err.
	Status string
	// At is when it ended; by default now.
	At time.Time
	// Duration is how long it took; by default the time since its start.
	Duration time.Duration
}

// Span is a piece of work. A nil Span does nothing. Its methods may be called
// from any goroutine.
type Span struct {
	client  *Client
	id      string
	outside bool // started by another process, so not ours to start or end

	mu   sync.Mutex
	made telemetry.Event // what every start of it says
	open bool
	// waiting is an open span that was queued and not started.
	waiting bool
	// begun is when the current attempt started or was queued.
	begun    time.Time
	counters telemetry.Counters
	unsplit  int64 // tokens that were reported as a total
}

func newSpan(ctx context.Context, name string, o Options) *Span {
	enclosing := Current(ctx)
	if enclosing == nil {
		return nil
	}
	s := &Span{client: enclosing.client, id: cut(o.ID, maxName)}
	if s.id == "" {
		s.id = mintID()
	}
	parent := o.Parent
	if parent == "" {
		parent = enclosing.id
	}
	s.made = telemetry.Event{
		SpanID: s.id, Parent: parent, Name: name, Component: o.Component, Kind: o.Kind, Phase: o.Phase,
		CallID: o.CallID, Attrs: encodeAttrs(o.Attrs),
	}
	return s
}

// Start begins a span under the one in ctx, and gives a context in which it is
// the enclosing one. Outside obsrun it returns ctx and nil.
func Start(ctx context.Context, name string, o Options) (context.Context, *Span) {
	s := newSpan(ctx, name, o)
	if s == nil {
		return ctx, nil
	}
	s.begin(telemetry.SpanStart, o.At)
	return context.WithValue(ctx, contextKey{}, s), s
}

// Queue announces a span that waits; its Start begins it.
func Queue(ctx context.Context, name string, o Options) *Span {
	s := newSpan(ctx, name, o)
	if s != nil {
		s.begin(telemetry.SpanQueued, o.At)
	}
	return s
}

// Start begins a span that waited, or a new attempt of one that ended, and gives
// a context in which it is the enclosing one.
func (s *Span) Start(ctx context.Context) context.Context {
	if s == nil {
		return ctx
	}
	s.begin(telemetry.SpanStart, time.Time{})
	return context.WithValue(ctx, contextKey{}, s)
}

func (s *Span) begin(event telemetry.Type, at time.Time) {
	if s.outside {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = s.at(at)
	s.open, s.waiting = true, event == telemetry.SpanQueued
	s.counters, s.unsplit = telemetry.Counters{}, 0
	e := s.made
	e.Type, e.TS = event, seconds(s.begun)
	s.client.send(e)
}

func (s *Span) at(t time.Time) time.Time {
	if t.IsZero() {
		return s.client.Now()
	}
	return t
}

// ID is the span's id; empty outside obsrun.
func (s *Span) ID() string {
	if s == nil {
		return ""
	}
	return s.id
}

// Tokens adds tokens of which is not known whether they were input or output.
func (s *Span) Tokens(n int64) { s.Use(Usage{Total: n}) }

// Use adds what was consumed. Negative figures count as 0.
func (s *Span) Use(u Usage) {
	s.report(telemetry.Event{}, func(k *telemetry.Counters) {
		add(&k.Input, u.Input)
		add(&k.Output, u.Output)
		add(&k.Cached, u.Cached)
		if u.CostUSD > 0 && !math.IsInf(u.CostUSD, 0) {
			k.CostUSD = telemetry.F(k.CostUSD.F + u.CostUSD)
		}
		s.unsplit += max(u.Total, 0)
		if s.unsplit > 0 {
			k.Tokens = telemetry.N(s.unsplit + k.Input.N + k.Output.N)
		}
	})
}

// ToolUses adds uses of tools.
func (s *Span) ToolUses(n int64) {
	s.report(telemetry.Event{}, func(k *telemetry.Counters) { add(&k.ToolUses, n) })
}

func add(counter *telemetry.Int, n int64) {
	if n > 0 {
		*counter = telemetry.N(counter.N + n)
	}
}

// Update reports activity: a message for people, attributes for programs. Either
// may be empty.
func (s *Span) Update(message string, attrs map[string]any) {
	if s == nil {
		return
	}
	s.report(telemetry.Event{Message: message, Attrs: encodeAttrs(attrs)}, nil)
}

// report sends an update with the totals, after count changed them.
func (s *Span) report(e telemetry.Event, count func(*telemetry.Counters)) {
	if s == nil || s.id == "" {
		return
	}
	s.mu.Lock() // held over the send, so that totals go out in the order in which they grew
	defer s.mu.Unlock()
	if count != nil {
		count(&s.counters)
	}
	e.Type, e.SpanID, e.Counters, e.TS = telemetry.SpanUpdate, s.id, s.counters, seconds(s.client.Now())
	s.client.send(e)
}

// End ends the span: ok without an error, cancelled with context.Canceled. A
// second end does nothing.
func (s *Span) End(err error) { s.Finish(Outcome{Err: err}) }

// Finish ends the span as o says. A second end does nothing.
func (s *Span) Finish(o Outcome) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		return
	}
	s.open = false
	at := s.at(o.At)
	duration := o.Duration
	if duration == 0 && !s.waiting {
		duration = max(at.Sub(s.begun), 0)
	}
	e := telemetry.Event{
		Type: telemetry.SpanEnd, SpanID: s.id, Status: o.Status, Counters: s.counters,
		DurationMS: millis(duration), TS: seconds(at),
	}
	if e.Status == "" {
		e.Status = status(o.Err)
	}
	if o.Err != nil && e.Status == telemetry.StatusError {
		e.Error = errorText(o.Err)
	}
	s.client.send(e)
}

func status(err error) string {
	switch {
	case err == nil:
		return telemetry.StatusOK
	case errors.Is(err, context.Canceled):
		return telemetry.StatusCancelled
	}
	return telemetry.StatusError
}

// Env gives the environment variables, as KEY=value, that hang a child process
// under this span: to be appended to os.Environ(). Nil outside obsrun.
func (s *Span) Env() []string {
	if s == nil || s.id == "" {
		return nil
	}
	env := []string{"OBSRUN_PARENT_SPAN=" + s.id}
	if s.client.RunID != "" {
		env = append(env, "TRACEPARENT="+traceparent(s.client.RunID, s.id))
	}
	return env
}

// traceparent is the W3C trace context of a span.
func traceparent(runID, spanID string) string {
	trace, span := telemetry.TraceID(runID), telemetry.TraceSpanID(spanID)
	return "00-" + hex.EncodeToString(trace[:]) + "-" + hex.EncodeToString(span[:]) + "-01"
}

func mintID() string {
	var id [8]byte
	rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}
