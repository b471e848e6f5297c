package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// mouse sends one event of the mouse's left button at a place of the page.
func (p *tab) mouse(kind input.DispatchMouseEventType, x, y float64, clicks int64) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: kind, X: x, Y: y, Button: input.MouseButtonLeft, Buttons: 1, ClickCount: clicks})
	require.NoError(p.t, err)
}

// drag pulls the mouse from one place to another.
func (p *tab) drag(fromX, fromY, toX, toY float64) {
	p.t.Helper()
	p.mouse("mousePressed", fromX, fromY, 1)
	for i := 1.0; i <= 4; i++ {
		p.mouse("mouseMoved", fromX+(toX-fromX)*i/4, fromY+(toY-fromY)*i/4, 0)
	}
	p.mouse("mouseReleased", toX, toY, 1)
	p.frames()
}

// seekTo goes to a moment of a replay, in milliseconds.
func (p *tab) seekTo(ms int) {
	p.t.Helper()
	look[any](p, fmt.Sprintf(`(() => { const s = document.getElementById("seek"); s.value = %d; s.dispatchEvent(new Event("input")); return null; })()`, ms))
}

// zoomIn is the stretch of the clock that the address says is shown, in seconds;
// null for the whole run.
const zoomIn = `((h) => (h ? h.split("-").map(Number) : null))(new URLSearchParams(location.hash.slice(1)).get("zoom"))`

// The strip has the phases as bands, the agents at work as areas in their colours,
// and the part that the lanes show, which can be brushed, moved and let go of.
func browseStrip(t *testing.T, b *chromium) {
	s := playProfile(t, wholeProfile)
	p := b.open(t, s)
	await(p, 39, `probe.rows().length`)
	p.frames()
	await(p, len(shownPhases), `document.querySelectorAll("#strip g:nth-of-type(1) rect").length`)
	await(p, "var(--p-disc) var(--p-lib0) var(--p-libn) var(--p-apps) var(--p-synth)", `[...document.querySelectorAll("#strip g:nth-of-type(1) rect")].map((r) => r.getAttribute("fill")).join(" ")`)
	p.awaits(`document.querySelectorAll("#strip g:nth-of-type(2) path").length === 4`) // discovery has no agent
	await(p, "5 phases, at most 10 agents at a time, 5:12 in all", `document.querySelector("#strip svg").getAttribute("aria-label")`)
	p.awaits(`document.querySelector("#strip .view").getAttribute("visibility") === "hidden"`)

	box := look[[]float64](p, `(() => { const b = probe.box(document.getElementById("strip")); return [b.left, b.width, b.top + 25]; })()`)
	at := func(seconds float64) float64 { return box[0] + box[1]*seconds/312.5 }
	zoomed := func(from, to float64) {
		t.Helper()
		p.awaits(fmt.Sprintf(`(() => { const z = %s; return z && Math.abs(z[0] - %v) < 2 && Math.abs(z[1] - %v) < 2; })()`, zoomIn, from, to))
	}
	p.drag(at(100), box[2], at(150), box[2])
	zoomed(100, 150)
	p.awaits(`document.querySelector("#strip .view").getAttribute("visibility") === "visible"`)
	await(p, "1:40", `[...document.querySelectorAll("#ticks span")].map((s) => s.textContent)[0]`)
	p.drag(at(125), box[2], at(225), box[2])
	zoomed(200, 250)
	p.drag(at(250), box[2], at(300), box[2])
	zoomed(200, 300)
	for _, kind := range []input.DispatchMouseEventType{"mousePressed", "mouseReleased", "mousePressed", "mouseReleased"} {
		p.mouse(kind, at(20), box[2], 2)
	}
	p.awaits(`document.querySelector("#strip .view").getAttribute("visibility") === "hidden"`)
}

