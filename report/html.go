package report

import (
	"cmp"
	_ "embed" // of the page
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"

	"github.com/obsrun/obsrun/instrument/run"
)

//go:embed report.html
var pageText string

// htmlRows bounds the rows of a table of the page.
const htmlRows = 2000

// page is parsed when it is first needed, which most commands never do.
var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("report").Funcs(template.FuncMap{
		"visible": Visible, "duration": duration, "count": count, "clock": clock, "cost": cost, "class": statusClass, "idle": func(a Agent) string { return a.idleText() },
		"cut": func(s string) string { return cut(Visible(s), longest) },
	}).Parse(pageText))
})

// HTML writes the report as one page that stands for itself: no script, nothing
// from elsewhere, readable on paper and in the dark. It has what Text has.
func HTML(w io.Writer, s Summary) error {
	data := struct {
		Summary
		Title, Ended   string
		Facts          [][2]string
		Phases         []htmlPhase
		WhatIf         [][]string
		Steps          []Step
		Problems       []htmlProblem
		Estimated      string
		Usage          string
		MoreAgents     int
		MoreProblems   int
		Idle, Captured bool
	}{Summary: s, Title: cmp.Or(s.RunID, "a run without an id"), WhatIf: s.WhatIfs(), Steps: byAgent(&s), Usage: s.usageLine(), Captured: s.captured()}
	if s.ExitCode != nil {
		data.Ended = fmt.Sprintf(", exit status %d", *s.ExitCode)
	}
	if s.Signal != "" {
		data.Ended += " (" + s.Signal + ")"
	}
	for _, fact := range [][2]string{
		{"command", shellWords(s.Command)}, {"source", strings.TrimSpace(s.SourceRepo + " " + s.SourceCommit)}, {"started", s.StartedAt},
		{"inside", s.OuterRunID}, {"survivors", strings.Join(s.Survivors, ", ")},
	} {
		if fact[1] != "" {
			data.Facts = append(data.Facts, [2]string{fact[0], cut(Visible(fact[1]), 4*longest)})
		}
	}
	for i := range s.Phases {
		data.Phases = append(data.Phases, htmlPhaseOf(&s.Phases[i], "", s.TotalWallMS))
		for k := range s.Phases[i].Depths {
			data.Phases = append(data.Phases, htmlPhaseOf(&s.Phases[i].Depths[k], "depth ", s.TotalWallMS))
		}
	}
	if e := s.estimated(); e != nil {
		data.Estimated = e.text()
	}
	problems := s.problems()
	for i, q := range problems {
		if i == htmlRows {
			data.MoreProblems = len(problems) - i
			break
		}
		data.Problems = append(data.Problems, htmlProblem{q.what, clock(q.atMS), cut(Visible(q.name), longest), cut(Visible(q.text), 4*longest)})
	}
	for i := range s.Agents {
		data.Idle = data.Idle || s.Agents[i].IdleMS != nil
	}
	if len(s.Agents) > htmlRows {
		data.MoreAgents = len(s.Agents) - htmlRows
		data.Agents = s.Agents[:htmlRows]
	}
	data.Steps = data.Steps[:min(len(data.Steps), htmlRows)]
	if err := page().Execute(w, data); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

type htmlProblem struct{ What, At, Name, Text string }

// htmlPhase is a phase with its place in the run, in percent of it.
type htmlPhase struct {
	Phase
	Label, AtOnce, Mean string
	Depth               bool
	From, Width         string
}

func htmlPhaseOf(p *Phase, prefix string, total int64) htmlPhase {
	h := htmlPhase{Phase: *p, Label: prefix + p.Name, AtOnce: p.atOnce(), Mean: p.meanText(), Depth: prefix != "", From: "0", Width: "0"}
	if total > 0 && p.StartMS != nil {
		share := func(ms int64) float64 { return min(100, max(0, 100*float64(ms)/float64(total))) }
		from := share(*p.StartMS)
		h.From, h.Width = fmt.Sprintf("%.2f", from), fmt.Sprintf("%.2f", min(100-from, share(p.WallMS)))
	}
	return h
}

// statusClass is how the page shows a status.
func statusClass(status string) string {
	switch status {
	case run.StatusOK, run.Done:
		return "good"
	case run.StatusError, run.Lost:
		return "bad"
	case run.StatusInterrupted, run.Stalled:
		return "warn"
	}
	return "faint"
}
