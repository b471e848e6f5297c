package export

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/obsrun/obsrun/report"
)

// What is exported as OTLP and received again is the same run: its agents, their
// states, attempts, times and consumption, its phases and totals. Ids are those of
// trace context, and the run hangs as a span under the one that received it.
func TestOTLPJSONRoundTrip(t *testing.T) {
	type agent struct {
		id, name, component, kind, phase, status, err string
		start                                         any
		wall, attempts                                int64
		usage                                         report.Usage
	}
	type phase struct {
		name                 string
		start                any
		wall, agents, errors int64
		atOnce               int64
		usage                report.Usage
	}
	type told struct {
		agents []agent
		phases []phase
		totals report.Usage
		counts []int64
	}
	of := func(s report.Summary, id func(string) string) (out told) {
		at := func(ms *int64) any {
			if ms == nil {
				return nil
			}
			return *ms
		}
		for _, a := range s.Agents {
			out.agents = append(out.agents, agent{id(a.ID), a.Name, a.Component, a.Kind, a.Phase, a.Status, a.Error, at(a.StartMS), a.WallMS, a.Attempts, a.Usage})
		}
		for _, p := range s.Phases {
			out.phases = append(out.phases, phase{p.Name, at(p.StartMS), p.WallMS, p.Agents, p.Errors, p.MaxParallel, p.Usage})
			for _, d := range p.Depths {
				out.phases = append(out.phases, phase{d.Name, at(d.StartMS), d.WallMS, d.Agents, d.Errors, d.MaxParallel, d.Usage})
			}
		}
		t := s.Totals
		out.totals = report.Usage{Tokens: t.TotalTokens, InputTokens: t.InputTokens, OutputTokens: t.OutputTokens, CachedTokens: t.CachedTokens, ToolUses: t.TotalToolUses}
		out.counts = []int64{t.AgentsSpawned, t.ToolErrors, t.Lost, t.PeakParallelAgents, t.LLMCalls, t.LLMCallsWithUsage}
		slices.SortFunc(out.agents, func(a, b agent) int { return slices.Compare([]byte(a.id), []byte(b.id)) })
		return out
	}
	for _, name := range []string{"troubled", "eigenda-planned"} {
		r := recorded(t, name)
		want := of(report.Summarize(r.State), func(id string) string { return spanID(id).String() })
		got := of(report.Summarize(received(t, r)), func(id string) string { return id })
		assert.Equal(t, want, got, name)
	}
}
