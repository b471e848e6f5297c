package export

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

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

// Markdown writes the summary in GitHub Flavored Markdown
// (https://github.github.com/gfm/): how the run ended, its phases, its agents, what
// went wrong. All text of others is in code elements, with every character that
// means something to Markdown or HTML as a character reference: it can make no
// link, no markup, no further cell, and mention nobody. Tables end after 200 rows.
func Markdown(w io.Writer, r Run) error {
	s := report.Summarize(r.State)
	m := &markdown{bufio.NewWriter(w)}
	m.head(&s)
	m.phases(&s)
	m.agents(&s)
	m.problems(&s)
	if err := m.Flush(); err != nil {
		return fmt.Errorf("write Markdown: %w", err)
	}
	return nil
}

// markdown writes; the first error is kept until Flush.
type markdown struct{ *bufio.Writer }

func (m *markdown) line(format string, args ...any) { fmt.Fprintf(m, format+"\n", args...) }

func (m *markdown) head(s *report.Summary) {
	m.line("## %s: %s", code(cmp.Or(s.RunID, "a run")), s.Status)
	m.line("")
	if len(s.Command) > 0 {
		how := ""
		if s.ExitCode != nil {
			how = ", exit status " + strconv.Itoa(*s.ExitCode)
		}
		m.line("%s ran for %s%s.", element(strings.Join(s.Command, " "), markdownMessage), took(s.TotalWallMS), how)
		m.line("")
	}
	t := &s.Totals
	m.line("| agents | at once | tokens | tool uses | errors | lost | stalls | cost |")
	m.line("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	m.line("| %d | %d | %d | %d | %d | %d | %d | %s |", t.AgentsSpawned, t.PeakParallelAgents, t.TotalTokens, t.TotalToolUses, t.Errors, t.Lost, t.Stalls, price(t.CostUSD))
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
			m.line("| %s%s | %s | %d | %d | %d | %d | %d | %d |", prefix, code(p.Name), took(p.WallMS), p.Agents, p.MaxParallel, p.Tokens, p.ToolUses, p.Errors, p.Stalls)
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
		m.line("| %s | %s | %s | %s | %s | %d | %d |", code(a.Name), code(a.Kind), code(a.Phase), status, took(a.WallMS), a.Tokens, a.ToolUses)
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
		text := "silent for " + took(stall.IdleMS)
		switch {
		case stall.Open:
			text += ", and never heard of again"
		case stall.ResumedMS != nil:
			text += ", resumed at " + took(*stall.ResumedMS)
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
		m.line("| %s | %s | %s | %s |", took(p.atMS), code(p.sort), code(p.name), element(p.text, markdownMessage))
	}
	m.more(len(list))
}

func (m *markdown) more(n int) {
	if n > markdownRows {
		m.line("\nAnd %d more.", n-markdownRows)
	}
}

// took is a duration, as in 1m8.4s.
func took(ms int64) string {
	if ms > int64(1<<62)/int64(time.Millisecond) {
		return strconv.FormatInt(ms, 10) + "ms"
	}
	return (time.Duration(ms) * time.Millisecond).String()
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
	var b strings.Builder
	b.WriteString("<code>")
	text = shorten(report.Visible(text), limit)
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
	b.WriteString("</code>")
	return b.String()
}

func letterOrDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
