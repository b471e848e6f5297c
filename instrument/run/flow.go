package run

import "github.com/obsrun/obsrun/instrument/telemetry"

// share is what one source tells of the work below a span.
type share struct {
	source string
	usage  usage
}

// flow is what spans hand up to the one above: what is settled, and what is still
// told source by source. Two sources that tell of LLM calls and tool uses of one
// agent tell of the same ones, so of these the one with more tokens counts; what
// belongs to different agents adds up.
type flow struct {
	settled usage
	told    []share // no source twice
}

// add adds what f hands up, times sign.
func (to *flow) add(f *flow, sign int64) {
	to.settled.add(f.settled, sign)
	for i := range f.told {
		to.of(f.told[i].source).add(f.told[i].usage, sign)
	}
}

func (to *flow) of(source string) *usage {
	for i := range to.told {
		if to.told[i].source == source {
			return &to.told[i].usage
		}
	}
	to.told = append(to.told, share{source: source})
	return &to.told[len(to.told)-1].usage
}

// blank tells whether nothing was ever handed up.
func (f *flow) blank() bool {
	return f == nil || f.settled.has == 0 && len(f.told) == 0 && f.settled.n == (usage{}).n
}

// empty tells whether there is nothing in it.
func (f *flow) empty() bool {
	if f == nil {
		return true
	}
	for i := range f.told {
		if f.told[i].usage.n != (usage{}).n {
			return false
		}
	}
	return f.settled.n == (usage{}).n
}

// sum decides between the sources.
func (to *flow) sum() usage {
	if to == nil {
		return usage{}
	}
	if len(to.told) == 0 {
		return to.settled
	}
	best := to.told[0].usage
	for i := range to.told[1:] {
		best = over(&best, &to.told[i+1].usage)
	}
	if to.settled.has != 0 {
		best.add(to.settled, 1)
	}
	return best
}

// owner tells whether it is decided at this span between what several sources
// tell of the work below. The root is one, too, but hands nothing up.
func (n *node) owner() bool {
	return n.isAgent() || n.sort == aPhase || n.sort == anOrchestrator
}

// handUp gives what the span hands up, n.total being up to date. The memory of
// into is used again.
func (n *node) handUp(into flow) flow {
	up := flow{told: into.told[:0]}
	switch {
	case n.metered:
	case n.owner():
		up.settled = n.total
	case n.below.empty():
		if own := n.says(n.total); own.has != 0 {
			up.told = append(up.told, share{n.source, own})
		}
	default:
		n.pass(&up)
	}
	return up
}

// pass hands up what others told of the work below, and what was told of the
// span itself.
func (n *node) pass(up *flow) {
	own := n.says(n.reported())
	if own.n[tokens] > 0 && !n.scopeSelf && n.below.settled.n[tokens] > 0 {
		up.settled = n.total // what it reported includes what is settled below
		return
	}
	up.settled = n.below.settled
	up.told = append(up.told, n.below.told...)
	switch {
	case n.scopeSelf:
		up.settled.add(own, 1)
	case own.has != 0:
		mine := up.of(n.source)
		*mine = n.with(own, *mine)
	}
}

// says is what the span adds to what its source tells: own, but for an LLM call
// that a more trusted source told of, too. At the same agent it is that source's
// figures, elsewhere nothing.
func (n *node) says(own usage) usage {
	m := n.muted
	switch {
	case m == nil:
		return own
	case n.echo, n.agent != m.agent, n.agent == nil && n.phase != m.phase:
		return usage{}
	}
	return m.reported()
}

// reported is what was told of the span itself. A tool span is one tool use, an
// LLM span one call, whatever else they say.
func (n *node) reported() usage {
	if n.echo {
		return usage{}
	}
	var own usage
	if n.past != nil {
		own = *n.past
	}
	switch {
	case len(n.accounts) == 0:
	case len(n.accounts) == 1 && own.has == 0:
		own = n.accounts[0].now
	default:
		var best usage
		for i := range n.accounts {
			best = over(&best, &n.accounts[i].now)
		}
		own.add(best, 1)
	}
	if n.life == waiting {
		return own
	}
	failed := int64(0)
	if n.life == ended && n.status == telemetry.StatusError {
		failed = 1
	}
	switch n.sort {
	case aTool:
		own.put(tools, 1)
		own.put(failures, failed)
	case aCall:
		own.put(callsMade, 1)
		own.put(failures, failed)
		if own.reported(tokens) {
			own.put(callsMetered, 1)
		} else {
			own.put(callsMetered, 0)
		}
	}
	return own
}

// with lays what was told of the span over what is told of the work below.
func (n *node) with(own, below usage) usage {
	total := combine(own, below, n.scopeSelf)
	if n.sort == aTool { // a tool use beside those below it
		total.n[tools] = own.n[tools] + below.n[tools]
		total.n[failures] = own.n[failures] + below.n[failures]
	}
	return total
}

// resolve gives the span's total: of what it reported and what its children sum
// to, the one with more tokens.
func (n *node) resolve() usage {
	if own, below := n.pair(); own != nil {
		return over(own, below)
	}
	if n.below == nil {
		return n.reported()
	}
	return n.with(n.reported(), n.below.sum())
}

// stands gives the span's total where it stands as it is: in the one account of it,
// or in what the spans below hand up. Nil where it has to be resolved. Most events
// change totals up to the root, and this spares nearly all of them the sums.
func (n *node) stands() *usage {
	own, below := n.parts()
	switch {
	case own == nil:
		return nil
	case below.has == 0:
		return own
	case own.has == 0:
		return below
	}
	return nil
}

// pair is parts where over decides between the two, else nil.
func (n *node) pair() (own, below *usage) {
	if n.scopeSelf {
		return nil, nil
	}
	return n.parts()
}

var nothing usage

// parts gives what was told of the span itself and of the work below, where each
// is a single sum that stands somewhere; nil where one is not.
func (n *node) parts() (own, below *usage) {
	if n.sort == aTool || n.sort == aCall || n.past != nil || n.echo || len(n.accounts) > 1 {
		return nil, nil
	}
	own, below = &nothing, &nothing
	if len(n.accounts) == 1 {
		own = &n.accounts[0].now
	}
	switch b := n.below; {
	case b == nil:
	case len(b.told) == 0:
		below = &b.settled
	case len(b.told) == 1 && b.settled.has == 0:
		below = &b.told[0].usage
	default:
		return nil, nil
	}
	return own, below
}
