package receiver

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// burrPipeline is what an application of a project "flashlight-SERVICE" is beyond
// any other: it reads what was discovered, has the components analysed depth by
// depth, each by an application of its own, and writes a synthesis.
//
// A component that failed is told in three ways: its own application ends with an
// exception or a final response that begins with "Error:"; its name is in
// failed_components; what stands for its analysis begins with "Error:". Any of
// them is an error of the agent. One that has no application at all, because the
// tracker itself failed, is ended by what the pipeline says of it.
type burrPipeline struct {
	app   *burrApp
	kinds map[string]string // of components
	next  int               // the depth to come, where it is not logged
	// The depth that is analysed.
	depth *burrDepth
	// The synthesis that is written.
	synthesis *burrStep
	tools     int64 // calls the synthesis asked for
}

type burrDepth struct {
	seq        int64
	start      telemetry.Event // of the phase, until its depth is known
	begun      bool
	components []string
	failed     map[string]bool
}

// begin completes the start of a step. It says true when that is all, and leaves
// the others to be a task; a step without a span loses it.
func (p *burrPipeline) begin(s *burrStep, l *burrLine, start *telemetry.Event) bool {
	switch s.action {
	case actionInput, actionRespond: // the pipeline's own begin and end
		s.span = ""
	case "read_discovery":
		start.Kind, start.Name = telemetry.KindDiscovery, "discovery"
	case "analyze_current_depth":
		start.Kind = telemetry.KindPhase
		p.depth = &burrDepth{seq: s.seq, start: *start, failed: make(map[string]bool)}
		s.span = "" // begins with its depth
	case "synthesize":
		p.synthesis, p.tools = s, 0
		start.Kind, start.Phase, start.Name = "synthesis", "synthesis", "synthesis"
	default:
		return false
	}
	return true
}

// analyses and synthesizes tell which the step is.
func (p *burrPipeline) analyses(seq int64) bool { return p.depth != nil && p.depth.seq == seq }

func (p *burrPipeline) synthesizes(seq int64) bool {
	return p.synthesis != nil && p.synthesis.seq == seq
}

// attribute takes what the pipeline logs of a depth and of the turns of the
// synthesis. False: nothing special.
func (p *burrPipeline) attribute(l *burrLine) bool {
	switch d := p.depth; {
	case p.synthesizes(l.ActionSequenceID) && l.Key == "tool_call_count" && p.app.spans[l.SpanID] != nil:
		// Logged when the model has answered: what follows in the span are the tools.
		p.tools += number(l.Value)
		p.app.spanEnd(l.SpanID, l.at)
		p.app.run.send(telemetry.Event{
			Type: telemetry.SpanUpdate, SpanID: p.synthesis.span, TS: seconds(l.at), Counters: telemetry.Counters{ToolUses: telemetry.N(p.tools)},
		})
		return true
	case !p.analyses(l.ActionSequenceID):
		return false
	case l.SpanID != "": // of the analysis of one component, which its own application tells
		return true
	case l.Key == "depth":
		p.next = int(min(number(l.Value), maxDepth))
		p.beginDepth()
	case l.Key == "component_names":
		p.beginDepth()
		for _, name := range names(l.Value) {
			if name != "" && len(name) <= maxName && !slices.Contains(d.components, name) {
				d.components = append(d.components, name)
				p.queue(name, l)
			}
		}
	case l.Key == "failed_components":
		for _, name := range names(l.Value) {
			d.failed[name] = true
		}
	case l.Key == "successful_components":
	default:
		p.beginDepth()
		return false
	}
	return true
}

// What is believed of a depth, and of the length of a name in bytes.
const (
	maxDepth = 1_000_000
	maxName  = 500
)

func (p *burrPipeline) beginDepth() {
	d := p.depth
	if d.begun {
		return
	}
	d.begun = true
	d.start.Name = depthPhase + strconv.Itoa(p.next)
	p.app.steps[d.seq].span = d.start.SpanID
	p.app.run.send(d.start)
}

// queue tells of a component that waits for its agent, or that has it already.
func (p *burrPipeline) queue(name string, l *burrLine) {
	run, appID := p.app.run, analyzerPrefix+name
	a := run.agent(appID, burrSpanPrefix+appID)
	run.queued[appID] = true
	run.expect(appID)
	run.send(telemetry.Event{
		Type: telemetry.SpanQueued, SpanID: a.span, Parent: p.depth.start.SpanID, Component: name, Name: name,
		Kind: componentKind(p.kinds[name]), TS: seconds(l.at),
	})
}

// finish completes the end of a step with what the state says.
func (p *burrPipeline) finish(s *burrStep, l *burrLine, end *telemetry.Event) {
	if s.action == actionInput || s.action == actionRespond {
		return
	}
	state := decodeState[pipelineState](l.State)
	if len(state.Components) > 0 {
		p.kinds = make(map[string]string, len(state.Components))
		for name, c := range state.Components {
			p.kinds[name] = c.Kind
		}
	}
	switch {
	case p.analyses(s.seq):
		if p.depth.begun {
			p.finishDepth(state.Analyses, l)
		}
		end.SpanID = s.span
		p.depth = nil
		p.next = max(p.next+1, int(min(int64(state.Depth), maxDepth)))
	case p.synthesizes(s.seq):
		p.synthesis = nil
		if failedResult(state.Synthesis) && end.Error == "" {
			end.Status, end.Error = telemetry.StatusError, cutText(state.Synthesis)
		}
		end.Attrs = telemetry.Attrs(map[string]int{"response_length": len(state.Synthesis)})
	}
}

// finishDepth ends the components whose own application did not.
func (p *burrPipeline) finishDepth(analyses map[string]string, l *burrLine) {
	raised := l.exception()
	for _, name := range p.depth.components {
		a := p.app.run.agents[analyzerPrefix+name]
		text, analysed := analyses[name]
		failed := p.depth.failed[name] || failedResult(text)
		end := telemetry.Event{Type: telemetry.SpanEnd, SpanID: a.span, Status: telemetry.StatusOK, TS: seconds(l.at)}
		switch {
		case failed && !failedResult(text):
			text = "the pipeline names it among the failed components"
			fallthrough
		case failed:
			end.Status, end.Error = telemetry.StatusError, cutText(text)
		case raised != "":
			end.Status, end.Error = telemetry.StatusError, cutText(fmt.Sprintf("the pipeline failed: %s", raised))
		case !analysed:
			end.Status = telemetry.StatusCancelled
		}
		if a.ended {
			if failed { // it seemed to have ended well: what it says more is kept
				p.app.run.send(end)
			}
			continue
		}
		if !failed {
			end.Attrs = inferredEnd
		}
		a.started, a.ended = true, true
		p.app.run.send(end)
	}
}

// projectOf cuts the path of an application below the tracker's directory into
// project and app id. An app id can have slashes.
func projectOf(rel string) (project, id string) {
	project, id, _ = strings.Cut(rel, "/")
	return cmp.Or(project, rel), id
}
