package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/chromedp/chromedp"
)

// screen is how long it takes from an event, as it is written to the socket, until a
// browser has drawn what it says. Events come from ten agents; every twentieth is of an
// eleventh one, whose tokens count up by one: they are what is waited for.
var screen = row{
	name: "screen",
	work: "1,000 events/s for 3 s, dashboard open in Chromium",
	run: func(b *bench) ([]line, error) {
		browser := b.browser()
		if browser == "" {
			return nil, errors.New("there is no Chromium")
		}
		all, err := b.inTurn(
			contender{"obsrun", b.drawn(b.obsrun, browser)},
			contender{"base", b.drawn(b.base, browser)},
		)
		if err != nil {
			return nil, err
		}
		return b.beside([]line{
			{"p50", "ms", all[0].of("p50"), "", nil, goal{}},
			{"p95", "ms", all[0].of("p95"), "", nil, within(100)},
		}, all[0], all[1], "p95 ms"), nil
	},
}

func (b *bench) browser() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path := b.peer(name); path != "" {
			return path
		}
	}
	return ""
}

// watched is the agent whose tokens are waited for.
const watched = "watched"

// watch notes when each number of tokens was drawn: a frame later than it stands in
// the row, once that frame is done.
const watch = `new Promise((ready) => {
	globalThis.drawn = {};
	const row = () => [...document.querySelectorAll("[role=row]")].find((row) => row.textContent.includes("` + watched + `"));
	const look = setInterval(() => {
		const cell = row()?.querySelectorAll("[role=gridcell]")[1];
		if (!cell) return;
		clearInterval(look);
		new MutationObserver(() => {
			const shown = cell.textContent;
			requestAnimationFrame(() => { const { port1, port2 } = new MessageChannel(); port1.onmessage = () => { drawn[shown] ??= Date.now(); }; port2.postMessage(0); });
		}).observe(cell, {subtree: true, childList: true, characterData: true});
		ready(true);
	}, 20);
})`

// drawn has a browser look at a run, and gives how long events took to be drawn.
func (b *bench) drawn(obsrun, browser string) func() (sample, error) {
	if obsrun == "" {
		return nil
	}
	return func() (sample, error) {
		server, err := b.startRun(obsrun)
		if err != nil {
			return nil, err
		}
		defer server.stop()
		conn, err := net.Dial("unix", server.env["OBSRUN_SOCKET"])
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		if _, err := fmt.Fprint(conn, agents(10)); err != nil {
			return nil, err
		}

		options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser),
			chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.WindowSize(1440, 900),
			chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
			chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		ctx, free := chromedp.NewExecAllocator(ctx, options...)
		defer free()
		ctx, closed := chromedp.NewContext(ctx)
		defer closed()
		err = chromedp.Do(ctx, chromedp.Navigate(server.env["OBSRUN_URL"]), chromedp.Evaluate[chromedp.Void](watch, chromedp.EvalAwaitPromise))
		if err != nil {
			return nil, fmt.Errorf("open the dashboard: %w", err)
		}
		told, err := storm(conn, 3000, 1000)
		if err != nil {
			return nil, err
		}
		time.Sleep(500 * time.Millisecond)
		seen, err := chromedp.Run(ctx, chromedp.Evaluate[map[string]float64](`drawn`))
		if err != nil {
			return nil, fmt.Errorf("ask the page: %w", err)
		}
		// What was overtaken by the next one before it could be drawn was on the screen
		// when that one was.
		var late []float64
		drawn := 0.0
		for n := len(told); n > 0; n-- {
			if at, ok := seen[fmt.Sprint(n)]; ok {
				drawn = at
			}
			if drawn == 0 {
				return nil, fmt.Errorf("the last of %d numbers was never drawn", len(told))
			}
			late = append(late, drawn-float64(told[n-1].UnixMicro())/1e3)
		}
		return sample{"p50": quantile(late, 0.5), "p95": quantile(late, 0.95)}, nil
	}
}

// agents are the starts of so many agents, and of the one that is watched.
func agents(n int) string {
	var all strings.Builder
	for i := range n {
		fmt.Fprintf(&all, `{"event":"span_start","span_id":"agent-%d","component":"component-%d","kind":"library-analysis"}`+"\n", i, i)
	}
	fmt.Fprintf(&all, `{"event":"span_start","span_id":%[1]q,"component":%[1]q,"kind":"library-analysis"}`+"\n", watched)
	return all.String()
}

// storm writes events at that pace, and gives when each number of tokens of the
// watched agent was: 1 first.
func storm(conn net.Conn, events, pace int) (told []time.Time, err error) {
	begun := time.Now()
	var line bytes.Buffer
	for i := range events {
		time.Sleep(time.Until(begun.Add(time.Duration(i) * time.Second / time.Duration(pace))))
		line.Reset()
		if i%20 == 19 {
			told = append(told, time.Now())
			fmt.Fprintf(&line, `{"event":"span_update","span_id":%q,"tokens":%d}`+"\n", watched, len(told))
		} else {
			fmt.Fprintf(&line, `{"event":"span_update","span_id":"agent-%d","tokens":%d,"tool_uses":%d,"message":"reading the package that encodes blobs"}`+"\n", i%10, i*311, i/20)
		}
		if _, err := conn.Write(line.Bytes()); err != nil {
			return nil, err
		}
	}
	return told, nil
}
