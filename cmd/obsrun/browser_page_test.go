package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"image/png"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

var writePicture = flag.Bool("screenshot", false, "write testdata/dashboard.png, the picture in README.md")

// hostile are names that somebody could give an agent.
var hostile = map[string]string{
	"markup":   `<img src=x onerror="window.__x=1"><b>bold</b>`,
	"script":   `</script><script>window.__x=1</script><!--`,
	"template": "${window.__x=1} {{window.__x=1}} javascript:window.__x=1",
	"rtl":      "\u202Ereversed \u05E9\u05DC\u05D5\u05DD \u2066isolate",
	"emoji":    "👩‍👩‍👧‍👦 🇩🇪 e\u0301 \U0001F9D9\U0001F3FD",
	"ansi":     "\x1b[31mred\x1b[0m\x07\r\n\ttab",
	"long":     strings.Repeat("long ", 2000),
	"wide":     strings.Repeat("W", 10_000),
	"proto":    "__proto__",
	"nul":      "a\x00b\ufeffc",
	"quotes":   `"'` + "`" + `\ ]] ; }`,
}

// Names and messages are text, whatever is in them.
func browseHostileNames(t *testing.T, b *chromium) {
	s := hostileStage(t)
	p := b.open(t, s)
	await(p, len(hostile)*2, `probe.rows().filter((r) => r.id).length`)
	p.frames()
	shown := make(map[string]shownRow)
	for _, row := range look[[]shownRow](p, `probe.rows()`) {
		shown[row.ID] = row
	}
	for id, name := range hostile {
		for _, span := range []string{id, "bad " + name} {
			want := name
			if text := []rune(name); len(text) > 300 {
				want = string(text[:300]) + "…"
			}
			assert.Equal(t, want, shown[span].Name, id)
			quoted, err := json.Marshal(span)
			require.NoError(t, err)
			look[*bool](p, fmt.Sprintf(`(probe.row(%s).click(), null)`, quoted))
			await(p, "s:"+span, `probe.selected()`)
		}
	}
	await(p, len(hostile)*2, `probe.problems().length`)
	assert.Zero(t, look[int](p, `document.querySelectorAll("img, iframe, object, embed, a, #rows b, #rows script, .rail script").length`))
	assert.Equal(t, 2, look[int](p, `document.scripts.length`), "the page's own")
	assert.Equal(t, "undefined", look[string](p, `typeof window.__x`))
	assert.True(t, look[bool](p, `({}).polluted === undefined && Object.prototype.id === undefined`))
	assert.LessOrEqual(t, look[float64](p, `document.documentElement.scrollWidth - innerWidth`), 0.0)
	assert.Less(t, look[int](p, `document.title.length`), 200)
	// Of a name and a count the name is cut off.
	assert.Equal(t, len(hostile), look[int](p, `[...document.querySelectorAll("#rows .grp .nm i")].filter((i) => i.textContent === "1/2" && i.scrollWidth <= i.clientWidth).length`))
	// A row is as high as any other, whatever its name.
	assert.Equal(t, 1, look[int](p, `new Set([...document.querySelectorAll("#rows .agent")].map((r) => r.offsetHeight)).size`))
}

// hostileStage is a run in which everything that can be named is named badly.
func hostileStage(t *testing.T) *stage {
	t.Helper()
	evil := hostile["markup"] + hostile["script"]
	s := newStage(t, 20*time.Second, "run_id", evil, "source_repo", "https://"+evil, "source_commit", evil, "host", evil)
	for id, name := range hostile {
		s.record(
			telemetry.Event{Type: telemetry.SpanStart, SpanID: id, Name: name, Component: evil, Kind: name + "-analysis", Phase: name, Attrs: telemetry.Attrs(map[string]any{"__proto__": map[string]any{"polluted": 1}})},
			telemetry.Event{Type: telemetry.SpanStart, SpanID: id + "/tool", Parent: id, Name: name, Kind: telemetry.KindTool},
			telemetry.Event{Type: telemetry.SpanUpdate, SpanID: id, Message: name},
			telemetry.Event{Type: telemetry.SpanStart, SpanID: "bad " + name, Name: name, Kind: "agent", Phase: name},
			endedBadly("bad "+name, name),
			telemetry.Event{Type: telemetry.Log, Level: "error", Message: name, SpanID: id},
			telemetry.Event{Type: telemetry.Phase, Name: name, Counts: map[string]float64{name: 3}},
		)
	}
	s.sync()
	return s
}

