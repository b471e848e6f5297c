package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/obsrun/obsrun/instrument/run"
)

// The values of a Presence.
const (
	Both    Presence = "both"
	Added   Presence = "added"   // only in B
	Removed Presence = "removed" // only in A
)

// Presence says in which of the two runs something is.
type Presence string

// Comparison is what changed from run A to run B. It draws no conclusion: two
// runs of the same thing differ too. Lists are never null, numbers always finite.
type Comparison struct {
	A RunRef `json:"a"`
	B RunRef `json:"b"`
	// Notes are reasons to mistrust the figures.
	Notes []string `json:"notes"`
	// Totals are the totals of the summaries, and total_wall_ms.
	Totals Changes `json:"totals"`
	// Phases and Agents stand by size of their change, the largest first: of wall
	// time, then of tokens, then of tool uses.
	Phases []PhaseChange `json:"phases"`
	Agents []AgentChange `json:"agents"`
	// Causes split the changes of wall time and tokens.
	Causes []Cause `json:"causes"`
	// Crossed are the thresholds that were crossed.
	Crossed []Crossing `json:"crossed"`
}

// RunRef names a run that was compared.
type RunRef struct {
	RunID        string `json:"run_id"`
	Status       string `json:"status"`
	StartedAt    string `json:"started_at"`
	SourceRepo   string `json:"source_repo"`
	SourceCommit string `json:"source_commit"`
}

// PhaseChange is how a phase changed. Phases are matched by name.
type PhaseChange struct {
	Name   string   `json:"name"`
	In     Presence `json:"in"`
	Values Changes  `json:"values"`
	// Depths are those of library_depth_n, named by their number.
	Depths []PhaseChange `json:"depths,omitempty"`
}

// AgentChange is how an agent changed. Agents are matched by kind and component,
// or name where there is none; the same ones in their order of appearance.
type AgentChange struct {
	Name      string `json:"name"`
	Component string `json:"component,omitempty"`
	Kind      string `json:"kind"`
	Phase     string `json:"phase,omitempty"` // in B, where it is there
	// NameA and PhaseA are those in A, where they were others.
	NameA  string   `json:"name_a,omitempty"`
	PhaseA string   `json:"phase_a,omitempty"`
	In     Presence `json:"in"`
	// StatusA and StatusB are how it ended, empty where it was not.
	StatusA string `json:"status_a"`
	StatusB string `json:"status_b"`
	// StartA and StartB are when it began, in milliseconds since its run did; null
	// where it did not.
	StartA *int64  `json:"start_a_ms"`
	StartB *int64  `json:"start_b_ms"`
	Values Changes `json:"values"`
}

// Change is one measure in both runs.
type Change struct {
	// Name is the key under which it stands in the document.
	Name string `json:"-"`
	// A and B are the values, null where they are not known or there is none.
	A *float64 `json:"a"`
	B *float64 `json:"b"`
	// Diff is B - A, with 0 for a value that is not there.
	Diff float64 `json:"diff"`
	// Percent is Diff in percent of A; null where A is 0 or not there.
	Percent *float64 `json:"percent"`

	title string
	unit  unit
}

// Changes are measures in a fixed order. As JSON they are one object whose keys
// stand in that order.
type Changes []Change

// MarshalJSON writes the changes as an object, in their order.
func (c Changes) MarshalJSON() ([]byte, error) {
	return objectJSON(len(c), func(i int) (string, any) { return c[i].Name, c[i] })
}

// UnmarshalJSON reads the changes in the order in which they stand.
func (c *Changes) UnmarshalJSON(data []byte) error {
	*c = Changes{}
	return membersJSON(data, func(name string, dec *json.Decoder) error {
		change := Change{Name: name}
		if err := dec.Decode(&change); err != nil {
			return fmt.Errorf("measure %q: %w", name, err)
		}
		*c = append(*c, change)
		return nil
	})
}

