package run

import (
	"encoding/json"
	"strings"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// life is where a span stands, as its own events tell it.
type life uint8

const (
	waiting life = iota // queued
	open
	ended
)

// maxDepth bounds the tree, and with it the cost of an event. Real traces stay
// far below it.
const maxDepth = 256

// nodesAtOnce is how many spans memory is taken for at a time.
const nodesAtOnce = 32

// node is a span in the fold. Times are Unix microseconds, 0 where unknown. There
// can be very many: what few of them have stands behind a pointer.
type node struct {
	id       string
	parentID string // as told; parent is the root while it is not known
	parent   *node
	// Children, in order of appearance.
	first, last, next, prev *node
	// Neighbours in the list of spans by last change.
	older, newer *node
	rev          int64
	seq          int

	name, component, kind, phaseField, source, callID string
	status, err                                       string
	message                                           []byte // its memory is used again
	attrs                                             json.RawMessage
	queuedAt, startAt, endAt                          int64
	duration                                          int64 // microseconds, once ended
	earlier                                           []Interval

	accounts   []account
	past       *usage // attempts before this one
	total      usage
	below      *flow   // what the children hand up; nil while there are none
	up         flow    // what it hands up itself
	muted      *node   // the span that counts for the same LLM call
	shared     []*node // those that it mutes, of other sources
	lastReport int64   // when tokens of it, an agent, last grew
	readings   *readings

	same    *node   // the agent that another source told of, and this one is
	united  []*node // the agents that it stands for, told of by other sources
	worksOn string

	agent  *node  // nearest agent above
	phase  *phase // its own, or that which it is in
	top    *phase // phase, where the parent is not in it
	member *phase // the phase that it is a span of

	// Silence, in milliseconds since the run's start.
	startRecv, heard, longest int64
	lastType                  telemetry.Type // of the event that was heard last
	lastID                    string         // ... and its span
	stall                     *Stall         // the one that it shows

	attempts, openBelow int32 // openBelow: open spans below
	beats               int32 // events between its start and its end
	leafAt              int32 // its place among the leaves, from 1 on

	sort         sort // what its kind says
	life         life
	listed       listing // known to enlist
	started      bool    // a start was told for this attempt
	finished     bool    // it ended at least once
	durationTold bool    // it is a duration_ms, not end - start
	statusTold   bool    // by a status or an error
	scopeSelf    bool    // its counters exclude what the children used
	echo         bool    // muted, by a span of the same source
	metered      bool    // metered work that matches no agent
	demoted      bool    // the gateway made it out, and others tell of agents
	renamed      bool    // enlist has to look at it again
	leads        bool    // agents are below
	bySpan       bool    // the phase comes from a phase span, itself or above
	counted      bool    // known to the counts
}

// isAgent tells whether what lies below belongs to it as to an agent.
func (n *node) isAgent() bool { return n.same == nil && n.sort == anAgent }

// counts tells whether it is one of the run's agents.
func (n *node) counts() bool { return n.isAgent() && !n.demoted }

func (n *node) isPhase() bool { return n.sort == aPhase }

func (n *node) label() string {
	switch {
	case n.name != "":
		return n.name
	case n.component != "":
		return n.component
	}
	return n.id
}

// say takes in what the span says that it does, which a busy agent does often.
func (n *node) say(message string) {
	const roomy = 4 << 10 // bytes that one long message must not hold on to
	if cap(n.message) > roomy && len(message) < roomy {
		n.message = nil
	}
	n.message = append(n.message[:0], message...)
}

// stateOf is what a reader is told of the span.
func (s *State) stateOf(n *node) string { return standings[s.standing(n)] }

func (s *State) standing(n *node) standing {
	switch {
	case n.life == ended && n.status == telemetry.StatusError:
		return isFailed
	case n.life == ended && n.status == telemetry.StatusCancelled:
		return isCancelled
	case n.life == ended:
		return isDone
	case s.ended && n != s.root:
		return isLost
	case n.life == waiting:
		return isQueued
	case n.stall != nil:
		return isStalled
	}
	return isRunning
}

// touch moves the span to the end of the list by last change.
func (s *State) touch(n *node) {
	if n.rev == s.rev && (n.newer != nil || s.newest == n) {
		return // it is among the last already
	}
	n.rev = s.rev
	if s.newest == n {
		return
	}
	if n.newer != nil || n.older != nil || s.oldest == n {
		if n.older != nil {
			n.older.newer = n.newer
		} else {
			s.oldest = n.newer
		}
		n.newer.older = n.older // n is not the newest
	}
	n.older, n.newer = s.newest, nil
	if s.newest != nil {
		s.newest.newer = n
	} else {
		s.oldest = n
	}
	s.newest = n
}

// span finds the span or makes it, below the root until its parent is known.
func (s *State) span(id string) *node {
	if n := s.nodes[id]; n != nil {
		return n
	}
	id = strings.Clone(id)
	if len(s.room) == 0 {
		s.room = make([]node, nodesAtOnce)
	}
	n := &s.room[0]
	s.room = s.room[1:]
	n.id, n.seq, n.life = id, len(s.order), waiting
	s.nodes[id] = n
	s.order = append(s.order, n)
	s.link(n, s.root)
	s.locate(n)
	s.touch(n)
	s.adopt(n, id)
	if s.tracedOrphans > 0 {
		if alias := traced(id); alias != "" && s.nodes[alias] == nil {
			s.adopt(n, alias)
		}
	}
	return n
}

// attach hangs the span under the parent that it names, if that is known.
func (s *State) attach(n *node) {
	parent := s.known(n.parentID)
	switch {
	case n.same != nil: // it hangs under the agent that it is
	case parent == nil:
		s.await(n)
	case parent == n.parent:
	case !fits(n, parent):
		s.cut++
	default:
		s.move(n, parent)
	}
}

// fits tells whether the edge closes no circle and the tree stays shallow.
func fits(n, parent *node) bool {
	depth := 1
	for p := parent; p != nil; p = p.parent {
		if p == n {
			return false
		}
		depth++
	}
	return depth+height(n) <= maxDepth
}

func height(n *node) int {
	h := 0
	for c := n.first; c != nil; c = c.next {
		h = max(h, height(c))
	}
	return h + 1
}

func (s *State) move(n, parent *node) {
	s.unlink(n)
	s.link(n, parent)
	s.relocate(n)
	s.touch(n)
}

// link adds the span with all it has to the sums above it.
func (s *State) link(n, parent *node) {
	n.parent = parent
	n.prev = parent.last
	if parent.last != nil {
		parent.last.next = n
	} else {
		parent.first = n
	}
	parent.last = n
	s.opened(parent, int(n.openBelow)+isOpen(n))
	if !n.up.blank() {
		if parent.below == nil {
			parent.below = new(flow)
		}
		parent.below.add(&n.up, 1)
		s.settle(parent)
	}
	for i := range n.accounts {
		a := &n.accounts[i]
		above := parent.account(a.source)
		above.kids = clamp(above.kids + a.total)
		s.settleSource(parent, a.source)
	}
}

func (s *State) unlink(n *node) {
	parent := n.parent
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		parent.first = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		parent.last = n.prev
	}
	n.parent, n.prev, n.next = nil, nil, nil
	s.opened(parent, -int(n.openBelow)-isOpen(n))
	if !n.up.blank() {
		parent.below.add(&n.up, -1)
		s.settle(parent)
	}
	for i := range n.accounts {
		a := &n.accounts[i]
		above := parent.account(a.source)
		above.kids = clamp(above.kids - a.total)
		s.settleSource(parent, a.source)
	}
}

