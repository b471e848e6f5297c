package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// A run without events says that it waits; its first span is there at once, and
// nobody loaded anything anew.
func browseLiveStart(t *testing.T, b *chromium) {
	s := newStage(t, 0)
	p := b.open(t, s)
	await(p, "Connected", `probe.word()`)
	p.awaits(`probe.empty().startsWith("Waiting for the first event") && probe.empty().includes("./analyze eigenda")`)
	assert.Empty(t, look[[]any](p, `probe.rows()`))
	assert.Equal(t, "eigenda", look[string](p, `document.title`))

	s.tell(queuedSpan("later"), startedSpan("encoding"))
	await(p, "running", `probe.state("encoding")`)
	await(p, "queued", `probe.state("later")`)
	await(p, "Live", `probe.word()`)
	assert.Empty(t, look[string](p, `probe.empty()`))
	s.view(func(state *run.State) {
		span, ok := state.Span("encoding")
		require.True(t, ok)
		assert.Less(t, look[int64](p, `probe.seen["row encoding"]`)-span.StartMS, int64(3000), "ms from the event to the row")
	})
	assert.Equal(t, "treegrid row", look[string](p, `[probe.row("encoding").closest("[role=treegrid]").getAttribute("role"), probe.row("encoding").getAttribute("role")].join(" ")`))
	assert.Equal(t, 1, look[int](p, `performance.getEntriesByType("navigation").length`))
	assert.Equal(t, 1, look[int](p, `probe.streams.length`))

	// A page that waits and hears nothing does not say that obsrun listens.
	s = newStage(t, 0)
	p = b.open(t, s)
	p.awaits(`probe.empty().includes("obsrun is listening")`)
	p.expectOffline()
	s.shutdown()
	await(p, "Offline", `probe.word()`)
	p.awaits(`!probe.empty().includes("obsrun is listening")`)
}

// An agent waits, works and ends; its bar keeps up with the clock.
func browseProgress(t *testing.T, b *chromium) {
	s := newStage(t, 20*time.Second)
	s.tellAt(time.Second, queuedSpan("a"), queuedSpan("b"))
	p := b.open(t, s)
	await(p, "queued", `probe.state("a")`)
	p.awaits(`probe.lane("a").startsWith("queued")`)
	await(p, "0%|0 of 2 agents", `probe.kpi("complete")`)
	await(p, "0|agents, 2 queued", `probe.kpi("active")`)

	s.tell(startedSpan("a"))
	await(p, "running", `probe.state("a")`)
	p.awaits(`probe.lane("a").startsWith("running, started 0:2")`)
	await(p, "1|agent, 1 queued", `probe.kpi("active")`)
	width := look[float64](p, `probe.barBox("a").width`)
	for range 4 {
		p.awaits(fmt.Sprintf(`probe.barBox("a").width > %v + 2`, width))
		width = look[float64](p, `probe.barBox("a").width`)
		assert.Less(t, look[float64](p, `Math.abs(probe.barBox("a").right - probe.nowX())`), 2.0, "px between the bar's end and now")
	}
	assert.InDelta(t, 1/1.1, look[float64](p, `(() => {
		const axis = probe.box(document.getElementById("ticks"));
		return (probe.nowX() - axis.left) / axis.width;
	})()`), 0.015, "where now stands")

	s.tell(endedWell("a"))
	await(p, "done", `probe.state("a")`)
	p.awaits(`probe.lane("a").startsWith("done")`)
	await(p, "50%|1 of 2 agents", `probe.kpi("complete")`)
	await(p, "50% - eigenda", `document.title`)
	var took string
	s.view(func(state *run.State) {
		span, _ := state.Span("a")
		took = stopwatchText(span.DurationMS)
	})
	await(p, took, `probe.rows().find((r) => r.id === "a").time`)
	right := look[float64](p, `probe.nowX() - probe.barBox("a").right`)
	p.awaits(fmt.Sprintf(`probe.nowX() - probe.barBox("a").right > %v + 2`, right))
}

