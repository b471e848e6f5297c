package run

import (
	"cmp"
	"container/heap"
	"slices"
)

// CriticalPath is the chain of spans that the run's end waited for, from its
// start to its end. Within a span, going back from its end, the child that ended
// last is followed; what no child covers is the span's own. The segments cover
// the wall time once. It is the last-finishing-child walk that Jaeger draws.
// Nil while the run has not ended.
func (s *State) CriticalPath() []Segment {
	if !s.ended {
		return nil
	}
	w := pathWalk{}
	w.span(s.root, millis(s.root.startAt), millis(s.root.endAt))
	slices.Reverse(w.segments)
	return w.segments
}

type pathWalk struct{ segments []Segment } // last first

func (w *pathWalk) emit(n *node, from, to int64) {
	if from >= to {
		return
	}
	n = n.standsFor()
	if k := len(w.segments); k > 0 && w.segments[k-1].SpanID == n.id {
		w.segments[k-1].StartMS = from
		return
	}
	seg := Segment{SpanID: n.id, Name: n.label(), Kind: n.kind, StartMS: from, EndMS: to}
	if n.phase != nil {
		seg.Phase = n.phase.name
	}
	switch {
	case n.isAgent():
		seg.Agent = n.id
	case n.agent != nil:
		seg.Agent = n.agent.id
	}
	w.segments = append(w.segments, seg)
}

// piece is a child on the time axis, in milliseconds.
type piece struct {
	n        *node
	from, to int64
}

// byStart is a heap of the children that reach the point looked at, the earliest
// start on top.
type byStart []piece

func (h byStart) Len() int { return len(h) }
func (h byStart) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].from, h[j].from), cmp.Compare(h[i].n.id, h[j].n.id)) < 0
}
func (h byStart) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *byStart) Push(x any)   { *h = append(*h, x.(piece)) }
func (h *byStart) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// span walks back from point t to from, within the span n.
func (w *pathWalk) span(n *node, from, t int64) {
	var ahead []piece // by end, the latest last
	for c := n.first; c != nil; c = c.next {
		if c.life == waiting || c.sort == aProcess {
			continue
		}
		p := piece{c, millis(c.startAt), t}
		if c.life == ended {
			p.to = millis(c.endAt)
		}
		if p.to > from && p.from < t && p.to > p.from {
			ahead = append(ahead, p)
		}
	}
	slices.SortFunc(ahead, func(a, b piece) int {
		return cmp.Or(cmp.Compare(a.to, b.to), cmp.Compare(b.from, a.from), cmp.Compare(b.n.id, a.n.id))
	})
	var reaching byStart
	for t > from {
		for len(ahead) > 0 && ahead[len(ahead)-1].to >= t {
			heap.Push(&reaching, ahead[len(ahead)-1])
			ahead = ahead[:len(ahead)-1]
		}
		var next piece
		switch {
		case len(reaching) > 0 && reaching[0].from < t:
			next = heap.Pop(&reaching).(piece)
		case len(ahead) > 0:
			reaching = reaching[:0] // they all begin at t or later
			next = ahead[len(ahead)-1]
			ahead = ahead[:len(ahead)-1]
		default:
			w.emit(n, from, t)
			return
		}
		end, start := min(next.to, t), max(next.from, from)
		w.emit(n, end, t)
		w.span(next.n, start, end)
		t = start
	}
}

// MaxParallel is how many agents of the phase ran at once at most, by their
// times; of all agents where phase is empty.
func (s *State) MaxParallel(phase string) int {
	if s.parallel == nil || s.parallelRev != s.rev {
		s.parallel, s.parallelRev = s.countParallel(), s.rev
	}
	return s.parallel[phase]
}

// countParallel goes once over all agents, for every phase.
func (s *State) countParallel() map[string]int {
	type edge struct {
		at    int64
		phase string
		delta int
	}
	var edges []edge
	for _, n := range s.order[1:] {
		if !n.counts() || n.life == waiting {
			continue
		}
		in := ""
		if n.phase != nil {
			in = n.phase.name
		}
		for _, e := range n.earlier {
			edges = append(edges, edge{e.StartMS * 1000, in, 1}, edge{max(e.EndMS, e.StartMS+1) * 1000, in, -1})
		}
		edges = append(edges, edge{n.startAt, in, 1})
		if n.life == ended {
			edges = append(edges, edge{max(n.endAt, n.startAt+1), in, -1})
		}
	}
	// At one and the same time what ends makes room for what begins.
	slices.SortFunc(edges, func(a, b edge) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.delta, b.delta))
	})
	running, most := make(map[string]int), make(map[string]int)
	count := func(in string, delta int) {
		running[in] += delta
		most[in] = max(most[in], running[in])
	}
	for _, e := range edges {
		count("", e.delta)
		if e.phase != "" {
			count(e.phase, e.delta)
		}
	}
	return most
}
