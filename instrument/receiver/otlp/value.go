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
type attributes map[string]*common.AnyValue

func attributesOf(list []*common.KeyValue) attributes {
	a := make(attributes, len(list))
	for _, kv := range list {
		if kv != nil {
			a[kv.Key] = kv.Value
		}
	}
	return a
}

func (a attributes) has(key string) bool { _, ok := a[key]; return ok }

// text gives a string attribute, or the first of an array of strings; other
// types are empty.
func (a attributes) text(key string) string {
	switch v := a[key].GetValue().(type) {
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
	switch v := a[key].GetValue().(type) {
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
	switch v := a[key].GetValue().(type) {
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
