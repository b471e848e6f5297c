package receiver

import (
	"bytes"
	"encoding/json"
	"flag"
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

var update = flag.Bool("update", false, "write the golden files")

const sdkFolder = "../../testdata/tool_calls/claude-agent-sdk"

func sdkFixture(t testing.TB) []byte {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(sdkFolder, "tool_calls.jsonl"))
	require.NoError(t, err)
	return log
}

// adapt runs an adapter over a log, the end included.
func adapt(a adapter, log []byte) (events []telemetry.Event, faults []string) {
	emit := func(ev telemetry.Event) { events = append(events, ev) }
	for line := range bytes.Lines(log) {
		if err := a.line(bytes.TrimSuffix(line, []byte("\n")), emit); err != nil {
			faults = append(faults, err.Error())
		}
	}
	a.end(emit)
	return events, faults
}

func text(events []telemetry.Event) string {
	var b strings.Builder
	for _, ev := range events {
		b.Write(ev.Line())
		b.WriteByte('\n')
	}
	return b.String()
}

// brief gives each event as one short line: what, whom, how, and when in seconds
// after noon.
func brief(events []telemetry.Event) []string {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	out := []string{}
	for _, ev := range events {
		words := []string{strings.TrimPrefix(string(ev.Type), "span_"), strings.TrimPrefix(ev.SpanID, "tool_calls:")}
		if ev.Parent != "" {
			words = append(words, "in "+strings.TrimPrefix(ev.Parent, "tool_calls:"))
		}
		for _, word := range []string{ev.Kind, ev.Phase, ev.Name, ev.Status, ev.Error} {
			if word != "" {
				words = append(words, word)
			}
		}
		if ev.DurationMS.OK {
			words = append(words, fmt.Sprintf("%gms", ev.DurationMS.F))
		}
		if bytes.Contains(ev.Attrs, []byte("inferred_end")) {
			words = append(words, "inferred")
		}
		if us, ok := ev.Micros(); ok {
			words = append(words, fmt.Sprintf("@%g", time.UnixMicro(us).Sub(noon).Seconds()))
		}
		out = append(out, strings.Join(words, " "))
	}
	return out
}

// at is a timestamp so many seconds after noon.
func at(seconds float64) string {
	return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(seconds * 1e9)).Format("2006-01-02T15:04:05.000000")
}

func call(seconds float64, event, agent, id, more string) string {
	return fmt.Sprintf(`{"event":%q,"timestamp":%q,"agent_id":%q,"agent_type":"worker","tool_use_id":%q,"tool_name":"Read","parent_tool_use_id":"task-%s"%s}`,
		event, at(seconds), agent, id, agent, more)
}

func lead(seconds float64, event, more string) string {
	return fmt.Sprintf(`{"event":%q,"timestamp":%q,"agent_id":"MAIN_AGENT","agent_type":"lead"%s}`, event, at(seconds), more)
}

func done(seconds float64, agent, sdkID, description string, spawned float64) string {
	return fmt.Sprintf(`{"event":"subagent_complete","timestamp":%q,"subagent_id":%q,"subagent_type":"worker","sdk_agent_id":%q,"tool_use_id":"task-%s","description":%q,"spawned_at":%q,"tool_call_count":99}`,
		at(seconds), agent, sdkID, agent, description, at(spawned))
}