// Keys, wheel and clicks zoom, move and fit what the lanes show.
func browseZoom(t *testing.T, b *chromium) {
	s := playProfile(t, wholeProfile)
	p := b.open(t, s)
	await(p, 39, `probe.rows().length`)
	agent := agentID(agentsOf("library_depth_n")[5])
	stretch := func() []float64 {
		t.Helper()
		time.Sleep(400 * time.Millisecond) // the address is written a little later
		return look[[]float64](p, zoomIn)
	}
	p.clickRow(agent)
	p.press("w")
	first := stretch()
	require.Len(t, first, 2)
	assert.InDelta(t, 312.5/1.5, first[1]-first[0], 1)
	p.press("+")
	closer := stretch()
	assert.InDelta(t, 312.5/1.5/1.5, closer[1]-closer[0], 1)
	p.press("d")
	later := stretch()
	assert.Greater(t, later[0], closer[0])
	p.press("a", "-")
	assert.InDelta(t, first[1]-first[0], func() float64 { z := stretch(); return z[1] - z[0] }(), 1)
	p.press("f", "f")
	fitted := stretch()
	assert.True(t, look[bool](p, fmt.Sprintf(`(() => { const lane = probe.box(document.getElementById("ticks")), bar = probe.barBox(%q); return bar.left >= lane.left && bar.right <= lane.right && bar.width > lane.width * 0.8; })()`, agent)))
	assert.Less(t, fitted[1]-fitted[0], 30.0)
	p.awaits(fmt.Sprintf(`probe.row(%q).querySelector(".in").textContent !== ""`, agent)) // wide bars have their name in them
	p.press("0")
	assert.Nil(t, stretch())

	// The wheel with Ctrl zooms where the mouse is; a double click on a bar fits it, one
	// beside it shows all.
	bar := look[[]float64](p, fmt.Sprintf(`(() => { const b = probe.barBox(%q); return [(b.left + b.right) / 2, (b.top + b.bottom) / 2]; })()`, agent))
	look[any](p, fmt.Sprintf(`(document.elementFromPoint(%[1]v, %[2]v).dispatchEvent(new WheelEvent("wheel", {bubbles: true, cancelable: true, ctrlKey: true, deltaY: -200, clientX: %[1]v, clientY: %[2]v})), null)`, bar[0], bar[1]))
	assert.Less(t, func() float64 { z := stretch(); return z[1] - z[0] }(), 312.0)
	p.press("0")
	p.frames()
	double := func(x, y float64) {
		t.Helper()
		p.mouse("mousePressed", x, y, 1)
		p.mouse("mouseReleased", x, y, 1)
		p.mouse("mousePressed", x, y, 2)
		p.mouse("mouseReleased", x, y, 2)
		p.frames()
	}
	double(bar[0], bar[1])
	assert.InDelta(t, fitted[1]-fitted[0], func() float64 { z := stretch(); return z[1] - z[0] }(), 1)
	edge := look[[]float64](p, fmt.Sprintf(`(() => { const l = probe.box(probe.row(%q).querySelector(".lane")); return [l.right - 4, (l.top + l.bottom) / 2]; })()`, agent))
	double(edge[0], edge[1])
	assert.Nil(t, stretch())

	// The critical path goes and comes.
	p.awaits(`!document.getElementById("path").hasAttribute("hidden")`)
	p.press("c")
	p.awaits(`document.getElementById("path").hasAttribute("hidden") && document.getElementById("path-on").getAttribute("aria-pressed") === "false"`)
	p.press("c")
	p.awaits(`!document.getElementById("path").hasAttribute("hidden")`)
}

// A link that was copied shows the same to somebody else: the view, what is selected,
// zoomed, looked for, filtered, pinned and folded, and the moment of a replay.
func browseDeepLink(t *testing.T, b *chromium) {
	s := playProfile(t, wholeProfile)
	p := b.open(t, s)
	await(p, 39, `probe.rows().length`)
	agent := agentID(agentsOf("library_depth_n")[5])
	p.clickPhase("library_depth_0")
	p.press(kb.ArrowLeft)
	p.clickRow(agent)
	p.press("w", "p")
	p.click(`document.getElementById("filter")`)
	p.frames()
	p.click(`document.querySelector("[data-chip=done]")`)
	p.awaits(`["select", "zoom", "states", "pin", "fold"].every((name) => new URLSearchParams(location.hash.slice(1)).has(name))`)
	const seen = `JSON.stringify([probe.selected(), probe.rows().map((r) => r.id || r.phase), [...document.querySelectorAll("#ticks span")].map((s) => s.textContent), [...document.querySelectorAll("#filters [aria-pressed=true]")].map((c) => c.dataset.chip), [...document.querySelectorAll("#pins .row")].map((r) => r.dataset.spanId), document.getElementById("hide-done").getAttribute("aria-pressed")])`
	p.frames()
	there := look[string](p, seen)
	link := look[string](p, `location.href`)
	other := b.tab(t, s)
	other.do(chromedp.EmulateViewport(1440, 900), chromedp.Navigate(s.server.URL()))
	other.caughtUp()
	other.do(chromedp.Navigate("about:blank"), chromedp.Navigate(link))
	other.caughtUp()
	other.frames()
	await(other, there, seen)

	// Of a replay too, and of another view with what is looked for.
	hash := "#tab=agents&replay=132&find=" + agentsOf("library_depth_0")[0].Name
	other.do(chromedp.Navigate("about:blank"), chromedp.Navigate(s.server.Base()+"/"+hash))
	other.caughtUp()
	await(other, "Replay 2:12 of 5:12", `probe.word() + " " + probe.note()`)
	await(other, 1, `document.querySelectorAll("#agents .agent-card").length`)
	await(other, "true", `document.getElementById("tab-agents").getAttribute("aria-selected")`)
	other.awaits(`document.getElementById("find").value !== ""`)
	// Whoever changes the address by hand gets what it says.
	look[any](other, `(location.hash = "tab=tokens", null)`)
	await(other, "true", `document.getElementById("tab-tokens").getAttribute("aria-selected")`)
	await(other, "Finished", `probe.word()`)
}

