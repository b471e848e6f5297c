package run

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// consistent counts everything that the fold keeps up to date event by event
// once more, from nothing.
func consistent(s *State) error {
	var check func(n *node) (openBelow int, err error)
	check = func(n *node) (int, error) {
		var handed flow
		sources := make(map[string]int64)
		openBelow := 0
		for c := n.first; c != nil; c = c.next {
			if c.parent != n {
				return 0, fmt.Errorf("%s does not hang under %s", c.id, n.id)
			}
			below, err := check(c)
			if err != nil {
				return 0, err
			}
			openBelow += below + isOpen(c)
			up := c.handUp(flow{})
			handed.add(&up, 1)
			for i := range c.accounts {
				sources[c.accounts[i].source] += c.accounts[i].total
			}
		}
		below := n.below
		if below == nil {
			below = new(flow)
		}
		if handed.settled.n != below.settled.n {
			return 0, fmt.Errorf("%q: children settled %v, not %v", n.id, handed.settled.n, below.settled.n)
		}
		for _, source := range []string{"socket", "otlp", "gateway", "burr", "obsrun", ""} {
			if got, want := tells(below, source), tells(&handed, source); got != want {
				return 0, fmt.Errorf("%q: %s tells of %v below, not %v", n.id, source, want, got)
			}
		}
		if total := n.resolve(); total.n != n.total.n {
			return 0, fmt.Errorf("%q: total is %v, not %v", n.id, total.n, n.total.n)
		}
		for i := range n.accounts {
			if a := &n.accounts[i]; a.kids != sources[a.source] {
				return 0, fmt.Errorf("%q: %s has %d below, not %d", n.id, a.source, sources[a.source], a.kids)
			}
		}
		if openBelow != int(n.openBelow) {
			return 0, fmt.Errorf("%q: %d open below, not %d", n.id, openBelow, n.openBelow)
		}
		if leaf := slices.Contains(s.leaves, n); leaf != (isOpen(n) == 1 && openBelow == 0) {
			return 0, fmt.Errorf("%q: leaf %v", n.id, leaf)
		}
		return openBelow, nil
	}
	if _, err := check(s.root); err != nil {
		return err
	}
	// The counts, by counting again.
	again := &State{root: s.root, ended: s.ended, phases: make(map[string]*phase)}
	phases := make(map[*phase]*phase)
	stray, agentsTold := make(map[string]int64), 0
	for _, n := range s.order[1:] {
		ph, bySpan := s.phaseOf(n)
		if ph != n.phase || bySpan != n.bySpan {
			return fmt.Errorf("%q: wrong phase", n.id)
		}
		agent := n.parent.agent
		if n.parent.isAgent() {
			agent = n.parent
		}
		if agent != n.agent {
			return fmt.Errorf("%q: wrong agent above", n.id)
		}
		if n.same != nil && n.parent != n.same {
			return fmt.Errorf("%q does not hang under the agent that it is", n.id)
		}
		as := unlisted
		if n.isAgent() {
			if as = told; n.source == "gateway" {
				as = inferred
			} else {
				agentsTold++
			}
		}
		if n.listed != as || slices.Contains(s.inferred, n) != (as == inferred) || slices.Contains(s.workers[n.worksOn], n) != (n.worksOn != "") {
			return fmt.Errorf("%q: listed wrongly", n.id)
		}
		if n.metered {
			stray[n.source] += n.total.n[tokens]
		}
		if n.phase == nil {
			again.count(n, 1)
			continue
		}
		copied := phases[n.phase]
		if copied == nil {
			copied = &phase{}
			phases[n.phase] = copied
		}
		clone := *n
		clone.phase = copied
		again.count(&clone, 1)
		if n.top != nil {
			copied.usage.add(n.total, 1)
		}
	}
	for _, n := range s.inferred {
		if n.demoted != (agentsTold > 0) {
			return fmt.Errorf("%q: demoted %v beside %d agents told of", n.id, n.demoted, agentsTold)
		}
	}
	if s.told != agentsTold {
		return fmt.Errorf("%d agents told of, not %d", agentsTold, s.told)
	}
	type numbers struct{ agents, spawned, finished, unheard, errors int }
	of := func(s *State) numbers {
		return numbers{s.agents, s.spawned, s.agentsFinished, s.unheard, s.errors}
	}
	got, want := of(s), of(again)
	if s.ended {
		got.unheard = want.unheard
	}
	if got != want {
		return fmt.Errorf("counts are %+v, not %+v", want, got)
	}
	for state := range standings {
		if s.by[state] != again.by[state] {
			return fmt.Errorf("%d agents are %s, not %d", again.by[state], standings[state], s.by[state])
		}
	}
	for p, want := range phases {
		if p.agents != want.agents || p.usage.n != want.usage.n {
			return fmt.Errorf("phase %s has %d agents and %v, not %d and %v", p.name, want.agents, want.usage.n, p.agents, p.usage.n)
		}
		for state, n := range want.by {
			if p.by[state] != n {
				return fmt.Errorf("phase %s has %d agents %s, not %d", p.name, n, standings[state], p.by[state])
			}
		}
	}
	for source, u := range s.stray {
		if u.n[tokens] != stray[source] {
			return fmt.Errorf("%s has %d unattributed, not %d", source, stray[source], u.n[tokens])
		}
	}
	// What was used over time is what was used.
	used, rate := 0.0, 0.0
	for i := range s.burn.direct {
		rate += s.burn.steps[i]
		used += s.burn.direct[i] + rate
	}
	if total := float64(s.grand().n[tokens]); used < total-1-total/1e6 || used > total+1+total/1e6 {
		return fmt.Errorf("burn sums to %f, tokens to %f", used, total)
	}
	return nil
}