func TestSDKLog(t *testing.T) {
	cases := map[string]struct{ lines, want []string }{
		"nothing": {nil, []string{}},
		"one agent, one call": {
			[]string{
				call(2, "tool_call_start", "W-1", "c1", ""),
				call(3, "tool_call_complete", "W-1", "c1", `,"success":true,"error":null`),
				call(3, "tool_result_received", "W-1", "c1", ""),
				done(5, "W-1", "s1", "Analyze encoding", 1),
			},
			[]string{
				"start MAIN_AGENT orchestrator lead @2",
				"update agent:task-W-1 in MAIN_AGENT worker W-1 @2",
				"start c1 in agent:task-W-1 tool Read @2",
				"end c1 ok @3",
				"start agent:task-W-1 encoding @1",
				"end agent:task-W-1 ok 4000ms @5",
				"end MAIN_AGENT ok @5",
			},
		},
		"an error": {
			[]string{
				call(2, "tool_call_start", "W-1", "c1", ""),
				call(3, "tool_call_complete", "W-1", "c1", `,"success":false,"error":"no such file"`),
				call(4, "tool_call_start", "W-1", "c2", ""),
				call(5, "tool_call_complete", "W-1", "c2", `,"success":false`),
				call(6, "tool_call_start", "W-1", "c3", ""),
				call(7, "tool_call_complete", "W-1", "c3", `,"error":{"code":2}`),
			},
			[]string{
				"start MAIN_AGENT orchestrator lead @2",
				"update agent:task-W-1 in MAIN_AGENT worker W-1 @2",
				"start c1 in agent:task-W-1 tool Read @2",
				"end c1 error no such file @3",
				"start c2 in agent:task-W-1 tool Read @4",
				"end c2 error the tool call failed @5",
				"start c3 in agent:task-W-1 tool Read @6",
				`end c3 error {"code":2} @7`,
			},
		},
		// The completion names W-1, which goes on: it is W-2's. W-1's comes later
		// and names W-2.
		"swapped completions": {
			[]string{
				call(2, "tool_call_start", "W-1", "a1", ""), call(2, "tool_call_start", "W-2", "b1", ""),
				call(3, "tool_call_complete", "W-1", "a1", `,"success":true`), call(3, "tool_call_complete", "W-2", "b1", `,"success":true`),
				done(4, "W-1", "s9", "Analyze one", 1),
				call(5, "tool_call_start", "W-1", "a2", ""), call(6, "tool_call_complete", "W-1", "a2", `,"success":true`),
				done(7, "W-2", "s8", "Analyze two", 1),
			},
			[]string{
				"start MAIN_AGENT orchestrator lead @2",
				"update agent:task-W-1 in MAIN_AGENT worker W-1 @2", "start a1 in agent:task-W-1 tool Read @2",
				"update agent:task-W-2 in MAIN_AGENT worker W-2 @2", "start b1 in agent:task-W-2 tool Read @2",
				"end a1 ok @3", "end b1 ok @3",
				"start agent:task-W-1 one @1",
				"start a2 in agent:task-W-1 tool Read @5",
				"end agent:task-W-2 ok @4", // when W-1 was heard of
				"end a2 ok @6",
				"start agent:task-W-2 two @1", // known after its end
				"end agent:task-W-1 ok 6000ms @7",
				"end MAIN_AGENT ok @7",
			},
		},
		"an agent with an open call has not ended": {
			[]string{
				call(2, "tool_call_start", "W-1", "a1", ""), call(2, "tool_call_start", "W-2", "b1", ""),
				call(3, "tool_call_complete", "W-2", "b1", `,"success":true`),
				done(4, "W-1", "s9", "Analyze one", 1),
			},
			[]string{
				"start MAIN_AGENT orchestrator lead @2",
				"update agent:task-W-1 in MAIN_AGENT worker W-1 @2", "start a1 in agent:task-W-1 tool Read @2",
				"update agent:task-W-2 in MAIN_AGENT worker W-2 @2", "start b1 in agent:task-W-2 tool Read @2",
				"end b1 ok @3",
				"start agent:task-W-1 one @1",
				"end agent:task-W-2 ok @4",
				// The log ends, W-1 does not: it is lost, and the lead with it.
			},
		},
		"two end together": {
			[]string{
				call(2, "tool_call_start", "W-1", "a1", ""), call(2, "tool_call_start", "W-2", "b1", ""), call(2, "tool_call_start", "W-3", "c1", ""),
				call(3, "tool_call_complete", "W-1", "a1", `,"success":true`), call(3.5, "tool_call_complete", "W-3", "c1", `,"success":true`),
				done(4, "W-1", "s1", "", 1), done(5, "W-2", "s2", "", 1),
				call(6, "tool_call_complete", "W-2", "b1", `,"success":true`), done(7, "W-3", "s3", "", 1),
			},
			[]string{
				"start MAIN_AGENT orchestrator lead @2",
				"update agent:task-W-1 in MAIN_AGENT worker W-1 @2", "start a1 in agent:task-W-1 tool Read @2",
				"update agent:task-W-2 in MAIN_AGENT worker W-2 @2", "start b1 in agent:task-W-2 tool Read @2",
				"update agent:task-W-3 in MAIN_AGENT worker W-3 @2", "start c1 in agent:task-W-3 tool Read @2",
				"end a1 ok @3", "end c1 ok @3.5",
				"start agent:task-W-1 @1", "start agent:task-W-2 @1",
				"end agent:task-W-1 ok 3000ms @4", "end agent:task-W-3 ok @5",
				"end b1 ok @6",
				"start agent:task-W-3 @1", "end agent:task-W-2 ok 6000ms @7",
				"end MAIN_AGENT ok @7",
			},
		},
		// Nothing more is heard of either for a minute.
		"held back long enough": {
			[]string{
				call(2, "tool_call_start", "W-1", "a1", ""), call(2, "tool_call_start", "W-2", "b1", ""),
				call(3, "tool_call_complete", "W-1", "a1", `,"success":true`), call(4, "tool_call_complete", "W-2", "b1", `,"success":true`),
				done(5, "W-1", "s9", "Analyze one", 1),
				lead(64, "text_block", `,"text_length":3`), lead(65, "text_block", `,"text_length":3`),
			},
			[]string{
				"start MAIN_AGENT orchestrator lead @2",
				"update agent:task-W-1 in MAIN_AGENT worker W-1 @2", "start a1 in agent:task-W-1 tool Read @2",
				"update agent:task-W-2 in MAIN_AGENT worker W-2 @2", "start b1 in agent:task-W-2 tool Read @2",
				"end a1 ok @3", "end b1 ok @4", "start agent:task-W-1 one @1",
				"update MAIN_AGENT @64", "update MAIN_AGENT @65", "end agent:task-W-2 ok @5",
			},
		},
		"the SDK's own id is certain": {
			[]string{
				call(2, "tool_call_start", "W-1", "a1", `,"sdk_agent_id":"s1"`), call(2, "tool_call_start", "W-2", "b1", `,"sdk_agent_id":"s2"`),
				done(4, "W-1", "s2", "Analyze one", 1),
			},
			[]string{
				"start MAIN_AGENT orchestrator lead @2",
				"update agent:task-W-1 in MAIN_AGENT worker W-1 @2", "start a1 in agent:task-W-1 tool Read @2",
				"update agent:task-W-2 in MAIN_AGENT worker W-2 @2", "start b1 in agent:task-W-2 tool Read @2",
				"start agent:task-W-1 one @1", "end b1 cancelled inferred @4", "end agent:task-W-2 ok @4",
			},
		},
		"a completion without an id of the SDK is exact": {
			[]string{
				call(2, "tool_call_start", "W-1", "a1", ""), call(3, "tool_call_complete", "W-1", "a1", `,"success":true`),
				call(2, "tool_call_start", "W-2", "b1", ""), call(3, "tool_call_complete", "W-2", "b1", `,"success":true`),
				done(4, "W-1", "", "Look around a bit", 1),
				call(5, "tool_call_start", "W-1", "a2", ""), call(6, "tool_call_complete", "W-1", "a2", `,"success":true`),
			},
			[]string{
				"start MAIN_AGENT orchestrator lead @2",
				"update agent:task-W-1 in MAIN_AGENT worker W-1 @2", "start a1 in agent:task-W-1 tool Read @2", "end a1 ok @3",
				"update agent:task-W-2 in MAIN_AGENT worker W-2 @2", "start b1 in agent:task-W-2 tool Read @2", "end b1 ok @3",
				"start agent:task-W-1 Look around a bit @1", "end agent:task-W-1 ok 3000ms @4",
				"start a2 in agent:task-W-1 tool Read @5", "end a2 ok @6", // counts, and reopens nothing
			},
		},
		"an agent that made no call": {
			[]string{done(4, "W-1", "s1", "Analyze quiet", 1)},
			[]string{
				"start MAIN_AGENT orchestrator lead @1", "update agent:task-W-1 in MAIN_AGENT worker W-1 @1",
				"start agent:task-W-1 quiet @1", "end agent:task-W-1 ok 3000ms @4", "end MAIN_AGENT ok @4",
			},
		},
		"calls of the lead": {
			[]string{
				lead(1, "tool_call_start", `,"tool_use_id":"l1","tool_name":"Bash"`),
				lead(2, "tool_call_start", `,"tool_use_id":"l2","tool_name":"Write"`),
				lead(3, "text_block", `,"text":"secret","text_length":6`),
				lead(4, "tool_call_start", `,"tool_use_id":"l3","tool_name":"Write"`),
				call(5, "tool_call_start", "W-1", "a1", ""),
				lead(6, "tool_call_start", `,"tool_use_id":"l4","tool_name":"Write"`),
				call(7, "tool_call_complete", "W-1", "a1", `,"success":true`),
				done(8, "W-1", "s1", "Analyze one", 5),
			},
			[]string{
				"start MAIN_AGENT orchestrator lead @1",
				"start l1 in MAIN_AGENT tool Bash @1", "end l1 ok inferred @2",
				"start l2 in MAIN_AGENT tool Write @2", "end l2 ok inferred @3", "update MAIN_AGENT @3",
				"start l3 in MAIN_AGENT tool Write @4", "end l3 ok inferred @5",
				"update agent:task-W-1 in MAIN_AGENT worker W-1 @5", "start a1 in agent:task-W-1 tool Read @5",
				"start l4 in MAIN_AGENT tool Write @6", "end a1 ok @7",
				"start agent:task-W-1 one @5", "end agent:task-W-1 ok 3000ms @8",
				"end l4 ok inferred @8", "end MAIN_AGENT ok @8",
			},
		},
		"a lead whose calls do complete": {
			[]string{
				lead(1, "tool_call_start", `,"tool_use_id":"l1","tool_name":"Bash"`),
				lead(2, "tool_call_complete", `,"tool_use_id":"l1","tool_name":"Bash","success":true`),
				lead(3, "tool_call_start", `,"tool_use_id":"l2","tool_name":"Bash"`),
				lead(3, "tool_call_start", `,"tool_use_id":"l3","tool_name":"Bash"`),
				lead(4, "tool_call_complete", `,"tool_use_id":"l2","tool_name":"Bash","success":false,"error":"exit 1"`),
				lead(5, "tool_call_complete", `,"tool_use_id":"l3","tool_name":"Bash","success":true`),
			},
			[]string{
				"start MAIN_AGENT orchestrator lead @1", "start l1 in MAIN_AGENT tool Bash @1", "end l1 ok @2",
				"start l2 in MAIN_AGENT tool Bash @3", "start l3 in MAIN_AGENT tool Bash @3",
				"end l2 error exit 1 @4", "end l3 ok @5", "end MAIN_AGENT ok @5",
			},
		},
		"a result without a completion": {
			[]string{
				call(2, "tool_call_start", "W-1", "a1", ""), call(3, "tool_result_received", "W-1", "a1", ""),
				call(4, "tool_call_start", "W-1", "a2", ""), call(5, "tool_result_received", "W-1", "a2", ""),
				call(6, "tool_call_complete", "W-1", "a2", `,"success":false,"error":"late"`),
				call(7, "tool_call_start", "W-1", "a3", ""), call(8, "tool_result_received", "W-1", "a3", ""),
				done(9, "W-1", "s1", "Analyze one", 1),
			},
			[]string{
				"start MAIN_AGENT orchestrator lead @2", "update agent:task-W-1 in MAIN_AGENT worker W-1 @2",
				"start a1 in agent:task-W-1 tool Read @2", "end a1 ok inferred @3",
				"start a2 in agent:task-W-1 tool Read @4", "end a2 error late @6",
				"start a3 in agent:task-W-1 tool Read @7", "start agent:task-W-1 one @1", "end a3 ok inferred @8",
				"end agent:task-W-1 ok 8000ms @9", "end MAIN_AGENT ok @9",
			},
		},
		"results before the completions of parallel calls": {
			[]string{
				call(1, "tool_call_start", "W-1", "a1", ""), call(1, "tool_call_start", "W-1", "a2", ""),
				call(2, "tool_result_received", "W-1", "a1", ""), call(2, "tool_result_received", "W-1", "a2", ""),
				call(3, "tool_call_complete", "W-1", "a2", `,"success":true`), call(3, "tool_call_complete", "W-1", "a1", `,"success":false,"error":"late"`),
			},
			[]string{
				"start MAIN_AGENT orchestrator lead @1", "update agent:task-W-1 in MAIN_AGENT worker W-1 @1",
				"start a1 in agent:task-W-1 tool Read @1", "start a2 in agent:task-W-1 tool Read @1", "end a2 ok @3", "end a1 error late @3",
			},
		},
		"no time at all": {
			[]string{`{"event":"tool_call_start","agent_id":"W-1","agent_type":"worker","tool_use_id":"a1"}`, `{"event":"subagent_complete","subagent_id":"W-1","subagent_type":"worker","sdk_agent_id":"s1"}`},
			[]string{
				"start MAIN_AGENT orchestrator lead", "update agent:W-1 in MAIN_AGENT worker W-1", "start a1 in agent:W-1 tool",
				"start agent:W-1", "end a1 cancelled inferred", "end agent:W-1 ok", "end MAIN_AGENT ok",
			},
		},
		"a completion without a start": {
			[]string{call(3, "tool_call_complete", "W-1", "a1", `,"success":true`)},
			[]string{
				"start MAIN_AGENT orchestrator lead @3", "update agent:task-W-1 in MAIN_AGENT worker W-1 @3",
				"end a1 in agent:task-W-1 tool Read ok @3",
			},
		},
		"an agent's agent": {
			[]string{
				`{"event":"tool_call_start","timestamp":"` + at(1) + `","agent_id":"W-1","agent_type":"worker","tool_use_id":"task-W-2","tool_name":"Task","parent_tool_use_id":"task-W-1"}`,
				call(2, "tool_call_start", "W-2", "b1", ""),
			},
			[]string{
				"start MAIN_AGENT orchestrator lead @1", "update agent:task-W-1 in MAIN_AGENT worker W-1 @1",
				"start task-W-2 in agent:task-W-1 tool Task @1",
				"update agent:task-W-2 in task-W-2 worker W-2 @2", "start b1 in agent:task-W-2 tool Read @2",
			},
		},
		"kinds": {
			[]string{
				`{"event":"thinking_block","timestamp":"` + at(1) + `","agent_id":"A","agent_type":"code-library-analyzer","parent_tool_use_id":"t1"}`,
				`{"event":"thinking_block","timestamp":"` + at(1) + `","agent_id":"B","agent_type":"external-service-analyzer","parent_tool_use_id":"t2"}`,
				`{"event":"thinking_block","timestamp":"` + at(1) + `","agent_id":"C","agent_type":"general-purpose","parent_tool_use_id":"t3"}`,
				`{"event":"thinking_block","timestamp":"` + at(1) + `","agent_id":"D","agent_type":"task","parent_tool_use_id":"t4"}`,
			},
			[]string{
				"start MAIN_AGENT orchestrator lead @1",
				"update agent:t1 in MAIN_AGENT library-analysis library_analysis A @1", "update agent:t1 @1",
				"update agent:t2 in MAIN_AGENT external-service-analysis external_service_analysis B @1", "update agent:t2 @1",
				"update agent:t3 in MAIN_AGENT general-purpose C @1", "update agent:t3 @1",
				"update agent:t4 in MAIN_AGENT agent D @1", "update agent:t4 @1",
			},
		},
		"fields of the wrong type, unknown events, no time": {
			[]string{
				`{"event":"text_block","timestamp":7,"agent_id":["x"],"text_length":"many"}`, lead(2, "text_block", ""),
				`{"event":"made_up","timestamp":"` + at(3) + `"}`, `{"event":"text_block","timestamp":"noon","agent_id":"MAIN_AGENT"}`,
			},
			[]string{"start MAIN_AGENT orchestrator lead", "update MAIN_AGENT", "update MAIN_AGENT @2", "update MAIN_AGENT @3", "end MAIN_AGENT ok @3"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			events, faults := adapt(newSDKLog(time.UTC), []byte(strings.Join(c.lines, "\n")))
			assert.Empty(t, faults)
			assert.Equal(t, c.want, brief(events))
			for _, ev := range events {
				assert.Equal(t, telemetry.SourceToolCalls, ev.Source)
				decoded, err := telemetry.Decode(ev.Line())
				require.NoError(t, err)
				assert.Equal(t, ev.SpanID, decoded.SpanID)
				assert.NotContains(t, string(ev.Line()), "secret")
			}
		})
	}
}

