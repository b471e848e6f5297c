package run

import "encoding/json"

// The model that readers get: the dashboard as JSON, the reports as Go values.
// Times are Unix milliseconds, durations milliseconds, 0 where unknown; slices
// are never null; counters are 0 where nothing was reported.

// The states of a span.
const (
	Queued    = "queued"
	Running   = "running"
	Stalled   = "stalled" // running, and flagged as silent
	Done      = "done"
	Failed    = "error"
	Cancelled = "cancelled"
	Lost      = "lost" // still open when the run ended
)

// Usage is what was consumed, as the fold resolved it.
type Usage struct {
	// Tokens is Input plus Output; Input includes Cached.
	Tokens   int64   `json:"tokens"`
	Input    int64   `json:"input_tokens"`
	Output   int64   `json:"output_tokens"`
	Cached   int64   `json:"cached_tokens"`
	ToolUses int64   `json:"tool_uses"`
	CostUSD  float64 `json:"cost_usd"`
}

// Interval is an earlier attempt of a span.
type Interval struct {
	StartMS int64  `json:"start_ms"`
	EndMS   int64  `json:"end_ms"`
	State   string `json:"state"` // how it ended
}

// Span is one unit of work. Its Usage includes what lies below it.
type Span struct {
	ID string `json:"id"`
	// Parent is the id of the span it hangs under in effect: the root where the
	// named one is not known. Empty for the root.
	Parent    string `json:"parent"`
	Seq       int    `json:"seq"`  // 0 for the root, then by first appearance
	Name      string `json:"name"` // name, else component, else id
	Component string `json:"component,omitempty"`
	Kind      string `json:"kind"`
	// IsAgent tells whether it counts as an agent: its Kind is one of an agent, no
	// other span stands for it, and it is not an agent that the gateway made out
	// beside those that others told of.
	IsAgent bool `json:"is_agent"`
	// Unattributed tells that it is metered work that matches no agent.
	Unattributed bool `json:"unattributed,omitempty"`
	// Awaits is the id of the parent that it named, while that is not known.
	Awaits string `json:"-"`
	// SameAs is the id of the span that stands for this one: another source told of
	// the same agent or LLM call. What lies below hangs under that one. Of an LLM call
	// that was told of three times, it can be one that has a SameAs, too.
	SameAs string `json:"same_as,omitempty"`
	// Agent is the id of the nearest agent above, empty where there is none.
	Agent  string `json:"agent,omitempty"`
	Phase  string `json:"phase,omitempty"`
	Source string `json:"source,omitempty"` // the receiver that told of it first
	State  string `json:"state"`

	QueuedMS   int64 `json:"queued_ms,omitempty"`
	StartMS    int64 `json:"start_ms,omitempty"` // of the last attempt
	EndMS      int64 `json:"end_ms,omitempty"`
	DurationMS int64 `json:"duration_ms,omitempty"` // of the last attempt, once it ended
	// Attempts is how often it was started; Earlier has all but the last.
	Attempts int        `json:"attempts"`
	Earlier  []Interval `json:"earlier,omitempty"`

	Usage
	// Reported tells whether tokens were ever reported for it or below it.
	Reported bool   `json:"reported"`
	Error    string `json:"error,omitempty"`
	Message  string `json:"message,omitempty"`
	// HeardMS is when the last event of it or of a descendant arrived, in
	// milliseconds since the run's start; IdleMS how silent it was when flagged.
	HeardMS  int64           `json:"heard_ms"`
	IdleMS   int64           `json:"idle_ms,omitempty"`
	Evidence json.RawMessage `json:"evidence,omitempty"`
	Attrs    json.RawMessage `json:"attrs,omitempty"`
}

// Phase is a stretch of the run with a name of its own.
type Phase struct {
	Name  string `json:"name"`
	State string `json:"state"` // queued, running, done
	// StartMS is its first start, EndMS its last end once it is done.
	StartMS int64 `json:"start_ms,omitempty"`
	EndMS   int64 `json:"end_ms,omitempty"`
	// WallMS is what it took once it is done: as told, else its span's duration,
	// else first start to last end.
	WallMS int64 `json:"wall_ms"`
	// Agents counts the agents in it, whatever their state; the others say how
	// many of them are queued, running (stalled included) and ended.
	Agents  int `json:"agents"`
	Queued  int `json:"queued"`
	Running int `json:"running"`
	Ended   int `json:"ended"`
	Errors  int `json:"errors"` // agents that ended error or lost
	Lost    int `json:"lost"`   // ... those of them that were lost
	Stalls  int `json:"stalls"` // times that a span in it was flagged
	Usage
	// Counts are further numbers of its phase events, e.g. "libraries".
	Counts map[string]float64 `json:"counts,omitempty"`
}