// The token in the address is traded for a cookie that no script can read, and is
// nowhere afterwards.
func browseToken(t *testing.T, b *chromium) {
	s := newStage(t, time.Second)
	s.tell(startedSpan("a"))
	p := b.open(t, s)
	assert.Equal(t, s.server.Base()+"/", look[string](p, `location.href`))
	p.cookieIsClosed(s)
	assert.Empty(t, look[string](p, `document.cookie + document.referrer`))
	history, err := chromedp.Call(p.ctx, page.GetNavigationHistory, cdp.Empty{})
	require.NoError(t, err)
	for _, entry := range history.Entries {
		assert.NotContains(t, entry.URL, s.config.Token)
	}
	assert.False(t, look[bool](p, fmt.Sprintf(`document.documentElement.outerHTML.includes(%q)`, s.config.Token)))

	p.do(chromedp.Reload())
	p.caughtUp()
	await(p, "running", `probe.state("a")`)
	assert.Equal(t, "reload", look[string](p, `performance.getEntriesByType("navigation")[0].type`))

	stranger := b.tab(t, s)
	stranger.expectOffline() // 401 is logged
	for _, path := range []string{"/", "/?token=wrong", "/state"} {
		stranger.do(chromedp.Navigate(s.server.Base() + path))
		assert.Contains(t, look[string](stranger, `document.body.innerText`), "run.json")
		assert.Empty(t, look[string](stranger, `document.documentElement.dataset.caughtUp ?? ""`))
	}
}

func (p *tab) cookieIsClosed(s *stage) {
	p.t.Helper()
	cookies, err := chromedp.Call(p.ctx, network.GetCookies, network.GetCookiesParams{})
	require.NoError(p.t, err)
	require.Len(p.t, cookies.Cookies, 1)
	cookie := cookies.Cookies[0]
	assert.Equal(p.t, "obsrun_"+stageRun, cookie.Name)
	assert.True(p.t, cookie.HTTPOnly)
	assert.Equal(p.t, network.CookieSameSiteStrict, cookie.SameSite)
}

// The address that obsrun opens itself works once.
func browseCode(t *testing.T, b *chromium) {
	s := newStage(t, time.Second)
	address := s.server.OpenURL()
	assert.NotContains(t, address, s.config.Token)
	first, second := b.tab(t, s), b.tab(t, s)
	first.do(chromedp.Navigate(address))
	first.caughtUp()
	assert.Equal(t, s.server.Base()+"/", look[string](first, `location.href`))
	first.cookieIsClosed(s)
	second.expectOffline() // 401 is logged
	second.do(chromedp.Navigate(address))
	assert.Contains(t, look[string](second, `document.body.innerText`), "token")
}

var phone = chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch)

const noSidewaysScroll = `document.documentElement.scrollWidth <= innerWidth && innerWidth === visualViewport.width`