func TestSDKLogUnreadable(t *testing.T) {
	for _, line := range []string{"x", "null", "[]", "{}", `{"event":7}`, `{"event":""}`, `{"event":"text_block"`, "\x00", `{"event":"text_block"}{}`} {
		_, faults := adapt(newSDKLog(time.UTC), []byte(line))
		assert.Len(t, faults, 1, line)
		assert.False(t, isSDKLine([]byte(line)), line)
	}
}

func TestSDKClaims(t *testing.T) {
	for line := range bytes.Lines(sdkFixture(t)) {
		require.True(t, isSDKLine(line), "%s", line)
	}
	for _, line := range []string{ // of a LangGraph callback handler, in a file of the same name
		`{"event":"graph_node_start","timestamp":"2026-04-13T09:00:00","node_name":"discovery","agent_id":"MAIN_AGENT","run_id":"b3"}`,
		`{"event":"subagent_spawn","timestamp":"2026-04-13T09:00:01","subagent_id":"A-1","subagent_type":"a","description":"Analyze x"}`,
		`{"event":"llm_start","timestamp":"2026-04-13T09:00:01","run_id":"eb","agent_id":"A-1","graph_node":"analyze"}`,
		`{"event":"tool_call_start","timestamp":"2026-04-13T09:00:03","tool_use_id":"31","agent_id":"A-1","graph_node":"analyze","tool_name":"read_file"}`,
		`{"event":"tool_call_complete","timestamp":"2026-04-13T09:00:03","tool_use_id":"31","agent_id":"A-1","success":true,"duration_ms":149.0}`,
		`{"event":"subagent_complete","timestamp":"2026-04-13T09:00:08","subagent_id":"A-1","subagent_type":"a","description":"Analyze x","tool_calls":3}`,
	} {
		assert.False(t, isSDKLine([]byte(line)), line)
	}
}

