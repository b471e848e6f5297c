package report

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// stateOf folds lines.
func stateOf(t *testing.T, lines ...string) *run.State {
	t.Helper()
	state := run.NewState()
	for _, line := range lines {
		e, err := telemetry.Decode([]byte(line))
		require.NoError(t, err, line)
		state.Apply(e)
	}
	return state
}

func summaryOf(t *testing.T, lines ...string) Summary {
	t.Helper()
	return Summarize(stateOf(t, lines...))
}

const (
	rootStart = `{"event":"span_start","span_id":"r","kind":"run","attrs":{"run_id":"x-20260408-000000","command":["x"]},"ts":1000,"source":"obsrun","recv_ms":0}`
	rootEnd   = `{"event":"span_end","span_id":"r","status":"ok","attrs":{"exit_code":0,"obsrun_exit":0},"ts":1010,"source":"obsrun","recv_ms":10000}`
)

// The published run, played by event times, has the published summary.
func TestPublishedRun(t *testing.T) {
	s := loadSummary(t, "../testdata/runs/eigenda-planned")
	var want, got map[string]any
	require.NoError(t, json.Unmarshal([]byte(published), &want))
	require.NoError(t, json.Unmarshal(documentOf(t, s), &got))
	requireSubset(t, "", want, got)
	var parallel []int64
	for _, p := range s.Phases[1:] {
		parallel = append(parallel, p.MaxParallel)
	}
	require.Equal(t, []int64{9, 1, 10, 1}, parallel)
	require.Len(t, s.Agents, 35)
	var path int64
	for _, step := range s.CriticalPath {
		path += step.WallMS
	}
	require.Equal(t, s.TotalWallMS, path, "the critical path covers the wall time once")
}

// requireSubset tells whether all of want is in got.
func requireSubset(t *testing.T, at string, want, got any) {
	t.Helper()
	object, ok := want.(map[string]any)
	if !ok {
		require.Equal(t, want, got, at)
		return
	}
	other, ok := got.(map[string]any)
	require.True(t, ok, "%s is no object", at)
	for key, value := range object {
		require.Contains(t, other, key, at)
		requireSubset(t, at+"/"+key, value, other[key])
	}
}

func TestPhasesStandInTheOrderInWhichTheyBegan(t *testing.T) {
	s := summaryOf(t, rootStart,
		`{"event":"span_queued","span_id":"q","kind":"phase","name":"later","ts":1000}`,
		`{"event":"span_start","span_id":"b","kind":"phase","name":"zebra","ts":1002}`,
		`{"event":"span_start","span_id":"a","kind":"phase","name":"ant","ts":1004}`,
		`{"event":"phase","name":"middle-complete","wall_ms":3000,"ts":1006}`,
		rootEnd)
	require.Equal(t, []string{"zebra", "middle", "ant", "later"}, phaseNames(s.Phases))
	text := string(documentOf(t, s))
	require.Less(t, strings.Index(text, `"zebra": {`), strings.Index(text, `"middle": {`))
	require.Less(t, strings.Index(text, `"middle": {`), strings.Index(text, `"ant": {`))
}

func phaseNames(phases Phases) []string {
	names := []string{}
	for _, p := range phases {
		names = append(names, p.Name)
	}
	return names
}

