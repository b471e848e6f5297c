package report

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// textsOf are all texts about a summary and a comparison.
func textsOf(t testing.TB, s Summary, c Comparison, opt TextOptions) []string {
	t.Helper()
	var brief, text, comparison, list bytes.Buffer
	require.NoError(t, Brief(&brief, s, opt))
	require.NoError(t, Text(&text, s, opt))
	require.NoError(t, ComparisonText(&comparison, c, opt))
	require.NoError(t, ListText(&list, []Row{RowOf(s, "logs/x"), {RunID: "\x1b[2J", StartedAt: "yesterday"}}, opt))
	return []string{brief.String(), text.String(), comparison.String(), list.String()}
}

// checkText requires lines that fit, and nothing that a terminal or a CI system
// would act on.
func checkText(t testing.TB, text string, width int) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Fatalf("not valid UTF-8: %q", text)
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		t.Fatalf("the last line does not end: %q", text)
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if width > 0 && cells(line) > width {
			t.Fatalf("%d cells at a width of %d: %q", cells(line), width, line)
		}
		if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") || strings.Contains(line, "##vso[") {
			t.Fatalf("a CI system would act on %q", line)
		}
		if strings.HasSuffix(line, " ") {
			t.Fatalf("blanks at the end of %q", line)
		}
		for _, r := range line {
			if hidden(r) {
				t.Fatalf("%U in %q", r, line)
			}
		}
	}
}

func TestTextFitsEveryWidth(t *testing.T) {
	for _, dir := range runDirs(t) {
		s := loadSummary(t, dir)
		c := Compare(loadSummary(t, "../testdata/runs/eigenda-planned"), s)
		for _, width := range []int{0, 1, 2, 3, 4, 5, 7, 9, 12, 16, 20, 21, 25, 30, 37, 40, 50, 64, 80, 81, 100, 132, 200} {
			for _, text := range textsOf(t, s, c, TextOptions{Width: width}) {
				checkText(t, text, width)
			}
		}
	}
}

func TestTextWithoutAWidthCutsNoName(t *testing.T) {
	s := loadSummary(t, "../testdata/runs/eigenda-planned")
	texts := textsOf(t, s, Compare(s, s), TextOptions{})
	for _, a := range s.Agents {
		require.Contains(t, texts[1], a.Name)
	}
	require.NotContains(t, texts[1], "…")
	require.Contains(t, texts[0], "1,842,000 tokens, 847 tool uses, 45 analyses written")
	require.Contains(t, texts[1], "312,500 ms")
}

var sgr = regexp.MustCompile("\x1b\\[[0-9]+m")

// Colour changes nothing but the colour.
func TestColour(t *testing.T) {
	for _, name := range []string{"troubled", "eigenda-planned"} {
		s := loadSummary(t, filepath.Join("../testdata/runs", name))
		c := Compare(loadSummary(t, "../testdata/runs/eigenda-planned"), s)
		plain := textsOf(t, s, c, TextOptions{Width: 90})
		for i, coloured := range textsOf(t, s, c, TextOptions{Width: 90, Color: true}) {
			require.Contains(t, coloured, "\x1b[")
			require.Equal(t, plain[i], sgr.ReplaceAllString(coloured, ""))
			for line := range strings.Lines(coloured) {
				require.Equal(t, strings.Count(line, "\x1b["), 2*strings.Count(line, "\x1b[0m"), "every colour ends in its line")
			}
		}
	}
}

func TestTextSaysThatTheWriterFailed(t *testing.T) {
	s := loadSummary(t, "../testdata/runs/troubled")
	require.ErrorIs(t, Brief(broken{}, s, TextOptions{}), os.ErrClosed)
	require.ErrorIs(t, Text(broken{}, s, TextOptions{}), os.ErrClosed)
	require.ErrorIs(t, ComparisonText(broken{}, Compare(s, s), TextOptions{}), os.ErrClosed)
	require.ErrorIs(t, ListText(broken{}, nil, TextOptions{}), os.ErrClosed)
}

func TestLongListsAreCut(t *testing.T) {
	var s Summary
	for i := range 3 * textRows {
		s.Agents = append(s.Agents, Agent{ID: fmt.Sprint(i), Name: fmt.Sprintf("agent %d", i), Status: "done"})
		s.Warnings = append(s.Warnings, Warning{Level: "warn", Message: "w"})
		s.CriticalPath = append(s.CriticalPath, Step{Name: "s"})
	}
	var b, brief bytes.Buffer
	require.NoError(t, Text(&b, s, TextOptions{Width: 80}))
	require.Equal(t, 3, strings.Count(b.String(), "and 1,000 more: --format json has all"))
	require.NoError(t, Brief(&brief, s, TextOptions{Width: 80}))
	require.Less(t, strings.Count(brief.String(), "\n"), 16)
	require.Contains(t, brief.String(), "and 1,492 more")
}

