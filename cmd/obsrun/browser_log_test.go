package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// logLine is a line of an orchestrator's own log, at a moment of the run.
func (s *stage) logLine(at time.Duration, event string, more map[string]any) string {
	line := map[string]any{"event": event, "timestamp": s.begin.Add(at + 500*time.Millisecond).Local().Format("2006-01-02T15:04:05.000000")}
	for name, value := range more {
		line[name] = value
	}
	data, err := json.Marshal(line)
	require.NoError(s.t, err)
	return string(data) + "\n"
}

// ownLog is a log of two agents: calls of several weights, one of which failed, a
// text, a thought with markup in it, the tokens of model calls, and a broken line.
func (s *stage) ownLog() string {
	call := func(at, took time.Duration, id, agent, tool string, input map[string]any, more map[string]any) string {
		done := map[string]any{"tool_use_id": id, "agent_id": agent, "tool_name": tool, "success": true, "error": nil, "output_size": 800}
		for name, value := range more {
			done[name] = value
		}
		return s.logLine(at, "tool_call_start", map[string]any{"tool_use_id": id, "agent_id": agent, "tool_name": tool, "tool_input": input}) +
			s.logLine(at+took, "tool_call_complete", done)
	}
	return s.logLine(time.Second, "text_block", map[string]any{"agent_id": "MAIN_AGENT", "text": "Off we go.", "text_length": 10}) +
		call(2*time.Second, time.Second, "t1", "A-1", "Read", map[string]any{"file_path": "/src/core/a.go"}, nil) +
		call(3*time.Second, time.Second, "t2", "A-1", "Bash", map[string]any{"command": "find /src/core -name x.go"}, map[string]any{"output_size": 90_000}) +
		call(4*time.Second, time.Second, "t3", "A-2", "Edit", map[string]any{"file_path": "/src/core/a.go"}, map[string]any{"success": false, "error": "no such text"}) +
		s.logLine(5*time.Second, "thinking_block", map[string]any{"agent_id": "A-2", "thinking": "Hm <img src=x onerror='window.__x=1'> " + strings.Repeat("long ", 400), "thinking_length": 2038}) +
		s.logLine(6*time.Second, "llm_complete", map[string]any{"agent_id": "A-1", "input_tokens": 2000, "output_tokens": 100, "cache_read_tokens": 900, "cache_creation_tokens": 100}) +
		s.logLine(7*time.Second, "llm_complete", map[string]any{"agent_id": "A-1", "input_tokens": 3000, "output_tokens": 200, "cache_read_tokens": 2700, "cache_creation_tokens": 100}) +
		"{\"event\":\"text_bl\n" +
		s.logLine(8*time.Second, "subagent_complete", map[string]any{"subagent_id": "A-1", "subagent_type": "analyzer", "description": "Analyze encoding"})
}

func (s *stage) writeLog(text string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(filepath.Join(s.dir, "tool_calls.jsonl"), []byte(text), 0o600))
}

func (p *tab) tabTo(name string) {
	p.t.Helper()
	p.click(fmt.Sprintf(`document.getElementById("tab-%s")`, name))
	p.awaits(fmt.Sprintf(`!document.getElementById("pane-%s").hidden`, name))
}

const (
	// cells gives the rows of the table in a panel, figuresIn the numbers above it.
	cells     = `[...document.querySelectorAll("#pane-%s tbody tr")].map((tr) => [...tr.children].map((c) => c.textContent).join("|")).join("\n")`
	figuresIn = `[...document.querySelectorAll("#%s-head > div")].map((d) => d.firstChild.textContent + "=" + d.lastChild.textContent).join(";")`
)

