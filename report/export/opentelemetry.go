package export

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// Trace is a run as an OpenTelemetry trace: what all its spans have in common.
type Trace struct {
	id       trace.TraceID
	resource *resource.Resource
	scope    instrumentation.Scope
}

// scopeName is the instrumentation scope of every span.
const scopeName = "github.com/obsrun/obsrun"

// NewTrace makes the trace of a run. Its id is the first 16 bytes of the SHA-256
// of the run's id, as in the TRACEPARENT that the orchestrator was given. Version
// is obsrun's. Attributes are further ones of the resource, of which service.name
// replaces "obsrun".
func NewTrace(runID, version string, attributes map[string]string) *Trace {
	t := &Trace{scope: instrumentation.Scope{Name: scopeName, Version: version}}
	t.id = telemetry.TraceID(runID)
	list := []attribute.KeyValue{attribute.String("service.name", "obsrun"), attribute.String("service.version", version)}
	for key, value := range attributes {
		list = append(list, attribute.String(key, value))
	}
	// The last of equal keys counts.
	t.resource = resource.NewSchemaless(append(list, attribute.String("obsrun.run_id", runID))...)
	return t
}

// spanID is a span's id as W3C trace context has it: 16 hex digits as they are,
// any other id as the first 8 bytes of its SHA-256.
func spanID(id string) trace.SpanID { return telemetry.TraceSpanID(id) }

func (t *Trace) context(id trace.SpanID) trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: t.id, SpanID: id, TraceFlags: trace.FlagsSampled})
}

// stub is a span with what all have.
func (t *Trace) stub(id trace.SpanID, parent, name string, startMS, endMS int64) tracetest.SpanStub {
	stub := tracetest.SpanStub{
		Name: name, SpanContext: t.context(id), SpanKind: trace.SpanKindInternal,
		StartTime: time.UnixMilli(startMS), EndTime: time.UnixMilli(max(startMS, endMS)),
		Resource: t.resource, InstrumentationScope: t.scope,
	}
	if parent != "" {
		stub.Parent = t.context(spanID(parent))
	}
	return stub
}

// Span gives a span that ended or was lost. Used is what the attempt that ended
// consumed, with what lies below it. Attempts after the first have ids of their
// own, and a link to the first, which was sent when it ended. Stalls are those of
// this span.
func (t *Trace) Span(v run.Span, used run.Usage, stalls []run.Stall) sdk.ReadOnlySpan {
	start, end := v.StartMS, v.EndMS
	if start == 0 { // it never began
		start = v.QueuedMS
		if start == 0 {
			start = end
		}
		end = start
	}
	stub := t.stub(attemptID(v.ID, v.Attempts), v.Parent, v.Name, start, end)
	attrs := attrsOf(v.Attrs)
	describe(&stub, &v, attrs)
	t.linkFirst(&stub, v.ID, v.Attempts)
	consumption(&stub, &v, used)
	outcome(&stub, v.State, v.Error, attrs)
	if v.QueuedMS != 0 && v.QueuedMS < start {
		stub.Events = append(stub.Events, event("queued", v.QueuedMS))
	}
	for _, stall := range stalls {
		if stall.TimeMS < start || stall.TimeMS > max(start, end) {
			continue // another attempt's
		}
		stub.Events = append(stub.Events, event("stalled", stall.TimeMS, attribute.Int64("obsrun.idle_ms", stall.IdleMS)))
		if stall.ResumedMS != 0 {
			stub.Events = append(stub.Events, event("resumed", stall.ResumedMS))
		}
	}
	if took := max(0, end-start); v.DurationMS != 0 && v.DurationMS != took {
		set(&stub, attribute.Int64("obsrun.duration_ms", v.DurationMS)) // as it was told
	}
	return stub.Snapshot()
}

// Attempt gives the nth attempt of a span, from 1, that ended before another one
// began and was not sent then. What it consumed is told with the next.
func (t *Trace) Attempt(v run.Span, n int) sdk.ReadOnlySpan {
	earlier := v.Earlier[n-1]
	stub := t.stub(attemptID(v.ID, n), v.Parent, v.Name, earlier.StartMS, earlier.EndMS)
	v.State = earlier.State
	attrs := attrsOf(v.Attrs)
	describe(&stub, &v, attrs)
	for i, kv := range stub.Attributes {
		if kv.Key == "obsrun.attempt" {
			stub.Attributes[i] = attribute.Int("obsrun.attempt", n)
		}
	}
	t.linkFirst(&stub, v.ID, n)
	outcome(&stub, earlier.State, "", attrs)
	return stub.Snapshot()
}

