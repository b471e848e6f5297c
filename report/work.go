package report

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// maxModels bounds the models that are listed: their names come from others.
const maxModels = 50

// Work is where the time of agents and LLM calls went. Times are sums over all of
// them, so they can be more than the wall time.
type Work struct {
	// AgentMS is the wall time of all agents together, MeanParallel that divided by
	// the run's: how many were at work at once on average.
	AgentMS      int64   `json:"agent_ms"`
	MeanParallel float64 `json:"mean_parallel"`
	// LLMMS is the time of the last attempts of LLM calls, LLMTimed how many calls
	// tell theirs.
	LLMMS    int64 `json:"llm_ms"`
	LLMTimed int64 `json:"llm_timed"`
	// Retries counts the further attempts of LLM calls, RetryMS is the time of those
	// that failed before the last, WaitMS that between attempts.
	Retries int64 `json:"retries"`
	RetryMS int64 `json:"retry_ms"`
	WaitMS  int64 `json:"wait_ms"`
	// RateLimited counts the calls that a limit of the provider refused (HTTP 429)
	// at least once, RateLimitWaitMS is the part of WaitMS that is theirs.
	RateLimited     int64 `json:"rate_limited"`
	RateLimitWaitMS int64 `json:"rate_limit_wait_ms"`
}

// Model is what was asked of one LLM.
type Model struct {
	// Name is the model as it answered, else as it was asked for.
	Name  string `json:"name"`
	Calls int64  `json:"calls"`
	// WithUsage of the calls told their tokens.
	WithUsage    int64 `json:"with_usage"`
	InputTokens  int64 `json:"input_tokens"` // includes CachedTokens
	OutputTokens int64 `json:"output_tokens"`
	CachedTokens int64 `json:"cached_tokens"`
	// CostUSD is what was told of them.
	CostUSD float64 `json:"cost_usd,omitempty"`
}

// callFacts are the attrs of an LLM call that matter here, as the gateway and the
// OTLP receiver write them.
type callFacts struct {
	Model     string  `json:"model"`
	Answered  string  `json:"response_model"`
	Status    float64 `json:"status"`
	HTTP      float64 `json:"http_status"`
	ErrorType string  `json:"error_type"`
	ErrorCode string  `json:"error_code"`
	Attempt   float64 `json:"attempt"`
	Attempts  float64 `json:"request_attempts"`
}

// factsOf reads what fits: an attribute of another type costs only itself.
func factsOf(attrs json.RawMessage) callFacts {
	var facts callFacts
	if len(attrs) > 0 {
		_ = json.Unmarshal(attrs, &facts)
	}
	return facts
}

func (f *callFacts) rateLimited() bool {
	const tooMany = 429
	return f.Status == tooMany || f.HTTP == tooMany ||
		strings.HasPrefix(f.ErrorType, "rate_limit") || strings.HasPrefix(f.ErrorCode, "rate_limit") || f.ErrorType == "429"
}

// calls folds the LLM calls of a run.
type calls struct {
	work   Work
	models map[string]*Model
}

func (c *calls) add(span *run.Span) {
	if span.Kind != telemetry.KindLLM || span.SameAs != "" || span.Attempts == 0 {
		return
	}
	facts := factsOf(span.Attrs)
	w := &c.work
	if span.EndMS != 0 {
		w.LLMTimed++
		w.LLMMS += span.DurationMS
	}
	if n := max(float64(span.Attempts), facts.Attempt, facts.Attempts) - 1; n > 0 && n < 1e6 {
		w.Retries += int64(n)
	}
	limited := facts.rateLimited()
	if limited {
		w.RateLimited++
	}
	for i, attempt := range span.Earlier {
		w.RetryMS += max(0, attempt.EndMS-attempt.StartMS)
		next := span.StartMS
		if i+1 < len(span.Earlier) {
			next = span.Earlier[i+1].StartMS
		}
		wait := max(0, next-attempt.EndMS)
		w.WaitMS += wait
		if limited {
			w.RateLimitWaitMS += wait
		}
	}
	name := cmp.Or(facts.Answered, facts.Model, span.Name)
	if c.models == nil {
		c.models = make(map[string]*Model)
	}
	m := c.models[name]
	if m == nil {
		m = &Model{Name: name}
		c.models[name] = m
	}
	m.Calls++
	if span.Reported {
		m.WithUsage++
	}
	m.InputTokens = plus(m.InputTokens, span.Input)
	m.OutputTokens = plus(m.OutputTokens, span.Output)
	m.CachedTokens = plus(m.CachedTokens, span.Cached)
	m.CostUSD = finite(m.CostUSD + span.CostUSD)
}

// list gives the models, the one with most tokens first.
func (c *calls) list() []Model {
	out := []Model{}
	for _, name := range slices.Sorted(maps.Keys(c.models)) {
		out = append(out, *c.models[name])
	}
	slices.SortStableFunc(out, func(a, b Model) int {
		return cmp.Or(cmp.Compare(plus(b.InputTokens, b.OutputTokens), plus(a.InputTokens, a.OutputTokens)), cmp.Compare(b.Calls, a.Calls))
	})
	return out[:min(len(out), maxModels)]
}

// mean is sum/wall to two decimals; 0 where there is no wall time.
func mean(sum, wall int64) float64 {
	if wall <= 0 {
		return 0
	}
	return math.Round(100*float64(sum)/float64(wall)) / 100
}
