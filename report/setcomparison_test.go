package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// runsOf makes a set whose runs took these wall times.
func runsOf(name string, walls ...int64) RunSet {
	set := RunSet{Name: name}
	for i, wall := range walls {
		set.Runs = append(set.Runs, Summary{
			RunID: fmt.Sprintf("%s-%d", name, i), Status: "ok", TotalWallMS: wall,
			Phases: Phases{{Name: "discovery", WallMS: 100}, {Name: deepName, WallMS: wall / 2, Depths: Phases{{Name: "1", WallMS: wall / 2}}}},
			Totals: Totals{AgentsSpawned: 1, TotalTokens: 1000, LLMCalls: 10, LLMCallsWithUsage: 10},
			Work:   &Work{AgentMS: wall / 2, LLMMS: wall / 4, LLMTimed: 10},
			Agents: []Agent{{ID: "x", Name: "core", Kind: "agent", Phase: "library_depth_1", Status: "done", WallMS: wall / 2, Usage: Usage{Tokens: 1000}}},
		})
	}
	return set
}

// orders calls visit with every way to choose n of the values.
func orders(values []float64, n int, visit func(chosen, rest []float64)) {
	var walk func(i int, chosen, rest []float64)
	walk = func(i int, chosen, rest []float64) {
		switch {
		case len(chosen) == n:
			visit(chosen, slices.Concat(rest, values[i:]))
		case i < len(values):
			walk(i+1, append(slices.Clone(chosen), values[i]), rest)
			walk(i+1, chosen, append(slices.Clone(rest), values[i]))
		}
	}
	walk(0, nil, nil)
}

// statistic is Mann and Whitney's U by its definition.
func statistic(a, b []float64) (u float64) {
	for _, x := range a {
		for _, y := range b {
			switch {
			case x > y:
				u++
			case x == y:
				u += .5
			}
		}
	}
	return u
}

// The p-value is the share of all orders that are as far from the middle.
func TestChance(t *testing.T) {
	for _, tc := range [][2][]float64{
		{{1, 2, 3, 4}, {5, 6, 7, 8}},
		{{1, 2, 3, 4, 5}, {6, 7, 8, 9, 10}},
		{{1, 3, 5, 7}, {2, 4, 6, 8}},
		{{1}, {2, 3, 4, 5, 6}},
		{{1, 1, 2, 5, 9}, {1, 2, 2, 3}},
		{{0, 0, 0, 0, 0}, {0, 0, 1, 2, 0}},
	} {
		a, b := sampleOf(tc[0]), sampleOf(tc[1])
		middle := float64(a.N*b.N) / 2
		far, all := 0.0, 0.0
		observed := math.Abs(statistic(tc[0], tc[1]) - middle)
		orders(slices.Concat(tc[0], tc[1]), a.N, func(x, y []float64) {
			if all++; math.Abs(statistic(x, y)-middle) >= observed {
				far++
			}
		})
		p, ok := chance(&a, &b)
		require.True(t, ok)
		require.InDelta(t, far/all, p, 1e-9, "%v", tc)
	}
	same := sampleOf([]float64{5, 5, 5, 5})
	p, ok := chance(&same, &same)
	require.True(t, ok)
	require.Equal(t, 1.0, p)
	none := sampleOf(nil)
	_, ok = chance(&none, &same)
	require.False(t, ok)
}

func TestTestable(t *testing.T) {
	for _, tc := range []struct {
		n, m int
		want bool
	}{
		{0, 9, false}, {1, 1, false}, {1, 5, false}, {3, 3, false}, {3, 4, false}, {3, 5, true}, {4, 4, true}, {2, 8, true}, {2, 7, false},
		{1, 39, false}, {1, 40, true}, {1000, 1000, true},
	} {
		require.Equal(t, tc.want, testable(tc.n, tc.m), "%d %d", tc.n, tc.m)
		require.Equal(t, tc.want, testable(tc.m, tc.n), "%d %d", tc.m, tc.n)
	}
}