// What only the orchestrator's own log says is shown beside what the state has.
func browseOwnLog(t *testing.T, b *chromium) {
	s := newStage(t, 20*time.Second)
	s.tellAt(time.Second, startedSpan("own"))
	tool := telemetry.Event{Type: telemetry.SpanStart, SpanID: "c", Parent: "own", Kind: telemetry.KindTool, Name: "Glob", Attrs: telemetry.Attrs(map[string]any{"pattern": "/src/core/*.go"})}
	s.tellAt(9*time.Second, tool)
	s.tellAt(10*time.Second, endedWell("c"))
	s.writeLog(s.ownLog())
	p := b.open(t, s)
	await(p, "running", `probe.state("own")`)
	assert.False(t, p.asked("tool_calls.jsonl"), "nobody wanted it yet")

	p.tabTo("tools")
	await(p, "encoding|Read|1|–|–|0:01.0|0:01.0|0:01.0|800 B|8.0|8.0|–\nencoding|Bash|1|–|–|0:01.0|0:01.0|0:01.0|90.0 kB|10.0|10.0|1\n"+
		"A-2|Edit|1|1|–|0:01.0|0:01.0|0:01.0|800 B|3.0|3.0|–\nown|Glob|1|–|–|0:01.0|0:01.0|0:01.0|–|6.0|6.0|–", fmt.Sprintf(cells, "tools"))
	await(p, "Tool calls=4;Completed=4, 100%;Mean duration=0:01.0;Failed=1;Agents seen=1;Thinking blocks=1;Mean weight=6.8;Critical weight=1", fmt.Sprintf(figuresIn, "tools"))
	assert.True(t, p.asked("tool_calls.jsonl"))
	p.click(`document.querySelector("#tools-order summary")`)
	p.awaits(`document.querySelectorAll("#tools-order .picks label").length === 4`)
	p.click(`[...document.querySelectorAll("#tools-order .picks label")].find((l) => l.textContent === "Edit")`)
	p.awaits(`document.querySelectorAll("#pane-tools tbody tr").length === 1`)
	p.awaits(`location.hash.includes("tool=Edit")`)
	p.click(`document.querySelector("#tools-order .pickbox button")`)
	p.awaits(`document.querySelectorAll("#pane-tools tbody tr").length === 4`)
	p.press(kb.Escape)
	look[any](p, `(() => { const s = document.getElementById("tools-weight"); s.value = "9"; s.dispatchEvent(new Event("change")); return null; })()`)
	p.awaits(`document.querySelectorAll("#pane-tools tbody tr").length === 1`)
	p.awaits(`location.hash.includes("weight=9")`)
	p.do(chromedp.Reload())
	p.caughtUp()
	p.awaits(`document.querySelectorAll("#pane-tools tbody tr").length === 1 && document.getElementById("tools-weight").value === "9"`)

	p.tabTo("text")
	await(p, "Blocks=2;Thinking=1;Tokens, estimated=512;Mean=256;Longest=510;Unreadable lines=1", fmt.Sprintf(figuresIn, "text"))
	p.awaits(fmt.Sprintf(`%s.startsWith("MAIN_AGENT|0:01|Text|3|Off we go.\nA-2|0:05|Thinking|510|Hm <img src=x onerror=")`, fmt.Sprintf(cells, "text")))
	p.awaits(`[...document.querySelectorAll("#pane-text td[title]")].some((c) => c.title.length > 500)`)
	assert.Equal(t, "undefined", look[string](p, `typeof window.__x`))
	p.awaits(`document.querySelectorAll("#text .dots path").length === 2`)
	p.click(`document.querySelector("#text .legend button")`)
	p.awaits(`document.querySelectorAll("#text .dots path").length === 1`)
	p.press("/", "off we")
	p.awaits(`document.querySelectorAll("#pane-text tbody tr").length === 1`)
	p.press(kb.Escape)

	p.tabTo("tokens")
	p.awaits(fmt.Sprintf(`%s.includes("Input=5.0 k;of it cached=3.6 k;Output=300;Cache hits=95%%")`, fmt.Sprintf(figuresIn, "tokens")))
	p.awaits(`document.querySelectorAll("#tokens .lines path").length === 8`)
	p.click(`document.querySelector("#tokens .legend button")`)
	p.awaits(`document.querySelectorAll("#tokens .lines path").length === 7`)

	p.tabTo("resources")
	await(p, "/src/core|2|–|–|90.0 kB|2|Bash, Glob\n/src/core/a.go|2|1|1|1.6 kB|2|Read, Edit", fmt.Sprintf(cells, "resources"))
	p.awaits(`document.querySelectorAll(".graph circle").length === 5 && document.querySelectorAll(".graph line").length === 4`)
	assert.True(t, look[bool](p, `(() => {
		const box = probe.box(document.querySelector(".graph"));
		return [...document.querySelectorAll(".graph circle")].every((c) => { const d = probe.box(c); return d.left >= box.left && d.right <= box.right && d.top >= box.top && d.bottom <= box.bottom; });
	})()`), "the graph fits its box")
	look[any](p, `(() => { const s = document.getElementById("resources-by"); s.value = "directory"; s.dispatchEvent(new Event("change")); return null; })()`)
	await(p, "/src/core|4|1|1|91.6 kB|3|Read, Bash, Edit, Glob", fmt.Sprintf(cells, "resources"))

	// A log that grows is read on, from where it was left.
	file, err := os.OpenFile(filepath.Join(s.dir, "tool_calls.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	defer file.Close()
	_, err = file.WriteString(s.logLine(12*time.Second, "tool_call_start", map[string]any{"tool_use_id": "t9", "agent_id": "A-1", "tool_name": "Write", "tool_input": map[string]any{"file_path": "/out/new.md"}}))
	require.NoError(t, err)
	p.awaits(fmt.Sprintf(`%s.includes("/out|1|1|")`, fmt.Sprintf(cells, "resources")))
}

// asked tells whether the page asked for a file.
func (p *tab) asked(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, request := range p.requests {
		if strings.HasSuffix(request, "/"+name) {
			return true
		}
	}
	return false
}

// Without such a log its views say that nothing was recorded, and nothing is asked
// for that is not there.
func browseNoLog(t *testing.T, b *chromium) {
	s := newStage(t, 20*time.Second)
	s.tellAt(time.Second, startedSpan("a"))
	p := b.open(t, s)
	for _, name := range []string{"tools", "tokens", "text", "resources"} {
		p.tabTo(name)
		p.awaits(fmt.Sprintf(`document.getElementById("pane-%s").innerText.includes("Not recorded")`, name))
	}
	p.awaits(`document.getElementById("text-why").textContent.includes("has no tool_calls.jsonl")`)
	assert.False(t, p.asked("tool_calls.jsonl"))

	// One that is dropped on the page is read; what is none is refused in words.
	drop := func(name, text string) {
		t.Helper()
		look[any](p, fmt.Sprintf(`(() => {
			const data = new DataTransfer();
			data.items.add(new File([new TextDecoder().decode(Uint8Array.from(atob(%q), (c) => c.charCodeAt(0)))], %q));
			for (const type of ["dragover", "drop"]) document.body.dispatchEvent(new DragEvent(type, {bubbles: true, cancelable: true, dataTransfer: data}));
			return null;
		})()`, base64.StdEncoding.EncodeToString([]byte(text)), name))
	}
	drop("notes.txt", "nothing of the kind\n")
	p.awaits(`document.getElementById("say").textContent === "That is no log of tool calls"`)
	drop("tool_calls.jsonl", s.ownLog())
	p.awaits(`document.getElementById("say").textContent === "Log opened"`)
	p.awaits(`document.querySelectorAll("#pane-resources tbody tr").length === 2`)
	transcript := `{"type":"assistant","timestamp":"` + s.begin.Add(9500*time.Millisecond).UTC().Format(time.RFC3339Nano) + `","message":{"id":"m","role":"assistant","usage":{"input_tokens":5,"output_tokens":7},"content":[{"type":"text","text":"From a transcript."}]}}`
	drop("session.jsonl", transcript)
	p.tabTo("text")
	p.awaits(fmt.Sprintf(`%s.includes("|0:09|Text|5|From a transcript.")`, fmt.Sprintf(cells, "text")))
}

// The page's own address can name a log of the same server, and of no other.
func browseSource(t *testing.T, b *chromium) {
	s := newStage(t, 20*time.Second)
	s.tellAt(time.Second, startedSpan("a"))
	s.writeLog(s.ownLog())
	p := b.open(t, s)
	for source, shown := range map[string]string{"/tool_calls.jsonl": "has", "https://example.org/tool_calls.jsonl": "has", "/run.json": "Not recorded"} {
		if shown != "has" {
			p.expectOffline() // 404 is logged
		}
		p.do(chromedp.Navigate(s.server.Base() + "/?src=" + source + "#tab=text"))
		p.caughtUp()
		if shown == "has" {
			p.awaits(`document.querySelectorAll("#pane-text tbody tr").length === 2`)
		} else {
			p.awaits(`document.getElementById("pane-text").innerText.includes("could not be read")`)
		}
	}
}

// The logs of the two known trackers, as they stand in a run's directory.
func browseTrackers(t *testing.T, b *chromium) {
	for name, want := range map[string]struct{ calls, blocks, usage int }{
		"claude-agent-sdk": {calls: 847, blocks: 37},
		"langgraph":        {calls: 17, usage: 23},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, 20*time.Second)
			log, err := os.ReadFile(filepath.Join("../../testdata/tool_calls", name, "tool_calls.jsonl"))
			require.NoError(t, err)
			s.writeLog(string(log))
			s.finish(telemetry.StatusOK, map[string]any{"exit_code": 0})
			p := b.open(t, s)
			p.tabTo("tools")
			p.awaits(fmt.Sprintf(`%s.includes("Tool calls=%d;")`, fmt.Sprintf(figuresIn, "tools"), want.calls))
			p.tabTo("text")
			if want.blocks > 0 {
				p.awaits(fmt.Sprintf(`%s.startsWith("Blocks=%d;")`, fmt.Sprintf(figuresIn, "text"), want.blocks))
			} else {
				p.awaits(`document.getElementById("text-why").textContent === "The orchestrator's log has no text in it."`)
			}
			p.tabTo("tokens")
			if want.usage > 0 {
				p.awaits(`document.querySelectorAll("#tokens .lines path").length >= 4`)
			} else {
				p.awaits(`document.getElementById("pane-tokens").innerText.includes("Not recorded")`)
			}
			p.tabTo("resources")
			p.awaits(`document.querySelectorAll("#pane-resources tbody tr").length > 5 && document.querySelectorAll(".graph circle").length > 5`)
			p.frames()
			assert.True(t, look[bool](p, noSidewaysScroll))
			// The run is over: nothing but what the user does has it drawn.
			rows := look[int](p, `document.querySelectorAll("#pane-resources tbody tr").length`)
			p.click(`document.querySelector("#resources-order summary")`)
			p.awaits(`document.querySelectorAll("#resources-order .picks label").length > 1`)
			p.click(`document.querySelector("#resources-order .picks label")`)
			p.awaits(fmt.Sprintf(`document.querySelectorAll("#pane-resources tbody tr").length < %d`, rows))
		})
	}
}

