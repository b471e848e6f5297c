package receiver

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

func TestBurrApp(t *testing.T) {
	begin := func(seq int, action string, s float64) string {
		return fmt.Sprintf(`{"type":"begin_entry","start_time":%q,"action":%q,"sequence_id":%d}`, at(s), action, seq)
	}
	end := func(seq int, action string, s float64, state string) string {
		return fmt.Sprintf(`{"type":"end_entry","end_time":%q,"action":%q,"sequence_id":%d,"exception":null,"state":%s}`, at(s), action, seq, state)
	}
	raised := func(seq int, action string, s float64) string {
		return fmt.Sprintf(`{"type":"end_entry","end_time":%q,"action":%q,"sequence_id":%d,"exception":"Traceback (most recent call last):\n  File \"x.py\"\nRuntimeError: no key\n","state":{}}`, at(s), action, seq)
	}
	span := func(seq int, id, name, parent string, s float64) string {
		return fmt.Sprintf(`{"type":"begin_span","start_time":%q,"action_sequence_id":%d,"span_id":%q,"span_name":%q,"parent_span_id":%s}`, at(s), seq, id, name, parent)
	}
	over := func(seq int, id string, s float64) string {
		return fmt.Sprintf(`{"type":"end_span","end_time":%q,"action_sequence_id":%d,"span_id":%q}`, at(s), seq, id)
	}
	attribute := func(seq int, span, key, value string, s float64) string {
		return fmt.Sprintf(`{"type":"attribute","key":%q,"action_sequence_id":%d,"span_id":%s,"value":%s,"tags":{},"time_logged":"%s+00:00"}`, key, seq, span, value, at(s))
	}
	calls := func(calls ...string) string {
		var list []string
		for i, name := range calls {
			list = append(list, fmt.Sprintf(`{"id":"c%d","function":{"name":%q,"arguments":"{\"path\":\"src\"}"}}`, i, name))
		}
		return `{"pending_tool_calls":[` + strings.Join(list, ",") + `],"llm_response":"secret"}`
	}
	const sub = "subagent-component-analyzer-node"
	const graph = `{"transitions":[{"from_":"a","to":"b"}]}`
	cases := map[string]struct {
		project, id string
		files       map[string]string
		lines, want []string
	}{
		"an agent with tools": {"flashlight", sub, nil,
			[]string{
				begin(0, "receive_input", 1), end(0, "receive_input", 1, `{}`),
				begin(1, "call_llm", 2), end(1, "call_llm", 3, calls("read_file", "bash", "glob")),
				begin(2, "execute_tools", 4), end(2, "execute_tools", 5, `{"messages":[{"role":"tool","tool_call_id":"c0","content":"Error: path does not exist: x"},{"role":"tool","tool_call_id":"c1","content":"Errors are fine"},{"role":"tool","tool_call_id":7}]}`),
				begin(3, "respond", 6), end(3, "respond", 7, `{"final_response":"# Analysis"}`),
			},
			[]string{
				"start " + sub + " component-analysis node @1",
				"start " + sub + "#1 in " + sub + " llm call_llm @2", "end " + sub + "#1 ok @3",
				"start " + sub + "#2/0 in " + sub + " tool read_file @4", "start " + sub + "#2/1 in " + sub + " tool bash @4", "start " + sub + "#2/2 in " + sub + " tool glob @4",
				"end " + sub + "#2/0 error Error: path does not exist: x @5", "end " + sub + "#2/1 ok @5", "end " + sub + "#2/2 ok @5",
				"end " + sub + " ok @7",
			},
		},
		"an agent that failed softly, and again": {"flashlight", sub, nil,
			[]string{
				begin(0, "receive_input", 1), begin(1, "respond", 2), end(1, "respond", 3, `{"final_response":"Error: LLM call failed"}`),
				begin(0, "receive_input", 5), begin(1, "call_llm", 6), raised(1, "call_llm", 7),
				begin(0, "receive_input", 8), begin(1, "execute_tools", 9), // killed
			},
			[]string{
				"start " + sub + " component-analysis node @1", "end " + sub + " error Error: LLM call failed @3",
				"start " + sub + " component-analysis node @5", "start " + sub + "#1 in " + sub + " llm call_llm @6",
				"end " + sub + "#1 error RuntimeError: no key @7", "end " + sub + " error RuntimeError: no key @7",
				"start " + sub + " component-analysis node @8", "start " + sub + "#1 in " + sub + " tool execute_tools @9",
			},
		},
		"other agents": {"any", "subagent-architecture-documenter-eigenda", nil,
			[]string{begin(0, "receive_input", 1)},
			[]string{"start subagent-architecture-documenter-eigenda synthesis synthesis eigenda @1"},
		},
		"an agent of an unknown type": {"any", "subagent-of-mine", nil, []string{begin(0, "receive_input", 1)}, []string{"start subagent-of-mine agent of-mine @1"}},
		"any application, which ends where its graph does": {"p", "q", map[string]string{"graph.json": graph},
			[]string{
				begin(0, "a", 1), end(0, "a", 2, `{}`), begin(1, "b", 3), end(1, "b", 4, `{}`),
				begin(2, "a", 5), end(2, "a", 6, `{}`),
			},
			[]string{
				"start p/q agent q @1", "start p/q#0 in p/q task a @1", "end p/q#0 ok @2", "start p/q#1 in p/q task b @3", "end p/q#1 ok @4", "end p/q ok @4",
				"start p/q agent q @5", "start p/q#2 in p/q task a @5", "end p/q#2 ok @6", "end p/q ok inferred @6",
			},
		},
		"any application, an exception, what it left open": {"p", "q", nil,
			[]string{begin(0, "a", 1), begin(1, "b", 2), span(1, "1:0", "tool:bash", "null", 2), raised(0, "a", 3)},
			[]string{
				"start p/q agent q @1", "start p/q#0 in p/q task a @1", "start p/q#1 in p/q task b @2", "start p/q#1:0 in p/q#1 tool bash @2",
				"end p/q#0 error RuntimeError: no key @3", "end p/q#1:0 ok @3", "end p/q#1 cancelled inferred @3", "end p/q error RuntimeError: no key @3",
			},
		},
		"traced spans": {"p", "q", nil,
			[]string{
				begin(0, "a", 1), span(0, "0:0", "outer", "null", 1), span(0, "0:0.0", "api_call", `"0:0"`, 2),
				attribute(0, `"0:0.0"`, "input_tokens", `"12"`, 3), attribute(0, `"0:0.0"`, "completion_tokens", `3`, 3),
				attribute(0, `"0:0.0"`, "response_model", `"m-1"`, 3), attribute(0, `"0:0.0"`, "prompt", `"secret"`, 3), attribute(0, `null`, "n", `"True"`, 3),
				over(0, "0:0.0", 4), span(0, "0:1", "tool:x", "null", 4), attribute(0, `"0:1"`, "error", `"broken"`, 5), over(0, "0:1", 6), over(0, "9:9", 6),
				`{"type":"begin_stream","action_sequence_id":0,"stream_init_time":"` + at(6) + `"}`,
				end(0, "a", 7, `{}`),
				begin(1, "wait", 8), `{"type":"suspend_entry","suspend_time":"` + at(9) + `","action":"wait","sequence_id":1}`,
			},
			[]string{
				"start p/q agent q @1", "start p/q#0 in p/q task a @1", "start p/q#0:0 in p/q#0 task outer @1", "start p/q#0:0.0 in p/q#0:0 task api_call @2",
				"update p/q#0:0.0 llm @3", "update p/q#0:0.0 llm @3", "update p/q#0:0.0 @3", "update p/q#0 @3",
				"end p/q#0:0.0 ok @4", "start p/q#0:1 in p/q#0 tool x @4", "end p/q#0:1 error broken @6", "update p/q#0 @6",
				"end p/q#0:0 ok @7", "end p/q#0 ok @7", "start p/q#1 in p/q task wait @8", "end p/q#1 ok @9", "end p/q ok inferred @9",
			},
		},
		"joined midway": {"p", "q", nil,
			[]string{end(7, "a", 2, `{}`), begin(8, "b", 3), end(8, "b", 4, `{}`)},
			[]string{"update p/q agent q @2", "start p/q#8 in p/q task b @3", "end p/q#8 ok @4", "end p/q ok inferred @4"},
		},
		"a pipeline that fails in a depth": {"flashlight-x", "run", nil,
			[]string{
				begin(0, "receive_input", 1), end(0, "receive_input", 1, `{}`),
				begin(1, "read_discovery", 1), end(1, "read_discovery", 2, `{"components":{"one":{"kind":"service"}}}`),
				begin(2, "analyze_current_depth", 2), attribute(2, "null", "component_names", `["one","two","one",""]`, 2),
				raised(2, "analyze_current_depth", 5),
			},
			[]string{
				"start flashlight-x/run orchestrator flashlight-x @1", "start flashlight-x/run#1 in flashlight-x/run discovery discovery @1", "end flashlight-x/run#1 ok @2",
				"start flashlight-x/run#2 in flashlight-x/run phase library_depth_0 @2",
				"queued subagent-component-analyzer-one in flashlight-x/run#2 application-analysis one @2", "queued subagent-component-analyzer-two in flashlight-x/run#2 component-analysis two @2",
				"end subagent-component-analyzer-one error the pipeline failed: RuntimeError: no key inferred @5", "end subagent-component-analyzer-two error the pipeline failed: RuntimeError: no key inferred @5",
				"end flashlight-x/run#2 error RuntimeError: no key @5", "end flashlight-x/run error RuntimeError: no key @5",
			},
		},
		"a pipeline of before, that lists no results": {"flashlight-x", "run", nil,
			[]string{
				begin(2, "analyze_current_depth", 2), attribute(2, "null", "depth", `1`, 2), attribute(2, "null", "component_names", `["one","two","three","four"]`, 2),
				span(2, "2:0", "analyze:one", "null", 2), attribute(2, `"2:0"`, "success", `"False"`, 2), over(2, "2:0", 3), attribute(2, "null", "failed_components", `["four"]`, 3),
				end(2, "analyze_current_depth", 5, `{"current_depth":2,"component_analyses":{"one":"Error: no prompt","two":"fine","four":"fine"}}`),
				begin(3, "analyze_current_depth", 5), end(3, "analyze_current_depth", 5, `{"current_depth":2}`),
				begin(4, "synthesize", 6), span(4, "4:0", "synth_iteration_0", "null", 6), attribute(4, `"4:0"`, "error", `"timeout"`, 7), over(4, "4:0", 7),
				end(4, "synthesize", 7, `{"synthesis_result":"Error: LLM call failed: timeout"}`),
				begin(5, "other", 7), end(5, "other", 7, `{}`),
				begin(6, "respond", 8), end(6, "respond", 8, `{"final_response":"Error: not that of an agent"}`),
			},
			[]string{
				"start flashlight-x/run orchestrator flashlight-x @2", "start flashlight-x/run#2 in flashlight-x/run phase library_depth_1 @2",
				"queued subagent-component-analyzer-one in flashlight-x/run#2 component-analysis one @2", "queued subagent-component-analyzer-two in flashlight-x/run#2 component-analysis two @2",
				"queued subagent-component-analyzer-three in flashlight-x/run#2 component-analysis three @2", "queued subagent-component-analyzer-four in flashlight-x/run#2 component-analysis four @2",
				"end subagent-component-analyzer-one error Error: no prompt @5", "end subagent-component-analyzer-two ok inferred @5",
				"end subagent-component-analyzer-three cancelled inferred @5", "end subagent-component-analyzer-four error the pipeline names it among the failed components @5",
				"end flashlight-x/run#2 ok @5",
				"start flashlight-x/run#4 in flashlight-x/run synthesis synthesis synthesis @6", "start flashlight-x/run#4:0 in flashlight-x/run#4 llm synth_iteration_0 @6",
				"end flashlight-x/run#4:0 error timeout @7", "end flashlight-x/run#4 error Error: LLM call failed: timeout @7",
				"start flashlight-x/run#5 in flashlight-x/run task other @7", "end flashlight-x/run#5 ok @7", "end flashlight-x/run ok @8",
			},
		},
		"a pipeline that is killed": {"flashlight-x", "run", nil,
			[]string{begin(2, "analyze_current_depth", 2), attribute(2, "null", "depth", `"3"`, 2)},
			[]string{"start flashlight-x/run orchestrator flashlight-x @2", "start flashlight-x/run#2 in flashlight-x/run phase library_depth_3 @2"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var events []telemetry.Event
			run := testBurrRun(&events)
			a := newBurrApp(run, c.project, c.id, func(name string) []byte { return []byte(c.files[name]) })
			clock := localClock{zone: time.UTC}
			for _, line := range c.lines {
				l, err := decodeBurrLine([]byte(line), &clock)
				require.NoError(t, err)
				a.line(l)
			}
			a.end()
			got := []string{}
			for _, line := range brief(events) {
				got = append(got, strings.ReplaceAll(line, "burr:", ""))
			}
			assert.Equal(t, c.want, got)
			assert.NotContains(t, text(events), "secret")
		})
	}
}

