package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/obsrun/obsrun/instrument/run"
)

// Phase is a stretch of the run with a name of its own.
type Phase struct {
	// Name is the key under which it stands in the document.
	Name string `json:"-"`
	// StartMS is when it began; null where it is unknown.
	StartMS *int64 `json:"start_ms"`
	WallMS  int64  `json:"wall_ms"`
	// Agents is left out where there were none.
	Agents int64 `json:"agents,omitempty"`
	// MaxParallel is how many of its agents were at work at once, at most; Slots how
	// many may be, where a phase event says so: as slots, concurrency, max_workers or
	// the like.
	MaxParallel int64  `json:"max_parallel"`
	Slots       *int64 `json:"slots,omitempty"`
	// AgentMS is the wall time of all its agents together, MeanParallel that divided
	// by WallMS.
	AgentMS      int64   `json:"agent_ms"`
	MeanParallel float64 `json:"mean_parallel"`
	Usage
	Errors int64 `json:"errors"` // agents that ended error or were lost
	Stalls int64 `json:"stalls"` // times that a span in it was flagged
	// Counts are further numbers that its phase events gave, such as "libraries".
	Counts map[string]float64 `json:"counts,omitempty"`
	// Depths are the phases that library_depth_n sums up, by depth.
	Depths Phases `json:"depths,omitempty"`
	// WhatIf is there once the phase is done, where it had more than one agent, and
	// Straggler where the last of them was at work beside others. Of library_depth_n, the straggler is the one that was waited for
	// longest, and the savings are those of all depths.
	Straggler *Straggler `json:"straggler,omitempty"`
	WhatIf    *WhatIf    `json:"what_if,omitempty"`
}

// Phases are phases in the order in which they began. As JSON they are one object
// whose keys stand in that order.
type Phases []Phase

// Find gives the phase of that name.
func (p Phases) Find(name string) (Phase, bool) {
	for _, phase := range p {
		if phase.Name == name {
			return phase, true
		}
	}
	return Phase{}, false
}

// MarshalJSON writes the phases as an object, in their order.
func (p Phases) MarshalJSON() ([]byte, error) {
	return objectJSON(len(p), func(i int) (string, any) { return p[i].Name, p[i] })
}

// UnmarshalJSON reads the phases in the order in which they stand.
func (p *Phases) UnmarshalJSON(data []byte) error {
	*p = Phases{}
	return membersJSON(data, func(name string, dec *json.Decoder) error {
		phase := Phase{Name: name}
		if err := dec.Decode(&phase); err != nil {
			return fmt.Errorf("phase %q: %w", name, syntaxFault(err))
		}
		*p = append(*p, phase)
		return nil
	})
}

const (
	depthPrefix = "library_depth_"
	deepName    = depthPrefix + "n"
)

// phasesOf gives the phases of the state, with the depths from 1 on summed as
// library_depth_n.
func phasesOf(state *run.State, agents *crew, startMS int64) Phases {
	phases := Phases{}
	for _, p := range state.Phases() {
		phase := Phase{
			Name: p.Name, StartMS: offset(startMS, p.StartMS), WallMS: p.WallMS, Agents: int64(p.Agents),
			MaxParallel: int64(state.MaxParallel(p.Name)), Usage: usageOf(p.Usage),
			Errors: int64(p.Errors), Stalls: int64(p.Stalls),
		}
		for name, n := range p.Counts {
			if phase.Counts == nil {
				phase.Counts = make(map[string]float64)
			}
			phase.Counts[name] = finite(n)
		}
		agents.describe(&phase, p.State)
		phases = append(phases, phase)
	}
	phases = foldDepths(phases)
	phases.average()
	return phases
}

// average fills in the mean parallelism.
func (p Phases) average() {
	for i := range p {
		p[i].MeanParallel = mean(p[i].AgentMS, p[i].WallMS, p[i].MaxParallel)
		p[i].Depths.average()
	}
}

// foldDepths replaces library_depth_1, _2, ... by one library_depth_n, which
// stands where the first of them stood. A phase that has that name already stays,
// with the wall time that it has: it spans the depths, so theirs are no more.
func foldDepths(phases Phases) Phases {
	_, named := phases.Find(deepName)
	out := Phases{}
	at := -1
	for _, p := range phases {
		depth, deep := depthOf(p.Name)
		switch {
		case !deep && p.Name != deepName:
			out = append(out, p)
			continue
		case at < 0:
			at = len(out)
			out = append(out, Phase{Name: deepName})
		}
		sum := &out[at]
		sum.add(p, !named || !deep)
		if deep {
			p.Name = depth
			sum.Depths = append(sum.Depths, p)
		}
	}
	return out
}

// depthOf gives K of library_depth_K where K is a number from 1 on.
func depthOf(name string) (depth string, ok bool) {
	depth, ok = strings.CutPrefix(name, depthPrefix)
	if !ok || depth == "" || depth[0] == '0' || strings.Trim(depth, "0123456789") != "" {
		return "", false
	}
	return depth, true
}

func (p *Phase) add(q Phase, wall bool) {
	if q.StartMS != nil && (p.StartMS == nil || *q.StartMS < *p.StartMS) {
		p.StartMS = q.StartMS
	}
	if wall {
		p.WallMS += q.WallMS
	}
	p.Agents += q.Agents
	p.MaxParallel = max(p.MaxParallel, q.MaxParallel)
	if q.Slots != nil && (p.Slots == nil || *q.Slots > *p.Slots) {
		p.Slots = q.Slots
	}
	p.AgentMS = plus(p.AgentMS, q.AgentMS)
	if q.Straggler != nil && (p.Straggler == nil || q.Straggler.WaitedMS > p.Straggler.WaitedMS) {
		p.Straggler = q.Straggler
	}
	if q.WhatIf != nil {
		if p.WhatIf == nil {
			p.WhatIf = new(WhatIf)
		}
		p.WhatIf.UnlimitedSlotsMS += q.WhatIf.UnlimitedSlotsMS
		p.WhatIf.StragglerAtMedianMS += q.WhatIf.StragglerAtMedianMS
	}
	p.Tokens = plus(p.Tokens, q.Tokens)
	p.InputTokens = plus(p.InputTokens, q.InputTokens)
	p.OutputTokens = plus(p.OutputTokens, q.OutputTokens)
	p.CachedTokens = plus(p.CachedTokens, q.CachedTokens)
	p.ToolUses = plus(p.ToolUses, q.ToolUses)
	p.CostUSD = finite(p.CostUSD + q.CostUSD)
	p.Errors += q.Errors
	p.Stalls += q.Stalls
	if len(q.Counts) > 0 && p.Counts == nil {
		p.Counts = maps.Clone(q.Counts)
		return
	}
	for name, n := range q.Counts {
		p.Counts[name] = finite(p.Counts[name] + n)
	}
}

// plus adds counters that can be absurd, each at most maxCount.
func plus(a, b int64) int64 { return min(a+b, maxCount) }
