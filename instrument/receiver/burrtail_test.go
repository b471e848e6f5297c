package receiver

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

const burrFolder = "../../testdata/burr"

// burrWrite is a piece of a file as it was written: a line of a log, or a whole
// file beside one.
type burrWrite struct {
	rel, text string
	at        time.Time
}

// burrFixture gives the recorded logs, in the order in which they were written.
func burrFixture(t testing.TB) []burrWrite {
	t.Helper()
	var writes []burrWrite
	require.NoError(t, filepath.WalkDir(burrFolder, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(burrFolder, path)
		if err != nil || d.IsDir() || !strings.Contains(rel, "/") {
			return err
		}
		data, err := os.ReadFile(path)
		if filepath.Base(path) != "log.jsonl" { // written before the first line
			writes = append(writes, burrWrite{rel: rel, text: string(data)})
			return err
		}
		clock := localClock{zone: time.UTC}
		for line := range bytes.Lines(data) {
			l, err := decodeBurrLine(line, &clock)
			require.NoError(t, err)
			writes = append(writes, burrWrite{rel, string(line), l.at})
		}
		return err
	}))
	for i, w := range writes {
		if w.at.IsZero() {
			for _, other := range writes {
				if filepath.Dir(other.rel) == filepath.Dir(w.rel) && !other.at.IsZero() {
					writes[i].at = other.at
					break
				}
			}
		}
	}
	slices.SortStableFunc(writes, func(a, b burrWrite) int {
		return cmp.Or(a.at.Compare(b.at), strings.Compare(filepath.Base(b.rel), filepath.Base(a.rel)))
	})
	return writes
}