// What was looked for is counted and stepped through; chips show states only; pinned
// rows stand above the others.
func browseMatches(t *testing.T, b *chromium) {
	s := playProfile(t, 200*time.Second)
	p := b.open(t, s)
	await(p, 39, `probe.rows().length`)
	p.press("/", "disperser")
	p.awaits(`/^\d+ found$/.test(document.getElementById("find-count").textContent)`)
	total := look[int](p, `parseInt(document.getElementById("find-count").textContent)`)
	require.Greater(t, total, 2)
	p.press(kb.Enter)
	await(p, fmt.Sprintf("1 of %d", total), `document.getElementById("find-count").textContent`)
	look[any](p, `(document.activeElement.blur(), null)`)
	p.press("n")
	await(p, fmt.Sprintf("2 of %d", total), `document.getElementById("find-count").textContent`)
	second := look[string](p, `probe.selected()`)
	p.press("n", "N")
	await(p, second, `probe.selected()`)
	p.press("/", kb.Escape)
	await(p, 39, `probe.rows().length`)

	p.click(`document.getElementById("filter")`)
	p.frames()
	p.click(`document.querySelector("[data-chip=queued]")`)
	await(p, "queued", `[...new Set(probe.rows().filter((r) => r.id).map((r) => r.state))].join()`)
	p.click(`document.querySelector("[data-chip=queued]")`)
	await(p, 39, `probe.rows().length`)

	agent := agentID(agentsOf("application_analysis")[3])
	p.clickRow(agent)
	p.press("p")
	await(p, agent, `[...document.querySelectorAll("#pins .row")].map((r) => r.dataset.spanId).join()`)
	p.press(kb.End)
	p.awaits(`probe.box(document.querySelector("#pins .row")).top >= probe.box(document.getElementById("scroll")).top`)
	look[any](p, `(document.querySelector("#pins .row").click(), null)`)
	p.press("p")
	p.awaits(`document.querySelectorAll("#pins .row").length === 0`)

	// A phase that is closed says how many of its agents ended.
	p.clickPhase("library_depth_0")
	p.press(kb.ArrowLeft)
	await(p, "9/9", `probe.rows().find((r) => r.phase === "library_depth_0").note`)
}

// clickPhase clicks on the row of a phase.
func (p *tab) clickPhase(name string) {
	p.t.Helper()
	p.click(fmt.Sprintf("probe.phase(%q)", name))
}

// A pause holds the view; what came meanwhile is there when it is over.
func browsePause(t *testing.T, b *chromium) {
	s := newStage(t, 20*time.Second)
	s.tellAt(time.Second, startedSpan("a"))
	p := b.open(t, s)
	await(p, "running", `probe.state("a")`)
	p.press(" ")
	await(p, "Paused", `probe.word()`)
	elapsed := look[string](p, `probe.kpi("elapsed")`)
	s.tell(usedTokens("a", 5000), startedSpan("b"))
	await(p, "2 events held", `probe.note()`)
	time.Sleep(1100 * time.Millisecond)
	assert.Equal(t, elapsed, look[string](p, `probe.kpi("elapsed")`))
	assert.Equal(t, "0", look[string](p, `probe.kpi("tokens").split("|")[0]`))
	assert.Empty(t, look[string](p, `probe.state("b")`))
	p.press(" ")
	await(p, "Live", `probe.word()`)
	p.sameAs(s)
	assert.NotEqual(t, elapsed, look[string](p, `probe.kpi("elapsed")`))
}

