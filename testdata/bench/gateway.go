package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// gateway is what LLM calls lose by passing obsrun, against a bare reverse proxy.
var gateway = row{
	name: "gateway",
	work: "1,000 streamed calls of an LLM, 32 at once",
	run: func(b *bench) ([]line, error) {
		upstream := httptest.NewServer(http.HandlerFunc(speak))
		defer upstream.Close()
		all, err := b.inTurn(
			contender{"obsrun", b.called(upstream.URL, func() (*live, string, error) {
				l, err := b.startRun(b.obsrun, "--gateway", "anthropic", "--gateway-upstream", upstream.URL)
				if err != nil {
					return nil, "", err
				}
				return l, l.env["ANTHROPIC_BASE_URL"], nil
			})},
			contender{"proxy", b.called(upstream.URL, func() (*live, string, error) {
				l, err := b.start(b.peer("proxy"), upstream.URL)
				if err != nil {
					return nil, "", err
				}
				url, err := l.out.ReadString('\n')
				return l, strings.TrimSpace(url), err
			})},
			contender{"direct", b.called(upstream.URL, nil)},
		)
		if err != nil {
			return nil, err
		}
		// A call at a time says what is added; many at once, how much goes through.
		added := make([]float64, len(all[0]))
		for i := range added {
			added[i] = all[0][i]["p50"] - all[2][i]["p50"]
		}
		return []line{
			{"p50 added to a call", "ms", added, "", nil, within(0.5)},
			{"calls", "1/s", all[0].of("rate"), "bare httputil.ReverseProxy", all[1].of("rate"), atLeast(0.9)},
			{"CPU a call", "us", all[0].of("CPU"), "bare httputil.ReverseProxy", all[1].of("CPU"), goal{}},
		}, nil
	},
}

// speak answers like a provider that streams: 20 pieces of text.
func speak(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "text/event-stream")
	say := func(event, data string) { fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, data) }
	say("message_start", `{"type":"message_start","message":{"id":"msg_01ABCDEFGHIJ","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[],"usage":{"input_tokens":2000,"output_tokens":1}}}`)
	for range 20 {
		say("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"and so on, "}}`)
		_ = http.NewResponseController(w).Flush()
	}
	say("message_delta", `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":200}}`)
	say("message_stop", `{"type":"message_stop"}`)
}

// called makes 200 calls one after the other, and 1,000 of them 32 at once. Without a
// program they go straight to the upstream.
func (b *bench) called(upstream string, start func() (*live, string, error)) func() (sample, error) {
	return func() (sample, error) {
		url := upstream
		used := func() float64 { return 0 }
		if start != nil {
			l, at, err := start()
			if err != nil {
				return nil, err
			}
			defer func() {
				if l.env == nil {
					_ = l.cmd.Process.Kill()
				}
				l.stop()
			}()
			url = at
			used = func() float64 { cpu, _ := l.used(); return cpu }
		}
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
		defer client.CloseIdleConnections()
		var alone []float64
		for range 200 {
			begun := time.Now()
			if err := call(client, url); err != nil {
				return nil, err
			}
			alone = append(alone, ms(time.Since(begun)))
		}
		const calls, atOnce = 1000, 32
		var all sync.WaitGroup
		errs := make(chan error, atOnce)
		begun, before := time.Now(), used()
		for i := range atOnce {
			all.Go(func() {
				for range calls/atOnce + min(1, max(0, calls%atOnce-i)) {
					if err := call(client, url); err != nil {
						errs <- err
						return
					}
				}
			})
		}
		all.Wait()
		wall, after := time.Since(begun), used()
		select {
		case err := <-errs:
			return nil, err
		default:
		}
		return sample{"p50": median(alone), "rate": calls / wall.Seconds(), "CPU": (after - before) * 1e3 / calls}, nil
	}
}

// call is one call. A proxy that lost its connection to the upstream is asked again,
// as clients of providers do.
func call(client *http.Client, base string) error {
	err := callOnce(client, base)
	for again := 0; err != nil && again < 2; again++ {
		err = callOnce(client, base)
	}
	return err
}

func callOnce(client *http.Client, base string) error {
	body := []byte(`{"model":"claude-sonnet-4-5","max_tokens":1024,"stream":true,"messages":[{"role":"user","content":"say it"}]}`)
	req, err := http.NewRequest(http.MethodPost, strings.TrimSuffix(base, "/")+"/v1/messages", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Api-Key", "none")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("call: %s", resp.Status)
	}
	return nil
}
