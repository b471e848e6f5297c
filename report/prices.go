package report

import (
	"fmt"
	"math"
	"strings"
)

// Prices are what models cost. They age: a table says of when it is.
type Prices struct {
	// From names the table: a file, or "built-in".
	From string
	// Date is as of when the prices are, YYYY-MM-DD; empty where the file does not say.
	Date   string
	Models []Price
}

// Price is what one model costs, in US dollars a million tokens.
type Price struct {
	// Model is the name up to where it may go on with a dash, an @ or a colon and a
	// version or date: claude-sonnet-4 is claude-sonnet-4-20250514, too. The longest
	// that fits counts. A provider in front of a slash is left out.
	Model  string
	Input  float64
	Output float64
	// Cached is for input that the provider had cached; nil where it costs as much as
	// other input. What writing to a cache costs is not in any journal.
	Cached *float64
}

// BuiltInPrices are list prices of Anthropic and OpenAI as they published them.
// Batches, long contexts and cache writes have other ones.
func BuiltInPrices() Prices {
	p := Prices{From: "built-in", Date: "2026-03-21"}
	for _, row := range []struct {
		model                 string
		input, cached, output float64
	}{
		{"claude-opus-4-6", 5, .5, 25},
		{"claude-opus-4-5", 5, .5, 25},
		{"claude-opus-4-1", 15, 1.5, 75},
		{"claude-opus-4", 15, 1.5, 75},
		{"claude-sonnet-4-6", 3, .3, 15},
		{"claude-sonnet-4-5", 3, .3, 15},
		{"claude-sonnet-4", 3, .3, 15},
		{"claude-haiku-4-5", 1, .1, 5},
		{"claude-3-5-haiku", .8, .08, 4},
		{"claude-3-haiku", .25, .03, 1.25},
		{"gpt-5", 1.25, .125, 10},
		{"gpt-5-mini", .25, .025, 2},
		{"gpt-5-nano", .05, .005, .4},
		{"gpt-4.1", 2, .5, 8},
		{"gpt-4.1-mini", .4, .1, 1.6},
		{"gpt-4.1-nano", .1, .025, .4},
		{"gpt-4o", 2.5, 1.25, 10},
		{"gpt-4o-mini", .15, .075, .6},
		{"o3", 2, .5, 8},
		{"o4-mini", 1.1, .275, 4.4},
	} {
		p.Models = append(p.Models, Price{Model: row.model, Input: row.input, Output: row.output, Cached: &row.cached})
	}
	return p
}

func (p *Price) cached() float64 {
	if p.Cached == nil {
		return p.Input
	}
	return *p.Cached
}

// of finds the price of a model.
func (p *Prices) of(model string) (Price, bool) {
	model = model[strings.LastIndexByte(model, '/')+1:]
	best := -1
	for i := range p.Models {
		rest, ok := strings.CutPrefix(model, p.Models[i].Model)
		if !ok || !versionOnly(rest) {
			continue
		}
		if best < 0 || len(p.Models[i].Model) > len(p.Models[best].Model) {
			best = i
		}
	}
	if best < 0 {
		return Price{}, false
	}
	return p.Models[best], true
}

// versionOnly tells whether what follows a model's name makes no other model of it:
// a date or a revision does not, "-mini" or "-6" does.
func versionOnly(rest string) bool {
	rest = strings.TrimSuffix(rest, "-latest")
	if rest == "" {
		return true
	}
	digits := strings.NewReplacer("-", "", ":", "", "@", "", "v", "").Replace(rest)
	return strings.ContainsRune("-@:", rune(rest[0])) && strings.Trim(digits, "0123456789") == "" && len(digits) >= 6
}

// Estimate is what the LLM calls of a run would cost by a table of prices. It is
// no cost that was told, and is not mixed with one.
type Estimate struct {
	USD float64 `json:"usd"`
	// Prices and Date name the table.
	Prices string `json:"prices"`
	Date   string `json:"date,omitempty"`
	// Unpriced are the models that are not in it, whose tokens cost nothing here.
	Unpriced []string `json:"unpriced"`
	// Covered is the share of the run's tokens that has a price, from 0 to 1: an
	// agent can report tokens without telling of calls.
	Covered float64 `json:"covered"`
}

// Estimate prices the tokens of the LLM calls.
func (s *Summary) Estimate(prices Prices) Estimate {
	e := Estimate{Prices: prices.From, Date: prices.Date, Unpriced: []string{}}
	var priced int64
	for _, m := range s.Models {
		price, ok := prices.of(m.Name)
		if !ok {
			if m.InputTokens > 0 || m.OutputTokens > 0 {
				e.Unpriced = append(e.Unpriced, m.Name)
			}
			continue
		}
		cached := min(m.CachedTokens, m.InputTokens)
		e.USD += (float64(m.InputTokens-cached)*price.Input + float64(cached)*price.cached() + float64(m.OutputTokens)*price.Output) / 1e6
		priced = plus(priced, plus(m.InputTokens, m.OutputTokens))
	}
	e.USD = math.Round(e.USD*1e6) / 1e6
	if total := s.Totals.TotalTokens; total > 0 {
		e.Covered = math.Round(1000*min(1, float64(priced)/float64(total))) / 1000
	}
	return e
}

// text is the estimate as a line.
func (e *Estimate) text() string {
	text := fmt.Sprintf("%s by the prices of %s", cost(e.USD), e.Prices)
	if e.Covered == 0 {
		text = "nothing by the prices of " + e.Prices
	}
	if e.Date != "" {
		text += " as of " + e.Date
	}
	switch {
	case e.Covered == 0 && len(e.Unpriced) == 0:
		text += ": it was not told which models were called"
	case e.Covered > 0 && e.Covered < 0.995:
		text += fmt.Sprintf(", for %.0f%% of the tokens", 100*e.Covered)
	}
	if len(e.Unpriced) > 0 {
		text += "; no price for " + strings.Join(e.Unpriced[:min(3, len(e.Unpriced))], ", ")
	}
	return text
}
