package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
)

func TestUsageLine(t *testing.T) {
	gateway := run.Capture{Source: "gateway", LLMCalls: 861, LLMCallsWithUsage: 861, Tokens: 1_842_000}
	otlp := run.Capture{Source: "otlp", LLMCalls: 861, LLMCallsWithUsage: 847, Tokens: 1_834_700}
	with := func(c run.Capture, calls, tokens int64) run.Capture {
		c.LLMCalls, c.LLMCallsWithUsage, c.Tokens = calls, calls, tokens
		return c
	}
	for name, tc := range map[string]struct {
		sources      []run.Capture
		calls, usage int64
		stray        int64 // tokens
		want         string
	}{
		"no calls":                      {[]run.Capture{{Source: "socket", Tokens: 12}}, 0, 0, 0, ""},
		"one source":                    {[]run.Capture{gateway}, 861, 861, 0, "861/861 LLM calls had usage"},
		"one call":                      {[]run.Capture{with(gateway, 1, 9)}, 1, 1, 0, "1/1 LLM call had usage"},
		"not all had it":                {[]run.Capture{otlp}, 861, 847, 0, "847/861 LLM calls had usage; tokens are a lower bound"},
		"two sources, the same calls":   {[]run.Capture{gateway, otlp}, 861, 861, 0, "861/861 LLM calls had usage; sources agree within 0.4 %"},
		"and not all had it":            {[]run.Capture{gateway, otlp}, 861, 847, 0, "847/861 LLM calls had usage; sources agree within 0.4 %; tokens are a lower bound"},
		"to the token":                  {[]run.Capture{gateway, with(otlp, 861, 1_842_000)}, 861, 861, 0, "861/861 LLM calls had usage; sources agree exactly"},
		"nearly":                        {[]run.Capture{gateway, with(otlp, 861, 1_841_999)}, 861, 861, 0, "861/861 LLM calls had usage; sources agree within 0.1 %"},
		"other calls":                   {[]run.Capture{gateway, otlp}, 1722, 1708, 0, "1,708/1,722 LLM calls had usage; tokens are a lower bound"},
		"half of them the same":         {[]run.Capture{gateway, with(otlp, 430, 900_000)}, 861, 861, 0, "861/861 LLM calls had usage"},
		"all but a few the same":        {[]run.Capture{gateway, with(otlp, 847, 1_800_000)}, 861, 861, 0, "861/861 LLM calls had usage; sources agree within 2.3 %"},
		"the same calls, without usage": {[]run.Capture{gateway, {Source: "otlp", LLMCalls: 861}}, 861, 861, 0, "861/861 LLM calls had usage"},
		"calls that nobody else knows":  {[]run.Capture{gateway, otlp}, 861, 861, 1_842_000, "861/861 LLM calls had usage"},
		"a few that nobody else knows":  {[]run.Capture{gateway, otlp}, 861, 861, 2_000, "861/861 LLM calls had usage; sources agree within 0.4 %"},
		"three sources": {
			[]run.Capture{gateway, otlp, with(run.Capture{Source: "tool_calls"}, 861, 1_800_000)}, 861, 861, 0,
			"861/861 LLM calls had usage; sources agree within 2.3 %",
		},
		"three, and one saw others": {
			[]run.Capture{gateway, otlp, with(run.Capture{Source: "tool_calls"}, 500, 100_000)}, 1361, 1361, 0, "1,361/1,361 LLM calls had usage",
		},
		"agents beside calls": {[]run.Capture{gateway, {Source: "burr", Tokens: 5}}, 861, 861, 0, "861/861 LLM calls had usage"},
		"absurd":              {[]run.Capture{with(gateway, maxCount, maxCount), with(otlp, maxCount, 1)}, 1, 1, 0, "1/1 LLM call had usage; sources differ by 100.0 %"},
		"one is wrong":        {[]run.Capture{gateway, with(otlp, 861, 921_000)}, 861, 861, 0, "861/861 LLM calls had usage; sources differ by 50.0 %"},
	} {
		t.Run(name, func(t *testing.T) {
			s := Summary{Sources: tc.sources, Totals: Totals{LLMCalls: tc.calls, LLMCallsWithUsage: tc.usage, TokenSources: map[string]int64{"unattributed": tc.stray}}}
			require.Equal(t, tc.want, s.usageLine())
		})
	}
}

