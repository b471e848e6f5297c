package otlp

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	common "go.opentelemetry.io/proto/otlp/common/v1"
)

// attributes are those of a span, log record, data point or resource, by key.
// The last of equal keys counts.
type attributes struct {
	list []*common.KeyValue
	// looks has a bit for the look of each key: of the many keys that are asked for,
	// nearly all are known not to be there without a comparison.
	looks uint64
	byKey map[string]*common.AnyValue // where there are many
}

// manyAttributes is from how many on a map finds one sooner.
const manyAttributes = 32

func attributesOf(list []*common.KeyValue) attributes {
	a := attributes{list: list}
	if len(list) >= manyAttributes {
		a.byKey = make(map[string]*common.AnyValue, len(list))
	}
	for _, kv := range list {
		if kv != nil {
			a.looks |= look(kv.Key)
			if a.byKey != nil {
				a.byKey[kv.Key] = kv.Value
			}
		}
	}
	return a
}

// look is a bit by a key's length and two of its letters.
func look(key string) uint64 {
	n := len(key)
	if n == 0 {
		return 1
	}
	return 1 << ((uint(n)*7 + uint(key[n-1])*3 + uint(key[n/2])) & 63)
}

func (a attributes) find(key string) (*common.AnyValue, bool) {
	if a.looks&look(key) == 0 {
		return nil, false
	}
	if a.byKey != nil {
		v, ok := a.byKey[key]
		return v, ok
	}
	for i := len(a.list) - 1; i >= 0; i-- {
		if kv := a.list[i]; kv != nil && kv.Key == key {
			return kv.Value, true
		}
	}
	return nil, false
}

func (a attributes) value(key string) *common.AnyValue { v, _ := a.find(key); return v }

func (a attributes) has(key string) bool { _, ok := a.find(key); return ok }

// text gives a string attribute, or the first of an array of strings; other
// types are empty.
func (a attributes) text(key string) string {
	switch v := a.value(key).GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_ArrayValue:
		if values := v.ArrayValue.GetValues(); len(values) > 0 {
			return values[0].GetStringValue()
		}
	}
	return ""
}

// number gives a finite number: an integer, a double, or a string that is one,
// since Claude Code writes its numbers as strings into log records.
func (a attributes) number(key string) (float64, bool) {
	var f float64
	switch v := a.value(key).GetValue().(type) {
	case *common.AnyValue_IntValue:
		return float64(v.IntValue), true
	case *common.AnyValue_DoubleValue:
		f = v.DoubleValue
	case *common.AnyValue_StringValue:
		if len(v.StringValue) > 32 {
			return 0, false
		}
		var err error
		if f, err = strconv.ParseFloat(v.StringValue, 64); err != nil {
			return 0, false
		}
	default:
		return 0, false
	}
	return f, !math.IsNaN(f) && !math.IsInf(f, 0)
}

// isFalse tells whether the attribute is there and false, as a boolean or a word.
func (a attributes) isFalse(key string) bool {
	switch v := a.value(key).GetValue().(type) {
	case *common.AnyValue_BoolValue:
		return !v.BoolValue
	case *common.AnyValue_StringValue:
		return strings.EqualFold(v.StringValue, "false")
	}
	return false
}

// first gives the first of the keys that is a non-empty string.
func (a attributes) first(keys ...string) string {
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
