package export

import (
	"fmt"
	"io"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// OTLPJSON writes the spans as OTLP's file format has them
// (https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/): each line is
// an ExportTraceServiceRequest in OTLP's JSON encoding, with up to 512 spans. The
// spans and their ids are those that the live export sends, so that a backend that
// has both has them once, but for attempts after the first, which say here what all
// attempts together consumed. OpenTelemetry knows spans that ended: of a run that
// goes on, those that are open are left out, and so is the run's own.
func OTLPJSON(w io.Writer, r Run) error {
	info := r.State.Info()
	t := NewTrace(info.RunID, r.Version, nil)
	var batch []*Span
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		line, err := compactJSON(t.request(batch))
		batch = batch[:0]
		if err == nil {
			_, err = w.Write(append(line, '\n'))
		}
		if err != nil {
			return fmt.Errorf("write OTLP JSON: %w", err)
		}
		return nil
	}
	for span := range t.spans(r.State) {
		if batch = append(batch, span); len(batch) == maxBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// spans gives all that ended: the run's own, its phases, the others as they first
// appeared.
func (t *Trace) spans(state *run.State) func(yield func(*Span) bool) {
	info := state.Info()
	stalls := make(map[string][]run.Stall)
	for _, stall := range state.Stalls() {
		stalls[stall.SpanID] = append(stalls[stall.SpanID], stall)
	}
	bySpan := make(map[string]bool) // phases that are spans
	for v := range state.Spans() {
		if v.Kind == telemetry.KindPhase || v.Kind == telemetry.KindDiscovery {
			bySpan[v.Phase] = true
		}
	}
	return func(yield func(*Span) bool) {
		if root, ok := state.Span(state.RootID()); ok && state.Ended() && info.StartMS != 0 {
			if !yield(t.Root(root, info, state.Totals())) {
				return
			}
		}
		for _, p := range state.Phases() {
			if !bySpan[p.Name] && p.StartMS != 0 && (p.EndMS != 0 || state.Ended()) && !yield(t.Phase(p, state.RootID())) {
				return
			}
		}
		for v := range state.Spans() {
			if v.SameAs != "" {
				continue
			}
			for n := range v.Earlier {
				if !yield(t.Attempt(v, n+1)) {
					return
				}
			}
			if over(v.State) && !yield(t.Span(v, v.Usage, stalls[v.ID])) {
				return
			}
		}
	}
}
