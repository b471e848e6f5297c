package export

import (
	"encoding/json"
	"iter"
	"math"
	"reflect"

	"github.com/obsrun/obsrun/instrument/run"
)

// Row is a span as a line of a table: the columns of csv, jsonl and parquet, in
// this order. New columns are added at the end.
//
// Times are Unix milliseconds, in parquet timestamps. What is not known is empty
// in csv and null in the others. The first row is the run itself. A span's
// consumption includes what lies below it, so sums are to be taken over one level,
// such as the agents without an agent above (agent_id).
type Row struct {
	RunID string `json:"run_id" parquet:"run_id,optional,dict"`
	// Seq is 0 for the run, then counts by first appearance.
	Seq    int64  `json:"seq" parquet:"seq"`
	SpanID string `json:"span_id" parquet:"span_id,optional"`
	// ParentID is the span it hangs under; not known for the run alone.
	ParentID string `json:"parent_id" parquet:"parent_id,optional,dict"`
	// AgentID is the nearest agent above.
	AgentID string `json:"agent_id" parquet:"agent_id,optional,dict"`
	// SameAs is the span that stands for this one, of which several sources told:
	// leave out the rows that have it.
	SameAs    string `json:"same_as" parquet:"same_as,optional,dict"`
	Name      string `json:"name" parquet:"name,optional"`
	Component string `json:"component" parquet:"component,optional,dict"`
	Kind      string `json:"kind" parquet:"kind,optional,dict"`
	IsAgent   bool   `json:"is_agent" parquet:"is_agent"`
	Phase     string `json:"phase" parquet:"phase,optional,dict"`
	// Source is the receiver that told of it first.
	Source string `json:"source" parquet:"source,optional,dict"`
	// State is queued, running, stalled, done, error, cancelled or lost; for the run
	// running, ok, error or interrupted.
	State    string `json:"state" parquet:"state,optional,dict"`
	QueuedMS *int64 `json:"queued_ms" parquet:"queued_ms,timestamp(millisecond)"`
	// StartMS, EndMS and DurationMS are of the last attempt, OffsetMS is StartMS in
	// milliseconds since the run's start.
	StartMS    *int64 `json:"start_ms" parquet:"start_ms,timestamp(millisecond)"`
	EndMS      *int64 `json:"end_ms" parquet:"end_ms,timestamp(millisecond)"`
	OffsetMS   *int64 `json:"offset_ms" parquet:"offset_ms,optional"`
	DurationMS *int64 `json:"duration_ms" parquet:"duration_ms,optional"`
	// WallMS is all attempts together, as are the counters that follow.
	WallMS       int64   `json:"wall_ms" parquet:"wall_ms"`
	Attempts     int64   `json:"attempts" parquet:"attempts"`
	Tokens       int64   `json:"tokens" parquet:"tokens"`
	InputTokens  int64   `json:"input_tokens" parquet:"input_tokens"`
	OutputTokens int64   `json:"output_tokens" parquet:"output_tokens"`
	CachedTokens int64   `json:"cached_tokens" parquet:"cached_tokens"`
	ToolUses     int64   `json:"tool_uses" parquet:"tool_uses"`
	CostUSD      float64 `json:"cost_usd" parquet:"cost_usd"`
	// Reported tells whether tokens were ever reported for it or below it: 0 tokens
	// mean nothing where it is false.
	Reported bool `json:"reported" parquet:"reported"`
	// Stalls is how often it was flagged as silent.
	Stalls  int64  `json:"stalls" parquet:"stalls"`
	Error   string `json:"error" parquet:"error,optional"`
	Message string `json:"message" parquet:"message,optional"`
	// Attrs is a JSON object: as such in jsonl, as its text in the others.
	Attrs json.RawMessage `json:"attrs" parquet:"attrs,optional,string"`
}

// rows gives the run and its spans.
func rows(state *run.State) iter.Seq[Row] {
	info, totals := state.Info(), state.Totals()
	stalls := make(map[string]int64)
	for _, stall := range state.Stalls() {
		stalls[stall.SpanID]++
	}
	row := func(v *run.Span) Row {
		r := Row{
			RunID: info.RunID, Seq: int64(v.Seq), SpanID: v.ID, ParentID: v.Parent, AgentID: v.Agent, SameAs: v.SameAs,
			Name: v.Name, Component: v.Component, Kind: v.Kind, IsAgent: v.IsAgent, Phase: v.Phase, Source: v.Source, State: v.State,
			QueuedMS: known(v.QueuedMS), StartMS: known(v.StartMS), EndMS: known(v.EndMS),
			WallMS: v.DurationMS, Attempts: int64(v.Attempts),
			Tokens: v.Tokens, InputTokens: v.Input, OutputTokens: v.Output, CachedTokens: v.Cached, ToolUses: v.ToolUses, CostUSD: finite(v.CostUSD),
			Reported: v.Reported, Stalls: stalls[v.ID], Error: v.Error, Message: v.Message, Attrs: v.Attrs,
		}
		if v.StartMS != 0 && info.StartMS != 0 {
			offset := v.StartMS - info.StartMS
			r.OffsetMS = &offset
		}
		if v.StartMS != 0 && v.EndMS != 0 {
			r.DurationMS = &v.DurationMS
		}
		for _, earlier := range v.Earlier {
			r.WallMS += max(0, earlier.EndMS-earlier.StartMS)
		}
		return r
	}
	return func(yield func(Row) bool) {
		if root, ok := state.Span(state.RootID()); ok && info.StartMS != 0 {
			root.State, root.StartMS, root.Usage, root.Error = info.Status, info.StartMS, totals.Usage, info.Error
			if !yield(row(&root)) {
				return
			}
		}
		for v := range state.Spans() {
			if !yield(row(&v)) {
				return
			}
		}
	}
}

// known is a time, nil for one that is not known.
func known(ms int64) *int64 {
	if ms == 0 {
		return nil
	}
	return &ms
}

func finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

// columns are the names of a row's columns.
func columns() []string {
	t := reflect.TypeFor[Row]()
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = t.Field(i).Tag.Get("json")
	}
	return names
}

// cells are the values in a row's columns: a string, bool, int64, float64 or
// json.RawMessage, nil for what is not known.
func (r *Row) cells() []any {
	v := reflect.ValueOf(r).Elem()
	out := make([]any, v.NumField())
	for i := range out {
		switch cell := v.Field(i).Interface().(type) {
		case string:
			if cell != "" {
				out[i] = cell
			}
		case *int64:
			if cell != nil {
				out[i] = *cell
			}
		case json.RawMessage:
			if len(cell) > 0 {
				out[i] = cell
			}
		default:
			out[i] = cell
		}
	}
	return out
}
