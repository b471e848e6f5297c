package receiver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

const graphFolder = "../../testdata/tool_calls/langgraph"

func graphFixture(t testing.TB) []byte {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(graphFolder, "tool_calls.jsonl"))
	require.NoError(t, err)
	return log
}

// golden compares the events with those in the file, or writes them there.
func golden(t *testing.T, path string, events []telemetry.Event) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(text(events)), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), text(events))
}

func TestGraphGolden(t *testing.T) {
	events, faults := adapt(newGraphLog(time.UTC), graphFixture(t))
	require.Empty(t, faults)
	golden(t, filepath.Join(graphFolder, "events.jsonl"), events)
}

// The recorded run, folded: six agents one after the other.
func TestGraphFold(t *testing.T) {
	events, _ := adapt(newGraphLog(time.UTC), graphFixture(t))
	state := fold(t, events)
	type agent struct {
		component, kind, phase, state string
		tokens, cached, tools, ms     int64
	}
	agents, calls := []agent{}, 0
	for span := range state.Spans() {
		assert.Equal(t, telemetry.SourceToolCalls, span.Source)
		assert.Equal(t, 1, span.Attempts, span.ID)
		switch {
		case span.IsAgent:
			agents = append(agents, agent{span.Component, span.Kind, span.Phase, span.State, span.Tokens, span.Cached, span.ToolUses, span.DurationMS})
		case span.Kind == telemetry.KindLLM:
			calls++
			assert.True(t, span.Reported)
			assert.GreaterOrEqual(t, span.Input, span.Cached)
			assert.JSONEq(t, `"anthropic/claude-sonnet-4"`, string(attr(t, span, attrModel)))
			assert.NotEmpty(t, span.Agent)
		case span.Kind == telemetry.KindTool:
			assert.NotEmpty(t, span.Agent)
			if span.State == run.Failed {
				assert.Equal(t, "no such file", span.Error)
			}
		}
	}
	assert.Equal(t, []agent{
		{"common", "library-analysis", "library_analysis", run.Done, 11400 + 1442, 6000, 3, 7788},
		{"encoding", "library-analysis", "library_analysis", run.Done, 22500 + 1476, 15000, 5, 18577},
		{"disperser", "application-analysis", "application_analysis", run.Done, 16500 + 1252, 10000, 4, 13325},
		{"retriever", "application-analysis", "application_analysis", run.Done, 7200 + 951, 3000, 2, 12157},
		{"aws", "external-service-analysis", "external_service_analysis", run.Done, 3900 + 246, 1000, 1, 4123},
		{"eigenda", "synthesis", "synthesis", run.Done, 7200 + 931, 3000, 2, 5780},
	}, agents)
	assert.Equal(t, 23, calls)
	totals := state.Totals()
	assert.Equal(t, 6, totals.AgentsSpawned)
	assert.Equal(t, 6, totals.Done)
	assert.Equal(t, 23, totals.LLMCalls)
	assert.Equal(t, 23, totals.LLMCallsWithUsage)
	assert.EqualValues(t, 68700, totals.Input, "as the log's own running total says")
	assert.EqualValues(t, 17, totals.ToolUses)
	assert.Equal(t, 1, totals.ToolErrors)
	assert.Zero(t, totals.Errors+totals.Lost)
	assert.Equal(t, 1, state.MaxParallel(""))
	got := map[string]int64{}
	for _, p := range state.Phases() {
		got[p.Name] = p.WallMS
	}
	assert.Equal(t, map[string]int64{
		"discovery": 1200, "library_analysis": 26395, "application_analysis": 25512, "external_service_analysis": 4123, "synthesis": 5780,
	}, got)
}

func attr(t *testing.T, span run.Span, key string) json.RawMessage {
	t.Helper()
	var attrs map[string]json.RawMessage
	if len(span.Attrs) > 0 {
		require.NoError(t, json.Unmarshal(span.Attrs, &attrs))
	}
	return attrs[key]
}

// ev is a line of an event at so many seconds after noon.
func ev(seconds float64, event, more string) string {
	return fmt.Sprintf(`{"event":%q,"timestamp":%q,%s}`, event, at(seconds), more)
}

