package report

import (
	"fmt"
	"strings"
)

// phaseBars writes a line for each phase, with a bar that stands where the phase
// stands in the run.
func (p *printer) phaseBars(s *Summary) {
	t := table{columns: []column{
		{head: "PHASE", flex: true, keep: 5},
		{head: "", keep: 1},
		{head: "WALL", right: true, keep: 4},
		{head: "AGENTS", right: true, keep: 2},
		{head: "TOKENS", right: true, keep: 3},
		{head: "TOOL USES", right: true, keep: 0},
	}}
	for i := range s.Phases {
		ph := &s.Phases[i]
		t.row(fragment{ph.Name, phaseStyle(ph)}, fragment{bar(ph, s.TotalWallMS, barCells), ""}, fragment{duration(ph.WallMS), ""},
			fragment{count(ph.Agents), ""}, fragment{count(ph.Tokens), ""}, fragment{count(ph.ToolUses), ""})
	}
	p.table(t)
}

func phaseStyle(ph *Phase) style {
	switch {
	case ph.Errors > 0:
		return red
	case ph.Stalls > 0:
		return yellow
	}
	return ""
}

// bar shows from when to when in total the phase lasted, in width cells.
func bar(ph *Phase, total int64, width int) string {
	start := int64(0)
	if ph.StartMS != nil {
		start = *ph.StartMS
	}
	return stretch(start, ph.WallMS, total, width)
}

// stretch shows from when to when in total something lasted, in width cells.
func stretch(start, wall, total int64, width int) string {
	scale := func(ms int64) int {
		if total <= 0 {
			return 0
		}
		share := float64(ms) / float64(total)
		return int(float64(width)*max(-1, min(share, 2)) + 0.5)
	}
	from := min(max(0, scale(start)), width-1)
	to := min(max(from, scale(start+wall)), width)
	if wall == 0 {
		return strings.Repeat(" ", width)
	}
	to = max(to, from+1)
	return strings.Repeat(" ", from) + strings.Repeat("█", to-from) + strings.Repeat(" ", width-to)
}

func (p *printer) phases(s *Summary) {
	t := table{columns: []column{
		{head: "PHASE", flex: true, keep: 9},
		{head: "", keep: 3},
		{head: "WALL", right: true, keep: 8},
		{head: "SHARE", right: true, keep: 1},
		{head: "AGENTS", right: true, keep: 6},
		{head: "AT ONCE", right: true, keep: 2},
		{head: "MEAN", right: true, keep: 0},
		{head: "TOKENS", right: true, keep: 7},
		{head: "TOOL USES", right: true, keep: 5},
		{head: "FAILED", right: true, keep: 4},
		{head: "STALLS", right: true, keep: 2},
	}}
	add := func(indent string, ph *Phase) {
		share := "n/a"
		switch {
		case ph.WallMS > s.TotalWallMS: // as told by the run itself, of work before it
			share = ">100%"
		case s.TotalWallMS > 0:
			share = fmt.Sprintf("%.0f%%", 100*float64(ph.WallMS)/float64(s.TotalWallMS))
		}
		t.row(fragment{indent + ph.Name, phaseStyle(ph)}, fragment{bar(ph, s.TotalWallMS, barCells), ""}, fragment{duration(ph.WallMS), ""}, fragment{share, ""},
			fragment{count(ph.Agents), ""}, fragment{ph.atOnce(), ""}, fragment{ph.meanText(), ""}, fragment{count(ph.Tokens), ""},
			fragment{count(ph.ToolUses), ""}, fragment{count(ph.Errors), ""}, fragment{count(ph.Stalls), ""})
	}
	for i := range s.Phases {
		add("", &s.Phases[i])
		for k := range s.Phases[i].Depths {
			add("  depth ", &s.Phases[i].Depths[k])
		}
	}
	p.table(t)
}
