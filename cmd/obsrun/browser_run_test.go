package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/testdata/eigenda"
)

// shownRow is a row of the timeline, as it stands in the page.
type shownRow struct{ ID, Phase, State, Level, Name, Note, Time, Tokens, Tools, Colour string }

// shownPhases are the phases of the profile as the page calls them, with the
// colours of the light theme.
var shownPhases = []struct{ name, label, colour string }{
	{"discovery", "Discovery", "rgb(89, 96, 107)"},
	{"library_depth_0", "Libraries, depth 0", "rgb(15, 92, 173)"},
	{"library_depth_n", "Libraries, depth 1+", "rgb(52, 144, 179)"},
	{"application_analysis", "Applications", "rgb(181, 118, 44)"},
	{"synthesis", "Synthesis", "rgb(92, 22, 80)"},
}

// The run of 35 agents at three moments: how many work, how far it is.
func browseProfileMoments(t *testing.T, b *chromium) {
	for _, moment := range []struct {
		at            time.Duration
		active        int
		phase, queues string
	}{
		{20 * time.Second, 9, "Libraries, depth 0|2 of 5", "agents, 26 queued"},
		{100 * time.Second, 1, "Libraries, depth 1+|3 of 5", "agent, "},
		{200 * time.Second, 10, "Applications|4 of 5", "agents, 1 queued"},
	} {
		t.Run(moment.at.String(), func(t *testing.T) {
			s := playProfile(t, moment.at)
			p := b.open(t, s)
			await(p, 39, `probe.rows().length`)
			await(p, moment.active, `probe.rows().filter((r) => r.id && r.state === "running").length`)
			var totals run.Totals
			s.view(func(state *run.State) { totals = state.Totals() })
			assert.Equal(t, moment.active, totals.Running)
			await(p, moment.phase, `probe.kpi("phase")`)
			await(p, fmt.Sprintf("%d%%|%d of 35 agents", *totals.Percent, totals.Done), `probe.kpi("complete")`)
			p.awaits(fmt.Sprintf(`probe.kpi("active").startsWith("%d|%s")`, moment.active, moment.queues))
			await(p, compactText(totals.Tokens), `probe.kpi("tokens").split("|")[0]`)
			await(p, compactText(totals.ToolUses)+"|", `probe.kpi("tools")`)
			await(p, fmt.Sprintf("%d%% - eigenda", *totals.Percent), `document.title`)
			await(p, fmt.Sprint(moment.active), `document.getElementById("active-count").textContent`)
			await(p, moment.active, `document.querySelectorAll("#active .ac").length`)
			await(p, moment.active, `[...document.querySelectorAll("#rows .bx.running")].filter((b) => Math.abs(probe.box(b).right - probe.nowX()) < 2).length`)
			elapsed := look[string](p, `probe.kpi("elapsed")`)
			assert.Contains(t, []string{clockText(moment.at.Milliseconds()) + "|", clockText(moment.at.Milliseconds()+1000) + "|", clockText(moment.at.Milliseconds()+2000) + "|", clockText(moment.at.Milliseconds()+3000) + "|"}, elapsed)
		})
	}
}

