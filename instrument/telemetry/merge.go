package telemetry

import (
	"bytes"
	"encoding/json"
	"slices"
)

// MergeObjects lays one JSON object over another, key by key, and gives the result
// as encoding/json writes a map: keys in order, values without white space. False
// where one of them is no object.
func MergeObjects(under, upper json.RawMessage) (json.RawMessage, bool) {
	if merged, ok := mergePlain(under, upper); ok {
		return merged, true
	}
	var a, b map[string]json.RawMessage
	if json.Unmarshal(under, &a) != nil || json.Unmarshal(upper, &b) != nil || a == nil {
		return nil, false
	}
	for key, value := range b {
		a[key] = value
	}
	merged, err := json.Marshal(a)
	return merged, err == nil
}

// member is one of an object, as it stands there.
type member struct{ key, value []byte }

// mergePlain is MergeObjects for what needs no rewriting, which is nearly all.
func mergePlain(under, upper []byte) (json.RawMessage, bool) {
	var room [24]member
	all := room[:0]
	for _, object := range [2][]byte{under, upper} {
		m := members{b: object}
		for m.next() {
			if !verbatim(m.key) || !verbatim(m.value) {
				return nil, false
			}
			at, found := slices.BinarySearchFunc(all, m.key, func(a member, key []byte) int {
				return bytes.Compare(a.key[1:len(a.key)-1], key[1:len(key)-1])
			})
			if found {
				all[at].value = m.value
			} else {
				all = slices.Insert(all, at, member{m.key, m.value})
			}
		}
		if !m.valid {
			return nil, false
		}
	}
	out := make([]byte, 0, len(under)+len(upper))
	out = append(out, '{')
	for i := range all {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, all[i].key...), ':'), all[i].value...)
	}
	return append(out, '}'), true
}

// verbatim tells whether encoding/json would write the value as it stands: it has
// no white space between its tokens, and nothing in its strings that is escaped.
func verbatim(value []byte) bool {
	inText := false
	for _, c := range value {
		switch {
		case c == '"':
			inText = !inText
		case c == '\\', c == '<', c == '>', c == '&', c >= 0x7f:
			return false
		case c <= ' ' && !inText:
			return false
		}
	}
	return true
}