// The rate of tokens says when it is a lower bound only.
func browseBurn(t *testing.T, b *chromium) {
	s := newStage(t, 40*time.Second)
	s.tellAt(time.Second, startedSpan("a"), startedSpan("b"))
	s.tellAt(39*time.Second, usedTokens("a", 60_000))
	p := b.open(t, s)
	p.awaits(`/^60\.0 k\|at least \d+ k\/min$/.test(probe.kpi("tokens"))`)
	p.awaits(`probe.kpi("tokens").split("|")[1].startsWith("at least " + document.getElementById("burn-value").textContent.replace("at least ", ""))`)
	s.tell(usedTokens("b", 30_000))
	p.awaits(`/^90\.0 k\|\d+ k\/min$/.test(probe.kpi("tokens"))`)
	p.awaits(`document.querySelectorAll("#burn path").length > 0`)
}

// An error is seen at once: in the row, in the list, in the title.
func browseError(t *testing.T, b *chromium) {
	s := newStage(t, 10*time.Second)
	s.tellAt(time.Second, startedSpan("kzg"), startedSpan("core"))
	p := b.open(t, s)
	await(p, "running", `probe.state("kzg")`)
	assert.Equal(t, "none", look[string](p, `document.getElementById("problem-count").textContent`))
	assert.True(t, look[bool](p, `document.getElementById("kpi-problems").hidden`))
	assert.Equal(t, "2 active - eigenda", look[string](p, `document.title`))

	told := time.Now()
	s.tell(endedBadly("kzg", "context window exceeded"))
	await(p, "error", `probe.state("kzg")`)
	await(p, "kzg failed|context window exceeded", `probe.problems().join()`)
	assert.Less(t, look[int64](p, `probe.seen["problem kzg"]`)-told.UnixMilli(), int64(3000), "ms from the event to the list")
	await(p, "1 error - 1 active - eigenda", `document.title`)
	await(p, "1|1 error", `probe.kpi("problems")`)
	await(p, "context window exceeded", `probe.said("kzg")`)
	p.awaits(`probe.lane("kzg").startsWith("failed, context window exceeded")`)
	assert.Equal(t, "log", look[string](p, `document.getElementById("problems").getAttribute("role")`))

	s.tell(telemetry.Event{Type: telemetry.Log, Level: "warn", Message: "the manifest is old"},
		telemetry.Event{Type: telemetry.Log, Level: "info", Message: "nobody needs to read this"})
	await(p, "the manifest is old|from socket", `probe.problems()[0]`)
	await(p, 2, `probe.problems().length`)

	p.press("e")
	await(p, "s:kzg", `probe.selected()`)
	p.awaits(`document.getElementById("detail").textContent.includes("Failed with") && document.getElementById("detail").dataset.spanId === "kzg"`)
	p.clickRow("core")
	await(p, "s:core", `probe.selected()`)
	p.click(`document.querySelector("#problems [data-span-id=kzg]")`)
	await(p, "s:kzg", `probe.selected()`)
}

// A second attempt stands beside the first one.
func browseRetry(t *testing.T, b *chromium) {
	s := newStage(t, 30*time.Second)
	first := startedSpan("kzg")
	first.Name = "kzg with a name that is much longer than the column of the names"
	s.tellAt(time.Second, first)
	s.tellAt(8*time.Second, endedBadly("kzg", "no answer"))
	p := b.open(t, s)
	await(p, "error", `probe.state("kzg")`)
	again := startedSpan("kzg")
	again.Name = ""
	s.tellAt(12*time.Second, again)
	await(p, "running", `probe.state("kzg")`)
	await(p, "×2", `probe.rows()[0].note`)
	assert.True(t, look[bool](p, `(() => { const i = probe.row("kzg").querySelector(".nm i"); return i.scrollWidth <= i.clientWidth; })()`), "the count is not cut off")
	await(p, 1, `probe.row("kzg").querySelectorAll(".earlier").length`)
	p.awaits(`probe.lane("kzg").includes("attempt 2")`)
	assert.True(t, look[bool](p, `probe.box(probe.row("kzg").querySelector(".earlier")).right < probe.barBox("kzg").left`))
	s.tell(endedWell("kzg"))
	await(p, "done", `probe.state("kzg")`)
	await(p, "1 done|1 seen", `probe.kpi("complete")`)
	await(p, "", `probe.problems().join()`)
	await(p, "eigenda", `document.title`)
}