func (w burrWrite) write(t testing.TB, home string) {
	t.Helper()
	path := filepath.Join(home, ".burr", filepath.FromSlash(w.rel))
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = f.WriteString(w.text)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// In one burst, and line by line, the events are the same.
func TestBurrGolden(t *testing.T) {
	writes := burrFixture(t)
	home, r := t.TempDir(), &record{}
	tail := newBurrTail(r.add, time.UTC, home)
	for _, w := range writes {
		w.write(t, home)
	}
	require.NoError(t, tail.Close(t.Context()))
	golden(t, filepath.Join(burrFolder, "events.jsonl"), r.all())

	home, r2 := t.TempDir(), &record{}
	tail = newBurrTail(r2.add, time.UTC, home)
	for _, w := range writes {
		w.write(t, home)
		tail.look(t.Context(), coldLooks)
	}
	require.NoError(t, tail.Close(t.Context()))
	require.Equal(t, text(r.all()), text(r2.all()))
}

// checkBurrRun asserts what the recorded run was.
func checkBurrRun(t *testing.T, state *run.State) {
	t.Helper()
	failures := map[string]string{}
	depths := map[string]int{}
	kinds := map[string]int{}
	for span := range state.Spans() {
		require.Equal(t, 1, span.Attempts, span.ID)
		require.Equal(t, telemetry.SourceBurr, span.Source)
		switch {
		case span.IsAgent:
			depths[span.Phase]++
			kinds[span.Kind]++
			if span.State == run.Failed {
				failures[span.Component] = span.Error
				continue
			}
			require.Equal(t, run.Done, span.State, span.ID)
			require.Positive(t, span.DurationMS, span.ID)
			require.Positive(t, span.ToolUses, span.ID)
			if span.Phase != "synthesis" {
				require.Positive(t, span.QueuedMS, span.ID)
				require.Equal(t, span.Component, span.Name)
			}
		case span.Kind == telemetry.KindLLM || span.Kind == telemetry.KindTool:
			require.NotEmpty(t, span.Agent, span.ID)
			require.Equal(t, run.Done, span.State, span.ID)
		}
	}
	const crash = "Error: component analyzer crashed: [Errno 17] File exists: '/home/user/.burr/flashlight'"
	assert.Equal(t, map[string]string{"@eigenda/contracts": crash, "core": crash, "crypto": crash}, failures)
	assert.Equal(t, map[string]int{
		"library_depth_0": 9, "library_depth_1": 13, "library_depth_2": 10, "library_depth_3": 1, "synthesis": 1,
	}, depths)
	assert.Equal(t, map[string]int{"library-analysis": 26, "application-analysis": 7, "synthesis": 1}, kinds)

	totals := state.Totals()
	assert.Equal(t, 34, totals.Agents)
	assert.Equal(t, 31, totals.Done)
	assert.Equal(t, 3, totals.Failed)
	assert.Equal(t, 3, totals.Errors)
	assert.Zero(t, totals.Lost+totals.ToolErrors)
	assert.Equal(t, 30*4+4, totals.LLMCalls)
	assert.EqualValues(t, burrToolUses, totals.ToolUses)
	assert.Zero(t, totals.Tokens)

	type phase struct {
		name   string
		agents int
		errors int
		wall   int64
		most   int
	}
	got := []phase{}
	for _, p := range state.Phases() {
		got = append(got, phase{p.Name, p.Agents, p.Errors, p.WallMS, state.MaxParallel(p.Name)})
	}
	assert.Equal(t, []phase{
		{"discovery", 0, 0, 1, 0}, {"library_depth_0", 9, 3, 2639, 4}, {"library_depth_1", 13, 0, 4748, 4},
		{"library_depth_2", 10, 0, 4146, 4}, {"library_depth_3", 1, 0, 813, 1}, {"synthesis", 1, 0, 1076, 1},
	}, got)
}

// burrToolUses is what the recorded logs hold, counted by the ids of the calls,
// and the turns of the synthesis.
const burrToolUses = 136 + 5

func TestBurrFold(t *testing.T) {
	events, err := os.ReadFile(filepath.Join(burrFolder, "events.jsonl"))
	require.NoError(t, err)
	var list []telemetry.Event
	for line := range bytes.Lines(events) {
		ev, err := telemetry.Decode(line)
		require.NoError(t, err)
		ev.Raw = nil
		list = append(list, ev)
	}
	state := fold(t, list)
	checkBurrRun(t, state)
	span, ok := state.Span("burr:subagent-component-analyzer-encoding")
	require.True(t, ok)
	assert.Equal(t, "library-analysis", span.Kind)
	assert.EqualValues(t, 1299, span.DurationMS)
	assert.JSONEq(t, `"flashlight"`, string(attr(t, span, burrProjectAttr)))
	pipeline, ok := state.Span("burr:flashlight-eigenda/run")
	require.True(t, ok)
	assert.Equal(t, telemetry.KindOrchestrator, pipeline.Kind)
	assert.Equal(t, run.Done, pipeline.State)
	depth, ok := state.Span("burr:flashlight-eigenda/run#2")
	require.True(t, ok)
	assert.JSONEq(t, `4`, string(attr(t, depth, "max_parallel")))
	assert.Equal(t, pipeline.ID, depth.Parent)
}

// However the writes fall between the looks, the run is the same.
func TestBurrChunks(t *testing.T) {
	writes := burrFixture(t)
	random := rand.New(rand.NewPCG(3, 4))
	for range 6 {
		home, r := t.TempDir(), &record{}
		tail := newBurrTail(r.add, time.UTC, home)
		for _, w := range writes {
			for len(w.text) > 0 {
				n := min(len(w.text), 1+random.IntN(40_000))
				burrWrite{w.rel, w.text[:n], w.at}.write(t, home)
				w.text = w.text[n:]
				if random.IntN(20) == 0 {
					tail.look(t.Context(), coldLooks)
				}
			}
		}
		require.NoError(t, tail.Close(t.Context()))
		checkBurrRun(t, fold(t, r.all()))
	}
}

// The second run of the same pipeline, beside the logs of the first.
func TestBurrSecondRun(t *testing.T) {
	writes := burrFixture(t)
	for name, cold := range map[string]int{"in one burst": -1, "as it goes": 3, "only what the pipeline names is looked at": 0} {
		t.Run(name, func(t *testing.T) {
			home, r := t.TempDir(), &record{}
			for _, w := range writes {
				w.write(t, home)
			}
			torn := burrWrite{rel: "flashlight/subagent-component-analyzer-encoding/log.jsonl", text: `{"type":"begin`}
			torn.write(t, home)
			tail := newBurrTail(r.add, time.UTC, home)
			require.Empty(t, r.all())
			for _, w := range writes {
				if !strings.HasSuffix(w.rel, "log.jsonl") {
					continue
				}
				w.rel = strings.Replace(w.rel, "flashlight-eigenda/run/", "flashlight-eigenda/run2/", 1)
				w.write(t, home)
				if cold > 0 {
					tail.look(t.Context(), cold)
				}
			}
			if cold == 0 {
				tail.look(t.Context(), 0)
			}
			require.NoError(t, tail.Close(t.Context()))
			for _, ev := range r.all() {
				require.NotEqual(t, telemetry.Log, ev.Type, ev.Message)
			}
			checkBurrRun(t, fold(t, r.all()))
		})
	}
}

// The real thing: written by a process of its own pace while it is followed.
func TestFollowBurr(t *testing.T) {
	writes := burrFixture(t)
	home, r := t.TempDir(), &record{}
	tail := FollowBurr(r.add, time.UTC, home)
	for i, w := range writes {
		w.write(t, home)
		if i == len(writes)/2 {
			// What was written is seen while the logs go on, without a Close.
			require.Eventually(t, func() bool { return len(r.all()) > 100 }, 10*time.Second, time.Millisecond)
		}
	}
	require.NoError(t, tail.Close(t.Context()))
	checkBurrRun(t, fold(t, r.all()))
}

func TestBurrNoHome(t *testing.T) {
	r := &record{}
	tail := FollowBurr(r.add, time.UTC, filepath.Join(t.TempDir(), "nowhere"))
	require.NoError(t, tail.Close(t.Context()))
	require.Empty(t, r.all())
}

func TestBurrCloseContext(t *testing.T) {
	home, r := t.TempDir(), &record{}
	tail := newBurrTail(r.add, time.UTC, home)
	burrWrite{rel: "p/a/log.jsonl", text: strings.Repeat(`{"type":"end_stream"}`+"\n", 10_000)}.write(t, home)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, tail.Close(ctx), context.Canceled)
	assert.Less(t, len(r.all()), 1000)
}

