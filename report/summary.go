package report

import (
	"encoding/json"

	"github.com/obsrun/obsrun/instrument/run"
)

// Summary is run_summary.json: what a run did. Durations are milliseconds, times
// within the run are milliseconds since StartedAt. Lists are never null, numbers
// are always finite.
type Summary struct {
	// Schema is the version of this document's shape. The first shape had none:
	// 0 is read as 1.
	Schema int    `json:"schema"`
	RunID  string `json:"run_id"`
	// Status is that of run.Info: ok; error, where the child's exit status was not
	// 0; interrupted, where INT, TERM or HUP reached the run or obsrun died; running.
	Status string `json:"status"`
	// ExitCode is the child's exit status, 128 + N for signal N; null where nobody
	// saw it end. ObsrunExit is what obsrun itself returned.
	ExitCode   *int `json:"exit_code"`
	ObsrunExit *int `json:"obsrun_exit"`
	// Signal is the signal that ended the child.
	Signal  string   `json:"signal,omitempty"`
	Command []string `json:"command"`
	// StartedAt is RFC 3339 in UTC with milliseconds, empty where it is unknown.
	StartedAt    string `json:"started_at"`
	SourceRepo   string `json:"source_repo"`
	SourceCommit string `json:"source_commit"`
	// SourceFrom is "cwd" where the two above were only found in the work tree in
	// which the run started.
	SourceFrom string `json:"source_from,omitempty"`
	// OuterRunID is the run in which this run was started.
	OuterRunID string `json:"outer_run_id,omitempty"`

	// TotalWallMS is how long the run took; so far, while it lasts.
	TotalWallMS int64  `json:"total_wall_ms"`
	Phases      Phases `json:"phases"`
	Totals      Totals `json:"totals"`
	// Work is where the time went; null in a summary of an obsrun that did not tell.
	Work *Work `json:"work"`
	// Models are the LLMs that were asked, the one with most tokens first.
	Models []Model `json:"models"`
	// CostEstimate is what the LLM calls would cost by a table of prices. It is in no
	// run_summary.json: a report has it that was asked for with prices.
	CostEstimate *Estimate `json:"cost_estimate,omitempty"`
	// Agents are all agents that were known, in order of appearance.
	Agents []Agent `json:"agents"`
	// CriticalPath are the pieces of work that the wall time consists of, in order;
	// empty while the run lasts.
	CriticalPath []Step  `json:"critical_path"`
	Stalls       []Stall `json:"stalls"`
	// Errors are what failed, by time: the run itself where it could not start,
	// spans that ended error, agents that were lost. Of failed tool and LLM calls
	// only the first 200; Totals.ToolErrors counts them all.
	Errors []Failure `json:"errors"`
	// Warnings are the log events of level warn and error, in the order of the
	// journal, the last 1000 where there were more.
	Warnings []Warning `json:"warnings"`
	// Survivors are the processes that the run left behind.
	Survivors []string `json:"survivors"`
	// Sources are what came by each source of telemetry, and whether and why it was
	// on; in a run that was recorded without that, those that told anything.
	Sources []run.Capture `json:"sources"`
}

// EndUnknown tells whether nobody saw the run's end: its obsrun was killed, or had only
// begun to end. What it took is then what it took at least.
func (s *Summary) EndUnknown() bool {
	return s.Status == run.StatusInterrupted && s.ExitCode == nil && s.ObsrunExit == nil
}

// Usage is what was consumed. Tokens is Input plus Output, Input includes Cached.
type Usage struct {
	Tokens       int64 `json:"tokens"`
	InputTokens  int64 `json:"input_tokens"`
	OutputTokens int64 `json:"output_tokens"`
	CachedTokens int64 `json:"cached_tokens"`
	ToolUses     int64 `json:"tool_uses"`
	// CostUSD is left out where no cost was reported.
	CostUSD float64 `json:"cost_usd,omitempty"`
}

