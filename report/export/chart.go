package export

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// chart is a run laid out for a viewer that knows processes and threads, and in
// which what stands on one thread nests. Times are Unix milliseconds.
type chart struct {
	state     *run.State
	root      string
	base, end int64
	processes []string // the run, then its phases; the pid is the index plus 1
	threads   []*thread
	bars      []bar
	bySpan    map[string][]int // the bars of a span, in order of time
}

// thread is a line of the chart. Its number is no other's, whatever the process.
type thread struct {
	pid, tid int
	name     string
}

// bar is an attempt of a span, or a phase, as it is drawn.
type bar struct {
	id, parent, name, kind, state, err string
	isAgent                            bool
	from, to                           int64
	at                                 *thread
	args                               map[string]any
}

// group is what is drawn together: an agent and what it did, or what nobody did.
type group struct {
	pid   int
	name  string
	owner string // the agent's id, empty where there is none
	bars  []bar
}

// The names of the groups that belong to no agent.
const (
	groupPhases    = "phases"
	groupProcesses = "processes"
	groupOther     = "without an agent"
)

func newChart(state *run.State) *chart {
	info := state.Info()
	c := &chart{state: state, root: state.RootID(), base: info.StartMS, end: horizon(state), bySpan: make(map[string][]int)}
	c.processes = []string{cmp.Or(info.RunID, "run")}
	pids := make(map[string]int)
	groups := []*group{{pid: 1, name: "run", owner: c.root}, {pid: 1, name: groupPhases}}
	for _, p := range state.Phases() {
		c.processes = append(c.processes, p.Name)
		pids[p.Name] = len(c.processes)
		if p.StartMS != 0 {
			to := max(p.EndMS, p.StartMS+p.WallMS) // of which either can know more
			if p.EndMS == 0 {
				to = c.end
			}
			groups[1].bars = append(groups[1].bars, bar{
				name: p.Name, kind: telemetry.KindPhase, state: p.State, from: p.StartMS, to: max(p.StartMS, to),
				args: map[string]any{"state": p.State, "agents": p.Agents, "tokens": p.Tokens, "tool_uses": p.ToolUses, "wall_ms": p.WallMS},
			})
		}
	}
	if root, ok := state.Span(c.root); ok && info.StartMS != 0 {
		root.State = info.Status
		groups[0].bars = []bar{{
			id: root.ID, name: cmp.Or(root.Name, root.Kind), kind: root.Kind, state: root.State, err: info.Error,
			from: info.StartMS, to: max(info.StartMS, c.end), args: args(&root),
		}}
	}
	c.lay(append(groups, c.group(pids)...))
	return c
}

// group gathers the spans by agent.
func (c *chart) group(pids map[string]int) []*group {
	owners := make(map[string]bool) // agents, and what others name as theirs
	for v := range c.state.Spans() {
		if v.IsAgent {
			owners[v.ID] = true
		} else if v.Agent != "" {
			owners[v.Agent] = true
		}
	}
	var groups []*group
	known := make(map[string]*group)
	in := func(key string, fresh group) *group {
		g := known[key]
		if g == nil {
			g = &fresh
			known[key] = g
			groups = append(groups, g)
		}
		return g
	}
	for v := range c.state.Spans() {
		if v.SameAs != "" || v.StartMS == 0 {
			continue
		}
		pid := max(1, pids[v.Phase])
		var g *group
		switch owner := v.Agent; {
		case owners[v.ID]:
			g = in("agent "+v.ID, group{pid: pid, name: name(v.Name), owner: v.ID})
		case owner != "":
			above, _ := c.state.Span(owner)
			g = in("agent "+owner, group{pid: max(1, pids[above.Phase]), name: name(above.Name), owner: owner})
		case v.Kind == telemetry.KindProcess:
			g = in(groupProcesses, group{pid: 1, name: groupProcesses})
		default:
			g = in(fmt.Sprint(groupOther, pid), group{pid: pid, name: groupOther})
		}
		g.bars = append(g.bars, c.barsOf(&v)...)
	}
	slices.SortStableFunc(groups, func(a, b *group) int { return cmp.Compare(a.pid, b.pid) })
	return groups
}

