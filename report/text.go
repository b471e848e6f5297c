package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
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
	if s.Status == run.StatusRunning {
		took = " for "
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
	scale := func(ms int64) int {
		if total <= 0 {
			return 0
		}
		share := float64(ms) / float64(total)
		return int(float64(width)*max(-1, min(share, 2)) + 0.5)
	}
	from := min(max(0, scale(start)), width-1)
	to := min(max(from, scale(start+ph.WallMS)), width)
	if ph.WallMS == 0 {
		return strings.Repeat(" ", width)
	}
	to = max(to, from+1)
	return strings.Repeat(" ", from) + strings.Repeat("█", to-from) + strings.Repeat(" ", width-to)
}

func (p *printer) phases(s *Summary) {
	t := table{columns: []column{
		{head: "PHASE", flex: true, keep: 9},
		{head: "WALL", right: true, keep: 8},
		{head: "SHARE", right: true, keep: 1},
		{head: "AGENTS", right: true, keep: 6},
		{head: "AT ONCE", right: true, keep: 2},
		{head: "MEAN", right: true, keep: 0},
		{head: "TOKENS", right: true, keep: 7},
		{head: "TOOL USES", right: true, keep: 5},
		{head: "ERRORS", right: true, keep: 4},
		{head: "STALLS", right: true, keep: 3},
	}}
	add := func(indent string, ph *Phase) {
		share := "n/a"
		if s.TotalWallMS > 0 {
			share = fmt.Sprintf("%.0f%%", 100*float64(ph.WallMS)/float64(s.TotalWallMS))
		}
		t.row(fragment{indent + ph.Name, phaseStyle(ph)}, fragment{duration(ph.WallMS), ""}, fragment{share, ""},
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

func (p *printer) criticalPath(s *Summary) {
	t := table{columns: []column{
		{head: "CRITICAL PATH", flex: true, keep: 9},
		{head: "PHASE", flex: true, keep: 3},
		{head: "START", right: true, keep: 2},
		{head: "WALL", right: true, keep: 8},
		{head: "SHARE", right: true, keep: 1},
	}}
	steps := byAgent(s)
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