// attemptID is the span id of the nth attempt: the span's own for the first.
func attemptID(id string, n int) trace.SpanID {
	if n <= 1 {
		return spanID(id)
	}
	return spanID(fmt.Sprintf("%s attempt %d", id, n))
}

func (t *Trace) linkFirst(stub *tracetest.SpanStub, id string, n int) {
	if n > 1 {
		stub.Links = []sdk.Link{{SpanContext: t.context(spanID(id)), Attributes: []attribute.KeyValue{attribute.String("obsrun.link", "first attempt")}}}
	}
}

// Phase gives a phase that only phase events or fields told of, as a span below
// the run's.
func (t *Trace) Phase(p run.Phase, root string) sdk.ReadOnlySpan {
	stub := t.stub(spanID("phase "+p.Name), root, p.Name, p.StartMS, p.EndMS)
	set(&stub, attribute.String("obsrun.kind", telemetry.KindPhase), attribute.String("obsrun.phase", p.Name), attribute.String("obsrun.state", p.State))
	positive(&stub, "obsrun.agents", int64(p.Agents))
	positive(&stub, "obsrun.tokens", p.Tokens)
	positive(&stub, "obsrun.tool_uses", p.ToolUses)
	if p.WallMS != max(0, p.EndMS-p.StartMS) {
		positive(&stub, "obsrun.duration_ms", p.WallMS)
	}
	return stub.Snapshot()
}