func TestGraphLog(t *testing.T) {
	spawn := func(s float64, id, description string) string {
		return ev(s, "subagent_spawn", fmt.Sprintf(`"subagent_id":%q,"subagent_type":"worker","description":%q`, id, description))
	}
	over := func(s float64, id string) string {
		return ev(s, "subagent_complete", fmt.Sprintf(`"subagent_id":%q,"subagent_type":"worker","description":"","duration":"00:01"`, id))
	}
	model := func(s float64, event, agent, run string) string {
		return ev(s, event, fmt.Sprintf(`"run_id":%q,"agent_id":%q,"agent_type":"worker"`, run, agent))
	}
	cases := map[string]struct{ lines, want []string }{
		"a call that is never ended, and an error that ends the agent": {
			[]string{
				ev(1, "graph_node_start", `"node_name":"analyze","run_id":"n1","agent_id":"MAIN_AGENT"`),
				spawn(1, "W-1", "Analyze one"),
				ev(1, "graph_node_start", `"node_name":"unknown","run_id":"n2","agent_id":"W-1"`),
				ev(1, "graph_node_start", `"node_name":"agent","run_id":"n3","parent_run_id":"n2","agent_id":"W-1"`),
				ev(2, "llm_start", `"run_id":"r1","parent_run_id":"n3","agent_id":"W-1","model":"unknown"`),
				ev(3, "graph_node_error", `"node_name":"agent","run_id":"n3","agent_id":"W-1","error":"connection refused"`),
				ev(3, "graph_node_error", `"node_name":"agent","run_id":"n2","agent_id":"W-1","error":"connection refused"`),
				over(4, "W-1"),
				ev(4, "graph_node_end", `"node_name":"agent","run_id":"n1","agent_id":"MAIN_AGENT"`),
			},
			[]string{
				"start MAIN_AGENT orchestrator lead @1", "start node:n1 in MAIN_AGENT task analyze @1",
				"start agent:W-1 in node:n1 worker one @1", "start node:n3 in agent:W-1 task agent @1",
				"start llm:r1 in node:n3 llm llm @2", "end node:n3 error connection refused @3",
				"end llm:r1 cancelled inferred @4", "end agent:W-1 error connection refused @4", "end node:n1 ok @4", "end MAIN_AGENT ok @4",
			},
		},
		"an error that was overcome": {
			[]string{
				spawn(1, "W-1", "Analyze one"),
				ev(2, "graph_node_error", `"node_name":"x","run_id":"n3","agent_id":"W-1","error":"once"`),
				model(3, "llm_start", "W-1", "r1"), model(4, "llm_complete", "W-1", "r1"), over(5, "W-1"),
			},
			[]string{
				"start MAIN_AGENT orchestrator lead @1", "start agent:W-1 in MAIN_AGENT worker one @1",
				"start llm:r1 in agent:W-1 llm llm @3", "end llm:r1 ok @4", "end agent:W-1 ok @5", "end MAIN_AGENT ok @5",
			},
		},
		"starts that were missed": {
			[]string{
				model(2, "llm_complete", "W-1", "r1"), ev(3, "tool_call_error", `"tool_use_id":"t1","agent_id":"W-1","agent_type":"worker","duration_ms":500,"error":"gone"`),
				ev(4, "tool_call_start", `"agent_id":"W-1","agent_type":"worker","tool_name":"x"`), over(5, "W-1"), over(5, "W-1"), over(6, "W-2"),
			},
			[]string{
				"start MAIN_AGENT orchestrator lead @2", "update agent:W-1 in MAIN_AGENT worker W-1 @2", "end llm:r1 in agent:W-1 llm llm ok @2",
				"end t1 in agent:W-1 tool error gone 500ms @3", "start call-1 in agent:W-1 tool x @4", "end call-1 cancelled inferred @5",
				"end agent:W-1 ok @5", "start agent:W-2 in MAIN_AGENT worker W-2 @6", "end agent:W-2 ok @6", "end MAIN_AGENT ok @6",
			},
		},
		"a node of the name where the run is not known": {
			[]string{
				ev(1, "graph_node_start", `"node_name":"discovery","run_id":"n1","agent_id":"MAIN_AGENT"`),
				model(1, "llm_start", "MAIN_AGENT", "r1"), model(2, "llm_complete", "MAIN_AGENT", "r1"),
				ev(3, "graph_node_end", `"node_name":"discovery","run_id":"other","agent_id":"MAIN_AGENT"`),
				ev(3, "graph_node_end", `"node_name":"discovery","run_id":"other","agent_id":"MAIN_AGENT"`),
			},
			[]string{
				"start MAIN_AGENT orchestrator lead @1", "start node:n1 in MAIN_AGENT discovery discovery @1",
				"start llm:r1 in node:n1 llm llm @1", "end llm:r1 ok @2", "end node:n1 ok @3", "end MAIN_AGENT ok @3",
			},
		},
		"cut off": {
			[]string{spawn(1, "W-1", "Analyze one"), model(3, "llm_start", "W-1", "r1")},
			[]string{
				"start MAIN_AGENT orchestrator lead @1", "start agent:W-1 in MAIN_AGENT worker one @1", "start llm:r1 in agent:W-1 llm llm @3",
			},
		},
		// Two at a time: the handler gives all to W-2, and its completion to whom it
		// likes. The layer knows better.
		"a layer in parallel": {
			[]string{
				ev(1, "orchestration_start", `"total_layers":1`),
				ev(1, "layer_start", `"layer_index":0,"components":["one","two"]`),
				spawn(1, "W-1", "L0:one"), spawn(1, "W-2", "L0:two"),
				model(2, "llm_start", "W-2", "r1"), model(3, "llm_complete", "W-2", "r1"), over(4, "W-2"),
				ev(6, "layer_complete", `"layer_index":0,"results":[{"component":"one","success":true,"duration":3},{"component":"two","success":false,"duration":4,"error":"no key"}]`),
				ev(7, "orchestration_complete", `"successful":1`),
			},
			[]string{
				"start MAIN_AGENT orchestrator lead @1", "start layer:0 in MAIN_AGENT phase library_depth_0 @1",
				"queued component:one in layer:0 component-analysis @1", "queued component:two in layer:0 component-analysis @1",
				"start component:one in layer:0 worker one @1", "start component:two in layer:0 worker two @1",
				"start llm:r1 in layer:0 llm llm @2", "end llm:r1 ok @3",
				"end component:one ok @4", "end component:two error no key @5", "end layer:0 ok @6", "end MAIN_AGENT ok @7",
			},
		},
		"a layer, one after the other": {
			[]string{
				ev(1, "layer_start", `"layer_index":1,"components":["one","two"]`),
				spawn(1, "W-1", "L1:one"), model(2, "llm_start", "W-1", "r1"), model(3, "llm_complete", "W-1", "r1"), over(4, "W-1"),
				spawn(5, "W-2", "L1:two"), over(6, "W-2"),
				ev(7, "layer_complete", `"layer_index":1,"results":[{"component":"one","success":true,"duration":3},{"component":"two","success":false,"duration":1,"error":"no prompt"}]`),
			},
			[]string{
				"start MAIN_AGENT orchestrator lead @1", "start layer:1 in MAIN_AGENT phase library_depth_1 @1",
				"queued component:one in layer:1 component-analysis @1", "queued component:two in layer:1 component-analysis @1",
				"start component:one in layer:1 worker one @1", "start llm:r1 in component:one llm llm @2", "end llm:r1 ok @3", "end component:one ok @4",
				"start component:two in layer:1 worker two @5", "end component:two error no prompt @6", "end layer:1 ok @7", "end MAIN_AGENT ok @7",
			},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			require.True(t, isGraphLine([]byte(c.lines[0])) || strings.Contains(name, "missed"))
			events, faults := adapt(newGraphLog(time.UTC), []byte(strings.Join(c.lines, "\n")))
			require.Empty(t, faults)
			assert.Equal(t, c.want, brief(events))
		})
	}
}