// A silent agent is flagged, its silence counted, and its return told.
func browseStall(t *testing.T, b *chromium) {
	s := newStage(t, time.Minute)
	s.tellAt(5*time.Second, startedSpan("churner"), startedSpan("core"))
	p := b.open(t, s)
	await(p, "running", `probe.state("churner")`)
	s.tell(telemetry.Event{
		Type: telemetry.SpanStalled, SpanID: "churner", Source: telemetry.SourceObsrun, IdleMS: telemetry.F(55_000),
		Evidence: telemetry.Attrs(map[string]any{"last_heard": "span_start"}),
	})
	await(p, "stalled", `probe.state("churner")`)
	p.awaits(`/^silent 5\d s$/.test(probe.said("churner"))`)
	p.awaits(`probe.lane("churner").startsWith("stalled, silent 5")`)
	silent := look[string](p, `probe.said("churner")`)
	p.awaits(fmt.Sprintf(`probe.said("churner").startsWith("silent ") && probe.said("churner") !== %q`, silent))
	await(p, "1 stalled - 2 active - eigenda", `document.title`)
	await(p, "1|1 stalled", `probe.kpi("problems")`)
	await(p, "2|agents", `probe.kpi("active")`)
	p.awaits(`/^churner is silent\|no event for \d+ s$/.test(probe.problems().join())`)
	assert.Equal(t, "none", look[string](p, `getComputedStyle(probe.bar(probe.row("churner")), "::before").content`), "what is silent has no stripes that move")
	p.press("e")
	await(p, "s:churner", `probe.selected()`)
	p.awaits(`document.getElementById("detail").textContent.includes("last heard: span_start")`)

	s.tell(telemetry.Event{Type: telemetry.SpanResumed, SpanID: "churner", Source: telemetry.SourceObsrun}, usedTokens("churner", 100))
	await(p, "running", `probe.state("churner")`)
	await(p, "", `probe.said("churner")`)
	await(p, "2 active - eigenda", `document.title`)
	p.awaits(`/^churner was silent\|recovered .* after it was flagged$/.test(probe.problems().join())`)
	await(p, "|", `probe.kpi("problems")`)
}

