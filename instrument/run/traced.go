package run

import (
	"encoding/hex"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// traced is the id by which W3C trace context names a span, where that is not its
// own; else empty. Whoever continued a TRACEPARENT knows its parent by it alone.
func traced(id string) string {
	context := telemetry.TraceSpanID(id)
	if alias := hex.EncodeToString(context[:]); alias != id {
		return alias
	}
	return ""
}

// known finds a span by its id, or by that which it has in trace context; nil
// where there is none.
func (s *State) known(id string) *node {
	if n := s.nodes[id]; n != nil {
		return n
	}
	return s.traced[id]
}

// adopt hangs the spans under n that named it as their parent, by that id, before
// it was known.
func (s *State) adopt(n *node, id string) {
	for _, child := range s.orphans[id] {
		if child.parentID == id && child != n {
			s.attach(child)
		}
	}
	delete(s.orphans, id)
}
