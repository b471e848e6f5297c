package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
)

// axe is the source of axe-core, the checker of accessibility, in the version that
// ui/test/package-lock.json names. It is installed where it is missing.
var axe = sync.OnceValues(func() (string, error) {
	const dir = "../../ui/test"
	path := filepath.Join(dir, "node_modules/axe-core/axe.min.js")
	if _, err := os.Stat(path); err != nil {
		install := osexec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
		install.Dir = dir
		if out, err := install.CombinedOutput(); err != nil {
			return "", fmt.Errorf("install axe-core with npm: %w\n%s", err, out)
		}
	}
	source, err := os.ReadFile(path)
	return string(source), err
})

// accessible checks the page with axe-core, each of its rules.
func (p *tab) accessible(what string) {
	p.t.Helper()
	source, err := axe()
	require.NoError(p.t, err)
	if !look[bool](p, `"axe" in globalThis`) {
		look[any](p, "("+`(() => {`+source+"\n})()"+`, null)`)
	}
	found := look[string](p, `axe.run(document, {resultTypes: ["violations"]}).then((r) => JSON.stringify(r.violations.map((v) => [v.id, v.help, v.nodes.slice(0, 3).map((n) => n.target.join(" ") + ": " + n.failureSummary)])))`)
	if found != "[]" {
		var indented any
		require.NoError(p.t, json.Unmarshal([]byte(found), &indented))
		text, err := json.MarshalIndent(indented, "", " ")
		require.NoError(p.t, err)
		assert.Fail(p.t, "accessibility", "%s: %s", what, text)
	}
}

// shot keeps a picture of the page for people to look at (go test -artifacts).
func (p *tab) shot(name string) {
	p.t.Helper()
	if wanted := flag.Lookup("test.artifacts"); wanted == nil || wanted.Value.String() != "true" {
		return // they take a third of the time
	}
	data, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	require.NoError(p.t, err)
	require.NoError(p.t, os.WriteFile(filepath.Join(p.t.ArtifactDir(), strings.ReplaceAll(name, " ", "-")+".png"), data, 0o644))
}

// everyLook looks at the page in both themes and both sizes: a picture, nothing
// that is cut off, no fault of accessibility.
func (p *tab) everyLook(name string) {
	p.t.Helper()
	for _, size := range []struct {
		name string
		set  chromedp.Action[chromedp.Void]
	}{{"1440x900", chromedp.EmulateViewport(1440, 900)}, {"390x844", phone}} {
		for _, theme := range []string{"light", "dark"} {
			p.do(size.set, preferring("prefers-color-scheme="+theme))
			await(p, theme, `document.documentElement.dataset.theme`)
			p.frames()
			what := strings.Join([]string{name, theme, size.name}, " ")
			p.shot(what)
			p.accessible(what)
			assert.True(p.t, look[bool](p, noSidewaysScroll), what)
		}
	}
}

