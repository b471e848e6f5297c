package run

import (
	"encoding/json"
	"strings"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// The texts of an event lie in the line that it was decoded from. What the fold
// keeps of them it copies, so that the line's memory can be used again.

const (
	maxKept     = 1 << 12 // texts
	maxKeptText = 128     // bytes of each
)

// keep gives a copy of a text, of one that comes often the same: the name of a
// tool, a kind, a component.
func (s *State) keep(text string) string {
	if text == "" {
		return ""
	}
	if kept, ok := s.kept[text]; ok {
		return kept
	}
	text = strings.Clone(text)
	if len(s.kept) < maxKept && len(text) <= maxKeptText {
		s.kept[text] = text
	}
	return text
}

// lineOf takes note of who told the line, and has the event name it by a text of
// the state's own.
func (s *State) lineOf(e *telemetry.Event) {
	if s.teller == nil || s.teller.source != e.Source {
		if s.teller = s.heardFrom[e.Source]; s.teller == nil {
			s.teller = &teller{source: strings.Clone(e.Source)}
			s.heardFrom[s.teller.source] = s.teller
		}
	}
	s.teller.lines++
	e.Source = s.teller.source
}

// teller is a source and how many lines came from it.
type teller struct {
	source string
	lines  int64
}

// mergeObjects lays one JSON object over another, key by key.
func mergeObjects(under, upper json.RawMessage) json.RawMessage {
	if len(under) == 0 {
		return append(make(json.RawMessage, 0, len(upper)), upper...) // it lies in a larger piece of input
	}
	merged, ok := telemetry.MergeObjects(under, upper)
	if !ok {
		return append(make(json.RawMessage, 0, len(upper)), upper...)
	}
	return merged
}
