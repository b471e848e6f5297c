package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/testdata/eigenda"
)

// script is what the demo's orchestrator does: a list of moments. It is made
// whole before it is played, so a test can read it without waiting.
type script struct{ cues []cue }

// cue is a moment: what is told and what is printed then.
type cue struct {
	at     time.Duration // since the orchestrator began
	events []telemetry.Event
	line   string
}

// manifestMS is how long writing the manifest takes, at the end of discovery.
const manifestMS = 40

// author writes a script, in milliseconds of the run as it was.
type author struct {
	speed float64
	cues  []cue
}

func newScript(p eigenda.Profile, speed float64) script {
	a := &author{speed: speed}
	discovery := p.Phases[0]
	a.discover(p, discovery.WallMS)
	at := discovery.WallMS
	a.queue(p, at)
	for _, ph := range p.Phases[1:] {
		a.phase(p, ph, at)
		at += ph.WallMS
	}
	a.say(at, "")
	slices.SortStableFunc(a.cues, func(x, y cue) int { return cmp.Compare(x.at, y.at) })
	return script{a.cues}
}

func (a *author) scaled(ms int64) time.Duration {
	return time.Duration(float64(ms) * float64(time.Millisecond) / a.speed)
}

// planned is a duration as the orchestrator reports it: the one of the profile,
// divided like all times.
func (a *author) planned(ms int64) telemetry.Float {
	return telemetry.F(float64(ms) / a.speed)
}

func (a *author) tell(at int64, events ...telemetry.Event) {
	a.cues = append(a.cues, cue{at: a.scaled(at), events: events})
}

func (a *author) say(at int64, line string) {
	a.cues = append(a.cues, cue{at: a.scaled(at), line: line})
}

const (
	dim   = "\x1b[2m"
	bold  = "\x1b[1m"
	green = "\x1b[32m"
	plain = "\x1b[0m"
)

func clock(ms int64) string {
	return fmt.Sprintf("%s%d:%04.1f%s", dim, ms/60_000, float64(ms%60_000)/1000, plain)
}

func (a *author) discover(p eigenda.Profile, wall int64) {
	a.tell(0, telemetry.Event{Type: telemetry.SpanStart, SpanID: "discovery", Name: "discovery", Kind: telemetry.KindDiscovery})
	a.say(0, clock(0)+" discovery of "+p.SourceRepo)
	a.tell(wall-manifestMS, telemetry.Event{Type: telemetry.SpanStart, SpanID: "manifest", Name: "manifest", Kind: telemetry.KindManifestWrite, Parent: "discovery"})
	a.tell(wall,
		telemetry.Event{Type: telemetry.Artifact, SpanID: "manifest", Path: "manifest.json", Kind: "manifest"},
		telemetry.Event{Type: telemetry.SpanEnd, SpanID: "manifest", Status: telemetry.StatusOK, DurationMS: a.planned(manifestMS)},
		telemetry.Event{Type: telemetry.SpanEnd, SpanID: "discovery", Status: telemetry.StatusOK, DurationMS: a.planned(wall)})
	a.say(wall, fmt.Sprintf("%s %d components, manifest written", clock(wall), len(p.Agents)-1))
}

func phaseID(name string) string { return "phase-" + strings.ReplaceAll(name, "_", "-") }

// queue tells the plan: every phase and every agent is known when discovery ends.
func (a *author) queue(p eigenda.Profile, at int64) {
	var events []telemetry.Event
	for _, ph := range p.Phases[1:] {
		events = append(events, telemetry.Event{Type: telemetry.SpanQueued, SpanID: phaseID(ph.Name), Name: ph.Name, Kind: telemetry.KindPhase})
	}
	for _, agent := range p.Agents {
		events = append(events, telemetry.Event{
			Type: telemetry.SpanQueued, SpanID: agentID(agent), Parent: phaseID(agent.Phase), Kind: agent.Kind,
			Component: agent.Name, Name: agent.Name,
			Attrs: telemetry.Attrs(map[string]any{"component_type": agent.ComponentType, "depends_on": agent.DependsOn}),
		})
	}
	a.tell(at, events...)
}