func TestLibraryDepths(t *testing.T) {
	ms := func(n int64) *int64 { return &n }
	depth := func(name string, start, wall, agents, parallel int64) Phase {
		return Phase{
			Name: name, StartMS: ms(start), WallMS: wall, Agents: agents, MaxParallel: parallel, Errors: 1, Stalls: 2,
			Usage: Usage{Tokens: agents * 10, ToolUses: agents}, Counts: map[string]float64{"libraries": float64(agents)},
		}
	}
	t.Run("from 1 on they are one", func(t *testing.T) {
		in := Phases{
			depth("discovery", 0, 1, 0, 0), depth("library_depth_0", 1, 10, 9, 9), depth("library_depth_1", 11, 20, 4, 2),
			depth("between", 15, 1, 1, 1), depth("library_depth_2", 31, 30, 3, 3), depth("synthesis", 70, 5, 1, 1),
		}
		out := foldDepths(in)
		require.Equal(t, []string{"discovery", "library_depth_0", "library_depth_n", "between", "synthesis"}, phaseNames(out))
		n := out[2]
		require.Equal(t, int64(11), *n.StartMS)
		require.Equal(t, int64(50), n.WallMS)
		require.Equal(t, int64(7), n.Agents)
		require.Equal(t, int64(3), n.MaxParallel)
		require.Equal(t, int64(70), n.Tokens)
		require.Equal(t, int64(7), n.ToolUses)
		require.Equal(t, int64(2), n.Errors)
		require.Equal(t, int64(4), n.Stalls)
		require.Equal(t, map[string]float64{"libraries": 7}, n.Counts)
		require.Equal(t, []string{"1", "2"}, phaseNames(n.Depths))
		require.Equal(t, float64(4), in[2].Counts["libraries"], "what was summed is as it was")
	})
	t.Run("one that is named so stays", func(t *testing.T) {
		in := Phases{depth("library_depth_0", 1, 10, 9, 9), depth("library_depth_n", 11, 20, 4, 2)}
		require.Equal(t, in, foldDepths(in))
	})
	t.Run("one that spans the depths keeps its wall time", func(t *testing.T) {
		out := foldDepths(Phases{depth("library_depth_1", 11, 20, 4, 2), depth("library_depth_n", 10, 55, 1, 1), depth("library_depth_2", 31, 30, 3, 3)})
		require.Equal(t, []string{"library_depth_n"}, phaseNames(out))
		require.Equal(t, int64(55), out[0].WallMS)
		require.Equal(t, int64(8), out[0].Agents)
		require.Equal(t, int64(10), *out[0].StartMS)
		require.Equal(t, []string{"1", "2"}, phaseNames(out[0].Depths))
	})
	for name, want := range map[string]string{
		"library_depth_1": "1", "library_depth_12": "12", "library_depth_0": "", "library_depth_n": "", "library_depth_": "",
		"library_depth_01": "", "library_depth_1x": "", "library_depth_-1": "", "depth_1": "", "": "",
	} {
		got, ok := depthOf(name)
		require.Equal(t, want, got, name)
		require.Equal(t, want != "", ok, name)
	}
}

func TestErrors(t *testing.T) {
	s := summaryOf(t, rootStart,
		`{"event":"span_start","span_id":"a","kind":"agent","component":"core","ts":1001}`,
		`{"event":"span_start","span_id":"b","kind":"agent","ts":1001}`,
		`{"event":"span_start","span_id":"open-task","ts":1001}`,
		`{"event":"span_start","span_id":"proc","kind":"process","ts":1002}`,
		`{"event":"span_end","span_id":"proc","status":"error","ts":1002.5}`,
		`{"event":"span_end","span_id":"a","status":"error","error":"out of memory","ts":1003}`,
		`{"event":"span_start","span_id":"t","parent":"b","kind":"tool","name":"Bash","ts":1001}`,
		`{"event":"span_end","span_id":"t","status":"error","error":"exit 1","ts":1002}`,
		`{"event":"span_queued","span_id":"never","kind":"agent","ts":1001}`,
		rootEnd)
	var got []string
	for _, e := range s.Errors {
		got = append(got, fmt.Sprintf("%s %s %s %d %q %s", e.Status, e.Kind, e.Name, e.AtMS, e.Message, e.Agent))
	}
	require.Equal(t, []string{
		`error tool Bash 2000 "exit 1" b`,
		`error agent core 3000 "out of memory" `,
		`lost agent b 10000 "" `,
		`lost agent never 10000 "" `,
	}, got, "a process that failed is told by who started it, and an open task is no agent")
	require.Equal(t, int64(1), s.Totals.ToolErrors)
	require.Equal(t, int64(2), s.Totals.Lost)
	require.Equal(t, int64(2), s.Totals.AgentsSpawned)
}

func TestARunThatCouldNotStart(t *testing.T) {
	s := loadSummary(t, "../testdata/runs/not-started")
	require.Equal(t, run.StatusError, s.Status)
	require.Nil(t, s.ExitCode)
	require.Equal(t, 127, *s.ObsrunExit)
	require.Len(t, s.Errors, 1)
	require.Equal(t, telemetry.KindRun, s.Errors[0].Kind)
	require.Contains(t, s.Errors[0].Message, "not found")
}

func TestFailedCallsAreBounded(t *testing.T) {
	lines := []string{rootStart, `{"event":"span_start","span_id":"a","kind":"agent","ts":1001}`}
	for i := range 300 {
		lines = append(lines, fmt.Sprintf(`{"event":"span_end","span_id":"t%d","ts":1002,"status":"error"}`, i))
		lines = append(lines, fmt.Sprintf(`{"event":"span_start","span_id":"t%d","parent":"a","kind":"tool","ts":1002}`, i))
	}
	lines = append(lines, `{"event":"span_end","span_id":"a","status":"error","ts":1003}`, rootEnd)
	s := summaryOf(t, lines...)
	require.Equal(t, int64(300), s.Totals.ToolErrors)
	require.Len(t, s.Errors, 201)
	require.Equal(t, "a", s.Errors[200].SpanID, "an agent is never left out")
}

