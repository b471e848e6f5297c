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

// browseRuns goes from the list of runs to the comparison of two, back, and into
// one of them.
func browseRuns(t *testing.T, b *chromium) {
	logDir := filepath.Join(t.TempDir(), "logs")
	require.NoError(t, os.Mkdir(logDir, 0o700))
	now := time.Now()
	old := recordRun(t, logDir, "eigenda", now.Add(-3*time.Hour), 20*time.Second, telemetry.StatusOK)
	recordRun(t, logDir, "other", now.Add(-2*time.Hour), 5*time.Second, telemetry.StatusError)
	slow := recordRun(t, logDir, "eigenda", now.Add(-time.Hour), 50*time.Second, telemetry.StatusOK)

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
	require.NoError(t, chromedp.Do(p.ctx, chromedp.EmulateViewport(1440, 900), chromedp.Navigate(server.URL())))
	p.awaits(`document.querySelectorAll("#table tbody tr").length === 3`)
	text := func(selector string) string {
		return look[string](p, fmt.Sprintf(`[...document.querySelectorAll(%q)].filter((n) => !n.closest("[hidden]")).map((n) => n.textContent).join("|")`, selector))
	}
	assert.Equal(t, slow, text("#table tbody tr:first-child th"), "the newest first")
	assert.Equal(t, "ok|error|ok", text("#table tbody tr td:nth-child(3) span"))
	assert.Equal(t, "1:02.0|0:17.0|0:32.0", text("#table tbody tr td:nth-child(5)"))
	assert.Equal(t, 3, look[int](p, `document.querySelectorAll("#wall rect").length`))
	assert.True(t, look[bool](p, `document.getElementById("compare").disabled`))

	look[bool](p, `(() => { const find = document.getElementById("find"); find.value = "eigenda"; find.dispatchEvent(new Event("input")); return true })()`)
	assert.Equal(t, "2 of 3 runs", text("#count"))
	look[bool](p, `(() => { for (const box of document.querySelectorAll("#table tbody input")) box.click(); document.getElementById("compare").click(); return true })()`)
	p.awaits(`!document.getElementById("sides").hidden && document.querySelectorAll("#gantt rect").length === 4`)
	assert.Equal(t, "A|B", text("#sides-runs dt"))
	assert.Contains(t, text("#sides-runs dd:nth-of-type(1)"), old, "the older one is A")
	assert.Equal(t, "wall0:32.01:02.0+0:30.0 (+94%)", text("#sides-totals tbody tr:first-child"))
	assert.Equal(t, "<img src=x onerror=alert(1)>", text("#sides-agents tbody tr:first-child th"), "the largest change first")
	widths := look[[]float64](p, `[...document.querySelectorAll("#gantt rect")].slice(-2).map((r) => r.getBoundingClientRect().width)`)
	assert.InDelta(t, 2.5, widths[1]/widths[0], 0.05)
	look[bool](p, `(() => { document.getElementById("swap").click(); return true })()`)
	p.awaits(`document.querySelector("#sides-totals tbody tr").textContent.includes("\u22120:30.0 (\u221248%)")`)

	look[bool](p, `(() => { document.querySelector("#sides .bar1 a").click(); return true })()`)
	p.awaits(`!document.getElementById("list").hidden`)
	look[bool](p, `(() => { document.querySelector("#table tbody tr:first-child a").click(); return true })()`)
	p.awaits(`document.getElementById("run-id")?.textContent.includes("eigenda") && document.querySelectorAll("#rows [data-span-id]").length === 2`)
}
