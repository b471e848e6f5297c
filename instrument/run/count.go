package run

// facts are all that a span adds to the numbers of the run, and of its phase.
type facts struct {
	counted, agent, spawned, finished, unheard, broken bool

	state standing
	phase *phase
}

func (s *State) factsOf(n *node) facts {
	if !n.counted || n == s.root || n.same != nil {
		return facts{}
	}
	f := facts{counted: true, state: s.standing(n)}
	if n.counts() {
		f.agent, f.spawned, f.finished, f.phase = true, n.attempts > 0, n.finished, n.phase
		f.unheard = n.life == open && !s.ended && !n.total.reported(tokens)
	}
	f.broken = f.state == isFailed && n.sort != aTool && n.sort != aCall && n.sort != aProcess
	return f
}

// count adds the span to every number it is part of, or takes it out again.
// Whoever changes what a number depends on takes the span out before and adds it
// after, so that each event costs the same however many spans there are.
func (s *State) count(n *node, sign int) { s.reckon(s.factsOf(n), sign) }

func (s *State) reckon(f facts, sign int) {
	if f.agent {
		s.agents += sign
		s.by[f.state] += sign
		if f.spawned {
			s.spawned += sign
		}
		if f.finished {
			s.agentsFinished += sign
		}
		if f.unheard {
			s.unheard += sign
		}
		if f.phase != nil {
			f.phase.agents += sign
			f.phase.by[f.state] += sign
		}
	}
	if f.broken {
		s.errors += sign
	}
}

// Casualties counts the agents that ended error, and those that are lost: the
// ones that would be if the run ended now.
func (s *State) Casualties() (broken, gone int) {
	return s.by[isFailed], s.by[isLost] + s.by[isQueued] + s.by[isRunning] + s.by[isStalled]
}

// Totals gives the run in numbers.
func (s *State) Totals() Totals {
	grand := s.grand()
	t := Totals{
		Agents: s.agents, AgentsSpawned: s.spawned,
		Queued: s.by[isQueued], Running: s.by[isRunning] + s.by[isStalled], Stalled: s.by[isStalled],
		Done: s.by[isDone], Failed: s.by[isFailed], Cancelled: s.by[isCancelled], Lost: s.by[isLost], Ended: s.agentsFinished,
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
