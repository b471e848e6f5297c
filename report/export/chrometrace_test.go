package export

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// checkTrace lets a program in another language check what a viewer relies on:
// order, nesting, names of processes and threads, flows with two ends. It gives how
// many events of each sort there are.
func checkTrace(t *testing.T, r Run) map[string]int {
	t.Helper()
	script, err := filepath.Abs("../../testdata/export/chrometrace.mjs")
	require.NoError(t, err)
	var counts map[string]int
	require.NoError(t, json.Unmarshal(output(t, "node", script, writtenFile(t, "chrome-trace", r)), &counts))
	return counts
}

type readEvent struct {
	Name, Cat, Ph, BP, S string
	TS, Dur              int64
	PID, TID, ID         int
	Args                 map[string]any
}

func traceOf(t *testing.T, r Run) []readEvent {
	t.Helper()
	var got struct{ TraceEvents []readEvent }
	require.NoError(t, json.Unmarshal(written(t, "chrome-trace", r), &got))
	return got.TraceEvents
}

func TestChromeTraceOfEigenDA(t *testing.T) {
	r := recorded(t, "eigenda-planned")
	counts := checkTrace(t, r)
	assert.Equal(t, 1842000, counts["tokens"])
	assert.Equal(t, 35, counts["s"], "from a phase to each agent")
	assert.Equal(t, 1+5+41-1, counts["X"]-1, "the run, its phases, its spans, but for what stands for both")

	most, processes := 0.0, []string{}
	for _, e := range traceOf(t, r) {
		switch {
		case e.Name == "agents at work":
			most = max(most, e.Args["agents at work"].(float64))
		case e.Name == "process_name":
			processes = append(processes, e.Args["name"].(string))
		}
	}
	assert.Equal(t, 10.0, most)
	assert.Equal(t, []string{"eigenda-20260408-abc123", "discovery", "library_depth_0", "library_depth_n", "application_analysis", "synthesis"}, processes)
}

func TestChromeTraceOfTroubled(t *testing.T) {
	threads, found := make(map[int]string), make(map[string]readEvent)
	for _, e := range traceOf(t, recorded(t, "troubled")) {
		if e.Name == "thread_name" {
			threads[e.TID] = e.Args["name"].(string)
		} else if e.Ph == "X" || e.Ph == "i" {
			found[e.Ph+" "+e.Name] = e
		}
	}
	lost := found["X #\\x23vso[task.complete]"]
	assert.Equal(t, []any{int64(6_500_000), int64(293_500_000)}, []any{lost.TS, lost.Dur})
	assert.Equal(t, "#\\x23vso[task.complete]", threads[lost.TID])
	for _, name := range []string{"i stalled: \\u{9b}31m", "i resumed: #\\x23vso[task.complete]", "i error: Bash", "i error: lib11", "i lost: \\u{9b}31m", "i warn: disk nearly full"} {
		assert.Contains(t, found, name)
	}
	assert.Equal(t, "t", found["i error: Bash"].S)
	assert.Equal(t, "p", found["i warn: disk nearly full"].S)
	assert.NotContains(t, found, "X never", "it did not begin")
}

// What overlaps on an agent's thread gets another; what nests stays.
func TestChromeTraceThreads(t *testing.T) {
	r := folded(t,
		`{"event":"span_start","span_id":"r","kind":"run","name":"x","attrs":{"run_id":"x-1"},"ts":1000,"source":"obsrun","recv_ms":0}`,
		`{"event":"span_start","span_id":"a","kind":"agent","name":"a","phase":"work","ts":1001,"source":"socket","recv_ms":1000}`,
		`{"event":"span_start","span_id":"one","parent":"a","kind":"tool","name":"one","ts":1001,"source":"socket","recv_ms":1000}`,
		`{"event":"span_start","span_id":"in one","parent":"one","kind":"task","name":"in one","ts":1002,"source":"socket","recv_ms":2000}`,
		`{"event":"span_end","span_id":"in one","ts":1003,"source":"socket","recv_ms":3000}`,
		`{"event":"span_start","span_id":"two","parent":"a","kind":"tool","name":"two","ts":1004,"source":"socket","recv_ms":4000}`,
		`{"event":"span_end","span_id":"one","ts":1005,"source":"socket","recv_ms":5000}`,
		`{"event":"span_end","span_id":"two","ts":1006,"source":"socket","recv_ms":6000}`,
		`{"event":"span_start","span_id":"sub","parent":"a","kind":"agent","name":"sub","ts":1006,"source":"socket","recv_ms":6000}`,
		`{"event":"span_end","span_id":"sub","ts":1007,"source":"socket","recv_ms":7000}`,
		`{"event":"span_end","span_id":"a","ts":1008,"source":"socket","recv_ms":8000}`,
		`{"event":"span_start","span_id":"late","parent":"a","kind":"tool","name":"late","ts":1007.5,"source":"socket","recv_ms":8000}`,
		`{"event":"span_end","span_id":"late","ts":1009,"source":"socket","recv_ms":9000}`,
		`{"event":"span_start","span_id":"p","kind":"process","name":"sh","ts":1001,"source":"process","recv_ms":1000}`,
		`{"event":"span_end","span_id":"r","status":"ok","ts":1010,"source":"obsrun","recv_ms":10000}`,
	)
	threads, on := make(map[int]string), make(map[string]string)
	flows := 0
	for _, e := range traceOf(t, r) {
		switch {
		case e.Name == "thread_name":
			threads[e.TID] = e.Args["name"].(string)
		case e.Ph == "X":
			on[e.Name] = threads[e.TID]
		case e.Ph == "s":
			flows++
		}
	}
	assert.Equal(t, map[string]string{
		"x": "run", "work": "phases", "a": "a", "one": "a", "in one": "a", "two": "a (2)", "sub": "sub", "late": "a (2)", "sh": "processes",
	}, on)
	assert.Equal(t, 3, flows, "to two, sub and late")
	checkTrace(t, r)
}

// Whatever producers say, what stands on one thread nests.
func TestChromeTraceNests(t *testing.T) {
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 1))
		lines := []string{`{"event":"span_start","span_id":"r","kind":"run","attrs":{"run_id":"x"},"ts":1000,"source":"obsrun","recv_ms":0}`}
		kinds := []string{"agent", "tool", "llm", "task", "phase", "process", "agent"}
		for i := range 150 {
			id, parent := random.IntN(60), random.IntN(60)
			at := 1000 + float64(random.IntN(400))/10
			if random.IntN(20) == 0 {
				at -= 30 // before the run
			}
			switch random.IntN(3) {
			case 0:
				lines = append(lines, fmt.Sprintf(`{"event":"span_end","span_id":"%d","status":%q,"tokens":%d,"ts":%f,"source":"socket","recv_ms":%d}`,
					id, []string{"ok", "error", "cancelled"}[random.IntN(3)], random.IntN(1000), at, i*100))
			default:
				lines = append(lines, fmt.Sprintf(`{"event":"span_start","span_id":"%d","parent":"%d","kind":%q,"phase":"p%d","ts":%f,"source":"socket","recv_ms":%d}`,
					id, parent, kinds[random.IntN(len(kinds))], random.IntN(3), at, i*100))
			}
		}
		if seed%2 == 0 {
			lines = append(lines, `{"event":"span_end","span_id":"r","status":"ok","ts":1030,"source":"obsrun","recv_ms":30000}`)
		}
		checkTrace(t, folded(t, lines...))
	}
}
