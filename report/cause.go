package report

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// Cause is a part of a change: how much of it comes from one thing having changed.
// The parts of a total add up to its change. It is arithmetic on sums, by the
// average of both runs where two things changed together; it knows nothing of what
// waited for what.
type Cause struct {
	// Of is the total whose change it is a part of: total_wall_ms or total_tokens.
	Of string `json:"of"`
	// Name says what changed.
	Name string `json:"name"`
	// A and B are that thing in both; null where it is not known.
	A *float64 `json:"a"`
	B *float64 `json:"b"`
	// Effect is the part of the change, in the total's unit; null where it is not
	// known, and Why says why.
	Effect *float64 `json:"effect"`
	Why    string   `json:"why,omitempty"`

	title        string
	unit, effect unit
}

// drivers are what wall time and tokens depend on, of a run or the medians of a set.
type drivers struct {
	wall, tokens, agents, agentMS float64
	calls, llmMS                  float64
	rateWaitMS, retryMS           float64 // retryMS: failed attempts, and waits that are no rate limit's
	known                         bool    // the time of agents
	timed, metered                bool    // all LLM calls tell their time, their tokens
	seen                          bool    // a source that sees the attempts of calls was there
}

func workOf(s *Summary) drivers {
	d := drivers{
		wall: float64(s.TotalWallMS), tokens: float64(s.Totals.TotalTokens), agents: float64(s.Totals.AgentsSpawned),
		calls: float64(s.Totals.LLMCalls), metered: s.Totals.LLMCalls > 0 && s.Totals.LLMCallsWithUsage == s.Totals.LLMCalls,
	}
	if w := s.Work; w != nil {
		d.known = w.AgentMS > 0 && s.TotalWallMS > 0 && s.Totals.AgentsSpawned > 0
		d.agentMS, d.llmMS = float64(w.AgentMS), float64(w.LLMMS)
		d.rateWaitMS = float64(w.RateLimitWaitMS)
		d.retryMS = float64(w.RetryMS + w.WaitMS - w.RateLimitWaitMS)
		d.timed = s.Totals.LLMCalls > 0 && w.LLMTimed >= s.Totals.LLMCalls
		d.seen = w.Retries > 0
	}
	for _, c := range s.Sources {
		d.seen = d.seen || (c.Source == telemetry.SourceGateway && c.LLMCalls > 0)
	}
	return d
}

// workOfSet has the medians of the runs, and knows what is known of all of them.
func workOfSet(runs []Summary) drivers {
	all := make([]drivers, len(runs))
	for i := range runs {
		all[i] = workOf(&runs[i])
	}
	median := func(of func(*drivers) float64) float64 {
		values := make([]float64, len(all))
		for i := range all {
			values[i] = of(&all[i])
		}
		slices.Sort(values)
		if len(values) == 0 {
			return 0
		}
		return medianOf(values)
	}
	every := func(of func(*drivers) bool) bool {
		return len(all) > 0 && !slices.ContainsFunc(all, func(d drivers) bool { return !of(&d) })
	}
	return drivers{
		wall:    median(func(d *drivers) float64 { return d.wall }),
		tokens:  median(func(d *drivers) float64 { return d.tokens }),
		agents:  median(func(d *drivers) float64 { return d.agents }),
		agentMS: median(func(d *drivers) float64 { return d.agentMS }),
		calls:   median(func(d *drivers) float64 { return d.calls }),
		llmMS:   median(func(d *drivers) float64 { return d.llmMS }),

		rateWaitMS: median(func(d *drivers) float64 { return d.rateWaitMS }),
		retryMS:    median(func(d *drivers) float64 { return d.retryMS }),

		known:   every(func(d *drivers) bool { return d.known }),
		timed:   every(func(d *drivers) bool { return d.timed }),
		metered: every(func(d *drivers) bool { return d.metered }),
		seen:    every(func(d *drivers) bool { return d.seen }),
	}
}

// causes splits the changes of wall time and tokens.
func causes(a, b drivers) []Cause {
	out := append([]Cause{}, wallCauses(&a, &b)...)
	return append(out, tokenCauses(&a, &b)...)
}

// split collects the causes of one total.
type split struct {
	of     string
	effect unit
	list   []Cause
}

func (s *split) known(name, title string, u unit, a, b, effect float64) {
	a, b, effect = finite(a), finite(b), finite(effect)
	s.list = append(s.list, Cause{Of: s.of, Name: name, A: &a, B: &b, Effect: &effect, title: title, unit: u, effect: s.effect})
}

func (s *split) unknown(name, title, why string) {
	s.list = append(s.list, Cause{Of: s.of, Name: name, Why: why, title: title, effect: s.effect})
}

// sorted gives them by size, those that are not known last.
func (s *split) sorted() []Cause {
	slices.SortStableFunc(s.list, func(x, y Cause) int {
		size := func(c Cause) float64 {
			if c.Effect == nil {
				return -1
			}
			return math.Abs(*c.Effect)
		}
		return cmp.Compare(size(y), size(x))
	})
	return s.list
}