// barsOf gives a bar for each attempt of the span. One that was told of late can
// begin before the one before it ended: that is cut.
func (c *chart) barsOf(v *run.Span) []bar {
	one := bar{id: v.ID, parent: v.Parent, name: cmp.Or(v.Name, v.Kind), kind: v.Kind, isAgent: v.IsAgent, args: args(v)}
	var bars []bar
	for i, earlier := range v.Earlier {
		b := one
		b.from, b.to, b.state = earlier.StartMS, max(earlier.StartMS, earlier.EndMS), earlier.State
		b.args = map[string]any{"span_id": v.ID, "kind": v.Kind, "state": earlier.State, "attempt": i + 1}
		bars = append(bars, b)
	}
	one.from, one.to, one.state, one.err = v.StartMS, v.EndMS, v.State, v.Error
	if one.to == 0 {
		one.to = c.end
	}
	one.to = max(one.from, one.to)
	bars = append(bars, one)
	slices.SortStableFunc(bars, func(a, b bar) int { return cmp.Compare(a.from, b.from) })
	for i := range bars[1:] {
		bars[i].to = min(bars[i].to, bars[i+1].from)
	}
	return bars
}

// lay gives every bar a thread on which it nests. An agent has the first of its
// group, and nothing there stands partly outside of it.
func (c *chart) lay(groups []*group) {
	tid := len(c.processes) // numbers of processes are left to them
	for i, g := range groups {
		if len(g.bars) == 0 && i > 0 { // the run's own is always there
			continue
		}
		var lanes []*lane
		open := func() *lane {
			tid++
			label := g.name
			if len(lanes) > 0 {
				label = fmt.Sprintf("%s (%d)", g.name, len(lanes)+1)
			}
			l := &lane{thread: &thread{g.pid, tid, label}}
			lanes, c.threads = append(lanes, l), append(c.threads, l.thread)
			return l
		}
		first := open()
		for i := range g.bars {
			if b := &g.bars[i]; g.rank(*b) == 0 {
				b.at, first.frames = first.thread, append(first.frames, frame{b.from, b.to})
			}
		}
		slices.SortStableFunc(g.bars, func(a, b bar) int {
			return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to), g.rank(a)-g.rank(b))
		})
		for i := range g.bars {
			b := &g.bars[i]
			if b.at != nil {
				continue
			}
			at := slices.IndexFunc(lanes, func(l *lane) bool { return l.takes(b.from, b.to) })
			if at < 0 {
				open()
				at = len(lanes) - 1
			}
			b.at = lanes[at].thread
			lanes[at].stack = append(lanes[at].stack, b.to)
		}
		for _, b := range g.bars {
			if b.id != "" {
				c.bySpan[b.id] = append(c.bySpan[b.id], len(c.bars))
			}
			c.base = min(c.base, b.from)
			c.bars = append(c.bars, b)
		}
	}
}

// rank puts the owner's bars before the others.
func (g *group) rank(b bar) int {
	if g.owner != "" && b.id == g.owner {
		return 0
	}
	return 1
}

type frame struct{ from, to int64 }

// lane is a thread while bars are put on it, in order of time.
type lane struct {
	thread *thread
	frames []frame // the agent's own bars
	stack  []int64 // ends of the bars that are open
}

// takes tells whether a bar nests in what the lane has: on an agent's it lies
// within one of the agent's own bars or beside them.
func (l *lane) takes(from, to int64) bool {
	for _, f := range l.frames {
		within := from >= f.from && to <= f.to
		if beside := to <= f.from || from >= f.to; !within && !beside {
			return false
		}
	}
	for len(l.stack) > 0 && l.stack[len(l.stack)-1] <= from {
		l.stack = l.stack[:len(l.stack)-1]
	}
	return len(l.stack) == 0 || to <= l.stack[len(l.stack)-1]
}

// barOf is the attempt of the span that was under way at this time, else the last
// one before it; nil where there is none.
func (c *chart) barOf(span string, at int64) *bar {
	var found *bar
	for _, i := range c.bySpan[span] {
		if b := &c.bars[i]; b.from <= at {
			found = b
		}
	}
	return found
}

// threadOf is the thread of the span, the run's where it has none.
func (c *chart) threadOf(span string) *thread {
	if list := c.bySpan[span]; len(list) > 0 {
		return c.bars[list[0]].at
	}
	return c.threads[0]
}
