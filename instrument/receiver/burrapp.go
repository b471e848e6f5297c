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

// burrAgent is an application as an agent (or the pipeline), or a component that
// a pipeline queued and whose application is still to come. Both tell of one span.
type burrAgent struct {
	span           string
	started, ended bool
}

// burrRun is what the applications of a run know of each other.
type burrRun struct {
	// agents has those that a pipeline queued and those with an application of
	// their own, by app id.
	agents map[string]*burrAgent
	// queued: a pipeline said what the agent is.
	queued map[string]bool
	// expect is told of an application that is about to write.
	expect func(appID string)
	emit   func(telemetry.Event)
}

func (r *burrRun) send(ev telemetry.Event) {
	ev.Source = telemetry.SourceBurr
	r.emit(ev)
}

// agent finds or makes the agent of an app id.
func (r *burrRun) agent(appID, span string) *burrAgent {
	a := r.agents[appID]
	if a == nil {
		a = &burrAgent{span: span}
		r.agents[appID] = a
	}
	return a
}

// burrApp makes spans of the log of one Burr application.
//
// What is not taken as it stands, and why:
//
//   - An application is never said to have ended. One of a known kind ends with
//     its action "respond"; any other with an action that leads nowhere in its
//     graph, or with an exception, else when the log does ("inferred_end").
//   - The steps "execute_tools" of an agent log no single calls. They are those
//     that the model asked for in the step before, each as long as the step.
//   - Token counts are taken from attributes, if any are logged.
type burrApp struct {
	run     *burrRun
	agent   *burrAgent
	project string
	id      string
	// sub: one of the agents of a known pipeline, or that pipeline itself.
	sub      bool
	pipeline *burrPipeline
	// files gives metadata.json and graph.json, which stand beside the log.
	files func(name string) []byte

	steps   map[int64]*burrStep  // open, by sequence id
	spans   map[string]*burrSpan // open, by Burr's id
	pending []toolCall           // asked for by the last model call
	leads   map[string]bool      // the actions from which another follows; nil: not known
	read    bool                 // leads was looked for
	last    time.Time
}

// burrStep is an action that runs.
type burrStep struct {
	seq    int64
	span   string // empty: it has none of its own
	action string
	calls  []toolCall
}

type burrSpan struct {
	span, step, failure string
	tool                bool
}

const (
	subagentPrefix  = "subagent-"
	pipelinePrefix  = "flashlight-"
	analyzerPrefix  = subagentPrefix + "component-analyzer-"
	burrSpanPrefix  = telemetry.SourceBurr + ":"
	actionInput     = "receive_input"
	actionModel     = "call_llm"
	actionTools     = "execute_tools"
	actionRespond   = "respond"
	toolSpanPrefix  = "tool:"
	burrProjectAttr = "burr.project"
	burrAppAttr     = "burr.app_id"
)

// subagentKinds says what the agents of a known orchestrator are, by type.
var subagentKinds = []struct{ prefix, kind, phase string }{
	{analyzerPrefix, componentKind(""), ""},
	{subagentPrefix + "architecture-documenter-", "synthesis", "synthesis"},
	{subagentPrefix + "external-service-analyzer-", "external-service-analysis", ""},
	{subagentPrefix, "agent", ""},
}

// newBurrApp reads the log of the application id of a project.
func newBurrApp(run *burrRun, project, id string, files func(name string) []byte) *burrApp {
	a := &burrApp{
		run: run, project: project, id: id, files: files,
		steps: make(map[int64]*burrStep), spans: make(map[string]*burrSpan),
	}
	switch {
	case strings.HasPrefix(id, subagentPrefix):
		a.sub = true
		a.agent = run.agent(id, burrSpanPrefix+id)
	case strings.HasPrefix(project, pipelinePrefix):
		a.pipeline = &burrPipeline{app: a}
		fallthrough
	default:
		a.agent = run.agent(project+"/"+id, burrSpanPrefix+project+"/"+id)
	}
	return a
}

func (a *burrApp) line(l *burrLine) {
	a.last = l.at
	a.open(l)
	switch l.Type {
	case burrBegin:
		a.begin(l)
	case burrEnd, burrSuspend:
		a.finish(l)
	case burrSpanBegin:
		a.spanBegin(l)
	case burrSpanEnd:
		a.spanEnd(l.SpanID, l.at)
	case burrAttribute:
		a.attribute(l)
	case burrStream, burrStreamItem, burrStreamEnd:
		if s := a.steps[l.ActionSequenceID]; s != nil && s.span != "" {
			a.run.send(telemetry.Event{Type: telemetry.SpanUpdate, SpanID: s.span, TS: seconds(l.at)})
		}
	}
}