// wallCauses takes wall time as the agents' time divided by how many worked at
// once, and the agents' time as calls times time a call and what is beside it.
func wallCauses(a, b *drivers) []Cause {
	s := split{of: "total_wall_ms", effect: milliseconds}
	if !a.known || !b.known {
		s.unknown("parallelism", "agents at once, on average", "the time of agents is not known in both")
		return s.list
	}
	atOnceA, atOnceB := a.agentMS/a.wall, b.agentMS/b.wall
	s.known("parallelism", "agents at once, on average", decimal, atOnceA, atOnceB, (1/atOnceB-1/atOnceA)*(a.agentMS+b.agentMS)/2)
	share := (1/atOnceA + 1/atOnceB) / 2 // of agents' time that is wall time
	restA := a.agentMS - a.llmMS - a.rateWaitMS - a.retryMS
	restB := b.agentMS - b.llmMS - b.rateWaitMS - b.retryMS
	if why := untimed(a, b, restA, restB); why != "" {
		eachA, eachB := a.agentMS/a.agents, b.agentMS/b.agents
		s.known("agents", "agents", decimal, a.agents, b.agents, (b.agents-a.agents)*(eachA+eachB)/2*share)
		s.known("agent_ms", "time an agent", milliseconds, eachA, eachB, (eachB-eachA)*(a.agents+b.agents)/2*share)
		s.unknown("llm_calls", "LLM calls", why)
		s.unknown("llm_call_ms", "time an LLM call", why)
	} else {
		eachA, eachB := a.llmMS/a.calls, b.llmMS/b.calls
		s.known("llm_calls", "LLM calls", decimal, a.calls, b.calls, (b.calls-a.calls)*(eachA+eachB)/2*share)
		s.known("llm_call_ms", "time an LLM call", milliseconds, eachA, eachB, (eachB-eachA)*(a.calls+b.calls)/2*share)
		s.known("other_work", "agents' time beside LLM calls", milliseconds, restA, restB, (restB-restA)*share)
	}
	const unseen = "only the gateway sees the attempts of a call"
	switch {
	case !a.seen || !b.seen:
		s.unknown("rate_limit_wait", "waiting on rate limits", unseen)
		s.unknown("retries", "failed attempts of LLM calls", unseen)
	case untimed(a, b, restA, restB) == "":
		s.known("rate_limit_wait", "waiting on rate limits", milliseconds, a.rateWaitMS, b.rateWaitMS, (b.rateWaitMS-a.rateWaitMS)*share)
		s.known("retries", "failed attempts of LLM calls", milliseconds, a.retryMS, b.retryMS, (b.retryMS-a.retryMS)*share)
	}
	return s.sorted()
}

// untimed says why agents' time can not be split into that of calls and the rest.
func untimed(a, b *drivers, restA, restB float64) string {
	switch {
	case a.calls == 0 || b.calls == 0:
		return "no LLM calls were told of in both"
	case !a.timed || !b.timed:
		return "not all LLM calls tell how long they took"
	case restA < 0 || restB < 0:
		return "LLM calls took more time than their agents: calls of an agent overlap, or belong to none"
	}
	return ""
}

// tokenCauses takes tokens as calls times tokens a call.
func tokenCauses(a, b *drivers) []Cause {
	s := split{of: "total_tokens", effect: number}
	product := func(name, title, each, eachTitle string, nA, nB float64) {
		eachA, eachB := a.tokens/nA, b.tokens/nB
		s.known(name, title, decimal, nA, nB, (nB-nA)*(eachA+eachB)/2)
		s.known(each, eachTitle, number, eachA, eachB, (eachB-eachA)*(nA+nB)/2)
	}
	why := ""
	switch {
	case a.calls == 0 || b.calls == 0:
		why = "no LLM calls were told of in both"
	case !a.metered || !b.metered:
		why = "not all LLM calls told their tokens"
	default:
		product("llm_calls", "LLM calls", "tokens_per_call", "tokens an LLM call", a.calls, b.calls)
		return s.sorted()
	}
	if a.agents > 0 && b.agents > 0 {
		product("agents", "agents", "tokens_per_agent", "tokens an agent", a.agents, b.agents)
	}
	s.unknown("llm_calls", "LLM calls", why)
	s.unknown("tokens_per_call", "tokens an LLM call", why)
	return s.sorted()
}

// notKnown says of which causes nothing is known, a line for each reason.
func notKnown(list []Cause) []string {
	var reasons []string
	titles := make(map[string][]string)
	for i := range list {
		c := &list[i]
		if c.Effect != nil || slices.Contains(titles[c.Why], c.title) {
			continue
		}
		if titles[c.Why] == nil {
			reasons = append(reasons, c.Why)
		}
		titles[c.Why] = append(titles[c.Why], c.title)
	}
	for i, why := range reasons {
		reasons[i] = "not known: " + strings.Join(titles[why], ", ") + " (" + why + ")"
	}
	return reasons
}
