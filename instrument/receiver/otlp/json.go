package otlp

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// OTLP/JSON is protobuf's JSON mapping (64-bit integers as strings or numbers, names
// in camel case or as in the .proto file, unknown fields ignored) but for ids, which
// are hex in either case and not base64, and enumerations, which are integers
// (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding). It is read by
// being written as protobuf, so that both formats mean the same.

// jsonKind is how a field is written in JSON and on the wire.
type jsonKind uint8

const (
	jsonText jsonKind = iota
	jsonID            // hex
	jsonBase64
	jsonVarint // int64
	jsonEnum
	jsonFixed  // fixed64
	jsonSigned // sfixed64
	jsonDouble
	jsonBool
	jsonMessage // or a list of them
)

// jsonField is a field of a message.
type jsonField struct {
	number  uint64
	kind    jsonKind
	message jsonFields // of a jsonMessage
}

// jsonFields are those of a message that anything is read from, by both of their
// names.
type jsonFields map[string]jsonField

func (m jsonFields) add(number uint64, name string, kind jsonKind, message jsonFields) jsonFields {
	m[name] = jsonField{number, kind, message}
	var snake []byte
	for _, c := range []byte(name) {
		if 'A' <= c && c <= 'Z' {
			snake = append(snake, '_')
			c |= 0x20
		}
		snake = append(snake, c)
	}
	m[string(snake)] = m[name]
	return m
}

func (m jsonFields) text(number uint64, name string) jsonFields {
	return m.add(number, name, jsonText, nil)
}

func (m jsonFields) of(number uint64, name string, message jsonFields) jsonFields {
	return m.add(number, name, jsonMessage, message)
}

func (m jsonFields) times(start, end uint64, endName string) jsonFields {
	return m.add(start, "startTimeUnixNano", jsonFixed, nil).add(end, endName, jsonFixed, nil)
}

// requests are the export requests of the signals.
var requests = sync.OnceValue(func() map[signal]jsonFields {
	fresh := func() jsonFields { return make(jsonFields) }
	value, attribute := fresh(), fresh()
	attribute.text(1, "key").of(2, "value", value)
	value.text(1, "stringValue").add(2, "boolValue", jsonBool, nil).add(3, "intValue", jsonVarint, nil).
		add(4, "doubleValue", jsonDouble, nil).of(5, "arrayValue", fresh().of(1, "values", value)).
		of(6, "kvlistValue", fresh().of(1, "values", attribute)).add(7, "bytesValue", jsonBase64, nil)
	resource := fresh().of(1, "attributes", attribute)
	scope := fresh().text(1, "name")
	request := func(resources, scopes, items string, item jsonFields) jsonFields {
		each := fresh().of(1, "scope", scope).of(2, items, item).text(3, "schemaUrl")
		return fresh().of(1, resources, fresh().of(1, "resource", resource).of(2, scopes, each).text(3, "schemaUrl"))
	}

	span := fresh().add(1, "traceId", jsonID, nil).add(2, "spanId", jsonID, nil).add(4, "parentSpanId", jsonID, nil).
		text(5, "name").times(7, 8, "endTimeUnixNano").of(9, "attributes", attribute).
		of(11, "events", fresh().add(1, "timeUnixNano", jsonFixed, nil).text(2, "name").of(3, "attributes", attribute)).
		of(13, "links", fresh().add(1, "traceId", jsonID, nil).add(2, "spanId", jsonID, nil).of(4, "attributes", attribute)).
		of(15, "status", fresh().text(2, "message").add(3, "code", jsonEnum, nil))

	record := fresh().add(1, "timeUnixNano", jsonFixed, nil).add(2, "severityNumber", jsonEnum, nil).text(3, "severityText").
		of(5, "body", value).of(6, "attributes", attribute).add(9, "traceId", jsonID, nil).add(10, "spanId", jsonID, nil).
		add(11, "observedTimeUnixNano", jsonFixed, nil).text(12, "eventName")

	number := fresh().times(2, 3, "timeUnixNano").add(4, "asDouble", jsonDouble, nil).add(6, "asInt", jsonSigned, nil).of(7, "attributes", attribute)
	histogram := fresh().times(2, 3, "timeUnixNano").add(5, "sum", jsonDouble, nil).of(9, "attributes", attribute)
	exponential := fresh().times(2, 3, "timeUnixNano").add(5, "sum", jsonDouble, nil).of(1, "attributes", attribute)
	points := func(point jsonFields) jsonFields {
		return fresh().of(1, "dataPoints", point).add(2, "aggregationTemporality", jsonEnum, nil)
	}
	metric := fresh().text(1, "name").of(7, "sum", points(number)).of(9, "histogram", points(histogram)).
		of(10, "exponentialHistogram", points(exponential))

	return map[signal]jsonFields{
		traces:       request("resourceSpans", "scopeSpans", "spans", span),
		logRecords:   request("resourceLogs", "scopeLogs", "logRecords", record),
		metricPoints: request("resourceMetrics", "scopeMetrics", "metrics", metric),
	}
})

