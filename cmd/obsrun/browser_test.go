package main

import (
	"context"
	"encoding/json"
	"fmt"
	osexec "os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/css"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience bounds every wait for the page. It is long because it is only reached
// by a test that fails, on a machine that does other things too.
const patience = 15 * time.Second

// TestBrowser shows runs in a real Chromium and looks at what a person would see:
// roles, names, states, words and boxes, no pixels. Each of its tests has a run, a
// server and a tab of its own; the browser is shared.
func TestBrowser(t *testing.T) {
	b := startChromium(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *chromium)
	}{
		{"live start", browseLiveStart},
		{"progress", browseProgress},
		{"burn", browseBurn},
		{"skewed clock", browseSkewedClock},
		{"states", browseStates},
		{"nesting", browseNesting},
		{"profile moments", browseProfileMoments},
		{"profile end", browseProfileEnd},
		{"numbers", browseNumbers},
		{"error", browseError},
		{"retry", browseRetry},
		{"stall", browseStall},
		{"reconnect", browseReconnect},
		{"journal of another process", browseForeignJournal},
		{"finish", browseFinish},
		{"ends", browseEnds},
		{"hostile names", browseHostileNames},
		{"token", browseToken},
		{"code", browseCode},
		{"phone", browsePhone},
		{"widths", browseWidths},
		{"reduced motion", browseReducedMotion},
		{"dark", browseDark},
		{"forced colours", browseForcedColours},
		{"keyboard", browseKeyboard},
		{"find and hide", browseFindAndHide},
		{"follow", browseFollow},
		{"own log", browseOwnLog},
		{"no log", browseNoLog},
		{"source", browseSource},
		{"trackers", browseTrackers},
		{"lanes", browseLanes},
		{"area", browseArea},
		{"machine", browseMachine},
		{"hostile log", browseHostileLog},
		{"leak", browseLeak},
		{"growth", browseGrowth},
		{"terminal", browseTerminal},
		{"terminal live", browseTerminalLive},
		{"terminal kept", browseTerminalKept},
		{"no terminal", browseNoTerminal},
		{"skip idle", browseSkipIdle},
		{"snapshot files", browseSnapshotFiles},
		{"every state", browseEveryState},
		{"many spans", browseManySpans},
		{"runs", browseRuns},
		{"snapshot", browseSnapshot},
		{"last run", browseLast},
		{"strip", browseStrip},
		{"zoom", browseZoom},
		{"deep link", browseDeepLink},
		{"matches", browseMatches},
		{"pause", browsePause},
		{"agents", browseAgents},
		{"replay", browseReplay},
		{"graph", browseGraph},
		{"blocks", browseBlocks},
		{"table", browseTable},
		{"interrupted", browseInterrupted},
		{"evidence", browseEvidence},
		{"not recorded", browseNotRecorded},
		{"readings", browseReadings},
		{"terminal size", browseTerminalSize},
		{"last run was shorter", browseLastShorter},
		{"run among others", browseLibraryRun},
		{"picture", browsePicture},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, b) })
	}
}

// chromium is the browser that all tests share.
type chromium struct{ ctx context.Context }

func startChromium(t *testing.T) *chromium {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromiumPath(t)),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.WindowSize(1440, 900),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
	)
	allocator, free := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(free)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx), "start Chromium")
	return &chromium{ctx}
}

func chromiumPath(t *testing.T) string {
	t.Helper()
	for _, name := range []string{
		"chromium", "chromium-browser", "google-chrome", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
	} {
		if path, err := osexec.LookPath(name); err == nil {
			return path
		}
	}
	require.FailNow(t, "there is no Chromium on this machine; `make tools` installs one")
	return ""
}

// tab is one tab with cookies of its own. When its test ends it must have been
// silent: no violation of the policy, no complaint on the console, no request to
// anybody but its own server.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	origins  []string // that it may ask
	requests []string
	messages []string // of the state's stream
	faults   []string
	offline  bool // failed requests are expected
}

