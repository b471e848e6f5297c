package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// field says how one key of a line is read into an event.
type field struct {
	text   func(*Event) *string
	count  func(*Event) *Int
	number func(*Event) *Float
	object func(*Event) *json.RawMessage
	// reserved fields are obsrun's own: a client that sends one is refused.
	reserved bool
}

var fields = map[string]field{
	"event":         {text: func(e *Event) *string { return (*string)(&e.Type) }},
	"span_id":       {text: func(e *Event) *string { return &e.SpanID }},
	"source":        {text: func(e *Event) *string { return &e.Source }, reserved: true},
	"parent":        {text: func(e *Event) *string { return &e.Parent }},
	"component":     {text: func(e *Event) *string { return &e.Component }},
	"name":          {text: func(e *Event) *string { return &e.Name }},
	"kind":          {text: func(e *Event) *string { return &e.Kind }},
	"phase":         {text: func(e *Event) *string { return &e.Phase }},
	"status":        {text: func(e *Event) *string { return &e.Status }},
	"error":         {text: func(e *Event) *string { return &e.Error }},
	"message":       {text: func(e *Event) *string { return &e.Message }},
	"level":         {text: func(e *Event) *string { return &e.Level }},
	"path":          {text: func(e *Event) *string { return &e.Path }},
	"call_id":       {text: func(e *Event) *string { return &e.CallID }},
	"tokens_scope":  {text: func(e *Event) *string { return &e.TokensScope }},
	"recv_ms":       {count: func(e *Event) *Int { return &e.RecvMS }, reserved: true},
	"tokens":        {count: func(e *Event) *Int { return &e.Tokens }},
	"input_tokens":  {count: func(e *Event) *Int { return &e.Input }},
	"output_tokens": {count: func(e *Event) *Int { return &e.Output }},
	"cached_tokens": {count: func(e *Event) *Int { return &e.Cached }},
	"tool_uses":     {count: func(e *Event) *Int { return &e.ToolUses }},
	"ts":            {number: func(e *Event) *Float { return &e.TS }},
	"cost_usd":      {number: func(e *Event) *Float { return &e.CostUSD }},
	"duration_ms":   {number: func(e *Event) *Float { return &e.DurationMS }},
	"wall_ms":       {number: func(e *Event) *Float { return &e.WallMS }},
	"idle_ms":       {number: func(e *Event) *Float { return &e.IdleMS }},
	"attrs":         {object: func(e *Event) *json.RawMessage { return &e.Attrs }},
	"evidence":      {object: func(e *Event) *json.RawMessage { return &e.Evidence }},
}

// IsText tells whether a field of the schema is text.
func IsText(name string) bool { return fields[name].text != nil }

// Decode reads one line. What it returns aliases line. The error says in a few
// words what is wrong with it.
func Decode(line []byte) (Event, error) {
	line = bytes.TrimSpace(line)
	switch {
	case len(line) == 0:
		return Event{}, errors.New("empty line")
	case len(line) > 2*MaxLine: // a stamped line is a little longer than the one that came
		return Event{}, fmt.Errorf("line of %d bytes, over the limit of %d", len(line), MaxLine)
	case line[0] != '{':
		return Event{}, errors.New("not a JSON object")
	case !utf8.Valid(line):
		return Event{}, errors.New("not valid UTF-8")
	case !json.Valid(line):
		return Event{}, errors.New("not valid JSON")
	}
	e := Event{Raw: line}
	members(line, func(key, value []byte) { e.set(key, value) })
	if e.Type == "" {
		return Event{}, errors.New(`no "event", or not a string`)
	}
	if e.Type == Phase {
		e.counts()
	}
	for _, name := range specByType[e.Type].Required {
		if *fields[name].text(&e) == "" {
			return Event{}, fmt.Errorf("%s without %q, or not a non-empty string", e.Type, name)
		}
	}
	return e, nil
}

// DecodeClient reads one line that a client sent: as Decode, with the limits on
// what a client may say.
func DecodeClient(line []byte) (Event, error) {
	if len(line) > MaxLine {
		return Event{}, fmt.Errorf("line of %d bytes, over the limit of %d", len(line), MaxLine)
	}
	e, err := Decode(line)
	if err != nil {
		return Event{}, err
	}
	if e.reserved != "" {
		return Event{}, fmt.Errorf("%q is written by obsrun alone", e.reserved)
	}
	if spec, known := specByType[e.Type]; known && !spec.Client {
		return Event{}, fmt.Errorf("%s is written by obsrun alone", e.Type)
	}
	return e, nil
}

func (e *Event) set(key, value []byte) {
	name := text(key)
	f, ok := fields[name]
	if !ok {
		return
	}
	if f.reserved {
		e.reserved = name
	}
	switch {
	case f.text != nil:
		*f.text(e) = text(value)
	case f.count != nil:
		*f.count(e) = count(value)
	case f.number != nil:
		*f.number(e) = number(value)
	case f.object != nil:
		*f.object(e) = nil
		if value[0] == '{' {
			*f.object(e) = slices.Clip(value)
		}
	}
}

// counts collects the numbers of a phase event that are no fields of the schema.
func (e *Event) counts() {
	members(e.Raw, func(key, value []byte) {
		name := text(key)
		if _, ok := fields[name]; ok {
			return
		}
		if n := number(value); n.OK {
			if e.Counts == nil {
				e.Counts = make(map[string]float64)
			}
			e.Counts[name] = n.F
		}
	})
}

// members calls f with each key and value of the object in line, in order. The
// line must be a valid JSON object, which makes finding their ends easy.
func members(line []byte, f func(key, value []byte)) {
	i := 1
	for {
		i = skipSpace(line, i)
		if line[i] == ',' {
			i = skipSpace(line, i+1)
		}
		if line[i] == '}' {
			return
		}
		keyEnd := skipValue(line, i)
		key := line[i:keyEnd]
		i = skipSpace(line, keyEnd) // at the colon
		i = skipSpace(line, i+1)
		valueEnd := skipValue(line, i)
		f(key, line[i:valueEnd])
		i = valueEnd
	}
}

func skipSpace(b []byte, i int) int {
	for b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n' {
		i++
	}
	return i
}

// skipValue gives the index after the value that begins at i.
func skipValue(b []byte, i int) int {
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		for depth := 0; ; {
			switch b[i] {
			case '"':
				i = skipString(b, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
	}
	for {
		switch b[i] {
		case ',', '}', ']', ':', ' ', '\t', '\r', '\n':
			return i
		}
		i++
	}
}

func skipString(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// text is the value as a string, empty where it is none.
func text(value []byte) string {
	if value[0] != '"' {
		return ""
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1])
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		return ""
	}
	return s
}

// number is the value as a finite number; strings and the rest are none.
func number(value []byte) Float {
	if value[0] != '-' && (value[0] < '0' || value[0] > '9') {
		return Float{}
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil || math.IsInf(f, 0) {
		return Float{}
	}
	return Float{F: f, OK: true}
}

// count is the value as a counter: a number from 0 to MaxCount, cut to an integer.
func count(value []byte) Int {
	if n, err := strconv.ParseInt(string(value), 10, 64); err == nil {
		return Int{N: n, OK: n >= 0 && n <= MaxCount}
	}
	f := number(value)
	if !f.OK || f.F < 0 || f.F > MaxCount {
		return Int{}
	}
	return Int{N: int64(f.F), OK: true}
}
