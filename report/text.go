package report

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/obsrun/obsrun/instrument/run"
)

// Limits on what a person is shown; the JSON document has all of it.
const (
	briefProblems = 8
	textRows      = 500
	barCells      = 16
)

// Brief writes the few lines that stand at the end of a run: how it went, the
// phases, the totals, the worst problems.
func Brief(w io.Writer, s Summary, opt TextOptions) error {
	p := newPrinter(w, opt)
	p.verdict(&s)
	if len(s.Phases) > 0 {
		p.phaseBars(&s)
	}
	p.totals(&s)
	p.came(&s)
	problems := s.problems()
	for i, problem := range problems {
		if i == briefProblems {
			p.line(fragment{"  and " + count(int64(len(problems)-i)) + " more", faint})
			break
		}
		p.line(append(problem.heads(), fragment{problem.text, ""})...)
	}
	return p.err
}

// Text writes the whole report: phases, agents, critical path, problems.
func Text(w io.Writer, s Summary, opt TextOptions) error {
	p := newPrinter(w, opt)
	p.verdict(&s)
	p.facts(&s)
	p.totals(&s)
	if estimate := s.estimated(); estimate != nil {
		p.paragraph(estimate.text(), fragment{"estimated  ", faint})
	}
	if len(s.Sources) > 0 {
		p.text("")
		p.sources(&s)
	}
	if len(s.Phases) > 0 {
		p.text("")
		p.phases(&s)
		p.stragglers(&s)
	}
	if len(s.Agents) > 0 {
		p.text("")
		p.agents(&s)
	}
	if len(s.CriticalPath) > 0 {
		p.text("")
		p.criticalPath(&s)
	}
	if problems := s.problems(); len(problems) > 0 {
		p.text("")
		p.line(fragment{"PROBLEMS", faint})
		for i, problem := range problems {
			if i == textRows {
				p.more(len(problems) - i)
				break
			}
			p.paragraph(problem.text, problem.heads()...)
		}
	}
	return p.err
}

func (p *printer) more(n int) {
	p.line(fragment{"  and " + count(int64(n)) + " more: --format json has all", faint})
}

// verdict is the status, the wall time and how it ended.
func (p *printer) verdict(s *Summary) {
	took := " in "
	switch {
	case s.Status == run.StatusRunning:
		took = " for "
	case s.EndUnknown():
		took = " after at least "
	}
	ended := ""
	if s.ExitCode != nil {
		ended = ", exit status " + strconv.Itoa(*s.ExitCode)
	}
	if s.Signal != "" {
		ended += " (" + s.Signal + ")"
	}
	if s.ObsrunExit != nil && (s.ExitCode == nil || *s.ObsrunExit != *s.ExitCode) {
		ended += ", obsrun's exit status " + strconv.Itoa(*s.ObsrunExit)
	}
	p.line(fragment{cmp.Or(s.RunID, "(a run without an id)") + "  ", bold}, fragment{s.Status, statusStyle(s.Status)},
		fragment{took + duration(s.TotalWallMS) + ended, ""})
}

func statusStyle(status string) style {
	switch status {
	case run.StatusOK, run.Done:
		return green
	case run.StatusError, run.Lost:
		return red
	case run.StatusInterrupted, run.Stalled:
		return yellow
	case run.Queued, run.Cancelled:
		return faint
	}
	return ""
}

// facts say what the run was.
func (p *printer) facts(s *Summary) {
	fact := func(name, value string) {
		if value != "" {
			p.line(fragment{fmt.Sprintf("%-11s", name), faint}, fragment{value, ""})
		}
	}
	fact("command", shellWords(s.Command))
	source := s.SourceRepo
	if s.SourceCommit != "" {
		source = strings.TrimSpace(source + " at " + s.SourceCommit)
	}
	if source != "" && s.SourceFrom == "cwd" {
		source += " (the work tree it started in)"
	}
	fact("source", source)
	if at, err := time.Parse(time.RFC3339, s.StartedAt); err == nil {
		fact("started", at.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	fact("wall", count(s.TotalWallMS)+" ms")
	fact("inside", s.OuterRunID)
	fact("survivors", strings.Join(s.Survivors, ", "))
}

// shellWords writes a command so that a shell would read it back.
func shellWords(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		if word == "" || strings.Trim(word, shellSafe) != "" {
			word = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
		quoted[i] = word
	}
	return strings.Join(quoted, " ")
}

const shellSafe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-"

// totals are a few lines of numbers, exact.
func (p *printer) totals(s *Summary) {
	t := &s.Totals
	if !s.captured() {
		p.nothing(s)
		return
	}
	parts := []fragment{{some(t.AgentsSpawned, "agent"), ""}}
	add := func(text string, s style) { parts = append(parts, fragment{", ", ""}, fragment{text, s}) }
	if t.PeakParallelAgents > 1 {
		atOnce := count(t.PeakParallelAgents) + " at once"
		if s.Work != nil && s.Work.MeanParallel > 0 {
			atOnce += fmt.Sprintf(" (%.1f on average)", s.Work.MeanParallel)
		}
		add(atOnce, "")
	}
	add(some(t.TotalTokens, "token"), "")
	add(some(t.TotalToolUses, "tool use"), "")
	if t.CostUSD > 0 {
		add(cost(t.CostUSD), "")
	}
	if t.AnalysesWritten > 0 {
		add(some(t.AnalysesWritten, "analysis written", "analyses written"), "")
	}
	p.wrap(parts)
	bad := func(n int64) style {
		if n > 0 {
			return red
		}
		return ""
	}
	parts = []fragment{{some(t.Errors, "error"), bad(t.Errors)}}
	if t.ToolErrors > 0 {
		add(some(t.ToolErrors, "failed call"), "")
	}
	if t.Lost > 0 {
		add(count(t.Lost)+" lost", red)
	}
	if t.Stalls > 0 {
		add(some(t.Stalls, "stall"), yellow)
	}
	if t.RejectedEvents > 0 {
		add(some(t.RejectedEvents, "rejected event")+" (rejected.jsonl)", yellow)
	}
	p.wrap(parts)
	if line := s.usageLine(); line != "" {
		mark := style("")
		if t.LLMCallsWithUsage < t.LLMCalls {
			mark = yellow
		}
		p.line(fragment{line, mark})
	}
}

// wrap writes pieces that are separated by ", " on as many lines as they need.
func (p *printer) wrap(parts []fragment) {
	var line []fragment
	used := 0
	for i := 0; i < len(parts); i += 2 {
		n := cells(Visible(parts[i].text))
		if used > 0 && p.width > 0 && used+n+2 > p.width {
			p.line(append(line, fragment{",", ""})...)
			line, used = nil, 0
		}
		if used > 0 {
			line = append(line, fragment{", ", ""})
			used += 2
		}
		line = append(line, parts[i])
		used += n
	}
	p.line(line...)
}
