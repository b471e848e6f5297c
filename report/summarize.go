package report

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// maxFailedCalls bounds how many failed tool and LLM calls are listed, so that a
// run in which every call fails still has a summary that can be read.
const maxFailedCalls = 200

// Summarize makes the summary of a state. It depends on nothing else.
func Summarize(state *run.State) Summary {
	info, agents := state.Info(), crewOf(state)
	s := Summary{
		Schema:       telemetry.SchemaVersion,
		RunID:        info.RunID,
		Status:       info.Status,
		ExitCode:     info.ExitCode,
		ObsrunExit:   info.ObsrunExit,
		Signal:       info.Signal,
		Command:      append([]string{}, info.Command...),
		SourceRepo:   info.SourceRepo,
		SourceCommit: info.SourceCommit,
		SourceFrom:   info.SourceFrom,
		OuterRunID:   info.OuterRunID,
		TotalWallMS:  max(0, info.WallMS),
		Phases:       phasesOf(state, agents, info.StartMS),
		Totals:       totalsOf(state),
		Agents:       []Agent{},
		CriticalPath: []Step{},
		Stalls:       []Stall{},
		Errors:       []Failure{},
		Warnings:     []Warning{},
		Survivors:    append([]string{}, info.Survivors...),
		Sources:      append([]run.Capture{}, state.Sources()...),
	}
	if info.StartMS > 0 {
		s.StartedAt = time.UnixMilli(info.StartMS).UTC().Format("2006-01-02T15:04:05.000Z")
	}
	if info.Error != "" {
		s.Errors = append(s.Errors, Failure{
			SpanID: state.RootID(), Kind: telemetry.KindRun, Status: run.Failed,
			AtMS: since(info.StartMS, info.EndMS), Message: info.Error,
		})
	}
	last := s.spans(state, agents, info.StartMS)
	if s.TotalWallMS == 0 && info.EndMS == 0 && info.StartMS > 0 {
		root, _ := state.Span(state.RootID())
		s.TotalWallMS = max(0, last-info.StartMS, root.HeardMS)
	}
	s.Work.MeanParallel = mean(s.Work.AgentMS, s.TotalWallMS, s.Totals.PeakParallelAgents)
	for _, piece := range state.CriticalPath() {
		s.CriticalPath = append(s.CriticalPath, Step{
			SpanID: piece.SpanID, Name: piece.Name, Kind: piece.Kind, Phase: piece.Phase, Agent: piece.Agent,
			StartMS: since(info.StartMS, piece.StartMS), WallMS: piece.EndMS - piece.StartMS,
		})
	}
	for _, stall := range state.Stalls() {
		s.Stalls = append(s.Stalls, Stall{
			SpanID: stall.SpanID, Name: stall.Name, Phase: stall.Phase, Agent: stall.Agent,
			AtMS: since(info.StartMS, stall.TimeMS), IdleMS: stall.IdleMS,
			ResumedMS: offset(info.StartMS, stall.ResumedMS), Open: stall.Open, Evidence: stall.Evidence,
		})
	}
	for _, entry := range state.Logs() {
		s.Warnings = append(s.Warnings, Warning{
			AtMS: since(info.StartMS, entry.TimeMS), Level: entry.Level, Message: entry.Message,
			SpanID: entry.SpanID, Source: entry.Source,
		})
	}
	return s
}

// spans adds the agents and what failed, and gives the latest time that a span
// tells of.
func (s *Summary) spans(state *run.State, agents *crew, startMS int64) (last int64) {
	failedCalls := 0
	var llm calls
	defer func() {
		sum := llm.sum(s.Totals.LLMCalls)
		sum.work.AgentMS = agents.total
		s.Work, s.Models = &sum.work, sum.list()
	}()
	for span := range state.Spans() {
		last = max(last, span.StartMS, span.EndMS)
		llm.add(&span)
		if span.IsAgent {
			agent := agentOf(&span, startMS)
			if ms, known := agents.idle(&span); known {
				agent.IdleMS = &ms
			}
			s.Agents = append(s.Agents, agent)
		}
		switch {
		case span.SameAs != "": // the span that stands for it says so
			continue
		case span.State == run.Failed && span.Kind != telemetry.KindProcess:
		case span.State == run.Lost && span.IsAgent:
		default:
			continue
		}
		if span.Kind == telemetry.KindTool || span.Kind == telemetry.KindLLM {
			if failedCalls++; failedCalls > maxFailedCalls {
				continue
			}
		}
		s.Errors = append(s.Errors, Failure{
			SpanID: span.ID, Name: span.Name, Kind: span.Kind, Phase: span.Phase, Agent: span.Agent,
			Status: span.State, AtMS: since(startMS, cmp.Or(span.EndMS, span.StartMS, span.QueuedMS)), Message: span.Error,
		})
	}
	slices.SortStableFunc(s.Errors, func(a, b Failure) int { return cmp.Compare(a.AtMS, b.AtMS) })
	return last
}

func agentOf(span *run.Span, startMS int64) Agent {
	a := Agent{
		ID: span.ID, Name: span.Name, Component: span.Component, Kind: span.Kind, Phase: span.Phase, Parent: span.Agent,
		Status: span.State, StartMS: offset(startMS, span.StartMS), WallMS: span.DurationMS,
		Usage: usageOf(span.Usage), Attempts: int64(span.Attempts), Error: span.Error,
	}
	for i, attempt := range span.Earlier {
		if i == 0 {
			a.StartMS = offset(startMS, attempt.StartMS)
		}
		a.WallMS += max(0, attempt.EndMS-attempt.StartMS)
	}
	return a
}

func totalsOf(state *run.State) Totals {
	t := state.Totals()
	sources := make(map[string]int64, len(t.TokenSources))
	for source, tokens := range t.TokenSources {
		sources[source] = tokens
	}
	return Totals{
		AgentsSpawned: int64(t.AgentsSpawned), TotalTokens: t.Tokens, TotalToolUses: t.ToolUses,
		AnalysesWritten: int64(t.AnalysesWritten),
		InputTokens:     t.Input, OutputTokens: t.Output, CachedTokens: t.Cached, CostUSD: finite(t.CostUSD),
		Errors: int64(t.Errors), ToolErrors: int64(t.ToolErrors), Lost: int64(t.Lost), Stalls: int64(t.Stalls),
		PeakParallelAgents: int64(state.MaxParallel("")),
		Events:             t.Events, UnknownEvents: t.UnknownEvents, RejectedEvents: t.RejectedEvents,
		LLMCalls: int64(t.LLMCalls), LLMCallsWithUsage: int64(t.LLMCallsWithUsage), TokenSources: sources,
	}
}

// since is a time as one within the run; 0 where either is unknown.
func since(startMS, atMS int64) int64 {
	if startMS == 0 || atMS == 0 {
		return 0
	}
	return atMS - startMS
}

// offset is since, with null for a time that is not known.
func offset(startMS, atMS int64) *int64 {
	if atMS == 0 {
		return nil
	}
	ms := since(startMS, atMS)
	return &ms
}

func finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}