// The same calls told by two sources, through the fold.
func TestSourcesAgree(t *testing.T) {
	lines := []string{rootStart, `{"event":"span_start","span_id":"a","kind":"agent","ts":1001,"source":"otlp","recv_ms":1}`}
	call := func(source, id, tokens string) string {
		return `{"event":"span_end","span_id":"` + source + id + `","parent":"a","kind":"llm","attrs":{"call_id":"` + id + `"},"call_id":"` + id +
			`","tokens":` + tokens + `,"ts":1002,"source":"` + source + `","recv_ms":2}`
	}
	lines = append(lines, call("otlp", "c1", "1000"), call("otlp", "c2", "990"), call("gateway", "c1", "1000"), call("gateway", "c2", "1000"), rootEnd)
	s := summaryOf(t, lines...)
	require.Equal(t, "2/2 LLM calls had usage; sources agree within 0.5 %", s.usageLine())
	require.Len(t, s.Sources, 2)
}

const sourcesTold = `{"event":"span_update","span_id":"r","attrs":{"sources":{` +
	`"otlp":{"on":true,"why":"exporters are pointed here","hint":"OTEL_SDK_DISABLED is set: it is off"},` +
	`"socket":{"on":true,"why":"programs find it"},"process":{"on":true,"why":"looked at"},` +
	`"burr":{"on":false,"why":"switched off by --source burr=off"}}},"ts":1000.5,"source":"obsrun","recv_ms":5}`

func textAndBrief(t *testing.T, s Summary) (text, brief string) {
	t.Helper()
	var a, b bytes.Buffer
	require.NoError(t, Text(&a, s, TextOptions{}))
	require.NoError(t, Brief(&b, s, TextOptions{}))
	return a.String(), b.String()
}

func TestNothingWasCaptured(t *testing.T) {
	process := `{"event":"span_start","span_id":"p","kind":"process","ts":1001,"source":"process","recv_ms":1}`
	text, brief := textAndBrief(t, summaryOf(t, rootStart, sourcesTold, process, rootEnd))
	for _, got := range []string{text, brief} {
		require.Contains(t, got, "nothing was captured: no agents, phases or tokens were reported\n")
		require.Contains(t, got, "obsrun doctor -- x shows what would be, and what stands in the way\n")
		require.Contains(t, got, "hint OTEL_SDK_DISABLED is set: it is off\n")
		require.NotContains(t, got, "from process")
	}
	require.Contains(t, text, "\nSOURCE   STATE  EVENTS  SPANS")
	require.Contains(t, text, "\nburr     off         0      0          0       0  switched off by --source burr=off\n")
	require.NotContains(t, text, "programs find it", "a reason is for what is off")

	_, brief = textAndBrief(t, summaryOf(t, rootStart, sourcesTold, process))
	require.Contains(t, brief, "nothing was captured")
	require.NotContains(t, brief, "obsrun doctor", "the run lasts")
	require.NotContains(t, brief, "hint")

	_, brief = textAndBrief(t, summaryOf(t, rootStart, `{"event":"span_end","span_id":"r","status":"error","attrs":{"exit_code":127,"obsrun_exit":127,"error":"run x: not found"},"ts":1010,"source":"obsrun","recv_ms":10000}`))
	require.NotContains(t, brief, "obsrun doctor", "it did not start")
}