// The interval leaves out as many differences at each end as orders allow.
func TestInterval(t *testing.T) {
	a, b := sampleOf([]float64{1, 2, 3, 4}), sampleOf([]float64{11, 12, 13, 14})
	low, high, ok := interval(&a, &b)
	require.True(t, ok)
	require.Equal(t, []float64{7, 13}, []float64{low, high}, "of 4 and 4 all differences are in it")
	for _, size := range [][2]int{{4, 4}, {3, 5}, {5, 5}, {6, 4}, {2, 8}, {7, 6}} {
		n, m := size[0], size[1]
		values := make([]float64, n+m)
		for i := range values {
			values[i] = float64(i)
		}
		counts, all := make([]float64, n*m+1), 0.0
		orders(values, n, func(x, y []float64) { counts[int(statistic(x, y))]++; all++ })
		below, want := 0.0, 0
		for want < n*m && below+counts[want] <= alpha/2*all {
			below += counts[want]
			want++
		}
		require.Equal(t, max(0, want-1), outsideOf(n, m), "%v", size)
	}
	for _, size := range [][2]int{{20, 21}, {50, 9}, {200, 200}} { // where the normal distribution stands for it
		require.Less(t, 2*outsideOf(size[0], size[1]), size[0]*size[1])
	}
	require.InDelta(t, outsideOf(20, 20), outsideOf(20, 21), 10, "both meet")
}

func TestSetVerdicts(t *testing.T) {
	base := []int64{1000, 1010, 1005, 995, 990}
	for _, tc := range []struct {
		name       string
		a, b       []int64
		thresholds string
		verdict    Verdict
		crossed    int
	}{
		{"the same", base, base, "", Pass, 0},
		{"clearly slower", base, []int64{1200, 1210, 1190, 1205, 1215}, "", Regressed, 0},
		{"clearly faster", base, []int64{800, 810, 790, 805, 815}, "", Pass, 0},
		{"slower, but within 5 %", base, []int64{1020, 1030, 1025, 1015, 1010}, "", Pass, 0},
		{"noisy", []int64{500, 1500, 1000, 700, 1300}, []int64{600, 1400, 1100, 800, 1250}, "", Inconclusive, 0},
		{"one run each", base[:1], []int64{2000}, "", Inconclusive, 0},
		{"three runs each", base[:3], []int64{2000, 2001, 2002}, "", Inconclusive, 0},
		{"a single new run", base, []int64{2000}, "", Inconclusive, 0},
		{"a single new run over a threshold", base, []int64{2000}, "total_wall_ms>10%", Inconclusive, 1},
		{"a wider threshold", base, []int64{1200, 1210, 1190, 1205, 1215}, "total_wall_ms>25%", Pass, 0},
		{"a threshold is crossed", base, []int64{1200, 1210, 1190, 1205, 1215}, "total_wall_ms>10%", Regressed, 1},
		{"noise crosses none", []int64{500, 1500, 1000, 700, 1300}, []int64{600, 1600, 1200, 800, 1450}, "total_wall_ms>10%", Inconclusive, 0},
		{"an amount", base, []int64{1200, 1210, 1190, 1205, 1215}, "total_wall_ms>+100", Regressed, 1},
		{"a value", base, base, "total_wall_ms>999", Pass, 1},
		{"faster is not wanted", base, []int64{800, 810, 790, 805, 815}, "total_wall_ms<-10%", Regressed, 1},
		{"it must get better", base, []int64{980, 990, 985, 975, 970}, "total_wall_ms>-5%", Pass, 1},
		{"it got better", base, []int64{800, 810, 790, 805, 815}, "total_wall_ms>-5%", Pass, 0},
		{"a phase", base, []int64{1200, 1210, 1190, 1205, 1215}, "total_wall_ms>50%,phases.library_depth_1.wall_ms>10%", Regressed, 1},
		{"no such phase", base, base, "phases.nosuch.wall_ms>10%", Pass, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var thresholds []Threshold
			if tc.thresholds != "" {
				thresholds = mustThresholds(t, tc.thresholds)
			}
			c := CompareSets(runsOf("a", tc.a...), runsOf("b", tc.b...), thresholds...)
			require.Equal(t, tc.verdict, c.Verdict, c.Reason)
			require.NotEmpty(t, c.Reason)
			require.Len(t, c.Crossed, tc.crossed)
			for _, crossing := range c.Crossed {
				require.NotEmpty(t, crossing.Reason)
			}
		})
	}
}