func agentID(agent eigenda.Agent) string {
	return strings.TrimSuffix(agent.Kind, "-analysis") + "-" + strings.ReplaceAll(agent.Name, "/", "-")
}

func (a *author) phase(p eigenda.Profile, ph eigenda.Phase, at int64) {
	a.say(at, fmt.Sprintf("%s %s%s%s, agents: %d", clock(at), bold, strings.ReplaceAll(ph.Name, "_", " "), plain, ph.Agents))
	a.tell(at, telemetry.Event{Type: telemetry.SpanStart, SpanID: phaseID(ph.Name)})
	for _, agent := range p.Agents {
		if agent.Phase == ph.Name {
			a.agent(agent, at+agent.StartOffsetMS)
		}
	}
	end := at + ph.WallMS
	a.tell(end,
		telemetry.Event{Type: telemetry.Phase, Name: ph.Name + "-complete", WallMS: a.planned(ph.WallMS), Counts: map[string]float64{"agents": float64(ph.Agents)}},
		telemetry.Event{Type: telemetry.SpanEnd, SpanID: phaseID(ph.Name), Status: telemetry.StatusOK, DurationMS: a.planned(ph.WallMS)})
}

// the tools that the agents use, in turn: what an analysis of code does.
var demoTools = []string{"Read", "Grep", "Read", "Glob", "Read", "Bash", "Grep", "Read"}

// agent lets an agent work: it uses its tools at an even pace, and reports its
// tokens after each.
func (a *author) agent(agent eigenda.Agent, at int64) {
	id := agentID(agent)
	a.tell(at, telemetry.Event{Type: telemetry.SpanStart, SpanID: id, Parent: phaseID(agent.Phase)})
	used := func(part, of int64) telemetry.Counters {
		tokens := agent.Tokens * part / of
		output := tokens / 9
		in := tokens - output
		return telemetry.Counters{
			Tokens: telemetry.N(tokens), Input: telemetry.N(in), Output: telemetry.N(output), Cached: telemetry.N(in * 7 / 10),
			ToolUses: telemetry.N(agent.ToolUses * part / of),
		}
	}
	for i := range agent.ToolUses {
		begin, end := at+agent.DurationMS*(4*i+1)/(4*agent.ToolUses), at+agent.DurationMS*(4*i+2)/(4*agent.ToolUses)
		call, tool := fmt.Sprintf("%s/%d", id, i), demoTools[int(i)%len(demoTools)]
		if i == agent.ToolUses-1 {
			tool = "Write"
		}
		a.tell(begin, telemetry.Event{Type: telemetry.SpanStart, SpanID: call, Parent: id, Name: tool, Kind: telemetry.KindTool})
		a.tell(end,
			telemetry.Event{Type: telemetry.SpanEnd, SpanID: call, Status: telemetry.StatusOK, DurationMS: a.planned(end - begin)},
			telemetry.Event{Type: telemetry.SpanUpdate, SpanID: id, Counters: used(i+1, agent.ToolUses+1), Message: tool + " in " + agent.Name})
	}
	end := at + agent.DurationMS
	var events []telemetry.Event
	for _, path := range analyses(agent) {
		events = append(events, telemetry.Event{Type: telemetry.Artifact, SpanID: id, Path: path, Kind: "analysis"})
	}
	a.tell(end, append(events, telemetry.Event{
		Type: telemetry.SpanEnd, SpanID: id, Status: telemetry.StatusOK, DurationMS: a.planned(agent.DurationMS), Counters: used(1, 1),
	})...)
	a.say(end, fmt.Sprintf("%s %s✓%s %s %s%d tokens, %d tool uses%s", clock(end), green, plain, agent.Name, dim, agent.Tokens, agent.ToolUses, plain))
}

// analyses are the files that an agent writes: of an application two, what it
// does and how it is put together.
func analyses(agent eigenda.Agent) []string {
	switch agent.Kind {
	case "application-analysis":
		return []string{"applications/" + agent.Name + ".md", "architecture/" + agent.Name + ".md"}
	case "synthesis":
		return []string{"architecture/README.md"}
	}
	return []string{"libraries/" + agent.Name + ".md"}
}
