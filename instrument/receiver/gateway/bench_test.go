package gateway

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// BenchmarkCall compares a call through the gateway with one through a bare
// httputil.ReverseProxy: p50 and p99 of one after the other, and how many pass
// with 16 at once. With 50 KB of history in the request, and an answer of 4 KB or
// a stream of 200 events.
func BenchmarkCall(b *testing.B) {
	history := `{"role":"user","content":"Analyze the node component."}` + strings.Repeat(`,{"role":"assistant","content":"`+strings.Repeat(`\tif err := write(file, \"name\"); err != nil {\n`, 20)+`"}`, 50)
	request := `{"messages":[` + history + `],"model":"gpt-4o","stream":true}`
	event := `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","model":"gpt-4o","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}],"usage":null}` + "\n\n"
	usage := `data: {"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":12000,"completion_tokens":200}}` + "\n\ndata: [DONE]\n\n"
	for _, shape := range []string{"json", "stream"} {
		upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if shape == "json" {
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"`+strings.Repeat("word ", 800)+`"}}],"usage":{"prompt_tokens":12000}}`)
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			for range 200 {
				_, _ = io.WriteString(w, event)
				w.(http.Flusher).Flush()
			}
			_, _ = io.WriteString(w, usage)
		}))
		defer upstream.Close()
		target, _ := url.Parse(upstream.URL)
		bare := httptest.NewServer(&httputil.ReverseProxy{
			Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }, Transport: newTransport(), FlushInterval: -1,
		})
		defer bare.Close()
		upstreams, err := Upstreams([]string{"openai"}, []string{upstream.URL + "/v1"}, nil)
		if err != nil {
			b.Fatal(err)
		}
		g, err := Listen(Config{Record: func(e telemetry.Event) error { e.Line(); return nil }, Upstreams: upstreams})
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = g.Close(b.Context()) }()
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
		call := func(base string) {
			response, err := client.Post(base+"/chat/completions", "application/json", strings.NewReader(request))
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		}
		ways := []struct{ name, base string }{{"bare", bare.URL + "/v1"}, {"gateway", g.base(g.upstreams[0])}}
		b.Run(shape+"/latency", func(b *testing.B) {
			times := map[string][]time.Duration{}
			for b.Loop() { // in turns, so that the machine treats both alike
				for _, way := range ways {
					began := time.Now()
					call(way.base)
					times[way.name] = append(times[way.name], time.Since(began))
				}
			}
			for _, way := range ways {
				slices.Sort(times[way.name])
				n := len(times[way.name])
				b.ReportMetric(float64(times[way.name][n/2].Microseconds()), way.name+"-p50-us")
				b.ReportMetric(float64(times[way.name][n*99/100].Microseconds()), way.name+"-p99-us")
			}
		})
		b.Run(shape+"/throughput", func(b *testing.B) {
			const calls, clients = 400, 16
			took := map[string]time.Duration{}
			for b.Loop() {
				for _, way := range ways {
					began := time.Now()
					var wg sync.WaitGroup
					for range clients {
						wg.Go(func() {
							for range calls / clients {
								call(way.base)
							}
						})
					}
					wg.Wait()
					took[way.name] += time.Since(began)
				}
			}
			for _, way := range ways {
				b.ReportMetric(float64(calls*b.N)/took[way.name].Seconds(), way.name+"-calls/s")
			}
			b.ReportMetric(took["bare"].Seconds()/took["gateway"].Seconds(), "of-bare")
		})
	}
}
