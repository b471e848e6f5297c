package run

import (
	"slices"
	"strings"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// Several sources can tell of one and the same agent: its own log, the telemetry
// of its framework, the gateway that its LLM calls pass. Each gives it an id of
// its own. They are one agent if they work on the same component at the same time,
// or if the same LLM call lies below both. Then one of them stands for all, and the
// others hang under it, are no agents any more, and add what they know.

// trust orders the sources by how well they know which agents there are.
func trust(source string) int {
	switch source {
	case telemetry.SourceGateway:
		return 0
	case telemetry.SourceOTLP:
		return 1
	case telemetry.SourceToolCalls, telemetry.SourceBurr:
		return 2
	}
	return 3
}

// maxNamesakes bounds how many agents of one component are compared.
const maxNamesakes = 64

// identify finds out whether the span, which an event was about, is an agent that
// another source told of, and likewise for the agents of calls told of twice.
func (s *State) identify(n *node) {
	if n.renamed {
		s.enlist(n)
	}
	if s.several && n.worksOn != "" && n.isAgent() {
		if other := s.namesake(n); other != nil {
			s.unite(n, other)
		}
	}
	for len(s.evident) > 0 {
		call := s.evident[0]
		s.evident = s.evident[1:]
		for _, other := range call.shared {
			s.compare(other, call)
		}
		if call.muted != nil && !call.echo {
			s.compare(call, call.muted)
		}
	}
	s.evident = nil
}

// compare looks at where two spans of one LLM call hang, the muted one first.
func (s *State) compare(muted, call *node) {
	a, b := muted.agent, call.agent
	switch {
	case a == nil && b != nil && muted.metered:
		s.join(muted, b)
	case b == nil && a != nil && call.metered:
		s.join(call, a)
	case a != nil && b != nil && a != b && a.source != b.source:
		// Frameworks nest their agents; which of them is meant is not known then.
		if lesser := lesser(a, b); lesser.agent == nil && (!lesser.leads || lesser.source == telemetry.SourceGateway) {
			s.unite(a, b)
		}
	}
	s.settle(muted)
}

// join hangs a call that matched no agent under the one that made it.
func (s *State) join(call, agent *node) {
	if fits(call, agent) {
		s.move(call, agent)
	}
}

// enlist keeps the agents by what they work on, and who told of them.
func (s *State) enlist(n *node) {
	n.renamed = false
	key := ""
	if n.isAgent() && n != s.root {
		key = worksOn(n)
		s.several = s.several || s.told+len(s.inferred) > 0 && n.source != s.firstTeller
		if s.told+len(s.inferred) == 0 && !s.several {
			s.firstTeller = n.source
		}
	}
	if key != n.worksOn {
		if n.worksOn != "" {
			s.workers[n.worksOn] = slices.DeleteFunc(s.workers[n.worksOn], func(m *node) bool { return m == n })
		}
		if n.worksOn = key; key != "" {
			s.workers[key] = append(s.workers[key], n)
		}
	}
	s.list(n)
}

// listing is as what an agent is known to enlist.
type listing uint8

const (
	unlisted listing = iota
	told             // by a source that knows the agents
	inferred         // by the gateway, from calls
)

func (s *State) list(n *node) {
	as := unlisted
	switch {
	case !n.isAgent() || n == s.root:
	case n.source == telemetry.SourceGateway:
		as = inferred
	default:
		as = told
	}
	was := n.listed
	if n.listed = as; as == was {
		return
	}
	switch was {
	case told:
		s.told--
	case inferred:
		s.inferred = slices.DeleteFunc(s.inferred, func(m *node) bool { return m == n })
		s.count(n, -1)
		n.demoted = false
		s.count(n, +1)
	}
	switch as {
	case told:
		s.told++
	case inferred:
		s.inferred = append(s.inferred, n)
		s.demote(n)
	}
	if s.told <= 1 {
		s.demote(s.inferred...)
	}
}

// demote lets agents that the gateway made out count only while nobody told of
// any: beside them those that were not recognised are calls without an agent.
func (s *State) demote(agents ...*node) {
	for _, n := range agents {
		if demoted := s.told > 0; n.demoted != demoted {
			s.count(n, -1)
			n.demoted = demoted
			s.count(n, +1)
			s.touch(n)
		}
	}
}

// worksOn is what an agent works on: its component, else its name.
func worksOn(n *node) string {
	key := n.component
	if key == "" {
		key = n.name
	}
	return strings.ReplaceAll(strings.ToLower(key), "_", "-")
}

// namesake finds the agent that another source told of, that works on the same
// and at the same time: the one told of by the most trusted source, then the one
// that began nearest.
func (s *State) namesake(n *node) *node {
	var best *node
	list := s.workers[n.worksOn]
	if len(list) > maxNamesakes {
		list = list[len(list)-maxNamesakes:]
	}
	for _, m := range list {
		if m.source == n.source || !atOnce(m, n) || taken(m, n) {
			continue
		}
		if best == nil || trust(m.source) > trust(best.source) ||
			trust(m.source) == trust(best.source) && apart(m, n) < apart(best, n) {
			best = m
		}
	}
	return best
}

// grace is how far the clocks of two sources may lie apart, and how long an agent
// prepares before its first call: microseconds.
const grace = 500_000

// atOnce tells whether the times of the agents overlap. One that waits to be
// started can be the one that is heard of elsewhere already.
func atOnce(a, b *node) bool {
	if a.life == waiting || b.life == waiting {
		return a.life != ended && b.life != ended
	}
	return (a.life == open || a.endAt+grace >= b.startAt) && (b.life == open || b.endAt+grace >= a.startAt)
}

// taken tells whether the source of n told of another agent that m is: at the same
// time, or before n began when m had ended.
func taken(m, n *node) bool {
	if trust(n.source) >= trust(m.source) {
		return false
	}
	return slices.ContainsFunc(m.united, func(c *node) bool {
		nested := c.parentID == n.id || isBelow(n, c) // frameworks nest what is one agent
		return c != n && c.source == n.source && !nested && (overlap(c, n) || m.life == ended && n.startAt > m.endAt)
	})
}

// overlap is atOnce to the moment: one source has one clock.
func overlap(a, b *node) bool {
	if a.life == waiting || b.life == waiting {
		return true
	}
	return (a.life == open || a.endAt > b.startAt) && (b.life == open || b.endAt > a.startAt)
}

func apart(a, b *node) int64 {
	if a.life == waiting || b.life == waiting {
		return 0
	}
	return max(a.startAt-b.startAt, b.startAt-a.startAt)
}

// lesser is the one of two agents that the other stands for.
func lesser(a, b *node) *node {
	switch ta, tb := trust(a.source), trust(b.source); {
	case isBelow(a, b):
		return a
	case isBelow(b, a):
		return b
	case ta < tb, ta == tb && a.seq > b.seq:
		return a
	}
	return b
}

// retold has readers told anew of an agent and all that it stands for.
func (s *State) retold(n *node) {
	s.touch(n)
	for _, other := range n.united {
		s.retold(other)
	}
}

// blame lets an agent whose own source does not say how it ended have failed where
// another source saw it fail. The gateway sees calls fail, not agents.
func (s *State) blame(n *node) {
	for stands := n.same; stands != nil; n, stands = stands, stands.same {
		if n.life != ended || n.status != telemetry.StatusError || n.source == telemetry.SourceGateway ||
			stands.life != ended || stands.statusTold || stands.status == telemetry.StatusError {
			return
		}
		s.count(stands, -1)
		stands.status, stands.err = n.status, n.err
		s.count(stands, +1)
		s.settle(stands)
		s.touch(stands)
	}
}

// standsFor is the span that stands for this one: mostly itself.
func (n *node) standsFor() *node {
	for n.same != nil {
		n = n.same
	}
	return n
}

func isBelow(n, above *node) bool {
	for p := n.parent; p != nil; p = p.parent {
		if p == above {
			return true
		}
	}
	return false
}

// unite lets the better known of two agents stand for both.
func (s *State) unite(a, b *node) {
	n := lesser(a, b)
	stands := a
	if n == a {
		stands = b
	}
	// Frameworks nest what is one agent: it hands up what it reported once.
	for p := n.parent; p != nil && p != stands; p = p.parent {
		if p.source == n.source && p.sort == anAgent && worksOn(p) == worksOn(n) {
			stands = p
		}
	}
	if !fits(n, stands) {
		return
	}
	if n.life == open && stands.life == waiting { // its start is still to be told
		s.count(stands, -1)
		stands.life, stands.startAt, stands.attempts = open, n.startAt, 1
		stands.startRecv, stands.heard = n.startRecv, n.heard
		s.count(stands, +1)
		s.opened(stands.parent, isOpen(stands))
		s.leaf(stands)
		s.stretch(stands)
	}
	s.resume(n, s.lastAt)
	s.count(n, -1)
	was := isOpen(n)
	n.same = stands
	s.count(n, +1)
	s.opened(n.parent, isOpen(n)-was)
	s.leaf(n)
	s.enlist(n)
	if n.parent != stands {
		s.unlink(n)
		s.link(n, stands)
	}
	for _, inner := range stands.united { // told before the one that it is nested in
		if inner.same == stands && inner.source == n.source && s.known(inner.parentID) == n && fits(inner, n) {
			inner.same = n
			n.united = append(n.united, inner)
			s.move(inner, n)
		}
	}
	stands.united = append(stands.united, n)
	s.blame(n)
	s.relocate(n)
	s.settle(n)
	s.touch(stands)
	s.retold(n)
}