// enums are the names of the numbers that matter, which senders are to avoid.
var enums = map[string]int64{
	"STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2, "AGGREGATION_TEMPORALITY_DELTA": 1, "AGGREGATION_TEMPORALITY_CUMULATIVE": 2,
	"SEVERITY_NUMBER_WARN": levelWarn, "SEVERITY_NUMBER_ERROR": levelError, "SEVERITY_NUMBER_FATAL": 21,
}

// transcode writes a message in JSON as protobuf.
func transcode(body string, fields jsonFields) (string, error) {
	if !utf8.ValidString(body) {
		return "", errors.New("not valid UTF-8")
	}
	if !json.Valid([]byte(body)) {
		return "", errors.New("not valid JSON")
	}
	t := transcoder{in: body, out: make([]byte, 0, len(body)/2+64)}
	t.space()
	if err := t.message(fields); err != nil {
		return "", err
	}
	return string(t.out), nil
}

// transcoder goes over valid JSON, which nests no deeper than encoding/json lets it.
type transcoder struct {
	in  string
	at  int
	out []byte
}

// space goes on to what is no white space.
func (t *transcoder) space() {
	for t.at < len(t.in) && t.in[t.at] <= ' ' {
		t.at++
	}
}

// next goes on behind a byte and the space after it, and tells whether it was there.
func (t *transcoder) next(c byte) bool {
	if t.in[t.at] != c {
		return false
	}
	t.at++
	t.space()
	return true
}

// str goes on behind a string, and gives it as it stands between its quotes.
func (t *transcoder) str() string {
	begin := t.at + 1
	for t.at++; t.in[t.at] != '"'; t.at++ {
		if t.in[t.at] == '\\' {
			t.at++
		}
	}
	s := t.in[begin:t.at]
	t.at++
	t.space()
	return s
}

// scalar goes on behind a number or a word, and gives it.
func (t *transcoder) scalar() string {
	begin := t.at
	for t.at < len(t.in) && strings.IndexByte(",]} \t\r\n", t.in[t.at]) < 0 {
		t.at++
	}
	s := t.in[begin:t.at]
	t.space()
	return s
}

// skip goes on behind a value.
func (t *transcoder) skip() {
	for depth := 0; ; {
		switch t.in[t.at] {
		case '{', '[':
			depth++
			t.at++
			t.space()
		case '}', ']':
			depth--
			t.at++
			t.space()
		case ',', ':':
			t.at++
			t.space()
		case '"':
			t.str()
		default:
			t.scalar()
		}
		if depth == 0 {
			return
		}
	}
}

// message writes the fields of an object.
func (t *transcoder) message(fields jsonFields) error {
	if !t.next('{') {
		return fmt.Errorf("%s is no object", t.here())
	}
	for !t.next('}') {
		name := unquote(t.str())
		t.next(':')
		field, known := fields[name]
		var err error
		switch {
		case !known || t.in[t.at] == 'n': // null
			t.skip()
		case field.kind == jsonMessage:
			err = t.messages(field)
		default:
			err = t.value(field)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", cut(name, maxText), err)
		}
		t.next(',')
	}
	return nil
}

// messages writes an object, or each of a list of them.
func (t *transcoder) messages(field jsonField) error {
	if !t.next('[') {
		return t.nested(field)
	}
	for !t.next(']') {
		if t.in[t.at] == 'n' {
			t.skip()
		} else if err := t.nested(field); err != nil {
			return err
		}
		t.next(',')
	}
	return nil
}