func TestSetVerdictsOfCounts(t *testing.T) {
	with := func(errors ...int64) RunSet {
		set := runsOf("x", 1000, 1001, 1002, 1003, 1004)
		for i := range set.Runs {
			set.Runs[i].Totals.Errors = errors[i]
		}
		return set
	}
	none := with(0, 0, 0, 0, 0)
	require.Equal(t, Pass, CompareSets(none, none).Verdict)
	require.Equal(t, Regressed, CompareSets(none, with(1, 2, 1, 1, 3)).Verdict)
	require.Equal(t, Pass, CompareSets(with(1, 2, 1, 1, 3), none).Verdict)
	require.Equal(t, Pass, CompareSets(none, with(0, 0, 0, 0, 1)).Verdict, "one in five is what the range shows")
	fewer := runsOf("x", 1000, 1001, 1002, 1003, 1004)
	more := runsOf("x", 1000, 1001, 1002, 1003, 1004)
	for i := range more.Runs {
		fewer.Runs[i].Totals.AnalysesWritten, more.Runs[i].Totals.AnalysesWritten = 44, 45
	}
	require.Equal(t, Regressed, CompareSets(more, fewer).Verdict, "an analysis is missing")
	require.Equal(t, Pass, CompareSets(fewer, more).Verdict)
}

func TestAlignmentOfSets(t *testing.T) {
	a, b := runsOf("a", 1000, 1010, 1020, 1030), runsOf("b", 1000, 1010, 1020, 1030)
	b.Runs[0].Agents = nil
	for i := range b.Runs {
		if i > 0 {
			b.Runs[i].Agents[0].Phase = "library_depth_2"
		}
		b.Runs[i].Phases = append(b.Runs[i].Phases, Phase{Name: "new", WallMS: 5})
	}
	a.Runs[3].Phases = append(a.Runs[3].Phases, Phase{Name: "gone", WallMS: 5})
	a.Runs[1].Agents[0].Status = "error"
	c := CompareSets(a, b)
	var phases []string
	for _, p := range c.Phases {
		phases = append(phases, fmt.Sprintf("%s %s %d %d", p.Name, p.In, p.RunsA, p.RunsB))
	}
	require.Equal(t, []string{"new added 0 4", "gone removed 1 0", "discovery both 4 4", "library_depth_n both 4 4", "library_depth_1 both 4 4"}, phases)
	require.Len(t, c.Agents, 1)
	g := c.Agents[0]
	require.Equal(t, [2]int{4, 3}, [2]int{g.RunsA, g.RunsB})
	require.Equal(t, [2]int{1, 0}, [2]int{g.FailedA, g.FailedB})
	require.Equal(t, [2]string{"library_depth_1", "library_depth_2"}, [2]string{g.PhaseA, g.PhaseB})
	require.Equal(t, 3, g.Values.Find("wall_ms").B.N)
	require.Nil(t, g.Values.Find("nosuch"))
}

func TestSetNotes(t *testing.T) {
	a, b := runsOf("a", 1000, 1010), runsOf("b", 1000)
	b.Runs[0] = a.Runs[0]
	b.Runs[0].Status = "error"
	b.Runs[0].Totals.LLMCallsWithUsage = 3
	b.Runs[0].SourceRepo, a.Runs[1].SourceRepo = "https://example.org/b", "https://example.org/a"
	require.Equal(t, []string{
		"1 run in both A and B: the sets are not independent, so the test sees less than there is",
		"the runs are about different sources: https://example.org/a and https://example.org/b",
		"B is a single run: nothing is known of how much such runs differ",
		"1 run of 1 in B with status error: their figures may be those of a part",
		"the tokens of 1 run of 1 in B are a lower bound: not all LLM calls told theirs",
	}, setNotes(&a, &b))
}

