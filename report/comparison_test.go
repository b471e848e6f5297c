package report

import (
	"bytes"
	"encoding/json"
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestARunComparedWithItself(t *testing.T) {
	for _, dir := range runDirs(t) {
		s := loadSummary(t, dir)
		c := Compare(s, s, mustThresholds(t, "total_wall_ms>0%,total_tokens>+0,errors>+0")...)
		zeros := func(changes Changes) {
			require.NotEmpty(t, changes)
			for _, change := range changes {
				require.Zero(t, change.Diff, change.Name)
				if change.Percent != nil {
					require.Zero(t, *change.Percent, change.Name)
				}
			}
		}
		zeros(c.Totals)
		require.Len(t, c.Phases, len(s.Phases))
		for _, p := range c.Phases {
			require.Equal(t, Both, p.In)
			zeros(p.Values)
			for _, d := range p.Depths {
				zeros(d.Values)
			}
		}
		require.Len(t, c.Agents, len(s.Agents))
		for _, a := range c.Agents {
			require.Equal(t, Both, a.In)
			require.False(t, a.changed())
			zeros(a.Values)
		}
		require.Empty(t, c.Crossed)
		require.Contains(t, c.Notes, "A and B are the same run")
	}
}

// before and after differ in every way that a comparison shows.
func before() Summary {
	return Summary{
		RunID: "a", Status: "ok", TotalWallMS: 1000, SourceRepo: "https://example.org/a",
		Phases: Phases{
			{Name: "discovery", WallMS: 100},
			{Name: "gone", WallMS: 50, Agents: 1},
			{Name: "library_depth_n", WallMS: 200, Agents: 2, Depths: Phases{{Name: "1", WallMS: 120, Agents: 1}, {Name: "2", WallMS: 80, Agents: 1}}},
			{Name: "gone_too", WallMS: 10},
		},
		Totals: Totals{AgentsSpawned: 3, TotalTokens: 0, Errors: 0, LLMCalls: 4, LLMCallsWithUsage: 3},
		Agents: []Agent{
			{ID: "1", Name: "core", Component: "core", Kind: "library-analysis", Status: "done", WallMS: 100},
			{ID: "2", Name: "TYPE-1", Kind: "agent", Status: "done", WallMS: 10},
			{ID: "3", Name: "twin", Kind: "agent", Status: "done", WallMS: 10},
			{ID: "4", Name: "twin", Kind: "agent", Status: "done", WallMS: 20},
			{ID: "5", Name: "leaves", Kind: "agent", Status: "done", WallMS: 40},
			{ID: "6", Name: "same", Kind: "agent", Status: "done", WallMS: 5},
		},
	}
}

func after() Summary {
	return Summary{
		RunID: "b", Status: "interrupted", TotalWallMS: 1500, SourceRepo: "https://example.org/b",
		Phases: Phases{
			{Name: "discovery", WallMS: 100},
			{Name: "library_depth_n", WallMS: 250, Agents: 1, Depths: Phases{{Name: "1", WallMS: 250, Agents: 1}}},
			{Name: "new", WallMS: 70, Agents: 4, Usage: Usage{CostUSD: 0.5}},
		},
		Totals: Totals{AgentsSpawned: 4, TotalTokens: 900, Errors: 2, CostUSD: 1.25},
		Agents: []Agent{
			{ID: "x", Name: "renamed", Component: "core", Kind: "library-analysis", Status: "error", WallMS: 300},
			{ID: "3", Name: "TYPE-1", Kind: "agent", Status: "done", WallMS: 10, Usage: Usage{Tokens: 7}},
			{ID: "4", Name: "twin", Kind: "agent", Status: "done", WallMS: 11},
			{ID: "5", Name: "twin", Kind: "agent", Status: "done", WallMS: 23},
			{ID: "6", Name: "same", Kind: "agent", Status: "done", WallMS: 5},
			{ID: "7", Name: "comes", Kind: "agent", Status: "done", WallMS: 60},
		},
	}
}

func TestCompare(t *testing.T) {
	c := Compare(before(), after())
	wall, ok := c.Totals.Find("total_wall_ms")
	require.True(t, ok)
	require.Equal(t, 1000.0, *wall.A)
	require.Equal(t, 1500.0, *wall.B)
	require.Equal(t, 500.0, wall.Diff)
	require.Equal(t, 50.0, *wall.Percent)

	tokens, _ := c.Totals.Find("total_tokens")
	require.Equal(t, 900.0, tokens.Diff)
	require.Nil(t, tokens.Percent, "from 0 there is no percentage")
	cost, _ := c.Totals.Find("cost_usd")
	require.Nil(t, cost.A, "no cost was reported")
	require.Equal(t, 1.25, *cost.B)

	var phases []string
	for _, p := range c.Phases {
		phases = append(phases, p.Name+" "+string(p.In))
	}
	require.Equal(t, []string{"new added", "gone removed", "library_depth_n both", "gone_too removed", "discovery both"}, phases)
	require.Equal(t, "1", c.Phases[2].Depths[0].Name)
	require.Equal(t, Removed, c.Phases[2].Depths[1].In)

	var agents []string
	for _, a := range c.Agents {
		agents = append(agents, a.Name+" "+string(a.In))
	}
	require.Equal(t, []string{
		"renamed both", "comes added", "leaves removed", "twin both", "twin both", "TYPE-1 both", "same both",
	}, agents, "the largest change first")
	require.Equal(t, "done", c.Agents[0].StatusA)
	require.Equal(t, "error", c.Agents[0].StatusB)
	twin, _ := c.Agents[3].Values.Find("wall_ms")
	require.Equal(t, 3.0, twin.Diff, "the second with the second")
	gone, _ := c.Agents[2].Values.Find("wall_ms")
	require.Nil(t, gone.B)
	require.Equal(t, -40.0, gone.Diff)

	require.Equal(t, []string{
		"A and B are about different sources: https://example.org/a, https://example.org/b",
		"the tokens of A are a lower bound: 3 of 4 LLM calls told theirs",
		"B was interrupted: its figures are those of a part",
	}, c.Notes)
}

func TestComparisonDocument(t *testing.T) {
	c := Compare(before(), after(), mustThresholds(t, "total_wall_ms>10%,errors>0,total_tokens>20%")...)
	b := documentOf(t, c)
	golden(t, filepath.Join("testdata", "comparison.json"), b)
	var again Comparison
	require.NoError(t, json.Unmarshal(b, &again))
	require.Equal(t, string(b), string(documentOf(t, again)), "what is read is what was written")
}

func TestComparisonText(t *testing.T) {
	var b bytes.Buffer
	c := Compare(before(), after(), mustThresholds(t, "total_wall_ms>10%,errors>0,total_tokens>20%")...)
	require.NoError(t, ComparisonText(&b, c, TextOptions{Width: 110}))
	b.WriteString("\n")
	require.NoError(t, ComparisonText(&b, c, TextOptions{Width: 40}))
	b.WriteString("\n")
	s := loadSummary(t, "../testdata/runs/troubled")
	require.NoError(t, ComparisonText(&b, Compare(s, s), TextOptions{Width: 80}))
	golden(t, filepath.Join("testdata", "comparison.txt"), b.Bytes())
}

func TestDifferenceIsFinite(t *testing.T) {
	values := []float64{0, 5e-324, 1, 1 << 61, 1e300, math.MaxFloat64}
	for _, a := range values {
		for _, b := range values {
			diff, percent := difference(&a, &b)
			require.False(t, math.IsNaN(diff) || math.IsInf(diff, 0))
			if percent != nil {
				require.False(t, math.IsNaN(*percent) || math.IsInf(*percent, 0), "%v %v", a, b)
			}
		}
	}
	require.Empty(t, Compare(Summary{}, Summary{}).Agents)
	b := documentOf(t, Compare(Summary{}, Summary{}))
	require.Contains(t, string(b), `"agents": []`)
	require.Contains(t, string(b), `"phases": []`)
	require.Contains(t, string(b), `"crossed": []`)
}

func mustThresholds(t *testing.T, s string) []Threshold {
	t.Helper()
	thresholds, err := ParseThresholds(s)
	require.NoError(t, err)
	return thresholds
}

func TestParseThresholds(t *testing.T) {
	require.Equal(t, []Threshold{
		{Measure: "total_wall_ms", Op: ">", Limit: 10, Percent: true},
		{Measure: "total_tokens", Op: ">", Limit: 20, Percent: true},
		{Measure: "errors", Op: ">", Limit: 0},
	}, mustThresholds(t, "total_wall_ms>10%,total_tokens>20%,errors>0"))
	require.Equal(t, []Threshold{
		{Measure: "total_wall_ms", Op: ">=", Limit: 5000, Relative: true},
		{Measure: "total_tool_uses", Op: "<", Limit: -12.5, Percent: true},
		{Measure: "phases.a.b.tokens", Op: "<=", Limit: -3, Relative: true},
	}, mustThresholds(t, " total_wall_ms >= +5000 , total_tool_uses<-12.5% ,phases.a.b.tokens <= -3"))
	for in, says := range map[string]string{
		"":                                  "write MEASURE>NUMBER",
		",":                                 "write MEASURE>NUMBER",
		"errors>0,":                         "write MEASURE>NUMBER",
		"errors":                            "write MEASURE>NUMBER",
		"errors>":                           "write MEASURE>NUMBER",
		">0":                                "write MEASURE>NUMBER",
		"errors=0":                          "write MEASURE>NUMBER",
		"errors==0":                         "write MEASURE>NUMBER",
		"errors>NaN":                        "write MEASURE>NUMBER",
		"errors>Inf":                        "write MEASURE>NUMBER",
		"errors>0x10":                       "write MEASURE>NUMBER",
		"errors>1e3":                        "write MEASURE>NUMBER",
		"errors>1%%":                        "write MEASURE>NUMBER",
		"errors>1ms":                        "write MEASURE>NUMBER",
		"errors>1_000":                      "write MEASURE>NUMBER",
		"wall>10%":                          `no measure is called "wall": there are total_wall_ms, agents_spawned`,
		"phases.synthesis>10%":              `no measure is called "phases.synthesis"`,
		"phases.synthesis.wall>10%":         `no measure is called "wall": there are wall_ms`,
		"phases..wall_ms>10%":               `no measure is called "phases..wall_ms"`,
		"errors>" + string(make([]byte, 1)): "write MEASURE>NUMBER",
	} {
		_, err := ParseThresholds(in)
		require.ErrorContains(t, err, says, in)
	}
}

func TestThresholds(t *testing.T) {
	type values struct{ wall, tokens, errors int64 }
	summary := func(v values) Summary {
		return Summary{TotalWallMS: v.wall, Totals: Totals{TotalTokens: v.tokens, Errors: v.errors}, Phases: Phases{{Name: "a.b", WallMS: v.wall}}}
	}
	for _, tc := range []struct {
		threshold string
		a, b      values
		reason    string
	}{
		{"total_wall_ms>10%", values{wall: 1000}, values{wall: 1100}, ""},
		{"total_wall_ms>10%", values{wall: 1000}, values{wall: 1101}, "total_wall_ms went from 1.00s to 1.10s (+10.1%)"},
		{"total_wall_ms>=10%", values{wall: 1000}, values{wall: 1100}, "total_wall_ms went from 1.00s to 1.10s (+10.0%)"},
		{"total_wall_ms>10%", values{wall: 1000}, values{wall: 10}, ""},
		{"total_wall_ms>+99", values{wall: 1000}, values{wall: 1099}, ""},
		{"total_wall_ms>+99", values{wall: 1000}, values{wall: 1100}, "total_wall_ms went from 1.00s to 1.10s (+100ms)"},
		{"total_wall_ms>1099", values{wall: 5000}, values{wall: 1100}, "total_wall_ms is 1.10s in B"},
		{"errors>0", values{errors: 3}, values{errors: 3}, "errors is 3 in B"},
		{"errors>0", values{errors: 3}, values{}, ""},
		{"errors>+0", values{errors: 3}, values{errors: 3}, ""},
		{"total_tokens>20%", values{}, values{tokens: 1}, "total_tokens went from 0 to 1"},
		{"total_tokens>20%", values{}, values{}, ""},
		{"total_tokens>=0%", values{}, values{}, "total_tokens went from 0 to 0"},
		{"total_tokens<-20%", values{tokens: 100}, values{tokens: 79}, "total_tokens went from 100 to 79 (-21.0%)"},
		{"total_tokens<-20%", values{tokens: 100}, values{tokens: 80}, ""},
		{"total_tokens<-20%", values{}, values{tokens: 80}, ""},
		{"total_tokens<=100", values{}, values{tokens: 100}, "total_tokens is 100 in B"},
		{"phases.a.b.wall_ms>10%", values{wall: 1000}, values{wall: 2000}, "phases.a.b.wall_ms went from 1.00s to 2.00s (+100.0%)"},
		{"phases.c.wall_ms>10%", values{}, values{}, "phases.c.wall_ms is in neither run"},
		{"cost_usd>10%", values{}, values{}, "cost_usd is not known in B"},
	} {
		c := Compare(summary(tc.a), summary(tc.b), mustThresholds(t, tc.threshold)...)
		if tc.reason == "" {
			require.Empty(t, c.Crossed, "%s %v %v", tc.threshold, tc.a, tc.b)
			continue
		}
		require.Len(t, c.Crossed, 1, "%s %v %v", tc.threshold, tc.a, tc.b)
		require.Equal(t, tc.reason, c.Crossed[0].Reason)
		require.Equal(t, tc.threshold, c.Crossed[0].Threshold)
	}
	c := Compare(before(), after(), mustThresholds(t, "cost_usd>5%,phases.gone.wall_ms>5%,phases.new.wall_ms>5%")...)
	require.Len(t, c.Crossed, 3, "what can not be judged is not passed")
	require.Equal(t, "cost_usd is not known in A", c.Crossed[0].Reason)
	require.Equal(t, "phases.gone.wall_ms is not known in B", c.Crossed[1].Reason)
	require.Equal(t, "phases.new.wall_ms is not known in A", c.Crossed[2].Reason)
}

func FuzzParseThresholds(f *testing.F) {
	f.Add("total_wall_ms>10%,total_tokens>20%,errors>0")
	f.Add("phases.a.b.wall_ms<=-3.50 , lost>=+00012")
	f.Add("cost_usd>-0%")
	f.Fuzz(func(t *testing.T, s string) {
		thresholds, err := ParseThresholds(s)
		if err != nil {
			return
		}
		for _, th := range thresholds {
			again, err := ParseThresholds(th.String())
			if err != nil || len(again) != 1 || again[0].String() != th.String() || again[0].Relative != th.Relative {
				t.Fatalf("%q is written as %q and read as %v, %v", s, th.String(), again, err)
			}
		}
		Compare(before(), after(), thresholds...)
		CompareSets(runsOf("a", 5, 6, 7, 8), runsOf("b", 6, 7, 8, 9), thresholds...)
	})
}
