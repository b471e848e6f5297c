package report

import "fmt"

// atOnce is how many agents were at work at once, of how many slots where that is
// known.
func (p *Phase) atOnce() string {
	if p.Slots != nil {
		return count(p.MaxParallel) + "/" + count(*p.Slots)
	}
	return count(p.MaxParallel)
}

func (p *Phase) meanText() string {
	if p.MeanParallel == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f", p.MeanParallel)
}

// estimated is the estimate of what the run cost: the one that was asked for, else
// by the built-in prices where no cost was told. Nil where there is none.
func (s *Summary) estimated() *Estimate {
	if s.CostEstimate != nil {
		return s.CostEstimate
	}
	if e := s.Estimate(BuiltInPrices()); s.Totals.CostUSD == 0 && e.USD > 0 {
		return &e
	}
	return nil
}

// whatIfHeads are the columns of what a phase waited for and what it would save.
var whatIfHeads = []string{"PHASE", "LAST AGENT", "ITS WALL", "MEDIAN", "WAITED", "SAVED AT MEDIAN", "SAVED ALL AT ONCE"}

// WhatIfs gives a row for each phase that waited for one agent, or could be shorter:
// its name, the last agent, how long that took, the median, how long it was waited
// for, what would be saved with it at the median, and with all at once. Names are as
// they came.
func (s *Summary) WhatIfs() [][]string {
	var rows [][]string
	var add func(prefix string, phases Phases)
	add = func(prefix string, phases Phases) {
		for i := range phases {
			ph := &phases[i]
			if len(ph.Depths) > 0 {
				add(depthPrefix, ph.Depths)
				continue
			}
			if ph.WhatIf == nil || (ph.WhatIf.UnlimitedSlotsMS == 0 && (ph.Straggler == nil || ph.Straggler.WaitedMS == 0)) {
				continue
			}
			row := []string{prefix + ph.Name, "", "", "", "", "", duration(ph.WhatIf.UnlimitedSlotsMS)}
			if last := ph.Straggler; last != nil {
				row[1], row[2], row[3], row[4] = last.Name, duration(last.WallMS), duration(last.MedianMS), duration(last.WaitedMS)
				row[5] = duration(ph.WhatIf.StragglerAtMedianMS)
			}
			rows = append(rows, row)
		}
	}
	add("", s.Phases)
	return rows
}

// stragglers are what phases waited for, and what they would have saved.
func (p *printer) stragglers(s *Summary) {
	rows := s.WhatIfs()
	if len(rows) == 0 {
		return
	}
	t := table{}
	for i, head := range whatIfHeads {
		t.columns = append(t.columns, column{head: head, flex: i < 2, right: i >= 2, keep: []int{9, 8, 1, 2, 7, 5, 6}[i]})
	}
	for _, row := range rows {
		cells := make([]fragment, len(row))
		for i, text := range row {
			cells[i] = fragment{text, ""}
		}
		t.row(cells...)
	}
	p.text("")
	p.table(t)
	p.line(fragment{"saved: where no agent needs what another makes, and times stay as they were", faint})
}