// open begins the application's span with its first line, and a new attempt with
// the first step after it had ended.
func (a *burrApp) open(l *burrLine) {
	if a.agent.started && (!a.agent.ended || l.Type != burrBegin) {
		return
	}
	if a.agent.ended { // what is open is of the attempt before
		a.forget()
	}
	a.agent.started, a.agent.ended = true, false
	ev := telemetry.Event{
		Type: telemetry.SpanStart, SpanID: a.agent.span, Kind: "agent", Name: a.id, Parent: a.spawner(), TS: seconds(l.at),
		Attrs: telemetry.Attrs(map[string]string{burrProjectAttr: a.project, burrAppAttr: a.id}),
	}
	if l.Type != burrBegin { // it was under way already
		ev.Type = telemetry.SpanUpdate
	}
	switch {
	case a.pipeline != nil:
		ev.Kind, ev.Name = telemetry.KindOrchestrator, a.project
	case a.sub:
		for _, known := range subagentKinds {
			if name, ok := strings.CutPrefix(a.id, known.prefix); ok {
				ev.Kind, ev.Phase, ev.Component, ev.Name = known.kind, known.phase, name, name
				break
			}
		}
		if a.run.queued[a.id] { // the pipeline said what it is
			ev.Kind, ev.Name = "", ""
		}
	}
	a.run.send(ev)
}

// spawner is the span of the step that started this application, as its metadata
// say.
func (a *burrApp) spawner() string {
	var metadata struct {
		Spawned *struct {
			AppID      string `json:"app_id"`
			SequenceID *int64 `json:"sequence_id"`
		} `json:"spawning_parent_pointer"`
	}
	if json.Unmarshal(a.files("metadata.json"), &metadata) != nil || metadata.Spawned == nil || metadata.Spawned.AppID == "" {
		return ""
	}
	parent := a.run.agents[metadata.Spawned.AppID]
	if parent == nil {
		parent = a.run.agents[a.project+"/"+metadata.Spawned.AppID]
	}
	if parent == nil || parent == a.agent {
		return ""
	}
	return parent.span
}

func (a *burrApp) begin(l *burrLine) {
	if a.steps[l.SequenceID] != nil {
		return
	}
	s := &burrStep{seq: l.SequenceID, action: l.Action, span: a.agent.span + "#" + strconv.FormatInt(l.SequenceID, 10)}
	a.steps[l.SequenceID] = s
	start := telemetry.Event{
		Type: telemetry.SpanStart, SpanID: s.span, Parent: a.agent.span, Kind: telemetry.KindTask, Name: cutText(l.Action), TS: seconds(l.at),
	}
	switch {
	case a.pipeline != nil && a.pipeline.begin(s, l, &start):
	case a.sub && (l.Action == actionInput || l.Action == actionRespond): // the agent's own begin and end
		s.span = ""
	case a.sub && l.Action == actionModel:
		start.Kind = telemetry.KindLLM
	case a.sub && l.Action == actionTools && len(a.pending) > 0:
		s.calls, a.pending = a.pending, nil
		for i, call := range s.calls {
			a.run.send(telemetry.Event{
				Type: telemetry.SpanStart, SpanID: s.call(i), Parent: a.agent.span, Kind: telemetry.KindTool, Name: cutText(call.Function.Name),
				TS: seconds(l.at), Attrs: callAttrs(json.RawMessage(call.Function.Arguments)),
			})
		}
		return
	case a.sub && l.Action == actionTools:
		start.Kind = telemetry.KindTool
	}
	if s.span != "" {
		a.run.send(start)
	}
}

// call is the span of one of the tool calls of the step.
func (s *burrStep) call(i int) string { return s.span + "/" + strconv.Itoa(i) }

