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
	// the run's: how many were at work at once on average. It is 0 where the times of
	// the agents lie outside of the run's, so that it can not be told.
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

// calls folds the LLM calls of a run. What two sources tell of one agent's calls
// are the same calls, as run.State has it, so each agent's are those of the source
// with more tokens.
type calls struct {
	told map[teller]*called
}

type teller struct {
	agent, source string
	unattributed  bool
}

// called is what one source tells of the calls of one agent.
type called struct {
	work   Work
	models map[string]*Model
	tokens int64
	calls  int64
}

func (c *calls) add(span *run.Span) {
	if span.Kind != telemetry.KindLLM || span.SameAs != "" || span.Attempts == 0 {
		return
	}
	key := teller{span.Agent, span.Source, span.Unattributed}
	if c.told == nil {
		c.told = make(map[teller]*called)
	}
	if c.told[key] == nil {
		c.told[key] = &called{models: make(map[string]*Model)}
	}
	c.told[key].add(span)
}

func (c *called) add(span *run.Span) {
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
	c.calls++
	c.tokens = plus(c.tokens, span.Tokens)
	m := &Model{Name: cmp.Or(facts.Answered, facts.Model, span.Name), Calls: 1,
		InputTokens: span.Input, OutputTokens: span.Output, CachedTokens: span.Cached, CostUSD: span.CostUSD}
	if span.Reported {
		m.WithUsage = 1
	}
	addModel(c.models, m)
}

func addModel(models map[string]*Model, more *Model) {
	m := models[more.Name]
	if m == nil {
		m = &Model{Name: more.Name}
		models[more.Name] = m
	}
	m.Calls = plus(m.Calls, more.Calls)
	m.WithUsage = plus(m.WithUsage, more.WithUsage)
	m.InputTokens = plus(m.InputTokens, more.InputTokens)
	m.OutputTokens = plus(m.OutputTokens, more.OutputTokens)
	m.CachedTokens = plus(m.CachedTokens, more.CachedTokens)
	m.CostUSD = finite(m.CostUSD + more.CostUSD)
}

// sum decides between the sources, agent by agent. What matches no agent is in it
// where it is in the run's totals: total is the number of calls in those.
func (c *calls) sum(total int64) called {
	best := make(map[teller]teller) // by agent
	for key, told := range c.told {
		of := teller{agent: key.agent, unattributed: key.unattributed}
		other, ok := best[of]
		if rival := c.told[other]; !ok || cmp.Or(cmp.Compare(told.tokens, rival.tokens), cmp.Compare(told.calls, rival.calls), strings.Compare(other.source, key.source)) > 0 {
			best[of] = key
		}
	}
	all := called{models: make(map[string]*Model)}
	for _, unattributed := range []bool{false, true} {
		if unattributed && all.calls >= total {
			break
		}
		for of, key := range best {
			if of.unattributed == unattributed {
				all.join(c.told[key])
			}
		}
	}
	return all
}

func (c *called) join(more *called) {
	w, m := &c.work, &more.work
	for sum, part := range map[*int64]int64{
		&w.LLMMS: m.LLMMS, &w.LLMTimed: m.LLMTimed, &w.Retries: m.Retries, &w.RetryMS: m.RetryMS, &w.WaitMS: m.WaitMS,
		&w.RateLimited: m.RateLimited, &w.RateLimitWaitMS: m.RateLimitWaitMS, &c.calls: more.calls, &c.tokens: more.tokens,
	} {
		*sum = plus(*sum, part)
	}
	for _, name := range slices.Sorted(maps.Keys(more.models)) {
		addModel(c.models, more.models[name])
	}
}

// list gives the models, the one with most tokens first.
func (c *called) list() []Model {
	out := []Model{}
	for _, name := range slices.Sorted(maps.Keys(c.models)) {
		out = append(out, *c.models[name])
	}
	slices.SortStableFunc(out, func(a, b Model) int {
		return cmp.Or(cmp.Compare(plus(b.InputTokens, b.OutputTokens), plus(a.InputTokens, a.OutputTokens)), cmp.Compare(b.Calls, a.Calls))
	})
	return out[:min(len(out), maxModels)]
}

// mean is sum/wall to two decimals; 0 where there is no wall time, or where it can not
// be that of the agents, since more than peak would have been at work.
func mean(sum, wall, peak int64) float64 {
	if wall <= 0 || float64(sum) > 1.01*float64(peak)*float64(wall) {
		return 0
	}
	return math.Round(100*float64(sum)/float64(wall)) / 100
}
