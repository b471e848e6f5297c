package otlp

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// meaning is what a log record of a known name says.
type meaning int

const (
	nothing    meaning = iota
	call               // one LLM call ended
	failedCall         // one failed, after all attempts
	toolUse            // one use of a tool ended
	agentRun           // one agent ended
	problem            // something a person should read
)

// logRow says what log records of one name mean.
type logRow struct {
	convention string
	event      string // one that ends in "*" is a beginning
	meaning    meaning
	// when restricts a problem to an attribute's value.
	when, is string
	// text begins the message of a problem.
	text string
}

// logRows is in order of precedence. Records of other names are shown when
// their severity is WARN or more.
var logRows = []logRow{
	{claudeCode, "claude_code.api_request", call, "", "", ""},
	{claudeCode, "claude_code.api_error", failedCall, "", "", "API request failed"},
	{claudeCode, "claude_code.tool_result", toolUse, "", "", ""},
	{claudeCode, "claude_code.subagent_completed", agentRun, "", "", ""},
	{claudeCode, "claude_code.api_retries_exhausted", problem, "", "", "API request given up"},
	{claudeCode, "claude_code.api_refusal", problem, "", "", "API request refused by the model"},
	{claudeCode, "claude_code.internal_error", problem, "", "", "Claude Code: internal error"},
	{claudeCode, "claude_code.mcp_server_connection", problem, "status", "failed", "MCP server did not connect"},
	{claudeCode, "claude_code.compaction", problem, "success", "false", "compaction failed"},
	{claudeCode, "claude_code.*", nothing, "", "", ""},
	{geminiCLI, "gemini_cli.api_response", call, "", "", ""},
	{geminiCLI, "gemini_cli.api_error", failedCall, "", "", "API request failed"},
	{geminiCLI, "gemini_cli.tool_call", toolUse, "", "", ""},
	{geminiCLI, "gemini_cli.*", nothing, "", "", ""},
	{genAI, "gen_ai.*", nothing, "", "", ""}, // content
}

func logRowOf(event string) *logRow {
	for i := range logRows {
		row := &logRows[i]
		if event == row.event || strings.HasSuffix(row.event, "*") && strings.HasPrefix(event, row.event[:len(row.event)-1]) {
			return row
		}
	}
	return nil
}

// record is a log record with what is needed to tell of it.
type record struct {
	message  string // as it came
	attrs    attributes
	from     *sender
	severity uint64 // on OpenTelemetry's scale
	body     string // empty where it is no text
	event    string
	span     string // hex, empty without trace context
	ts       uint64 // Unix nanoseconds
}

// logBatch is the log records of one request.
type logBatch struct {
	records []record
	res     result
	sparse  bool
}

// read takes in LogsData.
func (b *logBatch) read(body string) error {
	f := fields{rest: body}
	for f.next() {
		if f.tag != tagOf(1, bytesType) {
			continue
		}
		var last *string
		scope := ""
		err := eachItem(f.data, func(from *sender, group *string, message string) error {
			if last != group {
				last = group
				scope, _ = descend(*group, 1, 1) // its name
			}
			if len(b.records) == maxItems {
				return errTooMany
			}
			n := record{message: message, from: from}
			if err := n.read(scope); err != nil {
				return err
			}
			b.records = append(b.records, n)
			return nil
		})
		if err != nil {
			return err
		}
	}
	b.sparse = len(body)/sparseFrom > len(b.records)
	return f.err()
}

// read takes in the LogRecord, which is of an instrumentation scope of that name.
func (l *record) read(scope string) error {
	var observed uint64
	var body value
	f := fields{rest: l.message}
	for f.next() {
		var err error
		switch f.tag {
		case tagOf(1, fixed64):
			l.ts = f.num
		case tagOf(2, varintType):
			l.severity = f.num
		case tagOf(5, bytesType):
			err = body.read(f.data)
		case tagOf(6, bytesType):
			err = l.attrs.read(f.data)
		case tagOf(10, bytesType):
			if l.span = ""; validID(f.data, 8) {
				l.span = hex.EncodeToString([]byte(f.data))
			}
		case tagOf(11, fixed64):
			observed = f.num
		case tagOf(12, bytesType):
			l.event = strings.ToValidUTF8(f.data, "\uFFFD")
		}
		if err != nil {
			return err
		}
	}
	l.ts = cmp.Or(l.ts, observed)
	l.body = body.string()
	// Claude Code has the short name in event.name, and the whole one in the body.
	if l.event == "" {
		l.event = l.attrs.text("event.name")
	}
	const prefix = "claude_code."
	if strings.HasPrefix(l.body, prefix) {
		l.event = l.body
	} else if strings.HasPrefix(scope, "com.anthropic.claude_code") && !strings.HasPrefix(l.event, prefix) {
		l.event = prefix + l.event
	}
	return f.err()
}