func TestParagraph(t *testing.T) {
	for _, tc := range []struct {
		width      int
		head, text string
		want       string
	}{
		{0, "a: ", "one two", "a: one two\n"},
		{20, "a: ", "one two three four five six", "a: one two three\n     four five six\n"},
		{20, "a name that is long: ", "one two", "a name that is long:\none two\n"},
		{10, "", "abcdefghijklmnopqrstuv", "abcdefghij\n  klmnopqr\n  stuv\n"},
		{24, "twelve cells ", "abcdefghijklmn o", "twelve cells\n      abcdefghijklmn o\n"},
		{12, "x ", "one ::error::two", "x one\n   \\x3a:err…\n   two\n"},
		{10, "", "", "\n"},
	} {
		var b bytes.Buffer
		newPrinter(&b, TextOptions{Width: tc.width}).paragraph(tc.text, fragment{tc.head, ""})
		require.Equal(t, tc.want, b.String())
	}
	var b bytes.Buffer
	newPrinter(&b, TextOptions{Width: 20}).paragraph(strings.Repeat("word ", 1000))
	require.Equal(t, 12, strings.Count(b.String(), "\n"))
	require.Contains(t, b.String(), "…\n")
}

func TestVerdict(t *testing.T) {
	code := func(n int) *int { return &n }
	for want, s := range map[string]Summary{
		"r  ok in 1.00s, exit status 0":                                     {RunID: "r", Status: "ok", TotalWallMS: 1000, ExitCode: code(0), ObsrunExit: code(0)},
		"r  ok in 1.00s, exit status 0, obsrun's exit status 3":             {RunID: "r", Status: "ok", TotalWallMS: 1000, ExitCode: code(0), ObsrunExit: code(3)},
		"r  interrupted in 0ms, exit status 143 (TERM)":                     {RunID: "r", Status: "interrupted", ExitCode: code(143), Signal: "TERM"},
		"r  error in 3ms, obsrun's exit status 127":                         {RunID: "r", Status: "error", TotalWallMS: 3, ObsrunExit: code(127)},
		"(a run without an id)  running for 2h 00m 00s":                     {Status: "running", TotalWallMS: 7200000},
		`\x1b[31m  \x1bc in 0ms`:                                            {RunID: "\x1b[31m", Status: "\x1bc"},
		"r  error in 0ms, exit status 137 (KILL), obsrun's exit status 124": {RunID: "r", Status: "error", ExitCode: code(137), Signal: "KILL", ObsrunExit: code(124)},
	} {
		var b bytes.Buffer
		require.NoError(t, Brief(&b, s, TextOptions{}))
		first, _, _ := strings.Cut(b.String(), "\n")
		require.Equal(t, want, first)
	}
}

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"plain name":            "plain name",
		"naïve 魚 🐟":             "naïve 魚 🐟",
		"a\tb\nc\rd":            `a\tb\nc\rd`,
		"\x1b[31mred":           `\x1b[31mred`,
		"\x00\x07\x7f":          `\x00\x07\x7f`,
		"\u009b31m":             `\u{9b}31m`,
		"bad \xff\xfe":          `bad \xff\xfe`,
		"a\u202eb\u2066c\u200b": `a\u{202e}b\u{2066}c\u{200b}`,
		"l\u2028p\u2029":        `l\u{2028}p\u{2029}`,
		"\U000e0041tag":         `\u{e0041}tag`,
		"::error::x":            `\x3a:error::x`,
		"  ::error::x":          `  \x3a:error::x`,
		"a::b":                  "a::b",
		"std::vector":           "std::vector",
		"# heading":             "# heading",
		"##[error]x":            `#\x23[error]x`,
		"x ##vso[task]":         `x #\x23vso[task]`,
		"##teamcity[x]":         `#\x23teamcity[x]`,
		"### title":             "### title",
		"e\u0301":               "e\u0301",
		"e\u0301\u0301\u0301":   "e\u0301\u0301" + `\u{301}`,
	} {
		require.Equal(t, want, Visible(in), "%q", in)
	}
}

func TestCells(t *testing.T) {
	for in, want := range map[string]int{
		"": 0, "abc": 3, "é": 1, "e\u0301": 1, "魚": 2, "한글": 4, "🐟": 2, "…": 1, "█": 1, "ｗ": 2,
	} {
		require.Equal(t, want, cells(in), in)
	}
	for _, s := range []string{"abcdef", "魚魚魚", "a魚b🐟c", "e\u0301e\u0301e\u0301"} {
		for width := range 8 {
			got := cut(s, width)
			require.LessOrEqual(t, cells(got), width, "%q at %d", s, width)
			if cells(s) <= width {
				require.Equal(t, s, got)
			} else if width > 0 {
				require.True(t, strings.HasSuffix(got, "…"), "%q at %d", s, width)
			}
		}
	}
}