// step is a begin and an end of an action.
func step(seq int, action string, from, to float64, more string) string {
	return fmt.Sprintf(`{"type":"begin_entry","start_time":%q,"action":%q,"sequence_id":%d}`+"\n"+
		`{"type":"end_entry","end_time":%q,"action":%q,"sequence_id":%d,"exception":null%s}`+"\n", at(from), action, seq, at(to), action, seq, more)
}

// Files and directories that come, go and change while they are followed.
func TestBurrFiles(t *testing.T) {
	type do func(t *testing.T, home string)
	app := "p/a"
	appends := func(rel, text string) do {
		return func(t *testing.T, home string) { burrWrite{rel: rel + "/log.jsonl", text: text}.write(t, home) }
	}
	removes := func(rel string) do {
		return func(t *testing.T, home string) { require.NoError(t, os.RemoveAll(filepath.Join(home, ".burr", rel))) }
	}
	one := step(0, "x", 1, 2, "")
	two := step(1, "y", 3, 4, "")
	start, x, y, done := "start p/a agent a @1", []string{"start p/a#0 in p/a task x @1", "end p/a#0 ok @2"},
		[]string{"start p/a#1 in p/a task y @3", "end p/a#1 ok @4"}, func(s string) string { return "end p/a ok inferred @" + s }
	list := func(parts ...any) (out []string) {
		for _, p := range parts {
			switch p := p.(type) {
			case string:
				out = append(out, p)
			case []string:
				out = append(out, p...)
			}
		}
		return out
	}
	cases := map[string]struct {
		before do
		after  []do
		want   []string
	}{
		"appears":      {nil, []do{appends(app, one), appends(app, two)}, list(start, x, y, done("4"))},
		"was there":    {appends(app, one), []do{appends(app, two)}, list("start p/a agent a @3", y, done("4"))},
		"said nothing": {appends(app, one), nil, list()},
		"half lines":   {nil, []do{appends(app, one[:20]), appends(app, one[20:]), appends(app, two), appends(app, `{"type"`)}, list(start, x, y, done("4"), "LOG its end was never written")},
		"garbage": {nil, []do{appends(app, "x\n\x00\n{}\n[]\n"+`{"type":7}`+"\n"+one+"\xff\xfe\n"), appends(app, two)},
			list("LOG not a JSON object of the expected shape", start, x, y, done("4"), "LOG 6 lines were left out")},
		"unknown lines": {nil, []do{appends(app, one+`{"type":"of a later version"}`+"\n")}, list(start, x, done("2"))},
		"truncated": {appends(app, one+two), []do{func(t *testing.T, home string) {
			require.NoError(t, os.Truncate(filepath.Join(home, ".burr/p/a/log.jsonl"), 0))
		}, appends(app, one)}, list(start, x, done("2"))},
		"truncated while read": {nil, []do{appends(app, one), func(t *testing.T, home string) {
			require.NoError(t, os.Truncate(filepath.Join(home, ".burr/p/a/log.jsonl"), 0))
		}, appends(app, two)}, list(start, x, y, done("4"))},
		"replaced": {nil, []do{appends(app, one), func(t *testing.T, home string) {
			path := filepath.Join(home, ".burr/p/a/log.jsonl")
			put(t, path+".new", two)
			require.NoError(t, os.Rename(path+".new", path))
		}}, list(start, x, y, done("4"))},
		"removed and made again": {nil, []do{appends(app, one), removes("p/a"), appends(app, two)}, list(start, x, y, done("4"))},
		"all removed":            {nil, []do{appends(app, one), removes("")}, list(start, x, done("2"))},
		"all removed, all again": {appends("q/b", one), []do{appends(app, one), removes(""), appends(app, two)}, list(start, x, y, done("4"))},
		"a slash in the id": {nil, []do{appends("p/a", one), appends("p/a/b/c", two)}, list(start, x,
			"start p/a/b/c agent a/b/c @3", "start p/a/b/c#1 in p/a/b/c task y @3", "end p/a/b/c#1 ok @4", done("2"), "end p/a/b/c ok inferred @4")},
		"no app, too deep, no log": {nil, []do{
			appends("", one), appends("p", one), appends("p/a/1/2/3/4/5/6", one),
			func(t *testing.T, home string) {
				require.NoError(t, os.MkdirAll(filepath.Join(home, ".burr/p/d/log.jsonl"), 0o700))
			},
			func(t *testing.T, home string) {
				require.NoError(t, os.MkdirAll(filepath.Join(home, ".burr/p/l"), 0o700))
			},
			func(t *testing.T, home string) {
				require.NoError(t, os.Symlink("/dev/zero", filepath.Join(home, ".burr/p/l/log.jsonl")))
			},
			func(t *testing.T, home string) {
				require.NoError(t, os.Symlink(".", filepath.Join(home, ".burr/p/again")))
			},
		}, list()},
		"the tracker's directory is a file, then one": {
			func(t *testing.T, home string) { put(t, filepath.Join(home, ".burr"), "") }, []do{removes(""), appends(app, one)}, list(start, x, done("2")),
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			home, r := t.TempDir(), &record{}
			if c.before != nil {
				c.before(t, home)
			}
			tail := newBurrTail(r.add, time.UTC, home)
			for _, step := range c.after {
				step(t, home)
				tail.look(t.Context(), coldLooks)
			}
			require.NoError(t, tail.Close(t.Context()))
			got := []string{}
			for i, line := range brief(r.all()) {
				if ev := r.all()[i]; ev.Type == telemetry.Log {
					line = "LOG " + ev.Message[strings.LastIndex(ev.Message, ": ")+2:]
				}
				got = append(got, strings.ReplaceAll(line, "burr:", ""))
			}
			if c.want == nil {
				c.want = []string{}
			}
			assert.Equal(t, c.want, got)
		})
	}
}