// On a telephone everything is one column, and nothing has to be moved sideways.
func browsePhone(t *testing.T, b *chromium) {
	for name, stage := range map[string]func(*testing.T) *stage{
		"working":  func(t *testing.T) *stage { return playProfile(t, 200*time.Second) },
		"finished": func(t *testing.T) *stage { return playProfile(t, wholeProfile) },
		"empty":    func(t *testing.T) *stage { return newStage(t, time.Second) },
		"hostile":  hostileStage,
	} {
		t.Run(name, func(t *testing.T) {
			s := stage(t)
			p := b.open(t, s, phone)
			p.frames()
			assert.Equal(t, 390.0, look[float64](p, `innerWidth`))
			assert.True(t, look[bool](p, noSidewaysScroll))
			p.withinWidth()
			if name != "working" {
				return
			}
			// A row has its bar below its name, and is large enough for a finger.
			p.awaits(`[...document.querySelectorAll("#rows .agent")].length > 0`)
			assert.True(t, look[bool](p, `[...document.querySelectorAll("#rows .agent")].every((row) => {
				const name = probe.box(row.querySelector(".label")), lane = probe.box(row.querySelector(".lane"));
				return lane.top >= name.bottom - 4 && row.offsetHeight >= 40;
			})`))
			assert.True(t, look[bool](p, `[...document.querySelectorAll("button")].filter((b) => b.offsetParent && b.closest("header, .bar1")).every((b) => b.offsetHeight >= 40)`))
			p.expectOffline()
			s.shutdown()
			await(p, "Offline", `probe.word()`)
			p.frames()
			assert.True(t, look[bool](p, noSidewaysScroll))
			p.withinWidth()
		})
	}
}

// withinWidth tells that nothing sticks out at the right where it would be cut off.
func (p *tab) withinWidth() {
	p.t.Helper()
	assert.Empty(p.t, look[[]string](p, `[...document.querySelectorAll("header *, .kpi, .bar1 > *, .card, .banner > *, .row, .ticks")]
		.filter((n) => n.offsetParent && probe.box(n).right > innerWidth + 1).map((n) => n.tagName + "." + n.className + "#" + n.id)`))
}

// wholeTicks tells that no label of the time axis is cut off.
func (p *tab) wholeTicks() {
	p.t.Helper()
	assert.Empty(p.t, look[[]string](p, `(() => {
		const box = probe.box(document.getElementById("ticks"));
		return [...document.querySelectorAll("#ticks span")].filter((s) => probe.box(s).right > box.right + 0.5 || probe.box(s).left < box.left - 0.5).map((s) => s.textContent);
	})()`))
}

// Between a telephone and a screen nothing is cut off either: 720 px are a screen whose
// browser is zoomed to 200 %.
func browseWidths(t *testing.T, b *chromium) {
	s := playProfile(t, 200*time.Second)
	p := b.open(t, s)
	await(p, 10, `probe.rows().filter((r) => r.id && r.state === "running").length`)
	for _, size := range [][2]int64{{320, 640}, {600, 900}, {720, 450}, {761, 900}, {900, 700}, {1101, 700}, {1440, 900}, {2560, 1440}} {
		p.do(chromedp.EmulateViewport(size[0], size[1]))
		await(p, size[0], `innerWidth`)
		p.frames()
		assert.True(t, look[bool](p, noSidewaysScroll), "%d px", size[0])
		p.withinWidth()
		p.wholeTicks()
		await(p, true, `probe.rows().some((r) => r.id && r.state === "running")`)
		// The bars follow the width that there is now.
		p.awaits(`[...document.querySelectorAll("#rows .bx.running")].every((b) => {
			const lane = probe.box(b.parentNode), bar = probe.box(b);
			return bar.right <= lane.right + 1 && bar.right > lane.left + lane.width * 0.85;
		})`)
	}
}

// stripesRest tells that the stripes of running bars stay where they are, and that
// nothing else is animated.
const stripesRest = `document.getAnimations().length === 0 && new Promise((done) => {
	const was = document.getElementById("grid").dataset.step;
	setTimeout(() => done(document.getElementById("grid").dataset.step === was), 600);
})`

// Who wants no motion gets none.
func browseReducedMotion(t *testing.T, b *chromium) {
	s := newStage(t, 10*time.Second)
	s.tellAt(time.Second, startedSpan("a"))
	p := b.open(t, s)
	await(p, "running", `probe.state("a")`)
	const stripes = `getComputedStyle(probe.bar(probe.row("a")), "::before").transform`
	p.awaits(fmt.Sprintf(`(globalThis.were ??= %[1]s) !== %[1]s`, stripes))
	p.do(preferring("prefers-reduced-motion=reduce"))
	await(p, "none", stripes)
	width := look[float64](p, `probe.barBox("a").width`)
	for range 4 {
		step := look[string](p, `document.getElementById("grid").dataset.step`)
		p.awaits(fmt.Sprintf(`document.getElementById("grid").dataset.step !== %q`, step))
		assert.Equal(t, "none", look[string](p, stripes))
	}
	p.awaits(fmt.Sprintf(`probe.kpi("elapsed") !== "0:10|" && probe.barBox("a").width > %v`, width))
	assert.Zero(t, look[int](p, `document.getAnimations().length`))
}