// Root gives the span of the run itself, once it ended.
func (t *Trace) Root(v run.Span, info run.Info, totals run.Totals) sdk.ReadOnlySpan {
	stub := t.stub(spanID(v.ID), "", v.Name, info.StartMS, info.EndMS)
	set(&stub,
		attribute.String("obsrun.kind", telemetry.KindRun), attribute.String("obsrun.status", info.Status),
		attribute.StringSlice("obsrun.command", info.Command))
	for key, value := range map[string]string{
		"host.name": info.Host, "vcs.repository.url.full": info.SourceRepo, "vcs.ref.head.revision": info.SourceCommit,
		"obsrun.cwd": info.Dir, "obsrun.signal": info.Signal, "obsrun.outer_run_id": info.OuterRunID,
	} {
		if value != "" {
			set(&stub, attribute.String(key, value))
		}
	}
	if info.ExitCode != nil {
		set(&stub, attribute.Int("process.exit.code", *info.ExitCode))
	}
	positive(&stub, "obsrun.agents", int64(totals.AgentsSpawned))
	positive(&stub, "obsrun.tokens", totals.Tokens)
	positive(&stub, "obsrun.tool_uses", totals.ToolUses)
	positive(&stub, "obsrun.errors", int64(totals.Errors))
	positive(&stub, "obsrun.lost", int64(totals.Lost))
	switch info.Status {
	case run.StatusOK:
		stub.Status = sdk.Status{Code: codes.Ok}
	default:
		stub.Status = sdk.Status{Code: codes.Error, Description: info.Error}
		if info.Error == "" && info.ExitCode != nil && info.Status == run.StatusError {
			stub.Status.Description = fmt.Sprintf("exit status %d", *info.ExitCode)
		} else if info.Error == "" {
			stub.Status.Description = info.Status
		}
	}
	sortAttributes(&stub)
	return stub.Snapshot()
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
func describe(stub *tracetest.SpanStub, v *run.Span, attrs map[string]any) {
	text := func(name string) string { s, _ := attrs[name].(string); return s }
	switch {
	case v.IsAgent:
		stub.Name = "invoke_agent " + v.Name
		set(stub, attribute.String("gen_ai.operation.name", "invoke_agent"), attribute.String("gen_ai.agent.name", v.Name))
	case v.Kind == telemetry.KindTool:
		stub.Name = "execute_tool " + v.Name
		set(stub, attribute.String("gen_ai.operation.name", "execute_tool"), attribute.String("gen_ai.tool.name", v.Name))
	case v.Kind == telemetry.KindLLM:
		operation, model := text("operation"), text("model")
		if !slices.Contains(operations, operation) {
			operation = operations[0]
		}
		if stub.Name = operation; model != "" {
			stub.Name += " " + model
		}
		stub.SpanKind = trace.SpanKindClient
		set(stub, attribute.String("gen_ai.operation.name", operation))
	}
	if model := text("model"); model != "" && (v.IsAgent || v.Kind == telemetry.KindLLM) {
		set(stub, attribute.String("gen_ai.request.model", model))
		delete(attrs, "model")
	}
	if reason := text("finish_reason"); reason != "" && v.Kind == telemetry.KindLLM {
		set(stub, attribute.StringSlice("gen_ai.response.finish_reasons", []string{reason}))
		delete(attrs, "finish_reason")
	}
	delete(attrs, "operation")
	set(stub,
		attribute.String("obsrun.span_id", v.ID), attribute.String("obsrun.kind", v.Kind),
		attribute.String("obsrun.state", v.State), attribute.Int("obsrun.attempt", max(1, v.Attempts)))
	for key, value := range map[string]string{
		"obsrun.component": v.Component, "obsrun.phase": v.Phase, "obsrun.source": v.Source, "obsrun.message": v.Message,
	} {
		if value != "" {
			set(stub, attribute.String(key, value))
		}
	}
	if v.Attempts > 1 {
		set(stub, attribute.Int("obsrun.attempts", v.Attempts))
	}
	for key, value := range attrs {
		name, known := conventional[key]
		if !known {
			name = "obsrun.attr." + key
		}
		switch value := value.(type) {
		case string:
			set(stub, attribute.String(name, value))
		case bool:
			set(stub, attribute.Bool(name, value))
		case float64:
			if value == math.Trunc(value) && math.Abs(value) <= telemetry.MaxCount {
				set(stub, attribute.Int64(name, int64(value)))
			} else {
				set(stub, attribute.Float64(name, value))
			}
		}
	}
	sortAttributes(stub)
}

// consumption says what was consumed. The tokens of an agent are the sum of what
// lies below it, so that only agents and LLM calls carry the conventions' names:
// sums over spans of one sort are right, sums over all are not.
func consumption(stub *tracetest.SpanStub, v *run.Span, used run.Usage) {
	if (v.IsAgent || v.Kind == telemetry.KindLLM) && used.Input+used.Output > 0 {
		set(stub, attribute.Int64("gen_ai.usage.input_tokens", used.Input), attribute.Int64("gen_ai.usage.output_tokens", used.Output))
		positive(stub, "gen_ai.usage.cache_read.input_tokens", used.Cached)
	}
	positive(stub, "obsrun.tokens", used.Tokens)
	positive(stub, "obsrun.tool_uses", used.ToolUses)
	if used.CostUSD > 0 {
		set(stub, attribute.Float64("obsrun.cost_usd", used.CostUSD))
	}
}

// outcome says how the span ended.
func outcome(stub *tracetest.SpanStub, state, text string, attrs map[string]any) {
	switch state {
	case run.Done:
		stub.Status = sdk.Status{Code: codes.Ok}
		return
	case run.Cancelled: // which is no error
		return
	case run.Lost:
		text = "lost: it was still open when the run ended"
	}
	stub.Status = sdk.Status{Code: codes.Error, Description: text}
	if _, told := attrs["error_type"].(string); !told {
		set(stub, attribute.String("error.type", "_OTHER")) // the conventions' word for one that is not known
	}
}

func set(stub *tracetest.SpanStub, attributes ...attribute.KeyValue) {
	stub.Attributes = append(stub.Attributes, attributes...)
}

func positive(stub *tracetest.SpanStub, key string, n int64) {
	if n > 0 {
		set(stub, attribute.Int64(key, n))
	}
}

// sortAttributes makes equal spans equal bytes.
func sortAttributes(stub *tracetest.SpanStub) {
	slices.SortFunc(stub.Attributes, func(a, b attribute.KeyValue) int { return strings.Compare(string(a.Key), string(b.Key)) })
}

func event(name string, ms int64, attributes ...attribute.KeyValue) sdk.Event {
	return sdk.Event{Name: name, Time: time.UnixMilli(ms), Attributes: attributes}
}

func attrsOf(raw json.RawMessage) map[string]any {
	attrs := make(map[string]any)
	if json.Unmarshal(raw, &attrs) != nil || attrs == nil {
		return make(map[string]any)
	}
	return attrs
}
