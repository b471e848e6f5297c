package report

import (
	"cmp"
	"slices"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// Straggler is the agent that a phase waited for last, where it was at work beside
// others: of agents that take turns none is waited for more than the others. Agents
// of other agents take no part: their own agent waits for them.
type Straggler struct {
	Agent  string `json:"agent"` // its id
	Name   string `json:"name"`
	WallMS int64  `json:"wall_ms"`
	// MedianMS is the median wall time of the phase's agents.
	MedianMS int64 `json:"median_ms"`
	// WaitedMS is how long it alone was still at work.
	WaitedMS int64 `json:"waited_ms"`
}

// WhatIf is what a phase would have saved, by arithmetic on the times as they
// were: a system that is less loaded, or more, has others.
type WhatIf struct {
	// UnlimitedSlotsMS is saved where all its agents begin at once: from the first
	// start to the last end, less the longest agent. It takes for granted that none
	// needs what another makes.
	UnlimitedSlotsMS int64 `json:"unlimited_slots_ms"`
	// StragglerAtMedianMS is saved where the straggler takes as long as the median.
	StragglerAtMedianMS int64 `json:"straggler_at_median_ms"`
}

// slotCounts are the numbers of a phase event that say how many agents may be at
// work at once.
var slotCounts = []string{"slots", "max_parallel", "max_concurrency", "concurrency", "max_workers", "workers"}

// stint is an agent on the time axis, Unix milliseconds.
type stint struct {
	span     run.Span
	from, to int64
	wall     int64
}

// crew are the agents of each phase by its name, and what lies below each agent.
type crew struct {
	agents   map[string][]stint // not those below another agent
	time     map[string]int64   // wall time of all of the phase's agents
	total    int64
	children map[string][]run.Interval // by the id of the span above
}

func crewOf(state *run.State) *crew {
	c := &crew{agents: make(map[string][]stint), time: make(map[string]int64), children: make(map[string][]run.Interval)}
	for span := range state.Spans() {
		if span.SameAs != "" || span.StartMS == 0 {
			continue
		}
		if span.Kind != telemetry.KindProcess {
			c.children[span.Parent] = append(c.children[span.Parent], attemptsOf(&span)...)
		}
		if !span.IsAgent {
			continue
		}
		s := stint{span: span, from: span.StartMS, to: max(span.StartMS, span.EndMS), wall: span.DurationMS}
		for i, attempt := range span.Earlier {
			if i == 0 {
				s.from = attempt.StartMS
			}
			s.wall += max(0, attempt.EndMS-attempt.StartMS)
		}
		c.time[span.Phase] += s.wall
		c.total += s.wall
		if span.Agent == "" && span.EndMS != 0 {
			c.agents[span.Phase] = append(c.agents[span.Phase], s)
		}
	}
	return c
}

// attemptsOf gives all attempts of the span; the last one has no end while it lasts.
func attemptsOf(span *run.Span) []run.Interval {
	return append(slices.Clone(span.Earlier), run.Interval{StartMS: span.StartMS, EndMS: span.EndMS})
}

// idle is how long the span was open while nothing below it was; false where
// nothing below it is known, so nothing can be said.
func (c *crew) idle(span *run.Span) (ms int64, known bool) {
	below := c.children[span.ID]
	if len(below) == 0 || span.EndMS == 0 {
		return 0, false
	}
	below = slices.Clone(below)
	slices.SortFunc(below, func(a, b run.Interval) int { return cmp.Compare(a.StartMS, b.StartMS) })
	for _, own := range attemptsOf(span) {
		reached := own.StartMS
		for _, b := range below {
			to := min(cmp.Or(b.EndMS, own.EndMS), own.EndMS)
			if b.StartMS > reached {
				ms += max(0, min(b.StartMS, own.EndMS)-reached)
			}
			reached = max(reached, to)
		}
		ms += max(0, own.EndMS-reached)
	}
	return ms, true
}

// describe adds to the phase what its agents tell of it.
func (c *crew) describe(p *Phase, state string) {
	p.AgentMS = c.time[p.Name]
	for _, name := range slotCounts {
		if n, told := p.Counts[name]; told && n >= 1 && n <= maxCount && p.Slots == nil {
			slots := int64(n)
			p.Slots = &slots
		}
	}
	agents := c.agents[p.Name]
	if len(agents) < 2 || state != run.Done {
		return
	}
	last, first, longest := agents[0], agents[0].from, int64(0)
	walls := make([]int64, 0, len(agents))
	for _, a := range agents {
		if a.to > last.to {
			last = a
		}
		first, longest = min(first, a.from), max(longest, a.to-a.from)
		walls = append(walls, a.wall)
	}
	before := first // the end of the one that ended before the last
	for _, a := range agents {
		if a.span.ID != last.span.ID {
			before = max(before, a.to)
		}
	}
	p.WhatIf = &WhatIf{UnlimitedSlotsMS: max(0, last.to-first-longest)}
	if last.from >= before {
		return
	}
	slices.Sort(walls)
	median := medianOf(walls)
	p.Straggler = &Straggler{
		Agent: last.span.ID, Name: last.span.Name, WallMS: last.wall, MedianMS: median, WaitedMS: max(0, last.to-before),
	}
	if shorter := last.wall - median; shorter > 0 {
		p.WhatIf.StragglerAtMedianMS = max(0, last.to-max(before, last.to-shorter))
	}
}