// The theme is the system's, also when that changes, until the user chooses.
func browseDark(t *testing.T, b *chromium) {
	const light, dark = "light rgb(245, 246, 248)", "dark rgb(13, 17, 22)"
	const theme = `document.documentElement.dataset.theme + " " + getComputedStyle(document.body).backgroundColor`
	s := playProfile(t, wholeProfile)
	p := b.open(t, s, chromedp.EmulateViewport(1440, 900), preferring("prefers-color-scheme=dark"))
	await(p, dark, theme)
	await(p, 5, `new Set(probe.rows().map((r) => r.colour)).size`)
	assert.Equal(t, "rgb(91, 140, 238)", look[string](p, `probe.rows().find((r) => r.phase === "library_depth_0").colour`))
	p.do(preferring("prefers-color-scheme=light"))
	await(p, light, theme)
	p.click(`document.getElementById("theme")`)
	p.click(`document.getElementById("theme")`)
	await(p, dark, theme)
	p.do(chromedp.Reload())
	p.caughtUp()
	await(p, dark, theme)
}

// Where the system forces its colours, bars can still be seen.
func browseForcedColours(t *testing.T, b *chromium) {
	s := playProfile(t, 100*time.Second)
	p := b.open(t, s, chromedp.EmulateViewport(1440, 900), preferring("forced-colors=active"))
	await(p, 39, `probe.rows().length`)
	p.press(kb.ArrowDown)
	assert.Zero(t, look[int](p, `[...document.querySelectorAll("#rows :is(.bx.done, .bx.running, .band)")].filter((b) => /, 0\)$|transparent/.test(getComputedStyle(b).backgroundColor)).length`))
	assert.Equal(t, "solid", look[string](p, `getComputedStyle(document.querySelector("#rows [aria-selected=true]")).outlineStyle`))
}

// Everything can be done without a mouse.
func browseKeyboard(t *testing.T, b *chromium) {
	s := playProfile(t, wholeProfile)
	p := b.open(t, s)
	await(p, 39, `probe.rows().length`)
	p.frames()
	rows := look[[]shownRow](p, `probe.rows()`)
	key := func(i int) string {
		if rows[i].ID != "" {
			return "s:" + rows[i].ID
		}
		return "p:" + rows[i].Phase
	}
	at := func(i int) {
		t.Helper()
		await(p, key(i), `probe.selected()`)
		await(p, key(i), `probe.focused()`)
		assert.Equal(t, key(i), look[string](p, `[...document.querySelectorAll("[role=row][tabindex='0']")].map((r) => r.dataset.key).join()`), "one row is reached with Tab")
		assert.True(t, look[bool](p, `document.activeElement.matches(":focus-visible")`))
	}
	assert.Equal(t, 1, look[int](p, `document.querySelectorAll("[role=row][tabindex='0']").length`))
	p.press(kb.ArrowDown)
	at(0)
	p.press(kb.ArrowDown, kb.ArrowDown)
	at(2)
	p.press("j", "j", "k")
	at(3)
	p.press(kb.ArrowUp)
	at(2)
	p.press(kb.End)
	at(38)
	p.press(kb.ArrowDown)
	at(38)
	p.press(kb.Home)
	at(0)
	p.press(kb.ArrowUp)
	at(0)
	p.press("]", "]")
	at(11)
	p.press("[")
	at(1)

	// Left closes a phase, Right opens it and goes in.
	assert.Equal(t, "true", look[string](p, `probe.phase("library_depth_0").getAttribute("aria-expanded")`))
	p.press(kb.ArrowLeft)
	await(p, "false", `probe.phase("library_depth_0").getAttribute("aria-expanded")`)
	await(p, 30, `probe.rows().length`)
	at(1)
	p.press(kb.ArrowRight)
	await(p, 39, `probe.rows().length`)
	p.press(kb.ArrowRight)
	at(2)
	p.press(kb.ArrowLeft)
	at(1)

	// Tab leaves the grid at once, and comes back to the row.
	p.press(kb.Tab)
	assert.NotEqual(t, key(1), look[string](p, `probe.focused()`))
	p.do(stroke(kb.Tab, kb.ModifierShift))
	at(1)

	p.press("?")
	p.awaits(`document.getElementById("help").open`)
	p.press(kb.ArrowDown)
	assert.Equal(t, key(1), look[string](p, `probe.selected()`), "the dialog has its own keys")
	p.press(kb.Escape)
	p.awaits(`!document.getElementById("help").open`)
	at(1)
	p.press(kb.Escape)
	await(p, "", `probe.selected()`)
}