// An agent's row opens to its calls, by tool; each can be pointed at, gone to and
// stepped through.
func browseLanes(t *testing.T, b *chromium) {
	s := playProfile(t, 200*time.Second)
	p := b.open(t, s)
	agent := agentID(agentsOf("library_depth_0")[0])
	await(p, 39, `probe.rows().length`)
	p.clickRow(agent)
	assert.Equal(t, "false", look[string](p, fmt.Sprintf(`probe.row(%q).getAttribute("aria-expanded")`, agent)))
	p.press(kb.ArrowRight)
	await(p, "true", fmt.Sprintf(`probe.row(%q).getAttribute("aria-expanded")`, agent))
	lanes := `[...document.querySelectorAll("#rows .lanes")]`
	p.awaits(lanes + `.length > 1`)
	calls := look[int](p, lanes+`.reduce((n, row) => n + parseInt(row.querySelector(".lane").getAttribute("aria-label")), 0)`)
	assert.Equal(t, int(agentsOf("library_depth_0")[0].ToolUses), calls)
	assert.True(t, look[bool](p, lanes+`.every((row) => row.getAttribute("aria-level") === "3" && row.querySelectorAll(".calls path").length > 0)`))
	p.awaits(`location.hash.includes("open=s%3A")`)

	// Down goes into a lane, the full stop to its first call and on to the next.
	p.press(kb.ArrowDown)
	p.awaits(`probe.focused().startsWith("l:") && probe.selected().startsWith("l:")`)
	p.press(".")
	p.awaits(`document.getElementById("detail-kind").textContent === "tool call"`)
	first := look[string](p, `document.getElementById("detail-more").textContent`)
	p.awaits(`document.querySelectorAll("#rows .chosen").length === 1 && probe.focused().startsWith("l:")`)
	p.press(".")
	p.awaits(fmt.Sprintf(`document.getElementById("detail-more").textContent !== %q`, first))
	p.press(",")
	p.awaits(fmt.Sprintf(`document.getElementById("detail-more").textContent === %q`, first))

	// The mouse is told what it points at, until Escape.
	look[any](p, `(() => {
		const lane = document.querySelector("#rows .lanes .lane"), box = probe.box(lane), mark = probe.box(lane.querySelector(".calls path"));
		lane.dispatchEvent(new PointerEvent("pointermove", {bubbles: true, pointerType: "mouse", clientX: Math.max(box.left, mark.left) + 1, clientY: (box.top + box.bottom) / 2}));
		return null;
	})()`)
	p.awaits(`!document.querySelector(".tip").hidden && document.querySelector(".tip").textContent.length > 5`)
	p.press(kb.Escape)
	p.awaits(`document.querySelector(".tip").hidden`)
	p.press(kb.Home)
	p.clickRow(agent)
	p.press(kb.ArrowLeft)
	await(p, 39, `probe.rows().length`)
	p.awaits(`document.querySelectorAll("#recent button").length === 5`)
	p.click(`document.querySelector("#recent button")`)
	p.awaits(`document.getElementById("detail-kind").textContent === "tool call"`)

	// A link to a call and its open lane restores both.
	p.press(kb.Escape)
	p.clickRow(agent)
	p.press(kb.ArrowRight, kb.ArrowDown, ".")
	p.awaits(`location.hash.includes("select=s%3A") && document.querySelectorAll("#rows .chosen").length === 1`)
	time.Sleep(400 * time.Millisecond) // the address is written a little later
	p.do(chromedp.Reload())
	p.caughtUp()
	p.awaits(`document.querySelectorAll("#rows .chosen").length === 1 && document.getElementById("detail-kind").textContent === "tool call"`)
}

