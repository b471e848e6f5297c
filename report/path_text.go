package report

import (
	"fmt"
)

func (p *printer) criticalPath(s *Summary) {
	t := table{columns: []column{
		{head: "CRITICAL PATH", flex: true, keep: 9},
		{head: "PHASE", flex: true, keep: 3},
		{head: "START", right: true, keep: 2},
		{head: "WALL", right: true, keep: 8},
		{head: "SHARE", right: true, keep: 1},
	}}
	steps, brief, briefMS := notable(byAgent(s), s.TotalWallMS)
	for i, step := range steps {
		if i == textRows {
			break
		}
		share := "n/a"
		if s.TotalWallMS > 0 {
			share = fmt.Sprintf("%.1f%%", 100*float64(step.WallMS)/float64(s.TotalWallMS))
		}
		t.row(fragment{step.Name, ""}, fragment{step.Phase, ""}, fragment{clock(step.StartMS), faint}, fragment{duration(step.WallMS), ""}, fragment{share, ""})
	}
	p.table(t)
	if len(steps) > textRows {
		p.more(len(steps) - textRows)
	}
	if brief > 0 {
		p.line(fragment{"  and " + some(brief, "step") + " of less than 0.1 % each, together " + duration(briefMS), faint})
	}
}

// notable takes out the steps that are next to nothing of the whole, and gives how
// many they are and how long together. Where all are, they stay.
func notable(steps []Step, totalMS int64) (rest []Step, brief, briefMS int64) {
	for _, step := range steps {
		if step.WallMS < totalMS/1000 {
			brief++
			briefMS += step.WallMS
			continue
		}
		rest = append(rest, step)
	}
	if len(rest) == 0 {
		return steps, 0, 0
	}
	return rest, brief, briefMS
}

// byAgent is the critical path as people think of it: what an agent did, with
// the calls that it made for it, is one step.
func byAgent(s *Summary) []Step {
	names := make(map[string]string, len(s.Agents))
	for _, a := range s.Agents {
		names[a.ID] = a.Name
	}
	var steps []Step
	for _, step := range s.CriticalPath {
		if last := len(steps) - 1; last >= 0 && step.Agent != "" && steps[last].Agent == step.Agent {
			steps[last].WallMS += step.WallMS
			continue
		}
		if name, ok := names[step.Agent]; ok {
			step.Name = name
		}
		steps = append(steps, step)
	}
	return steps
}
