package receiver

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// graphLog makes spans of the log of a LangChain callback handler under
// LangGraph: the lead as an orchestrator, below it the graph's nodes, the agents
// and the layers they run in, below those their model and tool calls.
//
// What is not taken as it stands, and why:
//
//   - The handler knows one agent at a time. While several of a layer are open it
//     gives everything to the one that was started last, and the first end of any
//     to that one. Their calls are then shown with the layer, which is all that is
//     certain, and they end when the layer does, with the result and duration that
//     it names for each. Agents that run one after the other are exact.
//   - An end of a node names the node that was entered last. It is matched by its
//     run, and by that name only where the run is not known.
//   - Nodes without a name ("unknown") make no span.
//   - A model call that fails is never ended in the log. It ends with its agent,
//     as cancelled, marked "inferred_end".
//   - An agent ends ok unless the last that was heard of it is the error of a node.
//   - The end of the lead: the end of the log, unless an agent is still open then.
//   - A second orchestrator that logs within the same run has the same agent ids:
//     its agents are further attempts of the first one's.
type graphLog struct {
	clock  localClock
	lead   bool
	agents map[string]*graphAgent // by agent_id, the latest of that id
	order  []*graphAgent
	byName map[string]*graphAgent // those of the open layer, by component
	layer  string                 // the span of the open layer
	nodes  []*graphNode           // open, the innermost last
	calls  map[string]*graphCall  // open, by run or tool id
	begun  int
	emit   func(telemetry.Event) // of the line at hand
}

type graphAgent struct {
	span           string
	began          time.Time
	started, ended bool
	well           bool   // a call of its went well
	failure        string // of a node, unless something went well since
}

type graphNode struct{ run, name, agent, span string }

type graphCall struct {
	id, span string
	seq      int
	agent    *graphAgent // nil: of the lead or a layer
}

func newGraphLog(zone *time.Location) adapter {
	g := &graphLog{
		clock: localClock{zone: zone}, agents: make(map[string]*graphAgent), byName: make(map[string]*graphAgent),
		calls: make(map[string]*graphCall),
	}
	return adapter{line: g.line, end: g.end}
}

const leadSpan = spanPrefix + sdkLead

func (g *graphLog) line(raw []byte, emit func(telemetry.Event)) error {
	l, err := decodeGraphLine(raw)
	if err != nil {
		return err
	}
	g.emit = emit
	at := g.clock.read(l.Timestamp)
	if !g.lead {
		g.lead = true
		g.send(telemetry.Event{
			Type: telemetry.SpanStart, SpanID: leadSpan, Kind: telemetry.KindOrchestrator, Name: sdkLeadType, TS: seconds(at),
		})
	}
	switch l.Event {
	case graphNodeStart:
		g.enter(&l, at)
	case graphNodeEnd, graphNodeError:
		g.leave(&l, at)
	case graphSpawn:
		g.spawn(&l, at)
	case graphAgentDone:
		g.agentDone(&l, at)
	case graphModelStart:
		g.callStart(&l, at, "llm:"+l.RunID, l.RunID, telemetry.Event{Kind: telemetry.KindLLM, Name: "llm", Attrs: l.modelAttrs()})
	case graphModelDone:
		g.callEnd(&l, at, "llm:"+l.RunID, l.RunID, telemetry.Event{
			Kind: telemetry.KindLLM, Name: "llm", Status: telemetry.StatusOK, Counters: l.usage(), Attrs: l.modelAttrs(),
		})
	case graphToolStart:
		g.callStart(&l, at, l.ToolUseID, l.ToolUseID, telemetry.Event{Kind: telemetry.KindTool, Name: l.ToolName, Attrs: callAttrs(l.ToolInput)})
	case graphToolDone:
		g.callEnd(&l, at, l.ToolUseID, l.ToolUseID, telemetry.Event{
			Kind: telemetry.KindTool, Status: telemetry.StatusOK, Attrs: lengthAttrs("output_size", l.OutputSize),
		})
	case graphToolError:
		g.callEnd(&l, at, l.ToolUseID, l.ToolUseID, telemetry.Event{
			Kind: telemetry.KindTool, Status: telemetry.StatusError, Error: cmp.Or(errorText(l.Error), "the tool call failed"),
		})
	case graphLayerStart:
		g.layerStart(&l, at)
	case graphLayerDone:
		g.layerDone(&l, at)
	}
	return nil
}

// whose gives the agent that a line is about, nil for the lead and where it is
// not certain, and the span under which what it tells belongs.
func (g *graphLog) whose(l *graphLine, at time.Time) (*graphAgent, string) {
	if g.layer != "" && g.crowded() {
		return nil, g.layer
	}
	if l.AgentID == "" || l.AgentID == sdkLead {
		return nil, g.within(sdkLead)
	}
	a := g.agents[l.AgentID]
	if a == nil { // its start was missed
		a = g.agent(l.AgentID, spanPrefix+"agent:"+l.AgentID, at)
		kind, phase := sdkKind(l.AgentType)
		g.send(telemetry.Event{
			Type: telemetry.SpanUpdate, SpanID: a.span, Parent: g.within(sdkLead), Kind: kind, Name: l.AgentID, Phase: phase, TS: seconds(at),
		})
	}
	for _, n := range slices.Backward(g.nodes) {
		if n.agent == l.AgentID && n.span != "" && n.run != "" && n.run == l.ParentRunID {
			return a, n.span
		}
	}
	return a, a.span
}

// within is the innermost open node of the lead, else its layer, else the lead.
func (g *graphLog) within(agent string) string {
	if g.layer != "" {
		return g.layer
	}
	for _, n := range slices.Backward(g.nodes) {
		if n.agent == agent && n.span != "" {
			return n.span
		}
	}
	return leadSpan
}

