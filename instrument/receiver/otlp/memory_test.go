package otlp

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// What was seen lately is known, what was seen long ago is forgotten, and nothing else
// is thought to have been seen.
func TestSeen(t *testing.T) {
	var s seen
	assert.False(t, s.has(0))
	s.add(0)
	assert.True(t, s.has(0))
	assert.False(t, s.has(1))
	for _, spread := range []uint64{1, 1 << 32, mix} { // ids that count up at either end, and random ones
		var s seen
		forgotten := 0
		for n := range uint64(2 * maxRecent) {
			key := keyOf(traceKey("a trace's id too"), (n+1)*spread)
			assert.False(t, s.has(key))
			s.add(key)
			if lately := uint64(maxRecent / 8); n >= lately && !s.has(keyOf(traceKey("a trace's id too"), (n+1-lately)*spread)) {
				forgotten++
			}
		}
		assert.Less(t, forgotten, maxRecent/1000, spread)
		assert.False(t, s.has(keyOf(traceKey("a trace's id too"), spread)))
	}
}

// Spans of the same id in two traces are two.
func TestSpanKey(t *testing.T) {
	all := make(map[spanKey]bool)
	for _, trace := range []string{"0123456789abcdef", "0123456789abcdee", "1123456789abcdef", "0123456799abcdef", "89abcdef01234567"} {
		for n := range uint64(1000) {
			all[keyOf(traceKey(trace), n)] = true
		}
	}
	assert.Len(t, all, 5000)
}
