package otlp

import (
	"sync"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// measure is what a number of a span or log record counts.
type measure int

const (
	input measure = iota
	output
	cacheRead  // part of the input that a cache gave
	cacheWrite // part of the input that went into a cache
	total
	cost // US dollars
	measures
)

// usageRow says what one attribute counts.
type usageRow struct {
	convention string
	key        string
	measure    measure
	// apart: an input without what the cache gave and took, which is the
	// provider's own way of counting (Anthropic's usage block).
	apart bool
}

// usageRows is in order of precedence, for each measure by itself: the current
// name, deprecated ones, then other vocabularies. gen_ai.usage.input_tokens
// includes cached tokens by the convention.
var usageRows = []usageRow{
	{genAI, "gen_ai.usage.input_tokens", input, false},
	{genAI, "gen_ai.usage.prompt_tokens", input, false},
	{openInference, "llm.token_count.prompt", input, false},
	{openLLMetry, "llm.usage.prompt_tokens", input, false},
	{openLLMetry, "llm.usage.input_tokens", input, false},
	{vercel, "ai.usage.inputTokens", input, false},
	{vercel, "ai.usage.promptTokens", input, false},
	{vercel, "ai.usage.tokens", input, false}, // embeddings
	{claudeCode, "input_tokens", input, true},
	{geminiCLI, "input_token_count", input, false},

	{genAI, "gen_ai.usage.output_tokens", output, false},
	{genAI, "gen_ai.usage.completion_tokens", output, false},
	{openInference, "llm.token_count.completion", output, false},
	{openLLMetry, "llm.usage.completion_tokens", output, false},
	{openLLMetry, "llm.usage.output_tokens", output, false},
	{vercel, "ai.usage.outputTokens", output, false},
	{vercel, "ai.usage.completionTokens", output, false},
	{claudeCode, "output_tokens", output, false},
	{geminiCLI, "output_token_count", output, false},

	{genAI, "gen_ai.usage.cache_read.input_tokens", cacheRead, false},
	{genAI, "gen_ai.usage.cache_read_input_tokens", cacheRead, false},
	{genAI, "gen_ai.usage.cached_input_tokens", cacheRead, false},
	{genAI, "gen_ai.usage.input_tokens.cached", cacheRead, false},
	{logfire, "gen_ai.usage.details.cache_read_tokens", cacheRead, false},
	{openInference, "llm.token_count.prompt_details.cache_read", cacheRead, false},
	{openLLMetry, "llm.usage.cache_read_input_tokens", cacheRead, false},
	{vercel, "ai.usage.inputTokenDetails.cacheReadTokens", cacheRead, false},
	{vercel, "ai.usage.cachedInputTokens", cacheRead, false},
	{claudeCode, "cache_read_tokens", cacheRead, false},
	{geminiCLI, "cached_content_token_count", cacheRead, false},

	{genAI, "gen_ai.usage.cache_write.input_tokens", cacheWrite, false},
	{genAI, "gen_ai.usage.cache_creation.input_tokens", cacheWrite, false},
	{genAI, "gen_ai.usage.cache_creation_input_tokens", cacheWrite, false},
	{genAI, "gen_ai.usage.cache_write_input_tokens", cacheWrite, false},
	{logfire, "gen_ai.usage.details.cache_write_tokens", cacheWrite, false},
	{openInference, "llm.token_count.prompt_details.cache_write", cacheWrite, false},
	{openLLMetry, "llm.usage.cache_creation_input_tokens", cacheWrite, false},
	{vercel, "ai.usage.inputTokenDetails.cacheWriteTokens", cacheWrite, false},
	{claudeCode, "cache_creation_tokens", cacheWrite, false},

	{genAI, "gen_ai.usage.total_tokens", total, false},
	{openInference, "llm.token_count.total", total, false},
	{openLLMetry, "llm.usage.total_tokens", total, false},
	{vercel, "ai.usage.totalTokens", total, false},
	{geminiCLI, "total_token_count", total, false},

	{genAI, "gen_ai.usage.cost", cost, false},
	{logfire, "operation.cost", cost, false},
	{openInference, "llm.cost.total", cost, false},
	{claudeCode, "cost_usd", cost, false},
}

// usageKeys are the rows' keys, in their order.
var usageKeys = sync.OnceValue(func() keyed {
	keys := make([]string, len(usageRows))
	for i := range usageRows {
		keys[i] = usageRows[i].key
	}
	return keyedBy(keys...)
})

// callIDs are the attributes with the provider's id of a response or request,
// best first.
var callIDs = []string{"gen_ai.response.id", "ai.response.id", "request_id", "llm.response.id"}

// minCallID is the length below which an id cannot be a provider's: fake models
// answer every call with "0" or "id-1", and would all be the same one.
const minCallID = 8

// maxCallID bounds what is kept as one, in bytes.
const maxCallID = 256

func callID(a *attributes) string {
	for _, key := range callIDs {
		if id := a.text(key); len(id) >= minCallID && len(id) <= maxCallID {
			return id
		}
	}
	return ""
}

// usageOf gives what the attributes say of tokens and cost, with input that
// includes the cache: see resolve. Input is taken as one without it where the
// vocabulary counts so, where the cache's part would be larger than the whole, and where
// the given total only adds up with it.
func usageOf(a *attributes) (c telemetry.Counters, ok bool) {
	var n [measures]float64
	var has [measures]bool
	apart := false
	keys := usageKeys()
	if !a.have.meets(&keys.any) {
		return c, false
	}
	for i, id := range keys.ids {
		row := &usageRows[i]
		if !a.have.has(id) || has[row.measure] {
			continue
		}
		value, found := a.at(id).number()
		if !found || value < 0 || value > telemetry.MaxCount {
			continue
		}
		n[row.measure], has[row.measure] = value, true
		apart = apart || row.apart
	}
	return resolve(n, has, apart)
}

// resolve gives the counters of an event; false where there are none.
func resolve(n [measures]float64, has [measures]bool, apart bool) (c telemetry.Counters, ok bool) {
	cache := n[cacheRead] + n[cacheWrite]
	if cache > n[input] || has[total] && cache > 0 && n[total] == n[input]+n[output]+cache {
		apart = true
	}
	if apart && (has[cacheRead] || has[cacheWrite]) {
		n[input] += cache
		has[input] = true
	}
	put := func(m measure, to *telemetry.Int) {
		if has[m] {
			*to = telemetry.N(int64(n[m]))
		}
	}
	put(input, &c.Input)
	put(output, &c.Output)
	put(cacheRead, &c.Cached)
	// A total above the sum counts what stands in neither, like the thoughts of a
	// Gemini model.
	if has[total] && n[total] >= n[input]+n[output] {
		put(total, &c.Tokens)
	} else if has[input] || has[output] {
		c.Tokens = telemetry.N(int64(n[input] + n[output]))
	}
	if has[cost] {
		c.CostUSD = telemetry.F(n[cost])
	}
	return c, c.Tokens.OK || c.CostUSD.OK
}
