package otlp

import (
	"cmp"
	"encoding/hex"
	"slices"
	"strings"

	trace "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// maxMessage bounds an error's or log record's text, in bytes.
const maxMessage = 500

// span is an OTLP span with what is needed to tell of it.
type span struct {
	*trace.Span
	id, parent string // hex; parent empty where there is none
	attrs      attributes
	resource   attributes
	row        *kindRow
	kind       string
	usage      telemetry.Counters
	hasUsage   bool
}

// takeSpans turns the spans of one request into events, parents first.
func (r *Receiver) takeSpans(data *trace.TracesData) result {
	var res result
	var spans []*span
	for _, rs := range data.ResourceSpans {
		resource := attributesOf(rs.GetResource().GetAttributes())
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				if s == nil || !validID(s.TraceId, 16) || !validID(s.SpanId, 8) {
					res.reject("a span without a valid trace_id (16 bytes) and span_id (8 bytes), not all zero")
					continue
				}
				spans = append(spans, newSpan(s, resource))
			}
		}
	}
	slices.SortStableFunc(spans, func(a, b *span) int { return cmp.Compare(a.StartTimeUnixNano, b.StartTimeUnixNano) })

	r.mu.Lock()
	defer r.mu.Unlock()
	r.mark(spans)
	r.prepareClaude(spans)
	for _, s := range spans {
		r.takeSpan(s)
	}
	r.odd(res, "spans")
	return res
}

func validID(id []byte, size int) bool {
	return len(id) == size && slices.ContainsFunc(id, func(b byte) bool { return b != 0 })
}

func newSpan(s *trace.Span, resource attributes) *span {
	n := &span{Span: s, id: hex.EncodeToString(s.SpanId), attrs: attributesOf(s.Attributes), resource: resource}
	if validID(s.ParentSpanId, 8) {
		n.parent = hex.EncodeToString(s.ParentSpanId)
	}
	if n.parent == n.id {
		n.parent = ""
	}
	n.row = kindOf(s.Name, n.attrs)
	n.kind = n.row.kind
	// A run that another obsrun exports says it itself, and has no more to say.
	if kind := n.attrs.text("obsrun.kind"); kind != "" {
		n.kind = cut(kind, maxName)
	}
	if n.kind == telemetry.KindLLM || telemetry.IsAgent(n.kind) {
		n.usage, n.hasUsage = usageOf(n.attrs)
	}
	if n.own() {
		n.usage, n.hasUsage = n.ownUsage()
	}
	return n
}

// mark notes below which spans metered inference lies. Exporters send children
// before parents or with them, if in any order, since a batch is sorted by
// instrumentation.
func (r *Receiver) mark(spans []*span) {
	byID := make(map[string]*span, len(spans))
	for _, s := range spans {
		byID[s.id] = s
	}
	walked := make(map[string]bool) // also ends circles
	for _, s := range spans {
		if !r.mem.metered.has(s.id) && (s.kind != telemetry.KindLLM || !s.usage.Tokens.OK || s.pending()) {
			continue
		}
		for up := s.parent; up != "" && !walked[up]; {
			walked[up] = true
			r.mem.metered.set(up, struct{}{})
			above := byID[up]
			if above == nil {
				break
			}
			up = above.parent
		}
	}
}

// pending tells Logfire's pending spans (logfire.span_type), which are sent when
// a span starts: as a child of that span, with the span's own parent in
// logfire.pending_parent_id.
func (s *span) pending() bool { return s.attrs.text("logfire.span_type") == "pending_span" }

