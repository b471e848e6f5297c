package supervisor

import (
	"slices"
	"time"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// judge decides who is stalled. It knows no clock: all times are since the run's
// start, as its caller tells them.
//
// A span that reports is stalled when it is silent for as long as its limit. One whose
// kind does not report is when it has been running for as long as its limit and is
// silent now; once it was heard of again, only after another such time. The run is
// when nothing at all happens, and only where no open span was flagged for it already.
type judge struct {
	limits StallTimeout
	pause  time.Duration // the longest between two surveys

	silences map[string]*silence // by span id: flagged, and not heard of since
	flags    int
	marks    map[string]mark // by span id
	rev      int64           // line that heardAgain has seen
	since    time.Duration   // no silence began before this

	// alone is the only open span with nothing open below, if there is one, since it
	// was seen to be: output and CPU use from then on can only be its own. spans is how
	// many there were, to notice another one that came and went.
	alone struct {
		id    string
		spans int
		since time.Duration
	}

	// What the last survey found.
	next     time.Duration // when the next one has to be
	suspect  []candidate   // not flagged, and no more than 3/4 of its limit away from it
	root     run.Suspect
	heard    time.Duration // when alone was
	terminal signs
	llm      struct{ any, unowned int64 }

	cpu     cpuUse
	count   processCount
	counted bool
}

// silence is one that was flagged.
type silence struct {
	order     int
	heard     int64 // HeardMS of the span
	since, at time.Duration
}

// mark is what else is known of an open span.
type mark struct {
	active  time.Duration // when output or CPU use was last its own
	cleared time.Duration // when a silence of it last ended
}

type candidate struct {
	run.Suspect
	allowance
	root    bool
	message string
}

// signs are the last signs of life at the terminal.
type signs struct{ output, input time.Duration }

const (
	unknown   time.Duration = -1
	noRequest int64         = -1
	// hush is how long a span of a kind that does not report must be silent for to be
	// flagged for its age: one that speaks is not stalled.
	hush = 2 * time.Minute
)

func newJudge(limits StallTimeout, pause time.Duration) *judge {
	return &judge{limits: limits, pause: pause, silences: make(map[string]*silence), marks: make(map[string]mark)}
}

// restart begins every silence anew: what came before says nothing.
func (j *judge) restart(now time.Duration) {
	j.since = now
	j.cpu.restart()
}

// forget takes back that the span was flagged.
func (j *judge) forget(id string) {
	delete(j.silences, id)
	j.next = 0
}

// look gives the events that are due now, or tells that the run is over. view shows
// the state, sample (nil: there is none) the processes; that is only asked when some
// span comes near its limit.
func (j *judge) look(now time.Duration, view func(func(*run.State)), terminal signs, sample func() processCount) (events []telemetry.Event, over bool) {
	survey := now >= j.next || j.watching() && terminal != j.terminal
	if !survey && len(j.silences) == 0 {
		return nil, false
	}
	view(func(s *run.State) {
		events = j.heardAgain(s)
		over = s.Ended()
		if survey && !over {
			j.survey(now, s)
		}
	})
	if !survey || over {
		return events, over
	}
	if sample != nil && (len(j.suspect) > 0 || j.watching()) {
		j.count, j.counted = sample(), true
		j.cpu.add(now, j.count.used)
	}
	j.terminal = terminal
	j.credit(terminal)
	events = append(events, j.clear()...)
	events = append(events, j.flag(now, terminal)...)
	j.schedule(now)
	return events, false
}

// heardAgain ends the silences of spans of which something was heard.
func (j *judge) heardAgain(s *run.State) []telemetry.Event {
	if len(j.silences) == 0 || s.Rev() == j.rev {
		return nil
	}
	j.rev = s.Rev()
	var ended []ending
	for id, silence := range j.silences {
		if span, ok := s.Span(id); ok && span.HeardMS > silence.heard {
			ended = append(ended, ending{id, silence, millis(span.HeardMS)})
		}
	}
	return j.end(ended)
}

type ending struct {
	id      string
	silence *silence
	at      time.Duration
}

// end ends silences, in the order in which they were flagged.
func (j *judge) end(list []ending) (events []telemetry.Event) {
	slices.SortFunc(list, func(a, b ending) int { return a.silence.order - b.silence.order })
	for _, e := range list {
		delete(j.silences, e.id)
		m := j.marks[e.id]
		m.cleared = e.at
		j.marks[e.id] = m
		j.next = 0
		events = append(events, telemetry.Event{
			Type: telemetry.SpanResumed, SpanID: e.id, Source: telemetry.SourceObsrun,
			IdleMS: telemetry.F(float64((e.at - e.silence.since).Milliseconds())),
		})
	}
	return events
}

// survey goes through the open spans.
func (j *judge) survey(now time.Duration, s *run.State) {
	for id := range j.marks {
		if span, ok := s.Span(id); !ok || span.State != run.Running && span.State != run.Stalled {
			delete(j.marks, id)
		}
	}
	j.suspect, j.next = j.suspect[:0], now+j.pause
	j.root, j.llm.any, j.llm.unowned = run.Suspect{}, noRequest, noRequest
	var only run.Suspect
	leaves := 0
	limits := make(map[string]allowance)
	for v := range s.Suspects() {
		if v.SpanID == "" {
			continue // the run has not begun
		}
		c := candidate{Suspect: v, root: v.SpanID == s.RootID()}
		if c.root {
			j.root = v
		} else {
			leaves++
			only = v
		}
		if v.OpenLLM {
			older(&j.llm.any, v.StartedMS)
			if v.Agent == "" {
				older(&j.llm.unowned, v.StartedMS)
			}
		}
		limit, ok := limits[v.Kind]
		if !ok {
			limit = j.limits.of(s, v.Kind)
			limits[v.Kind] = limit
		}
		if limit == (allowance{}) || j.silences[v.SpanID] != nil {
			continue
		}
		c.allowance = limit
		due := j.due(&c)
		if near := due - (limit.silence+limit.age)/4*3; now < near {
			j.next = min(j.next, near)
			continue
		}
		if now >= due {
			span, _ := s.Span(v.SpanID)
			c.message = span.Message
		}
		j.suspect = append(j.suspect, c)
	}

	spans := s.Totals().Spans - s.ProcessSpans()
	if leaves != 1 {
		j.alone.id = ""
	} else if j.heard = millis(only.HeardMS); j.alone.id != only.SpanID || j.alone.spans != spans {
		j.alone.id, j.alone.spans, j.alone.since = only.SpanID, spans, now
	}
}

// watching tells whether one is flagged that can prove to be alive without an event.
func (j *judge) watching() bool {
	return j.silences[j.root.SpanID] != nil || j.silences[j.alone.id] != nil
}

func older(oldest *int64, ms int64) {
	if *oldest == noRequest || ms < *oldest {
		*oldest = ms
	}
}

// idle is when the span was last alive, as far as anybody can tell.
func (j *judge) idle(c *candidate) time.Duration {
	return max(millis(c.HeardMS), j.since, j.marks[c.SpanID].active)
}

// due is when the span is stalled, if nothing happens until then.
func (j *judge) due(c *candidate) time.Duration {
	if c.silence > 0 {
		return j.idle(c) + c.silence
	}
	began := max(millis(c.StartedMS), j.since, j.marks[c.SpanID].cleared)
	return max(began+c.age, j.idle(c)+min(c.age, hush))
}

// credit takes output, keys and CPU use as activity: of the run, and of the span that
// alone can have caused it. CPU use that began before the last event proves nothing
// about the time after it.
func (j *judge) credit(terminal signs) {
	active := func(id string, at time.Duration) {
		m := j.marks[id]
		m.active = max(m.active, at)
		j.marks[id] = m
	}
	if j.root.SpanID != "" {
		at := max(terminal.output, terminal.input)
		if j.cpu.busyFrom >= millis(j.root.HeardMS) {
			at = max(at, j.cpu.busyTo)
		}
		active(j.root.SpanID, at)
	}
	if j.alone.id == "" {
		return
	}
	if terminal.output >= j.alone.since {
		active(j.alone.id, terminal.output)
	}
	if j.cpu.busyFrom >= max(j.alone.since, j.heard) {
		active(j.alone.id, j.cpu.busyTo)
	}
}

// clear ends the silence of whoever proved to be alive without an event.
func (j *judge) clear() []telemetry.Event {
	var ended []ending
	for _, id := range []string{j.alone.id, j.root.SpanID} {
		if silence := j.silences[id]; silence != nil && j.marks[id].active > silence.at {
			ended = append(ended, ending{id, silence, j.marks[id].active})
		}
	}
	return j.end(ended)
}

// flag tells of those whose limit has passed, of the run last.
func (j *judge) flag(now time.Duration, terminal signs) (events []telemetry.Event) {
	var root *candidate
	put := func(c *candidate) {
		idle := j.idle(c)
		j.silences[c.SpanID] = &silence{order: j.flags, heard: c.HeardMS, since: idle, at: now}
		j.flags++
		events = append(events, telemetry.Event{
			Type: telemetry.SpanStalled, SpanID: c.SpanID, Source: telemetry.SourceObsrun,
			IdleMS: telemetry.F(float64((now - idle).Milliseconds())), Evidence: telemetry.Attrs(j.evidence(now, c, terminal)),
		})
	}
	for i := range j.suspect {
		switch c := &j.suspect[i]; {
		case now < j.due(c):
		case c.root:
			root = c
		default:
			put(c)
		}
	}
	if root != nil && len(j.silences) == 0 {
		put(root)
	}
	return events
}

// schedule sets when to look at the spans again: when the next one is due, and in the
// meantime often enough to see when CPU time was used.
func (j *judge) schedule(now time.Duration) {
	if j.watching() {
		j.next = min(j.next, now+longestPause)
	}
	for i := range j.suspect {
		c := &j.suspect[i]
		if j.silences[c.SpanID] != nil {
			continue
		}
		j.next = min(j.next, now+min((c.silence+c.age)/16, longestPause))
		if due := j.due(c); due > now {
			j.next = min(j.next, due)
		}
	}
}
