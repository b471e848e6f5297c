package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/ui"
)

// browseSnapshot opens a run from disk, with no server anywhere: the timeline, and
// a replay of it.
func browseSnapshot(t *testing.T, b *chromium) {
	logDir := t.TempDir()
	id := recordRun(t, logDir, "eigenda", time.Now().Add(-time.Hour), 50*time.Second, telemetry.StatusOK)
	loaded, err := run.Load(filepath.Join(logDir, id))
	require.NoError(t, err)
	state, err := json.Marshal(loaded.State.Since(0, 0))
	require.NoError(t, err)
	html, err := ui.Snapshot(state)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "run.html")
	require.NoError(t, os.WriteFile(path, html, 0o600))

	p := b.tabAt(t, "file://"+path)
	require.NoError(t, chromedp.Do(p.ctx, chromedp.EmulateViewport(1440, 900), chromedp.Navigate("file://"+path)))
	p.awaits(`document.querySelectorAll("#rows [data-span-id]").length === 2`)
	assert.Equal(t, "Finished", look[string](p, `probe.word()`))
	assert.Equal(t, "1.5 k|", look[string](p, `probe.kpi("tokens")`)[:6])
	p.press("r")
	p.awaits(`!document.getElementById("transport").hidden`)
	p.press("t")
	for _, name := range []string{"agents", "tools", "tokens", "text", "resources"} {
		p.tabTo(name)
	}
	assert.Equal(t, "Not recorded", look[string](p, `document.querySelector("#text-none b").textContent`))
}