func TestSDKGolden(t *testing.T) {
	events, faults := adapt(newSDKLog(time.UTC), sdkFixture(t))
	require.Empty(t, faults)
	golden := filepath.Join(sdkFolder, "events.jsonl")
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(text(events)), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), text(events))
}

// fold gives the state of a run of which these are the events.
func fold(t *testing.T, events []telemetry.Event) *run.State {
	t.Helper()
	state := run.NewState()
	apply := func(ev telemetry.Event) {
		ev.Stamp(ev.Source, state.Rev(), 0)
		decoded, err := telemetry.Decode(ev.Raw)
		require.NoError(t, err)
		state.Apply(decoded)
	}
	first, _ := events[0].Micros()
	last, _ := events[len(events)-1].Micros()
	apply(telemetry.Event{Type: telemetry.SpanStart, SpanID: "root", Kind: telemetry.KindRun, Source: telemetry.SourceObsrun, TS: telemetry.F(float64(first) / 1e6)})
	for _, ev := range events {
		apply(ev)
	}
	apply(telemetry.Event{Type: telemetry.SpanEnd, SpanID: "root", Status: telemetry.StatusOK, Source: telemetry.SourceObsrun, TS: telemetry.F(float64(last) / 1e6)})
	return state
}

// The recorded run, folded, is the run that was played to the tracker: who did
// what and, although the tracker mixed up the ends, how long each took.
func TestSDKFold(t *testing.T) {
	events, _ := adapt(newSDKLog(time.UTC), sdkFixture(t))
	state := fold(t, events)

	raw, err := os.ReadFile("../../testdata/eigenda/profile.json")
	require.NoError(t, err)
	var profile struct {
		Agents []struct {
			Name       string
			Kind       string
			DurationMS int64 `json:"duration_ms"`
			ToolUses   int64 `json:"tool_uses"`
		}
	}
	require.NoError(t, json.Unmarshal(raw, &profile))
	require.Len(t, profile.Agents, 35)

	agents := map[string]run.Span{}
	tools, failed := 0, 0
	for span := range state.Spans() {
		assert.True(t, strings.HasPrefix(span.ID, "tool_calls:"))
		assert.Equal(t, 1, span.Attempts, span.ID)
		switch {
		case span.IsAgent:
			agents[span.Component] = span
		case span.Kind == telemetry.KindTool:
			tools++
			assert.NotEmpty(t, span.Agent, "a tool call below no agent")
			if span.State == run.Failed {
				failed++
				assert.Equal(t, "file does not exist", span.Error)
			} else {
				assert.Equal(t, run.Done, span.State, span.ID)
			}
		default:
			assert.Equal(t, telemetry.KindOrchestrator, span.Kind)
			assert.Equal(t, run.Done, span.State)
			assert.Equal(t, "lead", span.Name)
		}
	}
	assert.Equal(t, 847, tools)
	assert.Equal(t, 13, failed)
	require.Len(t, agents, 35)
	for _, want := range profile.Agents {
		span, ok := agents[want.Name]
		if !assert.True(t, ok, want.Name) {
			continue
		}
		assert.Equal(t, want.Name, span.Name)
		assert.Equal(t, want.Kind, span.Kind, want.Name)
		assert.Equal(t, run.Done, span.State, want.Name)
		assert.Equal(t, want.ToolUses, span.ToolUses, want.Name)
		assert.Equal(t, want.DurationMS, span.EndMS-span.StartMS, want.Name)
		assert.Equal(t, want.DurationMS, span.DurationMS, want.Name)
	}
	totals := state.Totals()
	assert.Equal(t, 35, totals.AgentsSpawned)
	assert.Equal(t, 35, totals.Done)
	assert.EqualValues(t, 847, totals.ToolUses)
	assert.Equal(t, 13, totals.ToolErrors)
	assert.Zero(t, totals.Errors)
	assert.Zero(t, totals.Lost)
	assert.Nil(t, totals.Percent)

	type phase struct {
		name   string
		agents int
		tools  int64
		wall   int64
	}
	got := []phase{}
	for _, p := range state.Phases() {
		got = append(got, phase{p.Name, p.Agents, p.ToolUses, p.WallMS})
	}
	assert.Equal(t, []phase{
		{"library_analysis", 24, 366, 68400 + 112000},
		{"application_analysis", 10, 438, 98000},
		{"synthesis", 1, 43, 32900},
	}, got)
	assert.Equal(t, 9, state.MaxParallel("library_analysis"))
	assert.Equal(t, 10, state.MaxParallel("application_analysis"))
	assert.Equal(t, 1, state.MaxParallel("synthesis"))
}