// takeLogs turns the log records of one request into events.
func (r *Receiver) takeLogs(b *logBatch) result {
	r.sparse = b.sparse
	for i := range b.records {
		r.takeLog(&b.records[i])
	}
	r.odd(b.res, "log records")
	return b.res
}

func (r *Receiver) takeLog(l *record) {
	row := logRowOf(l.event)
	if row == nil {
		if l.level() >= levelWarn && r.mem.once(l.key()) {
			message := l.body
			if message == "" {
				message = l.event
			}
			if text := l.attrs.first("exception.message", "exception.type"); text != "" {
				message = strings.TrimPrefix(message+": "+text, ": ")
			}
			r.show(l.level(), message, l.span, seconds(l.ts))
		}
		return
	}
	if row.meaning == nothing || row.when != "" && l.attrs.text(row.when) != row.is || !r.mem.once(l.key()) {
		return
	}
	switch row.meaning {
	case problem, failedCall:
		r.show(levelError, row.message(&l.attrs), l.span, seconds(l.ts))
	}
	switch row.meaning {
	case call, failedCall:
		r.logCall(l, row)
	case toolUse:
		r.logTool(l)
	case agentRun:
		r.logAgent(l)
	}
}

// message says what went wrong, from the attributes that are no content.
func (row *logRow) message(a *attributes) string {
	text := row.text
	if status, ok := a.number("status_code"); ok {
		text += fmt.Sprintf(" (%.0f)", status)
	}
	if why := a.first("error", "error_message", "error.message", "error_name", "error_code", "error_type"); why != "" {
		text += ": " + why
	}
	return cut(text, maxMessage)
}

// logCall tells of an LLM call. Where the record has trace context, a span of
// the same call comes too: then the record adds what the span does not say, and
// stands for it only if it never comes.
func (r *Receiver) logCall(l *record, row *logRow) {
	key := recordKey(&l.attrs)
	usage, _ := usageOf(&l.attrs)
	if usage.Tokens.OK {
		r.mem.reported(&l.attrs, l.from)
	}
	if key != "" && row.convention == claudeCode {
		if id, ok := r.mem.spans.get(key); ok {
			if usage.CostUSD.OK {
				r.emit(telemetry.Event{
					Type: telemetry.SpanUpdate, Source: telemetry.SourceOTLP, SpanID: id, TS: seconds(l.ts),
					Counters: telemetry.Counters{CostUSD: usage.CostUSD},
				})
			}
			return
		}
		if usage.CostUSD.OK {
			r.mem.costs.set(key, usage.CostUSD.F)
		}
	}
	if row.meaning == failedCall && l.span != "" && key == "" {
		return // the span says so itself
	}
	end := telemetry.Event{Status: telemetry.StatusOK, Counters: usage}
	if row.meaning == failedCall {
		end.Status, end.Error = telemetry.StatusError, row.message(&l.attrs)
	}
	name := l.attrs.first("model")
	r.logSpan(l, telemetry.Event{Kind: telemetry.KindLLM, Name: cut(name, maxName), CallID: callID(&l.attrs)}, end)
}

func (r *Receiver) logTool(l *record) {
	end := telemetry.Event{Status: telemetry.StatusOK}
	if l.attrs.isFalse("success") {
		end.Status = telemetry.StatusError
		end.Error = cut(l.attrs.first("error", "error_type"), maxMessage)
		if end.Error == "" {
			end.Error = "tool failed"
		}
	}
	if key := recordKey(&l.attrs); key != "" {
		if id, ok := r.mem.spans.get(key); ok {
			if end.Error != "" {
				end.Type, end.Source, end.SpanID, end.TS = telemetry.SpanEnd, telemetry.SourceOTLP, id, seconds(l.ts)
				r.emit(end)
			}
			return
		}
		if end.Error != "" {
			r.mem.failures.set(key, strings.Clone(end.Error))
		}
	}
	name := l.attrs.first("tool_name", "function_name")
	r.logSpan(l, telemetry.Event{Kind: telemetry.KindTool, Name: cut(name, maxName)}, end)
}

