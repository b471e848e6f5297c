package run

import "math"

// burn keeps how many tokens were used in each second of the run. Adding costs
// the same however long the time is over which they are spread: what covers
// whole seconds is kept as the changes of a rate.
type burn struct {
	direct []float64 // tokens in second i, beside the rate
	steps  []float64 // change of the tokens a second from second i on
}

const secondUS = 1_000_000

// longestRun bounds the seconds that are kept: a week. What is used later counts
// as used in the last of them.
const longestRun = 7 * 24 * 3600

// consumed spreads tokens that became known with an event at this time over the
// time since the reporting agent last said so, or since it began.
func (s *State) consumed(n *node, at, grown int64) {
	from := at
	if n != nil && n != s.root {
		reporter := n
		if !n.isAgent() && n.agent != nil {
			reporter = n.agent
		}
		from = reporter.lastReport
		if from == 0 {
			from = reporter.startAt
		}
		if reporter.life == ended && reporter.endAt < at {
			at = max(reporter.endAt, from)
		}
		reporter.lastReport = at
	}
	// A producer whose clock runs ahead does not make the run longer.
	at = min(at, s.origin+(min(s.lastRecv, longestRun*1000)+60_000)*1000)
	s.burn.spread(min(from, at)-s.origin, at-s.origin, float64(grown))
}

// spread adds n tokens evenly over [from, to], microseconds since the run's start.
func (b *burn) spread(from, to int64, n float64) {
	to = max(0, min(to, longestRun*secondUS))
	from = max(0, min(from, to))
	first, last := int(from/secondUS), int(to/secondUS)
	if need := last + 2; need > len(b.direct) {
		b.direct = append(b.direct, make([]float64, need-len(b.direct))...)
		b.steps = append(b.steps, make([]float64, need-len(b.steps))...)
	}
	if first == last {
		b.direct[first] += n
		return
	}
	rate := n / float64(to-from)
	b.direct[first] += rate * float64(int64(first+1)*secondUS-from)
	b.direct[last] += rate * float64(to-int64(last)*secondUS)
	if first+1 < last {
		b.steps[first+1] += rate * secondUS
		b.steps[last] -= rate * secondUS
	}
}

const (
	burnWindow = 30  // seconds
	burnWarmUp = 5   // the window is never shorter
	burnPoints = 240 // of the series, at most
)

// Burn gives how fast tokens are used. nowMS is Unix milliseconds; the run's end
// where that came before.
func (s *State) Burn(nowMS int64) Burn {
	end := s.origin + s.lastRecv*1000 // not by what producers say: clocks lie
	if s.root.endAt != 0 {
		end = s.root.endAt
	} else if nowMS > 0 {
		end = nowMS * 1000
	}
	seconds := int(max(0, min(end-s.origin, longestRun*secondUS)) / secondUS)
	out := Burn{StartMS: millis(s.origin), StepMS: int64(1+seconds/burnPoints) * 1000, Series: []float64{}, Totals: []int64{}, AtLeast: s.unheard > 0}
	if s.origin == 0 || (seconds == 0 && len(s.burn.direct) == 0) {
		out.AtLeast = false
		return out
	}
	// sums[i] is what was used before second i; the running second counts whole.
	bins := seconds + 1
	sums := make([]float64, bins+1)
	rate := 0.0
	for i := range bins {
		used := 0.0
		if i < len(s.burn.direct) {
			rate += s.burn.steps[i]
			used = rate + s.burn.direct[i]
		}
		sums[i+1] = sums[i] + used
	}
	perMin := func(upTo int) float64 {
		window := max(burnWarmUp, min(burnWindow, upTo))
		return max(0, (sums[upTo]-sums[max(0, upTo-window)])*60/float64(window))
	}
	for i := 1; i <= bins; i++ {
		out.Peak = max(out.Peak, perMin(i))
	}
	step := int(out.StepMS / 1000)
	for i := 0; i < bins; i += step {
		out.Series = append(out.Series, round1(perMin(min(bins, i+1))))
		out.Totals = append(out.Totals, int64(math.Round(sums[min(bins, i+1)])))
	}
	out.PerMin, out.Peak = round1(perMin(bins)), round1(out.Peak)
	if elapsed := float64(end-s.origin) / secondUS; elapsed > 0 {
		out.Mean = round1(sums[bins] * 60 / max(1, elapsed))
		if s.root.endAt != 0 {
			out.Peak = max(out.Peak, out.Mean) // a run shorter than the window has no other rate
		}
	}
	return out
}

func round1(f float64) float64 { return float64(int64(f*10+0.5)) / 10 }
