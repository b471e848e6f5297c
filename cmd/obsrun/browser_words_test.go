package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// A number of problems means the same wherever it stands, in a run that was
// interrupted too: its phases are lost with their agents, and are told once.
func browseInterrupted(t *testing.T, b *chromium) {
	s := playProfile(t, 100*time.Second)
	s.recorder.Interrupted("interrupt")
	s.finish(telemetry.StatusError, map[string]any{"exit_code": 130, "obsrun_exit": 130, "signal": "interrupt"})
	var totals run.Totals
	s.view(func(state *run.State) { totals = state.Totals() })
	p := b.open(t, s)
	lost := fmt.Sprintf("%d lost", totals.Lost)
	await(p, fmt.Sprintf("%d|%s", totals.Lost, lost), `probe.kpi("problems")`)
	await(p, lost, `document.getElementById("problem-count").textContent`)
	await(p, lost+" - Interrupted - eigenda", `document.title`)
	await(p, totals.Lost+1, `probe.problems().length`)
	await(p, totals.Lost, `probe.problems().filter((text) => text.includes(" was lost|")).length`)
	// What was lost has not ended.
	phases := `probe.rows().filter((r) => r.phase && !r.id).map((r) => r.note).join("; ")`
	done := totals.Done - len(agentsOf("library_depth_0"))
	await(p, fmt.Sprintf("; 9/9; %d/15; 0/10", done), `"; " + `+phases+`.replace(/^; /, "")`)
	p.click(`probe.phase("library_depth_n")`)
	p.press(kb.ArrowLeft)
	await(p, fmt.Sprintf("%d/15, %d lost", done, 15-done), `probe.rows().find((r) => r.phase === "library_depth_n").note`)
	p.awaits(fmt.Sprintf(`document.getElementById("detail-more").textContent.includes("Agents%d of 15 ended") && document.getElementById("detail-more").textContent.includes("Lost%d")`, done, 15-done))
}

// What the watchdog saw is told in sentences.
func browseEvidence(t *testing.T, b *chromium) {
	s := newStage(t, 5*time.Minute)
	s.tellAt(5*time.Second, startedSpan("churner"))
	s.tell(telemetry.Event{
		Type: telemetry.SpanStalled, SpanID: "churner", Source: telemetry.SourceObsrun, IdleMS: telemetry.F(295_000),
		Evidence: telemetry.Attrs(map[string]any{"rule": "silent", "limit_ms": 120_000, "running_ms": 295_000, "last": "span_start", "last_ms": 5000, "cpu_percent": 0.3, "cpu_window_ms": 30_000, "processes": 2, "pid": 7}),
	})
	p := b.open(t, s)
	p.awaits(`/^churner is silent\|no event for \d min, limit 120 s$/.test(probe.problems().join())`)
	p.press("e")
	await(p, "No event for longer than 120 s. Last heard: span start at 0:05. Its 2 processes used 0.3 % of a core in the last 30 s.", `document.querySelector("#detail-now .mono").textContent`)
}

// A view without anything to show says which sources there were, and no view shows
// frames or words before it knows.
func browseNotRecorded(t *testing.T, b *chromium) {
	s := newStage(t, 20*time.Second, "sources", map[string]any{
		"gateway": map[string]any{"on": false, "why": "it is on only where --gateway asks for it"},
		"process": map[string]any{"on": false, "why": "it was switched off"},
		"otlp":    map[string]any{"on": true, "why": "exporters are pointed here", "hint": "a <b>collector</b> has the port"},
	})
	s.tellAt(time.Second, startedSpan("a"))
	s.finish(telemetry.StatusOK, map[string]any{"exit_code": 0})
	p := b.tab(t, s)
	p.before(`{ const { fetch } = globalThis; globalThis.fetch = async (...args) => { if (args[0] === "files") await new Promise((done) => { globalThis.letGo = done; }); return fetch(...args); }; }`)
	p.do(chromedp.EmulateViewport(1440, 900), chromedp.Navigate(s.server.URL()))
	p.caughtUp()
	for _, name := range []string{"tools", "tokens", "text", "resources"} {
		p.tabTo(name)
		p.frames()
		seen := look[string](p, fmt.Sprintf(`document.getElementById("pane-%s").innerText.trim()`, name))
		if name == "text" {
			assert.Equal(t, "Reading the orchestrator's log.", look[string](p, `document.getElementById("text-why").textContent`))
			continue
		}
		assert.Empty(t, seen, name)
		assert.Zero(t, look[int](p, fmt.Sprintf(`[...document.querySelectorAll("#pane-%s svg")].filter((g) => g.getBoundingClientRect().width > 0).length`, name)), name)
	}
	p.awaits(`(globalThis.letGo?.(), !document.getElementById("resources-none").hidden)`)
	told := `[...document.querySelectorAll("#%s-told li")].map((li) => li.textContent).join(" ")`
	await(p, "The look at the processes was off: it was switched off.", fmt.Sprintf(told, "resources"))
	p.tabTo("tokens")
	await(p, "The socket told 1 event, of 1 span. OpenTelemetry told nothing: a <b>collector</b> has the port. The LLM gateway was off: it is on only where --gateway asks for it.", fmt.Sprintf(told, "tokens"))
	p.everyLook("not recorded")
}