// The server goes and comes back: the page says so, goes on from the line it had,
// and ends up with what it would have had.
func browseReconnect(t *testing.T, b *chromium) {
	s := newStage(t, 10*time.Second)
	s.tellAt(time.Second, startedSpan("a"), usedTokens("a", 1000))
	p := b.open(t, s)
	await(p, "1.0 k", `probe.kpi("tokens").split("|")[0]`)
	p.expectOffline()
	s.shutdown()
	await(p, "Offline", `probe.word()`)
	assert.True(t, look[bool](p, stripesRest), "nothing moves while nothing is known")
	p.awaits(`probe.banner().startsWith("Connection lost.") && document.querySelector("#banner [role=alert]")`)
	frozen := look[string](p, `probe.kpi("elapsed")`)

	s.tell(telemetry.Event{Type: telemetry.Log, Level: "warn", Message: "while nobody looked"}, usedTokens("a", 2000), endedWell("a"))
	for i := range 20 {
		id := fmt.Sprint("b", i)
		s.tell(startedSpan(id), usedTokens(id, 100), endedWell(id))
	}
	s.listen()
	before := len(p.froms())
	await(p, "Live", `probe.word()`)
	assert.Empty(t, look[string](p, `probe.banner()`))
	p.awaits(`probe.note().startsWith("caught up, 63 events")`)
	p.sameAs(s)
	assert.NotEqual(t, frozen, look[string](p, `probe.kpi("elapsed")`))
	froms := p.froms()[before:]
	require.NotEmpty(t, froms)
	assert.Positive(t, froms[0], "the page did not go on from its line")
	assert.Len(t, look[[]string](p, `probe.problems()`), 1)

	// A user who does not want to wait gets the whole state again.
	s.shutdown()
	await(p, "Offline", `probe.word()`)
	s.tell(startedSpan("c"), usedTokens("c", 50), endedBadly("b3", "late"))
	s.listen()
	before = len(p.froms())
	p.click(`document.getElementById("retry")`)
	await(p, "Live", `probe.word()`)
	p.sameAs(s)
	assert.Zero(t, p.froms()[before])
	assert.Len(t, look[[]string](p, `probe.problems()`), 2, "that b3 failed was found out later")
	s.tell(endedWell("c"))
	p.sameAs(s)

	// The run ends while the line is down.
	s.shutdown()
	await(p, "Offline", `probe.word()`)
	s.finish(telemetry.StatusOK, map[string]any{"exit_code": 0})
	s.listen()
	p.click(`document.getElementById("retry")`)
	await(p, "Finished", `probe.word()`)
	p.closedForGood()
}

// The clocks of the page are the server's, whatever the browser's own says.
func browseSkewedClock(t *testing.T, b *chromium) {
	for _, skew := range []string{"+ 3600e3", "- 86400e3"} {
		s := newStage(t, 90*time.Second)
		s.tellAt(30*time.Second, startedSpan("a"))
		p := b.tab(t, s)
		p.before(fmt.Sprintf(`{ const { now } = Date; Date.now = () => now() %s; }`, skew))
		p.do(chromedp.EmulateViewport(1440, 900), chromedp.Navigate(s.server.URL()))
		p.caughtUp()
		p.awaits(`/^1:3\d\|$/.test(probe.kpi("elapsed"))`)
		p.awaits(`/^1:0\d$/.test(probe.rows()[0].time)`)
		p.awaits(`/^last event 6\d s ago$/.test(probe.note())`)
		before := look[string](p, `probe.kpi("elapsed")`)
		p.awaits(fmt.Sprintf(`probe.kpi("elapsed") !== %q`, before))
	}
}

// Each state has its word, its shape and its bar.
func browseStates(t *testing.T, b *chromium) {
	s := newStage(t, 2*time.Hour)
	cancelled := endedWell("cancelled")
	cancelled.Status = telemetry.StatusCancelled
	s.tellAt(time.Hour, startedSpan("done"), startedSpan("error"), startedSpan("cancelled"), startedSpan("stalled"), startedSpan("running"), queuedSpan("queued"))
	s.tellAt(90*time.Minute, endedWell("done"), endedBadly("error", "broken"), cancelled,
		telemetry.Event{Type: telemetry.SpanStalled, SpanID: "stalled", Source: telemetry.SourceObsrun, IdleMS: telemetry.F(1.8e6)})
	p := b.open(t, s)
	p.awaits(`/^2:00:\d\d\|$/.test(probe.kpi("elapsed"))`)
	for _, state := range []string{"done", "error", "cancelled", "stalled", "running", "queued"} {
		await(p, state, fmt.Sprintf(`probe.state(%q)`, state))
		await(p, state, fmt.Sprintf(`probe.row(%q).querySelector("svg").dataset.state`, state))
	}
	shapes := `new Set([...document.querySelectorAll("#rows .agent svg.gl")].map((g) => g.innerHTML)).size`
	assert.Equal(t, 6, look[int](p, shapes))
	words := look[[]string](p, `[...document.querySelectorAll("#rows .lane")].map((l) => l.getAttribute("aria-label").split(",")[0])`)
	assert.Equal(t, []string{"done", "failed", "cancelled", "stalled", "running", "queued"}, words)
	assert.Equal(t, 6, look[int](p, `new Set([...document.querySelectorAll("#rows .lane > .bx")].map((b) => { const c = getComputedStyle(b); return [c.backgroundColor, c.borderTopStyle, c.borderTopColor].join(); })).size`), "looks of the bars")
	await(p, "50%|3 of 6 agents", `probe.kpi("complete")`)
	await(p, "silent 60 min", `probe.said("stalled")`)

	s.finish(telemetry.StatusOK, map[string]any{"exit_code": 0})
	for _, span := range []string{"stalled", "running", "queued"} {
		await(p, "lost", fmt.Sprintf(`probe.state(%q)`, span))
	}
	await(p, "lost", `probe.said("running")`)
	await(p, "never started", `probe.said("queued")`)
	await(p, "4|1 error, 3 lost", `probe.kpi("problems")`)
}

