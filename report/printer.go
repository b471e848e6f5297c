package report

import (
	"cmp"
	"io"
	"slices"
	"strings"
)

// TextOptions say what the text is written to.
type TextOptions struct {
	// Width is the number of columns, 0 where there is no limit, as in a file.
	Width int
	// Color allows SGR colour escapes. Without it the text has no escapes at all.
	Color bool
}

// style is an SGR parameter, empty for none.
type style string

const (
	bold   style = "1"
	faint  style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

// Names can be as long as an event: without a width they still are no wall of text.
const longest = 240

// fragment is a piece of text in one style.
type fragment struct {
	text  string
	style style
}

// printer writes lines. All text goes through it, so nothing that a program
// called itself reaches the terminal unseen. The first error sticks.
type printer struct {
	w     io.Writer
	width int // 0: no limit
	color bool
	err   error
}

func newPrinter(w io.Writer, opt TextOptions) *printer {
	return &printer{w: w, width: max(0, opt.Width), color: opt.Color}
}

// line writes one line, cut to the width, without blanks at its end.
func (p *printer) line(fragments ...fragment) {
	left := longest
	if p.width > 0 {
		left = p.width
	}
	texts := make([]string, len(fragments))
	for i := range fragments {
		texts[i] = Visible(fragments[i].text)
	}
	trim(texts)
	for i := range texts {
		texts[i] = cut(texts[i], left)
		left -= cells(texts[i])
	}
	trim(texts)
	var b strings.Builder
	for i, text := range texts {
		p.styled(&b, text, fragments[i].style)
	}
	b.WriteByte('\n')
	p.write(b.String())
}

// trim takes the blanks from the end of the texts.
func trim(texts []string) {
	for i := len(texts) - 1; i >= 0; i-- {
		if texts[i] = strings.TrimRight(texts[i], " "); texts[i] != "" {
			return
		}
	}
}

// paragraph writes the heads and then the text on as many lines as it needs, up to
// maxLines.
func (p *printer) paragraph(text string, heads ...fragment) {
	const (
		maxLines = 12
		indent   = 9
	)
	text = Visible(text)
	width := longest
	if p.width > 0 {
		width = p.width
	}
	left := width
	for _, head := range heads {
		left -= cells(Visible(head.text))
	}
	if left < 8 { // heads that fill their line
		p.line(heads...)
		heads, left = nil, width
	}
	for n := 1; ; n++ {
		line := text
		if n < maxLines {
			line = beginning(text, left, width-indent)
		}
		p.line(append(heads, fragment{line, ""})...)
		if text = strings.TrimLeft(text[len(line):], " "); text == "" || n == maxLines {
			return
		}
		blank := min(indent, width/4)
		heads, left = []fragment{{strings.Repeat(" ", blank), ""}}, width-blank
	}
}

// beginning is the part of visible text that fits in width cells, up to the end
// of a word where there is one: nothing where the first word fits in the next
// line, which has so many cells.
func beginning(text string, width, next int) string {
	n, word := 0, 0
	for i, r := range text {
		if r == ' ' {
			word = i
		}
		if n += runeCells(r); n <= max(width, 2) {
			continue
		}
		first, _, _ := strings.Cut(text, " ")
		switch {
		case word > 0:
			return text[:word]
		case width < next && cells(first) <= next:
			return ""
		}
		return text[:i]
	}
	return text
}

// text writes one unstyled line.
func (p *printer) text(s string) { p.line(fragment{text: s}) }

func (p *printer) styled(b *strings.Builder, text string, s style) {
	if !p.color || s == "" || text == "" {
		b.WriteString(text)
		return
	}
	b.WriteString("\x1b[" + string(s) + "m" + text + "\x1b[0m")
}

func (p *printer) write(s string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, s)
	}
}

// column is a column of a table.
type column struct {
	head  string
	right bool // numbers stand on the right
	// flex columns hold names: they are cut where the line is too narrow.
	flex bool
	// keep orders the columns by how long they stay when the line gets narrow; the
	// lowest goes first.
	keep int
}

// table is rows of text under heads.
type table struct {
	columns []column
	rows    [][]fragment
}

const gap = 2 // cells between columns

func (t *table) row(cells ...fragment) { t.rows = append(t.rows, cells) }

// table writes the rows that fit the width, leaving out the columns that matter
// least where they all do not fit.
func (p *printer) table(t table) {
	texts := make([][]string, len(t.rows)+1) // visible, the heads first
	natural := make([]int, len(t.columns))
	for _, c := range t.columns {
		texts[0] = append(texts[0], c.head)
	}
	for i, row := range t.rows {
		for _, cell := range row {
			texts[i+1] = append(texts[i+1], Visible(cell.text))
		}
	}
	for _, row := range texts {
		for c, text := range row {
			natural[c] = min(longest/2, max(natural[c], cells(text)))
		}
	}
	widths := p.fit(t.columns, natural)
	for i, row := range texts {
		var b strings.Builder
		pad := 0
		for c, text := range row {
			if widths[c] == 0 {
				continue
			}
			text = strings.TrimRight(cut(text, widths[c]), " ")
			blank := widths[c] - cells(text)
			if text == "" { // nothing stands at the end of a line but text
				pad += blank + gap
				continue
			}
			s := faint
			if i > 0 {
				s = t.rows[i-1][c].style
			}
			if t.columns[c].right {
				pad, blank = pad+blank, 0
			}
			b.WriteString(strings.Repeat(" ", pad))
			p.styled(&b, text, s)
			pad = blank + gap
		}
		b.WriteByte('\n')
		p.write(b.String())
	}
}

// fit gives each column its width, 0 for those that are left out.
func (p *printer) fit(columns []column, natural []int) []int {
	widths := slices.Clone(natural)
	if p.width == 0 {
		return widths
	}
	least := min(16, max(4, p.width/2)) // of a name
	for {
		need, shown, drop := -gap, 0, -1
		for c, w := range widths {
			if w == 0 {
				continue
			}
			shown++
			if columns[c].flex {
				w = min(w, least)
			}
			need += w + gap
			if drop < 0 || columns[c].keep < columns[drop].keep {
				drop = c
			}
		}
		if shown == 1 && need > p.width {
			widths[drop] = min(widths[drop], p.width)
			return widths
		}
		if shown == 0 || need <= p.width {
			p.spread(columns, widths, least, p.width-need)
			return widths
		}
		widths[drop] = 0
	}
}

// spread gives what is left of the line to the names, those that matter most
// first.
func (p *printer) spread(columns []column, widths []int, least, left int) {
	var flex []int
	for c := range widths {
		if columns[c].flex && widths[c] > least {
			flex = append(flex, c)
		}
	}
	slices.SortStableFunc(flex, func(a, b int) int { return cmp.Compare(columns[b].keep, columns[a].keep) })
	for _, c := range flex {
		more := min(widths[c]-least, left)
		widths[c] = least + more
		left -= more
	}
}
