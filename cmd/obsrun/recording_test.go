package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/report"
	"github.com/obsrun/obsrun/testdata/eigenda"
)

// recordedLog was written by an orchestrator that knows nothing of obsrun.
const recordedLog = "../../testdata/tool_calls/claude-agent-sdk/tool_calls.jsonl"

// naiveTime is local time without a zone, as the orchestrator writes it.
const naiveTime = "2006-01-02T15:04:05.000000"

var stampInLine = regexp.MustCompile(`"(timestamp|spawned_at)": "([^"]+)"`)

// playRecording is that orchestrator: "player LOG SPEED" writes the log's lines
// into logs/latest at the pace of their timestamps, which it moves to now. At
// speed 0 it writes them as they are, in one burst, and exits.
func playRecording() {
	log, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	speed, err := strconv.ParseFloat(os.Args[2], 64)
	if err != nil {
		panic(err)
	}
	out, err := os.OpenFile(filepath.Join("logs", "latest", "tool_calls.jsonl"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		panic(err)
	}
	write := func(b []byte) {
		if _, err := out.Write(b); err != nil {
			panic(err)
		}
	}
	if speed == 0 {
		write(log)
		return
	}
	begin, first := time.Now(), time.Time{}
	moved := func(stamp string) time.Time {
		at, err := time.Parse(naiveTime, stamp)
		if err != nil {
			panic(err)
		}
		if first.IsZero() {
			first = at
		}
		return begin.Add(time.Duration(float64(at.Sub(first)) / speed))
	}
	for line := range bytes.Lines(log) {
		if m := stampInLine.FindSubmatch(line); m != nil {
			time.Sleep(time.Until(moved(string(m[2]))))
		}
		write(stampInLine.ReplaceAllFunc(line, func(field []byte) []byte {
			m := stampInLine.FindSubmatch(field)
			return fmt.Appendf(nil, `"%s": "%s"`, m[1], moved(string(m[2])).Format(naiveTime))
		}))
	}
}

func TestRecordedOrchestrator(t *testing.T) {
	log, err := filepath.Abs(recordedLog)
	require.NoError(t, err)
	const speed = 160
	for name, pace := range map[string]string{"at speed": strconv.Itoa(speed), "in one burst": "0"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			stdout, stderr, status := obsrun(t, dir, "--", "player", log, pace)
			require.Zero(t, status, stderr)
			assert.Empty(t, stdout)
			assert.Empty(t, stderr)
			latest := filepath.Join(dir, "logs", "latest")
			summary, err := report.ReadSummary(run.SummaryPath(latest))
			require.NoError(t, err)
			checkRecorded(t, summary)
			if pace != "0" {
				library, ok := summary.Phases.Find("library_analysis")
				require.True(t, ok)
				assert.InDelta(t, (68400+112000)/speed, library.WallMS, 100)
				assert.EqualValues(t, 10, summary.Totals.PeakParallelAgents)
			}

			loaded, err := run.Load(latest)
			require.NoError(t, err)
			assert.Equal(t, summary, report.Summarize(loaded.State))
			leads := 0
			for span := range loaded.State.Spans() {
				if span.Kind == telemetry.KindOrchestrator {
					leads++
					assert.Equal(t, []any{"lead", run.Done, false}, []any{span.Name, span.State, span.IsAgent})
				}
			}
			assert.Equal(t, 1, leads)
		})
	}
}

// checkRecorded compares a summary with what is known of the recorded run: the
// profile that its orchestrator worked through, and the calls that failed.
func checkRecorded(t *testing.T, summary report.Summary) {
	t.Helper()
	profile := eigenda.Load()
	assert.Equal(t, "ok", summary.Status)
	assert.EqualValues(t, 35, summary.Totals.AgentsSpawned)
	assert.EqualValues(t, 847, summary.Totals.TotalToolUses)
	assert.EqualValues(t, failedCalls(t), summary.Totals.ToolErrors)
	assert.Zero(t, summary.Totals.Errors)
	assert.Zero(t, summary.Totals.Lost)
	assert.Zero(t, summary.Totals.RejectedEvents)
	assert.Empty(t, summary.Warnings)

	type phase struct {
		name          string
		agents, tools int64
	}
	var phases []phase
	for _, p := range summary.Phases {
		phases = append(phases, phase{p.Name, p.Agents, p.ToolUses})
	}
	assert.Equal(t, []phase{{"library_analysis", 24, 366}, {"application_analysis", 10, 438}, {"synthesis", 1, 43}}, phases)

	type agent struct {
		component, kind string
		tools           int64
	}
	var got, want []agent
	for _, a := range summary.Agents {
		assert.Equal(t, "done", a.Status, a.Name)
		got = append(got, agent{a.Component, a.Kind, a.ToolUses})
	}
	for _, a := range profile.Agents {
		want = append(want, agent{a.Name, a.Kind, a.ToolUses})
	}
	assert.ElementsMatch(t, want, got)
}

// failedCalls counts the calls of the recording that failed.
func failedCalls(t *testing.T) (n int) {
	t.Helper()
	log, err := os.ReadFile(recordedLog)
	require.NoError(t, err)
	for line := range bytes.Lines(log) {
		var call struct {
			Event   string
			Success *bool
		}
		require.NoError(t, json.Unmarshal(line, &call))
		if call.Event == "tool_call_complete" && call.Success != nil && !*call.Success {
			n++
		}
	}
	require.Positive(t, n)
	return n
}

// An orchestrator that knows only of logs/latest is followed there, too.
func TestRecordedOrchestratorElsewhere(t *testing.T) {
	t.Parallel()
	log, err := filepath.Abs(recordedLog)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "logs", "latest"), 0o755))
	_, stderr, status := obsrun(t, dir, "--log-dir", "runs", "--", "player", log, "0")
	require.Zero(t, status, stderr)
	summary, err := report.ReadSummary(run.SummaryPath(filepath.Join(dir, "runs", "latest")))
	require.NoError(t, err)
	checkRecorded(t, summary)
}

// A source that is switched off is not looked at.
func TestRecordedOrchestratorSwitchedOff(t *testing.T) {
	log, err := filepath.Abs(recordedLog)
	require.NoError(t, err)
	dir := t.TempDir()
	_, stderr, status := obsrun(t, dir, "--source", "tool_calls=off", "--source", "process=off", "--", "player", log, "0")
	require.Zero(t, status, stderr)
	loaded, err := run.Load(filepath.Join(dir, "logs", "latest"))
	require.NoError(t, err)
	assert.Len(t, slices.Collect(loaded.State.Spans()), 0)
}
