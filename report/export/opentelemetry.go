package export

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// Trace is a run as an OpenTelemetry trace: what all its spans have in common.
type Trace struct {
	id       TraceID
	resource []Attribute
	version  string // of the instrumentation scope
}

// scopeName is the instrumentation scope of every span.
const scopeName = "github.com/obsrun/obsrun"

// NewTrace makes the trace of a run. Its id is the first 16 bytes of the SHA-256
// of the run's id, as in the TRACEPARENT that the orchestrator was given. Version
// is obsrun's. Attributes are further ones of the resource, of which service.name
// replaces "obsrun".
func NewTrace(runID, version string, attributes map[string]string) *Trace {
	t := &Trace{id: telemetry.TraceID(runID), version: version}
	all := map[string]string{"service.name": "obsrun", "service.version": version}
	maps.Copy(all, attributes)
	all["obsrun.run_id"] = runID
	for _, key := range slices.Sorted(maps.Keys(all)) {
		t.resource = append(t.resource, Attribute{key, all[key]})
	}
	return t
}

// spanID is a span's id as W3C trace context has it: 16 hex digits as they are,
// any other id as the first 8 bytes of its SHA-256.
func spanID(id string) SpanID { return telemetry.TraceSpanID(id) }

// span is one with what all have.
func (t *Trace) span(id SpanID, parent, name string, startMS, endMS int64) *Span {
	s := &Span{Trace: t.id, ID: id, Name: name, Kind: KindInternal, StartMS: max(0, startMS), EndMS: max(0, startMS, endMS)}
	if parent != "" {
		s.Parent = spanID(parent)
	}
	return s
}

// Span gives a span that ended or was lost. Used is what the attempt that ended
// consumed, with what lies below it. Attempts after the first have ids of their
// own, and a link to the first, which was sent when it ended. Stalls are those of
// this span.
func (t *Trace) Span(v run.Span, used run.Usage, stalls []run.Stall) *Span {
	start, end := v.StartMS, v.EndMS
	if start == 0 { // it never began
		start = v.QueuedMS
		if start == 0 {
			start = end
		}
		end = start
	}
	s := t.span(attemptID(v.ID, v.Attempts), v.Parent, v.Name, start, end)
	attrs := attrsOf(v.Attrs)
	describe(s, &v, attrs)
	t.linkFirst(s, v.ID, v.Attempts)
	consumption(s, &v, used)
	outcome(s, v.State, v.Error, attrs)
	if v.QueuedMS != 0 && v.QueuedMS < start {
		s.Events = append(s.Events, event("queued", v.QueuedMS))
	}
	for _, stall := range stalls {
		if stall.TimeMS < start || stall.TimeMS > max(start, end) {
			continue // another attempt's
		}
		s.Events = append(s.Events, event("stalled", stall.TimeMS, Attribute{"obsrun.idle_ms", stall.IdleMS}))
		if stall.ResumedMS != 0 {
			s.Events = append(s.Events, event("resumed", stall.ResumedMS))
		}
	}
	if took := max(0, end-start); v.DurationMS != 0 && v.DurationMS != took {
		set(s, Attribute{"obsrun.duration_ms", v.DurationMS}) // as it was told
	}
	return s
}

// Attempt gives the nth attempt of a span, from 1, that ended before another one
// began and was not sent then. What it consumed is told with the next.
func (t *Trace) Attempt(v run.Span, n int) *Span {
	earlier := v.Earlier[n-1]
	s := t.span(attemptID(v.ID, n), v.Parent, v.Name, earlier.StartMS, earlier.EndMS)
	v.State = earlier.State
	attrs := attrsOf(v.Attrs)
	describe(s, &v, attrs)
	for i, kv := range s.Attributes {
		if kv.Key == "obsrun.attempt" {
			s.Attributes[i] = Attribute{"obsrun.attempt", int64(n)}
		}
	}
	t.linkFirst(s, v.ID, n)
	outcome(s, earlier.State, "", attrs)
	return s
}

// attemptID is the span id of the nth attempt: the span's own for the first.
func attemptID(id string, n int) SpanID {
	if n <= 1 {
		return spanID(id)
	}
	return spanID(fmt.Sprintf("%s attempt %d", id, n))
}

