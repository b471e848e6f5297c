package export

import (
	"bytes"
	"fmt"
	"html"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/report"
)

func TestCode(t *testing.T) {
	for text, want := range map[string]string{
		"":                 "",
		"lib-encoding":     "<code>lib-encoding</code>",
		"library_depth_0":  "<code>library_depth_0</code>",
		"_a_":              "<code>&#95;a&#95;</code>",
		"a|b":              "<code>a&#124;b</code>",
		"a\nb":             `<code>a&#92;nb</code>`,
		"`<b>`":            "<code>&#96;&#60;b&#62;&#96;</code>",
		"@octocat":         "<code>&#64;octocat</code>",
		"https://evil.com": "<code>https&#58;//evil.com</code>",
		"WWW.evil.com":     "<code>WWW&#46;evil.com</code>",
		"&lt;":             "<code>&#38;lt;</code>",
	} {
		assert.Equal(t, want, code(text))
	}
	assert.Less(t, len(code(strings.Repeat("魚", 10_000))), 1000)
}

// Of the text of others nothing is left that Markdown, HTML or GitHub act on, and
// every row has its cells.
func TestMarkdownIsInert(t *testing.T) {
	elements := regexp.MustCompile(`<code>([^<>]*)</code>`)
	harmful, texts := hostile(t)
	for _, r := range []Run{harmful, recorded(t, "troubled"), recorded(t, "eigenda-planned")} {
		b := string(written(t, "markdown", r))
		chart := regexp.MustCompile(`(?s)<pre>\n(.*?)</pre>\n`)
		require.NotRegexp(t, "[\\\\<>`\\[\\]@~|:]|[^&]#", chart.FindStringSubmatch(b)[1])
		b = chart.ReplaceAllString(b, "")
		cells := 0
		for line := range strings.Lines(b) {
			for _, m := range elements.FindAllStringSubmatch(line, -1) {
				inside := regexp.MustCompile(`&#\d+;`).ReplaceAllString(m[1], "")
				require.NotRegexp(t, "[]\\\\`*\\[|~@#:!$&]|www\\.", inside, line)
			}
			rest := elements.ReplaceAllString(line, "")
			require.NotRegexp(t, "[<>`\\[\\]@&\\\\]", rest, line)
			if !strings.HasPrefix(line, "|") {
				cells = 0
				continue
			}
			if cells == 0 {
				cells = strings.Count(line, "|")
			}
			require.Equal(t, cells, strings.Count(line, "|"), line)
		}
	}
	b := string(written(t, "markdown", harmful))
	for _, text := range texts {
		assert.Contains(t, html.UnescapeString(b), "<code>"+shorten(report.Visible(text), markdownMessage)+"</code>")
	}
}

// A step summary has a limit.
func TestMarkdownEnds(t *testing.T) {
	lines := []string{`{"event":"span_start","span_id":"r","kind":"run","attrs":{"run_id":"x"},"ts":1000,"source":"obsrun","recv_ms":0}`}
	for i := range 1000 {
		lines = append(lines, fmt.Sprintf(`{"event":"span_end","span_id":"%d","kind":"agent","name":%q,"phase":"p%d","status":"error","error":%q,"ts":1001,"source":"socket","recv_ms":1000}`,
			i, strings.Repeat("|", 1000), i, strings.Repeat("<", 1000)))
	}
	b := written(t, "markdown", folded(t, lines...))
	assert.Less(t, len(b), 1<<20)
	assert.Contains(t, string(b), "And 800 more.")
	assert.NotContains(t, string(b), "Left out")
	assert.Equal(t, 2, strings.Count(string(b), "\nand 960 more"), "agents and phases of the chart")
}

// What does not fit is left out in whole parts, and what is there stays a page.
func TestMarkdownWithin(t *testing.T) {
	r := recorded(t, "troubled")
	whole := string(written(t, "markdown", r))
	for limit := 0; limit < len(whole)+300; limit += 37 {
		var b bytes.Buffer
		require.NoError(t, MarkdownWithin(&b, r, limit))
		require.LessOrEqual(t, b.Len(), limit)
		parts, missing, cutOff := strings.Cut(b.String(), "\nLeft out, since this page can not be larger: ")
		require.Equal(t, b.Len() > 0 && parts != whole, cutOff, limit)
		for part := range strings.SplitSeq(parts, "\n### ") {
			require.Contains(t, whole, part)
		}
		if cutOff {
			require.Regexp(t, `\A(problems|phases|timeline|stragglers|agents)(, (phases|timeline|stragglers|agents))*\.\n\z`, missing)
		}
	}
}

// With a baseline it says what changed.
func TestMarkdownCompares(t *testing.T) {
	r, before := recorded(t, "troubled"), report.Summarize(recorded(t, "eigenda-planned").State)
	assert.NotContains(t, string(written(t, "markdown", r)), "Comparison")
	r.Baseline = &before
	b := string(written(t, "markdown", r))
	assert.Regexp(t, `(?s)\A## .*\n\n### Problems\n.*\n\n### Comparison of two runs\n\n- \*\*A\*\* eigenda`, b)
}