// What the processes took of the machine, over time.
func browseMachine(t *testing.T, b *chromium) {
	s := newStage(t, 30*time.Second)
	s.tellAt(time.Second, startedSpan("a"))
	sample := func(at time.Duration, cpu, rss int) {
		s.tellAt(at, telemetry.Event{Type: telemetry.SpanUpdate, SpanID: s.recorder.RootID(), Source: telemetry.SourceProcess,
			Attrs: telemetry.Attrs(map[string]any{"sample": map[string]any{"cpu_ms": cpu, "rss_bytes": rss, "read_bytes": 4000 * cpu, "write_bytes": 100, "processes": 3}})})
	}
	sample(2*time.Second, 1000, 20e6)
	sample(10*time.Second, 13_000, 60e6)
	p := b.open(t, s)
	p.tabTo("resources")
	p.awaits(fmt.Sprintf(`%s.startsWith("Processors=150%%;Memory=60.00 MB;CPU time=0:13.0;Memory, at most=60.00 MB;Read=52.00 MB;Written=")`, fmt.Sprintf(figuresIn, "resources")))
	p.awaits(`document.querySelectorAll("#machine .lines path").length === 4`)
	p.awaits(`[...document.querySelectorAll("#machine svg")].map((g) => g.getAttribute("aria-label")).join(";").includes("Processors at most 150%")`)
	p.awaits(`!document.getElementById("files-none").hidden && document.getElementById("resources-none").hidden`)
	sample(12*time.Second, 13_100, 90e6)
	p.awaits(fmt.Sprintf(`%s.includes("Memory, at most=90.00 MB")`, fmt.Sprintf(figuresIn, "resources")))
	s.tell(endedWell("a"))
	s.finish(telemetry.StatusOK, map[string]any{"exit_code": 0})
	p.awaits(fmt.Sprintf(`%s.startsWith("CPU time=0:13.1;Memory, at most=90.00 MB")`, fmt.Sprintf(figuresIn, "resources")))
}

