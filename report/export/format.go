package export

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/report"
)

// Run is what is exported.
type Run struct {
	State *run.State
	// Dir is the run's directory. Only the recording of the terminal is read there.
	Dir string
	// Last gives the run before it, which the dashboard shows beside it; nil where
	// nobody knows of one.
	Last func() (any, error)
	// Version is that of the obsrun that exports.
	Version string
	// Baseline is what markdown compares the run with; nil: with nothing.
	Baseline *report.Summary
}

// Format is a way to write a run down that others read.
type Format struct {
	// Name is what --format says.
	Name string
	// About says what it is, and for whom, in a few words.
	About string
	// Binary tells that it is nothing to look at in a terminal.
	Binary bool
	// Write writes the run as it is now. The same state gives the same bytes.
	Write func(w io.Writer, r Run) error
}

// Formats are all there are, in the order in which a person is shown them.
func Formats() []Format {
	return []Format{
		{"chrome-trace", "a timeline for Perfetto (ui.perfetto.dev) and chrome://tracing", false, ChromeTrace},
		{"otlp-json", "OpenTelemetry spans, OTLP's file format: JSON, one request a line", false, OTLPJSON},
		{"csv", "the spans as a table, for spreadsheets", false, CSV},
		{"jsonl", "the spans, one JSON object a line", false, JSONL},
		{"parquet", "the spans as a typed table, for DuckDB and pandas", true, Parquet},
		{"junit", "JUnit XML with a test case for each agent, for CI systems", false, JUnit},
		{"html", "the dashboard as one file that needs no server", false, HTML},
		{"markdown", "the summary as tables, for a step summary or an issue", false, Markdown},
		{"asciicast", "what the terminal showed, for asciinema", false, Asciicast},
	}
}

// compactJSON gives v on one line, with nothing in it that a terminal would act on,
// nor a CI system that looks for commands ("##vso[") in what is printed.
func compactJSON(v any) ([]byte, error) {
	var indented, line bytes.Buffer
	if err := report.WriteJSON(&indented, v); err != nil {
		return nil, err
	}
	if err := json.Compact(&line, indented.Bytes()); err != nil {
		return nil, err
	}
	return bytes.ReplaceAll(line.Bytes(), []byte("##"), []byte(`#\u0023`)), nil // it stands in a string
}

// shorten cuts text that was made visible to at most limit characters. Names can
// be as long as an event.
func shorten(text string, limit int) string {
	n := 0
	for i := range text {
		if n++; n == limit && len(text)-i > len("…") {
			return text[:i] + "…"
		}
	}
	return text
}

// name makes a foreign name safe to show, and no longer than a line.
func name(text string) string { return shorten(report.Visible(text), 120) }

// horizon is the latest moment that anything is known of, in Unix milliseconds:
// the run's end, or how far a run that goes on has come.
func horizon(state *run.State) int64 {
	info := state.Info()
	last := max(info.StartMS, info.EndMS)
	if info.EndMS != 0 {
		return last
	}
	for v := range state.Spans() {
		last = max(last, v.QueuedMS, v.StartMS, v.EndMS)
	}
	for _, p := range state.Phases() {
		last = max(last, p.StartMS, p.EndMS)
	}
	for _, entry := range state.Logs() {
		last = max(last, entry.TimeMS)
	}
	for _, stall := range state.Stalls() {
		last = max(last, stall.TimeMS, stall.ResumedMS)
	}
	return last
}