// Each state that the page can be in, with what it says of itself.
func browseEveryState(t *testing.T, b *chromium) {
	wide := chromedp.EmulateViewport(1440, 900)
	// planless is a run with agents of which none was queued before.
	planless := func(t *testing.T) *stage {
		s := newStage(t, 60*time.Second)
		s.tellAt(time.Second, inPhase("one", startedSpan("a")), inPhase("one", startedSpan("b")))
		s.tellAt(9*time.Second, usedTokens("a", 5000), endedBadly("b", "context window exceeded"))
		return s
	}
	open := func(t *testing.T, s *stage) *tab { return b.open(t, s, wide) }
	for _, state := range []struct {
		name string
		show func(t *testing.T) *tab
	}{
		{"empty", func(t *testing.T) *tab {
			p := open(t, newStage(t, time.Second))
			await(p, "Connected", `probe.word()`)
			return p
		}},
		{"catching up", func(t *testing.T) *tab {
			s := planless(t)
			p := b.tab(t, s)
			// The first message is held back: what a large run takes long for.
			p.before(`(() => {
				const { addEventListener } = EventSource.prototype;
				EventSource.prototype.addEventListener = function (type, f) {
					addEventListener.call(this, type, type === "message" ? (e) => (globalThis.letGo ? f(e) : (globalThis.waiting ??= []).push([f, e])) : f);
				};
			})()`)
			p.do(wide, chromedp.Navigate(s.server.URL()))
			await(p, "Loading", `probe.word()`)
			assert.Equal(t, "–|", look[string](p, `probe.kpi("tokens")`), "no zeros that are none")
			return p
		}},
		{"live", func(t *testing.T) *tab {
			p := open(t, playProfile(t, 200*time.Second))
			await(p, "Live", `probe.word()`)
			return p
		}},
		{"no plan", func(t *testing.T) *tab {
			p := open(t, planless(t))
			await(p, "1 done|2 seen", `probe.kpi("complete")`)
			return p
		}},
		{"paused", func(t *testing.T) *tab {
			s := planless(t)
			p := open(t, s)
			p.press(" ")
			s.tell(startedSpan("c"), usedTokens("a", 6000))
			await(p, "Paused 2 events held", `probe.word() + " " + probe.note()`)
			return p
		}},
		{"offline", func(t *testing.T) *tab {
			s := playProfile(t, 200*time.Second)
			p := open(t, s)
			p.expectOffline()
			s.shutdown()
			await(p, "Offline", `probe.word()`)
			return p
		}},
		{"back", func(t *testing.T) *tab {
			s := planless(t)
			p := open(t, s)
			p.expectOffline()
			s.shutdown()
			await(p, "Offline", `probe.word()`)
			s.tell(startedSpan("c"))
			s.listen()
			p.click(`document.getElementById("retry")`)
			await(p, "Live", `probe.word()`)
			await(p, "running", `probe.state("c")`)
			assert.Empty(t, look[string](p, `probe.banner()`))
			return p
		}},
		{"finished", func(t *testing.T) *tab {
			p := open(t, playProfile(t, wholeProfile))
			await(p, "Finished", `probe.word()`)
			return p
		}},
		{"crashed", func(t *testing.T) *tab {
			dir, err := run.Create(t.TempDir(), stageRun, time.Now())
			require.NoError(t, err)
			journal := newJournal(t, dir.Path)
			begin := time.Now().Unix() - 30
			journal.write(fmt.Sprintf(`{"event":"span_start","span_id":"root","kind":"run","source":"obsrun","recv_ms":0,"ts":%d,"attrs":{"run_id":%q}}`+"\n", begin, stageRun))
			journal.write(fmt.Sprintf(`{"event":"span_start","span_id":"a","kind":"agent","name":"first","ts":%d}`+"\n"+`{"event":"span_end","sp`, begin+1))
			require.NoError(t, dir.Close())
			p := open(t, followStage(t, dir.Path))
			await(p, "Interrupted", `probe.word()`)
			await(p, "lost", `probe.state("a")`)
			return p
		}},
		{"replay", func(t *testing.T) *tab {
			s := playProfile(t, wholeProfile)
			s.writeCast(`[1.0,"o","\u001b[32mok\u001b[0m encoding\r\n"]`, `[200.0,"o","later"]`)
			p := open(t, s)
			p.press("r", " ", "t")
			look[any](p, `(() => { const s = document.getElementById("seek"); s.value = 132000; s.dispatchEvent(new Event("input")); return null; })()`)
			p.awaits(`probe.word() === "Replay" && probe.note().startsWith("2:12 of 5:12")`)
			await(p, "ok encoding", screenText)
			return p
		}},
		{"data faults", func(t *testing.T) *tab {
			dir, err := run.Create(t.TempDir(), stageRun, time.Now())
			require.NoError(t, err)
			journal := newJournal(t, dir.Path)
			begin := time.Now().Unix() - 30
			journal.write(fmt.Sprintf(`{"event":"span_start","span_id":"root","kind":"run","source":"obsrun","recv_ms":0,"ts":%d,"attrs":{"run_id":%q}}`+"\n", begin, stageRun))
			journal.write("this is no JSON\n{\"event\":\"never heard of\"}\n")
			journal.write(fmt.Sprintf(`{"event":"log","level":"warn","source":"obsrun","message":"the journal could not be written for 3 s","ts":%d}`+"\n", begin+2))
			journal.write(fmt.Sprintf(`{"event":"span_start","span_id":"a","kind":"agent","ts":%d}`+"\n", begin+1))
			journal.write(fmt.Sprintf(`{"event":"span_end","span_id":"root","source":"obsrun","status":"ok","ts":%d,"attrs":{"exit_code":0,"rejected_events":12}}`+"\n", begin+9))
			require.NoError(t, dir.Close())
			p := open(t, followStage(t, dir.Path))
			p.awaits(`probe.problems().includes("12 lines were no valid events|rejected.jsonl in the run's directory has them")`)
			p.awaits(`probe.problems().includes("the journal could not be written for 3 s|from obsrun")`)
			return p
		}},
		{"help", func(t *testing.T) *tab {
			p := open(t, planless(t))
			p.press("?")
			p.awaits(`document.getElementById("help").open`)
			return p
		}},
	} {
		t.Run(state.name, func(t *testing.T) { state.show(t).everyLook(state.name) })
	}
	t.Run("views", func(t *testing.T) {
		s := playProfile(t, 200*time.Second)
		s.writeLog(s.ownLog())
		p := open(t, s)
		p.clickRow(agentID(agentsOf("library_depth_0")[0]))
		p.press(kb.ArrowRight)
		for _, name := range []string{"timeline", "agents", "tools", "tokens", "text", "resources"} {
			p.do(wide)
			p.tabTo(name)
			p.awaits(fmt.Sprintf(`document.getElementById("pane-%s").innerText.length > 200`, name))
			p.everyLook("view " + name)
		}
	})
}