// Whatever stands in a log is text in every view, and none of it needs more width
// than there is.
func browseHostileLog(t *testing.T, b *chromium) {
	s := hostileStage(t)
	var log strings.Builder
	i := 0
	for id, name := range hostile {
		i++
		at := time.Duration(i) * time.Second
		log.WriteString(s.logLine(at, "tool_call_start", map[string]any{"tool_use_id": id, "agent_id": name, "tool_name": name, "tool_input": map[string]any{"file_path": "/" + name, "command": name, "pattern": name}}))
		log.WriteString(s.logLine(at, "tool_call_complete", map[string]any{"tool_use_id": id, "agent_id": name, "success": i%2 == 0, "error": name, "output_size": 1 << 40}))
		log.WriteString(s.logLine(at, "text_block", map[string]any{"agent_id": name, "text": name}))
		log.WriteString(s.logLine(at, "llm_complete", map[string]any{"agent_id": name, "input_tokens": 1 << 50, "output_tokens": -4, "cache_read_tokens": name}))
	}
	s.writeLog(log.String())
	cast, err := json.Marshal([]any{1, "o", strings.Join([]string{hostile["markup"], hostile["script"], hostile["rtl"], hostile["emoji"], hostile["ansi"], hostile["wide"]}, "\r\n")})
	require.NoError(t, err)
	s.writeCast(string(cast))
	p := b.open(t, s, chromedp.EmulateViewport(320, 640))
	p.press("t")
	p.awaits(`document.getElementById("terminal-screen").textContent.includes("W")`)
	for _, name := range []string{"tools", "tokens", "text", "resources", "agents", "timeline"} {
		p.tabTo(name)
		p.awaits(fmt.Sprintf(`document.getElementById("pane-%s").innerText.length > 60`, name))
		p.frames()
		assert.True(t, look[bool](p, noSidewaysScroll), name)
		assert.Equal(t, "undefined", look[string](p, `typeof window.__x`), name)
		assert.Zero(t, look[int](p, `document.querySelectorAll("img, iframe, object, embed, a").length`), name)
	}
	assert.True(t, look[bool](p, `({}).polluted === undefined && Object.prototype.id === undefined`))
	// Lanes too.
	p.do(chromedp.EmulateViewport(1440, 900))
	p.frames()
	look[any](p, `(document.querySelector("#rows .agent[aria-expanded]").click(), null)`)
	p.awaits(`probe.focused().startsWith("s:")`)
	p.press(kb.ArrowRight)
	p.awaits(`document.querySelectorAll("#rows .lanes").length > 0`)
	assert.Equal(t, "undefined", look[string](p, `typeof window.__x`))
}

