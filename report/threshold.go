package report

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Threshold is a limit on one measure of a comparison.
//
//	total_wall_ms>10%     it grew by more than 10 % of A's
//	total_wall_ms>+5000   it grew by more than 5000
//	errors>0              B's value is more than 0, whatever A's was
//	analyses_written<45   B's value is less than 45
//	phases.synthesis.wall_ms>10%
type Threshold struct {
	// Measure is the name of a total, or phases.NAME.MEASURE.
	Measure string
	// Op is >, >=, < or <=.
	Op    string
	Limit float64
	// Percent: Limit is a change in percent of A. Relative: it is a change. Neither:
	// it is a value of B.
	Percent, Relative bool
}

// Crossing is a threshold that was crossed.
type Crossing struct {
	// Threshold is the limit as it is written.
	Threshold string `json:"threshold"`
	Measure   string `json:"measure"`
	Change
	// Reason is a sentence that says so.
	Reason string `json:"reason"`
}

var thresholdForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\s*([^<>=]*[^<>=\s])\s*(>=|<=|>|<)\s*([+-]?)([0-9]+(?:\.[0-9]+)?)\s*(%?)\s*$`)
})

// ParseThresholds reads a list of thresholds that are separated by commas.
func ParseThresholds(s string) ([]Threshold, error) {
	var out []Threshold
	for part := range strings.SplitSeq(s, ",") {
		m := thresholdForm().FindStringSubmatch(part)
		if m == nil {
			return nil, fmt.Errorf("threshold %q: write MEASURE>NUMBER or MEASURE>PERCENT%%, as in total_wall_ms>10%%,errors>0", strings.TrimSpace(part))
		}
		limit, err := strconv.ParseFloat(m[3]+m[4], 64)
		if err != nil || math.IsInf(limit, 0) {
			return nil, fmt.Errorf("threshold %q: %s is no number that can be compared with", strings.TrimSpace(part), m[4])
		}
		t := Threshold{Measure: strings.TrimSpace(m[1]), Op: m[2], Limit: limit, Percent: m[5] != ""}
		t.Relative = m[3] != "" && !t.Percent
		if err := t.known(); err != nil {
			return nil, fmt.Errorf("threshold %q: %w", strings.TrimSpace(part), err)
		}
		out = append(out, t)
	}
	return out, nil
}

// String writes the threshold as ParseThresholds reads it.
func (t Threshold) String() string {
	limit := strconv.FormatFloat(t.Limit, 'f', -1, 64)
	if t.Relative && !math.Signbit(t.Limit) {
		limit = "+" + limit
	}
	if t.Percent {
		limit += "%"
	}
	return t.Measure + t.Op + limit
}

// phase splits phases.NAME.MEASURE. The name may have dots, a measure has none.
func (t Threshold) phase() (name, measure string, ok bool) {
	rest, ok := strings.CutPrefix(t.Measure, "phases.")
	dot := strings.LastIndexByte(rest, '.')
	if !ok || dot <= 0 {
		return "", "", false
	}
	return rest[:dot], rest[dot+1:], true
}

// known refuses a measure that no comparison has. Whether it has the phase is not
// known yet.
func (t Threshold) known() error {
	names, name := namesOf(totalMeasures), t.Measure
	if _, measure, ok := t.phase(); ok {
		names, name = namesOf(phaseMeasures), measure
	}
	if !slices.Contains(names, name) {
		return fmt.Errorf("no measure is called %q: there are %s, and phases.NAME.wall_ms and the like", name, strings.Join(names, ", "))
	}
	return nil
}

func namesOf[T any](measures []measure[T]) []string {
	names := make([]string, len(measures))
	for i, m := range measures {
		names[i] = m.name
	}
	return names
}

// cross gives the thresholds that the comparison crossed, in their order. One
// that can not be judged counts as crossed: a gate that is not sure stays shut.
func (c *Comparison) cross(thresholds []Threshold) []Crossing {
	out := []Crossing{}
	for _, t := range thresholds {
		change, found := c.find(t)
		if reason := t.judge(change, found); reason != "" {
			out = append(out, Crossing{Threshold: t.String(), Measure: t.Measure, Change: change, Reason: reason})
		}
	}
	return out
}

func (c *Comparison) find(t Threshold) (Change, bool) {
	name, measure, ok := t.phase()
	if !ok {
		return c.Totals.Find(t.Measure)
	}
	for _, p := range c.Phases {
		if p.Name == name {
			return p.Values.Find(measure)
		}
	}
	return Change{}, false
}

// judge says why the threshold is crossed, or nothing where it is not.
func (t Threshold) judge(c Change, found bool) string {
	switch {
	case !found:
		return t.Measure + " is in neither run"
	case c.B == nil:
		return t.Measure + " is not known in B"
	case !t.Percent && !t.Relative:
		if t.over(*c.B) {
			return fmt.Sprintf("%s is %s in B", t.Measure, c.unit.text(*c.B))
		}
		return ""
	case c.A == nil:
		return t.Measure + " is not known in A"
	}
	grew := fmt.Sprintf("%s went from %s to %s", t.Measure, c.unit.text(*c.A), c.unit.text(*c.B))
	switch {
	case t.Relative:
		if t.over(c.Diff) {
			return fmt.Sprintf("%s (%s)", grew, c.unit.change(c.Diff))
		}
	case c.Percent != nil:
		if t.over(*c.Percent) {
			return fmt.Sprintf("%s (%s)", grew, percentage(c.Percent))
		}
	case c.Diff > 0: // from 0, so by more than any percentage
		if t.over(math.Inf(1)) {
			return grew
		}
	case t.over(0):
		return grew
	}
	return ""
}

func (t Threshold) over(v float64) bool {
	switch t.Op {
	case ">":
		return v > t.Limit
	case ">=":
		return v >= t.Limit
	case "<":
		return v < t.Limit
	}
	return v <= t.Limit
}