func TestHintsAreForSilence(t *testing.T) {
	agent := `{"event":"span_start","span_id":"a","kind":"agent","ts":1001,"source":"socket","recv_ms":1}`
	tokens := `{"event":"span_update","span_id":"a","tokens":12,"ts":1002,"source":"socket","recv_ms":2}`
	text, brief := textAndBrief(t, summaryOf(t, rootStart, sourcesTold, agent, rootEnd))
	for _, got := range []string{text, brief} {
		require.Contains(t, got, "hint OTEL_SDK_DISABLED", "no tokens came")
		require.NotContains(t, got, "nothing was captured")
	}
	require.Contains(t, brief, "from socket (1 span)\n")
	text, brief = textAndBrief(t, summaryOf(t, rootStart, sourcesTold, agent, tokens, rootEnd))
	require.NotContains(t, text+brief, "hint")
	require.Contains(t, brief, "from socket (1 span, 12 tokens)\n")
}

func TestSummaryRefusesAbsurdSources(t *testing.T) {
	_, err := ParseSummary([]byte(`{"run_id":"x","total_wall_ms":1,"phases":{},"totals":{},"sources":[{"source":"otlp","tokens":-1}]}`))
	require.ErrorContains(t, err, `-1 of source "otlp" is what no run has`)
}

func TestFindingsStandByLevel(t *testing.T) {
	d := NewDiagnosis("v1")
	for _, f := range []Finding{{LevelNote, "", "n1"}, {LevelWarn, "otlp", "w1"}, {LevelError, "", "e1"}, {LevelNote, "", "n2"}, {LevelWarn, "", "w1"}, {LevelError, "", "e2"}, {LevelWarn, "", "w2"}} {
		d.Find(f.Level, f.Source, f.Text)
	}
	var got []string
	for _, f := range d.Findings {
		got = append(got, f.Text)
	}
	require.Equal(t, []string{"e1", "e2", "w1", "w2", "n1", "n2"}, got)
}

func TestDiagnosisText(t *testing.T) {
	value := "http://127.0.0.1:PORT"
	d := NewDiagnosis("v1")
	d.Exit = 126
	d.Command = &Program{Args: []string{"./a b", "\x1b[31m"}, Found: true, Path: "/bin/a b\x07", Captured: "its processes"}
	d.Find(LevelError, "", "run ./a b: bad interpreter \x1b]0;x\x07")
	d.Find(LevelNote, "gateway", strings.Repeat("a long sentence ", 30))
	d.Sources = []Plan{{"socket", true, "programs find it"}, {"burr", false, "switched off"}}
	d.Environment = []Variable{{Name: "OBSRUN_URL", Value: &value, Replaces: true, Why: "the dashboard"}}
	d.LeftAlone = []Variable{{Name: "OTEL_SDK_DISABLED", Why: "it can turn OpenTelemetry off"}}
	d.Removed = []string{"OBSRUN_QUIET"}
	d.Settings = []Setting{{"quiet", "OBSRUN_QUIET", ""}, {"name", "obsrun.yaml", "it has no value"}}
	d.LogDir = Place{Path: "/logs", Exists: true, Writable: true, Latest: "link"}
	d.OuterRunID, d.Size = "outer-1", "80x24"
	for _, width := range []int{0, 1, 2, 5, 9, 10, 17, 24, 40, 80, 120} {
		var plain, coloured bytes.Buffer
		require.NoError(t, DiagnosisText(&plain, d, TextOptions{Width: width}))
		checkText(t, plain.String(), width)
		require.NoError(t, DiagnosisText(&coloured, d, TextOptions{Width: width, Color: true}))
		require.Equal(t, plain.String(), sgr.ReplaceAllString(coloured.String(), ""))
	}
	require.Error(t, DiagnosisText(broken{}, d, TextOptions{}))
	var started bytes.Buffer
	fine := d
	fine.Exit = 0
	require.NoError(t, DiagnosisText(&started, fine, TextOptions{}))
	require.Contains(t, started.String(), "verdict  would start\ncaptured its processes\n")
	var b bytes.Buffer
	require.NoError(t, DiagnosisText(&b, d, TextOptions{Width: 100}))
	golden(t, "testdata/diagnosis.txt", b.Bytes())
	golden(t, "testdata/diagnosis.json", documentOf(t, d))
}
