package run

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

func TestTraced(t *testing.T) {
	for id, want := range map[string]string{
		"00f067aa0ba902b7": "", "lib-encoding": "900b7d45630b9e8f", "00F067AA0BA902B7": "4d0e8b180e29c849", "0000000000000000": "fcdb4b423f4e5283", "": "e3b0c44298fc1c14",
	} {
		assert.Equal(t, want, traced(id), id)
	}
}

// A parent known by its id in trace context is found, whichever came first, and so
// is the span that a log mentions.
func TestTracedParents(t *testing.T) {
	agent := telemetry.Event{Type: telemetry.SpanStart, SpanID: "lib-encoding", Kind: "agent", Source: telemetry.SourceSocket}
	call := telemetry.Event{Type: telemetry.SpanStart, SpanID: "00000000000000a1", Parent: "900b7d45630b9e8f", Kind: "llm", Source: telemetry.SourceOTLP}
	for _, events := range [][]telemetry.Event{{agent, call}, {call, agent}} {
		s := NewState()
		for i, e := range events {
			s.Apply(e)
			if v, ok := s.Span(call.SpanID); ok && i == 0 {
				assert.Equal(t, call.Parent, v.Awaits)
			}
		}
		v, _ := s.Span(call.SpanID)
		assert.Equal(t, []string{"lib-encoding", "lib-encoding", ""}, []string{v.Parent, v.Agent, v.Awaits})
		assert.Equal(t, 2, s.Totals().Spans)
	}
}