// crowded tells whether several agents of the layer are open.
func (g *graphLog) crowded() bool {
	open := 0
	for _, a := range g.byName {
		if a.started && !a.ended {
			open++
		}
	}
	return open > 1
}

func (g *graphLog) agent(id, span string, at time.Time) *graphAgent {
	a := &graphAgent{span: span, began: at, started: true}
	g.agents[id] = a
	g.order = append(g.order, a)
	return a
}

func (g *graphLog) spawn(l *graphLine, at time.Time) {
	name, parent := component(l.Description), g.within(sdkLead)
	kind, phase := sdkKind(l.SubagentType)
	id := cmp.Or(l.SubagentID, l.SubagentType, graphUnknown)
	var a *graphAgent
	if _, layered, ok := layered(l.Description); ok && g.layer != "" {
		name, phase = layered, ""
		if a = g.byName[name]; a != nil && !a.started {
			a.began, a.started = at, true
			g.agents[id] = a
			g.order = append(g.order, a)
		}
	}
	if a == nil || a.ended {
		if a = g.agents[id]; a != nil && !a.ended {
			g.agentEnd(a, at, telemetry.Event{Status: telemetry.StatusCancelled, Attrs: inferredEnd})
		}
		a = g.agent(id, spanPrefix+"agent:"+id, at)
	}
	g.send(telemetry.Event{
		Type: telemetry.SpanStart, SpanID: a.span, Parent: parent, Component: name, Kind: kind, Phase: phase,
		Name: cmp.Or(name, cutText(l.Description), id), TS: seconds(at),
		Attrs: telemetry.Attrs(map[string]string{"agent_id": id, "agent_type": l.SubagentType}),
	})
}

func (g *graphLog) agentDone(l *graphLine, at time.Time) {
	a := g.agents[l.SubagentID]
	switch {
	case a == nil:
		if l.SubagentID == "" {
			return
		}
		g.spawn(l, at)
		a = g.agents[l.SubagentID]
	case a.ended:
		return
	}
	if g.layer != "" && (g.crowded() || !a.well) {
		return // somebody's end, not certainly this one's, or of one that never got going: the layer will tell
	}
	end := telemetry.Event{Status: telemetry.StatusOK}
	if a.failure != "" {
		end = telemetry.Event{Status: telemetry.StatusError, Error: a.failure}
	}
	g.agentEnd(a, at, end)
}

func (g *graphLog) agentEnd(a *graphAgent, at time.Time, end telemetry.Event) {
	var left []*graphCall
	for _, c := range g.calls {
		if c.agent == a {
			left = append(left, c)
		}
	}
	slices.SortFunc(left, func(a, b *graphCall) int { return cmp.Compare(a.seq, b.seq) })
	for _, c := range left {
		delete(g.calls, c.id)
		g.send(telemetry.Event{
			Type: telemetry.SpanEnd, SpanID: c.span, Status: telemetry.StatusCancelled, TS: seconds(at), Attrs: inferredEnd,
		})
	}
	a.ended = true
	end.Type, end.SpanID, end.TS = telemetry.SpanEnd, a.span, seconds(at)
	g.send(end)
}

// inferredEnd marks the end of a span that the log does not tell.
var inferredEnd = telemetry.Attrs(map[string]bool{"inferred_end": true})

// callStart begins a model or tool call, key being its id among those open.
func (g *graphLog) callStart(l *graphLine, at time.Time, span, key string, start telemetry.Event) {
	if g.calls[key] != nil {
		return
	}
	a, parent := g.whose(l, at)
	g.begun++
	if key == "" {
		key = "call-" + strconv.Itoa(g.begun)
		span = key
	}
	c := &graphCall{id: key, span: spanPrefix + span, seq: g.begun, agent: a}
	g.calls[key] = c
	start.Type, start.SpanID, start.Parent, start.TS = telemetry.SpanStart, c.span, parent, seconds(at)
	g.send(start)
}

func (g *graphLog) callEnd(l *graphLine, at time.Time, span, key string, end telemetry.Event) {
	if key == "" {
		return
	}
	c := g.calls[key]
	end.Type, end.SpanID, end.TS = telemetry.SpanEnd, spanPrefix+span, seconds(at)
	if l.DurationMS > 0 {
		end.DurationMS = telemetry.F(l.DurationMS)
	}
	if c == nil { // its start was missed, or it was ended before
		c = &graphCall{}
		c.agent, end.Parent = g.whose(l, at)
	} else {
		end.Kind, end.Name = "", ""
		delete(g.calls, key)
	}
	if c.agent != nil && end.Status == telemetry.StatusOK {
		c.agent.well, c.agent.failure = true, ""
	}
	g.send(end)
}

func (g *graphLog) send(ev telemetry.Event) {
	ev.Source = telemetry.SourceToolCalls
	g.emit(ev)
}

// end closes what the log leaves open.
func (g *graphLog) end(emit func(telemetry.Event)) {
	if !g.lead {
		return
	}
	g.emit = emit
	for _, a := range g.order {
		if !a.ended {
			return // the log was cut off
		}
	}
	for _, n := range slices.Backward(g.nodes) {
		if n.span != "" {
			g.send(telemetry.Event{Type: telemetry.SpanEnd, SpanID: n.span, Status: telemetry.StatusOK, TS: seconds(g.clock.last), Attrs: inferredEnd})
		}
	}
	g.send(telemetry.Event{Type: telemetry.SpanEnd, SpanID: leadSpan, Status: telemetry.StatusOK, TS: seconds(g.clock.last)})
}