// Agents below agents, agents outside of every phase, and phases without agents.
func browseNesting(t *testing.T, b *chromium) {
	s := newStage(t, 20*time.Second)
	child := startedSpan("child")
	child.Parent = "mother"
	grandchild := startedSpan("grandchild")
	grandchild.Parent = "child"
	s.tellAt(time.Second, inPhase("one", startedSpan("mother")), child, grandchild, startedSpan("loose"),
		telemetry.Event{Type: telemetry.Phase, Name: "bare", WallMS: telemetry.F(500), Counts: map[string]float64{"files": 12}})
	p := b.open(t, s)
	const levels = `probe.rows().map((r) => r.level + " " + (r.id || r.name)).join()`
	await(p, "1 One,2 mother,3 child,4 grandchild,1 Bare,1 Agents,2 loose", levels)
	await(p, "12 files", `probe.rows()[4].note`)
	p.clickRow("mother")
	p.press(kb.ArrowLeft)
	await(p, "1 One,2 mother,1 Bare,1 Agents,2 loose", levels)
	p.press(kb.ArrowRight)
	await(p, "1 One,2 mother,3 child,4 grandchild,1 Bare,1 Agents,2 loose", levels)
	await(p, "4|agents", `probe.kpi("active")`)
}

// sameAs waits until the page has the last line, and compares what it shows with
// the state.
func (p *tab) sameAs(s *stage) {
	p.t.Helper()
	var totals run.Totals
	want := make(map[string]string)
	s.view(func(state *run.State) {
		totals = state.Totals()
		for span := range state.Spans() {
			if span.IsAgent {
				want[span.ID] = span.State + " " + countText(span.Tokens)
			}
		}
	})
	await(p, compactText(totals.Tokens), `probe.kpi("tokens").split("|")[0]`)
	await(p, fmt.Sprintf("%d done|%d seen", totals.Done+totals.Failed, totals.Agents), `probe.kpi("complete")`)
	await(p, fmt.Sprint(totals.Running), `probe.kpi("active").split("|")[0]`)
	p.frames()
	assert.Equal(p.t, want, look[map[string]string](p, `Object.fromEntries(probe.rows().map((r) => [r.id, r.state + " " + r.tokens]))`))
}