func (r *Receiver) takeSpan(s *span) {
	switch {
	case s.pending():
		r.takePending(s)
		return
	case s.attrs.text("logfire.span_type") == "log":
		r.takeLogfireLog(s)
		return
	}
	if s.EndTimeUnixNano != 0 && !r.mem.once(keyOf(s.TraceId, s.SpanId)) {
		return
	}
	if r.mem.metered.has(s.id) && !s.own() { // whose sums are sums of all below
		s.usage, s.hasUsage = telemetry.Counters{}, false
		if s.kind == telemetry.KindLLM {
			s.kind = telemetry.KindTask // it wraps the calls below it
		}
	}
	if s.hasUsage && s.usage.Tokens.OK {
		r.mem.reported(s.attrs, s.resource)
	}
	if s.row.convention == claudeCode {
		r.claudeSpan(s)
	}

	start := telemetry.Event{
		Type: telemetry.SpanStart, Source: telemetry.SourceOTLP, SpanID: s.id, Parent: s.parent,
		Name: s.row.nameOf(s.Name, s.attrs), Kind: s.kind, TS: seconds(s.StartTimeUnixNano),
		Component: cut(s.attrs.text("obsrun.component"), maxName), Phase: cut(s.attrs.text("obsrun.phase"), maxName),
		Attrs: attrsOf(s.attrs, serviceOf(s.resource)),
	}
	if !start.TS.OK {
		start.TS = seconds(s.EndTimeUnixNano)
	}
	if s.kind == telemetry.KindLLM {
		start.CallID = callID(s.attrs)
	}
	if s.EndTimeUnixNano == 0 { // it still runs: some exporters tell of that
		r.emit(start)
		return
	}
	end := telemetry.Event{
		Type: telemetry.SpanEnd, Source: telemetry.SourceOTLP, SpanID: s.id, TS: seconds(s.EndTimeUnixNano),
		Status: telemetry.StatusOK, DurationMS: duration(s.StartTimeUnixNano, s.EndTimeUnixNano),
		Counters: s.usage,
	}
	if text, failed := r.failure(s); failed {
		end.Status, end.Error = telemetry.StatusError, text
	}
	if s.own() {
		r.emit(ownEvents(s, start, end)...)
		return
	}
	r.emit(start, end)
	if s.row.convention == claudeCode {
		r.claudeEnded(s, &end)
	}
}

func (r *Receiver) takePending(s *span) {
	if s.parent == "" || r.mem.ended.has(keyOf(s.TraceId, s.ParentSpanId)) {
		return
	}
	parent := strings.ToLower(s.attrs.text("logfire.pending_parent_id"))
	if raw, err := hex.DecodeString(parent); err != nil || !validID(raw, 8) || parent == s.parent {
		parent = ""
	}
	r.emit(telemetry.Event{
		Type: telemetry.SpanStart, Source: telemetry.SourceOTLP, SpanID: s.parent, Parent: parent,
		Name: s.row.nameOf(strings.TrimSuffix(s.Name, " (pending)"), s.attrs), Kind: s.kind,
		TS: seconds(s.StartTimeUnixNano), Attrs: attrsOf(s.attrs, serviceOf(s.resource)),
	})
}

// takeLogfireLog takes what Logfire sends as spans of no length: log messages,
// with a level on OpenTelemetry's scale of severities.
func (r *Receiver) takeLogfireLog(s *span) {
	level, ok := s.attrs.number("logfire.level_num")
	if !ok || !r.mem.once(keyOf(s.TraceId, s.SpanId)) {
		return
	}
	message := s.attrs.first("logfire.msg_template") // the message may hold content
	if message == "" {
		message = s.Name
	}
	r.show(int32(level), message, s.parent, seconds(s.StartTimeUnixNano))
}

// failure tells whether the span failed, and why: the status's description,
// else the message of an exception that was recorded, else the type of error.
func (r *Receiver) failure(s *span) (string, bool) {
	if s.kind == telemetry.KindTool {
		if text, ok := r.toolFailure(s); ok {
			return text, true
		}
	}
	if s.GetStatus().GetCode() != trace.Status_STATUS_CODE_ERROR {
		return "", false
	}
	if s.row.convention == claudeCode && strings.HasPrefix(s.Name, "claude_code.tool.") {
		return "", false // it is the tool's, which says it
	}
	text := s.GetStatus().GetMessage()
	for i := len(s.Events) - 1; i >= 0 && text == ""; i-- {
		if s.Events[i].GetName() == "exception" {
			a := attributesOf(s.Events[i].GetAttributes())
			text = a.first("exception.message", "exception.type")
		}
	}
	if text == "" {
		text = s.attrs.first("error.type", "error")
	}
	if text == "" {
		text = "failed"
	}
	return cut(text, maxMessage), true
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
