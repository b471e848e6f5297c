package report

// measure is a number of a document that can be compared: its name is its name
// in the JSON, so these names are the ones that thresholds and comparisons use.
type measure[T any] struct {
	name string
	// title is what a person reads.
	title string
	unit  unit
	// of gives the value; false where it is not known.
	of func(*T) (value float64, known bool)
}

// exact is a measure that is always known.
func exact[T any](name, title string, u unit, of func(*T) int64) measure[T] {
	return measure[T]{name, title, u, func(t *T) (float64, bool) { return float64(of(t)), true }}
}

// price is a measure that is unknown where it is 0.
func price[T any](name, title string, of func(*T) float64) measure[T] {
	return measure[T]{name, title, dollars, func(t *T) (float64, bool) { return of(t), of(t) != 0 }}
}

// What is compared of two runs, of two phases, of two agents; in this order.
var (
	totalMeasures = []measure[Summary]{
		exact("total_wall_ms", "wall", milliseconds, func(s *Summary) int64 { return s.TotalWallMS }),
		exact("agents_spawned", "agents", number, func(s *Summary) int64 { return s.Totals.AgentsSpawned }),
		exact("peak_parallel_agents", "agents at once", number, func(s *Summary) int64 { return s.Totals.PeakParallelAgents }),
		exact("total_tokens", "tokens", number, func(s *Summary) int64 { return s.Totals.TotalTokens }),
		exact("input_tokens", "input tokens", number, func(s *Summary) int64 { return s.Totals.InputTokens }),
		exact("output_tokens", "output tokens", number, func(s *Summary) int64 { return s.Totals.OutputTokens }),
		exact("cached_tokens", "cached tokens", number, func(s *Summary) int64 { return s.Totals.CachedTokens }),
		price("cost_usd", "cost", func(s *Summary) float64 { return s.Totals.CostUSD }),
		exact("total_tool_uses", "tool uses", number, func(s *Summary) int64 { return s.Totals.TotalToolUses }),
		exact("llm_calls", "LLM calls", number, func(s *Summary) int64 { return s.Totals.LLMCalls }),
		exact("analyses_written", "analyses written", number, func(s *Summary) int64 { return s.Totals.AnalysesWritten }),
		exact("errors", "errors", number, func(s *Summary) int64 { return s.Totals.Errors }),
		exact("tool_errors", "failed calls", number, func(s *Summary) int64 { return s.Totals.ToolErrors }),
		exact("lost", "lost agents", number, func(s *Summary) int64 { return s.Totals.Lost }),
		exact("stalls", "stalls", number, func(s *Summary) int64 { return s.Totals.Stalls }),
		exact("rejected_events", "rejected events", number, func(s *Summary) int64 { return s.Totals.RejectedEvents }),
	}
	phaseMeasures = []measure[Phase]{
		exact("wall_ms", "wall", milliseconds, func(p *Phase) int64 { return p.WallMS }),
		exact("agents", "agents", number, func(p *Phase) int64 { return p.Agents }),
		exact("max_parallel", "agents at once", number, func(p *Phase) int64 { return p.MaxParallel }),
		exact("tokens", "tokens", number, func(p *Phase) int64 { return p.Tokens }),
		price("cost_usd", "cost", func(p *Phase) float64 { return p.CostUSD }),
		exact("tool_uses", "tool uses", number, func(p *Phase) int64 { return p.ToolUses }),
		exact("errors", "errors", number, func(p *Phase) int64 { return p.Errors }),
		exact("stalls", "stalls", number, func(p *Phase) int64 { return p.Stalls }),
	}
	agentMeasures = []measure[Agent]{
		exact("wall_ms", "wall", milliseconds, func(a *Agent) int64 { return a.WallMS }),
		exact("tokens", "tokens", number, func(a *Agent) int64 { return a.Tokens }),
		price("cost_usd", "cost", func(a *Agent) float64 { return a.CostUSD }),
		exact("tool_uses", "tool uses", number, func(a *Agent) int64 { return a.ToolUses }),
		exact("attempts", "attempts", number, func(a *Agent) int64 { return a.Attempts }),
	}
)
