package report

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// problem is a line about something that went wrong.
type problem struct {
	atMS       int64
	what       string
	style      style
	name, text string
}

// heads is all of the line but the text.
func (q problem) heads() []fragment {
	out := []fragment{{fmt.Sprintf("  %-8s", q.what), q.style}, {clock(q.atMS) + "  ", faint}}
	name := q.name
	if name != "" && q.text != "" {
		name += ": "
	}
	return append(out, fragment{name, bold})
}

// problems are the errors, stalls, warnings and failed calls, in this order, each
// sort by time.
func (s *Summary) problems() []problem {
	var errors, calls, stalls, warnings []problem
	for _, e := range s.Errors {
		q := problem{e.AtMS, e.Status, red, e.Name, e.Message}
		if e.Kind == telemetry.KindTool || e.Kind == telemetry.KindLLM {
			q.what, q.style = e.Kind, yellow
			calls = append(calls, q)
			continue
		}
		errors = append(errors, q)
	}
	for _, stall := range s.Stalls {
		text := "silent for " + duration(stall.IdleMS)
		switch {
		case stall.Open:
			text += ", and never heard of again"
		case stall.ResumedMS != nil:
			text += ", resumed at " + clock(*stall.ResumedMS)
		}
		if words := evidenceText(stall.Evidence); words != "" {
			text += " (" + words + ")"
		}
		stalls = append(stalls, problem{stall.AtMS, "stall", yellow, stall.Name, text})
	}
	for _, w := range s.Warnings {
		q := problem{w.AtMS, w.Level, yellow, "", w.Message}
		if w.Level == "error" {
			q.style = red
		}
		warnings = append(warnings, q)
	}
	byTime := func(a, b problem) int { return cmp.Compare(a.atMS, b.atMS) }
	for _, list := range [][]problem{errors, calls, stalls, warnings} {
		slices.SortStableFunc(list, byTime)
	}
	return slices.Concat(errors, stalls, warnings, calls)
}
