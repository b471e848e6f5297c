package receiver

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// sdkLog makes spans of the log of a tracker on top of the Claude Agent SDK: the
// lead as an orchestrator, below it the agents, below each its tool calls.
//
// What is taken as it stands: who made a call (parent_tool_use_id, else
// agent_id), when it began and ended, whether it failed; and that agent_id,
// tool_use_id, description and spawned_at of a subagent_complete belong
// together. What is not, and why:
//
//   - Spawns are not logged. An agent is shown from its first call on, and its
//     true start and component are told when the log names them, which can be
//     after its end.
//   - Which agent a subagent_complete is about. The tracker takes the first of
//     that type that it has not named yet; of agents that run side by side only
//     the time is right. See completions.
//   - tool_call_count, for the same reason: the calls are counted.
//   - The calls of the lead get no completion. One is ended, as ok, when the lead
//     is next heard of, when an agent appears or when the log ends, marked
//     "inferred_end". Once the log has shown one completion for the lead it is
//     taken to show all.
//   - A call whose completion is missing ends with its result where that was
//     logged, else with its agent, as cancelled; both marked "inferred_end".
//   - What the tracker calls unmapped: shown with the lead, and warned of.
//   - The end of the lead: the end of the log, unless an agent is still open
//     then. Then the log was cut off, and what is open stays open.
type sdkLog struct {
	clock  localClock
	lead   *sdkAgent
	order  []*sdkAgent          // the agents, by first appearance
	agents map[string]*sdkAgent // by parent_tool_use_id, else agent_id
	named  map[string]*sdkAgent // by agent_id, the latest
	bySDK  map[string]*sdkAgent // by sdk_agent_id, where calls carry it
	calls  map[string]*sdkCall  // open, by tool_use_id
	types  []*sdkType           // by first appearance
	// leadCompletes: the lead's calls get completions in this log.
	leadCompletes bool
	begun         int                   // calls so far
	unmapped      map[string]bool       // those that were warned of
	emit          func(telemetry.Event) // of the line at hand
}

// sdkAgent is the lead or an agent. Times are the log's.
type sdkAgent struct {
	span string
	kin  *sdkType // nil for the lead
	// started: its true start, spawned, was told.
	started              bool
	spawned, first, last time.Time // first and last: when it was heard of
	ended                bool
	calls                map[string]*sdkCall // open
}

// sdkCall is a tool call that is not known to have ended.
type sdkCall struct {
	id, span string
	agent    *sdkAgent
	seq      int
	result   time.Time // when its result was seen, while its completion is missing
}

// spanPrefix keeps the ids of spans apart from those of a client.
const spanPrefix = telemetry.SourceToolCalls + ":"

func newSDKLog(zone *time.Location) adapter {
	g := &sdkLog{
		clock: localClock{zone: zone}, agents: make(map[string]*sdkAgent), named: make(map[string]*sdkAgent),
		bySDK: make(map[string]*sdkAgent), calls: make(map[string]*sdkCall),
	}
	return adapter{line: g.line, end: g.end}
}

func (g *sdkLog) line(raw []byte, emit func(telemetry.Event)) error {
	l, err := decodeSDKLine(raw)
	if err != nil {
		return err
	}
	g.emit = emit
	at := g.clock.read(l.Timestamp)
	if l.unmapped() {
		g.warnUnmapped(&l, at)
	}
	switch l.Event {
	case sdkStart:
		g.callStart(&l, at)
	case sdkComplete:
		g.callComplete(&l, at)
	case sdkResult:
		g.callResult(&l, at)
	case sdkText:
		g.activity(&l, at, lengthAttrs("text_length", l.TextLength))
	case sdkThinking:
		g.activity(&l, at, lengthAttrs("thinking_length", l.ThinkingLength))
	case sdkAgentDone:
		g.agentDone(&l, at)
	default:
		return nil // of a later version: nothing is known of it
	}
	for _, kin := range g.types {
		g.assign(kin)
	}
	return nil
}