// lengthBytes is the room for a message's length: a number of that many bytes, which
// need not be the least, reaches over any body.
const lengthBytes = 4

func (t *transcoder) nested(field jsonField) error {
	t.out = binary.AppendUvarint(t.out, tagOf(field.number, bytesType))
	t.out = append(t.out, make([]byte, lengthBytes)...)
	begin := len(t.out)
	if err := t.message(field.message); err != nil {
		return err
	}
	size := len(t.out) - begin
	for i := range lengthBytes {
		t.out[begin-lengthBytes+i] = byte(size>>(7*i)) | 0x80
	}
	t.out[begin-1] &= 0x7f
	return nil
}

// value writes what is no message.
func (t *transcoder) value(field jsonField) error {
	quoted := t.in[t.at] == '"'
	if !quoted && (t.in[t.at] == '{' || t.in[t.at] == '[') {
		return fmt.Errorf("%s is no such value", t.here())
	}
	var text string
	if quoted {
		text = unquote(t.str())
	} else {
		text = t.scalar()
	}
	switch field.kind {
	case jsonText, jsonID, jsonBase64:
		if !quoted {
			return fmt.Errorf("%s is no string", text)
		}
		return t.bytes(field, text)
	case jsonBool:
		if quoted || text != "true" && text != "false" {
			return fmt.Errorf("%q is no boolean", cut(text, maxText))
		}
		t.out = binary.AppendUvarint(t.out, tagOf(field.number, varintType))
		var one byte
		if text == "true" {
			one = 1
		}
		t.out = append(t.out, one)
	case jsonDouble:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is no number", cut(text, maxText))
		}
		t.fixed(field, math.Float64bits(f))
	case jsonFixed:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			f, ok := whole(text)
			if !ok || f < 0 || f >= 1<<64 {
				return fmt.Errorf("%q is no time in nanoseconds", cut(text, maxText))
			}
			n = uint64(f)
		}
		t.fixed(field, n)
	case jsonSigned, jsonVarint, jsonEnum:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			if field.kind == jsonEnum && quoted {
				n = enums[text] // one that is not known is as if it were not set
			} else if f, ok := whole(text); ok && f >= -1<<63 && f < 1<<63 {
				n = int64(f)
			} else {
				return fmt.Errorf("%q is no integer", cut(text, maxText))
			}
		}
		if field.kind == jsonSigned {
			t.fixed(field, uint64(n)) // #nosec G115 -- two's complement
			break
		}
		t.out = binary.AppendUvarint(t.out, tagOf(field.number, varintType))
		t.out = binary.AppendUvarint(t.out, uint64(n)) // #nosec G115
	}
	return nil
}

// whole reads an integer that is written as 1e3 or 1.0.
func whole(text string) (float64, bool) {
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil && f == math.Trunc(f)
}

func (t *transcoder) fixed(field jsonField, bits uint64) {
	t.out = binary.AppendUvarint(t.out, tagOf(field.number, fixed64))
	t.out = binary.LittleEndian.AppendUint64(t.out, bits)
}

// bytes writes a string, or what it stands for. What is no hex becomes an id of the
// wrong length, which costs the one span and not the whole body.
func (t *transcoder) bytes(field jsonField, text string) error {
	data := []byte(text)
	switch field.kind {
	case jsonID:
		var err error
		if data, err = hex.DecodeString(text); err != nil {
			data = []byte{0}
		}
	case jsonBase64:
		text = strings.NewReplacer("-", "+", "_", "/", "=", "").Replace(text)
		var err error
		if data, err = base64.RawStdEncoding.DecodeString(text); err != nil {
			return errors.New("no base64")
		}
	}
	t.out = binary.AppendUvarint(t.out, tagOf(field.number, bytesType))
	t.out = binary.AppendUvarint(t.out, uint64(len(data)))
	t.out = append(t.out, data...)
	return nil
}

// unquote gives what stands between the quotes of a string.
func unquote(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var out string
	_ = json.Unmarshal([]byte(`"`+s+`"`), &out) // it is valid
	return out
}

// here names what stands at the place, for errors.
func (t *transcoder) here() string { return cut(t.in[t.at:], 20) }