// Old apps by the thousand are found again in turn, and cost next to nothing.
func TestBurrManyOldApps(t *testing.T) {
	home, r := t.TempDir(), &record{}
	const old = 1000
	for i := range old {
		burrWrite{rel: fmt.Sprintf("p/old-%d/log.jsonl", i), text: step(0, "x", 1, 2, "")}.write(t, home)
	}
	tail := newBurrTail(r.add, time.UTC, home)
	require.Len(t, tail.cold, old)
	require.Len(t, tail.hot, 2)
	burrWrite{rel: "p/old-777/log.jsonl", text: step(1, "y", 3, 4, "")}.write(t, home)
	looks := 0
	for ; len(r.all()) == 0; looks++ {
		require.LessOrEqual(t, looks, old/coldLooks+1)
		tail.look(t.Context(), coldLooks)
	}
	require.Len(t, tail.hot, 3)
	require.Len(t, tail.cold, old-1)
	for range hotLooks + 1 { // it falls silent
		tail.look(t.Context(), 0)
	}
	require.Len(t, tail.hot, 2)
	require.Len(t, tail.cold, old)
	burrWrite{rel: "p/old-777/log.jsonl", text: step(2, "z", 5, 6, "")}.write(t, home)
	require.NoError(t, tail.Close(t.Context()))
	assert.Contains(t, text(r.all()), `"name":"z"`)
	for _, d := range slices.Concat(tail.hot, tail.cold) {
		require.True(t, d.log == nil || d.log.file == nil || d.log.file.file == nil, "a descriptor is kept")
	}
}