func TestGraphUsage(t *testing.T) {
	counters := func(in, out, cached int64) telemetry.Counters {
		return telemetry.Counters{Input: telemetry.N(in), Output: telemetry.N(out), Cached: telemetry.N(cached)}
	}
	cases := map[string]struct {
		fields string
		want   telemetry.Counters
	}{
		"plain":                         {`"input_tokens":100,"output_tokens":20`, counters(100, 20, 0)},
		"the input includes the cached": {`"input_tokens":100,"output_tokens":20,"cache_read_tokens":60,"cache_creation_tokens":30`, counters(100, 20, 60)},
		"the input can not include it":  {`"input_tokens":7,"output_tokens":20,"cache_read_tokens":60,"cache_creation_tokens":30`, counters(97, 20, 60)},
		"zeros are no usage":            {`"input_tokens":0,"output_tokens":0,"cache_read_tokens":0`, telemetry.Counters{}},
		"none":                          {`"input_tokens":null`, telemetry.Counters{}},
		"nonsense":                      {`"input_tokens":-4,"output_tokens":"many","cache_read_tokens":1e300,"cache_creation_tokens":[1]`, telemetry.Counters{}},
		"as text, with a fraction":      {`"input_tokens":"12","output_tokens":3.0`, counters(12, 3, 0)},
	}
	for name, c := range cases {
		l, err := decodeGraphLine([]byte(`{"event":"llm_complete",` + c.fields + `}`))
		require.NoError(t, err)
		assert.Equal(t, c.want, l.usage(), name)
	}
}

