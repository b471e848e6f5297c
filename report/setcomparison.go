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

// SetComparison is what changed from the runs of set A to those of set B, with a
// verdict. Lists are never null, numbers always finite.
//
// A difference counts where the Mann-Whitney U test gives it a p-value below
// Alpha and the medians differ by more than the limit of its measure. Without a
// threshold the limit of wall time, tokens and cost is 5 %: criterion's is 1 %,
// benchstat has none, and runs of agents vary more than loops of code do. Of
// errors, lost agents and stalls any more are too many, of analyses any fewer.
type SetComparison struct {
	A SetRef `json:"a"`
	B SetRef `json:"b"`
	// Notes are reasons to mistrust the figures.
	Notes []string `json:"notes"`
	// Verdict is that of all judged measures: the worst of theirs. Reason is a
	// sentence that says why.
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason"`
	// Alpha is the chance, of each measure, of calling a difference real that is none.
	Alpha  float64 `json:"alpha"`
	Totals Shifts  `json:"totals"`
	// Phases have those of the depths beside their sum. They and Agents stand by size
	// of their change, the largest first.
	Phases []PhaseShift `json:"phases"`
	// Agents stand by size of their change, the largest first.
	Agents []AgentShift `json:"agents"`
	// Causes are those of the changes of the medians.
	Causes []Cause `json:"causes"`
	// Crossed are the thresholds that were crossed.
	Crossed []SetCrossing `json:"crossed"`
}

// The verdicts, from good to bad.
const (
	Pass         Verdict = "PASS"
	Inconclusive Verdict = "INCONCLUSIVE" // too few runs, or too different among themselves
	Regressed    Verdict = "REGRESSED"
)

// Verdict is what a comparison comes to.
type Verdict string

func (v Verdict) rank() int { return slices.Index([]Verdict{"", Pass, Inconclusive, Regressed}, v) }

// Shift is one measure in both sets.
type Shift struct {
	// Name is the key under which it stands in the document.
	Name string `json:"-"`
	A    Sample `json:"a"`
	B    Sample `json:"b"`
	// Diff is the median of B - that of A, with 0 for one that is not there.
	Diff float64 `json:"diff"`
	// Percent is Diff in percent of A's median; null where that is 0 or not there.
	Percent *float64 `json:"percent"`
	// Low and High are the confidence interval of 1 - Alpha (Hodges-Lehmann) of how
	// far B is shifted from A; null where there are too few runs for one.
	Low  *float64 `json:"low"`
	High *float64 `json:"high"`
	// P is the p-value of the two-sided Mann-Whitney U test, null where one set has
	// no value.
	P *float64 `json:"p"`
	// Verdict and Reason are empty for a measure that nothing is asked of.
	Verdict Verdict `json:"verdict,omitempty"`
	Reason  string  `json:"reason,omitempty"`

	title string
	unit  unit
}

// Shifts are measures in a fixed order. As JSON they are one object whose keys
// stand in that order.
type Shifts []Shift

// MarshalJSON writes the shifts as an object, in their order.
func (s Shifts) MarshalJSON() ([]byte, error) {
	return objectJSON(len(s), func(i int) (string, any) { return s[i].Name, s[i] })
}

// UnmarshalJSON reads the shifts in the order in which they stand.
func (s *Shifts) UnmarshalJSON(data []byte) error {
	*s = Shifts{}
	return membersJSON(data, func(name string, dec *json.Decoder) error {
		shift := Shift{Name: name}
		if err := dec.Decode(&shift); err != nil {
			return fmt.Errorf("measure %q: %w", name, err)
		}
		*s = append(*s, shift)
		return nil
	})
}

// Find gives the measure of that name; nil where there is none.
func (s Shifts) Find(name string) *Shift {
	for i := range s {
		if s[i].Name == name {
			return &s[i]
		}
	}
	return nil
}

// PhaseShift is how a phase changed. Phases are matched by name.
type PhaseShift struct {
	Name string   `json:"name"`
	In   Presence `json:"in"`
	// RunsA and RunsB are in how many runs it was.
	RunsA  int    `json:"runs_a"`
	RunsB  int    `json:"runs_b"`
	Values Shifts `json:"values"`
}

// AgentShift is how an agent changed. Agents are matched by kind and component, or
// name where there is none; the same ones in their order of appearance.
type AgentShift struct {
	Name      string   `json:"name"`
	Component string   `json:"component,omitempty"`
	Kind      string   `json:"kind"`
	In        Presence `json:"in"`
	RunsA     int      `json:"runs_a"`
	RunsB     int      `json:"runs_b"`
	// PhaseA and PhaseB are where most of the runs had it.
	PhaseA string `json:"phase_a"`
	PhaseB string `json:"phase_b"`
	// FailedA and FailedB count the runs in which it ended error or was lost.
	FailedA int    `json:"failed_a"`
	FailedB int    `json:"failed_b"`
	Values  Shifts `json:"values"`
}