func BenchmarkBurrIdle(b *testing.B) {
	home := b.TempDir()
	for i := range 1000 {
		burrWrite{rel: fmt.Sprintf("p/old-%d/log.jsonl", i), text: "{}\n"}.write(b, home)
	}
	tail := newBurrTail((&record{}).add, time.UTC, home)
	time.Sleep(10 * time.Millisecond)
	for _, d := range slices.Concat(tail.hot, tail.cold) {
		d.settled = true
	}
	for b.Loop() {
		tail.look(b.Context(), coldLooks)
	}
	runtime.KeepAlive(tail)
}

func FuzzBurr(f *testing.F) {
	var pipeline, agent strings.Builder
	for _, w := range burrFixture(f) {
		switch w.rel {
		case "flashlight-eigenda/run/log.jsonl":
			if len(w.text) < 2000 {
				pipeline.WriteString(w.text)
			}
		case "flashlight/subagent-component-analyzer-core/log.jsonl", "flashlight/subagent-component-analyzer-encoding/log.jsonl":
			agent.WriteString(w.text)
		}
	}
	f.Add([]byte(pipeline.String()), []byte(agent.String()))
	f.Add([]byte(`{"type":"attribute","key":"depth","action_sequence_id":2,"value":"x"}`), []byte(`{"type":"end_entry","action":"respond","state":{"final_response":"Error: x"}}`))
	f.Fuzz(func(t *testing.T, pipeline, agent []byte) {
		var events []telemetry.Event
		run := &burrRun{
			agents: make(map[string]*burrAgent), queued: make(map[string]bool), expect: func(string) {},
			emit: func(ev telemetry.Event) { events = append(events, ev) },
		}
		none := func(string) []byte { return agent }
		apps := []*burrApp{newBurrApp(run, "flashlight-x", "run", none), newBurrApp(run, "flashlight", "subagent-component-analyzer-core", none), newBurrApp(run, "p", "q", none)}
		logs := [][]byte{pipeline, agent, pipeline}
		for i, a := range apps {
			clock := localClock{zone: time.UTC}
			for line := range bytes.Lines(logs[i]) {
				if l, err := decodeBurrLine(line, &clock); err == nil {
					a.line(l)
				}
			}
			a.end()
		}
		sound(t, events, burrSpanPrefix)
	})
}
