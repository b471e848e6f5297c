package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/ui"
)

// writeCast puts a recording of a terminal into the run's directory.
func (s *stage) writeCast(events ...string) {
	s.t.Helper()
	s.writeCastSized(60, 12, strings.Join(events, "\n")+"\n")
}

// writeCastSized is writeCast of a terminal of that size; events are lines.
func (s *stage) writeCastSized(cols, rows int, events string) {
	s.t.Helper()
	header := fmt.Sprintf(`{"version":2,"width":%d,"height":%d,"timestamp":%d}`, cols, rows, s.begin.Unix())
	require.NoError(s.t, os.WriteFile(filepath.Join(s.dir, "terminal.cast"), []byte(header+"\n"+events), 0o600))
}

const screenText = `[...document.querySelectorAll("#terminal-screen .tl")].map((l) => l.textContent).join("\n").trimEnd()`

// In a replay the terminal is as it was at the moment, forwards and backwards.
func browseTerminal(t *testing.T, b *chromium) {
	s := newStage(t, 60*time.Second)
	s.tellAt(time.Second, startedSpan("a"))
	s.tellAt(59*time.Second, endedWell("a"))
	s.at.Store(int64(60 * time.Second))
	s.finish(telemetry.StatusOK, map[string]any{"exit_code": 0})
	s.writeCast(
		`[1.0,"o","first \u001b[31mred\u001b[0m <img src=x onerror=window.__x=1>\r\n"]`,
		`[10.0,"o","second\r\n"]`,
		`[20.0,"o","\u001b[2J\u001b[Hcleared\u001b]0;title\u0007"]`,
		`[30.0,"r","40x6"]`,
		`[40.0,"o","\r\nlast"]`,
	)
	p := b.open(t, s)
	assert.False(t, p.asked("terminal.js"), "it is loaded when it is opened")
	assert.False(t, p.asked("terminal.cast"))
	p.press("t")
	await(p, "cleared\nlast", screenText)
	await(p, "As it was at the end", `document.getElementById("terminal-says").textContent`)
	await(p, "40x6", `document.getElementById("terminal-screen").dataset.size`)
	assert.Equal(t, 2, look[int](p, `document.scripts.length`), "the emulator left nothing in the page")
	p.awaits(`location.hash.includes("terminal=on")`)

	p.press("r", " ")
	seek := func(ms int) {
		t.Helper()
		look[any](p, fmt.Sprintf(`(() => { const s = document.getElementById("seek"); s.value = %d; s.dispatchEvent(new Event("input")); return null; })()`, ms))
	}
	for _, moment := range []struct {
		ms   int
		want string
	}{
		{500, ""}, {15_000, "first red <img src=x onerror=window.__x=1>\nsecond"}, {25_000, "cleared"}, {45_000, "cleared\nlast"}, {5000, "first red <img src=x onerror=window.__x=1>"},
	} {
		seek(moment.ms)
		await(p, moment.want, screenText)
		p.awaits(fmt.Sprintf(`document.getElementById("terminal-says").textContent.startsWith("As it was at 0:%02d of 1:00")`, moment.ms/1000))
	}
	await(p, "60x12", `document.getElementById("terminal-screen").dataset.size`)
	assert.Equal(t, "rgb(255, 138, 128)", look[string](p, `getComputedStyle([...document.querySelectorAll("#terminal-screen span")].find((s) => s.textContent === "red")).color`))
	assert.Equal(t, "undefined", look[string](p, `typeof window.__x`))
	assert.Zero(t, look[int](p, `document.querySelectorAll("#terminal-screen img").length`))

	// The link opens it again, at the moment; a telephone has it too.
	p.awaits(`location.hash.includes("replay=5&")`)
	p.do(chromedp.Reload())
	p.caughtUp()
	await(p, "first red <img src=x onerror=window.__x=1>", screenText)
	p.do(phone)
	p.frames()
	assert.True(t, look[bool](p, noSidewaysScroll))
	p.withinWidth()
	p.do(chromedp.EmulateViewport(1440, 900))
	p.press("t")
	p.awaits(`document.getElementById("terminal").hidden`)
}