// A run that was cut short has the figures of a part, so it is no member.
func TestSetsAreOfWholeRuns(t *testing.T) {
	a, b := runsOf("a", 1000, 1010, 990, 1005), runsOf("b", 1000, 1010, 990, 1005, 10, 20, 30)
	want := CompareSets(a, RunSet{Name: b.Name, Runs: b.Runs[:4]})
	require.Equal(t, Pass, want.Verdict)
	b.Runs[4].Status, b.Runs[5].Status, b.Runs[6].Status = "interrupted", "interrupted", "running"
	got := CompareSets(a, b)
	require.Equal(t, []string{
		"1 run of 7 in B with status running left out: its figures would be those of a part",
		"2 runs of 7 in B with status interrupted left out: their figures would be those of a part",
	}, got.Notes)
	require.Equal(t, want.Totals, got.Totals)
	require.Len(t, got.B.Runs, 4)
	require.Len(t, b.Runs, 7, "the caller's set stays as it is")
	require.Empty(t, CompareSets(a, RunSet{Name: "cut", Runs: b.Runs[4:]}).B.Runs)
}

// slower are two sets that differ in every way that is shown.
func slower() (a, b RunSet) {
	a, b = runsOf("logs/a*", 1000, 1010, 1005, 995, 990), runsOf("latest~4..latest", 1200, 1210, 1190, 1205, 1215)
	for i := range b.Runs {
		s := &b.Runs[i]
		s.Totals.TotalTokens, s.Totals.LLMCalls, s.Totals.LLMCallsWithUsage = 1500+int64(i), 12, 12
		s.Work.LLMTimed, s.Work.Retries, s.Work.RetryMS, s.Work.WaitMS, s.Work.RateLimitWaitMS = 12, 1, 20, 60, 50
		a.Runs[i].Work.Retries = 1
		s.Agents[0].Phase, s.Agents[0].Tokens = "library_depth_2", 1500
		s.Agents = append(s.Agents, Agent{ID: "y", Name: "<b>|`new\x1b[31m", Kind: "agent", Status: "done", WallMS: 10})
		s.Totals.Errors = 1
	}
	return a, b
}

func TestSetComparisonDocument(t *testing.T) {
	a, b := slower()
	c := CompareSets(a, b, mustThresholds(t, "total_wall_ms>10%,errors>0")...)
	doc := documentOf(t, c)
	golden(t, filepath.Join("testdata", "sets.json"), doc)
	var again SetComparison
	require.NoError(t, json.Unmarshal(doc, &again))
	require.Equal(t, string(doc), string(documentOf(t, again)), "what is read is what was written")
	empty := string(documentOf(t, CompareSets(RunSet{}, RunSet{})))
	require.NotContains(t, empty, `agents": null`)
	require.Contains(t, empty, `"INCONCLUSIVE"`)
}

func TestSetComparisonText(t *testing.T) {
	a, b := slower()
	c := CompareSets(a, b, mustThresholds(t, "total_wall_ms>10%,errors>0")...)
	var out bytes.Buffer
	require.NoError(t, SetComparisonText(&out, c, TextOptions{Width: 120}))
	out.WriteString("\n")
	require.NoError(t, SetComparisonText(&out, c, TextOptions{Width: 50}))
	out.WriteString("\n")
	require.NoError(t, SetComparisonText(&out, CompareSets(RunSet{Name: "A", Runs: a.Runs[:1]}, b), TextOptions{}))
	golden(t, filepath.Join("testdata", "sets.txt"), out.Bytes())
}

func TestSetsAreFinite(t *testing.T) {
	odd := []int64{0, 1, maxCount, maxCount, 0, 7}
	for _, c := range []SetComparison{
		CompareSets(runsOf("a", odd...), runsOf("b", 0, 0, 0, 0)), CompareSets(runsOf("a", 0, 0, 0, 0), runsOf("b", odd...)),
		CompareSets(RunSet{}, runsOf("b", odd...)),
	} {
		documentOf(t, c) // would fail on NaN
	}
}

