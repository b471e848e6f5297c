package telemetry

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"unsafe"
)

// alias gives b as a string that shares its memory, so that the texts of a line
// cost nothing: whoever decodes a line must not change it afterwards.
func alias(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) // #nosec G103 -- b is not changed while the string is in use, see Decode
}

// move has the event alias another piece of memory: what it has of the bytes of from
// it has of the same ones of to, which is a copy of from or begins with one.
func (e *Event) move(from, to []byte) {
	begin, size := uintptr(unsafe.Pointer(unsafe.SliceData(from))), uintptr(len(from)) // #nosec G103 -- to be compared
	for _, s := range [...]*string{
		(*string)(&e.Type), &e.SpanID, &e.Source, &e.Parent, &e.Component, &e.Name, &e.Kind, &e.Phase, &e.Status, &e.Error,
		&e.Message, &e.Level, &e.Path, &e.CallID, &e.TokensScope, &e.reserved,
	} {
		if at := uintptr(unsafe.Pointer(unsafe.StringData(*s))) - begin; len(*s) > 0 && at < size { // #nosec G103 -- to be compared
			*s = alias(to[at : at+uintptr(len(*s))])
		}
	}
	for _, o := range [...]*json.RawMessage{&e.Attrs, &e.Evidence} {
		if at := uintptr(unsafe.Pointer(unsafe.SliceData(*o))) - begin; len(*o) > 0 && at < size { // #nosec G103 -- to be compared
			*o = slices.Clip(json.RawMessage(to[at : at+uintptr(len(*o))]))
		}
	}
	if len(e.Counts) > 0 {
		counts := make(map[string]float64, len(e.Counts))
		for key, n := range e.Counts {
			counts[strings.Clone(key)] = n
		}
		e.Counts = counts
	}
}

// text is the value as a string, empty where it is none. Plain tells that there
// is no escape in it.
func text(value []byte, plain bool) string {
	if value[0] != '"' {
		return ""
	}
	if plain {
		return alias(value[1 : len(value)-1])
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
	if f, ok := decimal(value); ok {
		return Float{F: f, OK: true}
	}
	f, err := strconv.ParseFloat(alias(value), 64)
	if err != nil || math.IsInf(f, 0) {
		return Float{}
	}
	return Float{F: f, OK: true}
}

// tens are the powers of ten that a float64 holds exactly.
var tens = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// decimal reads a number without sign and exponent that is the quotient of two
// integers which a float64 holds exactly: then one division rounds it right.
func decimal(value []byte) (f float64, ok bool) {
	if len(value) > 17 { // 16 digits and the point
		return 0, false
	}
	var mantissa uint64
	point := len(value) - 1
	for i, c := range value {
		if c == '.' {
			point = i
			continue
		}
		if c -= '0'; c > 9 {
			return 0, false
		}
		mantissa = mantissa*10 + uint64(c)
	}
	if mantissa > 1<<53 {
		return 0, false
	}
	return float64(mantissa) / tens[len(value)-1-point], true
}

// count is the value as a counter: a number from 0 to MaxCount, cut to an integer.
func count(value []byte) Int {
	if len(value) <= 16 {
		n := int64(0)
		for _, c := range value {
			if c -= '0'; c > 9 {
				n = -1
				break
			}
			n = n*10 + int64(c)
		}
		if n >= 0 {
			return Int{N: n, OK: n <= MaxCount}
		}
	}
	if n, err := strconv.ParseInt(alias(value), 10, 64); err == nil {
		return Int{N: n, OK: n >= 0 && n <= MaxCount}
	}
	f := number(value)
	if !f.OK || f.F < 0 || f.F > MaxCount {
		return Int{}
	}
	return Int{N: int64(f.F), OK: true}
}