// probe is what the tests know of the page: where to find the things that a
// person sees. It also watches what a test could not ask for afterwards.
const probe = `(() => {
const text = (node) => (node && !node.closest("[hidden]") ? node.textContent : "");
const id = (name) => document.getElementById(name);
const probe = globalThis.probe = {
  violations: [], streams: [], timers: new Set(), seen: {},
  row: (span) => [...document.querySelectorAll("#rows [data-span-id]")].find((row) => row.dataset.spanId === span) ?? null,
  phase: (name) => document.querySelector('[role=row][data-phase="' + CSS.escape(name) + '"]'),
  state: (span) => probe.row(span)?.dataset.state ?? "",
  bar: (row) => row.querySelector(".lane > :is(.bx, .band)"),
  box: (node) => { const b = node.getBoundingClientRect(); return {left: b.left, right: b.right, top: b.top, bottom: b.bottom, width: b.width, height: b.height}; },
  barBox: (span) => probe.box(probe.bar(probe.row(span))),
  lane: (span) => probe.row(span)?.querySelector(".lane").getAttribute("aria-label") ?? "",
  nowX: () => document.querySelector("#over .now").getBoundingClientRect().left,
  said: (span) => text(probe.row(span)?.querySelector(".lb")),
  word: () => text(id("live-word")),
  shown: (name) => text(id(name)),
  note: () => text(id("live-note")),
  banner: () => text(id("banner")),
  kpi: (name) => [text(id("kpi-" + name).querySelector("b")), text(id("kpi-" + name).querySelector("small"))].join("|"),
  rows: () => [...document.querySelectorAll("#rows [role=row]")].map((row) => ({
    id: row.dataset.spanId ?? "", phase: row.dataset.phase ?? "", state: row.dataset.state, level: row.getAttribute("aria-level"),
    name: text(row.querySelector(".label")), note: text(row.querySelector(".nm i")),
    time: text(row.querySelectorAll("[role=gridcell]")[0]), tokens: text(row.querySelectorAll("[role=gridcell]")[1]), tools: text(row.querySelectorAll("[role=gridcell]")[2]),
    colour: probe.bar(row).hidden ? "" : getComputedStyle(probe.bar(row)).backgroundColor,
  })),
  problems: () => [...document.querySelectorAll("#problems .att")].map((p) => [text(p.querySelector("b")), text(p.querySelector(".what"))].join("|")),
  selected: () => [...document.querySelectorAll("#rows [aria-selected=true]")].map((r) => r.dataset.key).join(),
  focused: () => document.activeElement?.dataset?.key ?? document.activeElement?.id ?? "",
  empty: () => text(id("empty")),
  all: () => [document.title, probe.word(), probe.banner(), ...["elapsed", "phase", "complete", "active", "tokens", "tools", "problems"].map(probe.kpi), probe.empty(), probe.problems().join("; "),
    ...probe.rows().slice(0, 50).map((r) => [r.level, r.id || r.phase, r.state, r.name, r.note, r.time, r.tokens, r.tools].join(" "))].join("\n"),
};
document.addEventListener("securitypolicyviolation", (e) => probe.violations.push(e.violatedDirective + " " + e.blockedURI));
const { setInterval, clearInterval, EventSource } = globalThis;
globalThis.setInterval = (...args) => { const timer = setInterval(...args); probe.timers.add(timer); return timer; };
globalThis.clearInterval = (timer) => { probe.timers.delete(timer); clearInterval(timer); };
globalThis.EventSource = class extends EventSource { constructor(...args) { super(...args); probe.streams.push(this); } };
addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
  for (const node of document.querySelectorAll("#rows [data-span-id], #problems [data-span-id]")) {
    const key = (node.closest("#rows") ? "row " : "problem ") + node.dataset.spanId;
    probe.seen[key] ??= Date.now();
  }
}).observe(document.body, {subtree: true, childList: true, attributes: true, attributeFilter: ["data-span-id"]}));
})()`

// open opens an address of the stage's server in a new tab, sized like a screen.
func (b *chromium) open(t *testing.T, s *stage, prepare ...chromedp.Action[chromedp.Void]) *tab {
	t.Helper()
	p := b.tab(t, s)
	if len(prepare) == 0 {
		prepare = append(prepare, chromedp.EmulateViewport(1440, 900))
	}
	require.NoError(t, chromedp.Do(p.ctx, append(prepare, chromedp.Navigate(s.server.URL()))...))
	p.caughtUp()
	return p
}

// tab opens an empty one.
func (b *chromium) tab(t *testing.T, s *stage) *tab {
	t.Helper()
	return b.tabAt(t, s.server.Base()+"/")
}

// tabAt opens an empty one that may ask for what begins with origin.
func (b *chromium) tabAt(t *testing.T, origin string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	p := &tab{t: t, ctx: ctx, origins: []string{origin}}
	t.Cleanup(func() {
		p.dump()
		if !t.Failed() {
			p.silent()
		}
		cancel()
	})
	require.NoError(t, chromedp.Listen(ctx, p.note))
	// Nothing here asks for nodes, and telling of each change of one is dear.
	for _, disable := range []cdp.Command[cdp.Empty, cdp.Empty]{css.Disable, dom.Disable} {
		_, err := chromedp.Call(ctx, disable, cdp.Empty{})
		require.NoError(t, err)
	}
	p.before(probe)
	return p
}

// before runs a script in every document of the tab, before its own.
func (p *tab) before(script string) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
	require.NoError(p.t, err)
}

// note takes down what the browser tells of the tab.
func (p *tab) note(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, e.Request.URL)
	case *network.EventEventSourceMessageReceived:
		p.messages = append(p.messages, e.Data)
	case *runtime.EventConsoleAPICalled:
		p.faults = append(p.faults, fmt.Sprintf("console.%s with %d arguments", e.Type, len(e.Args)))
	case *runtime.EventExceptionThrown:
		p.faults = append(p.faults, "exception: "+exceptionText(e.ExceptionDetails))
	case *log.EventEntryAdded:
		if !p.offline || e.Entry.Source != log.EntrySourceNetwork {
			p.faults = append(p.faults, fmt.Sprintf("%s %s: %s %s", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL))
		}
	}
}