// While the log grows, an agent is there from its first call on, and nobody is
// done before the tracker said that somebody is.
func TestSDKLive(t *testing.T) {
	state := run.NewState()
	a := newSDKLog(time.UTC)
	emit := func(ev telemetry.Event) {
		ev.Stamp(ev.Source, state.Rev(), 0)
		state.Apply(ev)
	}
	seen, completions := map[string]bool{}, 0
	for line := range bytes.Lines(sdkFixture(t)) {
		l, err := decodeSDKLine(line)
		require.NoError(t, err)
		require.NoError(t, a.line(line, emit))
		if l.AgentType != sdkLeadType && l.AgentID != "" {
			seen[l.AgentID] = true
		}
		if l.Event == sdkAgentDone {
			completions++
		}
		totals := state.Totals()
		require.Equal(t, len(seen), totals.AgentsSpawned)
		require.LessOrEqual(t, totals.Done, completions)
		require.LessOrEqual(t, completions-totals.Done, 2, "held back at a time")
	}
	assert.Equal(t, 35, state.Totals().Done)
}

// The tracker was killed: what it did not see the end of is lost, not done.
func TestSDKCutOff(t *testing.T) {
	log := sdkFixture(t)
	events, _ := adapt(newSDKLog(time.UTC), log[:len(log)*2/3])
	state := fold(t, events)
	totals := state.Totals()
	assert.Positive(t, totals.Lost)
	assert.Equal(t, totals.AgentsSpawned, totals.Done+totals.Lost)
	lead, ok := state.Span(spanPrefix + sdkLead)
	require.True(t, ok)
	assert.Equal(t, run.Lost, lead.State)
}