// Totals are the run in numbers.
type Totals struct {
	// AgentsSpawned counts the agents that ever started.
	AgentsSpawned   int64 `json:"agents_spawned"`
	TotalTokens     int64 `json:"total_tokens"`
	TotalToolUses   int64 `json:"total_tool_uses"`
	AnalysesWritten int64 `json:"analyses_written"`
	InputTokens     int64 `json:"input_tokens"`
	OutputTokens    int64 `json:"output_tokens"`
	CachedTokens    int64 `json:"cached_tokens"`
	// CostUSD is left out where no cost was reported.
	CostUSD float64 `json:"cost_usd,omitempty"`
	// Errors counts spans that ended error. Tool and LLM calls are not among them:
	// agents live with failed calls, so ToolErrors counts those.
	Errors     int64 `json:"errors"`
	ToolErrors int64 `json:"tool_errors"`
	// Lost counts agents that were still open when the run ended.
	Lost int64 `json:"lost"`
	// Stalls counts how often a span was flagged as silent.
	Stalls             int64 `json:"stalls"`
	PeakParallelAgents int64 `json:"peak_parallel_agents"`
	// Events counts journal lines, UnknownEvents those among them that the schema
	// does not have, RejectedEvents what was no valid event.
	Events         int64 `json:"events"`
	UnknownEvents  int64 `json:"unknown_events"`
	RejectedEvents int64 `json:"rejected_events"`
	// LLMCallsWithUsage of the LLMCalls said what they consumed: where it is less,
	// the tokens are a lower bound.
	LLMCalls          int64 `json:"llm_calls"`
	LLMCallsWithUsage int64 `json:"llm_calls_with_usage"`
	// TokenSources has the sum of each source, and under "unattributed" the metered
	// calls that match no agent.
	TokenSources map[string]int64 `json:"token_sources"`
}

// Agent is one agent of the run.
type Agent struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Component string `json:"component,omitempty"`
	Kind      string `json:"kind"`
	// Phase is the phase's name as the run gave it: library_depth_2 stands among
	// the depths of library_depth_n.
	Phase string `json:"phase,omitempty"`
	// Parent is the id of the nearest agent above, whose Usage includes this one's.
	Parent string `json:"parent,omitempty"`
	// Status is queued, running, stalled, done, error, cancelled or lost.
	Status string `json:"status"`
	// StartMS is when its first attempt began; null where none did.
	StartMS *int64 `json:"start_ms"`
	// WallMS is how long it was at work: all attempts together, as in Usage. An
	// attempt that is under way counts 0, one that was lost up to the run's end.
	WallMS int64 `json:"wall_ms"`
	// IdleMS is how much of that nothing below it was open: no call, tool or agent of
	// its own. Null where nothing below it is known.
	IdleMS *int64 `json:"idle_ms"`
	Usage
	Attempts int64  `json:"attempts"`
	Error    string `json:"error,omitempty"`
}

// Step is a piece of the critical path.
type Step struct {
	SpanID string `json:"span_id"`
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Phase  string `json:"phase,omitempty"`
	// Agent is the id of the nearest agent, the span itself included.
	Agent   string `json:"agent,omitempty"`
	StartMS int64  `json:"start_ms"`
	WallMS  int64  `json:"wall_ms"`
}

// Stall is one time that a span was flagged as silent.
type Stall struct {
	SpanID string `json:"span_id"`
	Name   string `json:"name"`
	Phase  string `json:"phase,omitempty"`
	// Agent is the id of the agent that shows it: the span or the nearest above.
	Agent string `json:"agent,omitempty"`
	// AtMS is when it was flagged, IdleMS how long it had been silent by then.
	AtMS   int64 `json:"at_ms"`
	IdleMS int64 `json:"idle_ms"`
	// ResumedMS is when it was heard of again, null where it was not.
	ResumedMS *int64 `json:"resumed_ms"`
	// Open tells that it neither resumed nor ended.
	Open bool `json:"open"`
	// Evidence is what the watchdog measured.
	Evidence json.RawMessage `json:"evidence,omitempty"`
}

// Failure is something that failed.
type Failure struct {
	SpanID string `json:"span_id"`
	Name   string `json:"name"` // empty for the run itself
	Kind   string `json:"kind"`
	Phase  string `json:"phase,omitempty"`
	Agent  string `json:"agent,omitempty"` // id of the nearest agent above
	Status string `json:"status"`          // error or lost
	AtMS   int64  `json:"at_ms"`
	// Message is what the span gave as its error, empty where it gave none.
	Message string `json:"message"`
}

// Warning is a log event that a person should read.
type Warning struct {
	AtMS    int64  `json:"at_ms"`
	Level   string `json:"level"` // warn or error
	Message string `json:"message"`
	SpanID  string `json:"span_id,omitempty"`
	Source  string `json:"source,omitempty"` // the receiver that told it
}

func usageOf(u run.Usage) Usage {
	return Usage{
		Tokens: u.Tokens, InputTokens: u.Input, OutputTokens: u.Output, CachedTokens: u.Cached,
		ToolUses: u.ToolUses, CostUSD: finite(u.CostUSD),
	}
}