// The cards of the agents have their numbers, and can be sorted by any.
func browseAgents(t *testing.T, b *chromium) {
	s := newStage(t, 60*time.Second)
	s.tellAt(time.Second, inPhase("one", startedSpan("short")), inPhase("one", startedSpan("long")))
	s.tellAt(11*time.Second, usedTokens("short", 900), endedWell("short"))
	s.tellAt(41*time.Second, usedTokens("long", 4000), endedBadly("long", "no answer"))
	s.finish(telemetry.StatusOK, map[string]any{"exit_code": 0})
	p := b.open(t, s)
	p.tabTo("agents")
	const cards = `[...document.querySelectorAll("#agents .agent-card")].map((c) => [...c.querySelectorAll(".label, .kind, .state, .facts b")].map((n) => n.textContent).join("|")).join("; ")`
	short, long := "short|library-analysis, One|Done|0:10.0|900|–|90|0:30.0", "long|library-analysis, One|Failed|0:40.0|4.0 k|–|100|0:00.0"
	await(p, short+"; "+long, cards)
	for _, c := range [][2]string{{"slack", short + "; " + long}, {"tokens", long + "; " + short}, {"name", long + "; " + short}, {"elapsed", long + "; " + short}} {
		order, want := c[0], c[1]
		look[any](p, fmt.Sprintf(`(() => { const s = document.getElementById("agents-order"); s.value = %q; s.dispatchEvent(new Event("change")); return null; })()`, order))
		await(p, want, cards)
	}
	p.click(`document.querySelector("#agents .agent-card")`)
	await(p, "long", `document.getElementById("detail-name").textContent`)
	p.awaits(`document.getElementById("detail").textContent.includes("Failed withno answer")`)
}

// A replay plays, faster and slower, steps from event to event, and ends at the end.
func browseReplay(t *testing.T, b *chromium) {
	s := playProfile(t, wholeProfile)
	p := b.open(t, s)
	await(p, "Finished", `probe.word()`)
	p.press("r")
	await(p, "Pause", `document.getElementById("play").firstChild.data`)
	p.awaits(`parseFloat(document.getElementById("play-at").textContent) > 1`)
	await(p, "4×", `document.getElementById("speed").textContent`)
	p.click(`document.getElementById("speed")`)
	await(p, "8×", `document.getElementById("speed").textContent`)
	look[any](p, `(document.activeElement.blur(), null)`)
	p.press(" ")
	await(p, "Play", `document.getElementById("play").firstChild.data`)
	p.seekTo(100_000)
	await(p, 1, `probe.rows().filter((r) => r.id && r.state === "running").length`)
	await(p, "Libraries, depth 1+|3 of 5", `probe.kpi("phase")`)
	before := look[float64](p, `parseFloat(document.getElementById("play-at").textContent)`)
	p.press(".")
	p.awaits(fmt.Sprintf(`parseFloat(document.getElementById("play-at").textContent) > %v`, before))
	p.press(",", ",")
	p.awaits(fmt.Sprintf(`parseFloat(document.getElementById("play-at").textContent) < %v`, before))
	p.awaits(`location.hash.includes("replay=")`)
	p.seekTo(312_500)
	p.press(" ") // from the beginning
	p.awaits(`parseFloat(document.getElementById("play-at").textContent) < 60`)
	p.press(kb.Escape)
	await(p, "Finished", `probe.word()`)
	p.awaits(`document.getElementById("transport").hidden`)
}

// The graph of what the tools worked on: nodes can be pulled, the view zoomed, and
// what a node has nothing to do with is dimmed.
func browseGraph(t *testing.T, b *chromium) {
	s := newStage(t, 20*time.Second)
	s.tellAt(time.Second, startedSpan("own"))
	s.writeLog(s.ownLog())
	p := b.open(t, s)
	p.tabTo("resources")
	p.awaits(`document.querySelectorAll(".graph circle").length > 3`)
	p.frames()
	const box = `document.querySelector(".graph").getAttribute("viewBox")`
	was := look[string](p, box)
	look[any](p, `(document.querySelector(".graph").scrollIntoView({block: "center"}), null)`)
	look[any](p, `(() => { const g = document.querySelector(".graph"), b = probe.box(g); g.dispatchEvent(new WheelEvent("wheel", {bubbles: true, cancelable: true, ctrlKey: true, deltaY: -200, clientX: b.left + 50, clientY: b.top + 50})); return null; })()`)
	p.awaits(fmt.Sprintf(`%s !== %q`, box, was))
	node := look[[]float64](p, `(() => { const b = probe.box(document.querySelector(".graph circle")); return [(b.left + b.right) / 2, (b.top + b.bottom) / 2]; })()`)
	p.mouse("mouseMoved", node[0], node[1], 0)
	p.awaits(`document.querySelectorAll(".graph .dim").length > 0`)
	p.drag(node[0], node[1], node[0]+60, node[1]+30)
	p.awaits(fmt.Sprintf(`Math.abs((probe.box(document.querySelector(".graph circle")).left + probe.box(document.querySelector(".graph circle")).right) / 2 - %v) < 4`, node[0]+60))
	lines := look[int](p, `document.querySelectorAll("#pane-resources tbody tr").length`)
	look[any](p, `(() => { const s = document.getElementById("resources-least"); s.value = "2"; s.dispatchEvent(new Event("change")); return null; })()`)
	p.awaits(fmt.Sprintf(`document.querySelectorAll("#pane-resources tbody tr").length <= %d && [...document.querySelectorAll("#pane-resources tbody tr")].every((r) => Number(r.children[5].textContent) >= 2)`, lines))
}