// Searching and hiding take rows away, and give them back.
func browseFindAndHide(t *testing.T, b *chromium) {
	s := playProfile(t, 100*time.Second)
	p := b.open(t, s)
	await(p, 39, `probe.rows().length`)
	p.press("/")
	await(p, "find", `probe.focused()`)
	name := agentsOf("library_depth_0")[0].Name
	p.press(name)
	p.awaits(fmt.Sprintf(`probe.rows().length > 0 && probe.rows().filter((r) => r.level === "2").every((r) => r.name.includes(%q))`, name))
	assert.Equal(t, name, look[string](p, `document.getElementById("find").value`), "letters are text there")
	p.press(kb.Escape)
	await(p, 39, `probe.rows().length`)
	p.press("x")
	await(p, "true", `document.getElementById("hide-done").getAttribute("aria-pressed")`)
	await(p, 0, `probe.rows().filter((r) => r.level === "2" && r.state === "done").length`)
	p.awaits(`probe.rows().some((r) => r.state === "running" && r.id)`)
	p.press("x")
	await(p, 39, `probe.rows().length`)
}

// The page follows the run until the user takes hold of it, and again when asked.
func browseFollow(t *testing.T, b *chromium) {
	s := newStage(t, 30*time.Second)
	s.at.Store(int64(time.Second))
	for i := range 200 {
		id := fmt.Sprintf("agent %03d", i)
		s.record(queuedSpan(id))
		if i < 100 {
			s.record(startedSpan(id), endedWell(id))
		}
	}
	s.sync()
	s.clockRuns()
	s.tell(startedSpan("agent 100"))
	const inView = `(() => { const row = probe.row(%q); if (!row) return false; const b = probe.box(row), g = probe.box(document.getElementById("scroll")); return b.top >= g.top && b.bottom <= g.bottom; })()`
	p := b.open(t, s)
	p.awaits(fmt.Sprintf(inView, "agent 100"))
	s.tell(endedWell("agent 100"), startedSpan("agent 180"))
	p.awaits(fmt.Sprintf(inView, "agent 180"))

	p.press(kb.Home)
	await(p, "s:agent 000", `probe.selected()`)
	p.awaits(fmt.Sprintf(inView, "agent 000"))
	await(p, "false", `document.getElementById("follow").getAttribute("aria-pressed")`)
	top := look[float64](p, `document.getElementById("scroll").scrollTop`)
	for i := range 100 {
		s.record(usedTokens("agent 180", int64(i+1)))
	}
	s.tell(endedWell("agent 180"), startedSpan("agent 190"))
	await(p, "102 done", `probe.kpi("complete").replace(/^.*\|(\d+) of .*$/, "$1 done")`)
	p.frames()
	assert.Equal(t, top, look[float64](p, `document.getElementById("scroll").scrollTop`), "nothing a user does is undone by an event")
	assert.Equal(t, "s:agent 000", look[string](p, `probe.selected()`))
	p.press("l")
	p.awaits(fmt.Sprintf(inView, "agent 190"))
	assert.Equal(t, "s:agent 000", look[string](p, `probe.selected()`))
}