// A run that is shown by another process than its own: lines that are no events
// do not matter, half a line waits for its other half, and when its obsrun is gone
// the run counts as interrupted.
func browseForeignJournal(t *testing.T, b *chromium) {
	now := time.Now()
	dir, err := run.Create(t.TempDir(), stageRun, now)
	require.NoError(t, err)
	journal := newJournal(t, dir.Path)
	journal.write(fmt.Sprintf(`{"event":"span_start","span_id":"root","kind":"run","source":"obsrun","recv_ms":0,"ts":%d,"attrs":{"run_id":%q}}`+"\n", now.Unix()-5, stageRun))
	journal.write(fmt.Sprintf(`{"event":"span_start","span_id":"a","kind":"agent","name":"first","ts":%d}`+"\n", now.Unix()-4))
	s := followStage(t, dir.Path)
	p := b.open(t, s)
	await(p, "running", `probe.state("a")`)

	journal.write("this is no JSON\n{\"event\":\"never_heard_of\",\"span_id\":\"a\"}\n[]\n{}\n\x00\xff\xfe\n\n{\"event\":\"span_end\"}\n")
	journal.write(`{"event":"log","level":"warn","message":"` + strings.Repeat("long ", 150_000) + `","span_id":"a"}` + "\n")
	journal.write(strings.Repeat("too long", 200_000) + "\n")
	line := `{"event":"span_start","span_id":"b","kind":"agent","name":"second","ts":` + fmt.Sprint(now.Unix()) + "}\n"
	journal.write(line[:30])
	p.awaits(`probe.problems().join().startsWith("long long")`)
	assert.Less(t, look[int](p, `probe.problems().join().length`), 1000, "a message is cut")
	assert.Equal(t, "running", look[string](p, `probe.state("a")`))
	assert.Empty(t, look[string](p, `probe.state("b")`), "half a line is none")
	journal.write(line[30:])
	await(p, "running", `probe.state("b")`)

	journal.write(`{"event":"span_end","span_id":"b","status":"ok"}` + "\n" + `{"event":"span_end","span_id":"a","sta`)
	await(p, "done", `probe.state("b")`)
	require.NoError(t, dir.Close()) // as the end of its process does
	await(p, "Interrupted", `probe.word()`)
	await(p, "lost", `probe.state("a")`)
	await(p, "The run was interrupted|its end was not recorded", `probe.problems().find((t) => t.startsWith("The run"))`)
	p.awaits(`probe.problems().includes("first was lost|still open when the run ended")`)
	p.closedForGood()
}

// A page that is there when the run ends stops with it.
func browseFinish(t *testing.T, b *chromium) {
	s := newStage(t, 65*time.Second)
	s.tellAt(time.Second, startedSpan("a"))
	p := b.open(t, s)
	await(p, "Live", `probe.word()`)
	assert.NotZero(t, look[int](p, `probe.timers.size`), "the clocks go")
	s.tell(endedWell("a"))
	s.finish(telemetry.StatusOK, map[string]any{"exit_code": 0})
	p.expectOffline()
	s.server.Settle(t.Context())
	s.shutdown() // at once, as obsrun does: the page has got everything

	await(p, "Finished", `probe.word()`)
	await(p, "Result", `document.querySelector("#kpi-phase dt").textContent`)
	await(p, "Finished|", `probe.kpi("phase")`)
	await(p, "0|agents", `probe.kpi("active")`)
	await(p, "Finished - eigenda", `document.title`)
	var wall int64
	s.view(func(state *run.State) { wall = state.Info().WallMS })
	await(p, clockText(wall)+"|", `probe.kpi("elapsed")`)
	p.closedForGood()
	assert.True(t, look[bool](p, `document.getElementById("follow").hidden`))
	assert.True(t, look[bool](p, stripesRest))
	assert.Empty(t, look[string](p, `document.querySelector("#over .now")?.outerHTML ?? ""`))

	// It goes on working without the server.
	_, err := net.Dial("tcp", s.config.Listen)
	require.Error(t, err)
	p.clickRow("a")
	await(p, "s:a", `probe.selected()`)
	assert.Equal(t, "Finished", look[string](p, `probe.word()`))
	assert.Empty(t, look[string](p, `probe.banner()`))
}

// closedForGood tells that nothing on the page goes on: a stream that is closed is
// not tried again, and no timer means no clock.
func (p *tab) closedForGood() {
	p.t.Helper()
	await(p, 0, `probe.timers.size`)
	await(p, true, `probe.streams.length > 0 && probe.streams.every((s) => s.readyState === EventSource.CLOSED)`)
	assert.Empty(p.t, look[string](p, `probe.banner()`))
}