// Totals are the run in numbers.
type Totals struct {
	// Agents counts those known, AgentsSpawned those that ever started.
	Agents        int `json:"agents"`
	AgentsSpawned int `json:"agents_spawned"`
	Queued        int `json:"queued"`
	Running       int `json:"running"` // stalled included
	Stalled       int `json:"stalled"` // now
	Done          int `json:"done"`
	Failed        int `json:"failed"` // agents that ended error
	Cancelled     int `json:"cancelled"`
	Lost          int `json:"lost"`
	// Ended counts the agents that ever ended: what Percent is of.
	Ended int `json:"ended"`
	// Percent of the known agents that ever ended; null until one was queued.
	Percent *int `json:"percent"`
	Usage
	AnalysesWritten int `json:"analyses_written"`
	Artifacts       int `json:"artifacts"`
	// Errors counts the spans that ended error, but for tool and LLM calls, which
	// are ToolErrors, and processes.
	Errors     int `json:"errors"`
	ToolErrors int `json:"tool_errors"`
	Stalls     int `json:"stalls"` // times that a span was flagged
	Spans      int `json:"spans"`

	LLMCalls          int `json:"llm_calls"`
	LLMCallsWithUsage int `json:"llm_calls_with_usage"`
	// TokenSources has each source's own sum, and under "unattributed" the
	// metered calls that match no agent.
	TokenSources map[string]int64 `json:"token_sources"`

	Events         int64 `json:"events"`          // lines, unknown ones included
	UnknownEvents  int64 `json:"unknown_events"`  // lines of events that the schema does not have
	RejectedEvents int64 `json:"rejected_events"` // as the root's end says
	CyclesCut      int64 `json:"cycles_cut"`      // parent edges left out because they closed a circle or went too deep
}

// Info is what is known of the run as a whole.
type Info struct {
	RunID string `json:"run_id"`
	// Status is running, ok, error or interrupted.
	Status  string `json:"status"`
	StartMS int64  `json:"start_ms"`
	EndMS   int64  `json:"end_ms,omitempty"`
	WallMS  int64  `json:"wall_ms,omitempty"`
	// ExitCode is the child's, 128 + N for a signal; null while it runs or where
	// nobody saw it end. ObsrunExit is what obsrun made of it.
	ExitCode     *int     `json:"exit_code"`
	ObsrunExit   *int     `json:"obsrun_exit"`
	Signal       string   `json:"signal,omitempty"`
	Command      []string `json:"command"`
	Dir          string   `json:"cwd,omitempty"`
	Host         string   `json:"host,omitempty"`
	Version      string   `json:"version,omitempty"` // of obsrun
	SourceRepo   string   `json:"source_repo,omitempty"`
	SourceCommit string   `json:"source_commit,omitempty"`
	SourceFrom   string   `json:"source_from,omitempty"` // "cwd" where it was only found there
	OuterRunID   string   `json:"outer_run_id,omitempty"`
	// Error says why the run could not start.
	Error     string   `json:"error,omitempty"`
	Survivors []string `json:"survivors"` // what was left running
}

// Entry is a log event of level warn or error.
type Entry struct {
	Rev     int64  `json:"rev"` // its journal line
	TimeMS  int64  `json:"time_ms"`
	Level   string `json:"level"`
	Message string `json:"message"`
	SpanID  string `json:"span_id,omitempty"`
	Source  string `json:"source,omitempty"`
}

// Stall is one time that a span was flagged as silent.
type Stall struct {
	SpanID string `json:"span_id"`
	// Agent is the id of the agent that shows it: the span or the nearest above.
	Agent     string          `json:"agent,omitempty"`
	Name      string          `json:"name"`
	Phase     string          `json:"phase,omitempty"`
	TimeMS    int64           `json:"time_ms"`
	IdleMS    int64           `json:"idle_ms"`
	Evidence  json.RawMessage `json:"evidence,omitempty"`
	ResumedMS int64           `json:"resumed_ms,omitempty"` // 0 while it lasts
	// Open tells that it was not heard of again: neither resumed nor ended.
	Open bool `json:"open"`
}

// Burn is how fast tokens are used.
type Burn struct {
	// PerMin is tokens a minute over the last 30 s (less at the start), Peak its
	// highest value so far, Mean that of the whole run.
	PerMin float64 `json:"per_min"`
	Peak   float64 `json:"peak"`
	Mean   float64 `json:"mean"`
	// AtLeast tells that an open agent has reported nothing yet.
	AtLeast bool `json:"at_least"`
	// Series is PerMin over time: value i at StartMS + i*StepMS. The recent past
	// is revised when tokens come late.
	StartMS int64     `json:"start_ms"`
	StepMS  int64     `json:"step_ms"`
	Series  []float64 `json:"series"`
	// Totals are the tokens that were used by the same moments.
	Totals []int64 `json:"totals"`
}

// Segment is a piece of the critical path.
type Segment struct {
	SpanID string `json:"span_id"`
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	// Agent is the id of the nearest agent, the span itself included.
	Agent   string `json:"agent,omitempty"`
	Phase   string `json:"phase,omitempty"`
	StartMS int64  `json:"start_ms"`
	EndMS   int64  `json:"end_ms"`
}

// Delta is the state, or what changed of it after line From: spans replace those
// of the same id, logs are added, everything else replaces what was there.
type Delta struct {
	// From is the line it starts after, 0 for the whole state; Rev the line it
	// reaches.
	From int64 `json:"from"`
	Rev  int64 `json:"rev"`
	// NowMS is the server's clock, Unix milliseconds, where the run is live.
	NowMS  int64   `json:"now_ms,omitempty"`
	Run    Info    `json:"run"`
	Totals Totals  `json:"totals"`
	Phases []Phase `json:"phases"`
	Spans  []Span  `json:"spans"`
	Logs   []Entry `json:"logs"`
	Stalls []Stall `json:"stalls"`
	Burn   Burn    `json:"burn"`
	// CriticalPath is there once the run has ended.
	CriticalPath []Segment `json:"critical_path"`
	// Sources says what each source told and could have told. It is there in the
	// whole state and once the run has ended.
	Sources []Capture `json:"sources,omitempty"`
	// Resources replaces what was there; it is absent where nothing was added to it.
	Resources *Resources `json:"resources,omitempty"`
}