func tells(f *flow, source string) (n [measures]int64) {
	for _, s := range f.told {
		if s.source == source {
			n = s.usage.n
		}
	}
	return n
}

// scramble makes n random events over few spans, so that everything meets
// everything.
func scramble(rnd *rand.Rand, n int) []string {
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	var lines []string
	at := 0.0
	for range n {
		at += rnd.Float64()
		id := fmt.Sprint("s", rnd.IntN(12))
		event := pick("span_queued", "span_start", "span_start", "span_update", "span_update", "span_end", "span_end", "span_stalled", "span_resumed", "phase", "artifact", "log", "other")
		var more []string
		maybe := func(chance float64, field string) {
			if rnd.Float64() < chance {
				more = append(more, field)
			}
		}
		maybe(.5, fmt.Sprintf(`"parent":"s%d"`, rnd.IntN(14)))
		maybe(.7, `"kind":"`+pick("agent", "library-analysis", "tool", "llm", "llm", "phase", "discovery", "task", "process", "orchestrator")+`"`)
		maybe(.3, `"phase":"`+pick("one", "two-x")+`"`)
		maybe(.5, fmt.Sprintf(`"tokens":%d`, rnd.IntN(1000)))
		maybe(.3, fmt.Sprintf(`"input_tokens":%d`, rnd.IntN(1000)))
		maybe(.2, fmt.Sprintf(`"output_tokens":%d`, rnd.IntN(100)))
		maybe(.2, fmt.Sprintf(`"cost_usd":%f`, rnd.Float64()))
		maybe(.2, fmt.Sprintf(`"tool_uses":%d`, rnd.IntN(9)))
		maybe(.1, `"tokens_scope":"self"`)
		maybe(.2, fmt.Sprintf(`"call_id":"c%d"`, rnd.IntN(4)))
		maybe(.3, fmt.Sprintf(`"duration_ms":%d`, rnd.IntN(5000)-100))
		maybe(.3, `"status":"`+pick("ok", "error", "cancelled")+`"`)
		maybe(.2, `"name":"`+pick("one", "three-complete", "x")+`"`)
		maybe(.1, `"attrs":{"a":1}`)
		maybe(.3, `"component":"`+pick("node", "Node", "a_b", "a-b")+`"`)
		if event == "artifact" {
			more = append(more, `"path":"p"`)
		}
		if event == "log" {
			more = append(more, `"message":"m","level":"warn"`)
		}
		if event == "phase" {
			more = append(more, `"name":"`+pick("one", "one-complete", "y-complete")+`"`)
		}
		lines = append(lines, evFrom(pick("socket", "otlp", "gateway", "burr"), at+rnd.Float64()*4-2+5, event, id, strings.Join(more, ",")))
	}
	return lines
}

func TestAnyOrderIsConsistent(t *testing.T) {
	for seed := range uint64(80) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		s := NewState()
		apply(t, s, start(0))
		for i, line := range append(scramble(rnd, 60), stop(99, ""), ev(99, "span_start", "late", `"kind":"agent"`)) {
			e, err := telemetry.Decode([]byte(line))
			require.NoError(t, err, line)
			s.Apply(e)
			require.NoError(t, consistent(s), "seed %d, line %d: %s", seed, i, line)
		}
	}
}

// A reader that took deltas at any lines has what a reader has who comes late.
func TestDeltasAddUp(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		s := NewState()
		spans, logs, rev := make(map[string]Span), []Entry(nil), int64(0)
		var last Delta
		for _, line := range append(append([]string{start(0)}, scramble(rnd, 60)...), stop(99, "")) {
			e, err := telemetry.Decode([]byte(line))
			require.NoError(t, err)
			s.Apply(e)
			if rnd.IntN(4) > 0 && e.SpanID != "root" {
				continue
			}
			last = s.Since(rev, 0)
			require.Equal(t, rev, last.From)
			for _, v := range last.Spans {
				spans[v.ID] = v
			}
			logs = append(logs, last.Logs...)
			rev = last.Rev
		}
		whole := s.Since(0, 0)
		delete(spans, "") // the root, before it had an id
		require.Len(t, whole.Spans, len(spans))
		for _, v := range whole.Spans {
			require.Equal(t, v, spans[v.ID], "seed %d", seed)
		}
		require.Equal(t, len(whole.Logs), len(logs))
		whole.From, whole.Spans, whole.Logs = last.From, last.Spans, last.Logs
		require.True(t, reflect.DeepEqual(whole, last))
	}
}

func FuzzApply(f *testing.F) {
	for seed := range uint64(5) {
		f.Add([]byte(strings.Join(append([]string{start(0)}, scramble(rand.New(rand.NewPCG(seed, 3)), 20)...), "\n")))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		s, lines := NewState(), int64(0)
		for _, line := range strings.Split(string(input), "\n") {
			e, err := telemetry.Decode([]byte(line))
			if err != nil {
				e = telemetry.Event{}
			}
			s.Apply(e)
			lines++
		}
		if err := consistent(s); err != nil {
			t.Fatal(err)
		}
		if s.Rev() != lines {
			t.Fatalf("rev %d after %d lines", s.Rev(), lines)
		}
		s.Since(0, 0)
		s.Abandon()
		s.Since(lines/2, 0)
		s.MaxParallel("")
	})
}

func newRand(seed int) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 7)) }

func event(t testing.TB, line string) telemetry.Event {
	t.Helper()
	e, err := telemetry.Decode([]byte(line))
	require.NoError(t, err)
	return e
}
