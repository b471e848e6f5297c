package telemetry

// Type names an event: the value of its "event" field.
type Type string

// The events of the schema. A line with another name is kept and counted, and
// means nothing to the fold.
const (
	SpanQueued  Type = "span_queued"
	SpanStart   Type = "span_start"
	SpanUpdate  Type = "span_update"
	SpanEnd     Type = "span_end"
	Phase       Type = "phase"
	Artifact    Type = "artifact"
	Log         Type = "log"
	SpanStalled Type = "span_stalled"
	SpanResumed Type = "span_resumed"
)

// The sources an event can come from: the receiver that told it.
const (
	SourceSocket    = "socket"
	SourceOTLP      = "otlp"
	SourceGateway   = "gateway"
	SourceToolCalls = "tool_calls"
	SourceBurr      = "burr"
	SourceProcess   = "process"
	SourceObsrun    = "obsrun"
)

// The values of the status field of a span_end.
const (
	StatusOK        = "ok"
	StatusError     = "error"
	StatusCancelled = "cancelled"
)

// The kinds that are no agents. Every other kind is one.
const (
	KindRun           = "run"
	KindPhase         = "phase"
	KindDiscovery     = "discovery"
	KindManifestWrite = "manifest-write"
	KindOrchestrator  = "orchestrator"
	KindTool          = "tool"
	KindLLM           = "llm"
	KindProcess       = "process"
	KindTask          = "task"
)

// IsAgent tells whether spans of this kind are agents. A span without a kind is
// a task, so no agent.
func IsAgent(kind string) bool {
	switch kind {
	case "", KindRun, KindPhase, KindDiscovery, KindManifestWrite, KindOrchestrator, KindTool, KindLLM, KindProcess, KindTask:
		return false
	}
	return true
}

// MaxLine is the longest event line that is taken, in bytes without its newline.
const MaxLine = 1 << 20

// SchemaVersion is the version that the root span's attrs and run_summary.json name.
const SchemaVersion = 1

// Spec says what one event looks like.
type Spec struct {
	Type     Type
	Required []string
	Optional []string
	// Client tells whether a client may send it; the others obsrun writes itself.
	Client  bool
	Meaning string
}

var (
	startFields  = []string{"parent", "component", "name", "kind", "phase", "attrs", "call_id"}
	updateFields = []string{
		"tokens", "input_tokens", "output_tokens", "cached_tokens", "cost_usd", "tool_uses",
		"tokens_scope", "message", "attrs", "call_id",
	}
)

// Specs is the schema as data: every event with its fields. Besides these, each
// line has "ts" (Unix seconds, the producer's clock) and, from obsrun,
// "source" and "recv_ms" (milliseconds since the run's start, monotonic).
func Specs() []Spec {
	return []Spec{
		{SpanQueued, []string{"span_id"}, startFields, true, "work that is known and waits"},
		{SpanStart, []string{"span_id"}, startFields, true, "work begins"},
		{SpanUpdate, []string{"span_id"}, updateFields, true, "activity; the counters are totals so far of this attempt"},
		{SpanEnd, []string{"span_id"}, append([]string{"status", "error", "duration_ms"}, updateFields...), true, "work ended"},
		{Phase, []string{"name"}, []string{"wall_ms"}, true, "a phase boundary; other numbers are kept as its counts"},
		{Artifact, []string{"path"}, []string{"span_id", "kind"}, true, "a file was produced"},
		{Log, []string{"message"}, []string{"level", "span_id"}, true, "something a person should read"},
		{SpanStalled, []string{"span_id"}, []string{"idle_ms", "evidence"}, false, "a span has been silent for too long"},
		{SpanResumed, []string{"span_id"}, []string{"idle_ms"}, false, "a stalled span was heard of again"},
	}
}

var specByType = func() map[Type]*Spec {
	byType := make(map[Type]*Spec)
	for _, spec := range Specs() {
		byType[spec.Type] = &spec
	}
	return byType
}()

// Known tells whether the schema has this event.
func (t Type) Known() bool { return specByType[t] != nil }
