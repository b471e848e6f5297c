package run

import (
	"bytes"
	"cmp"
	"encoding/json"
	"iter"
	"slices"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// opened takes note that delta more spans are open below the span and all above it.
func (s *State) opened(n *node, delta int) {
	if delta == 0 {
		return
	}
	for ; n != nil; n = n.parent {
		n.openBelow += int32(delta)
		s.leaf(n)
	}
}

// leaf keeps the set of open spans with nothing open below.
func (s *State) leaf(n *node) {
	switch leaf := isOpen(n) == 1 && n.openBelow == 0; {
	case leaf && n.leafAt == 0:
		s.leaves = append(s.leaves, n)
		n.leafAt = int32(len(s.leaves))
	case !leaf && n.leafAt != 0:
		last := s.leaves[len(s.leaves)-1]
		s.leaves[n.leafAt-1], last.leafAt = last, n.leafAt
		s.leaves[len(s.leaves)-1] = nil
		s.leaves = s.leaves[:len(s.leaves)-1]
		n.leafAt = 0
	}
}

// hear takes note of activity: of the span, and so of all above it.
func (s *State) hear(told *node, e *telemetry.Event, at, recv int64) {
	boundary := e.Type == telemetry.SpanStart || e.Type == telemetry.SpanEnd
	id := told.id
	if id != e.SpanID {
		id = s.keep(e.SpanID)
	}
	for n := told; n != nil; n = n.parent {
		if n.life != waiting && (n.life == open || n == told) {
			n.longest = max(n.longest, recv-n.heard)
			if n != told || !boundary {
				n.beats++
				if n.beats == chattyBeats {
					s.kindOf(n).chatty = true
				}
			}
		}
		n.lastType, n.lastID = e.Type, id
		if recv > n.heard {
			n.heard = recv
			s.touch(n)
		}
		if n.stall != nil {
			s.resume(n, at)
		}
	}
}

// flag folds a span_stalled: the span is silent, and so the nearest agent shows.
func (s *State) flag(e *telemetry.Event, at int64) {
	n := s.nodes[e.SpanID]
	if n == nil || n.life != open || n.stall != nil || s.ended {
		return
	}
	stall := &Stall{SpanID: n.id, Name: n.label(), TimeMS: millis(at), Evidence: bytes.Clone(e.Evidence), Open: true}
	if e.IdleMS.OK {
		stall.IdleMS = millis(micros(e.IdleMS.F))
	}
	if n.phase != nil {
		stall.Phase = n.phase.name
		n.phase.stalls++
	}
	shown := []*node{n}
	switch {
	case n.isAgent():
		stall.Agent = n.id
	case n.agent != nil:
		stall.Agent = n.agent.id
		stall.Name = n.agent.label()
		if n.agent.life == open && n.agent.stall == nil {
			shown = append(shown, n.agent)
		}
	}
	for _, m := range shown {
		s.count(m, -1)
		m.stall = stall
		s.count(m, +1)
		s.touch(m)
	}
	s.stalls = append(s.stalls, stall)
}

// resume clears the flag of a span that was heard of again.
func (s *State) resume(n *node, at int64) {
	stall := n.stall
	if stall == nil {
		return
	}
	s.count(n, -1)
	n.stall = nil
	s.count(n, +1)
	s.touch(n)
	if stall.SpanID != n.id {
		return // an agent that only showed what is still silent below it
	}
	stall.Open, stall.ResumedMS = false, max(millis(at), stall.TimeMS)
	if agent := s.nodes[stall.Agent]; agent != nil && agent.stall == stall {
		s.count(agent, -1)
		agent.stall = nil
		s.count(agent, +1)
		s.touch(agent)
	}
}

// kindFacts are what the spans of one kind have shown, to judge the others by.
type kindFacts struct {
	chatty    bool    // a span of it reported between its start and its end
	durations []int64 // of ended spans, ms
	silences  []int64 // the longest of each ended span, ms
	count     int
}

const (
	// chattyBeats events between start and end make a kind one that reports.
	chattyBeats = 3
	// keptSpans bounds what is remembered of a kind: its newest ended spans.
	keptSpans = 500
)

func (s *State) kindOf(n *node) *kindFacts {
	kind := cmp.Or(n.kind, telemetry.KindTask)
	k := s.kinds[kind]
	if k == nil {
		k = new(kindFacts)
		s.kinds[kind] = k
	}
	return k
}

// slept folds the log of a suspended machine: what nobody could say in that time
// is nobody's silence.
func (s *State) slept(e *telemetry.Event, recv int64) {
	var attrs struct {
		SuspendedMS float64 `json:"suspended_ms"`
	}
	if e.Source != telemetry.SourceObsrun || len(e.Attrs) == 0 || json.Unmarshal(e.Attrs, &attrs) != nil || attrs.SuspendedMS <= 0 {
		return
	}
	for _, n := range s.order {
		if n.life == open {
			n.heard = recv
		}
	}
}

// learn takes in a span that ended, as its end arrives.
func (s *State) learn(n *node, recv int64) {
	k := s.kindOf(n)
	put := func(list *[]int64, v int64) {
		if len(*list) < keptSpans {
			*list = append(*list, v)
		} else {
			(*list)[k.count%keptSpans] = v
		}
	}
	put(&k.durations, millis(n.duration))
	put(&k.silences, max(n.longest, recv-n.heard))
	k.count++
}

// Limit is when a span of a kind is stalled, in milliseconds: silent for longer
// than Silence, where its kind is one that reports, else running for longer than
// Age. The other one is 0.
type Limit struct{ Silence, Age int64 }

// Limit gives the limit for the spans of this kind, as the contract has it under
// "auto".
func (s *State) Limit(kind string) Limit {
	const second, minute = 1000, 60 * 1000
	k := s.kinds[cmp.Or(kind, telemetry.KindTask)]
	if k == nil {
		k = new(kindFacts)
	}
	enough := k.count >= 3
	switch {
	case k.chatty && enough:
		return Limit{Silence: max(120*second, 4*quantile(k.silences, 0.9))}
	case k.chatty:
		return Limit{Silence: 5 * minute}
	case enough:
		return Limit{Age: max(10*minute, 3*quantile(k.durations, 0.5))}
	}
	return Limit{Age: 30 * minute}
}

// quantile is the nearest-rank quantile.
func quantile(values []int64, q float64) int64 {
	sorted := slices.Sorted(slices.Values(values))
	rank := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[max(0, min(rank, len(sorted)-1))]
}

// Suspect is a span that can be stalled: open, with nothing open below it, or the
// run itself.
type Suspect struct {
	SpanID string
	Kind   string
	Name   string
	Agent  string // the nearest agent, itself included
	// StartedMS and HeardMS are arrival times since the run's start.
	StartedMS, HeardMS int64
	// LastEvent is the type of the event that was heard last, LastSpan the span
	// that it was about: this one or one below.
	LastEvent, LastSpan string
	Flagged             bool
	OpenLLM             bool // it is an LLM request that is open
}

// Suspects gives the spans that the watchdog has to judge, the run itself first.
func (s *State) Suspects() iter.Seq[Suspect] {
	return func(yield func(Suspect) bool) {
		if s.ended || !yield(s.suspect(s.root)) {
			return
		}
		leaves := slices.SortedFunc(slices.Values(s.leaves), func(a, b *node) int { return a.seq - b.seq })
		for _, n := range leaves {
			// The gateway hears of an agent only while it calls.
			inferred := n.source == telemetry.SourceGateway && n.isAgent()
			if n != s.root && n.kind != telemetry.KindProcess && !inferred && !yield(s.suspect(n)) {
				return
			}
		}
	}
}

func (s *State) suspect(n *node) Suspect {
	v := Suspect{
		SpanID: n.id, Kind: n.kind, Name: n.label(), StartedMS: n.startRecv, HeardMS: n.heard,
		LastEvent: string(n.lastType), LastSpan: n.lastID, Flagged: n.stall != nil, OpenLLM: n.kind == telemetry.KindLLM,
	}
	if n.isAgent() {
		v.Agent = n.id
	} else if n.agent != nil {
		v.Agent = n.agent.id
	}
	return v
}

// Stalls gives every time a span was flagged, in that order.
func (s *State) Stalls() []Stall {
	out := make([]Stall, 0, len(s.stalls))
	for _, stall := range s.stalls {
		out = append(out, *stall)
	}
	return out
}

// Logs gives the newest log events of level warn and error.
func (s *State) Logs() []Entry { return append(make([]Entry, 0, len(s.logs)), s.logs...) }

// rawOrNil keeps an absent object out of the JSON.
func rawOrNil(v json.RawMessage) json.RawMessage {
	if len(v) == 0 {
		return nil
	}
	return v
}
