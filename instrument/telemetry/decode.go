package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// slot is where a field of the schema stands in an event, by the sort of value
// that it takes. One of the four is set.
type slot struct {
	text   *string
	count  *Int
	number *Float
	object *json.RawMessage
	// reserved fields are obsrun's own: a client that sends one is refused.
	reserved bool
}

// slot finds the field of this name; false where the schema has none.
func (e *Event) slot(name string) (slot, bool) {
	switch name {
	case "event":
		return slot{text: (*string)(&e.Type)}, true
	case "span_id":
		return slot{text: &e.SpanID}, true
	case "source":
		return slot{text: &e.Source, reserved: true}, true
	case "parent":
		return slot{text: &e.Parent}, true
	case "component":
		return slot{text: &e.Component}, true
	case "name":
		return slot{text: &e.Name}, true
	case "kind":
		return slot{text: &e.Kind}, true
	case "phase":
		return slot{text: &e.Phase}, true
	case "status":
		return slot{text: &e.Status}, true
	case "error":
		return slot{text: &e.Error}, true
	case "message":
		return slot{text: &e.Message}, true
	case "level":
		return slot{text: &e.Level}, true
	case "path":
		return slot{text: &e.Path}, true
	case "call_id":
		return slot{text: &e.CallID}, true
	case "tokens_scope":
		return slot{text: &e.TokensScope}, true
	case "recv_ms":
		return slot{count: &e.RecvMS, reserved: true}, true
	case "tokens":
		return slot{count: &e.Tokens}, true
	case "input_tokens":
		return slot{count: &e.Input}, true
	case "output_tokens":
		return slot{count: &e.Output}, true
	case "cached_tokens":
		return slot{count: &e.Cached}, true
	case "tool_uses":
		return slot{count: &e.ToolUses}, true
	case "ts":
		return slot{number: &e.TS}, true
	case "cost_usd":
		return slot{number: &e.CostUSD}, true
	case "duration_ms":
		return slot{number: &e.DurationMS}, true
	case "wall_ms":
		return slot{number: &e.WallMS}, true
	case "idle_ms":
		return slot{number: &e.IdleMS}, true
	case "attrs":
		return slot{object: &e.Attrs}, true
	case "evidence":
		return slot{object: &e.Evidence}, true
	}
	return slot{}, false
}

// IsText tells whether a field of the schema is text.
func IsText(name string) bool {
	s, _ := new(Event).slot(name)
	return s.text != nil
}

// Decode reads one line. What it returns aliases line, texts and all, so line must
// not be changed while the event is in use; who keeps a piece of one for longer
// copies it. The error says in a few words what is wrong with the line.
func Decode(line []byte) (Event, error) {
	var e Event
	err := e.Decode(line)
	return e, err
}

// Decode is the function of that name for who has room for the event already: what
// was in it is gone. With an error it is empty.
func (e *Event) Decode(line []byte) error {
	*e = Event{}
	err := e.decode(line)
	if err != nil {
		*e = Event{}
	}
	return err
}

func (e *Event) decode(line []byte) error {
	line = trim(line)
	switch {
	case len(line) == 0:
		return errors.New("empty line")
	case len(line) > 2*MaxLine: // a stamped line is a little longer than the one that came
		return fmt.Errorf("line of %d bytes, over the limit of %d", len(line), MaxLine)
	case line[0] != '{':
		return errors.New("not a JSON object")
	}
	e.Raw = line
	m := members{b: line}
	for m.next() {
		e.set(&m)
	}
	switch {
	case m.valid:
	case !utf8.Valid(line):
		return errors.New("not valid UTF-8")
	default:
		return errors.New("not valid JSON")
	}
	if e.Type == "" {
		return errors.New(`no "event", or not a string`)
	}
	if e.Type == Phase {
		e.counts()
	}
	spec := specByType[e.Type]
	if spec == nil {
		return nil
	}
	e.Type = spec.Type // which does not alias the line
	for _, name := range spec.Required {
		if s, _ := e.slot(name); *s.text == "" { // they are all texts
			return fmt.Errorf("%s without %q, or not a non-empty string", e.Type, name)
		}
	}
	return nil
}

// trim takes the space around a value off: what JSON knows as such, and no other.
func trim(line []byte) []byte {
	if n := len(line); n > 0 && line[0] > ' ' && line[n-1] > ' ' {
		return line // as good as always
	}
	return bytes.Trim(line, " \t\r\n")
}

// DecodeClient reads one line that a client sent: as Decode, with the limits on
// what a client may say.
func DecodeClient(line []byte) (Event, error) {
	var e Event
	err := e.DecodeClient(line)
	return e, err
}

// DecodeClient is to the function of that name what Decode is to its.
func (e *Event) DecodeClient(line []byte) error {
	*e = Event{}
	err := e.decodeClient(line)
	if err != nil {
		*e = Event{}
	}
	return err
}

func (e *Event) decodeClient(line []byte) error {
	if len(line) > MaxLine {
		return fmt.Errorf("line of %d bytes, over the limit of %d", len(line), MaxLine)
	}
	if err := e.decode(line); err != nil {
		return err
	}
	if e.reserved != "" {
		return fmt.Errorf("%q is written by obsrun alone", e.reserved)
	}
	if spec := specByType[e.Type]; spec != nil && !spec.Client {
		return fmt.Errorf("%s is written by obsrun alone", e.Type)
	}
	return nil
}

// set takes in the member that m stands at.
func (e *Event) set(m *members) {
	name := text(m.key, m.plainKey)
	s, ok := e.slot(name)
	if !ok {
		return
	}
	if s.reserved {
		e.reserved = name
	}
	switch {
	case s.text != nil:
		*s.text = text(m.value, m.plain)
	case s.count != nil:
		*s.count = count(m.value)
	case s.number != nil:
		*s.number = number(m.value)
	default:
		*s.object = nil
		if m.value[0] == '{' {
			*s.object = slices.Clip(m.value)
		}
	}
}

// counts collects the numbers of a phase event that are no fields of the schema.
func (e *Event) counts() {
	m := members{b: e.Raw}
	for m.next() {
		name := text(m.key, m.plainKey)
		if _, ok := e.slot(name); ok {
			continue
		}
		if n := number(m.value); n.OK {
			if e.Counts == nil {
				e.Counts = make(map[string]float64)
			}
			e.Counts[name] = n.F
		}
	}
}
