package otlp

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"time"
)

// Switch is a variable that makes exporters or a known agent report.
type Switch struct {
	Name   string
	Value  string // "{endpoint}" stands for the receiver's base URL
	Signal string // "traces" or "logs": only where that signal comes here; "all": only where all do
	Reason string
	// Group is the beginning of the names that belong together: where the user
	// set one of them, all are left alone.
	Group string
}

// wanted tells whether the switch is to be set.
func (s *Switch) wanted(env map[string]string, way map[signal]route) bool {
	if _, set := env[s.Name]; set {
		return false
	}
	needs := map[string][]signal{"traces": {traces}, "logs": {logRecords}, "all": {traces, logRecords, metricPoints}}
	for _, sig := range needs[s.Signal] {
		if way[sig] != here {
			return false
		}
	}
	if s.Group != "" {
		for name := range env {
			if strings.HasPrefix(name, s.Group) {
				return false
			}
		}
	}
	return true
}

const gemini = "GEMINI_TELEMETRY_"

// Switches lists them. None changes what an agent does, and none turns on the
// recording of prompts or other content. Each is left alone where the user set
// it.
func Switches() []Switch {
	return []Switch{
		{"OTEL_TRACES_EXPORTER", "otlp", "traces", "picks the OTLP exporter for spans", ""},
		{"OTEL_LOGS_EXPORTER", "otlp", "logs", "picks the OTLP exporter for log records", ""},
		{"OTEL_BSP_SCHEDULE_DELAY", "500", "traces", "spans come twice a second, not every five seconds", ""},
		{"OTEL_BLRP_SCHEDULE_DELAY", "500", "logs", "log records come twice a second", ""},
		{"CLAUDE_CODE_ENABLE_TELEMETRY", "1", "", "Claude Code and the Claude Agent SDK export nothing without it", ""},
		{"CLAUDE_CODE_ENHANCED_TELEMETRY_BETA", "1", "traces", "Claude Code's spans: agents, calls and tools as a tree", ""},
		{"OTEL_TRACES_EXPORT_INTERVAL", "1000", "traces", "Claude Code's spans come every second", ""},
		{"OTEL_LOGS_EXPORT_INTERVAL", "1000", "logs", "Claude Code's events come every second", ""},
		{gemini + "ENABLED", "true", "all", "Gemini CLI exports nothing without it", gemini},
		{gemini + "TARGET", "local", "all", "Gemini CLI: to a collector on this machine", gemini},
		{gemini + "USE_COLLECTOR", "true", "all", "Gemini CLI: to a collector on this machine", gemini},
		{gemini + "OTLP_PROTOCOL", "http", "all", "Gemini CLI would use gRPC", gemini},
		{gemini + "OTLP_ENDPOINT", "{endpoint}", "all", "Gemini CLI: where to", gemini},
		{gemini + "LOG_PROMPTS", "false", "all", "Gemini CLI would send prompts", gemini},
	}
}

// DefaultCollector is the base URL of OTLP/HTTP's default port.
const DefaultCollector = "http://localhost:4318"

// Answers tells whether an OTLP/HTTP collector listens at the base URL: it takes
// an export of nothing. Where nobody listens that is known at once, else after
// half a second at the latest.
func Answers(ctx context.Context, baseURL string) bool {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, baseURL+signals[traces].path, bytes.NewReader(nil))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", protobufType)
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK && resp.Header.Get("Content-Type") == protobufType
}
