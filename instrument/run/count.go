package run

import "github.com/obsrun/obsrun/instrument/telemetry"

// count adds the span to every number it is part of, or takes it out again.
// Whoever changes what a number depends on takes the span out before and adds it
// after, so that each event costs the same however many spans there are.
func (s *State) count(n *node, sign int) {
	if !n.counted || n == s.root || n.same != nil {
		return
	}
	state := s.stateOf(n)
	if n.counts() {
		s.agents += sign
		s.by[state] += sign
		if n.attempts > 0 {
			s.spawned += sign
		}
		if n.finished {
			s.agentsFinished += sign
		}
		if n.life == open && !s.ended && !n.total.reported(tokens) {
			s.unheard += sign
		}
		if n.phase != nil {
			n.phase.agents += sign
			n.phase.by[state] += sign
		}
	}
	if state == Failed {
		switch n.kind {
		case telemetry.KindTool, telemetry.KindLLM, telemetry.KindProcess:
		default:
			s.errors += sign
		}
	}
}

// Casualties counts the agents that ended error, and those that are lost: the
// ones that would be if the run ended now.
func (s *State) Casualties() (failed, lost int) {
	return s.by[Failed], s.by[Lost] + s.by[Queued] + s.by[Running] + s.by[Stalled]
}

// Totals gives the run in numbers.
func (s *State) Totals() Totals {
	grand := s.grand()
	t := Totals{
		Agents: s.agents, AgentsSpawned: s.spawned,
		Queued: s.by[Queued], Running: s.by[Running] + s.by[Stalled], Stalled: s.by[Stalled],
		Done: s.by[Done], Failed: s.by[Failed], Cancelled: s.by[Cancelled], Lost: s.by[Lost], Ended: s.agentsFinished,
		Usage:           grand.view(),
		AnalysesWritten: len(s.analyses), Artifacts: len(s.paths),
		Errors: s.errors, ToolErrors: int(max(0, grand.n[failures])), Stalls: len(s.stalls), Spans: len(s.order) - 1,
		LLMCalls: int(max(0, grand.n[callsMade])), LLMCallsWithUsage: int(max(0, grand.n[callsMetered])),
		TokenSources: make(map[string]int64),
		Events:       s.rev, UnknownEvents: s.unknown, RejectedEvents: s.attrs.Rejected, CyclesCut: s.cut,
	}
	if s.planned && s.agents > 0 {
		percent := 100 * s.agentsFinished / s.agents
		if !s.ended {
			percent = min(percent, 99)
		}
		t.Percent = &percent
	}
	for i := range s.root.accounts {
		if a := &s.root.accounts[i]; a.total > 0 && a.source != "" {
			t.TokenSources[a.source] = a.total
		}
	}
	if stray := s.unmatched(func(string) bool { return true }); stray.n[tokens] > 0 {
		t.TokenSources["unattributed"] = stray.n[tokens]
	}
	return t
}