func testBurrRun(events *[]telemetry.Event) *burrRun {
	return &burrRun{
		agents: make(map[string]*burrAgent), queued: make(map[string]bool), expect: func(string) {},
		emit: func(ev telemetry.Event) { *events = append(*events, ev) },
	}
}

// What one application started hangs under it.
func TestBurrSpawned(t *testing.T) {
	home, r := t.TempDir(), &record{}
	tail := newBurrTail(r.add, time.UTC, home)
	for _, w := range []burrWrite{
		{rel: "p/parent/log.jsonl", text: step(0, "spawn", 1, 9, "")},
		{rel: "p/child/metadata.json", text: `{"spawning_parent_pointer":{"app_id":"parent","sequence_id":0}}`},
		{rel: "p/child/log.jsonl", text: step(0, "x", 2, 3, "")},
		{rel: "p/orphan/metadata.json", text: `{"spawning_parent_pointer":{"app_id":"gone","sequence_id":0}}`},
		{rel: "p/orphan/log.jsonl", text: step(0, "x", 2, 3, "")},
	} {
		w.write(t, home)
	}
	require.NoError(t, tail.Close(t.Context()))
	state := fold(t, r.all())
	child, ok := state.Span("burr:p/child")
	require.True(t, ok)
	assert.Equal(t, "burr:p/parent", child.Parent)
	orphan, _ := state.Span("burr:p/orphan")
	assert.Equal(t, "root", orphan.Parent)
	assert.Equal(t, 3, state.Totals().Done)
}

