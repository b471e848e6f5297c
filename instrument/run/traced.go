package run

import (
	"encoding/hex"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// traced is the id by which W3C trace context names a span, where that is not its
// own; else empty. Whoever continued a TRACEPARENT knows its parent by it alone.
func traced(id string) string {
	if maybeTraced(id) && id != noContext {
		return "" // as TraceSpanID takes it
	}
	context := telemetry.TraceSpanID(id)
	if alias := hex.EncodeToString(context[:]); alias != id {
		return alias
	}
	return ""
}

// noContext is the id that trace context has for none.
const noContext = "0000000000000000"

// known finds a span by its id, or by that which it has in trace context; nil
// where there is none.
func (s *State) known(id string) *node {
	if n := s.nodes[id]; n != nil || !maybeTraced(id) {
		return n
	}
	// Few runs ever ask, so the ids are worked out for those that do.
	for ; s.tracedTo < len(s.order); s.tracedTo++ {
		n := s.order[s.tracedTo]
		if alias := traced(n.id); alias != "" {
			s.traced[alias] = n
		}
	}
	return s.traced[id]
}

// maybeTraced tells whether the id can be one of trace context: 16 hex digits in
// lower case.
func maybeTraced(id string) bool {
	if len(id) != 16 {
		return false
	}
	for i := range len(id) {
		if c := id[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// await keeps a span whose parent is not known, until it is.
func (s *State) await(n *node) {
	waiting := s.orphans[n.parentID]
	if len(waiting) == 0 && maybeTraced(n.parentID) {
		s.tracedOrphans++
	}
	s.orphans[n.parentID] = append(waiting, n)
}

// found lets go of those who waited for this id.
func (s *State) found(id string) {
	if len(s.orphans[id]) > 0 && maybeTraced(id) {
		s.tracedOrphans--
	}
	delete(s.orphans, id)
}

// adopt hangs the spans under n that named it as their parent, by that id, before
// it was known.
func (s *State) adopt(n *node, id string) {
	if len(s.orphans) == 0 {
		return
	}
	for _, child := range s.orphans[id] {
		if child.parentID == id && child != n {
			s.attach(child)
		}
	}
	s.found(id)
}
