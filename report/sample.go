package report

import (
	"cmp"
	"math"
	"slices"

	"github.com/aclements/go-moremath/stats"
	"golang.org/x/perf/benchmath"
)

// alpha is the chance of calling a difference real that is none, as benchstat and
// criterion have it by default. It is that of each measure: testing several does
// not make it smaller.
const alpha = 0.05

// exactPairs bounds the samples whose U statistic is looked up exactly; above,
// the normal distribution is near enough.
const exactPairs = 400

// Sample is one measure in the runs of a set.
type Sample struct {
	// N is in how many runs it is known. The rest is 0 where that is none.
	N      int     `json:"n"`
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	// Values are in the order of the runs, those that are not known left out.
	Values []float64 `json:"values"`
}

func sampleOf(values []float64) Sample {
	s := Sample{N: len(values), Values: append([]float64{}, values...)}
	if s.N > 0 {
		sorted := slices.Sorted(slices.Values(values))
		s.Median, s.Min, s.Max = medianOf(sorted), sorted[0], sorted[s.N-1]
	}
	return s
}

// median is the median as a value that may not be there.
func (s *Sample) median() *float64 {
	if s.N == 0 {
		return nil
	}
	return &s.Median
}

// medianOf is the middle of sorted values, of which there is at least one.
func medianOf[T int64 | float64](sorted []T) T {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	low, high := sorted[n/2-1], sorted[n/2]
	return low + (high-low)/2
}

// chance is the p-value of the two-sided Mann-Whitney U test: how likely samples
// of the same thing differ as much. False where there is nothing to test.
func chance(a, b *Sample) (p float64, ok bool) {
	if a.N == 0 || b.N == 0 {
		return 0, false
	}
	thresholds := benchmath.DefaultThresholds
	thresholds.CompareAlpha = alpha
	c := benchmath.AssumeNothing.Compare(benchmath.NewSample(a.Values, &thresholds), benchmath.NewSample(b.Values, &thresholds))
	return min(1, finite(c.P)), true
}

// testable tells whether samples of these sizes could differ so much that it is
// no chance: the smallest p of all orders, 2 in (n+m over n), is below alpha.
func testable(n, m int) bool {
	orders := 1.0
	for i := 1; i <= min(n, m) && orders < 1e9; i++ {
		orders = orders * float64(max(n, m)+i) / float64(i)
	}
	return n > 0 && m > 0 && 2/orders < alpha
}

// interval is the Hodges-Lehmann confidence interval, of 1 - alpha, of how far b
// is shifted from a: of all differences of a value of b and one of a, those in the
// middle. False where there are too few.
func interval(a, b *Sample) (low, high float64, ok bool) {
	if !testable(a.N, b.N) {
		return 0, 0, false
	}
	diffs := make([]float64, 0, a.N*b.N)
	for _, x := range a.Values {
		for _, y := range b.Values {
			diffs = append(diffs, y-x)
		}
	}
	slices.SortFunc(diffs, cmp.Compare)
	outside := outsideOf(a.N, b.N)
	return diffs[outside], diffs[len(diffs)-1-outside], true
}

// outsideOf is how many of the n*m differences the interval leaves out at each end.
func outsideOf(n, m int) int {
	pairs := float64(n * m)
	if n*m > exactPairs {
		const z = 1.96 // of 1 - alpha/2
		return max(0, int(math.Floor(pairs/2-z*math.Sqrt(pairs*float64(n+m+1)/12)))-1)
	}
	u := stats.UDist{N1: n, N2: m}
	k := 0
	for float64(k) < pairs/2 && u.CDF(float64(k)) <= alpha/2 {
		k++
	}
	return max(0, k-1)
}
