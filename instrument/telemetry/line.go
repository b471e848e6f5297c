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
	e.Source, e.RecvMS = source, N(recvMS)
	if e.Raw == nil {
		if !e.TS.OK {
			e.TS = F(ts)
		}
		e.Raw = e.appendLine(make([]byte, 0, 256))
		return
	}
	line := bytes.TrimSpace(e.Raw)
	if bytes.ContainsAny(line, "\r\n") {
		var compact bytes.Buffer
		if json.Compact(&compact, line) == nil {
			line = compact.Bytes()
		}
	}
	body := bytes.TrimRight(line[:len(line)-1], " \t")
	out := make([]byte, 0, len(body)+64)
	out = append(out, body...)
	sep := byte(',')
	if len(body) == 1 {
		sep = ' '
	}
	if !e.hasTS() {
		e.TS = F(ts)
		out = append(out, sep)
		out = append(out, `"ts":`...)
		out = appendSeconds(out, ts)
		sep = ','
	}
	out = append(out, sep)
	out = append(out, `"source":`...)
	out = appendText(out, source)
	out = append(out, `,"recv_ms":`...)
	out = strconv.AppendInt(out, recvMS, 10)
	e.Raw = append(out, '}')
}

// hasTS tells whether the line has a ts, be it a number or not: a second one
// would make two keys of it.
func (e *Event) hasTS() bool {
	if e.TS.OK {
		return true
	}
	found := false
	members(e.Raw, func(key, _ []byte) { found = found || string(key) == `"ts"` })
	return found
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
	b = append(b, '{')
	put := func(key string) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = appendText(b, key)
		b = append(b, ':')
	}
	str := func(key, value string) {
		if value != "" {
			put(key)
			b = appendText(b, value)
		}
	}
	num := func(key string, f Float) {
		if f.OK {
			put(key)
			b = appendFloat(b, f.F)
		}
	}
	cnt := func(key string, n Int) {
		if n.OK {
			put(key)
			b = strconv.AppendInt(b, n.N, 10)
		}
	}
	raw := func(key string, v json.RawMessage) {
		if len(v) > 0 {
			put(key)
			b = append(b, v...)
		}
	}
	str("event", string(e.Type))
	str("span_id", e.SpanID)
	str("parent", e.Parent)
	str("component", e.Component)
	str("name", e.Name)
	str("kind", e.Kind)
	str("phase", e.Phase)
	str("path", e.Path)
	str("level", e.Level)
	str("status", e.Status)
	str("error", e.Error)
	str("message", e.Message)
	str("call_id", e.CallID)
	num("duration_ms", e.DurationMS)
	num("wall_ms", e.WallMS)
	num("idle_ms", e.IdleMS)
	cnt("tokens", e.Tokens)
	cnt("input_tokens", e.Input)
	cnt("output_tokens", e.Output)
	cnt("cached_tokens", e.Cached)
	num("cost_usd", e.CostUSD)
	cnt("tool_uses", e.ToolUses)
	str("tokens_scope", e.TokensScope)
	for _, key := range sortedKeys(e.Counts) {
		num(key, F(e.Counts[key]))
	}
	raw("attrs", e.Attrs)
	raw("evidence", e.Evidence)
	if e.TS.OK {
		put("ts")
		b = appendSeconds(b, e.TS.F)
	}
	str("source", e.Source)
	cnt("recv_ms", e.RecvMS)
	return append(b, '}')
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
