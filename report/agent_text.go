package report

import (
	"fmt"
	"slices"
)

func (p *printer) agents(s *Summary) {
	idle := "" // nothing is known of most runs
	if slices.ContainsFunc(s.Agents, func(a Agent) bool { return a.IdleMS != nil }) {
		idle = "IDLE"
	}
	t := table{columns: []column{
		{head: "AGENT", flex: true, keep: 9},
		{head: "KIND", flex: true, keep: 1},
		{head: "PHASE", flex: true, keep: 3},
		{head: "STATUS", keep: 7},
		{head: "START", right: true, keep: 2},
		{head: "WALL", right: true, keep: 8},
		{head: idle, right: true, keep: 0},
		{head: "TOKENS", right: true, keep: 6},
		{head: "TOOL USES", right: true, keep: 5},
	}}
	for i := range s.Agents {
		if i == textRows {
			break
		}
		a := &s.Agents[i]
		start := ""
		if a.StartMS != nil {
			start = clock(*a.StartMS)
		}
		status := a.Status
		if a.Attempts > 1 {
			status += fmt.Sprintf(" x%d", a.Attempts)
		}
		t.row(fragment{a.Name, ""}, fragment{a.Kind, faint}, fragment{a.Phase, ""}, fragment{status, statusStyle(a.Status)},
			fragment{start, faint}, fragment{duration(a.WallMS), ""}, fragment{a.idleText(), ""}, fragment{count(a.Tokens), ""}, fragment{count(a.ToolUses), ""})
	}
	p.table(t)
	if len(s.Agents) > textRows {
		p.more(len(s.Agents) - textRows)
	}
}

// idleText is how long nothing below the agent was open, empty where that is not
// known.
func (a *Agent) idleText() string {
	if a.IdleMS == nil {
		return ""
	}
	return duration(*a.IdleMS)
}
