package report

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
)

// SetComparisonText writes the comparison of two sets for a person: the verdict and
// why, then medians, ranges and the chance of such a difference, in total, phase by
// phase, and of the agents that changed; the largest change first.
func SetComparisonText(w io.Writer, c SetComparison, opt TextOptions) error {
	p := newPrinter(w, opt)
	p.set("A", &c.A)
	p.set("B", &c.B)
	for _, note := range c.Notes {
		p.paragraph(note, fragment{"note     ", yellow})
	}
	p.paragraph(c.Reason, fragment{string(c.Verdict) + "  ", c.Verdict.style()})
	for _, crossing := range c.Crossed {
		p.paragraph(crossing.Reason, fragment{"crossed  ", red}, fragment{crossing.Threshold + ": ", bold})
	}
	p.text("")
	totals := shiftTable("TOTAL")
	totals.shifts("", c.Totals.largestFirst())
	p.table(totals)
	p.line(fragment{fmt.Sprintf("medians and ranges; p by Mann-Whitney U; a difference counts where p < %g", c.Alpha), faint})
	p.causes(c.Causes)
	if len(c.Phases) > 0 {
		p.text("")
		phases := shiftTable("PHASE")
		for i := range c.Phases {
			ph := &c.Phases[i]
			name := ph.Name
			if ph.In != Both {
				name += " (" + string(ph.In) + ")"
			}
			phases.row(fragment{name, bold}, fragment{}, fragment{}, fragment{}, fragment{}, fragment{}, fragment{}, fragment{}, fragment{})
			phases.shifts("  ", slices.DeleteFunc(slices.Clone(ph.Values), func(s Shift) bool { return s.Name != "wall_ms" && s.same() }))
		}
		p.table(phases)
	}
	if len(c.Agents) > 0 {
		p.text("")
		p.agentShifts(&c)
	}
	return p.err
}

func (v Verdict) style() style {
	switch v {
	case Pass:
		return green
	case Regressed:
		return red
	case Inconclusive:
		return yellow
	}
	return ""
}

func (p *printer) set(letter string, s *SetRef) {
	text := "  " + some(int64(len(s.Runs)), "run")
	if n := len(s.Runs); n > 0 {
		first, last := s.Runs[0].RunID, s.Runs[n-1].RunID
		text += ": " + cmp.Or(first, "?")
		if n > 1 {
			text += " ... " + cmp.Or(last, "?")
		}
	}
	p.line(fragment{letter + "  ", bold}, fragment{s.Name, ""}, fragment{text, faint})
}

func shiftTable(head string) table {
	return table{columns: []column{
		{head: head, flex: true, keep: 9},
		{head: "A", right: true, keep: 5},
		{head: "", keep: 1},
		{head: "B", right: true, keep: 6},
		{head: "", keep: 2},
		{head: "CHANGE", right: true, keep: 7},
		{head: "PERCENT", right: true, keep: 8},
		{head: "P", right: true, keep: 4},
		{head: "VERDICT", keep: 3},
	}}
}

func (t *table) shifts(indent string, values Shifts) {
	for i := range values {
		v := &values[i]
		if i > 0 && v.A.Max == 0 && v.B.Max == 0 {
			continue
		}
		t.row(fragment{indent + v.title, ""}, v.shown(&v.A), v.spread(&v.A), v.shown(&v.B), v.spread(&v.B),
			fragment{v.unit.change(v.Diff), ""}, fragment{percentage(v.Percent), ""}, fragment{v.pText(), faint}, fragment{string(v.Verdict), v.Verdict.style()})
	}
}

// same tells whether the measure is the same in all runs.
func (s *Shift) same() bool {
	return s.A.N == s.B.N && s.A.Min == s.A.Max && s.A.Min == s.B.Min && s.A.Min == s.B.Max
}

// shown is a median as text, a dash where there is none.
func (s *Shift) shown(sample *Sample) fragment {
	if sample.N == 0 {
		return fragment{"-", faint}
	}
	return fragment{s.unit.text(sample.Median), ""}
}

// spread is the range of the sample, empty where all values are the same.
func (s *Shift) spread(sample *Sample) fragment {
	if sample.N < 2 || sample.Min == sample.Max {
		return fragment{}
	}
	return fragment{s.unit.text(sample.Min) + " - " + s.unit.text(sample.Max), faint}
}

func (s *Shift) pText() string {
	switch {
	case s.P == nil || !testable(s.A.N, s.B.N):
		return ""
	case *s.P < 0.001:
		return "<0.001"
	}
	return fmt.Sprintf("%.3f", *s.P)
}

// largestFirst gives the shifts by their size in percent, after the first, which
// stays.
func (s Shifts) largestFirst() Shifts {
	out := slices.Clone(s)
	if len(out) > 1 {
		slices.SortStableFunc(out[1:], func(x, y Shift) int { return cmp.Compare(sizeOf(y.Diff, y.Percent), sizeOf(x.Diff, x.Percent)) })
	}
	return out
}

// moved says what of the agent is another than it was.
func (a *AgentShift) moved(runsA, runsB int) string {
	switch {
	case a.In != Both:
		return string(a.In)
	case a.FailedA != a.FailedB:
		return fmt.Sprintf("failed %d/%d > %d/%d", a.FailedA, a.RunsA, a.FailedB, a.RunsB)
	case a.PhaseA != a.PhaseB:
		return "was in " + cmp.Or(a.PhaseA, "no phase")
	case a.RunsA != runsA || a.RunsB != runsB:
		return fmt.Sprintf("in %d/%d, %d/%d", a.RunsA, runsA, a.RunsB, runsB)
	}
	return ""
}

func (p *printer) agentShifts(c *SetComparison) {
	t := table{columns: []column{
		{head: "AGENT", flex: true, keep: 12},
		{head: "", flex: true, keep: 9},
		{head: "WALL A", right: true, keep: 5},
		{head: "WALL B", right: true, keep: 6},
		{head: "CHANGE", right: true, keep: 11},
		{head: "P", right: true, keep: 10},
		{head: "TOKENS A", right: true, keep: 3},
		{head: "TOKENS B", right: true, keep: 4},
		{head: "CHANGE", right: true, keep: 8},
		{head: "P", right: true, keep: 7},
	}}
	same, more := 0, 0
	for i := range c.Agents {
		a := &c.Agents[i]
		note := a.moved(len(c.A.Runs), len(c.B.Runs))
		changed := slices.ContainsFunc(a.Values, func(s Shift) bool { return math.Round(s.Diff) != 0 })
		switch {
		case note == "" && !changed:
			same++
			continue
		case len(t.rows) == textRows:
			more++
			continue
		}
		wall, tokens := a.Values.Find("wall_ms"), a.Values.Find("tokens")
		t.row(fragment{a.Name, ""}, fragment{note, yellow},
			wall.shown(&wall.A), wall.shown(&wall.B), fragment{wall.unit.change(wall.Diff), ""}, fragment{wall.pText(), faint},
			tokens.shown(&tokens.A), tokens.shown(&tokens.B), fragment{tokens.unit.change(tokens.Diff), ""}, fragment{tokens.pText(), faint})
	}
	if len(t.rows) > 0 {
		p.table(t)
	}
	if more > 0 {
		p.more(more)
	}
	if same > 0 {
		p.line(fragment{some(int64(same), "agent") + " unchanged", faint})
	}
}
