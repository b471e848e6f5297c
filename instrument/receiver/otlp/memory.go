package otlp

import (
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// recent is a map of bounded size: the older half is forgotten when it is full.
type recent[K comparable, V any] struct {
	limit    int // entries in each half
	now, old map[K]V
}

func (r *recent[K, V]) get(key K) (V, bool) {
	if v, ok := r.now[key]; ok {
		return v, true
	}
	v, ok := r.old[key]
	return v, ok
}

func (r *recent[K, V]) has(key K) bool { _, ok := r.get(key); return ok }

func (r *recent[K, V]) set(key K, value V) {
	if len(r.now) >= r.limit {
		if _, ok := r.now[key]; !ok {
			r.now, r.old = nil, r.now
		}
	}
	if r.now == nil {
		r.now = make(map[K]V)
	}
	r.now[key] = value
}

// memory is what one batch must know of the batches before it. All of it is
// bounded; what is forgotten costs accuracy in odd cases, never correctness of
// the rest.
type memory struct {
	// ended are the spans and log records that were told: exporters send a
	// batch again when the answer was lost, and a second start would be a second
	// attempt.
	ended seen
	// metered are span ids below which an inference span with usage lies.
	metered recent[uint64, struct{}]
	// spans are the spans that Claude Code's log records can be about, by
	// recordKey.
	spans recent[string, string]
	// failures are why a tool failed, by the span id of the tool or by recordKey.
	failures recent[string, string]
	// costs are what a call cost, in US dollars, by recordKey: Claude Code says
	// it in a log record alone.
	costs recent[string, float64]
	// held are log records about spans that are still to come, by recordKey. What
	// never came is recorded at the end.
	held map[string][]telemetry.Event
	// subagents are Claude Code's, by their agent_id.
	subagents map[string]*subagent
	homes     map[string][]*subagent // the same, by their home
	// sources are those that reported tokens by spans or log records: see
	// origins.
	sources map[string]struct{}
	series  map[string]*series // of token metrics
	// shown counts the log records that became log events.
	shown int
	// odd counts the rejected items that were recorded as such.
	odd int
}

const (
	maxRecent    = 1 << 17
	maxSpecial   = 1 << 14 // of what only some spans need
	maxHeld      = 1 << 12
	maxSubagents = 1 << 14
	maxSources   = 1 << 12
)

func newMemory() memory {
	return memory{
		metered:   recent[uint64, struct{}]{limit: maxRecent},
		spans:     recent[string, string]{limit: maxSpecial},
		failures:  recent[string, string]{limit: maxSpecial},
		costs:     recent[string, float64]{limit: maxSpecial},
		held:      make(map[string][]telemetry.Event),
		subagents: make(map[string]*subagent),
		homes:     make(map[string][]*subagent),
		sources:   make(map[string]struct{}),
		series:    make(map[string]*series),
	}
}

// sender is a resource: what it says of all that it has.
type sender struct {
	attrs   attributes
	service string // as serviceOf has it
	told    bool   // that it reported tokens, but for its sessions
}

// origins are the names under which the sender of telemetry is known, the most
// exact first: a session, a process, a service.
func origins(a, resource *attributes) []string {
	var names []string
	if id := a.first("session.id"); id != "" {
		names = append(names, "session "+cut(id, maxText))
	}
	if id := resource.first("service.instance.id"); id != "" {
		names = append(names, "instance "+cut(id, maxText))
	}
	if id := resource.first("service.name"); id != "" {
		names = append(names, "service "+cut(id, maxText))
	}
	return append(names, "any")
}

// reported takes note that tokens of this sender came otherwise than by metrics.
func (m *memory) reported(a *attributes, from *sender) {
	if from.told && !a.has("session.id") {
		return
	}
	from.told = true
	for _, name := range origins(a, &from.attrs) {
		if len(m.sources) < maxSources {
			m.sources[name] = struct{}{}
		}
	}
}

// spanKey stands for a trace id and a span id: both, mixed. Two of them that are the
// same by chance are not to be expected.
type spanKey uint64

// traceKey is the part of a spanKey that spans of one trace share.
func traceKey(traceID string) uint64 { return (number64(traceID)*mix ^ number64(traceID[8:])) * mix }

// mix is an odd number with its bits all over: 2^64 divided by the golden ratio.
const mix = 0x9E3779B97F4A7C15

func keyOf(trace, span uint64) spanKey { return spanKey(trace ^ span) }

// number64 is an id's first 8 bytes as a number.
func number64(id string) (n uint64) {
	for i := range 8 {
		n = n<<8 | uint64(id[i])
	}
	return n
}

// once tells whether the key is new.
func (m *memory) once(key spanKey) bool {
	if m.ended.has(key) {
		return false
	}
	m.ended.add(key)
	return true
}

// seen is a set of the latest keys, in buckets of a cache line each: there are too many
// to look for one in several places.
type seen struct{ buckets [][8]spanKey } // the latest first, 0 where there is none

// seenBits is how many of a key's bits tell its bucket: there is room for maxRecent keys.
const seenBits = 14

// bucket is where a key is, if anywhere, and as what.
func (s *seen) bucket(key spanKey) (*[8]spanKey, spanKey) {
	if s.buckets == nil {
		s.buckets = make([][8]spanKey, 1<<seenBits)
	}
	mixed := key * mix
	return &s.buckets[mixed>>(64-seenBits)], max(1, mixed)
}

func (s *seen) has(key spanKey) bool {
	bucket, key := s.bucket(key)
	for _, other := range bucket {
		if other == key {
			return true
		}
	}
	return false
}

// add puts a key in, for one that has been there longest.
func (s *seen) add(key spanKey) {
	bucket, key := s.bucket(key)
	copy(bucket[1:], bucket[:])
	bucket[0] = key
}

// hold keeps events back until the span of that key came; false when there is
// no room.
func (m *memory) hold(key string, events []telemetry.Event) bool {
	if _, ok := m.held[key]; !ok && len(m.held) >= maxHeld {
		return false
	}
	m.held[key] = events
	return true
}
