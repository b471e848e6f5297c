package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/serve"
	"github.com/obsrun/obsrun/ui"
)

// recordRun leaves a run of two agents in logDir, the second as long as given.
func recordRun(t *testing.T, logDir, name string, started time.Time, second time.Duration, status string) string {
	t.Helper()
	dir, err := run.Create(logDir, run.NewID(name, started), started)
	require.NoError(t, err)
	defer dir.Close()
	at := started
	recorder, err := run.NewRecorder(dir.Path, func() time.Time { return at })
	require.NoError(t, err)
	require.NoError(t, recorder.Begin(dir.RunID, map[string]any{"run_id": dir.RunID, "command": []string{"./analyze"}}))
	agent := func(name string, from, to time.Duration, tokens int64) {
		for _, event := range []telemetry.Event{
			{Type: telemetry.SpanStart, SpanID: name, Kind: "library-analysis", Component: name, Phase: "library"},
			{Type: telemetry.SpanEnd, SpanID: name, Counters: telemetry.Counters{Tokens: telemetry.N(tokens)}},
		} {
			if at = started.Add(from); event.Type == telemetry.SpanEnd {
				at = started.Add(to)
			}
			event.Source = telemetry.SourceSocket
			require.NoError(t, recorder.Record(event))
		}
	}
	agent("node", 0, 10*time.Second, 1000)
	agent("<img src=x onerror=alert(1)>", 10*time.Second, 10*time.Second+second, 500)
	at = started.Add(12*time.Second + second)
	code := 0
	if status == telemetry.StatusError {
		code = 1
	}
	require.NoError(t, recorder.Finish(status, map[string]any{"exit_code": code}))
	return dir.RunID
}

// breakOff leaves a run whose obsrun was killed, thirty seconds after it began, with
// two agents at work.
func breakOff(t *testing.T, logDir, name string, started time.Time) string {
	t.Helper()
	dir, err := run.Create(logDir, run.NewID(name, started), started)
	require.NoError(t, err)
	defer dir.Close()
	at := started
	recorder, err := run.NewRecorder(dir.Path, func() time.Time { return at })
	require.NoError(t, err)
	require.NoError(t, recorder.Begin(dir.RunID, map[string]any{"run_id": dir.RunID, "command": []string{"./analyze"}}))
	for i, event := range []telemetry.Event{startedSpan("a"), startedSpan("b"), usedTokens("a", 100)} {
		at = started.Add(time.Duration(i) * 15 * time.Second)
		event.Source = telemetry.SourceSocket
		require.NoError(t, recorder.Record(event))
	}
	require.NoError(t, recorder.Sync(context.Background()))
	return dir.RunID
}

// everyWay looks at the page in every theme and size, and as people see it who have
// their browser zoomed, colours of their own, or want no motion.
func (p *tab) everyWay(name string) {
	p.t.Helper()
	p.everyLook(name)
	// What can be scrolled up and down is one thing at most: the page or a part.
	const scrollers = `[document.documentElement, ...document.querySelectorAll("body, body *")].filter((n) => n.scrollHeight > n.clientHeight + 1 &&
		(n === document.documentElement ? getComputedStyle(n).overflowY !== "hidden" : ["auto", "scroll"].includes(getComputedStyle(n).overflowY))).map((n) => n.tagName + "." + n.className + "#" + n.id)`
	for _, window := range []struct {
		name          string
		width, height int64
		scale         float64
	}{{"200 % zoom", 720, 450, 2}, {"320 px", 320, 640, 1}, {"low window", 1440, 300, 1}, {"screen", 1440, 900, 1}} {
		p.do(chromedp.EmulateViewport(window.width, window.height, chromedp.EmulateScale(window.scale)))
		await(p, window.width, `innerWidth`)
		p.frames()
		p.shot(name + " " + window.name)
		assert.True(p.t, look[bool](p, noSidewaysScroll), "%s at %s", name, window.name)
		assert.LessOrEqual(p.t, len(look[[]string](p, scrollers)), 1, "%s at %s: what scrolls: %s", name, window.name, look[[]string](p, scrollers))
		assert.Empty(p.t, look[[]string](p, `[...document.querySelectorAll("header *, .bar1 > *, figure, h3, dd")].filter((n) => n.getClientRects().length && n.getBoundingClientRect().right > innerWidth + 1).map((n) => n.tagName + "#" + n.id)`), "%s at %s: what is cut off", name, window.name)
	}
	p.do(preferring("forced-colors=active"))
	p.frames()
	p.shot(name + " forced colours")
	assert.Zero(p.t, look[int](p, `[...document.querySelectorAll(".key2 i")].filter((n) => n.getClientRects().length && /, 0\)$|rgb\(255, 255, 255\)/.test(getComputedStyle(n).backgroundColor)).length`), "%s: a key that can not be seen", name)
	bars := look[[]string](p, `[...document.querySelectorAll("svg rect")].filter((n) => n.getClientRects().length).map((n) => getComputedStyle(n).fill === "none" ? getComputedStyle(n).stroke : getComputedStyle(n).fill)`)
	assert.NotEmpty(p.t, bars)
	for _, colour := range bars {
		assert.NotContains(p.t, []string{"rgb(255, 255, 255)", "none", "rgba(0, 0, 0, 0)"}, colour, "%s: a bar that can not be seen", name)
	}
	p.accessible(name + " in forced colours")
	p.do(preferring("prefers-reduced-motion=reduce"))
	assert.Zero(p.t, look[int](p, `document.getAnimations().length`), name)
	p.do(preferring())
}