// isOpen is 1 for work that goes on. A process says nothing of itself, so that it
// lives does not mean that anything goes on; of an agent told of twice, the one
// that stands for both does.
func isOpen(n *node) int {
	if n.life == open && n.sort != aProcess && n.same == nil {
		return 1
	}
	return 0
}

// relocate brings up to date, for the span and all below it, what follows from
// where it hangs: the agent above and the phase.
func (s *State) relocate(n *node) {
	if s.locate(n) {
		s.touch(n)
	}
	for c := n.first; c != nil; c = c.next {
		s.relocate(c)
	}
}

func (s *State) locate(n *node) (changed bool) {
	agent := n.parent.agent
	if n.parent.isAgent() {
		agent = n.parent
	}
	ph, bySpan := s.phaseOf(n)
	metered := agent == nil && n.same == nil && (n.sort == aCall &&
		(n.source == telemetry.SourceGateway || n.source == telemetry.SourceOTLP) ||
		n.source == telemetry.SourceGateway && n.isAgent())
	var top *phase
	if ph != n.parent.phase && !metered {
		top = ph
	}
	var member *phase
	if n.isPhase() {
		member = ph
	}
	if agent == n.agent && ph == n.phase && bySpan == n.bySpan && metered == n.metered && top == n.top && member == n.member {
		return false
	}
	s.count(n, -1)
	if n.top != top {
		if n.top != nil {
			n.top.usage.add(n.total, -1)
		}
		if top != nil {
			top.usage.add(n.total, 1)
			if n.total != (usage{}) {
				top.readings.put(s.at/1000, &top.usage)
			}
		}
	}
	if metered != n.metered {
		sign := int64(1)
		if n.metered {
			sign = -1
		}
		s.unattributed(n.source).add(n.total, sign)
		n.metered = metered
	}
	if member != n.member {
		if n.member != nil {
			n.member.leave(n)
		}
		if member != nil {
			member.spans = append(member.spans, n)
		}
		n.member = member
	}
	n.agent, n.phase, n.bySpan, n.top = agent, ph, bySpan, top
	s.count(n, +1)
	s.stretch(n)
	if s.hand(n) {
		s.settle(n.parent)
	}
	if agent != nil {
		agent.leads = agent.leads || n.isAgent()
	}
	if n.muted != nil || n.shared != nil {
		s.evident = append(s.evident, n)
	}
	return true
}