// logAgent tells of a subagent that ended. Its total_tokens is the size of its
// last request alone, no sum, so it is no usage.
func (r *Receiver) logAgent(l *record) {
	end := telemetry.Event{Status: telemetry.StatusOK}
	if n, ok := l.attrs.number("total_tool_uses"); ok && n >= 0 && n <= telemetry.MaxCount {
		end.ToolUses = telemetry.N(int64(n))
	}
	if l.span != "" {
		// The record stands on the span that started the agent, or on one below.
		for _, agent := range r.mem.homes[l.span] {
			if !agent.ended {
				end.TS, end.Attrs = seconds(l.ts), attrsOf(&l.attrs, "")
				r.endSubagent(agent, end)
				return
			}
		}
		return // its spans tell of it, and end it
	}
	r.logSpan(l, telemetry.Event{Kind: kindAgent, Name: cut(l.attrs.first("agent_type"), maxName)}, end)
}

// logSpan tells of something that a log record says is over, as a span.
func (r *Receiver) logSpan(l *record, start, end telemetry.Event) {
	key := recordKey(&l.attrs)
	id := l.hash()
	if key != "" {
		id = idOf(key)
	}
	start.Type, start.Source, start.SpanID, start.Parent = telemetry.SpanStart, telemetry.SourceOTLP, id, l.span
	end.Type, end.Source, end.SpanID = telemetry.SpanEnd, telemetry.SourceOTLP, id
	start.Attrs = attrsOf(&l.attrs, l.from.service)
	start.TS, end.TS = seconds(l.ts), seconds(l.ts)
	if ms, ok := l.attrs.number("duration_ms"); ok && ms >= 0 && ms < 1e12 {
		end.DurationMS = telemetry.F(ms)
		if nanos := uint64(ms * 1e6); nanos < l.ts {
			start.TS = seconds(l.ts - nanos)
		}
	}
	events := []telemetry.Event{start, end}
	if key != "" && l.span != "" {
		apart(&events[0])
		apart(&events[1])
		if r.mem.hold(key, events) {
			return
		}
	}
	r.emit(events...)
}

// maxShown is how many log records become log events; the rest is only counted.
const maxShown = 500

// show makes a log event of a log record.
func (r *Receiver) show(severity int, message, spanID string, ts telemetry.Float) {
	if severity < levelWarn {
		return
	}
	message = strings.TrimSpace(strings.ToValidUTF8(message, "\uFFFD"))
	if message == "" {
		return
	}
	r.mem.shown++
	if r.mem.shown > maxShown {
		return
	}
	level := "warn"
	if severity >= levelError {
		level = "error"
	}
	r.emit(telemetry.Event{
		Type: telemetry.Log, Source: telemetry.SourceOTLP, Level: level, SpanID: spanID, TS: ts, Message: cut(message, maxMessage),
	})
	if r.mem.shown == maxShown {
		r.warn(fmt.Sprintf("%d log records of severity WARN and above came by OTLP; further ones are not shown", maxShown))
	}
}

// Severities, on OpenTelemetry's scale.
const (
	levelWarn  = 13
	levelError = 17
)

// level is the severity; what is beyond the scale is none.
func (l *record) level() int {
	if l.severity > 1<<31-1 {
		return 0
	}
	return int(l.severity) // #nosec G115
}

// key is the hash, as no span has it.
func (l *record) key() spanKey {
	sum := sha256.Sum256([]byte(l.message))
	return spanKey(number64(string(sum[8:16])))
}

// hash is an id for what a record tells: the same when it is sent again.
func (l *record) hash() string { return idOf(l.message) }

// idOf makes a span id of 16 hex digits.
func idOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:8])
}

// attrsOf makes the attrs of an event.
func attrsOf(a *attributes, service string) json.RawMessage {
	if b := appendAttrs(nil, a, service); len(b) > 0 {
		return b
	}
	return nil
}