// Find gives the measure of that name.
func (c Changes) Find(name string) (Change, bool) {
	for _, change := range c {
		if change.Name == name {
			return change, true
		}
	}
	return Change{}, false
}

// Compare tells what changed from a to b, and which of the thresholds that
// crossed.
func Compare(a, b Summary, thresholds ...Threshold) Comparison {
	c := compareInOrder(a, b, thresholds...)
	slices.SortStableFunc(c.Phases, func(x, y PhaseChange) int { return bySize(x.Values, y.Values) })
	return c
}

// compareInOrder is Compare with the phases in the order of b, those that were
// removed after the phase that they followed in a.
func compareInOrder(a, b Summary, thresholds ...Threshold) Comparison {
	c := Comparison{
		A: refOf(&a), B: refOf(&b), Notes: notes(&a, &b),
		Totals: changes(totalMeasures, &a, &b),
		Phases: comparePhases(a.Phases, b.Phases),
		Agents: compareAgents(a.Agents, b.Agents),
		Causes: causes(workOf(&a), workOf(&b)),
	}
	c.Crossed = c.cross(thresholds)
	return c
}

func refOf(s *Summary) RunRef {
	return RunRef{s.RunID, s.Status, s.StartedAt, s.SourceRepo, s.SourceCommit}
}

// changes compares a with b measure by measure; nil is one that is not there.
func changes[T any](measures []measure[T], a, b *T) Changes {
	out := make(Changes, 0, len(measures))
	for _, m := range measures {
		c := Change{Name: m.name, A: valueOf(m, a), B: valueOf(m, b), title: m.title, unit: m.unit}
		c.Diff, c.Percent = difference(c.A, c.B)
		out = append(out, c)
	}
	return out
}

func valueOf[T any](m measure[T], t *T) *float64 {
	if t == nil {
		return nil
	}
	if v, known := m.of(t); known {
		return &v
	}
	return nil
}

// difference is b - a, and that in percent of a.
func difference(a, b *float64) (diff float64, percent *float64) {
	zero := 0.0
	if a == nil {
		a = &zero
	}
	if b == nil {
		b = &zero
	}
	diff = *b - *a
	if *a == 0 {
		return diff, nil
	}
	p := 100 * diff / *a
	if math.IsInf(p, 0) || math.IsNaN(p) {
		return diff, nil
	}
	return diff, &p
}

// notes say why the two may not be comparable.
func notes(a, b *Summary) []string {
	out := []string{}
	if a.RunID == b.RunID && a.StartedAt == b.StartedAt {
		out = append(out, "A and B are the same run")
	}
	if a.SourceRepo != b.SourceRepo && a.SourceRepo != "" && b.SourceRepo != "" {
		out = append(out, fmt.Sprintf("A and B are about different sources: %s, %s", a.SourceRepo, b.SourceRepo))
	}
	for _, s := range []struct {
		name string
		*Summary
	}{{"A", a}, {"B", b}} {
		switch s.Status {
		case run.StatusRunning:
			out = append(out, s.name+" is still running: its figures will grow")
		case run.StatusInterrupted:
			out = append(out, s.name+" was interrupted: its figures are those of a part")
		case run.StatusError:
			out = append(out, s.name+" ended with an error: its figures may be those of a part")
		}
		if s.Totals.LLMCallsWithUsage < s.Totals.LLMCalls {
			out = append(out, fmt.Sprintf("the tokens of %s are a lower bound: %s of %s told theirs", s.name,
				count(s.Totals.LLMCallsWithUsage), some(s.Totals.LLMCalls, "LLM call")))
		}
	}
	return out
}

