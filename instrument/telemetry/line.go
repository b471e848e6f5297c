package telemetry

import (
	"bytes"
	"encoding/json"
	"sort"
	"strconv"
)

// Stamp completes an event as obsrun took it in: source and arrival time, and ts
// where the event has none. Raw becomes the line as it stands in the journal;
// what the producer wrote stays as it was, in front.
func (e *Event) Stamp(source string, recvMS int64, ts float64) {
	e.Raw = e.AppendStamped(nil, source, recvMS, ts)
}

// AppendStamped is Stamp for who gathers lines: it appends the line to b, without a
// newline. What the event was decoded from can be used again: it aliases the new line
// in place of that.
func (e *Event) AppendStamped(b []byte, source string, recvMS int64, ts float64) []byte {
	e.Source, e.RecvMS = source, N(recvMS)
	if e.Raw == nil {
		if !e.TS.OK {
			e.TS = F(ts)
		}
		return e.appendLine(b)
	}
	begin := len(b)
	b = e.appendRaw(b, ts)
	e.Raw = b[begin:len(b):len(b)]
	return b
}

// appendRaw appends the line that came, stamped, and has the texts move there.
func (e *Event) appendRaw(b []byte, ts float64) []byte {
	line := trim(e.Raw)
	begin := len(b)
	if bytes.IndexByte(line, '\n') >= 0 || bytes.IndexByte(line, '\r') >= 0 {
		e.move(line, bytes.Clone(line))
		var compact bytes.Buffer
		if json.Compact(&compact, line) == nil {
			line = compact.Bytes()
		}
	}
	body := line[:len(line)-1]
	for last := body[len(body)-1]; last == ' ' || last == '\t'; last = body[len(body)-1] {
		body = body[:len(body)-1]
	}
	b = append(b, body...)
	e.move(body, b[begin:])
	sep := byte(',')
	if len(body) == 1 {
		sep = ' '
	}
	if !e.hasTS() {
		e.TS = F(ts)
		b = append(b, sep)
		b = append(b, `"ts":`...)
		b = appendSeconds(b, ts)
		sep = ','
	}
	b = append(b, sep)
	b = append(b, `"source":`...)
	b = appendText(b, e.Source)
	b = append(b, `,"recv_ms":`...)
	b = strconv.AppendInt(b, e.RecvMS.N, 10)
	return append(b, '}')
}

// hasTS tells whether the line has a ts, be it a number or not: a second one
// would make two keys of it.
func (e *Event) hasTS() bool {
	if e.TS.OK {
		return true
	}
	for m := (members{b: e.Raw}); m.next(); {
		if string(m.key) == `"ts"` {
			return true
		}
	}
	return false
}

// Line gives the event as one line without newline: Raw, or made from the
// fields. It decodes to the same event.
func (e *Event) Line() []byte {
	if e.Raw != nil {
		return e.Raw
	}
	return e.appendLine(nil)
}

func (e *Event) appendLine(b []byte) []byte {
	l := lineWriter{b: append(b, '{'), begin: len(b) + 1}
	l.text("event", string(e.Type))
	l.text("span_id", e.SpanID)
	l.text("parent", e.Parent)
	l.text("component", e.Component)
	l.text("name", e.Name)
	l.text("kind", e.Kind)
	l.text("phase", e.Phase)
	l.text("path", e.Path)
	l.text("level", e.Level)
	l.text("status", e.Status)
	l.text("error", e.Error)
	l.text("message", e.Message)
	l.text("call_id", e.CallID)
	l.number("duration_ms", e.DurationMS)
	l.number("wall_ms", e.WallMS)
	l.number("idle_ms", e.IdleMS)
	l.count("tokens", e.Tokens)
	l.count("input_tokens", e.Input)
	l.count("output_tokens", e.Output)
	l.count("cached_tokens", e.Cached)
	l.number("cost_usd", e.CostUSD)
	l.count("tool_uses", e.ToolUses)
	l.text("tokens_scope", e.TokensScope)
	if len(e.Counts) > 0 {
		for _, key := range sortedKeys(e.Counts) {
			l.number(key, F(e.Counts[key]))
		}
	}
	l.object("attrs", e.Attrs)
	l.object("evidence", e.Evidence)
	if e.TS.OK {
		l.key("ts")
		l.b = appendSeconds(l.b, e.TS.F)
	}
	l.text("source", e.Source)
	l.count("recv_ms", e.RecvMS)
	return append(l.b, '}')
}

// lineWriter appends the members of an object. What is absent is left out.
type lineWriter struct {
	b     []byte
	begin int // behind the opening brace
}

func (l *lineWriter) key(key string) {
	if len(l.b) > l.begin {
		l.b = append(l.b, ',')
	}
	l.b = append(appendText(l.b, key), ':')
}

func (l *lineWriter) text(key, value string) {
	if value != "" {
		l.key(key)
		l.b = appendText(l.b, value)
	}
}

func (l *lineWriter) number(key string, f Float) {
	if f.OK {
		l.key(key)
		l.b = appendFloat(l.b, f.F)
	}
}

func (l *lineWriter) count(key string, n Int) {
	if n.OK {
		l.key(key)
		l.b = strconv.AppendInt(l.b, n.N, 10)
	}
}

func (l *lineWriter) object(key string, v json.RawMessage) {
	if len(v) > 0 {
		l.key(key)
		l.b = append(l.b, v...)
	}
}

func sortedKeys(m map[string]float64) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

// appendSeconds writes a time without an exponent, at most to the microsecond.
func appendSeconds(b []byte, seconds float64) []byte {
	b = strconv.AppendFloat(b, seconds, 'f', 6, 64)
	b = bytes.TrimRight(b, "0")
	return bytes.TrimSuffix(b, []byte("."))
}

func appendFloat(b []byte, f float64) []byte {
	if f == float64(int64(f)) {
		return strconv.AppendInt(b, int64(f), 10)
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64)
}

// appendText writes s as a JSON string. json.Marshal replaces what is not UTF-8,
// so a line is always valid.
func appendText(b []byte, s string) []byte {
	plain := true
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f || c == '<' || c == '>' || c == '&' {
			plain = false
			break
		}
	}
	if plain {
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	quoted, _ := json.Marshal(s)
	return append(b, quoted...)
}

// Attrs makes the attrs of an event from a Go value, a map or a struct. What
// cannot be said in JSON gives no attrs.
func Attrs(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil || len(b) == 0 || b[0] != '{' {
		return nil
	}
	return b
}