// heard finds or makes the agent that a line is about. call is the call it names,
// if that is open: trackers leave parent_tool_use_id out where they have that.
func (g *sdkLog) heard(l *sdkLine, call *sdkCall, at time.Time) *sdkAgent {
	var a *sdkAgent
	switch {
	case call != nil:
		a = call.agent
	case l.AgentID == sdkLead || l.AgentType == sdkLeadType || l.AgentID == "" && l.ParentToolUseID == "" || l.unmapped():
		a = g.leader(at)
	case l.ParentToolUseID != "":
		a = g.agent(l.ParentToolUseID, l.AgentID, l.AgentType, at)
	case g.named[l.AgentID] != nil:
		a = g.named[l.AgentID]
	default:
		a = g.agent(l.AgentID, l.AgentID, l.AgentType, at)
	}
	if l.SDKAgentID != "" && a != g.lead {
		g.bySDK[l.SDKAgentID] = a
	}
	if l.Event == sdkStart || l.Event == sdkText || l.Event == sdkThinking {
		g.settle(a)
	}
	if at.After(a.last) {
		a.last = at
	}
	return a
}

// leader gives the lead, which begins with the log.
func (g *sdkLog) leader(at time.Time) *sdkAgent {
	if g.lead == nil {
		g.lead = &sdkAgent{span: spanPrefix + sdkLead, last: at, calls: make(map[string]*sdkCall)}
		g.send(telemetry.Event{
			Type: telemetry.SpanStart, SpanID: g.lead.span, Kind: telemetry.KindOrchestrator, Name: sdkLeadType, TS: seconds(at),
		})
	}
	return g.lead
}

// agent finds or makes an agent. A new one is told by an update, not a start: of
// that only this much is known, that it is over.
func (g *sdkLog) agent(key, agentID, agentType string, at time.Time) *sdkAgent {
	if a := g.agents[key]; a != nil {
		return a
	}
	lead := g.leader(at)
	g.moveOn()
	parent := lead.span
	if spawner := g.calls[key]; spawner != nil { // an agent's agent
		parent = spawner.span
	}
	a := &sdkAgent{span: spanPrefix + "agent:" + key, kin: g.kin(agentType), first: at, last: at, calls: make(map[string]*sdkCall)}
	a.kin.open = append(a.kin.open, a)
	g.order = append(g.order, a)
	g.agents[key], g.named[agentID] = a, a
	kind, phase := sdkKind(agentType)
	g.send(telemetry.Event{
		Type: telemetry.SpanUpdate, SpanID: a.span, Parent: parent, Kind: kind, Name: agentID, Phase: phase, TS: seconds(at),
		Attrs: telemetry.Attrs(map[string]string{"agent_id": agentID, "agent_type": agentType}),
	})
	return a
}

func (g *sdkLog) callStart(l *sdkLine, at time.Time) {
	a := g.heard(l, nil, at)
	if a == g.lead {
		g.moveOn()
	}
	if g.calls[l.ToolUseID] != nil {
		return
	}
	g.begun++
	c := &sdkCall{id: cmp.Or(l.ToolUseID, "call-"+strconv.Itoa(g.begun)), agent: a, seq: g.begun}
	c.span = spanPrefix + c.id
	a.calls[c.id], g.calls[c.id] = c, c
	g.send(telemetry.Event{
		Type: telemetry.SpanStart, SpanID: c.span, Parent: a.span, Kind: telemetry.KindTool, Name: l.ToolName,
		TS: seconds(at), Attrs: callAttrs(l.ToolInput),
	})
	if l.ToolUseID == "" { // nothing can be told of it any more
		g.callInferred(c, at, telemetry.StatusOK)
	}
}

func (g *sdkLog) callComplete(l *sdkLine, at time.Time) {
	if l.ToolUseID == "" {
		g.heard(l, nil, at)
		return
	}
	c := g.calls[l.ToolUseID]
	a := g.heard(l, c, at)
	g.leadCompletes = g.leadCompletes || a == g.lead
	end := telemetry.Event{
		Type: telemetry.SpanEnd, SpanID: spanPrefix + l.ToolUseID, Status: telemetry.StatusOK, TS: seconds(at),
		Attrs: lengthAttrs("output_size", l.OutputSize),
	}
	if text, failed := l.failed(); failed {
		end.Status, end.Error = telemetry.StatusError, cmp.Or(text, "the tool call failed")
	}
	if c == nil { // its start was missed, or it was ended before
		end.Parent, end.Kind, end.Name = a.span, telemetry.KindTool, l.ToolName
	} else {
		g.forget(c)
	}
	g.send(end)
}