// The run at its end: every agent in its place, five phases in five colours, and
// nothing that has to be scrolled to.
func browseProfileEnd(t *testing.T, b *chromium) {
	s := playProfile(t, wholeProfile)
	p := b.open(t, s)
	await(p, 39, `probe.rows().length`)
	p.frames()
	rows := look[[]shownRow](p, `probe.rows()`)
	type place struct{ level, phase, id, name string }
	var want, got []place
	for _, phase := range shownPhases {
		agents := agentsOf(phase.name)
		id := ""
		if len(agents) == 1 {
			id, agents = agentID(agents[0]), nil // one row says it all
		}
		want = append(want, place{"1", phase.name, id, phase.label})
		for _, a := range agents {
			want = append(want, place{"2", "", agentID(a), a.Name})
		}
	}
	colours := make(map[string]bool)
	current := ""
	for _, row := range rows {
		got = append(got, place{row.Level, row.Phase, row.ID, row.Name})
		assert.Equal(t, "done", row.State, row.ID+row.Phase)
		if row.Phase != "" {
			current = row.Phase
		}
		for _, phase := range shownPhases {
			if phase.name == current {
				assert.Equal(t, phase.colour, row.Colour, row.ID+row.Phase)
			}
		}
		colours[row.Colour] = true
	}
	assert.Equal(t, want, got)
	assert.Len(t, colours, 5)
	assert.True(t, look[bool](p, `(() => { const s = document.getElementById("scroll"); return s.scrollHeight <= s.clientHeight; })()`), "the whole run is in one view")
	assert.True(t, look[bool](p, `document.documentElement.scrollHeight <= innerHeight`))
	assert.Equal(t, 41, look[int](p, `[...document.querySelectorAll("[role=treegrid] [role=row]")].length + 1`), "39 rows and the heads")
	assert.Equal(t, "40", look[string](p, `document.getElementById("scroll").getAttribute("aria-rowcount")`))
	p.closedForGood()
}

func agentsOf(phase string) (agents []eigenda.Agent) {
	for _, a := range eigenda.Load().Agents {
		if a.Phase == phase {
			agents = append(agents, a)
		}
	}
	return agents
}

// Every number on the page is one of the state's.
func browseNumbers(t *testing.T, b *chromium) {
	s := playProfile(t, wholeProfile)
	p := b.open(t, s)
	var all run.Delta
	s.view(func(state *run.State) { all = state.Since(0, 0) })
	await(p, "Finished", `probe.word()`)
	await(p, 39, `probe.rows().length`)
	p.frames()

	for name, want := range map[string]string{
		"elapsed":  "5:12|",
		"phase":    "Finished|5 phases",
		"complete": "100%|35 of 35 agents",
		"active":   "0|agents",
		"tokens":   fmt.Sprintf("1.84 M|mean %.0f k/min", all.Burn.Mean/1000),
		"tools":    "847|",
		"problems": "|",
	} {
		assert.Equal(t, want, look[string](p, fmt.Sprintf(`probe.kpi(%q)`, name)), name)
	}
	byRow := make(map[string]shownRow)
	for _, row := range look[[]shownRow](p, `probe.rows()`) {
		byRow[row.Phase+"/"+row.ID] = row
	}
	for _, phase := range all.Phases {
		id := ""
		if phase.Agents == 1 {
			id = agentID(agentsOf(phase.Name)[0])
		}
		row, ok := byRow[phase.Name+"/"+id]
		require.True(t, ok, phase.Name)
		assert.Equal(t, []string{stopwatchText(phase.WallMS), countText(phase.Tokens), countText(phase.ToolUses)}, []string{row.Time, row.Tokens, row.Tools}, phase.Name)
		if phase.Agents > 1 {
			assert.Equal(t, fmt.Sprintf("%d/%d", phase.Ended, phase.Agents), row.Note)
		}
	}
	agents := 0
	for _, span := range all.Spans {
		if !span.IsAgent {
			continue
		}
		row, ok := byRow["/"+span.ID]
		if !ok {
			row, ok = byRow[span.Phase+"/"+span.ID]
		}
		require.True(t, ok, span.ID)
		assert.Equal(t, []string{stopwatchText(span.DurationMS), countText(span.Tokens), countText(span.ToolUses)}, []string{row.Time, row.Tokens, row.Tools}, span.ID)
		agents++
	}
	assert.Equal(t, 35, agents)

	// The header, and the card of the run.
	assert.Equal(t, stageRun, look[string](p, `document.getElementById("run-id").textContent`))
	assert.Equal(t, "Layr-Labs/eigenda 61019b4", look[string](p, `document.getElementById("run-source").textContent`))
	card := look[string](p, `[...document.querySelectorAll("#detail dt")].map((d) => d.textContent + "=" + d.nextElementSibling.textContent).join(";")`)
	for _, fact := range []string{
		"Status=Finished", "Elapsed=5:12", "Tokens=1.84 M", "Tools=847", "Analyses=45", "Exit status=0",
		"Input=" + compactText(all.Totals.Input), "Output=" + compactText(all.Totals.Output), "Cached=" + compactText(all.Totals.Cached),
	} {
		assert.Contains(t, strings.Split(card, ";"), fact)
	}

	// The card of an agent: its numbers and the tools that it used.
	agent := agentsOf("library_depth_0")[0]
	p.clickRow(agentID(agent))
	await(p, agent.Name, `document.getElementById("detail-name").textContent`)
	p.frames()
	calls := make(map[string]int)
	for _, span := range all.Spans {
		if span.Kind == telemetry.KindTool && span.Agent == agentID(agent) {
			calls[span.Name]++
		}
	}
	shown := make(map[string]int)
	for _, text := range look[[]string](p, `[...document.querySelectorAll("#mix-names span")].map((s) => s.textContent)`) {
		name, count, _ := strings.Cut(text, " ")
		var n int
		_, err := fmt.Sscan(count, &n)
		require.NoError(t, err)
		shown[name] = n
	}
	assert.Equal(t, calls, shown)

	// The critical path covers the run, from one end of the lanes to the other.
	assert.True(t, look[bool](p, `(() => {
		const path = probe.box(document.querySelector("#path path")), axis = probe.box(document.getElementById("ticks"));
		return path.left < axis.left + 4 && path.right > axis.right - 12 && path.right <= axis.right;
	})()`))
}

