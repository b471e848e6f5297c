package run

import (
	"encoding/json"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// Resources is what COMMAND's processes used over time, all together: value i is
// that of the step from StartMS + i*StepMS. The series ends with the last sample;
// what a process took that lived and ended between two looks is in it only where
// its parent waited for it.
type Resources struct {
	StartMS int64 `json:"start_ms"`
	StepMS  int64 `json:"step_ms"`
	// CPU is in percent of one core: 250 is two and a half cores.
	CPU []float64 `json:"cpu"`
	// RSS is the resident memory of all processes added up, in bytes: the highest
	// sum seen. Memory that they share counts for each.
	RSS []int64 `json:"rss_bytes"`
	// Read and Write are bytes a second from and to storage; what the page cache
	// answers is not in them. Empty where the system does not tell.
	Read  []int64 `json:"read_bytes_per_s"`
	Write []int64 `json:"write_bytes_per_s"`
	// Processes counts the live ones.
	Processes []int64 `json:"processes"`
	// CPUMS is the CPU time of the whole run in milliseconds, PeakRSS the highest
	// RSS, ReadBytes and WriteBytes are the totals.
	CPUMS      int64 `json:"cpu_ms"`
	PeakRSS    int64 `json:"peak_rss_bytes"`
	ReadBytes  int64 `json:"total_read_bytes"`
	WriteBytes int64 `json:"total_write_bytes"`
}

// sample is one observation of all processes together: the attr "sample" of an
// event of source process. CPU time and bytes are totals since COMMAND's start,
// RSS is the highest since the sample before.
type sample struct {
	at int64 // Unix microseconds

	CPUMS     float64  `json:"cpu_ms"`
	RSS       float64  `json:"rss_bytes"`
	Read      *float64 `json:"read_bytes"` // nil: nobody knows
	Write     *float64 `json:"write_bytes"`
	Processes float64  `json:"processes"`
}

// consumption is what the process plane told.
type consumption struct {
	samples []sample
	rev     int64 // line of the last one
	spans   int   // of processes
}

// maxSamples bounds what is kept of a journal that has more than obsrun writes.
const maxSamples = 4096

// ProcessSpans counts the spans of processes: they come and go by themselves, and
// say nothing about the work of others.
func (s *State) ProcessSpans() int { return s.usedUp.spans }

// consume takes in what an event tells of processes, before it is folded.
func (s *State) consume(e *telemetry.Event, at int64) {
	if e.Source != telemetry.SourceProcess {
		return
	}
	if e.Type == telemetry.SpanStart && s.nodes[e.SpanID] == nil {
		s.usedUp.spans++
	}
	var attrs struct {
		Sample *sample `json:"sample"`
	}
	if len(e.Attrs) == 0 || json.Unmarshal(e.Attrs, &attrs) != nil || attrs.Sample == nil {
		return
	}
	c := &s.usedUp
	next := *attrs.Sample
	next.at = at
	if n := len(c.samples); n > 0 {
		last := c.samples[n-1]
		next.at = max(next.at, last.at)
		next.CPUMS = max(next.CPUMS, last.CPUMS) // totals do not shrink
		for _, total := range []struct{ was, is **float64 }{{&last.Read, &next.Read}, {&last.Write, &next.Write}} {
			if *total.was != nil && (*total.is == nil || **total.is < **total.was) {
				*total.is = *total.was
			}
		}
	}
	if len(c.samples) == maxSamples {
		for i := range maxSamples / 2 {
			kept := c.samples[2*i+1]
			kept.RSS = max(kept.RSS, c.samples[2*i].RSS)
			c.samples[i] = kept
		}
		c.samples = c.samples[:maxSamples/2]
	}
	c.samples, c.rev = append(c.samples, next), s.rev
}

// resourcesSince gives the series if it grew after line rev, else nil.
func (s *State) resourcesSince(rev int64) *Resources {
	if s.usedUp.rev <= rev {
		return nil
	}
	return s.Resources()
}

// Resources gives what the processes used; nil where nobody told.
func (s *State) Resources() *Resources {
	samples := s.usedUp.samples
	if len(samples) == 0 {
		return nil
	}
	last := samples[len(samples)-1]
	length := min(max(0, last.at-s.origin), longestRun*secondUS)
	step := (1 + length/secondUS/burnPoints) * secondUS
	bins := max(1, int((length+step-1)/step))
	out := &Resources{
		StartMS: millis(s.origin), StepMS: step / 1000, CPUMS: int64(last.CPUMS),
		CPU: make([]float64, bins), RSS: make([]int64, bins), Processes: make([]int64, bins), Read: []int64{}, Write: []int64{},
	}
	if last.Read != nil && last.Write != nil {
		out.Read, out.Write = make([]int64, bins), make([]int64, bins)
		out.ReadBytes, out.WriteBytes = int64(*last.Read), int64(*last.Write)
	}
	// What was used between two samples is spread evenly.
	used := make([]sample, bins)
	read, write := make([]float64, bins), make([]float64, bins)
	before := sample{at: s.origin}
	for i := range samples {
		now := &samples[i]
		from, to := before.at-s.origin, min(now.at-s.origin, length)
		first := max(0, min(int(from/step), bins-1))
		final := max(first, min(int((to-1)/step), bins-1))
		for bin := first; bin <= final; bin++ {
			share := 1.0
			if to > from {
				share = float64(min(to, int64(bin+1)*step)-max(from, int64(bin)*step)) / float64(to-from)
			}
			used[bin].CPUMS += share * (now.CPUMS - before.CPUMS)
			read[bin] += share * grown(before.Read, now.Read)
			write[bin] += share * grown(before.Write, now.Write)
			out.RSS[bin] = max(out.RSS[bin], int64(now.RSS))
			out.Processes[bin] = int64(now.Processes)
		}
		out.PeakRSS = max(out.PeakRSS, int64(now.RSS))
		before = *now
	}
	for bin := range bins {
		// The last step may have only just begun.
		seconds := float64(min(step, max(secondUS/10, length-int64(bin)*step))) / secondUS
		out.CPU[bin] = round1(used[bin].CPUMS / seconds / 10)
		if len(out.Read) > 0 {
			out.Read[bin], out.Write[bin] = int64(read[bin]/seconds), int64(write[bin]/seconds)
		}
	}
	return out
}

func grown(before, now *float64) float64 {
	switch {
	case now == nil:
		return 0
	case before == nil:
		return *now
	}
	return max(0, *now-*before)
}