// The parts of a change add up to it.
func TestCausesAddUp(t *testing.T) {
	sum := func(list []Cause, of string) (sum float64, unknown int) {
		for _, c := range list {
			switch {
			case c.Of != of:
			case c.Effect == nil:
				require.NotEmpty(t, c.Why)
				unknown++
			default:
				sum += *c.Effect
			}
		}
		return sum, unknown
	}
	full := drivers{wall: 1000, tokens: 500, agents: 4, agentMS: 3000, calls: 10, llmMS: 2000, rateWaitMS: 100, retryMS: 50, known: true, timed: true, metered: true, seen: true}
	more := drivers{wall: 1700, tokens: 900, agents: 5, agentMS: 4100, calls: 14, llmMS: 2500, rateWaitMS: 700, retryMS: 20, known: true, timed: true, metered: true, seen: true}
	for _, tc := range []struct {
		name         string
		a, b         func(*drivers)
		wall, tokens int // parts that are not known
	}{
		{"all is known", func(*drivers) {}, func(*drivers) {}, 0, 0},
		{"no gateway", func(d *drivers) { d.seen, d.rateWaitMS, d.retryMS = false, 0, 0 }, func(d *drivers) { d.seen, d.rateWaitMS, d.retryMS = false, 0, 0 }, 2, 0},
		{"calls without times", func(*drivers) {}, func(d *drivers) { d.timed = false }, 2, 0},
		{"calls without tokens", func(d *drivers) { d.metered = false }, func(*drivers) {}, 0, 2},
		{"no calls", func(d *drivers) { d.calls = 0 }, func(d *drivers) { d.calls = 0 }, 2, 2},
		{"calls that overlap", func(d *drivers) { d.llmMS = 9000 }, func(*drivers) {}, 2, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b := full, more
			tc.a(&a)
			tc.b(&b)
			list := causes(a, b)
			got, unknown := sum(list, "total_wall_ms")
			require.InDelta(t, b.wall-a.wall, got, 1e-6)
			require.Equal(t, tc.wall, unknown)
			got, unknown = sum(list, "total_tokens")
			require.InDelta(t, b.tokens-a.tokens, got, 1e-6)
			require.Equal(t, tc.tokens, unknown)
		})
	}
	list := causes(drivers{wall: 5}, more)
	require.Nil(t, list[0].Effect, "nothing is known of agents")
	sorted := causes(full, more)
	require.True(t, slices.IsSortedFunc(sorted[:6], func(x, y Cause) int { return int(math.Abs(*y.Effect) - math.Abs(*x.Effect)) }))
}

// Names of others are text in a page, whatever they look like.
func TestComparisonMarkdown(t *testing.T) {
	a, b := slower()
	var out bytes.Buffer
	require.NoError(t, SetComparisonMarkdown(&out, CompareSets(a, b, mustThresholds(t, "total_wall_ms>10%")...)))
	out.WriteString("\n")
	require.NoError(t, ComparisonMarkdown(&out, Compare(a.Runs[0], b.Runs[0], mustThresholds(t, "total_wall_ms>10%")...)))
	troubled, planned := loadSummary(t, "../testdata/runs/troubled"), loadSummary(t, "../testdata/runs/eigenda-planned")
	require.NoError(t, ComparisonMarkdown(&out, Compare(planned, troubled)))
	require.NotContains(t, out.String(), "<")
	require.NotContains(t, out.String(), "\x1b")
	require.NotContains(t, out.String(), "||")
	golden(t, filepath.Join("testdata", "comparison.md"), out.Bytes())
}

// manyRuns is a set of runs with many agents, whose values tie now and then.
func manyRuns(name string, runs, agents int, random *rand.Rand) RunSet {
	set := RunSet{Name: name}
	for i := range runs {
		s := Summary{RunID: fmt.Sprintf("%s-%d", name, i), Status: "ok", TotalWallMS: 1000 + random.Int64N(50)}
		for k := range agents {
			s.Agents = append(s.Agents, Agent{Name: fmt.Sprintf("agent-%d", k), Kind: "agent", WallMS: random.Int64N(20), Usage: Usage{Tokens: random.Int64N(5)}})
		}
		set.Runs = append(set.Runs, s)
	}
	return set
}

func BenchmarkCompareSets(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range [][2]int{{5, 500}, {10, 500}, {25, 200}, {50, 200}} {
		x, y := manyRuns("x", size[0], size[1], random), manyRuns("y", size[0], size[1], random)
		b.Run(fmt.Sprintf("%d runs of %d agents", size[0], size[1]), func(b *testing.B) {
			for b.Loop() {
				CompareSets(x, y)
			}
		})
	}
}
