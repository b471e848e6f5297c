package report

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// markdownRows bounds the rows of a Markdown table: pages that show them, such as a
// CI step's summary, take no more than some hundred KiB.
const markdownRows = 100

// markdown writes Markdown in the GitHub flavour. The first error sticks.
type markdown struct {
	w   io.Writer
	err error
}

func (m *markdown) line(format string, args ...any) {
	if m.err == nil {
		_, m.err = fmt.Fprintf(m.w, format+"\n", args...)
	}
}

// escapes are the characters that Markdown or HTML would act on.
var escapes = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;", "&", "&amp;",
	"|", `\|`, "#", `\#`, "~", `\~`, "@", "&#64;", "://", "&#58;//",
)

// cell is text of others, safe within a table.
func (m *markdown) cell(s string) string { return escapes.Replace(cut(Visible(s), longest/2)) }

// table writes a table. Of the columns only the first is text, the rest are on the
// right. The rows are safe already.
func (m *markdown) table(heads []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	m.line("| %s |", strings.Join(heads, " | "))
	m.line("| :-- |%s", strings.Repeat(" --: |", len(heads)-1))
	for i, row := range rows {
		if i == markdownRows {
			m.line("")
			m.line("and %s more: `--format json` has all", count(int64(len(rows)-i)))
			break
		}
		m.line("| %s |", strings.Join(row, " | "))
	}
	m.line("")
}

// ComparisonMarkdown writes the comparison for a page: a CI step's summary, a pull
// request. Names of others are escaped.
func ComparisonMarkdown(w io.Writer, c Comparison) error {
	m := &markdown{w: w}
	m.line("### Comparison of two runs")
	m.line("")
	for _, side := range []struct {
		letter string
		*RunRef
	}{{"A", &c.A}, {"B", &c.B}} {
		m.line("- **%s** %s: %s, %s %s", side.letter, m.cell(cmp.Or(side.RunID, "?")), m.cell(side.Status), m.cell(side.StartedAt), m.cell(side.SourceCommit))
	}
	for _, note := range c.Notes {
		m.line("- Note: %s", m.cell(note))
	}
	for _, crossing := range c.Crossed {
		m.line("- :x: **%s**: %s", m.cell(crossing.Threshold), m.cell(crossing.Reason))
	}
	m.line("")
	row := func(name string, v *Change) []string {
		return []string{name, v.shown(v.A).text, v.shown(v.B).text, v.unit.change(v.Diff), percentage(v.Percent)}
	}
	var rows [][]string
	totals := c.Totals.largestFirst()
	for i := range totals {
		if v := &totals[i]; i == 0 || !zero(v.A) || !zero(v.B) {
			rows = append(rows, row(v.title, v))
		}
	}
	m.table([]string{"Total", "A", "B", "Change", "Percent"}, rows)
	m.causes(c.Causes)
	rows = nil
	for i := range c.Phases {
		if wall, ok := c.Phases[i].Values.Find("wall_ms"); ok {
			rows = append(rows, row(m.named(c.Phases[i].Name, c.Phases[i].In), &wall))
		}
	}
	m.table([]string{"Phase, wall", "A", "B", "Change", "Percent"}, rows)
	rows = nil
	for i := range c.Agents {
		a := &c.Agents[i]
		if !a.changed() {
			continue
		}
		wall, _ := a.Values.Find("wall_ms")
		tokens, _ := a.Values.Find("tokens")
		name := m.named(a.Name, a.In)
		if moved := a.moved(); moved != "" && a.In == Both {
			name += " (" + m.cell(moved) + ")"
		}
		rows = append(rows, append(row(name, &wall), tokens.unit.change(tokens.Diff)))
	}
	m.table([]string{"Agent, wall", "A", "B", "Change", "Percent", "Tokens"}, rows)
	return m.err
}

// SetComparisonMarkdown writes the comparison of two sets for a page, the verdict
// first.
func SetComparisonMarkdown(w io.Writer, c SetComparison) error {
	m := &markdown{w: w}
	mark := map[Verdict]string{Pass: ":white_check_mark:", Regressed: ":x:", Inconclusive: ":grey_question:"}[c.Verdict]
	m.line("### %s %s", mark, c.Verdict)
	m.line("")
	m.line("%s", escapes.Replace(Visible(c.Reason)))
	m.line("")
	for _, side := range []struct {
		letter string
		*SetRef
	}{{"A", &c.A}, {"B", &c.B}} {
		m.line("- **%s** %s: %s", side.letter, m.cell(side.Name), some(int64(len(side.Runs)), "run"))
	}
	for _, note := range c.Notes {
		m.line("- Note: %s", m.cell(note))
	}
	for _, crossing := range c.Crossed {
		m.line("- :x: **%s**: %s", m.cell(crossing.Threshold), m.cell(crossing.Reason))
	}
	m.line("")
	row := func(name string, v *Shift) []string {
		return []string{name, v.both(&v.A), v.both(&v.B), v.unit.change(v.Diff), percentage(v.Percent), v.pText(), string(v.Verdict)}
	}
	heads := []string{"A", "B", "Change", "Percent", "p", "Verdict"}
	var rows [][]string
	totals := c.Totals.largestFirst()
	for i := range totals {
		if v := &totals[i]; i == 0 || v.A.Max != 0 || v.B.Max != 0 {
			rows = append(rows, row(v.title, v))
		}
	}
	m.table(append([]string{"Total"}, heads...), rows)
	m.line("Medians and ranges; p by Mann-Whitney U; a difference counts where p &lt; %g.", c.Alpha)
	m.line("")
	m.causes(c.Causes)
	rows = nil
	for i := range c.Phases {
		if wall := c.Phases[i].Values.Find("wall_ms"); wall != nil {
			rows = append(rows, row(m.named(c.Phases[i].Name, c.Phases[i].In), wall))
		}
	}
	m.table(append([]string{"Phase, wall"}, heads...), rows)
	rows = nil
	for i := range c.Agents {
		a := &c.Agents[i]
		note, wall := a.moved(len(c.A.Runs), len(c.B.Runs)), a.Values.Find("wall_ms")
		if note == "" && !slices.ContainsFunc(a.Values, func(s Shift) bool { return math.Round(s.Diff) != 0 }) {
			continue
		}
		name := m.cell(a.Name)
		if note != "" {
			name += " (" + m.cell(note) + ")"
		}
		rows = append(rows, row(name, wall))
	}
	m.table(append([]string{"Agent, wall"}, heads...), rows)
	return m.err
}

// both are the median and the range.
func (s *Shift) both(sample *Sample) string {
	text := s.shown(sample).text
	if spread := s.spread(sample).text; spread != "" {
		text += " (" + spread + ")"
	}
	return text
}

func (m *markdown) named(name string, in Presence) string {
	name = m.cell(name)
	if in != Both {
		name += " (" + string(in) + ")"
	}
	return name
}

func (m *markdown) causes(list []Cause) {
	var rows [][]string
	for i := range list {
		c := &list[i]
		if c.Effect == nil || math.Round(*c.Effect) == 0 {
			continue
		}
		of := "wall"
		if c.Of == "total_tokens" {
			of = "tokens"
		}
		rows = append(rows, []string{c.title, c.unit.text(*c.A), c.unit.text(*c.B), c.effect.change(math.Round(*c.Effect)) + " " + of})
	}
	if len(rows) == 0 {
		return
	}
	m.table([]string{"Cause", "A", "B", "Effect"}, rows)
	for _, text := range notKnown(list) {
		m.line("%s", text)
		m.line("")
	}
}
