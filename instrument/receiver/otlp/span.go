package otlp

import (
	"cmp"
	"encoding/hex"
	"strings"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// maxMessage bounds an error's or log record's text, in bytes.
const maxMessage = 500

// span is an OTLP span with what is needed to tell of it.
type span struct {
	message    string // as it came: its events and links are read from there
	name       string
	trace      uint64 // see traceKey
	own64, up  uint64 // its id and its parent's, 0 where there is none
	id, parent string // the same in hex, parent empty where there is none
	start, end uint64 // Unix nanoseconds, 0 where it is not told
	failed     bool
	why        string // of its status
	attrs      attributes
	from       *sender

	row      *kindRow
	kind     string
	usage    telemetry.Counters
	hasUsage bool
}

// read takes in a Span. Without valid ids it is none that can be told of.
func (s *span) read(message string) (valid bool, err error) {
	var trace, id, parent string
	s.message = message
	f := fields{rest: message}
	for f.next() {
		switch f.tag {
		case tagOf(1, bytesType):
			trace = f.data
		case tagOf(2, bytesType):
			id = f.data
		case tagOf(4, bytesType):
			parent = f.data
		case tagOf(5, bytesType):
			s.name = f.data
		case tagOf(7, fixed64):
			s.start = f.num
		case tagOf(8, fixed64):
			s.end = f.num
		case tagOf(9, bytesType):
			if err := s.attrs.read(f.data); err != nil {
				return false, err
			}
		case tagOf(15, bytesType):
			if err := s.readStatus(f.data); err != nil {
				return false, err
			}
		}
	}
	if f.bad || !validID(trace, 16) || !validID(id, 8) {
		return false, f.err()
	}
	s.name = strings.ToValidUTF8(s.name, "\uFFFD")
	s.trace, s.own64 = traceKey(trace), number64(id)
	if validID(parent, 8) && parent != id {
		s.up = number64(parent)
	}
	return true, nil
}

func (s *span) readStatus(message string) error {
	const failed = 2 // STATUS_CODE_ERROR
	f := fields{rest: message}
	for f.next() {
		switch f.tag {
		case tagOf(2, bytesType):
			s.why = strings.ToValidUTF8(f.data, "\uFFFD")
		case tagOf(3, varintType):
			s.failed = f.num == failed
		}
	}
	return f.err()
}

func (s *span) key() spanKey { return keyOf(s.trace, s.own64) }

func validID(id string, size int) bool { return len(id) == size && strings.Trim(id, "\x00") != "" }

// describe finds out what the span is.
func (s *span) describe() {
	s.row = kindOf(s.name, &s.attrs)
	s.kind = s.row.kind
	// A run that another obsrun exports says it itself, and has no more to say.
	if kind := s.attrs.text("obsrun.kind"); kind != "" {
		s.kind = cut(kind, maxName)
	}
	if s.kind == telemetry.KindLLM || telemetry.IsAgent(s.kind) {
		s.usage, s.hasUsage = usageOf(&s.attrs)
	}
	if s.own() {
		s.usage, s.hasUsage = s.ownUsage()
	}
}

// takeSpans turns the spans of one request into events, parents first.
func (r *Receiver) takeSpans(b *batch) result {
	spans := b.inOrder()
	r.sparse = b.sparse
	r.mark(b)
	r.prepareClaude(spans)
	for _, s := range spans {
		r.takeSpan(s, b)
	}
	r.odd(b.res, "spans")
	return b.res
}

// mark notes below which spans metered inference lies. Exporters send children
// before parents or with them, if in any order, since a batch is sorted by
// instrumentation.
func (r *Receiver) mark(b *batch) {
	for _, s := range b.order {
		if !r.mem.metered.has(s.own64) && (s.kind != telemetry.KindLLM || !s.usage.Tokens.OK || s.pending()) {
			continue
		}
		for up := s.up; up != 0; {
			if _, ok := b.walked[up]; ok { // which also ends circles
				break
			}
			b.walked[up] = struct{}{}
			r.mem.metered.set(up, struct{}{})
			above := b.span(up)
			if above == nil {
				break
			}
			up = above.up
		}
	}
}

// pending tells Logfire's pending spans (logfire.span_type), which are sent when
// a span starts: as a child of that span, with the span's own parent in
// logfire.pending_parent_id.
func (s *span) pending() bool { return s.attrs.text("logfire.span_type") == "pending_span" }

func (r *Receiver) takeSpan(s *span, b *batch) {
	switch {
	case s.pending():
		r.takePending(s, b)
		return
	case s.attrs.text("logfire.span_type") == "log":
		r.takeLogfireLog(s)
		return
	}
	if s.end != 0 && !r.mem.once(s.key()) {
		return
	}
	if r.mem.metered.has(s.own64) && !s.own() { // whose sums are sums of all below
		s.usage, s.hasUsage = telemetry.Counters{}, false
		if s.kind == telemetry.KindLLM {
			s.kind = telemetry.KindTask // it wraps the calls below it
		}
	}
	if s.hasUsage && s.usage.Tokens.OK {
		r.mem.reported(&s.attrs, s.from)
	}
	if s.row.convention == claudeCode {
		r.claudeSpan(s)
	}

	if s.own() {
		var start, end telemetry.Event
		s.begin(&start, b)
		if s.end == 0 {
			r.emit(start)
			return
		}
		r.finish(&end, s)
		r.emit(ownEvents(s, start, end)...)
		return
	}
	s.begin(r.next(), b)
	r.made()
	if s.end == 0 { // it still runs: some exporters tell of that
		return
	}
	end := r.next()
	r.finish(end, s)
	r.made()
	if s.row.convention == claudeCode {
		r.claudeEnded(s, end.TS)
	}
}

// begin makes the event of the span's start, of one that is empty.
func (s *span) begin(e *telemetry.Event, b *batch) {
	e.Type, e.Source, e.SpanID, e.Parent = telemetry.SpanStart, telemetry.SourceOTLP, s.id, s.parent
	e.Name, e.Kind = s.row.nameOf(s.name, &s.attrs), s.kind
	e.Component, e.Phase = cut(s.attrs.text("obsrun.component"), maxName), cut(s.attrs.text("obsrun.phase"), maxName)
	e.Attrs = b.attrs(&s.attrs, s.from.service)
	if e.TS = seconds(s.start); !e.TS.OK {
		e.TS = seconds(s.end)
	}
	if s.kind == telemetry.KindLLM {
		e.CallID = callID(&s.attrs)
	}
}

// finish makes the event of its end, of one that is empty.
func (r *Receiver) finish(e *telemetry.Event, s *span) {
	e.Type, e.Source, e.SpanID, e.TS = telemetry.SpanEnd, telemetry.SourceOTLP, s.id, seconds(s.end)
	e.Status, e.DurationMS, e.Counters = telemetry.StatusOK, duration(s.start, s.end), s.usage
	if text, failed := r.failure(s); failed {
		e.Status, e.Error = telemetry.StatusError, text
	}
}

func (r *Receiver) takePending(s *span, b *batch) {
	if s.parent == "" || r.mem.ended.has(keyOf(s.trace, s.up)) {
		return
	}
	parent := strings.ToLower(s.attrs.text("logfire.pending_parent_id"))
	if raw, err := hex.DecodeString(parent); err != nil || !validID(string(raw), 8) || parent == s.parent {
		parent = ""
	}
	r.emit(telemetry.Event{
		Type: telemetry.SpanStart, Source: telemetry.SourceOTLP, SpanID: s.parent, Parent: parent,
		Name: s.row.nameOf(strings.TrimSuffix(s.name, " (pending)"), &s.attrs), Kind: s.kind,
		TS: seconds(s.start), Attrs: b.attrs(&s.attrs, s.from.service),
	})
}

// takeLogfireLog takes what Logfire sends as spans of no length: log messages,
// with a level on OpenTelemetry's scale of severities.
func (r *Receiver) takeLogfireLog(s *span) {
	level, ok := s.attrs.number("logfire.level_num")
	if !ok || !r.mem.once(s.key()) {
		return
	}
	message := s.attrs.first("logfire.msg_template") // the message may hold content
	if message == "" {
		message = s.name
	}
	r.show(int(level), message, s.parent, seconds(s.start))
}

// failure tells whether the span failed, and why: the status's description,
// else the message of an exception that was recorded, else the type of error.
func (r *Receiver) failure(s *span) (string, bool) {
	if s.kind == telemetry.KindTool {
		if text, ok := r.toolFailure(s); ok {
			return text, true
		}
	}
	if !s.failed {
		return "", false
	}
	if s.row.convention == claudeCode && strings.HasPrefix(s.name, "claude_code.tool.") {
		return "", false // it is the tool's, which says it
	}
	text := s.why
	if text == "" {
		text = s.exception()
	}
	if text == "" {
		text = s.attrs.first("error.type", "error")
	}
	if text == "" {
		text = "failed"
	}
	return cut(text, maxMessage), true
}

// labelled reads what events and links alike are made of: the field 2, and attributes
// in the field of that number.
func labelled(message string, number uint64) (second string, attrs attributes) {
	f := fields{rest: message}
	for f.next() {
		switch f.tag {
		case tagOf(2, bytesType):
			second = f.data
		case tagOf(number, bytesType):
			_ = attrs.read(f.data)
		}
	}
	return second, attrs
}

// exception is the last message of an exception among the span's events.
func (s *span) exception() (text string) {
	for f := (fields{rest: s.message}); f.next(); {
		if f.tag != tagOf(11, bytesType) {
			continue
		}
		name, attrs := labelled(f.data, 3)
		if name == "exception" {
			text = cmp.Or(attrs.first("exception.message", "exception.type"), text)
		}
	}
	return text
}

// maxTime is where a time in nanoseconds cannot be one any more (year 2116).
const maxTime = 1 << 62

// seconds gives Unix nanoseconds as an event's ts, absent where there are none.
func seconds(nanos uint64) telemetry.Float {
	if nanos == 0 || nanos > maxTime {
		return telemetry.Float{}
	}
	return telemetry.F(float64(nanos/1000) / 1e6)
}

// duration in milliseconds; a negative one is 0.
func duration(start, end uint64) telemetry.Float {
	if start == 0 || start > maxTime || end > maxTime {
		return telemetry.Float{}
	}
	if end < start {
		return telemetry.F(0)
	}
	return telemetry.F(float64((end-start)/1000) / 1e3)
}
