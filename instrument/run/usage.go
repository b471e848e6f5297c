package run

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// The measures of a usage.
const (
	tokens = iota
	input
	output
	cached
	tools
	cost         // in nano-dollars, so that sums are exact in any order
	callsMade    // of an LLM
	callsMetered // ... with tokens
	failures     // of tool uses and LLM calls
	measures
)

// usage is consumption, measure by measure, with a bit for each that was
// reported at all.
type usage struct {
	n   [measures]int64
	has uint16
}

func (u usage) reported(m int) bool { return u.has&(1<<m) != 0 }

func (u *usage) put(m int, v int64) {
	u.n[m] = v
	u.has |= 1 << m
}

// add adds v times sign. What was reported once stays reported.
func (u *usage) add(v usage, sign int64) {
	for m := range u.n {
		u.n[m] = clamp(u.n[m] + sign*v.n[m])
	}
	u.has |= v.has
}

// replace takes old out of the sum and puts v in.
func (u *usage) replace(old, v *usage) {
	for m := range u.n {
		u.n[m] = clamp(u.n[m] + (v.n[m] - old.n[m]))
	}
	u.has |= v.has
}

// clamp keeps sums of absurd counters from overflowing.
func clamp(n int64) int64 {
	const limit = math.MaxInt64 / 4
	return max(-limit, min(limit, n))
}

// over resolves two accounts of the same work: the one with more tokens supplies
// all the measures it has, the other what is missing; equal ones the larger.
func over(a, b *usage) usage {
	if b.n[tokens] > a.n[tokens] {
		a, b = b, a
	}
	best, equal := *a, a.n[tokens] == b.n[tokens]
	for m := range best.n {
		if has := a.has & (1 << m); has == 0 || equal && b.n[m] > a.n[m] {
			best.n[m] = b.n[m]
		}
	}
	best.has |= b.has
	return best
}

func (u usage) view() Usage {
	return Usage{
		Tokens: max(0, u.n[tokens]), Input: max(0, u.n[input]), Output: max(0, u.n[output]), Cached: max(0, u.n[cached]),
		ToolUses: max(0, u.n[tools]), CostUSD: float64(max(0, u.n[cost])) / 1e9,
	}
}

// account is what one source said of one span.
type account struct {
	source string
	now    usage // this attempt: the largest values
	past   int64 // tokens of the attempts before
	// Tokens alone, by this source alone: what the children sum to, and the total.
	kids, total int64
}

// report takes in the counters of an event.
func (a *account) report(c *telemetry.Counters) {
	largest := func(m int, v int64) {
		a.now.n[m] = max(a.now.n[m], v)
		a.now.has |= 1 << m
	}
	for m, v := range [...]telemetry.Int{input: c.Input, output: c.Output, cached: c.Cached, tools: c.ToolUses} {
		if v.OK {
			largest(m, v.N)
		}
	}
	switch {
	case c.Tokens.OK:
		largest(tokens, c.Tokens.N)
	case c.Input.OK || c.Output.OK:
		largest(tokens, a.now.n[input]+a.now.n[output])
	}
	if c.CostUSD.OK && c.CostUSD.F >= 0 && c.CostUSD.F < 1e9 {
		largest(cost, int64(math.Round(c.CostUSD.F*1e9)))
	}
}

func hasCounters(c *telemetry.Counters) bool {
	return c.Tokens.OK || c.Input.OK || c.Output.OK || c.Cached.OK || c.ToolUses.OK || c.CostUSD.OK
}

// account finds or makes what source says of the span.
func (n *node) account(source string) *account {
	for i := range n.accounts {
		if n.accounts[i].source == source {
			return &n.accounts[i]
		}
	}
	n.accounts = append(n.accounts, account{source: source})
	return &n.accounts[len(n.accounts)-1]
}

// newAttempt closes the accounts of the attempt that ended: attempts add up.
func (n *node) newAttempt() {
	var best usage
	for i := range n.accounts {
		a := &n.accounts[i]
		best = over(&best, &a.now)
		a.past = clamp(a.past + a.now.n[tokens])
		a.now = usage{}
	}
	if n.past == nil {
		n.past = new(usage)
	}
	n.past.add(best, 1)
}

func combine(own, kids usage, add bool) usage {
	switch {
	case kids.has == 0:
		return own
	case add:
		own.add(kids, 1)
		return own
	case own.has == 0:
		return kids
	}
	return over(&own, &kids)
}

// settle brings the totals of the span and of all above it up to date.
func (s *State) settle(n *node) {
	for {
		var resolved usage
		total := n.stands()
		if total == nil {
			resolved = n.resolve()
			total = &resolved
		}
		if *total != n.total {
			if n.top != nil {
				n.top.usage.replace(&n.total, total)
				n.top.readings.put(s.at/1000, &n.top.usage)
			}
			if n.metered {
				s.unattributed(n.source).replace(&n.total, total)
			}
			if total.reported(tokens) == n.total.reported(tokens) {
				n.total = *total // no number depends on the rest
			} else {
				s.count(n, -1)
				n.total = *total
				s.count(n, +1)
			}
			s.sample(n)
			s.touch(n)
		}
		if n.parent == nil || !s.hand(n) {
			return
		}
		n = n.parent
	}
}

