package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/report"
	"github.com/obsrun/obsrun/serve"
	"github.com/obsrun/obsrun/ui"
)

// after has the stage's run served as one that came after another one, of which
// that is the summary.
func (s *stage) after(before report.Summary) {
	s.t.Helper()
	s.shutdown()
	s.config.Last = func() (any, error) {
		var last report.Last
		s.view(func(state *run.State) { last = report.LastOf(before, state) })
		return last, nil
	}
	s.listen()
}

// slowerRun is the profile's run as it could have been the time before: its
// libraries took 6.4 s more, its synthesis half a second less, and it had a phase
// that is not there any more.
func slowerRun(t *testing.T) report.Summary {
	t.Helper()
	s := playProfile(t, wholeProfile)
	var before report.Summary
	s.view(func(state *run.State) { before = report.Summarize(state) })
	before.RunID, before.SourceCommit = "eigenda-20260407-5f20c1", "5f20c1eaaa"
	before.TotalWallMS += 5900
	before.Totals.TotalTokens -= 12_000
	before.Phases[1].WallMS += 6400
	before.Phases[4].WallMS -= 500
	before.Phases = append(before.Phases, report.Phase{Name: "cleanup", WallMS: 100})
	return before
}

const (
	// lastMark is where on the strip's clock the mark of the last run stands, and
	// where the needle, as shares of its width.
	lastMark = `(() => {
		const strip = probe.box(document.getElementById("strip"));
		const at = (node) => (probe.box(document.querySelector("#strip " + node)).left - strip.left) / strip.width;
		return [at(".last-run"), at(".needle")];
	})()`
	lastTable = `[...document.querySelectorAll("#last tr")].map((row) => [...row.children].map((cell) => cell.textContent).join(" ")).join("; ")`
)

// The run before stands beside the one that is shown: how long it took, while this
// one goes on; what changed, once it has ended.
func browseLast(t *testing.T, b *chromium) {
	before := slowerRun(t)
	s := playProfile(t, 200*time.Second)
	s.after(before)
	p := b.open(t, s)
	p.awaits(`/^3:2\d\|last run 5:18$/.test(probe.kpi("elapsed"))`)
	await(p, "last run 5:18", `document.querySelector("#strip svg > text.q").textContent`)
	p.frames()
	at := look[[]float64](p, lastMark)
	assert.InDelta(t, 1, at[0], 0.01, "the strip goes as far as the last run did")
	assert.InDelta(t, 200.0/318.4, at[1], 0.02)
	assert.NotEqual(t, "none", look[string](p, `getComputedStyle(document.querySelector("#strip .last-run")).strokeDasharray`))
	assert.InDelta(t, 1/1.1, look[float64](p, `(() => {
		const axis = probe.box(document.getElementById("ticks"));
		return (probe.nowX() - axis.left) / axis.width;
	})()`), 0.015, "where now stands in the lanes")
	assert.Empty(t, look[string](p, `probe.shown("last-card")`), "what is not done yet is no change")
	p.everyLook("last live")

	s = playProfile(t, wholeProfile)
	s.after(before)
	p = b.open(t, s)
	await(p, strings.Join([]string{
		"Discovery 0:01.2 –", "Libraries, depth 0 1:08.4 −6.4 s", "Libraries, depth 1+ 1:52.0 –", "Applications 1:38.0 –", "Synthesis 0:32.9 +0.5 s", "Cleanup – not any more",
		"Total 5:12.5 −5.9 s", "Tokens 1.84 M +12.0 k",
	}, "; "), lastTable)
	await(p, "61019b4 / 5f20c1e", `document.getElementById("last-which").textContent`)
	await(p, "5:12|last run 5:18", `probe.kpi("elapsed")`)
	at = look[[]float64](p, lastMark)
	assert.InDelta(t, 312.5/318.4, at[1]/at[0], 0.01)
	p.everyLook("last finished")
	p.do(chromedp.EmulateViewport(1440, 900))

	// In a replay there is the mark, and no comparison of what was not over.
	p.press("r", " ")
	await(p, "", `probe.shown("last-card")`)
	p.awaits(`document.querySelector("#strip .last-run").getAttribute("visibility") === "visible"`)
	// A click beyond the end goes to the end.
	look[any](p, `(() => {
		const strip = document.getElementById("strip"), box = probe.box(strip);
		for (const type of ["pointerdown", "pointerup"]) strip.dispatchEvent(new PointerEvent(type, {bubbles: true, button: 0, buttons: 1, pointerId: 1, clientX: box.right - 2, clientY: box.top + 20}));
		return null;
	})()`)
	p.awaits(`probe.note().startsWith("5:12 of 5:12")`)
}

// A run that took longer than the last one goes on beyond its mark.
func browseLastShorter(t *testing.T, b *chromium) {
	before := slowerRun(t)
	before.TotalWallMS = 150_000
	s := playProfile(t, wholeProfile)
	s.after(before)
	p := b.open(t, s)
	await(p, "5:12|last run 2:30", `probe.kpi("elapsed")`)
	p.frames()
	at := look[[]float64](p, lastMark)
	assert.InDelta(t, 150/312.5, at[0], 0.01)
	assert.InDelta(t, 1, at[1], 0.01)
}

// browseLibraryRun opens a run from among others, and goes back to them, to the one
// before, and to both side by side.
func browseLibraryRun(t *testing.T, b *chromium) {
	logDir := filepath.Join(t.TempDir(), "logs")
	old := recordRun(t, logDir, "eigenda", time.Now().Add(-3*time.Hour), 20*time.Second, telemetry.StatusError)
	id := recordRun(t, logDir, "eigenda", time.Now().Add(-time.Hour), 50*time.Second, telemetry.StatusOK)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	server, err := serve.Listen(serve.Config{
		RunID: "runs", Page: ui.Runs, Library: library(ctx, logDir), Token: serve.NewToken(), Listen: "127.0.0.1:0",
		Fault: func(err error) { t.Errorf("the server's fault: %v", err) },
	})
	require.NoError(t, err)
	go func() { _ = server.Serve() }()
	t.Cleanup(func() { _ = server.Shutdown(context.Background()) })

	p := b.tab(t, &stage{server: server})
	page := func() {
		t.Helper()
		p.do(chromedp.EmulateViewport(1440, 900), chromedp.Navigate(server.URL()), chromedp.Navigate(fmt.Sprintf("%s/runs/%s/", server.Base(), id)))
		p.caughtUp()
	}
	page()
	p.awaits(lastTable + `.includes("Total 1:02.0 +30.0 s")`)
	p.awaits(`document.getElementById("last-notes").textContent.startsWith("The last run failed.")`)
	p.click(`document.querySelector("#home a")`)
	await(p, server.Base()+"/", `location.href`)
	p.awaits(`document.querySelectorAll("#table tbody tr").length === 2`)

	page()
	p.awaits(`document.querySelectorAll("#last-notes a").length === 2`)
	p.click(`document.querySelectorAll("#last-notes a")[0]`)
	await(p, fmt.Sprintf("%s/runs/%s/", server.Base(), old), `location.href`)
	p.caughtUp()
	await(p, "", `probe.shown("last-card")`)

	page()
	p.awaits(`document.querySelectorAll("#last-notes a").length === 2`)
	p.click(`document.querySelectorAll("#last-notes a")[1]`)
	p.awaits(`document.querySelector("#sides-totals tbody tr")?.textContent.includes("1:02.0+0:30.0")`)
}