func (g *sdkLog) callResult(l *sdkLine, at time.Time) {
	c := g.calls[l.ToolUseID]
	g.heard(l, c, at)
	if c != nil && c.result.IsZero() {
		c.result = at
	}
}

func (g *sdkLog) activity(l *sdkLine, at time.Time, attrs json.RawMessage) {
	a := g.heard(l, nil, at)
	if a == g.lead {
		g.moveOn()
	}
	g.send(telemetry.Event{Type: telemetry.SpanUpdate, SpanID: a.span, TS: seconds(at), Attrs: attrs})
}

// maxUnmapped is how many agents that the tracker does not know are told of.
const maxUnmapped = 20

// warnUnmapped tells, once for each, of an agent that the tracker could not map:
// what it does stands with the lead, or is missing.
func (g *sdkLog) warnUnmapped(l *sdkLine, at time.Time) {
	who := cmp.Or(l.SDKAgentID, l.AgentID, l.SubagentID, l.ParentToolUseID, l.ToolUseID)
	if g.unmapped[who] || len(g.unmapped) == maxUnmapped {
		return
	}
	if g.unmapped == nil {
		g.unmapped = make(map[string]bool)
	}
	g.unmapped[who] = true
	g.send(telemetry.Event{
		Type: telemetry.Log, Level: "warn", TS: seconds(at),
		Message: cutText(strings.Join(strings.Fields("the tracker of the orchestrator knows no agent "+who+" "+
			cmp.Or(l.AgentType, l.SubagentType)), " ")) + ": what it does is shown with the lead, or is missing",
	})
}

// settle ends the calls of an agent whose results were seen: it went on without
// their completions.
func (g *sdkLog) settle(a *sdkAgent) {
	for _, c := range inOrder(a.calls) {
		if !c.result.IsZero() {
			g.callInferred(c, c.result, telemetry.StatusOK)
		}
	}
}

// moveOn ends the calls of the lead: it does something else by now.
func (g *sdkLog) moveOn() {
	if g.lead == nil || g.leadCompletes {
		return
	}
	for _, c := range inOrder(g.lead.calls) {
		g.callInferred(c, g.clock.last, telemetry.StatusOK)
	}
}

// callInferred ends a call whose completion is missing.
func (g *sdkLog) callInferred(c *sdkCall, at time.Time, status string) {
	g.forget(c)
	g.send(telemetry.Event{
		Type: telemetry.SpanEnd, SpanID: c.span, Status: status, TS: seconds(at),
		Attrs: telemetry.Attrs(map[string]bool{"inferred_end": true}),
	})
}

func (g *sdkLog) forget(c *sdkCall) {
	delete(g.calls, c.id)
	delete(c.agent.calls, c.id)
}

func inOrder(calls map[string]*sdkCall) []*sdkCall {
	return slices.SortedFunc(maps.Values(calls), func(a, b *sdkCall) int { return cmp.Compare(a.seq, b.seq) })
}

// end closes what the log leaves open.
func (g *sdkLog) end(emit func(telemetry.Event)) {
	if g.lead == nil {
		return
	}
	g.emit = emit
	for _, kin := range g.types {
		g.assignRest(kin)
	}
	open := false
	for _, a := range g.order {
		g.settle(a)
		open = open || !a.ended
	}
	g.settle(g.lead)
	for _, c := range inOrder(g.lead.calls) {
		g.callInferred(c, g.clock.last, telemetry.StatusOK)
	}
	if !open {
		g.send(telemetry.Event{Type: telemetry.SpanEnd, SpanID: g.lead.span, Status: telemetry.StatusOK, TS: seconds(g.clock.last)})
	}
}

func (g *sdkLog) send(ev telemetry.Event) {
	ev.Source = telemetry.SourceToolCalls
	g.emit(ev)
}
