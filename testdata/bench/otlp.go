package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// otlp is how fast spans are taken over OTLP/HTTP, against an OpenTelemetry Collector
// that writes them to a file. A net/http server that does nothing with them shows what
// there is to be had.
var otlp = row{
	name: "otlp",
	work: "agents, LLM calls and tool uses as OTLP spans, 4 exporters",
	run: func(b *bench) ([]line, error) {
		var lines []line
		for _, c := range []struct {
			batch, spans int
			goal         float64
		}{{512, 204_800, 1}, {1, 20_000, 2}} {
			all, err := b.inTurn(
				contender{"obsrun", b.exported(b.runExporter(b.obsrun), c.spans, c.batch)},
				contender{"collector", b.exported(b.runCollector(b.peer("collector")), c.spans, c.batch)},
				contender{"discard", b.exported(b.runDiscard(b.peer("discard")), c.spans, c.batch)},
				contender{"base", b.exported(b.runExporter(b.base), c.spans, c.batch)},
			)
			if err != nil {
				return nil, err
			}
			what := fmt.Sprintf("%d a request", c.batch)
			lines = append(lines,
				line{what, "k spans/s", all[0].of("rate"), "Collector, file", all[1].of("rate"), atLeast(c.goal)},
				line{what + ", CPU a span", "us", all[0].of("CPU"), "Collector, file", all[1].of("CPU"), atMost(1 / c.goal)},
				line{what, "k spans/s", all[0].of("rate"), "bare net/http", all[2].of("rate"), goal{}},
				line{what + ", CPU a span", "us", all[0].of("CPU"), "bare net/http", all[2].of("CPU"), goal{}})
			if b.base != "" {
				lines = append(lines, line{what + ", CPU a span", "us", all[0].of("CPU"), "base", all[3].of("CPU"), goal{}})
			}
		}
		return lines, nil
	},
}

// server starts something that takes spans, and gives where and with which headers.
type server func() (to *live, endpoint string, header http.Header, err error)

// exported posts spans to a server; nil where there is none.
func (b *bench) exported(serve server, spans, batch int) func() (sample, error) {
	if serve == nil {
		return nil
	}
	bodies := make([][]byte, 0, spans/batch)
	for first := 0; first < spans; first += batch {
		bodies = append(bodies, exportRequest(first, batch))
	}
	return func() (sample, error) {
		to, endpoint, header, err := serve()
		if err != nil {
			return nil, err
		}
		defer to.stop()
		before, _ := to.used()
		begun := time.Now()
		if err := post(strings.TrimSuffix(endpoint, "/")+"/v1/traces", header, bodies); err != nil {
			return nil, err
		}
		wall := time.Since(begun)
		after, _ := to.used()
		return sample{"rate": float64(spans) / ms(wall), "CPU": (after - before) * 1e3 / float64(spans)}, nil
	}
}

func (b *bench) runExporter(obsrun string) server {
	if obsrun == "" {
		return nil
	}
	return func() (*live, string, http.Header, error) {
		to, err := b.startRun(obsrun)
		if err != nil {
			return nil, "", nil, err
		}
		header := make(http.Header)
		for pair := range strings.SplitSeq(to.env["OTEL_EXPORTER_OTLP_HEADERS"], ",") {
			key, value, _ := strings.Cut(pair, "=")
			value, _ = url.PathUnescape(value)
			header.Set(key, value)
		}
		return to, to.env["OTEL_EXPORTER_OTLP_ENDPOINT"], header, nil
	}
}

func (b *bench) runDiscard(discard string) server {
	if discard == "" {
		return nil
	}
	return func() (*live, string, http.Header, error) {
		to, err := b.start(discard)
		if err != nil {
			return nil, "", nil, err
		}
		to.killed = true
		endpoint, err := to.out.ReadString('\n')
		return to, strings.TrimSpace(endpoint), nil, err
	}
}