// The ways that a run can end, and what the page says of them.
func browseEnds(t *testing.T, b *chromium) {
	for _, end := range []struct {
		name               string
		tell               func(s *stage)
		word, phase, title string
		problem            string
	}{
		{"failed", func(s *stage) {
			s.tell(startedSpan("a"))
			s.finish(telemetry.StatusError, map[string]any{"exit_code": 2, "obsrun_exit": 2})
		}, "Failed", "Failed|exit status 2", "1 lost - Failed - eigenda", "The run failed|exit status 2"},
		{"by a signal", func(s *stage) {
			s.tell(startedSpan("a"), endedWell("a"))
			s.finish(telemetry.StatusError, map[string]any{"exit_code": 137, "obsrun_exit": 137, "signal": "killed"})
		}, "Failed", "Failed|exit status 137", "Failed - eigenda", "The run failed|ended by killed"},
		{"interrupted", func(s *stage) {
			s.tell(startedSpan("a"))
			s.recorder.Interrupted("interrupt")
			s.finish(telemetry.StatusError, map[string]any{"exit_code": 130, "obsrun_exit": 130, "signal": "interrupt"})
		}, "Interrupted", "Interrupted|exit status 130", "1 lost - Interrupted - eigenda", "The run was interrupted|ended by interrupt"},
		{"could not start", func(s *stage) {
			s.finish(telemetry.StatusError, map[string]any{"exit_code": 127, "obsrun_exit": 127, "error": "./analyze: not found"})
		}, "Failed", "Failed|exit status 127", "Failed - eigenda", "The run failed|./analyze: not found"},
		{"empty", func(s *stage) {
			s.finish(telemetry.StatusOK, map[string]any{"exit_code": 0})
		}, "Finished", "Finished|", "Finished - eigenda", ""},
	} {
		t.Run(end.name, func(t *testing.T) {
			s := newStage(t, 3*time.Second)
			end.tell(s)
			p := b.open(t, s)
			await(p, end.word, `probe.word()`)
			await(p, end.phase, `probe.kpi("phase")`)
			await(p, end.title, `document.title`)
			await(p, end.problem, `probe.problems().find((text) => text.startsWith("The run")) ?? ""`)
			p.closedForGood()
			p.wholeTicks()
			s.view(func(state *run.State) {
				if state.Totals().Agents == 0 {
					assert.True(t, strings.HasPrefix(look[string](p, `probe.empty()`), "No event was recorded"))
				}
				if span, ok := state.Span("a"); ok {
					assert.Equal(t, span.State, look[string](p, `probe.state("a")`))
				}
			})
		})
	}
}
