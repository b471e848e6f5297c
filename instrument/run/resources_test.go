package run

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// used is a run of a minute in which processes told samples: second, CPU ms, RSS, bytes
// read, processes.
func used(t *testing.T, samples ...[5]float64) *State {
	s := NewState()
	apply := func(at float64, e telemetry.Event) {
		e.TS, e.RecvMS = telemetry.F(1e9+at), telemetry.N(int64(at*1000))
		s.Apply(e)
	}
	apply(0, telemetry.Event{Type: telemetry.SpanStart, SpanID: "root", Kind: telemetry.KindRun, Source: telemetry.SourceObsrun})
	apply(0, telemetry.Event{Type: telemetry.SpanStart, SpanID: "p", Kind: telemetry.KindProcess, Parent: "root", Source: telemetry.SourceProcess})
	for _, v := range samples {
		sample := map[string]any{"cpu_ms": v[1], "rss_bytes": v[2], "processes": v[4]}
		if v[3] >= 0 {
			sample["read_bytes"], sample["write_bytes"] = v[3], 2*v[3]
		}
		apply(v[0], telemetry.Event{Type: telemetry.SpanUpdate, SpanID: "p", Source: telemetry.SourceProcess,
			Attrs: telemetry.Attrs(map[string]any{"sample": sample})})
	}
	return s
}

func TestResources(t *testing.T) {
	assert.Nil(t, used(t).Resources())
	assert.Nil(t, used(t).Since(0, 0).Resources)

	s := used(t, [5]float64{1, 500, 100, 0, 1}, [5]float64{3, 4500, 300, 2000, 4}, [5]float64{3.5, 4500, 50, 2000, 0})
	got := s.Resources()
	assert.Equal(t, &Resources{
		StartMS: 1e12, StepMS: 1000, CPU: []float64{50, 200, 200, 0}, RSS: []int64{100, 300, 300, 50},
		Read: []int64{0, 1000, 1000, 0}, Write: []int64{0, 2000, 2000, 0}, Processes: []int64{1, 4, 4, 0},
		CPUMS: 4500, PeakRSS: 300, ReadBytes: 2000, WriteBytes: 4000,
	}, got)

	// It is sent when it grew.
	rev := s.Rev()
	assert.Equal(t, got, s.Since(0, 0).Resources)
	assert.Equal(t, got, s.Since(rev-1, 0).Resources)
	assert.Nil(t, s.Since(rev, 0).Resources)

	// IO that nobody knows is no row of zeros.
	none := used(t, [5]float64{1, 500, 100, -1, 1}).Resources()
	assert.Equal(t, []int64{}, none.Read)
	assert.Equal(t, []int64{}, none.Write)
	text, err := json.Marshal(none)
	require.NoError(t, err)
	assert.NotContains(t, string(text), "null")
}

func TestResourcesOfALongRun(t *testing.T) {
	var samples [][5]float64
	for at := 5.0; at <= 5*3600; at += 5 {
		samples = append(samples, [5]float64{at, at * 2000, 1e6, at * 100, 7})
	}
	r := used(t, samples...).Resources()
	assert.LessOrEqual(t, len(r.CPU), burnPoints)
	assert.Greater(t, len(r.CPU), burnPoints/2)
	assert.Equal(t, int64(5*3600*2000), r.CPUMS)
	for i := range r.CPU {
		assert.InDelta(t, 200, r.CPU[i], 0.1)
		assert.InDelta(t, 100, r.Read[i], 1)
		assert.Equal(t, int64(7), r.Processes[i])
	}
}

func TestResourcesAreBounded(t *testing.T) {
	var samples [][5]float64
	for i := range 3 * maxSamples {
		samples = append(samples, [5]float64{float64(i), float64(i) * 10, float64(i % 7), -1, 1})
	}
	s := used(t, samples...)
	assert.LessOrEqual(t, len(s.usedUp.samples), maxSamples)
	r := s.Resources()
	assert.Equal(t, int64(6), r.PeakRSS)
	assert.Equal(t, int64((3*maxSamples-1)*10), r.CPUMS)
}

