package report

import (
	"cmp"
	"io"
	"math"
	"slices"
	"strings"
)

// ComparisonText writes the comparison for a person: both values, the difference
// and that in percent; in total, phase by phase, and of the agents that changed.
func ComparisonText(w io.Writer, c Comparison, opt TextOptions) error {
	p := newPrinter(w, opt)
	p.run("A", &c.A)
	p.run("B", &c.B)
	for _, note := range c.Notes {
		p.paragraph(note, fragment{"note     ", yellow})
	}
	for _, crossing := range c.Crossed {
		p.paragraph(crossing.Reason, fragment{"crossed  ", red}, fragment{crossing.Threshold + ": ", bold})
	}
	p.text("")
	totals := changeTable("TOTAL")
	totals.changes("", c.Totals.largestFirst())
	p.table(totals)
	p.causes(c.Causes)
	if len(c.Phases) > 0 {
		p.text("")
		phases := changeTable("PHASE")
		phases.phaseChanges("", "", c.Phases)
		p.table(phases)
	}
	if len(c.Agents) > 0 {
		p.text("")
		p.agentChanges(c.Agents)
	}
	return p.err
}

func (p *printer) run(letter string, r *RunRef) {
	p.line(fragment{letter + "  ", bold}, fragment{cmp.Or(r.RunID, "?") + "  ", ""},
		fragment{r.Status, statusStyle(r.Status)}, fragment{"  " + r.StartedAt + "  " + r.SourceCommit, faint})
}

func changeTable(head string) table {
	return table{columns: []column{
		{head: head, flex: true, keep: 9},
		{head: "A", right: true, keep: 4},
		{head: "B", right: true, keep: 5},
		{head: "CHANGE", right: true, keep: 7},
		{head: "PERCENT", right: true, keep: 6},
	}}
}

// changes adds a row for each measure, but for those that are 0 or nothing in
// both runs. The first, wall time, is always shown.
func (t *table) changes(indent string, values Changes) {
	for i, v := range values {
		if i > 0 && zero(v.A) && zero(v.B) {
			continue
		}
		t.row(fragment{indent + v.title, ""}, v.shown(v.A), v.shown(v.B),
			fragment{v.unit.change(v.Diff), ""}, fragment{percentage(v.Percent), ""})
	}
}

func (t *table) phaseChanges(indent, label string, phases []PhaseChange) {
	for i := range phases {
		ph := &phases[i]
		name := indent + label + ph.Name
		if ph.In != Both {
			name += " (" + string(ph.In) + ")"
		}
		t.row(fragment{name, bold}, fragment{}, fragment{}, fragment{}, fragment{})
		t.changes(indent+"  ", ph.Values)
		t.phaseChanges(indent+"  ", "depth ", ph.Depths)
	}
}

func (p *printer) agentChanges(agents []AgentChange) {
	t := table{columns: []column{
		{head: "AGENT", flex: true, keep: 12},
		{head: "", flex: true, keep: 9},
		{head: "WALL A", right: true, keep: 5},
		{head: "WALL B", right: true, keep: 6},
		{head: "CHANGE", right: true, keep: 11},
		{head: "PERCENT", right: true, keep: 10},
		{head: "TOKENS A", right: true, keep: 3},
		{head: "TOKENS B", right: true, keep: 4},
		{head: "CHANGE", right: true, keep: 8},
		{head: "PERCENT", right: true, keep: 7},
	}}
	same, more := 0, 0
	for i := range agents {
		a := &agents[i]
		switch {
		case !a.changed():
			same++
			continue
		case len(t.rows) == textRows:
			more++
			continue
		}
		note := fragment{a.moved(), statusStyle(a.StatusB)}
		if a.In != Both {
			note = fragment{string(a.In), yellow}
		}
		wall, _ := a.Values.Find("wall_ms")
		tokens, _ := a.Values.Find("tokens")
		t.row(fragment{a.Name, ""}, note,
			wall.shown(wall.A), wall.shown(wall.B), fragment{wall.unit.change(wall.Diff), ""}, fragment{percentage(wall.Percent), ""},
			tokens.shown(tokens.A), tokens.shown(tokens.B), fragment{tokens.unit.change(tokens.Diff), ""}, fragment{percentage(tokens.Percent), ""})
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

// moved says what of the agent is another than it was: how it ended, where it was,
// what it was called.
func (a *AgentChange) moved() string {
	var parts []string
	if a.StatusA != a.StatusB {
		parts = append(parts, a.StatusA+" > "+a.StatusB)
	}
	if a.PhaseA != "" {
		parts = append(parts, "was in "+a.PhaseA)
	}
	if a.NameA != "" {
		parts = append(parts, "was "+a.NameA)
	}
	return strings.Join(parts, ", ")
}

// largestFirst gives the changes by their size in percent, those from 0 first,
// after the first, which stays.
func (c Changes) largestFirst() Changes {
	out := slices.Clone(c)
	if len(out) > 1 {
		slices.SortStableFunc(out[1:], func(x, y Change) int { return cmp.Compare(sizeOf(y.Diff, y.Percent), sizeOf(x.Diff, x.Percent)) })
	}
	return out
}

// sizeOf orders changes: by percent, from 0 to something above all.
func sizeOf(diff float64, percent *float64) float64 {
	switch {
	case diff == 0:
		return 0
	case percent == nil:
		return math.Inf(1)
	}
	return math.Abs(*percent)
}

// causes are the parts of the changes as a table, and what of them is not known.
func (p *printer) causes(list []Cause) {
	t := table{columns: []column{
		{head: "CAUSE", flex: true, keep: 9},
		{head: "A", right: true, keep: 4},
		{head: "B", right: true, keep: 5},
		{head: "WALL", right: true, keep: 8},
		{head: "TOKENS", right: true, keep: 7},
	}}
	for i := range list {
		c := &list[i]
		if c.Effect == nil || math.Round(*c.Effect) == 0 {
			continue
		}
		wall, tokens := fragment{}, fragment{}
		if effect := (fragment{c.effect.change(math.Round(*c.Effect)), ""}); c.Of == "total_wall_ms" {
			wall = effect
		} else {
			tokens = effect
		}
		t.row(fragment{c.title, ""}, fragment{c.unit.text(*c.A), ""}, fragment{c.unit.text(*c.B), ""}, wall, tokens)
	}
	if len(t.rows) == 0 {
		return // nothing changed, or nothing is known of why
	}
	p.text("")
	p.table(t)
	for _, text := range notKnown(list) {
		p.paragraph(text)
	}
}

// shown is a value as text, a dash where there is none.
func (c *Change) shown(v *float64) fragment {
	if v == nil {
		return fragment{"-", faint}
	}
	return fragment{c.unit.text(*v), ""}
}

func zero(v *float64) bool { return v == nil || *v == 0 }