func FuzzVisible(f *testing.F) {
	for _, s := range []string{"::error::", "##vso[a", "\x1b]8;;\x07", "魚\u0301\u0301\u0301", "\xff", "##\x00[x"} {
		f.Add(s, 10)
	}
	f.Fuzz(func(t *testing.T, s string, width int) {
		out := Visible(s)
		checkText(t, strings.TrimRight(out, " ")+"\n", 0)
		if Visible(out) != out {
			t.Fatalf("%q becomes %q becomes %q", s, out, Visible(out))
		}
		if short := cut(out, width%200); cells(short) > max(0, width%200) {
			t.Fatalf("%q is too long", short)
		}
	})
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 7: "7", 999: "999", 1000: "1,000", 1842000: "1,842,000", -1234567: "-1,234,567",
		math.MinInt64: "-9,223,372,036,854,775,808",
	} {
		require.Equal(t, want, count(n))
	}
	for ms, want := range map[int64]string{
		0: "0ms", 999: "999ms", 1000: "1.00s", 1200: "1.20s", 14820: "14.82s", 59994: "59.99s", 59995: "1m 00.0s",
		68400: "1m 08.4s", 312500: "5m 12.5s", 3599949: "59m 59.9s", 3599950: "1h 00m 00s", 7392000: "2h 03m 12s",
		-1700: "-1.70s", 360000000: "100h 00m 00s", 4000000000000: "1,111,111h 06m 40s",
	} {
		require.Equal(t, want, duration(ms), "%d", ms)
	}
	require.NotEmpty(t, duration(math.MinInt64))
	for usd, want := range map[float64]string{
		0: "$0", 0.0123: "$0.0123", 0.99999: "$1.0000", 1.5: "$1.50", 1234.567: "$1,234.57", -2: "-$2.00", 1e300: "$1e+300",
	} {
		require.Equal(t, want, cost(usd), "%v", usd)
	}
	for ms, want := range map[int64]string{
		0: "+0:00.0", 12345: "+0:12.3", 75000: "+1:15.0", 3600000: "+1:00:00.0", -1500: "-0:01.5",
	} {
		require.Equal(t, want, clock(ms))
	}
	require.NotEmpty(t, clock(math.MinInt64))
	p := func(f float64) *float64 { return &f }
	require.Equal(t, "n/a", percentage(nil))
	require.Equal(t, "0%", percentage(p(0)))
	require.Equal(t, "+12.3%", percentage(p(12.34)))
	require.Equal(t, "-100.0%", percentage(p(-100)))
	require.Equal(t, "+12346%", percentage(p(12345.6)))
	require.Equal(t, "+1.0e+18%", percentage(p(1e18)))
	require.Equal(t, "no errors", some(0, "error"))
	require.Equal(t, "1 error", some(1, "error"))
	require.Equal(t, "1,000 errors", some(1000, "error"))
}

func TestBars(t *testing.T) {
	ms := func(n int64) *int64 { return &n }
	for _, tc := range []struct {
		start       *int64
		wall, total int64
		want        string
	}{
		{ms(0), 100, 100, "██████████"},
		{ms(50), 50, 100, "     █████"},
		{nil, 30, 100, "███       "},
		{ms(0), 1, 100000, "█         "},
		{ms(99999), 1, 100000, "         █"},
		{ms(50), 0, 100, "          "},
		{ms(-50), 100, 100, "█████     "},
		{ms(1 << 60), 1 << 60, 1, "         █"},
		{ms(50), 50, 0, "█         "},
	} {
		require.Equal(t, tc.want, bar(&Phase{StartMS: tc.start, WallMS: tc.wall}, tc.total, 10))
	}
}

func TestShellWords(t *testing.T) {
	require.Equal(t, `./analyze 'two words' '' 'it'\''s' --a=b '$HOME'`, shellWords([]string{"./analyze", "two words", "", "it's", "--a=b", "$HOME"}))
}

func TestList(t *testing.T) {
	s := loadSummary(t, "../testdata/runs/eigenda-planned")
	other := loadSummary(t, "../testdata/runs/troubled")
	rows := []Row{RowOf(s, "logs/eigenda"), RowOf(other, "logs/troubled")}
	var b bytes.Buffer
	require.NoError(t, ListText(&b, rows, TextOptions{}))
	require.Equal(t, `RUN                       STARTED (UTC)        STATUS      WALL  AGENTS     TOKENS  ERRORS
eigenda-20260408-abc123   2026-04-08 00:00:00  ok      5m 12.5s      35  1,842,000       0
troubled-20260408-0badf0  2026-04-08 00:00:00  error   5m 00.0s      14     13,563       3
`, b.String())
	require.JSONEq(t, `[{"run_id":"eigenda-20260408-abc123","status":"ok","started_at":"2026-04-08T00:00:00.123Z","total_wall_ms":312500,
		"agents_spawned":35,"total_tokens":1842000,"errors":0,"lost":0,"dir":"logs/eigenda"}]`, string(documentOf(t, rows[:1])))
}
