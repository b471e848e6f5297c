package export

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/report"
)

// The limits keep the whole below the 1 MiB that a step summary of GitHub Actions
// takes, where every character is a reference.
const (
	markdownRows    = 200 // of a table
	markdownName    = 120 // characters
	markdownMessage = 240
)

// MaxMarkdown is the most that Markdown writes, in bytes: what a step summary of
// GitHub Actions takes is 1 MiB
// (https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands).
const MaxMarkdown = 1<<20 - 1024

// ganttAgents is how many agents the chart has: it is to be small.
const ganttAgents = 40

// Markdown writes the summary in GitHub Flavored Markdown
// (https://github.github.com/gfm/): how the run ended, what went wrong, what
// changed since the baseline, its phases, its agents. All text of others is in code
// or pre elements, with every character that means something to Markdown or HTML as
// a character reference: it can make no link, no markup, no further cell, and mention
// nobody. Tables end after 200 rows, the whole at MaxMarkdown.
func Markdown(w io.Writer, r Run) error { return MarkdownWithin(w, r, MaxMarkdown) }

// MarkdownWithin is Markdown in at most limit bytes. A part that does not fit is left
// out as a whole, and it says so; of a limit that takes no part at all there is nothing.
func MarkdownWithin(w io.Writer, r Run, limit int) error {
	s := report.Summarize(r.State)
	const reserve = 200 // for what is said of parts that are left out
	var page bytes.Buffer
	var missing []string
	for _, part := range []struct {
		name  string
		write func(*markdown)
	}{
		{"head", func(m *markdown) { m.head(&s) }},
		{"problems", func(m *markdown) { m.problems(&s) }},
		{"comparison", func(m *markdown) { m.comparison(r.Baseline, s) }},
		{"phases", func(m *markdown) { m.phases(&s) }},
		{"timeline", func(m *markdown) { m.timeline(&s) }},
		{"stragglers", func(m *markdown) { m.stragglers(&s) }},
		{"agents", func(m *markdown) { m.agents(&s) }},
	} {
		var m markdown
		if part.write(&m); page.Len()+m.Len()+reserve > limit {
			missing = append(missing, part.name)
			continue
		}
		page.Write(m.Bytes())
	}
	if len(missing) > 0 && page.Len() > 0 {
		fmt.Fprintf(&page, "\nLeft out, since this page can not be larger: %s.\n", strings.Join(missing, ", "))
	}
	if _, err := w.Write(page.Bytes()); err != nil {
		return fmt.Errorf("write Markdown: %w", err)
	}
	return nil
}

// markdown is a part of the page.
type markdown struct{ bytes.Buffer }

func (m *markdown) line(format string, args ...any) { fmt.Fprintf(m, format+"\n", args...) }

// comparison is what changed since the baseline.
func (m *markdown) comparison(baseline *report.Summary, s report.Summary) {
	if baseline == nil {
		return
	}
	m.line("")
	_ = report.ComparisonMarkdown(m, report.Compare(*baseline, s)) // a buffer takes all
}

// timeline is a chart of text. In pre, as in code, GitHub makes no links and mentions.
func (m *markdown) timeline(s *report.Summary) {
	lines := report.Gantt(s, ganttAgents)
	if len(lines) == 0 {
		return
	}
	m.line("\n### Timeline\n\n<pre>")
	for _, line := range lines {
		m.line("%s", references(line))
	}
	m.line("</pre>")
}

