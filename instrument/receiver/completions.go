package receiver

import (
	"cmp"
	"slices"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// sdkType is what is known of the agents of one type: those that are open, and
// the completions of which it is not clear yet whose they are.
//
// A tracker that hears of a completion by its type alone names the first agent
// of the type that it has not named yet. So the log says that one agent of the
// type ended at that time, and not which. It can not be one that is heard of
// later, nor one that has a call open. A completion is therefore held back until
// as many agents are left for it as there are completions, mostly until the
// others made their next call; those that ended are then matched so that each
// was silent for the shortest time before. After holdBack without that, the
// agent that was heard of last before the completion is taken: an agent reports
// soon after its last call.
type sdkType struct {
	name  string
	open  []*sdkAgent  // by first appearance
	times []completion // held back, in order
	// stray are those that no known agent can be behind.
	stray []completion
}

type completion struct {
	at    time.Time
	named *sdkAgent
}

// holdBack is how long a completion may wait to be assigned, in the log's time:
// long beside the pauses between an agent's calls, short beside what counts as
// a stall.
const holdBack = 60 * time.Second

func (g *sdkLog) kin(name string) *sdkType {
	for _, kin := range g.types {
		if kin.name == name {
			return kin
		}
	}
	kin := &sdkType{name: name}
	g.types = append(g.types, kin)
	return kin
}

// agentDone takes a subagent_complete. What it tells of the named agent is true;
// whose end it is may not be that agent's.
func (g *sdkLog) agentDone(l *sdkLine, at time.Time) {
	key := cmp.Or(l.ToolUseID, l.SubagentID)
	named := g.agents[key]
	if named == nil {
		named = g.named[l.SubagentID]
	}
	if named == nil { // it has made no call
		if key == "" {
			return
		}
		first := at
		if spawned, ok := g.clock.before(l.SpawnedAt, at); ok && spawned.Before(at) {
			first = spawned
		}
		named = g.agent(key, cmp.Or(l.SubagentID, key), l.SubagentType, first)
	}
	g.name(named, l)
	whose := named
	if l.SDKAgentID != "" { // the completion was told by its type, and the agent guessed
		whose = g.bySDK[l.SDKAgentID]
	}
	if whose != nil {
		g.agentEnd(whose, at)
		return
	}
	named.kin.times = append(named.kin.times, completion{at: at, named: named})
}

// name tells what a completion says of the agent that it names.
func (g *sdkLog) name(a *sdkAgent, l *sdkLine) {
	if a.started {
		return
	}
	a.started, a.spawned = true, a.first
	if spawned, ok := g.clock.before(l.SpawnedAt, a.first); ok && spawned.Before(a.first) {
		a.spawned = spawned
	}
	ev := telemetry.Event{
		Type: telemetry.SpanStart, SpanID: a.span, Component: component(l.Description), TS: seconds(a.spawned),
	}
	ev.Name = cmp.Or(ev.Component, cutText(l.Description))
	g.send(ev)
}

func (g *sdkLog) agentEnd(a *sdkAgent, at time.Time) {
	if a.ended {
		return
	}
	g.settle(a)
	for _, c := range inOrder(a.calls) {
		g.callInferred(c, at, telemetry.StatusCancelled)
	}
	a.ended = true
	a.kin.open = slices.DeleteFunc(a.kin.open, func(b *sdkAgent) bool { return a == b })
	g.send(telemetry.Event{
		Type: telemetry.SpanEnd, SpanID: a.span, Status: telemetry.StatusOK, TS: seconds(at), DurationMS: durationMS(a.spawned, at),
	})
}

// candidates are the agents whose end the completion can be, the one heard of
// last at the end.
func (kin *sdkType) candidates(at time.Time, busy bool) []*sdkAgent {
	var found []*sdkAgent
	for _, a := range kin.open {
		if !a.last.After(at) && (busy || !a.busy()) {
			found = append(found, a)
		}
	}
	slices.SortStableFunc(found, func(a, b *sdkAgent) int { return a.last.Compare(b.last) })
	return found
}

// busy tells whether the agent has a call open of which no result was seen.
func (a *sdkAgent) busy() bool {
	for _, c := range a.calls {
		if c.result.IsZero() {
			return true
		}
	}
	return false
}

// assign gives the completions to agents as far as that is clear by now.
func (g *sdkLog) assign(kin *sdkType) {
	placed := 0 // completions up to i that have a candidate
	for i := 0; i < len(kin.times); i++ {
		c := kin.times[i]
		late := g.clock.last.Sub(c.at) >= holdBack
		found := kin.candidates(c.at, false)
		if len(found) == 0 && late { // a call of which nothing was ever heard again
			found = kin.candidates(c.at, true)
		}
		if len(found) == 0 {
			if late {
				kin.stray = append(kin.stray, c)
				kin.times = slices.Delete(kin.times, i, i+1)
				i--
			}
			continue
		}
		// Whoever can have ended at one time can have ended at a later one too, so
		// once they are no more than the completions, the group is settled.
		if placed++; len(found) <= placed || late {
			rest := g.match(kin.times[:i+1], found)
			kin.times = append(rest, kin.times[i+1:]...)
			placed, i = 0, -1
		}
	}
}

// match ends an agent for each of the completions, as far as there are enough,
// and gives those that are left: from the last one on, each takes the agent that
// was heard of last before it.
func (g *sdkLog) match(times []completion, found []*sdkAgent) (rest []completion) {
	ends := make(map[*sdkAgent]time.Time)
	for _, c := range slices.Backward(times) {
		i := len(found) - 1
		for i >= 0 && found[i].last.After(c.at) {
			i--
		}
		if i < 0 {
			rest = append(rest, c)
			continue
		}
		ends[found[i]] = c.at
		found = slices.Delete(found, i, i+1)
	}
	for _, a := range g.order {
		if at, ok := ends[a]; ok {
			g.agentEnd(a, at)
		}
	}
	slices.Reverse(rest)
	return rest
}

// assignRest gives out what is left when the log has ended: to whom it can be,
// else to the agent that was named, else to any of the type.
func (g *sdkLog) assignRest(kin *sdkType) {
	if n := len(kin.times); n > 0 {
		rest := g.match(kin.times, kin.candidates(kin.times[n-1].at, true))
		kin.stray = append(kin.stray, rest...)
		kin.times = nil
	}
	for _, c := range kin.stray {
		a := c.named
		if a.ended {
			if len(kin.open) == 0 {
				break
			}
			a = kin.open[0]
		}
		at := c.at
		if a.last.After(at) {
			at = a.last
		}
		g.agentEnd(a, at)
	}
	kin.stray = nil
}