func (a *burrApp) finish(l *burrLine) {
	s := a.steps[l.SequenceID]
	if s == nil { // its start was missed
		s = &burrStep{seq: l.SequenceID, action: l.Action}
	}
	delete(a.steps, l.SequenceID)
	a.closeSpans(s.seq, l.at)
	end := telemetry.Event{Type: telemetry.SpanEnd, SpanID: s.span, Status: telemetry.StatusOK, TS: seconds(l.at)}
	failure := l.exception()
	if failure != "" {
		end.Status, end.Error = telemetry.StatusError, failure
	}
	final := ""
	switch {
	case l.Type == burrSuspend:
		end.Attrs = telemetry.Attrs(map[string]bool{"suspended": true})
	case a.pipeline != nil:
		a.pipeline.finish(s, l, &end)
	case a.sub:
		final = a.stepDone(s, l, &end)
	}
	if s.span != "" && len(s.calls) == 0 {
		a.run.send(end)
	}
	switch {
	case failure != "":
		a.stop(l.at, failure)
	case l.Type == burrSuspend:
	case (a.sub || a.pipeline != nil) && l.Action == actionRespond:
		if !failedResult(final) {
			final = ""
		}
		a.stop(l.at, final)
	case !a.sub && a.pipeline == nil && a.leadsNowhere(l.Action):
		a.stop(l.at, "")
	}
}

// stepDone completes the end of an agent's step with what the state says, ends
// the tool calls of it, and gives the agent's final response.
func (a *burrApp) stepDone(s *burrStep, l *burrLine, end *telemetry.Event) (final string) {
	state := decodeState[agentState](l.State)
	switch s.action {
	case actionModel:
		a.pending = state.Pending
		end.Attrs = telemetry.Attrs(map[string]int{"tool_calls": len(state.Pending), "response_length": len(state.Response)})
	case actionTools:
		results := make(map[string]string)
		for _, m := range state.Messages {
			if text, ok := m.Content.(string); ok && m.Role == "tool" {
				results[m.ToolCallID] = text
			}
		}
		for i, call := range s.calls {
			ev := *end
			ev.SpanID = s.call(i)
			if result, ok := results[call.ID]; ok {
				ev.Attrs = telemetry.Attrs(map[string]int{"output_size": len(result)})
				ev.Status, ev.Error = telemetry.StatusOK, ""
				if failedTool(result) {
					ev.Status, ev.Error = telemetry.StatusError, cutText(result)
				}
			}
			a.run.send(ev)
		}
	case actionRespond:
		return state.Final
	}
	return ""
}

// stop ends the application's span and whatever is open below it.
func (a *burrApp) stop(at time.Time, failure string) {
	for _, seq := range slices.Sorted(maps.Keys(a.steps)) {
		a.closeSpans(seq, at)
		s := a.steps[seq]
		open := []string{s.span}
		if len(s.calls) > 0 {
			open = nil
			for i := range s.calls {
				open = append(open, s.call(i))
			}
		}
		for _, span := range open {
			if span != "" {
				a.run.send(telemetry.Event{Type: telemetry.SpanEnd, SpanID: span, Status: telemetry.StatusCancelled, TS: seconds(at), Attrs: inferredEnd})
			}
		}
	}
	a.forget()
	if a.agent.ended {
		return
	}
	a.agent.ended = true
	end := telemetry.Event{Type: telemetry.SpanEnd, SpanID: a.agent.span, Status: telemetry.StatusOK, TS: seconds(at)}
	if failure != "" {
		end.Status, end.Error = telemetry.StatusError, cutText(failure)
	}
	a.run.send(end)
}

// forget drops whatever is taken to be open.
func (a *burrApp) forget() {
	clear(a.steps)
	clear(a.spans)
	a.pending = nil
	if a.pipeline != nil {
		a.pipeline.depth, a.pipeline.synthesis = nil, nil
	}
}

// leadsNowhere tells whether the application's graph has an end at the action.
func (a *burrApp) leadsNowhere(action string) bool {
	if !a.read {
		a.read = true
		var graph struct {
			Transitions []struct {
				From string `json:"from_"`
			} `json:"transitions"`
		}
		if json.Unmarshal(a.files("graph.json"), &graph) == nil {
			a.leads = make(map[string]bool)
			for _, t := range graph.Transitions {
				a.leads[t.From] = true
			}
		}
	}
	return a.leads != nil && !a.leads[action]
}

// end closes what the log leaves open: an application of which nothing runs has
// ended. One whose end has a name of its own has not.
func (a *burrApp) end() {
	if a.sub || a.pipeline != nil || !a.agent.started || a.agent.ended || len(a.steps) > 0 {
		return
	}
	a.agent.ended = true
	a.run.send(telemetry.Event{
		Type: telemetry.SpanEnd, SpanID: a.agent.span, Status: telemetry.StatusOK, TS: seconds(a.last), Attrs: inferredEnd,
	})
}

// stepSpan is the span under which a span or attribute of a step belongs.
func (a *burrApp) stepSpan(seq int64) string {
	if s := a.steps[seq]; s != nil {
		return cmp.Or(s.span, a.agent.span)
	}
	return a.agent.span
}