func exceptionText(d *runtime.ExceptionDetails) string {
	if d.Exception != nil && d.Exception.Description != "" {
		return d.Exception.Description
	}
	return d.Text
}

// silent is what every tab has to be.
func (p *tab) silent() {
	p.t.Helper()
	violations, err := chromedp.Run(p.ctx, chromedp.Evaluate[[]string](`globalThis.probe?.violations ?? []`))
	assert.NoError(p.t, err)
	assert.Empty(p.t, violations, "violations of the Content-Security-Policy")
	p.mu.Lock()
	defer p.mu.Unlock()
	assert.Empty(p.t, p.faults, "what the browser complained of")
	assert.NotEmpty(p.t, p.requests)
	for _, request := range p.requests {
		own := strings.HasPrefix(request, "data:")
		for _, origin := range p.origins {
			own = own || strings.HasPrefix(request, origin)
		}
		assert.True(p.t, own, "the page asked %s", request)
	}
}

// dump says what the page showed where the test failed.
func (p *tab) dump() {
	if !p.t.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`globalThis.probe?.all() ?? document.body.innerText`))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.t.Logf("the page (%v):\n%s\nfaults: %q\nmessages: %d", err, text, p.faults, len(p.messages))
}

// expectOffline lets requests fail from here on: the server goes away.
func (p *tab) expectOffline() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.offline = true
}

// froms gives the line that each message of the state's stream started after.
func (p *tab) froms() []int64 {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var froms []int64
	for _, message := range p.messages {
		var delta struct {
			From *int64 `json:"from"`
		}
		require.NoError(p.t, json.Unmarshal([]byte(message), &delta))
		if delta.From != nil {
			froms = append(froms, *delta.From)
		}
	}
	return froms
}

// look evaluates an expression in the page.
func look[T any](p *tab, expression string) T {
	p.t.Helper()
	value, err := glance[T](p, expression)
	require.NoError(p.t, err, expression)
	return value
}

func glance[T any](p *tab, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// await looks until the page says what is wanted.
func await[T comparable](p *tab, want T, expression string) {
	p.t.Helper()
	var got T
	var err error // a page that is just being left answers nothing
	if !pollPage(func() bool { got, err = glance[T](p, expression); return err == nil && got == want }) {
		require.NoError(p.t, err, expression)
		require.Equal(p.t, want, got, expression)
	}
}

// awaits is await for what is a condition of the page's own.
func (p *tab) awaits(condition string) {
	p.t.Helper()
	await(p, true, "Boolean("+condition+")")
}

func pollPage(done func() bool) bool {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if done() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

func (p *tab) caughtUp() {
	p.t.Helper()
	p.awaits(`document.documentElement.dataset.caughtUp`)
}

// frames waits until the page was drawn anew, with everything that it knows.
func (p *tab) frames() {
	p.t.Helper()
	look[bool](p, `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`)
}

func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	require.NoError(p.t, chromedp.Do(ctx, actions...))
}

// press types keys, one after the other, and lets the page draw.
func (p *tab) press(keys ...string) {
	p.t.Helper()
	for _, key := range keys {
		p.do(stroke(key, 0))
	}
	p.frames()
}

// click clicks in the middle of what an expression gives.
func (p *tab) click(node string) {
	p.t.Helper()
	at := look[[]float64](p, `(() => {
		const node = `+node+`;
		node.scrollIntoView({block: "nearest"});
		const b = probe.box(node);
		return [(b.left + b.right) / 2, (b.top + b.bottom) / 2];
	})()`)
	p.do(chromedp.MouseClickXY(at[0], at[1]))
}

// clickRow clicks on the row of a span.
func (p *tab) clickRow(span string) {
	p.t.Helper()
	p.click(fmt.Sprintf("probe.row(%q)", span))
}

// stroke presses and lets go of each key of a text. A key's text comes with its
// going down, as from a keyboard: who prevents that prevents the text.
func stroke(keys string, modifiers chromedp.Modifier) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		for _, key := range keys {
			var down *input.DispatchKeyEventParams
			for _, e := range kb.Encode(key) {
				e.Modifiers |= int64(modifiers)
				switch e.Type {
				case kb.KeyDown:
					down = e
					continue
				case kb.KeyChar:
					down.Text, down.UnmodifiedText = e.Text, e.UnmodifiedText
					continue
				}
				for _, e := range []*input.DispatchKeyEventParams{down, e} {
					if _, err := chromedp.Call(ctx, input.DispatchKeyEvent, *e); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
}

// preferring sets a preference of the user, as the browser tells it to pages.
func preferring(features ...string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		var list []*emulation.MediaFeature
		for _, feature := range features {
			name, value, _ := strings.Cut(feature, "=")
			list = append(list, &emulation.MediaFeature{Name: name, Value: value})
		}
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: list})
		return err
	})
}