func (b *bench) runCollector(path string) server {
	if path == "" {
		return nil
	}
	return func() (*live, string, http.Header, error) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, "", nil, err
		}
		address := listener.Addr().String()
		listener.Close()
		config := filepath.Join(b.dir, "collector.yaml")
		err = os.WriteFile(config, fmt.Appendf(nil, `receivers: {otlp: {protocols: {http: {endpoint: %q}}}}
exporters: {file: {path: %q}}
service: {pipelines: {traces: {receivers: [otlp], exporters: [file]}}}
`, address, filepath.Join(b.dir, "spans.jsonl")), 0o600)
		if err != nil {
			return nil, "", nil, err
		}
		to, err := b.start(path, "--config", config)
		if err != nil {
			return nil, "", nil, err
		}
		to.killed = true
		for range 200 {
			if conn, err := net.Dial("tcp", address); err == nil {
				conn.Close()
				return to, "http://" + address, nil, nil
			}
			time.Sleep(50 * time.Millisecond)
		}
		to.stop()
		return nil, "", nil, fmt.Errorf("the collector does not listen at %s", address)
	}
}

// post sends the bodies, as four exporters that each wait for their answer.
func post(to string, header http.Header, bodies [][]byte) error {
	const exporters = 4
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: exporters}}
	defer client.CloseIdleConnections()
	errs := make([]error, exporters)
	var all sync.WaitGroup
	for e := range exporters {
		all.Go(func() {
			for i := e; i < len(bodies) && errs[e] == nil; i += exporters {
				errs[e] = postOne(client, to, header, bodies[i])
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func postOne(client *http.Client, to string, header http.Header, body []byte) error {
	req, err := http.NewRequest(http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return err
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Content-Type", "application/x-protobuf")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("export spans: %s", resp.Status)
	}
	return nil
}

// exportRequest is an ExportTraceServiceRequest: one agent in twenty spans, and below
// it LLM calls and tool uses in turn, by the GenAI conventions.
func exportRequest(first, count int) []byte {
	var spans []byte
	for i := first; i < first+count; i++ {
		agent := i / 20 * 20
		begun := uint64(1775606400e9) + uint64(i)*1e6
		var s []byte
		s = field(s, 1, append(id(7), id(9)...))
		s = field(s, 2, id(i))
		if i != agent {
			s = field(s, 4, id(agent))
		}
		switch {
		case i == agent:
			s = field(s, 5, []byte("invoke_agent analyst"))
			s = fixed(fixed(s, 7, begun), 8, begun+5e8)
			s = attribute(s, "gen_ai.operation.name", "invoke_agent")
			s = attribute(s, "gen_ai.agent.name", "analyst")
			s = attribute(s, "gen_ai.agent.id", fmt.Sprint("a", i))
		case i%2 == 0:
			s = field(s, 5, []byte("chat claude-sonnet-4-5"))
			s = fixed(fixed(s, 7, begun), 8, begun+5e8)
			s = attribute(s, "gen_ai.operation.name", "chat")
			s = attribute(s, "gen_ai.provider.name", "anthropic")
			s = attribute(s, "gen_ai.request.model", "claude-sonnet-4-5")
			s = attribute(s, "gen_ai.response.id", fmt.Sprint("msg_", 10_000_000+i))
			s = attribute(s, "gen_ai.usage.input_tokens", 2000)
			s = attribute(s, "gen_ai.usage.output_tokens", 200)
		default:
			s = field(s, 5, []byte("execute_tool Read"))
			s = fixed(fixed(s, 7, begun), 8, begun+5e8)
			s = attribute(s, "gen_ai.operation.name", "execute_tool")
			s = attribute(s, "gen_ai.tool.name", "Read")
			s = attribute(s, "gen_ai.tool.call.id", fmt.Sprint("toolu_", i))
		}
		spans = field(spans, 2, s) // of ScopeSpans
	}
	resource := attributeOf(nil, 1, "service.name", "analyze")
	return field(nil, 1, field(field(nil, 1, resource), 2, spans))
}

func id(n int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)*0x9E3779B97F4A7C15+1) }

// The parts of protobuf's wire format that a span needs.

func field(b []byte, number int, value []byte) []byte {
	b = binary.AppendUvarint(b, uint64(number)<<3|2)
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

func fixed(b []byte, number int, value uint64) []byte {
	b = binary.AppendUvarint(b, uint64(number)<<3|1)
	return binary.LittleEndian.AppendUint64(b, value)
}

func attribute(b []byte, key string, value any) []byte { return attributeOf(b, 9, key, value) }

func attributeOf(b []byte, number int, key string, value any) []byte {
	var v []byte
	switch value := value.(type) {
	case string:
		v = field(nil, 1, []byte(value))
	case int:
		v = binary.AppendUvarint([]byte{3 << 3}, uint64(value))
	}
	return field(b, number, field(field(nil, 1, []byte(key)), 2, v))
}