func (t *Trace) linkFirst(s *Span, id string, n int) {
	if n > 1 {
		s.Links = []Link{{Trace: t.id, ID: spanID(id), Attributes: []Attribute{Attribute{"obsrun.link", "first attempt"}}}}
	}
}

// Phase gives a phase that only phase events or fields told of, as a span below
// the run's.
func (t *Trace) Phase(p run.Phase, root string) *Span {
	s := t.span(spanID("phase "+p.Name), root, p.Name, p.StartMS, p.EndMS)
	set(s, Attribute{"obsrun.kind", telemetry.KindPhase}, Attribute{"obsrun.phase", p.Name}, Attribute{"obsrun.state", p.State})
	positive(s, "obsrun.agents", int64(p.Agents))
	positive(s, "obsrun.tokens", p.Tokens)
	positive(s, "obsrun.tool_uses", p.ToolUses)
	if p.WallMS != max(0, p.EndMS-p.StartMS) {
		positive(s, "obsrun.duration_ms", p.WallMS)
	}
	return s
}

// Root gives the span of the run itself, once it ended.
func (t *Trace) Root(v run.Span, info run.Info, totals run.Totals) *Span {
	s := t.span(spanID(v.ID), "", v.Name, info.StartMS, info.EndMS)
	set(s,
		Attribute{"obsrun.kind", telemetry.KindRun}, Attribute{"obsrun.status", info.Status},
		Attribute{"obsrun.command", info.Command})
	for key, value := range map[string]string{
		"host.name": info.Host, "vcs.repository.url.full": info.SourceRepo, "vcs.ref.head.revision": info.SourceCommit,
		"obsrun.cwd": info.Dir, "obsrun.signal": info.Signal, "obsrun.outer_run_id": info.OuterRunID,
	} {
		if value != "" {
			set(s, Attribute{key, value})
		}
	}
	if info.ExitCode != nil {
		set(s, Attribute{"process.exit.code", int64(*info.ExitCode)})
	}
	positive(s, "obsrun.agents", int64(totals.AgentsSpawned))
	positive(s, "obsrun.tokens", totals.Tokens)
	positive(s, "obsrun.tool_uses", totals.ToolUses)
	positive(s, "obsrun.errors", int64(totals.Errors))
	positive(s, "obsrun.lost", int64(totals.Lost))
	switch info.Status {
	case run.StatusOK:
		s.Status = Status{Code: StatusOK}
	default:
		s.Status = Status{Code: StatusError, Message: info.Error}
		if info.Error == "" && info.ExitCode != nil && info.Status == run.StatusError {
			s.Status.Message = fmt.Sprintf("exit status %d", *info.ExitCode)
		} else if info.Error == "" {
			s.Status.Message = info.Status
		}
	}
	sortAttributes(s)
	return s
}

// operations are the values of gen_ai.operation.name that an LLM call may have.
var operations = []string{"chat", "generate_content", "text_completion", "embeddings"}

// conventional are attrs of spans that the GenAI conventions have a name for.
// The others are written with obsrun.attr. before their name.
var conventional = map[string]string{ // #nosec G101 -- names, no credentials
	"provider": "gen_ai.provider.name", "agent_id": "gen_ai.agent.id", "session_id": "gen_ai.conversation.id",
	"tool_call_id": "gen_ai.tool.call.id", "cache_write_tokens": "gen_ai.usage.cache_creation.input_tokens",
	"server": "server.address", "http_method": "http.request.method", "http_status": "http.response.status_code",
	"error_type": "error.type",
}