// library serves the runs below a directory, for a tab of its own: the first of its
// origins is the address.
func (b *chromium) library(t *testing.T, logDir string) *tab {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	server, err := serve.Listen(serve.Config{
		RunID: "runs", Page: ui.Runs, Library: library(ctx, logDir), Token: serve.NewToken(), Listen: "127.0.0.1:0",
		Fault: func(err error) { t.Errorf("the server's fault: %v", err) },
	})
	require.NoError(t, err)
	go func() { _ = server.Serve() }()
	t.Cleanup(func() { _ = server.Shutdown(context.Background()) })
	p := b.tab(t, &stage{server: server})
	p.origins = append([]string{server.URL()}, p.origins...)
	return p
}

// browseRuns goes from the list of runs to the comparison of two, back, and into
// one of them.
func browseRuns(t *testing.T, b *chromium) {
	logDir := filepath.Join(t.TempDir(), "logs")
	require.NoError(t, os.Mkdir(logDir, 0o700))
	now := time.Now()
	old := recordRun(t, logDir, "eigenda", now.Add(-3*time.Hour), 20*time.Second, telemetry.StatusOK)
	recordRun(t, logDir, "other", now.Add(-2*time.Hour), 5*time.Second, telemetry.StatusError)
	broken := breakOff(t, logDir, "cut", now.Add(-150*time.Minute))
	slow := recordRun(t, logDir, "eigenda", now.Add(-time.Hour), 50*time.Second, telemetry.StatusOK)

	p := b.library(t, logDir)
	require.NoError(t, chromedp.Do(p.ctx, chromedp.EmulateViewport(1440, 900), chromedp.Navigate(p.origins[0])))
	p.awaits(`document.querySelectorAll("#table tbody tr").length === 4`)
	text := func(selector string) string {
		return look[string](p, fmt.Sprintf(`[...document.querySelectorAll(%q)].filter((n) => !n.closest("[hidden]")).map((n) => n.textContent).join("|")`, selector))
	}
	assert.Equal(t, slow, text("#table tbody tr:first-child th a"), "the newest first")
	assert.Equal(t, "ok|error|interrupted|ok", text("#table tbody tr td:nth-child(3) > span"))
	assert.Equal(t, "1:02.0|0:17.0|0:30.0|0:32.0", text("#table tbody tr td:nth-child(5)"))
	assert.Equal(t, "|||2 lost|", "|"+text("#table tbody tr td:nth-child(8)"), "as the page of the run counts them")
	assert.Equal(t, 4, look[int](p, `document.querySelectorAll("#wall rect").length`))
	assert.True(t, look[bool](p, `document.getElementById("compare").disabled`))

	p.everyWay("list of runs")
	look[bool](p, `(() => { const find = document.getElementById("find"); find.value = "eigenda"; find.dispatchEvent(new Event("input")); return true })()`)
	assert.Equal(t, "2 of 4 runs", text("#count"))
	look[bool](p, `(() => { for (const box of document.querySelectorAll("#table tbody input")) box.click(); document.getElementById("compare").click(); return true })()`)
	p.awaits(`!document.getElementById("sides").hidden && document.querySelectorAll("#gantt rect").length === 4`)
	assert.Equal(t, "A|B", text("#sides-runs dt"))
	assert.Contains(t, text("#sides-runs dd:nth-of-type(1)"), old, "the older one is A")
	assert.Equal(t, "wall0:32.01:02.0+0:30.0 (+94%)", text("#sides-totals tbody tr:first-child"))
	assert.Equal(t, "<img src=x onerror=alert(1)>", text("#sides-agents tbody tr:first-child th"), "the largest change first")
	widths := look[[]float64](p, `[...document.querySelectorAll("#gantt rect")].slice(-2).map((r) => r.getBoundingClientRect().width)`)
	assert.InDelta(t, 2.5, widths[1]/widths[0], 0.05)
	p.everyWay("comparison of runs")
	look[bool](p, `(() => { document.getElementById("swap").click(); return true })()`)
	p.awaits(`document.querySelector("#sides-totals tbody tr").textContent.includes("\u22120:30.0 (\u221248%)")`)

	look[bool](p, `(() => { document.querySelector("#sides .bar1 a").click(); return true })()`)
	p.awaits(`!document.getElementById("list").hidden`)
	look[bool](p, `(() => { document.querySelector("#table tbody tr:first-child a").click(); return true })()`)
	p.awaits(`document.getElementById("run-id")?.textContent.includes("eigenda") && document.querySelectorAll("#rows [data-span-id]").length === 2`)
	p.click(`document.querySelector("#home a")`)
	p.awaits(`document.querySelectorAll("#table tbody tr").length === 4`)
	look[bool](p, fmt.Sprintf(`([...document.querySelectorAll("#table tbody a")].find((a) => a.textContent === %q).click(), true)`, broken))
	p.awaits(`document.documentElement.dataset.caughtUp`)
	await(p, "2", `probe.kpi("problems").split("|")[0]`)
}