func TestAttemptsAddUp(t *testing.T) {
	s := summaryOf(t, rootStart,
		`{"event":"span_start","span_id":"a","kind":"agent","ts":1001}`,
		`{"event":"span_end","span_id":"a","status":"error","tokens":10,"ts":1003}`,
		`{"event":"span_start","span_id":"a","ts":1005}`,
		`{"event":"span_end","span_id":"a","status":"ok","tokens":5,"ts":1006}`,
		rootEnd)
	require.Len(t, s.Agents, 1)
	a := s.Agents[0]
	require.Equal(t, int64(1000), *a.StartMS)
	require.Equal(t, int64(3000), a.WallMS)
	require.Equal(t, int64(15), a.Tokens)
	require.Equal(t, int64(2), a.Attempts)
	require.Equal(t, run.Done, a.Status)
}

func TestARunThatGoesOn(t *testing.T) {
	s := summaryOf(t, rootStart,
		`{"event":"span_start","span_id":"a","kind":"agent","ts":1001}`,
		`{"event":"span_start","span_id":"b","kind":"agent","ts":1004.5}`)
	require.Equal(t, run.StatusRunning, s.Status)
	require.Equal(t, int64(4500), s.TotalWallMS, "so far")
	require.Empty(t, s.CriticalPath)
	require.Nil(t, s.ExitCode)
}

// Whatever was told, no list is null and no number is missing.
func TestListsAreNeverNull(t *testing.T) {
	for name, s := range map[string]Summary{
		"nothing":   Summarize(run.NewState()),
		"root only": summaryOf(t, rootStart, rootEnd),
		"killed":    loadSummary(t, "../testdata/runs/killed"),
	} {
		var got map[string]any
		require.NoError(t, json.Unmarshal(documentOf(t, s), &got), name)
		for _, key := range []string{"command", "agents", "critical_path", "stalls", "errors", "warnings", "survivors"} {
			require.IsType(t, []any{}, got[key], "%s: %s", name, key)
		}
		require.IsType(t, map[string]any{}, got["phases"], name)
		require.IsType(t, map[string]any{}, got["totals"].(map[string]any)["token_sources"], name)
	}
}

func TestKilledRunIsInterrupted(t *testing.T) {
	s := loadSummary(t, "../testdata/runs/killed")
	require.Equal(t, run.StatusInterrupted, s.Status)
	require.Equal(t, int64(77), s.Totals.TotalTokens)
	require.Equal(t, int64(1), s.Totals.Lost)
	require.Equal(t, run.Lost, s.Agents[0].Status)
}

func TestStalls(t *testing.T) {
	s := loadSummary(t, "../testdata/runs/troubled")
	require.Len(t, s.Stalls, 2)
	require.Equal(t, int64(127400), s.Stalls[0].AtMS)
	require.Equal(t, int64(120000), s.Stalls[0].IdleMS)
	require.Equal(t, int64(130000), *s.Stalls[0].ResumedMS)
	require.False(t, s.Stalls[0].Open)
	require.JSONEq(t, `{"last":"span_end l2","cpu_percent":0.1}`, string(s.Stalls[0].Evidence))
	require.Nil(t, s.Stalls[1].ResumedMS)
	require.True(t, s.Stalls[1].Open)
	require.Equal(t, int64(2), s.Totals.Stalls)
}

// The lines of the original request, with nothing around them.
func TestLinesOfTheRequest(t *testing.T) {
	s := summaryOf(t,
		`{"event":"span_start","span_id":"lib-encoding","parent":"phase-depth2","component":"encoding","kind":"library-analysis","ts":1712534400.123}`,
		`{"event":"span_end","span_id":"lib-encoding","status":"ok","duration_ms":14820,"tokens":42100,"tool_uses":31,"ts":1712534415.001}`,
		`{"event":"phase","name":"library-depth-0-complete","libraries":9,"wall_ms":68400,"ts":1712534400.999}`)
	require.Equal(t, []string{"library_depth_0"}, phaseNames(s.Phases))
	require.Equal(t, int64(68400), s.Phases[0].WallMS)
	require.Equal(t, map[string]float64{"libraries": 9}, s.Phases[0].Counts)
	require.Len(t, s.Agents, 1)
	require.Equal(t, "encoding", s.Agents[0].Name)
	require.Equal(t, int64(14820), s.Agents[0].WallMS)
	require.Equal(t, int64(42100), s.Totals.TotalTokens)
	require.Equal(t, int64(31), s.Totals.TotalToolUses)
	require.Equal(t, int64(14878), s.TotalWallMS, "so far")
	require.Equal(t, "2024-04-08T00:00:00.123Z", s.StartedAt)
}
