package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/obsrun/obsrun/instrument/run"
)

// The columns of a Gantt chart, in cells.
const (
	ganttName = 28
	ganttBar  = 48
)

// Gantt gives the run on a time axis, as lines of text that are safe to show in a
// fixed-width font: each phase, and below it its agents in the order of their
// starts. It has most phases and most agents: of more phases the first, of more
// agents those that did not end well, then those that took longest. Lines at the end
// count the others. The bar of an agent with several attempts is as long as all of
// them together.
func Gantt(s *Summary, most int) []string {
	shown, left := ganttAgents(s, most)
	var lines []string
	row := func(indent, name string, startMS, wallMS int64, status string) {
		name = cut(indent+Visible(name), ganttName)
		name += strings.Repeat(" ", max(0, ganttName-cells(name)))
		lines = append(lines, strings.TrimRight(fmt.Sprintf("%s |%s| %s %s", name, stretch(startMS, wallMS, s.TotalWallMS, ganttBar), duration(wallMS), status), " "))
	}
	of := func(phase string) {
		for _, a := range shown[phase] {
			status := ""
			if a.Status != run.Done {
				status = a.Status
			}
			row("  ", a.Name, *a.StartMS, a.WallMS, status)
		}
		delete(shown, phase)
	}
	phases := s.Phases.flat()
	for _, p := range phases[:min(len(phases), most)] {
		start := int64(0)
		if p.StartMS != nil {
			start = *p.StartMS
		}
		row("", p.Name, start, p.WallMS, "")
		of(p.Name)
	}
	if len(shown) > 0 { // of no phase
		var rest []Agent
		for _, list := range shown {
			rest = append(rest, list...)
		}
		slices.SortStableFunc(rest, ganttOrder)
		shown = map[string][]Agent{"": rest}
		of("")
	}
	for _, more := range []struct {
		n    int
		noun string
	}{{len(phases) - most, "phase"}, {left, "agent"}} {
		if more.n > 0 {
			lines = append(lines, fmt.Sprintf("and %d more %s", more.n, plural(more.n, more.noun)))
		}
	}
	return lines
}

func ganttOrder(a, b Agent) int {
	return cmp.Or(cmp.Compare(*a.StartMS, *b.StartMS), cmp.Compare(a.ID, b.ID))
}

// ganttAgents chooses so many of the agents that started, by phase, and counts the
// others.
func ganttAgents(s *Summary, most int) (byPhase map[string][]Agent, left int) {
	var list []Agent
	for _, a := range s.Agents {
		if a.StartMS != nil {
			list = append(list, a)
		}
	}
	well := func(a *Agent) int {
		if a.Status == run.Done {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b Agent) int {
		return cmp.Or(cmp.Compare(well(&a), well(&b)), cmp.Compare(b.WallMS, a.WallMS), ganttOrder(a, b))
	})
	left = max(0, len(list)-most)
	list = list[:len(list)-left]
	slices.SortStableFunc(list, ganttOrder)
	byPhase = make(map[string][]Agent)
	for _, a := range list {
		byPhase[a.Phase] = append(byPhase[a.Phase], a)
	}
	return byPhase, left
}