// Tokens that an application logs are those of its calls, and the agent's.
func TestBurrTokens(t *testing.T) {
	var events []telemetry.Event
	a := newBurrApp(testBurrRun(&events), "p", "q", func(string) []byte { return nil })
	clock := localClock{zone: time.UTC}
	for line := range bytes.Lines([]byte(strings.Join([]string{
		`{"type":"begin_entry","start_time":"` + at(1) + `","action":"ask","sequence_id":0}`,
		`{"type":"begin_span","start_time":"` + at(1) + `","action_sequence_id":0,"span_id":"0:0","span_name":"call","parent_span_id":null}`,
		`{"type":"attribute","key":"input_tokens","action_sequence_id":0,"span_id":"0:0","value":"100","time_logged":"` + at(2) + `"}`,
		`{"type":"attribute","key":"output_tokens","action_sequence_id":0,"span_id":"0:0","value":"20","time_logged":"` + at(2) + `"}`,
		`{"type":"end_entry","end_time":"` + at(3) + `","action":"ask","sequence_id":0}`,
	}, "\n"))) {
		l, err := decodeBurrLine(line, &clock)
		require.NoError(t, err)
		a.line(l)
	}
	a.end()
	state := fold(t, events)
	span, _ := state.Span("burr:p/q")
	assert.Equal(t, run.Usage{Tokens: 120, Input: 100, Output: 20}, span.Usage)
	totals := state.Totals()
	assert.Equal(t, 1, totals.LLMCallsWithUsage)
	assert.Equal(t, map[string]int64{"burr": 120}, totals.TokenSources)
}
