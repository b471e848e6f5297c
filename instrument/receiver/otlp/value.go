package otlp

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// value is an attribute's value: common.v1.AnyValue.
type value struct {
	sort valueSort
	// text is a string; of a list or bytes, the encoded content, which is not looked
	// into before it is asked for.
	text string
	// bits is a bool, an integer, or a double's bits.
	bits uint64
}

type valueSort uint8

const (
	noValue valueSort = iota
	isText
	isBool
	isInt
	isDouble
	isArray
	isOther // a map, or bytes: content in any case
)

// read takes in an AnyValue. Several are as one: the last that is set counts.
func (v *value) read(message string) error {
	f := fields{rest: message}
	for f.next() {
		switch f.tag {
		case tagOf(1, bytesType):
			*v = value{sort: isText, text: f.data}
		case tagOf(2, varintType):
			*v = value{sort: isBool, bits: f.num}
		case tagOf(3, varintType):
			*v = value{sort: isInt, bits: f.num}
		case tagOf(4, fixed64):
			*v = value{sort: isDouble, bits: f.num}
		case tagOf(5, bytesType):
			*v = value{sort: isArray, text: f.data}
		case tagOf(6, bytesType), tagOf(7, bytesType):
			*v = value{sort: isOther, text: f.data}
		}
	}
	return f.err()
}

// string is a string as it may be told: valid UTF-8, of which senders that cut texts
// by bytes make sure no better than they must.
func (v *value) string() string {
	if v.sort != isText {
		return ""
	}
	return strings.ToValidUTF8(v.text, "\uFFFD")
}

// element gives the first value of an array.
func (v *value) element() (first value, ok bool) {
	for f := (fields{rest: v.text}); v.sort == isArray && f.next(); {
		if f.tag == tagOf(1, bytesType) {
			return first, first.read(f.data) == nil
		}
	}
	return first, false
}

// keyValue is an attribute whose key is known: others are not kept.
type keyValue struct {
	id    keyID
	key   string
	value value
}

// attributes are those of a span, log record, data point or resource, each key once.
type attributes struct {
	list []keyValue
	have keySet
	// looks has a bit for the look of each key: of those that are asked for, most are
	// known not to be there without a comparison.
	looks uint64
}

// read takes in a KeyValue. The last of equal keys counts.
func (a *attributes) read(message string) error {
	var key string
	var v value
	f := fields{rest: message}
	for f.next() {
		switch f.tag {
		case tagOf(1, bytesType):
			key = f.data
		case tagOf(2, bytesType):
			if err := v.read(f.data); err != nil {
				return err
			}
		}
	}
	if f.bad {
		return errMalformed
	}
	id, known := keyIDs()[key]
	if !known {
		return nil
	}
	if a.have.has(id) {
		for i := range a.list {
			if a.list[i].id == id {
				a.list[i].value = v
			}
		}
		return nil
	}
	a.have.add(id)
	a.looks |= look(key)
	a.list = append(a.list, keyValue{id, key, v})
	return nil
}

// look is a bit by a key's length and two of its letters.
func look(key string) uint64 {
	n := len(key)
	if n == 0 {
		return 1
	}
	return 1 << ((uint(n)*7 + uint(key[n-1])*3 + uint(key[n/2])) & 63)
}

// find gives the value of a key, nil where there is none.
func (a *attributes) find(key string) *value {
	if a.looks&look(key) == 0 {
		return nil
	}
	for i := range a.list {
		if a.list[i].key == key {
			return &a.list[i].value
		}
	}
	return nil
}

// at is find, by the key's id, of an attribute that is there.
func (a *attributes) at(id keyID) *value {
	for i := range a.list {
		if a.list[i].id == id {
			return &a.list[i].value
		}
	}
	return new(value)
}

func (a *attributes) has(key string) bool { return a.find(key) != nil }

// text gives a string attribute, or the first of an array of strings; other
// types are empty.
func (a *attributes) text(key string) string { return a.find(key).words() }

// words is what text gives.
func (v *value) words() string {
	switch {
	case v == nil:
		return ""
	case v.sort == isArray:
		first, _ := v.element()
		return first.string()
	}
	return v.string()
}

// number gives a finite number: an integer, a double, or a string that is one,
// since Claude Code writes its numbers as strings into log records.
func (a *attributes) number(key string) (float64, bool) { return a.find(key).number() }

func (v *value) number() (f float64, ok bool) {
	if v == nil {
		return 0, false
	}
	switch v.sort {
	case isInt:
		return float64(int64(v.bits)), true // #nosec G115 -- two's complement
	case isDouble:
		f = math.Float64frombits(v.bits)
	case isText:
		if len(v.text) > 32 {
			return 0, false
		}
		var err error
		if f, err = strconv.ParseFloat(v.text, 64); err != nil {
			return 0, false
		}
	default:
		return 0, false
	}
	return f, !math.IsNaN(f) && !math.IsInf(f, 0)
}

// isFalse tells whether the attribute is there and false, as a boolean or a word.
func (a *attributes) isFalse(key string) bool {
	v := a.find(key)
	switch {
	case v == nil:
	case v.sort == isBool:
		return v.bits == 0
	case v.sort == isText:
		return strings.EqualFold(v.text, "false")
	}
	return false
}

// first gives the first of the keys that is a non-empty string.
func (a *attributes) first(keys ...string) string {
	for _, key := range keys {
		if s := a.text(key); s != "" {
			return s
		}
	}
	return ""
}

// cut shortens s to at most limit bytes at a rune's end, and marks that it did.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	limit -= len("…")
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}