// The rows as a plain table: the same numbers as in the timeline, for those who read
// line by line, and to be copied.
func browseTable(t *testing.T, b *chromium) {
	s := playProfile(t, wholeProfile)
	p := b.tab(t, s)
	p.before(`Object.defineProperty(navigator, "clipboard", {value: {writeText: async (text) => { globalThis.copied = text; }}})`)
	p.do(chromedp.EmulateViewport(1440, 900), chromedp.Navigate(s.server.URL()))
	p.caughtUp()
	await(p, 39, `probe.rows().length`)
	timeline := look[string](p, `probe.rows().filter((r) => r.level === "2").map((r) => [r.name, r.time, r.tokens, r.tools].join("|")).sort().join("\n")`)
	p.press("7")
	const lines = `[...document.querySelectorAll("#pane-table tbody tr")].map((r) => [...r.children].map((c) => c.textContent))`
	await(p, 5+34+1, lines+`.length`)
	await(p, timeline, lines+`.filter((c) => c[1] !== "phase" && c[1] !== "synthesis").map((c) => [c[0], c[4], c[5], c[8]].join("|")).sort().join("\n")`)
	await(p, "Libraries, depth 0|phase|Done", lines+`[1].slice(0, 3).join("|")`)
	p.click(`document.getElementById("table-copy")`)
	p.awaits(`globalThis.copied?.split("\n").length === 41 && copied.startsWith("Phase and agent\tKind\tState\t")`)
	p.awaits(`document.getElementById("say").textContent === "40 rows copied"`)
	p.everyLook("view table")
	p.do(chromedp.EmulateViewport(1440, 900))
	p.press("/", agentsOf("library_depth_0")[0].Name)
	p.awaits(lines + `.length === 2`)
	p.press(kb.Escape)
	p.click(`document.querySelectorAll("#pane-table tbody button")[2]`)
	p.awaits(`document.getElementById("tab-timeline").getAttribute("aria-selected") === "true" && probe.selected().startsWith("s:")`)
}

// What an agent wrote and thought stands in a lane below it, and a call that failed
// looks it.
func browseBlocks(t *testing.T, b *chromium) {
	s := newStage(t, 20*time.Second)
	agent := startedSpan("core")
	agent.Attrs = telemetry.Attrs(map[string]any{"agent_id": "A-2"})
	s.tellAt(time.Second, agent)
	s.writeLog(s.ownLog())
	p := b.open(t, s)
	p.tabTo("text") // reads the log
	p.awaits(`document.querySelectorAll("#pane-text tbody tr").length === 2`)
	p.tabTo("timeline")
	p.clickRow("core")
	p.press(kb.ArrowRight)
	p.awaits(`[...document.querySelectorAll("#rows .lanes .label")].map((l) => l.textContent).join() === "Edit,Text and thoughts"`)
	p.awaits(`document.querySelectorAll("#rows .calls .thinking").length === 1 && document.querySelectorAll('#rows .calls [class$=" error"]').length === 1`)
	p.awaits(`document.querySelector("#rows .lanes .nm i").textContent === "1 failed"`)
	look[any](p, `(() => {
		const mark = document.querySelector("#rows .calls .thinking"), box = probe.box(mark);
		mark.closest(".lane").dispatchEvent(new PointerEvent("pointermove", {bubbles: true, pointerType: "mouse", clientX: box.left + 1, clientY: (box.top + box.bottom) / 2}));
		return null;
	})()`)
	p.awaits(`/^Thinking, 0:05/i.test(document.querySelector(".tip").textContent) && document.querySelector(".tip").textContent.includes("characters")`)
}