// describe says what the span is: by the OpenTelemetry semantic conventions for
// generative AI (semantic-conventions-genai 0.1.0: gen-ai-spans, gen-ai-agent-spans)
// for agents, LLM calls and tools, and by obsrun.* for all.
func describe(s *Span, v *run.Span, attrs map[string]any) {
	text := func(name string) string { s, _ := attrs[name].(string); return s }
	switch {
	case v.IsAgent:
		s.Name = "invoke_agent " + v.Name
		set(s, Attribute{"gen_ai.operation.name", "invoke_agent"}, Attribute{"gen_ai.agent.name", v.Name})
	case v.Kind == telemetry.KindTool:
		s.Name = "execute_tool " + v.Name
		set(s, Attribute{"gen_ai.operation.name", "execute_tool"}, Attribute{"gen_ai.tool.name", v.Name})
	case v.Kind == telemetry.KindLLM:
		operation, model := text("operation"), text("model")
		if !slices.Contains(operations, operation) {
			operation = operations[0]
		}
		if s.Name = operation; model != "" {
			s.Name += " " + model
		}
		s.Kind = KindClient
		set(s, Attribute{"gen_ai.operation.name", operation})
	}
	if model := text("model"); model != "" && (v.IsAgent || v.Kind == telemetry.KindLLM) {
		set(s, Attribute{"gen_ai.request.model", model})
		delete(attrs, "model")
	}
	if reason := text("finish_reason"); reason != "" && v.Kind == telemetry.KindLLM {
		set(s, Attribute{"gen_ai.response.finish_reasons", []string{reason}})
		delete(attrs, "finish_reason")
	}
	delete(attrs, "operation")
	set(s,
		Attribute{"obsrun.span_id", v.ID}, Attribute{"obsrun.kind", v.Kind},
		Attribute{"obsrun.state", v.State}, Attribute{"obsrun.attempt", int64(max(1, v.Attempts))})
	for key, value := range map[string]string{
		"obsrun.component": v.Component, "obsrun.phase": v.Phase, "obsrun.source": v.Source, "obsrun.message": v.Message,
	} {
		if value != "" {
			set(s, Attribute{key, value})
		}
	}
	if v.Attempts > 1 {
		set(s, Attribute{"obsrun.attempts", int64(v.Attempts)})
	}
	for key, value := range attrs {
		name, known := conventional[key]
		if !known {
			name = "obsrun.attr." + key
		}
		switch value := value.(type) {
		case string:
			set(s, Attribute{name, value})
		case bool:
			set(s, Attribute{name, value})
		case float64:
			if value == math.Trunc(value) && math.Abs(value) <= telemetry.MaxCount {
				set(s, Attribute{name, int64(value)})
			} else {
				set(s, Attribute{name, value})
			}
		}
	}
	sortAttributes(s)
}

// consumption says what was consumed. The tokens of an agent are the sum of what
// lies below it, so that only agents and LLM calls carry the conventions' names:
// sums over spans of one sort are right, sums over all are not.
func consumption(s *Span, v *run.Span, used run.Usage) {
	if (v.IsAgent || v.Kind == telemetry.KindLLM) && used.Input+used.Output > 0 {
		set(s, Attribute{"gen_ai.usage.input_tokens", used.Input}, Attribute{"gen_ai.usage.output_tokens", used.Output})
		positive(s, "gen_ai.usage.cache_read.input_tokens", used.Cached)
	}
	positive(s, "obsrun.tokens", used.Tokens)
	positive(s, "obsrun.tool_uses", used.ToolUses)
	if used.CostUSD > 0 {
		set(s, Attribute{"obsrun.cost_usd", used.CostUSD})
	}
}

// outcome says how the span ended.
func outcome(s *Span, state, text string, attrs map[string]any) {
	switch state {
	case run.Done:
		s.Status = Status{Code: StatusOK}
		return
	case run.Cancelled: // which is no error
		return
	case run.Lost:
		text = "lost: it was still open when the run ended"
	}
	s.Status = Status{Code: StatusError, Message: text}
	if _, told := attrs["error_type"].(string); !told {
		set(s, Attribute{"error.type", "_OTHER"}) // the conventions' word for one that is not known
	}
}

func set(s *Span, attributes ...Attribute) {
	s.Attributes = append(s.Attributes, attributes...)
}

func positive(s *Span, key string, n int64) {
	if n > 0 {
		set(s, Attribute{key, n})
	}
}

// sortAttributes makes equal spans equal bytes.
func sortAttributes(s *Span) {
	slices.SortFunc(s.Attributes, func(a, b Attribute) int { return strings.Compare(a.Key, b.Key) })
}

func event(name string, ms int64, attributes ...Attribute) Event {
	return Event{Name: name, TimeMS: ms, Attributes: attributes}
}

func attrsOf(raw json.RawMessage) map[string]any {
	attrs := make(map[string]any)
	if json.Unmarshal(raw, &attrs) != nil || attrs == nil {
		return make(map[string]any)
	}
	return attrs
}