// hand brings up to date what the span hands up, and tells whether that changed.
func (s *State) hand(n *node) bool {
	// The usual cases by the shortest way; handUp says what they are.
	switch {
	case n.metered:
	case n.owner() && len(n.up.told) == 0:
		if n.total == n.up.settled {
			return false
		}
		if n.parent.below == nil {
			n.parent.below = new(flow)
		}
		n.parent.below.settled.replace(&n.up.settled, &n.total)
		n.up.settled = n.total
		return true
	case !n.owner() && n.muted == nil && n.total.has != 0 && n.below.blank() && len(n.up.told) == 1 && n.up.settled.has == 0:
		said := &n.up.told[0]
		if said.source != n.source {
			break
		}
		if said.usage == n.total {
			return false
		}
		n.parent.below.of(n.source).replace(&said.usage, &n.total)
		said.usage = n.total
		return true
	}
	up := n.handUp(s.spare)
	s.spare = up
	if up.settled == n.up.settled && slices.Equal(up.told, n.up.told) {
		return false
	}
	if n.parent.below == nil {
		n.parent.below = new(flow)
	}
	n.parent.below.add(&n.up, -1)
	n.up, s.spare = up, n.up
	n.parent.below.add(&n.up, 1)
	return true
}

// settleSource does the same for the tokens that one source told of alone.
func (s *State) settleSource(n *node, source string) {
	for {
		a := n.account(source)
		total := a.past + a.now.n[tokens]
		if n.echo {
			total = 0
		}
		if n.scopeSelf {
			total += a.kids
		} else {
			total = max(total, a.kids)
		}
		delta := clamp(total - a.total)
		if delta == 0 {
			return
		}
		a.total = total
		if n.parent == nil {
			return
		}
		n = n.parent
		above := n.account(source)
		above.kids = clamp(above.kids + delta)
	}
}

func (s *State) unattributed(source string) *usage {
	u := s.stray[source]
	if u == nil {
		u = new(usage)
		s.stray[source] = u
	}
	return u
}

// used is how many tokens the whole run used.
func (s *State) used() int64 {
	if len(s.stray) == 0 {
		return s.root.total.n[tokens]
	}
	return s.grand().n[tokens]
}

// only gives the one source of metered work that matches no agent, where there is
// one.
func (s *State) only() (source string, u *usage) {
	if len(s.stray) == 1 {
		for source, u := range s.stray {
			return source, u
		}
	}
	return "", nil
}

// grand is the usage of the whole run: the root's, and the metered work that
// matches no agent where no other source reported of any that does.
func (s *State) grand() usage {
	if len(s.stray) == 0 {
		return s.root.total
	}
	total := s.root.total
	total.add(s.unmatched(func(source string) bool {
		for i := range s.root.accounts {
			a := &s.root.accounts[i]
			if a.source != source && a.total > 0 && (s.stray[a.source] == nil || a.total > s.stray[a.source].n[tokens]) {
				return false
			}
		}
		return true
	}), 1)
	return total
}

// unmatched is the metered work that matches no agent, of the sources that count.
func (s *State) unmatched(counts func(source string) bool) usage {
	if source, u := s.only(); u != nil {
		if !counts(source) {
			return usage{}
		}
		return *u
	}
	var best usage
	for _, source := range slices.Sorted(maps.Keys(s.stray)) {
		if counts(source) {
			best = over(&best, s.stray[source])
		}
	}
	return best
}

// rank orders the sources of one and the same LLM call: the nearest to the
// provider counts.
func rank(source string) int {
	switch source {
	case telemetry.SourceGateway:
		return 3
	case telemetry.SourceOTLP:
		return 2
	case telemetry.SourceSocket:
		return 1
	}
	return 0
}

// call takes note that the span is the LLM call of this id. Of the spans that
// name the same one, a single one counts.
func (s *State) call(n *node, id string) {
	if id == "" || n.callID == id {
		return
	}
	id = strings.Clone(id)
	n.callID = id
	first := s.calls[id]
	if first == nil {
		s.calls[id] = n
		return
	}
	a, b := first.counting(), n.counting()
	switch {
	case a == b:
		return
	case rank(b.source) > rank(a.source):
		a, b = b, a
	}
	s.calls[id] = a
	s.mute(b, a)
}

// counting is the span that counts for an LLM call: mostly the one that told it.
func (n *node) counting() *node {
	for n.muted != nil {
		n = n.muted
	}
	return n
}

func (s *State) mute(n, by *node) {
	before := n.shared
	n.shared = nil
	for _, m := range by.shared {
		if m.source == n.source && m != n {
			by = m
			break
		}
	}
	n.muted, n.echo = by, n.source == by.source
	if !n.echo {
		by.shared = append(by.shared, n)
		s.evident = append(s.evident, n)
	}
	s.settle(n)
	for i := range n.accounts {
		s.settleSource(n, n.accounts[i].source)
	}
	s.touch(n)
	for _, m := range before {
		s.mute(m, by)
	}
}
