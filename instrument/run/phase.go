package run

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// phase is a stretch of the run. Times are Unix microseconds.
type phase struct {
	name        string
	seq         int
	spans       []*node // the phase spans of that name
	announced   bool    // by a phase event
	closed      bool    // by an X-complete event
	wall        int64   // as told, microseconds
	wallTold    bool
	first, last int64
	agents      int
	by          tally // agents
	usage       usage
	readings    readings
	stalls      int
	counts      map[string]float64
}

// phaseName writes a name the way phases are compared: library-depth-0 and
// library_depth_0 are one.
func phaseName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return '_'
		}
		return r
	}, name)
}

func (s *State) phaseNamed(name string) *phase {
	name = phaseName(name)
	p := s.phases[name]
	if p == nil {
		name = strings.Clone(name)
		p = &phase{name: name, seq: len(s.phaseOrder)}
		s.phases[name] = p
		s.phaseOrder = append(s.phaseOrder, p)
	}
	return p
}

// phaseOf finds the phase of a span: that of the nearest phase span, itself
// included, else its phase field, else that of the span above.
func (s *State) phaseOf(n *node) (p *phase, bySpan bool) {
	switch {
	case n.isPhase():
		name := n.name
		if name == "" {
			name = n.component
		}
		if name == "" {
			name = strings.TrimPrefix(n.id, "phase-")
		}
		return s.phaseNamed(name), true
	case n.parent.bySpan:
		return n.parent.phase, true
	case n.phaseField != "":
		return s.phaseNamed(n.phaseField), false
	}
	return n.parent.phase, false
}

func (p *phase) leave(n *node) {
	p.spans = slices.DeleteFunc(p.spans, func(m *node) bool { return m == n })
}

// stretch lets the phase of the span reach over it.
func (s *State) stretch(n *node) {
	if n.phase == nil {
		return
	}
	if n.startAt != 0 && n.life != waiting && (n.phase.first == 0 || n.startAt < n.phase.first) {
		n.phase.first = n.startAt
	}
	if n.life == ended {
		n.phase.last = max(n.phase.last, n.endAt)
	}
}

// boundary folds a phase event: X-complete closes X, any other name begins it.
func (s *State) boundary(e *telemetry.Event, at int64) {
	name := phaseName(e.Name)
	base, complete := strings.CutSuffix(name, "_complete")
	if base == "" {
		base, complete = name, false
	}
	p := s.phaseNamed(base)
	p.announced = true
	wall := int64(0)
	if e.WallMS.OK {
		wall = micros(e.WallMS.F)
		p.wall, p.wallTold = wall, true
	}
	for key, n := range e.Counts {
		if p.counts == nil {
			p.counts = make(map[string]float64)
		}
		p.counts[s.keep(key)] = n
	}
	if complete {
		p.closed = true
		p.last = max(p.last, at)
		at -= wall
	}
	if p.first == 0 {
		p.first = at
	}
}

// phaseState tells how far the phase is.
func (s *State) phaseState(p *phase) string {
	if p.closed || (s.ended && p.first != 0) {
		return Done
	}
	queued, running, done := p.by[isQueued], p.by[isRunning]+p.by[isStalled], 0
	done = p.agents - queued - running
	if len(p.spans) > 0 {
		queued, running, done = 0, 0, 0
		for _, n := range p.spans {
			switch n.life {
			case waiting:
				queued++
			case open:
				running++
			default:
				done++
			}
		}
	} else if p.announced {
		running++
	}
	switch {
	case running > 0, queued > 0 && done > 0:
		return Running
	case queued > 0, p.first == 0:
		return Queued
	case done == 0 && p.last == 0:
		return Running
	}
	return Done
}

// wallOf is what the phase took, in microseconds, once it is done.
func (s *State) wallOf(p *phase, state string) int64 {
	switch {
	case p.wallTold:
		return p.wall
	case state != Done:
		return 0
	case len(p.spans) == 1 && p.spans[0].life == ended:
		return p.spans[0].duration
	case len(p.spans) > 1:
		var ranges []stretchOfTime
		for _, n := range p.spans {
			if n.life == ended {
				ranges = append(ranges, stretchOfTime{n.startAt, n.endAt})
			}
		}
		return covered(ranges)
	}
	return max(0, s.lastOf(p)-p.first)
}

// lastOf is when the phase was last at work: an agent that is lost was, up to the
// run's end.
func (s *State) lastOf(p *phase) int64 {
	if s.ended && p.by[isLost] > 0 && !p.closed {
		return max(p.last, s.root.endAt)
	}
	return p.last
}

type stretchOfTime struct{ from, to int64 }

// covered is the length that the ranges cover together.
func covered(ranges []stretchOfTime) int64 {
	slices.SortFunc(ranges, func(a, b stretchOfTime) int { return cmp.Compare(a.from, b.from) })
	sum, reached := int64(0), int64(0)
	for i, r := range ranges {
		if i == 0 || r.from > reached {
			reached = r.from
		}
		if r.to > reached {
			sum += r.to - reached
			reached = r.to
		}
	}
	return sum
}

// Phases gives the phases in the order in which they began, those that wait
// last.
func (s *State) Phases() []Phase {
	order := slices.Clone(s.phaseOrder)
	slices.SortFunc(order, func(a, b *phase) int {
		switch {
		case a.first != 0 && b.first != 0 && a.first != b.first:
			return cmp.Compare(a.first, b.first)
		case (a.first == 0) != (b.first == 0):
			return cmp.Compare(b.first, a.first)
		}
		return cmp.Compare(a.seq, b.seq)
	})
	out := make([]Phase, 0, len(order))
	for _, p := range order {
		if p.agents == 0 && !p.announced && len(p.spans) == 0 && p.first == 0 {
			continue // left behind by a span that went elsewhere
		}
		state := s.phaseState(p)
		v := Phase{
			Name: p.name, State: state, StartMS: millis(p.first), WallMS: millis(s.wallOf(p, state)),
			Agents: p.agents, Queued: p.by[isQueued], Running: p.by[isRunning] + p.by[isStalled],
			Errors: p.by[isFailed] + p.by[isLost], Lost: p.by[isLost], Stalls: p.stalls, Usage: p.usage.view(), Counts: maps.Clone(p.counts),
		}
		v.Ended = v.Agents - v.Queued - v.Running
		if state == Done {
			v.EndMS = millis(max(s.lastOf(p), p.first))
		}
		out = append(out, v)
	}
	return out
}