// Each generation is told by its own lines alone.
func TestToolCallsFormats(t *testing.T) {
	for line := range bytes.Lines(graphFixture(t)) {
		require.False(t, isSDKLine(line), string(line))
		require.True(t, isGraphLine(line), string(line))
	}
	for line := range bytes.Lines(sdkFixture(t)) {
		require.False(t, isGraphLine(line), string(line))
	}
	for _, line := range []string{``, `x`, `[]`, `{}`, `{"event":7}`, `{"event":"other"}`} {
		assert.False(t, isGraphLine([]byte(line)) || isSDKLine([]byte(line)), line)
	}
}

func TestFollowGraphLog(t *testing.T) {
	want, err := os.ReadFile(filepath.Join(graphFolder, "events.jsonl"))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "tool_calls.jsonl")
	r := &record{}
	tail := FollowToolCalls(r.add, time.UTC, path)
	for line := range bytes.Lines(graphFixture(t)) {
		grow(t, path, string(line))
	}
	require.NoError(t, tail.Close(t.Context()))
	require.Equal(t, string(want), text(r.all()))
}

// What a tracker could not map is warned of once each, and is the lead's.
func TestSDKUnmapped(t *testing.T) {
	events, faults := adapt(newSDKLog(time.UTC), []byte(strings.Join([]string{
		`{"event":"unmapped_agent","timestamp":"2026-03-01T12:00:01","sdk_agent_id":"s1","agent_type":"worker"}`,
		`{"event":"unmapped_agent","timestamp":"2026-03-01T12:00:02","sdk_agent_id":"s1","agent_type":"worker"}`,
		`{"event":"tool_call_start","timestamp":"2026-03-01T12:00:03","agent_id":"UNMAPPED","agent_type":"unmapped","tool_use_id":"c1","tool_name":"Read"}`,
		`{"event":"tool_call_complete","timestamp":"2026-03-01T12:00:04","agent_id":"UNMAPPED","agent_type":"unmapped","tool_use_id":"c1","tool_name":"Read","success":true}`,
	}, "\n")))
	require.Empty(t, faults)
	require.True(t, isSDKLine([]byte(`{"event":"unmapped_agent","sdk_agent_id":"s1"}`)))
	var warnings []string
	var rest []telemetry.Event
	for _, ev := range events {
		if ev.Type == telemetry.Log {
			assert.Equal(t, "warn", ev.Level)
			warnings = append(warnings, ev.Message)
		} else {
			rest = append(rest, ev)
		}
	}
	assert.Equal(t, []string{
		"the tracker of the orchestrator knows no agent s1 worker: what it does is shown with the lead, or is missing",
		"the tracker of the orchestrator knows no agent UNMAPPED unmapped: what it does is shown with the lead, or is missing",
	}, warnings)
	assert.Equal(t, []string{"start MAIN_AGENT orchestrator lead @3", "start c1 in MAIN_AGENT tool Read @3", "end c1 ok @4", "end MAIN_AGENT ok @4"}, brief(rest))
}

// sound checks what holds for the events of any log.
func sound(t *testing.T, events []telemetry.Event, prefix string) {
	t.Helper()
	for _, ev := range events {
		decoded, err := telemetry.Decode(ev.Line())
		require.NoError(t, err)
		require.Equal(t, ev.SpanID, decoded.SpanID)
		require.True(t, ev.Type == telemetry.Log || strings.HasPrefix(ev.SpanID, prefix), ev.SpanID)
		require.Less(t, len(ev.Line()), telemetry.MaxLine)
	}
}

func FuzzGraphLog(f *testing.F) {
	log := graphFixture(f)
	f.Add(log[:20_000])
	f.Add([]byte(strings.Join([]string{
		ev(1, "layer_start", `"layer_index":-1,"components":["one","two","one",""]`), ev(9, "subagent_spawn", `"subagent_id":"W","description":"L0:one"`),
		ev(1, "subagent_spawn", `"subagent_id":"W","description":"L0:two"`), ev(0, "subagent_spawn", `"description":"L0:two"`),
		ev(2, "subagent_complete", `"subagent_id":"W"`), ev(2, "layer_complete", `"results":[{"component":"two","duration":1e308},{"component":"one","duration":-1}]`),
		ev(3, "graph_node_end", `"node_name":"x"`), ev(3, "llm_complete", `"agent_id":"Q","duration_ms":-1`), ev(3, "tool_call_start", `"tool_use_id":"a"`),
	}, "\n")))
	f.Fuzz(func(t *testing.T, log []byte) {
		events, _ := adapt(newGraphLog(time.UTC), log)
		sound(t, events, spanPrefix)
		again, _ := adapt(newGraphLog(time.UTC), log)
		require.Equal(t, text(events), text(again), "not the same twice")
	})
}