// Of a run that lives the terminal is followed, a pause holds it, and a page that
// saw the end has it without the server.
func browseTerminalLive(t *testing.T, b *chromium) {
	s := newStage(t, 20*time.Second)
	s.tellAt(time.Second, startedSpan("a"))
	s.writeCast(`[1.0,"o","one\r\n"]`)
	p := b.open(t, s)
	p.click(`document.getElementById("terminal-on")`)
	look[any](p, `(document.activeElement.blur(), null)`)
	await(p, "one", screenText)
	await(p, "As it is now", `document.getElementById("terminal-says").textContent`)
	file, err := os.OpenFile(filepath.Join(s.dir, "terminal.cast"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	defer file.Close()
	say := func(line string) {
		t.Helper()
		_, err := file.WriteString(line)
		require.NoError(t, err)
	}
	say(`[21.0,"o","two`)
	say(`\r\n"]` + "\n")
	await(p, "one\ntwo", screenText)

	p.press(" ")
	await(p, "Paused", `probe.word()`)
	say(fmt.Sprintf(`[%d.0,"o","three\r\n"]`+"\n", 3000))
	time.Sleep(1500 * time.Millisecond)
	assert.Equal(t, "one\ntwo", look[string](p, screenText))
	p.press(" ", "t")
	p.awaits(`document.getElementById("terminal").hidden`)

	s.tell(endedWell("a"))
	s.finish(telemetry.StatusOK, map[string]any{"exit_code": 0})
	await(p, "Finished", `probe.word()`)
	p.expectOffline()
	s.server.Settle(t.Context())
	p.awaits(`true`)
	s.shutdown()
	p.press("t")
	await(p, "one\ntwo\nthree", screenText)
}

// A run without a recording says so, and one is not asked for.
func browseNoTerminal(t *testing.T, b *chromium) {
	s := newStage(t, 20*time.Second)
	s.tellAt(time.Second, startedSpan("a"))
	p := b.open(t, s)
	p.press("t")
	await(p, "The terminal of this run was not recorded.", `document.getElementById("terminal-says").textContent`)
	assert.False(t, p.asked("terminal.cast"))
	s.writeCast(`[1.0,"o","there it is"]`)
	await(p, "there it is", screenText)
}

// A replay can skip the stretches in which nothing happens.
func browseSkipIdle(t *testing.T, b *chromium) {
	s := newStage(t, 20*time.Minute)
	s.tellAt(time.Second, startedSpan("a"))
	s.tellAt(19*time.Minute, startedSpan("late"))
	s.tellAt(19*time.Minute+10*time.Second, endedWell("late"), endedWell("a"))
	s.at.Store(int64(20 * time.Minute))
	s.finish(telemetry.StatusOK, map[string]any{"exit_code": 0})
	p := b.open(t, s)
	p.click(`document.getElementById("replay")`)
	await(p, "Replay", `probe.word()`)
	await(p, "false", `document.getElementById("skip-idle").getAttribute("aria-pressed")`)
	p.click(`document.getElementById("skip-idle")`)
	await(p, "true", `document.getElementById("skip-idle").getAttribute("aria-pressed")`)
	await(p, "running", `probe.state("late")`)
	await(p, "done", `probe.state("late")`)
}

// A page from disk has the files that were put into it: the log, and the terminal
// of a replay.
func browseSnapshotFiles(t *testing.T, b *chromium) {
	s := newStage(t, 60*time.Second)
	s.tellAt(time.Second, startedSpan("a"))
	s.tellAt(50*time.Second, endedWell("a"))
	s.at.Store(int64(60 * time.Second))
	s.finish(telemetry.StatusOK, map[string]any{"exit_code": 0})
	s.writeCast(`[1.0,"o","one \u001b[1m</script>\u001b[0m"]`, `[30.0,"o","\r\ntwo"]`)
	var state []byte
	s.view(func(all *run.State) {
		var err error
		state, err = json.Marshal(all.Since(0, 0))
		require.NoError(t, err)
	})
	cast, err := os.ReadFile(filepath.Join(s.dir, "terminal.cast"))
	require.NoError(t, err)
	html, err := ui.Snapshot(state, ui.File{Name: "terminal.cast", Text: cast}, ui.File{Name: "tool_calls.jsonl", Text: []byte(s.ownLog())})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "run.html")
	require.NoError(t, os.WriteFile(path, html, 0o600))

	p := b.tabAt(t, "file://"+path)
	require.NoError(t, chromedp.Do(p.ctx, chromedp.EmulateViewport(1440, 900), chromedp.Navigate("file://"+path)))
	await(p, "done", `probe.state("a")`)
	p.press("t")
	await(p, "one </script>\ntwo", screenText)
	p.press("r", " ")
	look[any](p, `(() => { const s = document.getElementById("seek"); s.value = 20000; s.dispatchEvent(new Event("input")); return null; })()`)
	await(p, "one </script>", screenText)
	p.tabTo("text")
	p.awaits(`document.querySelectorAll("#pane-text tbody tr").length === 2`)
}

// A page that saw the end of its run has the recording, although nobody had opened
// it while there was a server.
func browseTerminalKept(t *testing.T, b *chromium) {
	s := newStage(t, 20*time.Second)
	s.tellAt(time.Second, startedSpan("a"))
	s.writeCast(`[1.0,"o","kept"]`)
	p := b.open(t, s)
	await(p, "running", `probe.state("a")`)
	s.tell(endedWell("a"))
	s.finish(telemetry.StatusOK, map[string]any{"exit_code": 0})
	p.expectOffline()
	s.server.Settle(t.Context())
	s.shutdown()
	await(p, "Finished", `probe.word()`)
	p.press("t")
	await(p, "kept", screenText)
}