// Whatever part of the log is there, the events are well formed, every open call
// belongs to an open agent or ends, and nothing ends twice.
func TestSDKPrefixes(t *testing.T) {
	lines := bytes.SplitAfter(sdkFixture(t), []byte("\n"))
	for n := 0; n < len(lines); n += 331 {
		for _, part := range [][][]byte{lines[:n], lines[n:]} {
			events, faults := adapt(newSDKLog(time.UTC), bytes.Join(part, nil))
			require.Empty(t, faults)
			require.Empty(t, twice(events))
		}
	}
}

// twice gives the spans that end twice.
func twice(events []telemetry.Event) []string {
	ended := map[string]bool{}
	again := []string{}
	for _, ev := range events {
		if ev.Type == telemetry.SpanEnd {
			if ended[ev.SpanID] {
				again = append(again, ev.SpanID)
			}
			ended[ev.SpanID] = true
		}
	}
	return again
}

func FuzzSDKLog(f *testing.F) {
	lines := bytes.SplitAfterN(sdkFixture(f), []byte("\n"), 9)
	f.Add(bytes.Join(lines[:8], nil))
	f.Add([]byte(done(4, "W-1", "s1", "Analyze x", 9) + "\n" + call(2, "tool_call_start", "W-1", "", "") + "\n" + lead(1, "tool_call_start", "")))
	f.Add([]byte(strings.Join([]string{
		call(2, "tool_call_start", "W-1", "a1", ""), call(2, "tool_call_start", "W-2", "b1", ""), done(1, "W-1", "s9", "", 0),
		done(99, "W-2", "s9", "", 0), done(999, "W-3", "", "", 0), done(9999, "W-3", "x", "", 0), call(1, "tool_result_received", "W-2", "b1", ""),
	}, "\n")))
	f.Fuzz(func(t *testing.T, log []byte) {
		events, _ := adapt(newSDKLog(time.UTC), log)
		for _, ev := range events {
			decoded, err := telemetry.Decode(ev.Line())
			require.NoError(t, err)
			require.Equal(t, ev.SpanID, decoded.SpanID)
			require.True(t, strings.HasPrefix(ev.SpanID, spanPrefix))
		}
		again, _ := adapt(newSDKLog(time.UTC), log)
		require.Equal(t, text(events), text(again), "not the same twice")
	})
}