// A page that is looked at for long grows with the run alone: what events, views
// and lanes leave behind is nothing.
func browseLeak(t *testing.T, b *chromium) {
	s := newStage(t, 60*time.Second)
	s.tellAt(time.Second, startedSpan("a"), startedSpan("b"))
	s.writeLog(s.ownLog())
	p := b.open(t, s)
	round := func() {
		for _, name := range []string{"agents", "tools", "tokens", "text", "resources", "timeline"} {
			p.tabTo(name)
		}
		p.press("t", "?", kb.Escape, "r", kb.Escape, "t")
		for i := range 200 {
			s.record(usedTokens("a", int64(i)))
		}
		s.sync()
		p.frames()
	}
	measure := func() (nodes, listeners float64) {
		_, err := chromedp.Call(p.ctx, heapprofiler.CollectGarbage, cdp.Empty{})
		require.NoError(t, err)
		metrics, err := chromedp.Call(p.ctx, performance.GetMetrics, cdp.Empty{})
		require.NoError(t, err)
		for _, m := range metrics.Metrics {
			switch m.Name {
			case "Nodes":
				nodes = m.Value
			case "JSEventListeners":
				listeners = m.Value
			}
		}
		return nodes, listeners
	}
	_, err := chromedp.Call(p.ctx, performance.Enable, performance.EnableParams{})
	require.NoError(t, err)
	round()
	round()
	nodes, listeners := measure()
	for range 4 {
		round()
	}
	after, heard := measure()
	assert.LessOrEqual(t, heard, listeners+2, "listeners")
	assert.Less(t, after, nodes*1.1+50, "nodes")
}

// Shift and the mouse mark a stretch of the clock, and say what happened in it.
func browseArea(t *testing.T, b *chromium) {
	s := playProfile(t, wholeProfile)
	p := b.open(t, s)
	await(p, 39, `probe.rows().length`)
	p.frames()
	axis := look[[]float64](p, `(() => { const a = probe.box(document.getElementById("ticks")), r = probe.box(document.querySelectorAll("#rows .agent")[4]); return [a.left, a.width - 8, (r.top + r.bottom) / 2]; })()`)
	at := func(seconds float64) float64 { return axis[0] + axis[1]*seconds/312.5 }
	mouse := func(kind input.DispatchMouseEventType, x float64) {
		t.Helper()
		_, err := chromedp.Call(p.ctx, input.DispatchMouseEvent, input.DispatchMouseEventParams{
			Type: kind, X: x, Y: axis[2], Button: input.MouseButtonLeft, Buttons: 1, ClickCount: 1, Modifiers: int64(chromedp.ModifierShift),
		})
		require.NoError(t, err)
	}
	mouse("mousePressed", at(30))
	for x := 40.0; x <= 60; x += 10 {
		mouse("mouseMoved", at(x))
	}
	mouse("mouseReleased", at(60))
	p.awaits(`!document.getElementById("area").hidden && /^0:(29|30) to (0:59|1:00): 7 agents, 5 ended, [\d.]+ k tokens, \d+ tool calls$/.test(document.getElementById("area-words").textContent)`)
	p.awaits(`document.getElementById("say").textContent === document.getElementById("area-words").textContent`)
	assert.Empty(t, look[string](p, `probe.selected()`), "marking selects nothing")
	p.awaits(`location.hash.includes("area=")`)
	words := look[string](p, `document.getElementById("area-words").textContent`)
	p.do(chromedp.Reload())
	p.caughtUp()
	await(p, words, `document.getElementById("area-words").textContent`)
	p.press(kb.Escape)
	p.awaits(`document.getElementById("area").hidden`)
}