// SetCrossing is a threshold that was crossed.
type SetCrossing struct {
	Threshold string `json:"threshold"`
	Measure   string `json:"measure"`
	Reason    string `json:"reason"`
}

// CompareSets tells what changed from set a to set b, and judges it. Runs that go on
// or were interrupted are left out, and it says so.
//
// A threshold of a change (total_wall_ms>10%, total_tokens>+5000) takes the place
// of the default limit of its measure. Where there are enough runs for the test it
// is crossed by a difference that counts; where there are not, by the medians
// alone. One of a value (errors>0) is crossed by the median of B, and one that asks
// for a change for the better (total_wall_ms>-5%) by the medians.
func CompareSets(a, b RunSet, thresholds ...Threshold) SetComparison {
	left := []string{}
	for letter, set := range map[string]*RunSet{"A": &a, "B": &b} {
		all := len(set.Runs)
		whole, partial := set.whole()
		for _, status := range []string{run.StatusInterrupted, run.StatusRunning} {
			if n := partial[status]; n > 0 {
				its := "their"
				if n == 1 {
					its = "its"
				}
				left = append(left, fmt.Sprintf("%s of %d in %s with status %s left out: %s figures would be those of a part", some(n, "run"), all, letter, status, its))
			}
		}
		*set = whole
	}
	slices.Sort(left)
	c := SetComparison{
		A: a.ref(), B: b.ref(), Notes: append(left, setNotes(&a, &b)...), Alpha: alpha,
		Totals: shifts(totalMeasures, pointers(a.Runs), pointers(b.Runs)),
		Phases: phaseShifts(&a, &b), Agents: agentShifts(&a, &b),
		Causes: causes(workOfSet(a.Runs), workOfSet(b.Runs)),
	}
	c.judge(thresholds)
	return c
}

func phaseShifts(a, b *RunSet) []PhaseShift {
	all := align(a, b, func(s *Summary) (names []string, phases []*Phase) {
		flat := s.Phases.flat()
		for i := range flat {
			names = append(names, flat[i].Name)
		}
		return names, pointers(flat)
	})
	out := make([]PhaseShift, 0, len(all.order))
	for _, name := range all.order {
		inA, inB := all.a[name], all.b[name]
		p := PhaseShift{Name: name, Values: shifts(phaseMeasures, inA, inB)}
		p.RunsA, p.RunsB, p.In = presence(inA, inB)
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(x, y PhaseShift) int { return shiftsBySize(x.Values, y.Values) })
	return out
}

// shiftsBySize puts the larger change first, of the first measure in which the two
// differ.
func shiftsBySize(x, y Shifts) int {
	for i := range x {
		if c := cmp.Compare(math.Abs(y[i].Diff), math.Abs(x[i].Diff)); c != 0 {
			return c
		}
	}
	return 0
}

func agentShifts(a, b *RunSet) []AgentShift {
	all := align(a, b, func(s *Summary) ([]agentKey, []*Agent) { return keysOf(s.Agents), pointers(s.Agents) })
	out := make([]AgentShift, 0, len(all.order))
	for _, key := range all.order {
		inA, inB := all.a[key], all.b[key]
		both := slices.Concat(inB, inA)
		g := AgentShift{
			Name: usual(both, func(x *Agent) string { return x.Name }), Component: usual(both, func(x *Agent) string { return x.Component }),
			Kind:   key.kind,
			PhaseA: usual(inA, func(x *Agent) string { return x.Phase }), PhaseB: usual(inB, func(x *Agent) string { return x.Phase }),
			FailedA: failed(inA), FailedB: failed(inB),
			Values: shifts(agentMeasures, inA, inB),
		}
		g.RunsA, g.RunsB, g.In = presence(inA, inB)
		out = append(out, g)
	}
	slices.SortStableFunc(out, func(x, y AgentShift) int {
		return cmp.Or(shiftsBySize(x.Values, y.Values), strings.Compare(x.Name, y.Name), strings.Compare(x.Kind, y.Kind))
	})
	return out
}

func failed(agents []*Agent) (n int) {
	for _, a := range agents {
		if a != nil && (a.Status == "error" || a.Status == "lost") {
			n++
		}
	}
	return n
}
