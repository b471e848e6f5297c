package instrument

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// The limits keep a line under 1 MiB although JSON can take six bytes for one.
const (
	maxName  = 1 << 10
	maxText  = 32 << 10
	maxAttrs = 512 << 10
	maxDepth = 32
)

func seconds(t time.Time) telemetry.Float { return telemetry.F(float64(t.UnixMicro()) / 1e6) }

func millis(d time.Duration) telemetry.Float {
	return telemetry.F(float64(d.Microseconds()) / 1e3)
}

// complete fills in what an event does not say. An event with Raw gets it added
// to its line.
func complete(e telemetry.Event, here string, now time.Time) telemetry.Event {
	var added []string
	fill := func(field *string, key, value string) {
		if *field == "" && value != "" {
			*field = value
			added = append(added, key, value)
		}
	}
	switch e.Type {
	case telemetry.SpanStart, telemetry.SpanQueued:
		if e.SpanID != here {
			fill(&e.Parent, "parent", here)
		}
	case telemetry.Log, telemetry.Artifact:
		fill(&e.SpanID, "span_id", here)
	}
	noTS := !e.TS.OK
	if noTS {
		e.TS = seconds(now)
	}
	if e.Raw == nil || e.Fault != "" || !json.Valid(e.Raw) {
		return e
	}
	var line bytes.Buffer
	_ = json.Compact(&line, e.Raw) // valid, so it cannot fail
	e.Raw = line.Bytes()
	if len(e.Raw) < 3 || e.Raw[0] != '{' {
		return e
	}
	e.Raw = e.Raw[:len(e.Raw)-1]
	for i := 0; i < len(added); i += 2 {
		e.Raw = append(e.Raw, `,"`+added[i]+`":`...)
		e.Raw = appendString(e.Raw, added[i+1], len(added[i+1]))
	}
	if noTS {
		e.Raw = append(e.Raw, `,"ts":`...)
		e.Raw = strconv.AppendFloat(e.Raw, e.TS.F, 'f', -1, 64)
	}
	e.Raw = append(e.Raw, '}')
	return e
}

// encode gives the event's line with its newline.
func encode(e telemetry.Event) []byte {
	if e.Raw != nil {
		line := bytes.ReplaceAll(e.Raw, []byte("\n"), []byte(" "))
		return append(line, '\n')
	}
	for _, name := range []*string{
		&e.SpanID, &e.Parent, &e.Component, &e.Name, &e.Kind, &e.Phase, &e.Status, &e.Level, &e.CallID, &e.TokensScope,
	} {
		*name = cut(*name, maxName)
	}
	for _, long := range []*string{&e.Path, &e.Error, &e.Message} {
		*long = cut(*long, maxText)
	}
	for _, number := range []*telemetry.Float{&e.TS, &e.CostUSD, &e.DurationMS, &e.WallMS, &e.IdleMS} {
		if math.IsNaN(number.F) || math.IsInf(number.F, 0) {
			*number = telemetry.Float{}
		}
	}
	finite := make(map[string]float64, len(e.Counts))
	for key, n := range e.Counts {
		if !math.IsNaN(n) && !math.IsInf(n, 0) {
			finite[key] = n
		}
	}
	e.Counts = finite
	return append(e.Line(), '\n')
}

// cut shortens s to at most n bytes and a mark, at a character's boundary.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "... (cut)"
}

func errorText(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("(%T that cannot be shown)", err)
		}
	}()
	return err.Error()
}

// encodeAttrs writes attributes as JSON, whatever they hold.
func encodeAttrs(attrs map[string]any) json.RawMessage {
	if len(attrs) == 0 {
		return nil
	}
	var w attrsWriter
	w.value(attrs, 0)
	return w.out
}

// attrsWriter writes JSON values until maxAttrs bytes are used up. What does not
// fit is replaced by a mark, so the whole stays valid and little longer.
type attrsWriter struct{ out []byte }

func (w *attrsWriter) left() int { return maxAttrs - len(w.out) }

func (w *attrsWriter) value(v any, depth int) {
	if depth > maxDepth {
		w.text("(too deep)")
		return
	}
	switch v := v.(type) {
	case string:
		w.text(v)
	case float64:
		w.number(v)
	case float32:
		w.number(float64(v))
	case error:
		w.text(errorText(v))
	case map[string]any:
		object(w, v, depth)
	case map[string]string:
		object(w, v, depth)
	case []any:
		array(w, v, depth)
	case []string:
		array(w, v, depth)
	case []float64:
		array(w, v, depth)
	default:
		w.other(v)
	}
}

func object[V any](w *attrsWriter, m map[string]V, depth int) {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	w.out = append(w.out, '{')
	for i, key := range keys {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		if w.left() <= 0 {
			w.out = append(w.out, `"...":"(cut)"`...)
			break
		}
		w.out = appendString(w.out, key, maxName)
		w.out = append(w.out, ':')
		w.value(m[key], depth+1)
	}
	w.out = append(w.out, '}')
}

func array[V any](w *attrsWriter, values []V, depth int) {
	w.out = append(w.out, '[')
	for i, v := range values {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		if w.left() <= 0 {
			w.out = append(w.out, `"(cut)"`...)
			break
		}
		w.value(v, depth+1)
	}
	w.out = append(w.out, ']')
}

func (w *attrsWriter) text(s string) {
	whole := len(w.out)
	w.out = appendString(w.out, s, max(w.left(), 64))
	if len(w.out) > maxAttrs { // what is escaped takes up to six bytes for one
		w.out = w.out[:whole]
		w.out = appendString(w.out, s, max(w.left()/6, 64))
	}
}

func (w *attrsWriter) number(f float64) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		w.out = append(w.out, "null"...)
		return
	}
	b, _ := json.Marshal(f)
	w.out = append(w.out, b...)
}

// other writes what encoding/json makes of a value, which may run code of its type.
func (w *attrsWriter) other(v any) {
	b, err := marshal(v)
	switch {
	case err != nil:
		w.text(fmt.Sprintf("(%T that is not JSON)", v))
	case len(b) > w.left():
		w.text(fmt.Sprintf("(%T of %d bytes, cut)", v, len(b)))
	default:
		w.out = append(w.out, bytes.ToValidUTF8(b, []byte("\ufffd"))...)
	}
}

func marshal(v any) (b []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return json.Marshal(v)
}

func appendString(b []byte, s string, limit int) []byte {
	quoted, _ := json.Marshal(cut(s, limit)) // a string cannot fail
	return append(b, quoted...)
}