// A replay shows what an open agent had used by then, as it was told.
func browseReadings(t *testing.T, b *chromium) {
	s := newStage(t, 60*time.Second)
	tools := func(n, tokens int64) telemetry.Event {
		e := usedTokens("a", tokens)
		e.ToolUses = telemetry.N(n)
		return e
	}
	s.tellAt(time.Second, inPhase("one", startedSpan("a")), inPhase("one", startedSpan("mute")))
	s.tellAt(10*time.Second, tools(3, 1000))
	s.tellAt(30*time.Second, tools(7, 5000))
	s.tellAt(50*time.Second, tools(9, 8000), endedWell("a"), endedWell("mute"))
	s.at.Store(int64(60 * time.Second))
	s.finish(telemetry.StatusOK, map[string]any{"exit_code": 0})
	p := b.open(t, s)
	p.press("r", " ")
	row := `(() => { const r = probe.rows().find((r) => r.id === %q); return r.tokens + " " + r.tools; })()`
	for _, moment := range []struct {
		ms        int
		want, all string
	}{
		{5000, "– –", "– –"}, {11_000, "1.0 k 3", "1.0 k 3"}, {29_000, "1.0 k 3", "1.0 k 3"}, {31_000, "5.0 k 7", "5.0 k 7"}, {12_000, "1.0 k 3", "1.0 k 3"}, {55_000, "8.0 k 9", "8.0 k 9"},
	} {
		look[any](p, fmt.Sprintf(`(() => { const s = document.getElementById("seek"); s.value = %d; s.dispatchEvent(new Event("input")); return null; })()`, moment.ms))
		await(p, moment.want, fmt.Sprintf(row, "a"))
		await(p, moment.all, `(() => { const r = probe.rows().find((r) => r.phase === "one"); return r.tokens + " " + r.tools; })()`)
		p.awaits(fmt.Sprintf(row, "mute") + `.startsWith("–")`)
	}
	p.clickRow("a")
	p.awaits(`document.getElementById("detail-facts").textContent.includes("Tokens8.0 k")`)
}

// The terminal's letters are never too small to be read: what does not fit is
// scrolled to, and the line that the cursor is on is in view.
func browseTerminalSize(t *testing.T, b *chromium) {
	s := newStage(t, 60*time.Second)
	s.tellAt(time.Second, startedSpan("a"))
	lines := ""
	for i := range 60 {
		lines += fmt.Sprintf(`[%d.0,"o","line %d\r\n"]`+"\n", i/10+1, i)
	}
	s.writeCastSized(200, 50, lines)
	p := b.open(t, s)
	p.press("t")
	p.awaits(screenText + `.includes("line 59")`)
	for _, size := range []chromedp.Action[chromedp.Void]{chromedp.EmulateViewport(1440, 900), phone} {
		p.do(size)
		p.frames()
		p.awaits(`parseFloat(getComputedStyle(document.getElementById("terminal-screen")).fontSize) >= 11`)
		assert.True(t, look[bool](p, noSidewaysScroll))
		p.awaits(`(() => {
			const screen = document.getElementById("terminal-screen"), box = probe.box(screen);
			const line = [...screen.querySelectorAll(".tl")].find((l) => l.textContent === "line 59");
			return probe.box(line).bottom <= box.bottom + 1 && probe.box(line).top >= box.top;
		})()`)
	}
}
