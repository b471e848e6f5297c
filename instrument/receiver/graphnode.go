package receiver

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// maxGraphNodes bounds how many nodes are taken to be open: a handler that never
// tells of their ends must not cost more and more.
const maxGraphNodes = 1000

// enter begins a node of the graph.
func (g *graphLog) enter(l *graphLine, at time.Time) {
	if len(g.nodes) == maxGraphNodes {
		g.nodes = g.nodes[1:]
	}
	n := &graphNode{run: l.RunID, name: l.NodeName, agent: cmp.Or(l.AgentID, sdkLead)}
	g.nodes = append(g.nodes, n)
	if n.name == "" || n.name == graphUnknown {
		return
	}
	_, parent := g.whose(l, at)
	g.begun++
	n.span = spanPrefix + "node:" + cmp.Or(n.run, strconv.Itoa(g.begun))
	kind := telemetry.KindTask
	if strings.Contains(strings.ToLower(n.name), "discover") {
		kind = telemetry.KindDiscovery
	}
	g.send(telemetry.Event{
		Type: telemetry.SpanStart, SpanID: n.span, Parent: parent, Kind: kind, Name: cutText(n.name), TS: seconds(at),
	})
}

// leave ends a node: that of the run, else the innermost of the name.
func (g *graphLog) leave(l *graphLine, at time.Time) {
	failure := ""
	if l.Event == graphNodeError {
		failure = cmp.Or(errorText(l.Error), "the node failed")
		if a, _ := g.whose(l, at); a != nil && !a.ended {
			a.failure = failure
		}
	}
	found := slices.IndexFunc(g.nodes, func(n *graphNode) bool { return n.run != "" && n.run == l.RunID })
	if found < 0 {
		for i, n := range g.nodes {
			if n.name == l.NodeName && n.agent == cmp.Or(l.AgentID, sdkLead) {
				found = i
			}
		}
	}
	if found < 0 {
		return
	}
	n := g.nodes[found]
	g.nodes = slices.Delete(g.nodes, found, found+1)
	if n.span == "" {
		return
	}
	end := telemetry.Event{Type: telemetry.SpanEnd, SpanID: n.span, Status: telemetry.StatusOK, TS: seconds(at)}
	if failure != "" {
		end.Status, end.Error = telemetry.StatusError, failure
	}
	g.send(end)
}

// layerStart begins a layer: agents that depend on each other's results only
// across layers, and run side by side within one.
func (g *graphLog) layerStart(l *graphLine, at time.Time) {
	g.layer = "" // one whose end was missed
	parent := g.within(sdkLead)
	depth := strconv.Itoa(max(0, l.LayerIndex))
	g.layer = spanPrefix + "layer:" + depth
	g.byName = make(map[string]*graphAgent)
	g.send(telemetry.Event{
		Type: telemetry.SpanStart, SpanID: g.layer, Parent: parent, Kind: telemetry.KindPhase, Name: depthPhase + depth, TS: seconds(at),
		Attrs: telemetry.Attrs(map[string]int{"depth": max(0, l.LayerIndex), "component_count": len(l.Components)}),
	})
	for _, name := range l.Components {
		if name == "" || g.byName[name] != nil {
			continue
		}
		a := &graphAgent{span: spanPrefix + "component:" + name}
		g.byName[name] = a
		g.send(telemetry.Event{
			Type: telemetry.SpanQueued, SpanID: a.span, Parent: g.layer, Component: name, Kind: componentKind(""), TS: seconds(at),
		})
	}
}

// layerDone ends a layer and those of its agents that are open, each with the
// result that it names.
func (g *graphLog) layerDone(l *graphLine, at time.Time) {
	if g.layer == "" {
		return
	}
	for _, result := range l.Results {
		a := g.byName[result.Component]
		if a == nil {
			continue
		}
		text := errorText(result.Error)
		end := telemetry.Event{Status: telemetry.StatusOK}
		if !result.Success {
			end = telemetry.Event{Status: telemetry.StatusError, Error: cmp.Or(text, "the agent failed")}
		}
		if a.ended {
			continue
		}
		finished := at
		if took := time.Duration(result.Seconds * 1e9); a.started && took > 0 && a.began.Add(took).Before(at) {
			finished = a.began.Add(took)
		}
		g.agentEnd(a, finished, end)
	}
	g.send(telemetry.Event{Type: telemetry.SpanEnd, SpanID: g.layer, Status: telemetry.StatusOK, TS: seconds(at)})
	g.layer, g.byName = "", make(map[string]*graphAgent)
}

// depthPhase is the name of the phase that analyses the components of a depth of
// the dependency graph, followed by the depth.
const depthPhase = "library_depth_"

// componentKinds says what the agent that analyses a component of a kind is. A
// contract is analysed like a library.
var componentKinds = map[string]string{
	"library": "library-analysis", "contract": "library-analysis",
	"service": "application-analysis", "cli": "application-analysis", "frontend": "application-analysis", "pipeline": "application-analysis",
	"infra": "external-service-analysis",
}

func componentKind(kind string) string {
	if known, ok := componentKinds[kind]; ok {
		return known
	}
	return "component-analysis"
}
