package export

import (
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
}
