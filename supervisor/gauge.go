package supervisor

import "time"

// gauge chooses which observations of all processes are worth a line of the journal:
// one every 5 s, and less often in a run that is long, so that there are some 800 in five
// hours and 1,500 in a week. While nothing changes there are none; the last moment at
// which nothing had changed is then told with the first change, as what lies between two
// samples is read as a straight line.
type gauge struct {
	began, next time.Time
	told        processSample
	seen        processSample // the one before, told or not
	top         int64         // highest sum of memory since then
}

// processSample is one observation, as it stands in the attrs.
type processSample struct {
	at        time.Time
	CPUMS     int64  `json:"cpu_ms"`
	RSS       int64  `json:"rss_bytes"`
	Read      *int64 `json:"read_bytes,omitempty"`
	Written   *int64 `json:"write_bytes,omitempty"`
	Processes int    `json:"processes"`
}

const (
	sampleEvery = 5 * time.Second
	firstSample = time.Second
	// samplesKept is how many samples the part of the run that is over may have, about,
	// before they come less often.
	samplesKept = 200
)

func newGauge(now time.Time) *gauge {
	first := processSample{at: now}
	return &gauge{began: now, next: now.Add(firstSample), told: first, seen: first}
}

// observe takes in an observation and gives the samples to tell.
func (g *gauge) observe(at time.Time, count processCount) (list []processSample) {
	g.top = max(g.top, count.rss)
	if at.Before(g.next) {
		return nil
	}
	s := g.sample(at, count)
	g.top = 0
	g.next = at.Add(max(sampleEvery, at.Sub(g.began)/samplesKept))
	if !s.differs(&g.seen, &g.told) {
		g.seen = s
		return nil
	}
	if g.seen.at.After(g.told.at) {
		list = append(list, g.seen)
	}
	g.seen, g.told = s, s
	return append(list, s)
}

// last gives the final sample.
func (g *gauge) last(at time.Time, count processCount) processSample {
	g.top = max(g.top, count.rss)
	return g.sample(at, count)
}

func (g *gauge) sample(at time.Time, count processCount) processSample {
	s := processSample{at: at, CPUMS: count.used.Milliseconds(), RSS: g.top, Processes: count.live}
	if count.metered {
		s.Read, s.Written = &count.read, &count.written
	}
	return s
}

// differs tells whether a sample says something beyond the one before and the one
// that was told last.
func (s *processSample) differs(before, told *processSample) bool {
	const leastMemory, leastIO = 1 << 20, 64 << 10
	elapsed := s.at.Sub(before.at).Milliseconds()
	moved := s.RSS - told.RSS
	if moved < 0 {
		moved = -moved
	}
	return s.Processes != told.Processes ||
		s.CPUMS-before.CPUMS > max(elapsed/100, 2*clockUnit) ||
		moved > max(told.RSS/50, leastMemory) ||
		grew(before.Read, s.Read) > leastIO || grew(before.Written, s.Written) > leastIO
}

// clockUnit is, in milliseconds, the coarsest unit in which CPU time comes.
const clockUnit = 10

func grew(before, now *int64) int64 {
	switch {
	case now == nil:
		return 0
	case before == nil:
		return *now
	}
	return *now - *before
}