// No input makes it fail.
func TestResourcesOfNonsense(t *testing.T) {
	for _, attrs := range []string{`{"sample":null}`, `{"sample":7}`, `{"sample":{"cpu_ms":"x"}}`, `[]`, `{"sample":{}}`,
		`{"sample":{"cpu_ms":-1e300,"rss_bytes":1e300,"read_bytes":-5,"write_bytes":1e300,"processes":-1e300}}`} {
		for _, ts := range []float64{0, 1, 1e9, 9e10, 1e19} {
			s := used(t, [5]float64{1, 10, 10, 10, 1})
			s.Apply(telemetry.Event{Type: telemetry.SpanUpdate, SpanID: "p", Source: telemetry.SourceProcess, Attrs: json.RawMessage(attrs), TS: telemetry.F(ts)})
			s.Apply(telemetry.Event{Type: telemetry.SpanUpdate, SpanID: "p", Source: telemetry.SourceProcess,
				Attrs: json.RawMessage(`{"sample":{"cpu_ms":11}}`), TS: telemetry.F(1e9 + 2)})
			r := s.Resources()
			require.NotNil(t, r)
			assert.LessOrEqual(t, len(r.CPU), burnPoints+1)
			_, err := json.Marshal(r)
			assert.NoError(t, err, attrs)
		}
	}
	// Only obsrun's own eyes count.
	s := used(t)
	s.Apply(telemetry.Event{Type: telemetry.SpanUpdate, SpanID: "p", Source: telemetry.SourceSocket, Attrs: json.RawMessage(`{"sample":{"cpu_ms":11}}`)})
	assert.Nil(t, s.Resources())
}

// With processes in between, every recorded run is the same run: agents, percent,
// phases, critical path, stalls, silences.
func TestProcessesChangeNothing(t *testing.T) {
	journals, err := filepath.Glob("../../testdata/runs/*/telemetry.jsonl")
	require.NoError(t, err)
	require.NotEmpty(t, journals)
	for _, path := range journals {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			plain, crowded := NewState(), NewState()
			processes := 0
			tell := func(kind telemetry.Type, id, parent string, recv telemetry.Int, ts telemetry.Float, attrs any) {
				e := telemetry.Event{Type: kind, SpanID: id, Parent: parent, Kind: telemetry.KindProcess, Name: "sh", TS: ts, RecvMS: recv,
					Source: telemetry.SourceProcess, Status: telemetry.StatusError, Attrs: telemetry.Attrs(attrs)}
				crowded.Apply(e)
			}
			began := false
			for line := range bytes.Lines(text) {
				e, err := telemetry.Decode(bytes.TrimSpace(line))
				if err != nil {
					continue
				}
				plain.Apply(e)
				crowded.Apply(e)
				if began = began || crowded.RootID() != ""; !began || crowded.Ended() {
					continue
				}
				id := fmt.Sprint("process-", processes)
				tell(telemetry.SpanStart, id, crowded.RootID(), e.RecvMS, e.TS, map[string]any{"pid": processes})
				if processes > 0 {
					tell(telemetry.SpanStart, id+"-child", "process-0", e.RecvMS, e.TS, map[string]any{"pid": processes})
					tell(telemetry.SpanUpdate, "process-0", "", e.RecvMS, e.TS, map[string]any{"sample": map[string]any{"cpu_ms": processes}})
				}
				if processes%3 != 0 { // the others go on until the end
					tell(telemetry.SpanEnd, id, "", e.RecvMS, e.TS, map[string]any{"exit_code": 1})
				}
				processes++

				var a, b []Suspect
				for v := range plain.Suspects() {
					a = append(a, v)
				}
				for v := range crowded.Suspects() {
					b = append(b, v)
				}
				require.Equal(t, a, b, "silences")
				require.Equal(t, plain.Totals().Spans, crowded.Totals().Spans-crowded.ProcessSpans())
			}
			require.True(t, !began || processes > 0)
			assert.NoError(t, consistent(crowded))
			plain.Abandon()
			crowded.Abandon()
			assert.Equal(t, story(t, plain), story(t, crowded))
			for _, phase := range plain.Phases() {
				assert.Equal(t, plain.MaxParallel(phase.Name), crowded.MaxParallel(phase.Name))
			}
			assert.Equal(t, plain.MaxParallel(""), crowded.MaxParallel(""))
			failed, lost := plain.Casualties()
			failedToo, lostToo := crowded.Casualties()
			assert.Equal(t, []int{failed, lost}, []int{failedToo, lostToo}, "what --fail-on asks")
		})
	}
}

// story is what a reader is told, without processes and without line numbers.
func story(t *testing.T, s *State) string {
	d := s.Since(0, 0)
	d.Rev, d.Resources = 0, nil
	d.Sources = slices.DeleteFunc(d.Sources, func(c Capture) bool { return c.Source == telemetry.SourceProcess })
	d.Totals.Events, d.Totals.Spans = 0, d.Totals.Spans-s.ProcessSpans()
	spans := []Span{}
	for _, span := range d.Spans {
		if span.Kind != telemetry.KindProcess {
			span.Seq = 0
			spans = append(spans, span)
		}
	}
	d.Spans = spans
	for i := range d.Logs {
		d.Logs[i].Rev = 0
	}
	text, err := json.MarshalIndent(d, "", " ")
	require.NoError(t, err)
	return string(text)
}
