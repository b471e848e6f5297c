package run

import (
	"encoding/json"
	"iter"
	"math"
	"strings"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// State is a run as its events tell it. NewState makes one; Apply is the only
// thing that changes it.
type State struct {
	rev    int64
	root   *node
	origin int64 // Unix microseconds of the run's start
	ended  bool
	// interrupted: nobody wrote the run's end (see Abandon).
	abandoned bool

	nodes          map[string]*node
	order          []*node          // by first appearance
	room           []node           // for those that are to come
	traced         map[string]*node // by their id in trace context, where it is another
	tracedTo       int              // how many of order are in it
	orphans        map[string][]*node
	tracedOrphans  int   // ids that orphans wait for which can be of trace context
	oldest, newest *node // by last change
	cut            int64

	phases     map[string]*phase
	phaseOrder []*phase

	calls map[string]*node  // LLM calls by the provider's id
	stray map[string]*usage // metered work that matches no agent, by source
	spare flow              // memory for hand

	workers  map[string][]*node // agents by what they work on
	evident  []*node            // LLM calls that a second source told of, to be looked at
	inferred []*node            // agents that the gateway made out
	told     int                // agents that others told of
	// several sources may have told of agents; until then all did so that firstTeller is.
	several     bool
	firstTeller string

	by                              tally // agents
	agents, spawned, agentsFinished int
	planned                         bool // a span_queued was seen
	unheard                         int  // open agents that have reported no tokens
	errors                          int
	paths                           map[string]bool // artifacts
	analyses                        map[string]bool
	unknown                         int64
	heardFrom                       map[string]*teller
	teller                          *teller           // of the last line
	kept                            map[string]string // see keep
	logs                            []Entry
	stalls                          []*Stall
	kinds                           map[string]*kindFacts
	leaves                          []*node // open, nothing open below
	burn                            burn
	usedUp                          consumption
	attrs                           rootAttrs
	sourceByClient                  bool  // source_repo and source_commit are a client's
	at                              int64 // time of the event that is folded
	lastAt                          int64 // latest time of an event
	lastRecv                        int64
	parallel                        map[string]int // see MaxParallel, as of parallelRev
	parallelRev                     int64
}

// maxEntries bounds the log entries that are kept for readers; the journal has
// all of them.
const maxEntries = 1000

// NewState gives the state of a run of which nothing is known yet.
func NewState() *State {
	s := &State{
		nodes: make(map[string]*node), traced: make(map[string]*node), orphans: make(map[string][]*node),
		phases: make(map[string]*phase), calls: make(map[string]*node), stray: make(map[string]*usage),
		paths: make(map[string]bool), analyses: make(map[string]bool),
		kinds: make(map[string]*kindFacts), kept: make(map[string]string),
		heardFrom: make(map[string]*teller), tracedTo: 1, workers: make(map[string][]*node),
	}
	s.root = &node{kind: telemetry.KindRun, life: open}
	s.order = append(s.order, s.root)
	s.nodes[""] = s.root
	s.leaf(s.root)
	s.touch(s.root)
	return s
}

// Rev is the number of lines that were folded: journal line, SSE id and revision
// are one.
func (s *State) Rev() int64 { return s.rev }

// Ended tells whether the run's end is known.
func (s *State) Ended() bool { return s.ended }

// RootID is the id of the root span, empty before it began.
func (s *State) RootID() string { return s.root.id }

// Apply folds one event, the next line of the journal. It keeps nothing of what the
// event was decoded from.
func (s *State) Apply(e telemetry.Event) { s.apply(&e) }

func (s *State) apply(e *telemetry.Event) {
	s.rev++
	s.lineOf(e)
	at := s.timeOf(e)
	recv := s.lastRecv
	if e.RecvMS.OK {
		recv = e.RecvMS.N
	} else if ms := (at - s.origin) / 1000; ms > recv {
		recv = ms
	}
	s.at = at
	s.lastAt, s.lastRecv = max(s.lastAt, at), max(s.lastRecv, recv)
	before := s.used()
	s.consume(e, at)

	var told *node // the span that the event is about
	switch e.Type {
	case telemetry.SpanQueued, telemetry.SpanStart, telemetry.SpanUpdate, telemetry.SpanEnd:
		told = s.fold(e, at, recv)
	case telemetry.Phase:
		s.boundary(e, at)
		told = s.root
	case telemetry.Artifact:
		if !s.paths[e.Path] {
			s.paths[strings.Clone(e.Path)] = true
		}
		if e.Kind == "analysis" && !s.analyses[e.Path] {
			s.analyses[strings.Clone(e.Path)] = true
		}
		told = s.heardOf(e.SpanID)
	case telemetry.Log:
		s.log(e, at)
		s.slept(e, recv)
		told = s.heardOf(e.SpanID)
	case telemetry.SpanStalled:
		s.flag(e, at)
	case telemetry.SpanResumed:
		if n := s.nodes[e.SpanID]; n != nil {
			s.resume(n, at)
		}
	default:
		e.Type = telemetry.Type(s.keep(string(e.Type)))
		s.unknown++
		told = s.heardOf(e.SpanID)
	}
	// That obsrun looked at a process is no sign of life either.
	if told != nil && (told != s.root || e.Source != telemetry.SourceObsrun) && e.Source != telemetry.SourceProcess {
		s.hear(told, e, at, recv)
	}
	if grown := s.used() - before; grown != 0 {
		s.consumed(told, at, grown)
	}
}

// heardOf finds a span that an event only mentions: it is activity of it, or of
// the run, but makes no span.
func (s *State) heardOf(id string) *node {
	if n := s.known(id); n != nil {
		return n
	}
	return s.root
}

// timeOf is when the event happened: its ts, else when it arrived.
func (s *State) timeOf(e *telemetry.Event) int64 {
	at, ok := e.Micros()
	if !ok {
		at = s.origin + s.lastRecv*1000
		if e.RecvMS.OK {
			at = s.origin + e.RecvMS.N*1000
		}
	}
	if s.origin == 0 {
		s.origin = at
		if e.RecvMS.OK {
			s.origin -= e.RecvMS.N * 1000
		}
	}
	return at
}

// fold takes in an event about a span.
func (s *State) fold(e *telemetry.Event, at, recv int64) *node {
	if s.root.id == "" && e.Type == telemetry.SpanStart && e.Kind == telemetry.KindRun && e.Parent == "" &&
		(e.Source == telemetry.SourceObsrun || e.Source == "") && s.nodes[e.SpanID] == nil {
		return s.begin(e, at, recv)
	}
	n := s.span(e.SpanID)
	// That an open span goes on changes no number, unless it is told to be of
	// another kind.
	steady := e.Type == telemetry.SpanUpdate && n.life == open && n.counted && (e.Kind == "" || e.Kind == n.kind)
	var before facts
	if !steady {
		before = s.factsOf(n)
	}
	n.counted = true
	if n.source == "" && n != s.root && e.Source != "" {
		n.source = e.Source
		n.renamed = true
	}
	was := isOpen(n)
	moved := s.describe(n, e)
	switch e.Type {
	case telemetry.SpanQueued:
		s.planned = true
		if n.queuedAt == 0 {
			n.queuedAt = at
		}
	case telemetry.SpanStart:
		s.start(n, at, recv)
	case telemetry.SpanUpdate:
		if n.life == waiting { // activity of a span whose start nobody told
			n.life, n.startAt, n.attempts = open, at, 1
			n.startRecv, n.heard = recv, recv
		}
		if e.Message != "" {
			n.say(e.Message)
		}
	case telemetry.SpanEnd:
		s.end(n, e, at, recv)
	}
	if !steady {
		if now := s.factsOf(n); now != before {
			s.reckon(before, -1)
			s.reckon(now, +1)
		}
	}
	if delta := isOpen(n) - was; delta != 0 {
		s.leaf(n)
		if n.parent != nil {
			s.opened(n.parent, delta)
		}
	}
	if moved {
		s.relocate(n)
	}
	if e.Parent != "" && n != s.root && e.Parent != n.parentID {
		if above := s.nodes[e.Parent]; above != nil {
			n.parentID = above.id
		} else {
			n.parentID = strings.Clone(e.Parent)
		}
		s.attach(n)
	}
	s.stretch(n)
	s.touch(n)
	if e.TokensScope == "self" {
		n.scopeSelf = true
	}
	if hasCounters(&e.Counters) {
		n.account(e.Source).report(&e.Counters)
		s.settleSource(n, e.Source)
	}
	s.call(n, e.CallID)
	s.settle(n)
	for _, m := range n.shared {
		s.settle(m)
	}
	s.identify(n)
	if e.Type == telemetry.SpanEnd {
		s.blame(n)
		for _, other := range n.united {
			s.blame(other)
		}
	}
	if n == s.root && e.Type == telemetry.SpanEnd {
		s.finish()
	}
	return n
}

// begin folds the start of the run itself.
func (s *State) begin(e *telemetry.Event, at, recv int64) *node {
	n := s.root
	n.id, n.source = strings.Clone(e.SpanID), e.Source
	s.nodes[n.id] = n
	s.describe(n, e)
	n.startAt, n.started, n.attempts = at, true, 1
	n.startRecv, n.heard = recv, recv
	s.origin = at // recv_ms counts from here
	for _, child := range s.orphans[n.id] {
		s.touch(child) // it hangs under the root already
	}
	s.found(n.id)
	s.touch(n)
	return n
}

// describe takes in what the event says the span is, and tells whether that can
// change where it belongs.
func (s *State) describe(n *node, e *telemetry.Event) (moved bool) {
	set := func(field *string, value string) {
		if value != "" && value != *field {
			*field = s.keep(value)
			moved = true
		}
	}
	set(&n.name, e.Name)
	set(&n.component, e.Component)
	n.renamed = n.renamed || moved
	moved = moved && n.isPhase() // other names say nothing of where it belongs
	if n != s.root {
		if e.Kind != "" && e.Kind != n.kind {
			n.kind, n.sort = s.keep(e.Kind), sortOf(e.Kind)
			n.renamed, moved = true, true
		}
		set(&n.phaseField, e.Phase)
	}
	switch {
	case len(e.Attrs) == 0:
	case n != s.root:
		n.attrs = mergeObjects(n.attrs, e.Attrs)
	case e.Source == telemetry.SourceObsrun || e.Source == "":
		n.attrs = mergeObjects(n.attrs, e.Attrs)
		repo, commit := s.attrs.SourceRepo, s.attrs.SourceCommit
		_ = json.Unmarshal(e.Attrs, &s.attrs) // what does not fit is left as it was
		if s.sourceByClient {                 // who knows goes over who looked
			s.attrs.SourceRepo, s.attrs.SourceCommit, s.attrs.SourceFrom = repo, commit, ""
		}
	default:
		s.describeRun(e.Attrs)
	}
	return moved && n != s.root
}

// describeRun takes in the attrs that a client gives the run: what it is about,
// unless the command line said so already. Nothing else of the run is theirs.
func (s *State) describeRun(attrs json.RawMessage) {
	var told struct {
		SourceRepo   string `json:"source_repo"`
		SourceCommit string `json:"source_commit"`
	}
	fromFlags := s.attrs.SourceFrom == "" && !s.sourceByClient && (s.attrs.SourceRepo != "" || s.attrs.SourceCommit != "")
	if json.Unmarshal(attrs, &told) != nil || fromFlags || told.SourceRepo+told.SourceCommit == "" {
		return
	}
	if !s.sourceByClient {
		s.attrs.SourceRepo, s.attrs.SourceCommit, s.attrs.SourceFrom = "", "", ""
		s.sourceByClient = true
	}
	if told.SourceRepo != "" {
		s.attrs.SourceRepo = told.SourceRepo
	}
	if told.SourceCommit != "" {
		s.attrs.SourceCommit = told.SourceCommit
	}
}

func (s *State) log(e *telemetry.Event, at int64) {
	if e.Level != "warn" && e.Level != "error" {
		return
	}
	if len(s.logs) == maxEntries {
		s.logs = append(s.logs[:0:0], s.logs[1:]...)
	}
	s.logs = append(s.logs, Entry{
		Rev: s.rev, TimeMS: millis(at), Level: s.keep(e.Level), Message: strings.Clone(e.Message),
		SpanID: strings.Clone(e.SpanID), Source: e.Source,
	})
}

// Spans gives every span but the root, in order of first appearance.
func (s *State) Spans() iter.Seq[Span] {
	return func(yield func(Span) bool) {
		for _, n := range s.order[1:] {
			if !yield(s.view(n)) {
				return
			}
		}
	}
}

// Span gives one span, the root by its id.
func (s *State) Span(id string) (Span, bool) {
	n := s.nodes[id]
	if n == nil {
		return Span{}, false
	}
	return s.view(n), true
}

// micros are milliseconds as microseconds; negative and absurd ones are 0.
func micros(ms float64) int64 {
	if ms < 0 || ms > 1e13 {
		return 0
	}
	return int64(math.Round(ms * 1000))
}

// millis are microseconds as milliseconds, rounded.
func millis(us int64) int64 {
	if us >= 0 {
		return (us + 500) / 1000
	}
	return (us - 500) / 1000
}
