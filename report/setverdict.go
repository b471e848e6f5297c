package report

import (
	"fmt"
	"math"
	"strings"
)

// gate is how far a measure may go.
type gate struct {
	measure string
	up      bool    // more is worse
	limit   float64 // of the change for the worse, of the medians
	percent bool    // limit is in percent of A's
	reached bool    // to reach the limit is too far
	text    string  // as it is written, empty for a default
}

// defaultGates are what is judged where no threshold says otherwise.
var defaultGates = []gate{
	{measure: "total_wall_ms", up: true, limit: 5, percent: true},
	{measure: "total_tokens", up: true, limit: 5, percent: true},
	{measure: "cost_usd", up: true, limit: 5, percent: true},
	{measure: "analyses_written"},
	{measure: "errors", up: true},
	{measure: "lost", up: true},
	{measure: "stalls", up: true},
}

// gateOf is a threshold of a change as a gate.
func gateOf(t Threshold) gate {
	g := gate{measure: t.Measure, up: t.Op[0] == '>', limit: t.Limit, percent: t.Percent, reached: len(t.Op) == 2, text: t.String()}
	if !g.up {
		g.limit = -t.Limit
	}
	return g
}

// allowed is the limit as a change of the measure.
func (g *gate) allowed(s *Shift) float64 {
	if g.percent {
		return g.limit / 100 * math.Abs(s.A.Median)
	}
	return g.limit
}

// beyond tells whether a change for the worse is too large.
func (g *gate) beyond(change, allowed float64) bool {
	return change > allowed || (g.reached && change == allowed)
}

func (g *gate) limitText(s *Shift) string {
	switch {
	case g.percent:
		return fmt.Sprintf("the limit of %g%%", g.limit)
	case g.limit == 0:
		return "the limit of no change for the worse"
	}
	return "the limit of " + s.unit.text(g.limit)
}

// judge gives the verdict on one measure, and a sentence that says why.
func (g *gate) judge(s *Shift) (Verdict, string) {
	worse, high := s.Diff, s.High
	if !g.up {
		worse = -s.Diff
		if s.Low != nil {
			upper := -*s.Low
			high = &upper
		}
	}
	allowed := g.allowed(s)
	grew := fmt.Sprintf("median of %s went from %s to %s (%s)", g.measure, s.unit.text(s.A.Median), s.unit.text(s.B.Median), s.changeText())
	tested := ""
	if s.P != nil {
		tested = fmt.Sprintf(", p = %.3f", *s.P)
	}
	beyond := g.beyond(worse, allowed)
	switch {
	case high == nil:
		return Inconclusive, grew + ": " + tooFew(s.A.N, s.B.N)
	case beyond && *s.P < alpha:
		return Regressed, fmt.Sprintf("%s, over %s%s", grew, g.limitText(s), tested)
	case beyond:
		return Inconclusive, fmt.Sprintf("%s, over %s, but runs of the same set differ as much%s", grew, g.limitText(s), tested)
	case allowed > 0 && *high > allowed:
		return Inconclusive, fmt.Sprintf("%s: too noisy, it may be worse by up to %s, and %s is what matters", grew, s.unit.text(*high), g.limitText(s))
	case worse < 0 && *s.P < alpha:
		return Pass, grew + ", better" + tested
	}
	return Pass, grew + ", within " + g.limitText(s)
}

func tooFew(n, m int) string {
	return fmt.Sprintf("%s and %s are too few for a verdict; four on each side can be enough", some(int64(n), "run"), some(int64(m), "run"))
}

// changeText is the change, in percent where there is such a thing.
func (s *Shift) changeText() string {
	if s.Percent == nil {
		return s.unit.change(s.Diff)
	}
	return percentage(s.Percent)
}

// find gives the measure that a threshold is about.
func (c *SetComparison) find(t Threshold) *Shift {
	name, measure, ok := t.phase()
	if !ok {
		return c.Totals.Find(t.Measure)
	}
	for i := range c.Phases {
		if c.Phases[i].Name == name {
			return c.Phases[i].Values.Find(measure)
		}
	}
	return nil
}

// note records a verdict on a measure; the worst stays.
func (s *Shift) note(v Verdict, reason string) {
	if v.rank() > s.Verdict.rank() {
		s.Verdict, s.Reason = v, reason
	}
}

// judge gives the verdicts, of the measures and of all.
func (c *SetComparison) judge(thresholds []Threshold) {
	c.Crossed = []SetCrossing{}
	asked := make(map[string]bool)
	for _, t := range thresholds {
		reason := c.ask(t)
		if t.Percent || t.Relative {
			asked[t.Measure] = true
		}
		if reason != "" {
			c.Crossed = append(c.Crossed, SetCrossing{Threshold: t.String(), Measure: t.Measure, Reason: reason})
		}
	}
	for _, g := range defaultGates {
		s := c.Totals.Find(g.measure)
		if asked[g.measure] || s == nil || (zero(s.A.median()) && zero(s.B.median()) && s.A.Max == 0 && s.B.Max == 0) {
			continue
		}
		if s.A.N > 0 && s.B.N > 0 {
			s.note(g.judge(s))
		}
	}
	c.conclude()
}

// ask judges a threshold, and says why it is crossed where it is.
func (c *SetComparison) ask(t Threshold) string {
	s := c.find(t)
	if s == nil {
		return t.judge(Change{}, false)
	}
	plain := t.judge(Change{A: s.A.median(), B: s.B.median(), Diff: s.Diff, Percent: s.Percent, unit: s.unit}, true)
	if plain != "" {
		plain = "median of " + plain
	}
	g := gateOf(t)
	if !t.Percent && !t.Relative || g.limit < 0 || s.A.N == 0 || s.B.N == 0 {
		return plain // what must get better is judged by the medians
	}
	verdict, reason := g.judge(s)
	s.note(verdict, reason)
	switch {
	case s.High == nil:
		return plain
	case verdict == Regressed:
		return reason
	}
	return ""
}

// conclude gives the verdict in all.
func (c *SetComparison) conclude() {
	c.Verdict = ""
	reasons := make(map[Verdict][]string)
	look := func(list Shifts) {
		for i := range list {
			if v := list[i].Verdict; v != "" {
				reasons[v] = append(reasons[v], list[i].Reason)
				if v.rank() > c.Verdict.rank() {
					c.Verdict = v
				}
			}
		}
	}
	look(c.Totals)
	for i := range c.Phases {
		look(c.Phases[i].Values)
	}
	switch c.Verdict {
	case "":
		c.Verdict, c.Reason = Inconclusive, "no judged measure is known in both sets"
	case Pass:
		c.Reason = "no judged measure is worse by more than its limit"
	default:
		if n, m := len(c.A.Runs), len(c.B.Runs); c.Verdict == Inconclusive && !testable(n, m) {
			c.Reason = tooFew(n, m)
			return
		}
		c.Reason = strings.Join(reasons[c.Verdict], "; ")
	}
}
