package report

import (
	"fmt"
	"slices"

	"github.com/obsrun/obsrun/instrument/run"
)

// RunSet is the runs on one side of a comparison.
type RunSet struct {
	// Name is what the user called it.
	Name string
	Runs []Summary
}

// whole splits off the runs that did not come to their own end: their figures are
// those of a part.
func (s *RunSet) whole() (set RunSet, partial map[string]int64) {
	set, partial = RunSet{Name: s.Name}, make(map[string]int64)
	for _, r := range s.Runs {
		if r.Status == run.StatusRunning || r.Status == run.StatusInterrupted {
			partial[r.Status]++
			continue
		}
		set.Runs = append(set.Runs, r)
	}
	return set, partial
}

// SetRef names a set of runs that was compared.
type SetRef struct {
	Name string   `json:"name"`
	Runs []RunRef `json:"runs"`
}

func (s *RunSet) ref() SetRef {
	ref := SetRef{Name: s.Name, Runs: []RunRef{}}
	for i := range s.Runs {
		ref.Runs = append(ref.Runs, refOf(&s.Runs[i]))
	}
	return ref
}

// pooled gives the samples of one measure in the things that stand in the runs;
// nil is a run that has none.
func pooled[T any](m measure[T], things []*T) Sample {
	var values []float64
	for _, t := range things {
		if v := valueOf(m, t); v != nil {
			values = append(values, *v)
		}
	}
	return sampleOf(values)
}

// shifts compares the things of two sets measure by measure.
func shifts[T any](measures []measure[T], a, b []*T) Shifts {
	out := make(Shifts, 0, len(measures))
	for _, m := range measures {
		out = append(out, newShift(m.name, m.title, m.unit, pooled(m, a), pooled(m, b)))
	}
	return out
}

func newShift(name, title string, u unit, a, b Sample) Shift {
	s := Shift{Name: name, A: a, B: b, title: title, unit: u}
	s.Diff, s.Percent = difference(a.median(), b.median())
	if p, ok := chance(&s.A, &s.B); ok {
		s.P = &p
	}
	if low, high, ok := interval(&s.A, &s.B); ok {
		s.Low, s.High = &low, &high
	}
	return s
}

func pointers[T any](list []T) []*T {
	out := make([]*T, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}

// setNotes say why the figures may mislead.
func setNotes(a, b *RunSet) []string {
	out := []string{}
	seen := make(map[string]bool)
	for _, s := range a.Runs {
		seen[s.RunID+s.StartedAt] = true
	}
	shared := int64(0)
	for _, s := range b.Runs {
		if seen[s.RunID+s.StartedAt] {
			shared++
		}
	}
	if shared > 0 {
		out = append(out, some(shared, "run")+" in both A and B: the sets are not independent, so the test sees less than there is")
	}
	repos := func(set *RunSet) []string {
		var list []string
		for i := range set.Runs {
			if repo := set.Runs[i].SourceRepo; repo != "" && !slices.Contains(list, repo) {
				list = append(list, repo)
			}
		}
		return list
	}
	if all := append(repos(a), repos(b)...); len(all) > 0 {
		slices.Sort(all)
		if all = slices.Compact(all); len(all) > 1 {
			out = append(out, fmt.Sprintf("the runs are about different sources: %s and %s", all[0], all[1]))
		}
	}
	for _, side := range []struct {
		letter string
		*RunSet
	}{{"A", a}, {"B", b}} {
		if len(side.Runs) == 1 {
			out = append(out, side.letter+" is a single run: nothing is known of how much such runs differ")
		}
		failed, partial := int64(0), int64(0)
		for i := range side.Runs {
			if side.Runs[i].Status == run.StatusError {
				failed++
			}
			if side.Runs[i].Totals.LLMCallsWithUsage < side.Runs[i].Totals.LLMCalls {
				partial++
			}
		}
		if failed > 0 {
			out = append(out, fmt.Sprintf("%s of %d in %s with status error: their figures may be those of a part", some(failed, "run"), len(side.Runs), side.letter))
		}
		if partial > 0 {
			out = append(out, fmt.Sprintf("the tokens of %s of %d in %s are a lower bound: not all LLM calls told theirs", some(partial, "run"), len(side.Runs), side.letter))
		}
	}
	return out
}

// flat are the phases with the depths among them, each under its own name.
func (p Phases) flat() Phases {
	var out Phases
	for _, phase := range p {
		depths := phase.Depths
		phase.Depths = nil
		out = append(out, phase)
		for _, d := range depths {
			d.Name = depthPrefix + d.Name
			out = append(out, d)
		}
	}
	return out
}

// aligned are things that stand in the runs under the same key: in each set one
// place a run, nil where the run has none.
type aligned[K comparable, T any] struct {
	order []K
	a, b  map[K][]*T
}

func align[K comparable, T any](a, b *RunSet, of func(*Summary) ([]K, []*T)) aligned[K, T] {
	all := aligned[K, T]{a: make(map[K][]*T), b: make(map[K][]*T)}
	collect := func(set *RunSet, into map[K][]*T) {
		for i := range set.Runs {
			keys, things := of(&set.Runs[i])
			for k, key := range keys {
				if all.a[key] == nil && all.b[key] == nil {
					all.order = append(all.order, key)
				}
				if into[key] == nil {
					into[key] = make([]*T, len(set.Runs))
				}
				into[key][i] = things[k]
			}
		}
	}
	collect(b, all.b)
	collect(a, all.a)
	return all
}

// presence counts in how many runs of each set something is.
func presence[T any](a, b []*T) (inA, inB int, in Presence) {
	there := func(list []*T) (n int) {
		for _, t := range list {
			if t != nil {
				n++
			}
		}
		return n
	}
	inA, inB = there(a), there(b)
	switch {
	case inA == 0:
		return inA, inB, Added
	case inB == 0:
		return inA, inB, Removed
	}
	return inA, inB, Both
}

// usual is the value that most of the things have, the first of equally frequent
// ones.
func usual[T any](things []*T, of func(*T) string) (value string) {
	counts := make(map[string]int)
	most := 0
	for _, t := range things {
		if t == nil {
			continue
		}
		v := of(t)
		if counts[v]++; counts[v] > most {
			most, value = counts[v], v
		}
	}
	return value
}
