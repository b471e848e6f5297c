package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"text/tabwriter"
)

// result is a row that was measured, or why it was not.
type result struct {
	row   row
	lines []line
	err   error
}

// goal bounds a ratio or an absolute figure.
type goal struct {
	sign     string  // "<=" or ">="; "" is no goal
	bound    float64 //
	absolute bool    // of ours itself, not of ours / theirs
}

func atMost(ratio float64) goal  { return goal{"<=", ratio, false} }
func atLeast(ratio float64) goal { return goal{">=", ratio, false} }
func within(figure float64) goal { return goal{"<=", figure, true} }
func beyond(figure float64) goal { return goal{">=", figure, true} }
func (g goal) met(is float64) bool {
	return g.sign == "<=" && is <= g.bound || g.sign == ">=" && is >= g.bound
}

func (g goal) text(unit string) string {
	switch {
	case g.sign == "":
		return "-"
	case g.absolute:
		return g.sign + " " + number(g.bound) + " " + unit
	}
	return g.sign + " " + number(g.bound) + " x"
}

// verdict says whether a line meets its goal: yes, NO, or "-" where nobody can tell.
func (l line) verdict() string {
	is := l.ratio()
	if l.goal.absolute {
		is = median(l.ours)
	}
	switch {
	case l.goal.sign == "" || math.IsNaN(is):
		return "-"
	case l.goal.met(is):
		return "yes"
	}
	return "NO"
}

// ratio is that of the medians; NaN without a peer.
func (l line) ratio() float64 { return median(l.ours) / median(l.theirs) }

// median is the middle value, or the mean of the two in the middle; NaN of none.
func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile is the value below which a share of all lies, between neighbours in
// proportion; NaN of none.
func quantile(values []float64, share float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	at := share * float64(len(sorted)-1)
	low := int(at)
	if low+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

// number writes three digits, and all those before the point.
func number(x float64) string {
	switch {
	case math.IsNaN(x):
		return "-"
	case math.Abs(x) >= 100:
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}

// table prints the results. A figure is the median, and in parentheses how far the
// quartiles lie apart.
func table(to io.Writer, done []result) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "row\twhat\tobsrun\tpeer\ttheirs\tratio\tgoal\tmet")
	for _, r := range done {
		for _, l := range r.lines {
			ratio, theirs := number(l.ratio()), figure(l.theirs, l.unit)
			if l.peer != "" && len(l.theirs) == 0 {
				theirs = "not installed"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
				r.row.name, l.what, figure(l.ours, l.unit), l.peer, theirs, ratio, l.goal.text(l.unit), l.verdict())
		}
		if r.err != nil {
			fmt.Fprintf(w, "%s\tnot measured: %v\n", r.row.name, r.err)
		}
	}
	return w.Flush()
}

func figure(values []float64, unit string) string {
	if len(values) == 0 {
		return "-"
	}
	spread := quantile(values, 0.75) - quantile(values, 0.25)
	return fmt.Sprintf("%s %s (%s)", number(median(values)), unit, number(spread))
}
