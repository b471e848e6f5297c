package run

import (
	"maps"
	"slices"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// Capture is what one source told of the run, and whether it could have.
type Capture struct {
	Source string `json:"source"`
	// On tells whether the run listened to it, Why the reason, Hint what is likely
	// to stand in the way of one that stayed silent. They are obsrun's own words,
	// empty in a run that was recorded without them.
	On   bool   `json:"on"`
	Why  string `json:"why,omitempty"`
	Hint string `json:"hint,omitempty"`
	// Events counts its lines, Spans the spans that it told of first.
	Events int64 `json:"events"`
	Spans  int64 `json:"spans"`
	// LLMCalls counts its spans of LLM calls, LLMCallsWithUsage those with tokens.
	// A call that two sources told of counts for each.
	LLMCalls          int64 `json:"llm_calls"`
	LLMCallsWithUsage int64 `json:"llm_calls_with_usage"`
	// Tokens is what it alone says that the run used.
	Tokens int64 `json:"tokens"`
}

// plannedSource is what obsrun says of a source in the attrs of the root span.
type plannedSource struct {
	On   bool   `json:"on"`
	Why  string `json:"why"`
	Hint string `json:"hint"`
}

// Sources gives, by name, every source that told anything or that obsrun says
// something of.
func (s *State) Sources() []Capture {
	captures := make(map[string]*Capture)
	of := func(source string) *Capture {
		if captures[source] == nil {
			captures[source] = &Capture{Source: source}
		}
		return captures[source]
	}
	for name, plan := range s.attrs.Sources {
		c := of(name)
		c.On, c.Why, c.Hint = plan.On, plan.Why, plan.Hint
	}
	for source, events := range s.heardFrom {
		of(source).Events = events.lines
	}
	for _, n := range s.order[1:] {
		c := of(n.source)
		c.Spans++
		if n.sort != aCall || n.echo {
			continue
		}
		c.LLMCalls++
		for i := range n.accounts {
			if n.accounts[i].total > 0 {
				c.LLMCallsWithUsage++
				break
			}
		}
	}
	for i := range s.root.accounts {
		a := &s.root.accounts[i]
		of(a.source).Tokens = max(0, a.total)
	}
	list := []Capture{}
	for _, source := range slices.Sorted(maps.Keys(captures)) {
		if source != "" && source != telemetry.SourceObsrun {
			list = append(list, *captures[source])
		}
	}
	return list
}