func comparePhases(a, b Phases) []PhaseChange {
	inA, inB := a.index(), b.index()
	out := make([]PhaseChange, 0, len(b))
	removed := func(i int) { // from there on, up to the next phase that is in both
		for ; i < len(a); i++ {
			if _, kept := inB[a[i].Name]; kept {
				return
			}
			out = append(out, PhaseChange{
				Name: a[i].Name, In: Removed, Values: changes(phaseMeasures, &a[i], nil), Depths: depthChanges(a[i].Depths, nil),
			})
		}
	}
	removed(0)
	for k := range b {
		change := PhaseChange{Name: b[k].Name, In: Added}
		i, kept := inA[b[k].Name]
		if !kept {
			change.Values, change.Depths = changes(phaseMeasures, nil, &b[k]), depthChanges(nil, b[k].Depths)
			out = append(out, change)
			continue
		}
		change.In = Both
		change.Values, change.Depths = changes(phaseMeasures, &a[i], &b[k]), depthChanges(a[i].Depths, b[k].Depths)
		out = append(out, change)
		removed(i + 1)
	}
	return out
}

// index gives the place of each phase by its name.
func (p Phases) index() map[string]int {
	places := make(map[string]int, len(p))
	for i := range p {
		places[p[i].Name] = i
	}
	return places
}

func depthChanges(a, b Phases) []PhaseChange {
	if len(a) == 0 && len(b) == 0 {
		return nil
	}
	return comparePhases(a, b)
}

// agentKey is what makes two agents the same one in different runs: ids change
// from run to run.
type agentKey struct {
	kind, component string
	nth             int
}

func keysOf(agents []Agent) []agentKey {
	seen := make(map[agentKey]int)
	keys := make([]agentKey, len(agents))
	for i := range agents {
		key := agentKey{kind: agents[i].Kind, component: cmp.Or(agents[i].Component, agents[i].Name)}
		seen[key]++
		keys[i] = key
		keys[i].nth = seen[key]
	}
	return keys
}

func compareAgents(a, b []Agent) []AgentChange {
	before := make(map[agentKey]*Agent)
	keysA, keysB := keysOf(a), keysOf(b)
	for i, key := range keysA {
		before[key] = &a[i]
	}
	out := make([]AgentChange, 0, max(len(a), len(b)))
	for i, key := range keysB {
		out = append(out, agentChange(before[key], &b[i]))
		delete(before, key)
	}
	for i, key := range keysA {
		if before[key] != nil {
			out = append(out, agentChange(&a[i], nil))
		}
	}
	slices.SortStableFunc(out, func(x, y AgentChange) int {
		return cmp.Or(bySize(x.Values, y.Values), strings.Compare(x.Name, y.Name), strings.Compare(x.Kind, y.Kind))
	})
	return out
}

// bySize puts the larger change first.
func bySize(x, y Changes) int {
	for _, name := range []string{"wall_ms", "tokens", "tool_uses"} {
		dx, _ := x.Find(name)
		dy, _ := y.Find(name)
		if c := cmp.Compare(math.Abs(dy.Diff), math.Abs(dx.Diff)); c != 0 {
			return c
		}
	}
	return 0
}

func agentChange(a, b *Agent) AgentChange {
	c := AgentChange{In: Both, Values: changes(agentMeasures, a, b)}
	shown := b
	switch {
	case a == nil:
		c.In = Added
	case b == nil:
		c.In, shown = Removed, a
	}
	c.Name, c.Component, c.Kind, c.Phase = shown.Name, shown.Component, shown.Kind, shown.Phase
	if a != nil {
		c.StatusA, c.StartA = a.Status, a.StartMS
	}
	if a != nil && b != nil && a.Name != b.Name {
		c.NameA = a.Name
	}
	if a != nil && b != nil && a.Phase != b.Phase {
		c.PhaseA = a.Phase
	}
	if b != nil {
		c.StatusB, c.StartB = b.Status, b.StartMS
	}
	return c
}

// changed tells whether anything of it did.
func (c *AgentChange) changed() bool {
	return c.In != Both || c.StatusA != c.StatusB || c.NameA != "" || c.PhaseA != "" ||
		slices.ContainsFunc(c.Values, func(v Change) bool { return v.Diff != 0 })
}