// A run of ten thousand agents is as smooth as one of ten.
func browseManySpans(t *testing.T, b *chromium) {
	const many = 10_000
	s := newStage(t, 100*time.Second)
	for i := range many {
		s.at.Store(int64(time.Duration(i) * 8 * time.Millisecond))
		id := fmt.Sprint("agent ", i)
		s.record(inPhase(fmt.Sprint("phase_", i/500), startedSpan(id)))
		if i < many-500 {
			s.record(endedWell(id))
		}
	}
	s.sync()
	s.clockRuns()
	p := b.open(t, s)
	await(p, fmt.Sprintf("%d done|%d seen", many-500, many), `probe.kpi("complete")`)
	assert.Equal(t, fmt.Sprint(many+20+1), look[string](p, `document.getElementById("scroll").getAttribute("aria-rowcount")`))

	// Frames while events come and somebody scrolls through all of it, which draws
	// every row anew in every frame. The bounds are loose: nothing here is drawn by
	// a GPU, and the machine has other work. What they catch is work that grows with
	// the run.
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for n := int64(1); ; n++ {
			select {
			case <-stop:
				return
			case <-ticker.C:
				e := usedTokens(fmt.Sprint("agent ", many-1-n%500), n)
				e.Source = telemetry.SourceSocket
				_ = s.recorder.Record(e)
			}
		}
	}()
	frames := look[[]float64](p, `new Promise((done) => {
		const scroll = document.getElementById("scroll"), frames = [];
		let last = performance.now();
		const step = (now) => {
			frames.push(now - last);
			last = now;
			scroll.dispatchEvent(new WheelEvent("wheel"));
			scroll.scrollTop = (scroll.scrollHeight - scroll.clientHeight) * frames.length / 60;
			frames.length < 60 ? requestAnimationFrame(step) : done(frames.sort((a, b) => a - b));
		};
		requestAnimationFrame(step);
	})`)
	close(stop)
	<-stopped
	t.Logf("frames: median %.0f ms, 95 %% %.0f ms, longest %.0f ms", frames[len(frames)/2], frames[len(frames)*95/100], frames[len(frames)-1])
	assert.Less(t, frames[len(frames)/2], 120.0, "median frame, ms")
	assert.Less(t, frames[len(frames)*95/100], 400.0, "95th percentile of the frames, ms")
	assert.Less(t, look[int](p, `document.querySelectorAll("*").length`), 3000, "elements on the page")
	p.awaits(`probe.row("agent 9999") !== null`)

	p.press(kb.Home)
	p.awaits(`probe.selected() === "p:phase_0" && probe.focused() === "p:phase_0"`)
	s.tell(endedBadly("agent 9999", "the last one"))
	p.awaits(`probe.problems().join().startsWith("agent 9999 failed")`)
	p.press("e")
	p.awaits(`probe.selected() === "s:agent 9999" && probe.row("agent 9999")`)
}

// The picture in README.md: the run of 35 agents on its way.
func browsePicture(t *testing.T, b *chromium) {
	s := playProfile(t, 200*time.Second)
	s.after(slowerRun(t))
	p := b.open(t, s)
	await(p, 10, `probe.rows().filter((r) => r.id && r.state === "running").length`)
	p.awaits(`probe.kpi("elapsed").endsWith("last run 5:18")`)
	p.clickRow(agentID(agentsOf("application_analysis")[4]))
	p.awaits(`document.querySelectorAll("#mix-names span").length > 0`)
	p.frames()
	ctx := p.ctx
	data, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	require.NoError(t, err)
	picture, err := png.DecodeConfig(bytes.NewReader(data))
	require.NoError(t, err)
	assert.Equal(t, []int{1440, 900}, []int{picture.Width, picture.Height})
	if *writePicture {
		require.NoError(t, os.WriteFile("../../testdata/dashboard.png", data, 0o644))
	}
}
