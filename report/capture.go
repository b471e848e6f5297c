package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// sameCalls is the share of their LLM calls that sources must have in common for
// their tokens to be compared: what saw other calls has other tokens.
const sameCalls = 0.9

// disagree is the difference in percent above which one of two sources is wrong.
const disagree = 10

// captured tells whether anything was told of the run from outside. Processes are
// looked at in any case.
func (s *Summary) captured() bool {
	t := &s.Totals
	if t.AgentsSpawned > 0 || t.TotalTokens > 0 || t.TotalToolUses > 0 || len(s.Phases) > 0 || len(s.Agents) > 0 {
		return true
	}
	for _, c := range s.Sources {
		if c.Source != telemetry.SourceProcess && c.Events > 0 {
			return true
		}
	}
	return false
}

// metered tells whether spans and tokens came: then silence needs no reason.
func (s *Summary) metered() bool {
	spans := int64(0)
	for _, c := range s.Sources {
		if c.Source != telemetry.SourceProcess {
			spans += c.Spans
		}
	}
	return spans > 0 && s.Totals.TotalTokens > 0
}

// hints are the likely reasons for silence, where there was any.
func (s *Summary) hints() []string {
	var hints []string
	if s.metered() || s.Status == run.StatusRunning {
		return hints
	}
	for _, c := range s.Sources {
		if c.Hint != "" {
			hints = append(hints, c.Hint)
		}
	}
	return hints
}

// usageLine says how sure the tokens are, empty where no LLM call was seen.
func (s *Summary) usageLine() string {
	t := &s.Totals
	if t.LLMCalls <= 0 {
		return ""
	}
	line := fmt.Sprintf("%s/%s had usage", count(t.LLMCallsWithUsage), some(t.LLMCalls, "LLM call"))
	if within, ok := s.agreement(); ok {
		line += "; sources " + within
	}
	if t.LLMCallsWithUsage < t.LLMCalls {
		line += "; tokens are a lower bound"
	}
	return line
}

// agreement is the largest difference between the tokens of sources, relative to
// the larger: of the sources that told of LLM calls with usage, and only where
// these were the same calls. The fold counts a call once that several sources
// told of, so what they have in common is what they count beyond its number.
// Calls that match no agent are not in that number, so there must be few.
func (s *Summary) agreement() (text string, ok bool) {
	var calls, most, high, sources int64
	low := int64(math.MaxInt64)
	for _, c := range s.Sources {
		if c.LLMCallsWithUsage == 0 || c.Tokens == 0 {
			continue
		}
		sources++
		calls = plus(calls, c.LLMCalls)
		most, high, low = max(most, c.LLMCalls), max(high, c.Tokens), min(low, c.Tokens)
	}
	common := float64(calls-s.Totals.LLMCalls) / float64(sources-1)
	stray := float64(s.Totals.TokenSources["unattributed"])
	if sources < 2 || common < sameCalls*float64(most) || stray > (1-sameCalls)*float64(low) {
		return "", false
	}
	difference := math.Ceil(1000*float64(high-low)/float64(high)) / 10
	switch {
	case high == low:
		return "agree exactly", true
	case difference > disagree:
		return fmt.Sprintf("differ by %.1f %%", difference), true
	}
	return fmt.Sprintf("agree within %.1f %%", difference), true
}

// nothing says that a run left no trace, and what to do.
func (p *printer) nothing(s *Summary) {
	p.text("nothing was captured: no agents, phases or tokens were reported")
	for _, failure := range s.Errors {
		if failure.Kind == telemetry.KindRun {
			return // it did not start
		}
	}
	if s.Status != run.StatusRunning && len(s.Command) > 0 {
		p.paragraph("shows what would be, and what stands in the way", fragment{"obsrun doctor -- " + shellWords(s.Command) + " ", bold})
	}
}

// came is a line of what came by each source. Processes are there in any run.
func (p *printer) came(s *Summary) {
	var parts []string
	for _, c := range s.Sources {
		if c.Events == 0 || c.Source == telemetry.SourceProcess {
			continue
		}
		part := c.Source + " (" + some(c.Spans, "span")
		if c.LLMCalls > 0 {
			part += ", " + some(c.LLMCalls, "LLM call")
		}
		if c.Tokens > 0 {
			part += ", " + some(c.Tokens, "token")
		}
		parts = append(parts, part+")")
	}
	if len(parts) > 0 {
		p.paragraph(strings.Join(parts, ", "), fragment{"from ", faint})
	}
	p.silence(s)
}

// silence gives the reasons for it.
func (p *printer) silence(s *Summary) {
	for _, hint := range s.hints() {
		p.paragraph(hint, fragment{"hint ", yellow})
	}
}

// sources are the sources as a table.
func (p *printer) sources(s *Summary) {
	head := "" // an older run has no states
	if slices.ContainsFunc(s.Sources, func(c run.Capture) bool { return c.On || c.Why != "" }) {
		head = "STATE"
	}
	t := table{columns: []column{
		{head: "SOURCE", flex: true, keep: 9},
		{head: head, keep: 6},
		{head: "EVENTS", right: true, keep: 1},
		{head: "SPANS", right: true, keep: 5},
		{head: "LLM CALLS", right: true, keep: 4},
		{head: "TOKENS", right: true, keep: 7},
		{head: "", flex: true, keep: 2},
	}}
	for _, c := range s.Sources {
		state, why, mark := "", "", style("")
		switch {
		case c.On:
			state = "on"
		case c.Why != "":
			state, why, mark = "off", c.Why, faint
		}
		calls := count(c.LLMCalls)
		if c.LLMCallsWithUsage < c.LLMCalls {
			calls = count(c.LLMCallsWithUsage) + "/" + calls
		}
		t.row(fragment{c.Source, mark}, fragment{state, mark}, fragment{count(c.Events), mark}, fragment{count(c.Spans), mark},
			fragment{calls, mark}, fragment{count(c.Tokens), mark}, fragment{why, faint})
	}
	p.table(t)
	p.silence(s)
}
