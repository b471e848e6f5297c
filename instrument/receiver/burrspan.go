package receiver

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// maxBurrSpans bounds how many spans of an application are taken to be open.
const maxBurrSpans = 10_000

// spanBegin begins a span that an action traces within itself.
func (a *burrApp) spanBegin(l *burrLine) {
	if l.SpanID == "" || len(a.spans) == maxBurrSpans || a.pipeline != nil && a.pipeline.analyses(l.ActionSequenceID) {
		return
	}
	s := &burrSpan{span: a.agent.span + "#" + l.SpanID, step: strconv.FormatInt(l.ActionSequenceID, 10)}
	parent := a.stepSpan(l.ActionSequenceID)
	if above := a.spans[l.ParentSpanID]; above != nil {
		parent = above.span
	}
	a.spans[l.SpanID] = s
	start := telemetry.Event{
		Type: telemetry.SpanStart, SpanID: s.span, Parent: parent, Kind: telemetry.KindTask, Name: cutText(l.SpanName), TS: seconds(l.at),
	}
	if name, ok := strings.CutPrefix(l.SpanName, toolSpanPrefix); ok {
		start.Kind, start.Name, s.tool = telemetry.KindTool, cutText(name), true
	}
	if a.pipeline != nil && a.pipeline.synthesizes(l.ActionSequenceID) {
		start.Kind = telemetry.KindLLM // each turn is one model call and the tools it asked for
	}
	a.run.send(start)
}

func (a *burrApp) spanEnd(id string, at time.Time) {
	s := a.spans[id]
	if s == nil {
		return
	}
	delete(a.spans, id)
	end := telemetry.Event{Type: telemetry.SpanEnd, SpanID: s.span, Status: telemetry.StatusOK, TS: seconds(at)}
	if s.failure != "" {
		end.Status, end.Error = telemetry.StatusError, s.failure
	}
	a.run.send(end)
}

// closeSpans ends the spans that a step left open.
func (a *burrApp) closeSpans(seq int64, at time.Time) {
	step := strconv.FormatInt(seq, 10)
	for _, id := range slices.Sorted(maps.Keys(a.spans)) {
		if a.spans[id].step == step {
			a.spanEnd(id, at)
		}
	}
}

// attribute takes what an action logs of itself or of a span: numbers, truth
// values, the model, what failed. The rest can hold anything, and is left out.
func (a *burrApp) attribute(l *burrLine) {
	if a.pipeline != nil && a.pipeline.attribute(l) {
		return
	}
	ev := telemetry.Event{Type: telemetry.SpanUpdate, SpanID: a.stepSpan(l.ActionSequenceID), TS: seconds(l.at)}
	s := a.spans[l.SpanID]
	if s != nil {
		ev.SpanID = s.span
	}
	value, ok := plain(l.Value)
	switch {
	case l.Key == "error" && s != nil:
		s.failure = errorText(l.Value)
		return
	case burrCounters[l.Key] != nil:
		*burrCounters[l.Key](&ev.Counters) = telemetry.N(number(l.Value))
		if s != nil && !s.tool {
			ev.Kind = telemetry.KindLLM
		}
	case slices.Contains(burrModels, l.Key):
		model := errorText(l.Value)
		if model == "" {
			return
		}
		ev.Attrs = telemetry.Attrs(map[string]string{attrModel: model})
	case ok && len(l.Key) <= 100:
		ev.Attrs = telemetry.Attrs(map[string]any{l.Key: value})
	default:
		return
	}
	a.run.send(ev)
}
