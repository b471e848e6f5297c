package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/report/export"
)

// browseSnapshot opens a run from disk, with no server anywhere: the timeline, and
// a replay of it.
func browseSnapshot(t *testing.T, b *chromium) {
	logDir := t.TempDir()
	id := recordRun(t, logDir, "eigenda", time.Now().Add(-time.Hour), 50*time.Second, telemetry.StatusOK)
	loaded, err := run.Load(filepath.Join(logDir, id))
	require.NoError(t, err)
	recordRun(t, logDir, "eigenda", time.Now().Add(-2*time.Hour), 20*time.Second, telemetry.StatusOK)
	path := filepath.Join(t.TempDir(), "run.html")
	file, err := os.Create(path)
	require.NoError(t, err)
	dir := filepath.Join(logDir, id)
	require.NoError(t, export.HTML(file, export.Run{State: loaded.State, Dir: dir, Last: lastOf(dir, func(look func(*run.State)) { look(loaded.State) })}))
	require.NoError(t, file.Close())

	p := b.tabAt(t, "file://"+path)
	require.NoError(t, chromedp.Do(p.ctx, chromedp.EmulateViewport(1440, 900), chromedp.Navigate("file://"+path)))
	p.awaits(`document.querySelectorAll("#rows [data-span-id]").length === 2`)
	assert.Equal(t, "Finished", look[string](p, `probe.word()`))
	assert.Equal(t, "1.5 k|", look[string](p, `probe.kpi("tokens")`)[:6])
	await(p, "1:02|last run 0:32", `probe.kpi("elapsed")`)
	p.awaits(lastTable + `.includes("Total 1:02.0 +30.0 s")`)
	assert.Zero(t, look[int](p, `document.querySelectorAll("a").length`), "there is nowhere to go to")
	p.press("r")
	p.awaits(`!document.getElementById("transport").hidden`)
	p.press("t")
	for _, name := range []string{"agents", "tools", "tokens", "text", "resources"} {
		p.tabTo(name)
	}
	assert.Equal(t, "Not recorded", look[string](p, `document.querySelector("#text-none b").textContent`))
}