func TestLocalClock(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	cases := map[string]struct{ in, want []string }{
		"plain":        {[]string{"2026-04-08T00:00:00.123000", "2026-04-08T00:00:01"}, []string{"2026-04-07T22:00:00.123Z", "2026-04-07T22:00:01Z"}},
		"winter":       {[]string{"2026-01-08T00:00:00"}, []string{"2026-01-07T23:00:00Z"}},
		"with offsets": {[]string{"2026-04-08T00:00:00Z", "2026-04-08T00:00:00.5-05:00"}, []string{"2026-04-08T00:00:00Z", "2026-04-08T05:00:00.5Z"}},
		"no time":      {[]string{"2026-04-08T00:00:00", "", "yesterday"}, []string{"2026-04-07T22:00:00Z", "2026-04-07T22:00:00Z", "2026-04-07T22:00:00Z"}},
		"out of order": {[]string{"2026-04-08T00:00:02", "2026-04-08T00:00:01"}, []string{"2026-04-07T22:00:02Z", "2026-04-07T22:00:01Z"}},
		"to summer":    {[]string{"2026-03-29T01:59:59", "2026-03-29T03:00:00"}, []string{"2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z"}},
		"from summer, through the repeated hour": {
			[]string{"2026-10-25T01:59:59", "2026-10-25T02:30:00", "2026-10-25T02:59:59.9", "2026-10-25T02:00:00", "2026-10-25T02:59:00", "2026-10-25T03:00:00"},
			[]string{"2026-10-24T23:59:59Z", "2026-10-25T00:30:00Z", "2026-10-25T00:59:59.9Z", "2026-10-25T01:00:00Z", "2026-10-25T01:59:00Z", "2026-10-25T02:00:00Z"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			clock := localClock{zone: berlin}
			got := []string{}
			for _, in := range c.in {
				got = append(got, clock.read(in).UTC().Format(time.RFC3339Nano))
			}
			assert.Equal(t, c.want, got)
		})
	}
	// A start told at an end in the repeated hour: the later reading that is not
	// after the end.
	clock := localClock{zone: berlin}
	end := time.Date(2026, 10, 25, 1, 10, 0, 0, time.UTC)
	for in, want := range map[string]string{
		"2026-10-25T02:05:00": "2026-10-25T01:05:00Z", "2026-10-25T02:50:00": "2026-10-25T00:50:00Z", "2026-10-25T01:50:00": "2026-10-24T23:50:00Z",
	} {
		got, ok := clock.before(in, end)
		require.True(t, ok)
		assert.Equal(t, want, got.UTC().Format(time.RFC3339Nano))
	}
	_, ok := clock.before("never", end)
	assert.False(t, ok)
}