// stragglers are the agents that phases waited for.
func (m *markdown) stragglers(s *report.Summary) {
	rows := s.WhatIfs()
	if len(rows) == 0 {
		return
	}
	m.line("\n### What phases waited for\n")
	m.line("| phase | last agent | its wall | median | waited | saved at median | saved all at once |")
	m.line("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
	for _, row := range rows[:min(len(rows), markdownRows)] {
		m.line("| %s | %s | %s |", code(row[0]), code(row[1]), strings.Join(row[2:], " | "))
	}
	m.more(len(rows))
	m.line("\nSaved: where no agent needs what another makes, and times stay as they were.")
}

func (m *markdown) head(s *report.Summary) {
	m.line("## %s: %s", code(cmp.Or(s.RunID, "a run")), s.Status)
	m.line("")
	if len(s.Command) > 0 {
		how := ""
		if s.ExitCode != nil {
			how = ", exit status " + strconv.Itoa(*s.ExitCode)
		}
		ran := "ran for"
		if s.EndUnknown() {
			ran = "ran for at least"
		}
		m.line("%s %s %s%s.", element(strings.Join(s.Command, " "), markdownMessage), ran, report.Duration(s.TotalWallMS), how)
		m.line("")
	}
	t := &s.Totals
	m.line("| agents | at once | tokens | tool uses | errors | lost | stalls | cost |")
	m.line("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	m.line("| %s | %s |", counts(t.AgentsSpawned, t.PeakParallelAgents, t.TotalTokens, t.TotalToolUses, t.Errors, t.Lost, t.Stalls), price(t.CostUSD))
}

func (m *markdown) phases(s *report.Summary) {
	if len(s.Phases) == 0 {
		return
	}
	m.line("\n### Phases\n")
	m.line("| phase | wall | agents | at once | tokens | tool uses | errors | stalls |")
	m.line("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	n := 0
	row := func(prefix string, p *report.Phase) {
		if n++; n <= markdownRows {
			m.line("| %s%s | %s | %s |", prefix, code(p.Name), report.Duration(p.WallMS), counts(p.Agents, p.MaxParallel, p.Tokens, p.ToolUses, p.Errors, p.Stalls))
		}
	}
	for i := range s.Phases {
		row("", &s.Phases[i])
		for k := range s.Phases[i].Depths {
			row("depth ", &s.Phases[i].Depths[k])
		}
	}
	m.more(n)
}

func (m *markdown) agents(s *report.Summary) {
	if len(s.Agents) == 0 {
		return
	}
	m.line("\n### Agents\n")
	m.line("| agent | kind | phase | status | wall | tokens | tool uses |")
	m.line("| --- | --- | --- | --- | ---: | ---: | ---: |")
	for i := range s.Agents[:min(len(s.Agents), markdownRows)] {
		a := &s.Agents[i]
		status := a.Status
		if a.Attempts > 1 {
			status += fmt.Sprintf(", %d attempts", a.Attempts)
		}
		m.line("| %s | %s | %s | %s | %s | %s |", code(a.Name), code(a.Kind), code(a.Phase), status, report.Duration(a.WallMS), counts(a.Tokens, a.ToolUses))
	}
	m.more(len(s.Agents))
}

func (m *markdown) problems(s *report.Summary) {
	type problem struct {
		atMS             int64
		sort, name, text string
	}
	var list []problem
	for _, f := range s.Errors {
		sort := f.Status
		if f.Kind == telemetry.KindTool || f.Kind == telemetry.KindLLM {
			sort = "failed " + f.Kind + " call"
		}
		list = append(list, problem{f.AtMS, sort, f.Name, f.Message})
	}
	for _, stall := range s.Stalls {
		text := "silent for " + report.Duration(stall.IdleMS)
		switch {
		case stall.Open:
			text += ", and never heard of again"
		case stall.ResumedMS != nil:
			text += ", resumed at " + report.Duration(*stall.ResumedMS)
		}
		list = append(list, problem{stall.AtMS, "stall", stall.Name, text})
	}
	for _, warning := range s.Warnings {
		list = append(list, problem{warning.AtMS, warning.Level, "", warning.Message})
	}
	if len(list) == 0 {
		return
	}
	slices.SortStableFunc(list, func(a, b problem) int { return cmp.Compare(a.atMS, b.atMS) })
	m.line("\n### Problems\n")
	m.line("| at | what | where | message |")
	m.line("| ---: | --- | --- | --- |")
	for _, p := range list[:min(len(list), markdownRows)] {
		m.line("| %s | %s | %s | %s |", report.Duration(p.atMS), code(p.sort), code(p.name), element(p.text, markdownMessage))
	}
	m.more(len(list))
}

func (m *markdown) more(n int) {
	if n > markdownRows {
		m.line("\nAnd %s more.", report.Count(int64(n-markdownRows)))
	}
}

// counts are the cells of numbers.
func counts(of ...int64) string {
	cells := make([]string, len(of))
	for i, n := range of {
		cells[i] = report.Count(n)
	}
	return strings.Join(cells, " | ")
}

func price(usd float64) string {
	if usd == 0 {
		return ""
	}
	return fmt.Sprintf("$%.2f", usd)
}

// referred are the characters that are written as references: what begins or ends
// markup, cells, links, mentions (@), issues (#) and emoji (:).
const referred = "\\`*_[]<>&|~@#:!$"

// code is a name that others gave.
func code(name string) string { return element(name, markdownName) }

// element is text of others, made visible and cut to so many characters. The dot of
// "www." would begin a link; underscores within words mean nothing, and names are
// full of them.
func element(text string, limit int) string {
	if text == "" {
		return ""
	}
	return "<code>" + references(shorten(report.Visible(text), limit)) + "</code>"
}

// references is visible text with what Markdown or HTML would act on as references.
func references(text string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == '_' && i > 0 && i+1 < len(text) && letterOrDigit(text[i-1]) && letterOrDigit(text[i+1]):
			b.WriteByte('_')
		case strings.ContainsRune(referred, r), r == '.' && i >= 3 && strings.EqualFold(text[i-3:i], "www"):
			fmt.Fprintf(&b, "&#%d;", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func letterOrDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
