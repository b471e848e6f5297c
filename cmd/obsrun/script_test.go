package main

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/report"
	"github.com/obsrun/obsrun/testdata/eigenda"
)

// play lets the demo's orchestrator go through its script on a clock of its own.
func play(t *testing.T, speed float64) (dir string, summary report.Summary) {
	t.Helper()
	dir = t.TempDir()
	begin := time.Date(2026, 4, 8, 0, 0, 0, 123_000_000, time.UTC)
	now := begin
	recorder, err := run.NewRecorder(dir, func() time.Time { return now })
	require.NoError(t, err)
	profile := eigenda.Load()
	require.NoError(t, recorder.Begin("eigenda", map[string]any{"run_id": "eigenda-20260408-abc123", "command": []string{"./analyze", "eigenda"}}))
	tell := func(e telemetry.Event) {
		if e.Parent == "" && (e.Type == telemetry.SpanStart || e.Type == telemetry.SpanQueued) {
			e.Parent = recorder.RootID() // as the client does
		}
		e.Source = telemetry.SourceSocket
		require.NoError(t, recorder.Record(e))
	}
	tell(telemetry.Event{Type: telemetry.SpanUpdate, SpanID: recorder.RootID(), Attrs: telemetry.Attrs(subjectAttrs(profile))})
	queued := false
	for _, cue := range newScript(profile, speed).cues {
		now = begin.Add(cue.at)
		for _, e := range cue.events {
			tell(e)
		}
		if !queued && cue.at >= time.Duration(float64(1200*time.Millisecond)/speed) {
			queued = true
			require.NoError(t, recorder.Sync(t.Context()))
		}
	}
	require.NoError(t, recorder.Finish(telemetry.StatusOK, map[string]any{"exit_code": 0, "obsrun_exit": 0}))
	recorder.Feed().View(func(s *run.State) { summary = report.Summarize(s) })
	return dir, summary
}

// The published run, to the millisecond, without waiting for it.
func TestEigenDA(t *testing.T) {
	dir, summary := play(t, 1)
	assert.Equal(t, int64(312500), summary.TotalWallMS)
	assert.Equal(t, "https://github.com/Layr-Labs/eigenda", summary.SourceRepo)
	assert.Equal(t, "61019b4", summary.SourceCommit)

	type row struct {
		name                 string
		wall, agents, atOnce int64
	}
	var got []row
	for _, p := range summary.Phases {
		got = append(got, row{p.Name, p.WallMS, p.Agents, p.MaxParallel})
	}
	assert.Equal(t, []row{
		{"discovery", 1200, 0, 0},
		{"library_depth_0", 68400, 9, 9},
		{"library_depth_n", 112000, 15, 1},
		{"application_analysis", 98000, 10, 10},
		{"synthesis", 32900, 1, 1},
	}, got)
	assert.EqualValues(t, 35, summary.Totals.AgentsSpawned)
	assert.EqualValues(t, 1842000, summary.Totals.TotalTokens)
	assert.EqualValues(t, 847, summary.Totals.TotalToolUses)
	assert.EqualValues(t, 45, summary.Totals.AnalysesWritten)
	assert.Zero(t, summary.Totals.Errors)

	byName := make(map[string]report.Agent)
	for _, a := range summary.Agents {
		byName[a.Name] = a
	}
	for _, want := range eigenda.Load().Agents {
		a := byName[want.Name]
		assert.Equal(t, []int64{want.DurationMS, want.Tokens, want.ToolUses}, []int64{a.WallMS, a.Tokens, a.ToolUses}, want.Name)
		assert.Equal(t, want.Kind, a.Kind)
	}

	loaded, err := run.Load(dir)
	require.NoError(t, err)
	assert.Equal(t, summary, report.Summarize(loaded.State), "the summary is a function of the journal")
}

func TestEigenDAFaster(t *testing.T) {
	_, summary := play(t, 10)
	p, ok := summary.Phases.Find("library_depth_0")
	require.True(t, ok)
	assert.EqualValues(t, 6840, p.WallMS)
	assert.EqualValues(t, 31250, summary.TotalWallMS)
	assert.EqualValues(t, 1842000, summary.Totals.TotalTokens)
}

// All 35 agents are known when discovery ends, and report as they go.
func TestEigenDAIsVisibleFromTheStart(t *testing.T) {
	profile := eigenda.Load()
	known, updates := make(map[string]bool), make(map[string]int)
	for _, cue := range newScript(profile, 1).cues {
		for _, e := range cue.events {
			if e.Type == telemetry.SpanQueued && telemetry.IsAgent(e.Kind) {
				assert.Equal(t, 1200*time.Millisecond, cue.at)
				known[e.SpanID] = true
			}
			if e.Type == telemetry.SpanUpdate && e.Tokens.OK {
				updates[e.SpanID]++
			}
		}
	}
	assert.Len(t, known, 35)
	for id := range known {
		assert.GreaterOrEqual(t, updates[id], 2, id)
	}
}

func TestProfileAddsUp(t *testing.T) {
	p := eigenda.Load()
	var wall, tokens, tools, written int64
	for _, ph := range p.Phases {
		wall += ph.WallMS
	}
	for _, a := range p.Agents {
		tokens += a.Tokens
		tools += a.ToolUses
		written += int64(len(analyses(a)))
	}
	assert.Equal(t, []int64{p.TotalWallMS, p.Totals.TotalTokens, p.Totals.TotalToolUses, p.Totals.AnalysesWritten}, []int64{wall, tokens, tools, written})
	_, err := os.Stat("../../testdata/eigenda/profile.json")
	assert.NoError(t, err)
}
