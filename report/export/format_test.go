package export

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

var update = flag.Bool("update", false, "write the goldens anew")

// goldens are the files below testdata/export/RUN. There are none for the recording
// of a terminal, which is copied, and the dashboard, which has tests of its own.
var goldens = map[string]string{
	"chrome-trace": "trace.json", "otlp-json": "otlp.jsonl", "csv": "spans.csv", "jsonl": "spans.jsonl",
	"parquet": "spans.parquet.txt", "junit": "junit.xml", "markdown": "summary.md",
}

const cast = `{"version": 2, "width": 80, "height": 24}
[0.5, "o", "\u001b[31mred\r\n"]
`

// recorded loads a run of testdata/runs, as if its terminal had been recorded.
func recorded(t *testing.T, name string) Run {
	t.Helper()
	loaded, err := run.Load(filepath.Join("../../testdata/runs", name))
	require.NoError(t, err)
	return Run{State: loaded.State, Dir: withCast(t, cast), Version: "1.2.3"}
}

func withCast(t *testing.T, text string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, os.WriteFile(run.CastPath(dir), []byte(text), 0o600))
	return dir
}

// folded folds journal lines into a run that goes on.
func folded(t *testing.T, lines ...string) Run {
	t.Helper()
	state := run.NewState()
	for _, line := range lines {
		e, err := telemetry.Decode([]byte(line))
		require.NoError(t, err, line)
		state.Apply(e)
	}
	return Run{State: state, Dir: withCast(t, cast), Version: "1.2.3"}
}

func formatNamed(t *testing.T, name string) Format {
	t.Helper()
	for _, f := range Formats() {
		if f.Name == name {
			return f
		}
	}
	require.Fail(t, "there is no format "+name)
	return Format{}
}

func written(t *testing.T, format string, r Run) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, formatNamed(t, format).Write(&b, r))
	return b.Bytes()
}

// writtenFile is for readers that want one.
func writtenFile(t *testing.T, format string, r Run) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "it")
	require.NoError(t, os.WriteFile(path, written(t, format, r), 0o600))
	return path
}

func TestGoldens(t *testing.T) {
	for _, name := range []string{"troubled", "eigenda-planned"} {
		r := recorded(t, name)
		for _, f := range Formats() {
			if f.Name == "asciicast" || f.Name == "html" {
				continue
			}
			t.Run(name+" "+f.Name, func(t *testing.T) {
				require.Contains(t, goldens, f.Name)
				got := written(t, f.Name, r)
				if f.Binary {
					got = parquetText(t, got)
				}
				path := filepath.Join("../../testdata/export", name, goldens[f.Name])
				if *update {
					require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
					require.NoError(t, os.WriteFile(path, got, 0o644))
				}
				want, err := os.ReadFile(path)
				require.NoError(t, err, "run the test with -update and look at what it writes")
				require.Equal(t, string(want), string(got), path)
			})
		}
	}
}

// parquetText is a Parquet file by its schema and rows: its bytes change with the
// library.
func parquetText(t *testing.T, b []byte) []byte {
	t.Helper()
	f, err := parquet.OpenFile(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	id, ok := f.Lookup("obsrun.run_id")
	require.True(t, ok)
	out := fmt.Appendf(nil, "obsrun.run_id = %s\n%s\n", id, f.Schema())
	for _, row := range parquetRows(t, b) {
		line, err := json.Marshal(row)
		require.NoError(t, err)
		out = append(append(out, line...), '\n')
	}
	return out
}

func parquetRows(t *testing.T, b []byte) []Row {
	t.Helper()
	got, err := parquet.Read[Row](bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	return got
}

// The same state gives the same bytes, however often it is asked.
func TestFormatsAreDeterministic(t *testing.T) {
	for _, f := range Formats() {
		first := written(t, f.Name, recorded(t, "troubled"))
		for range 2 {
			require.Equal(t, first, written(t, f.Name, recorded(t, "troubled")), f.Name)
		}
		assert.NotEmpty(t, f.About)
	}
}

// Runs of which little is known, or that go on.
func TestFormatsOfEveryRun(t *testing.T) {
	live := folded(t,
		`{"event":"span_start","span_id":"r","kind":"run","name":"x","attrs":{"run_id":"x-1"},"ts":1000,"source":"obsrun","recv_ms":0}`,
		`{"event":"span_queued","span_id":"q","kind":"agent","phase":"work","ts":1000.5,"source":"socket","recv_ms":500}`,
		`{"event":"span_start","span_id":"a","kind":"agent","phase":"work","ts":1001,"source":"socket","recv_ms":1000}`,
		`{"event":"span_start","span_id":"s","kind":"agent","phase":"work","ts":1001,"source":"socket","recv_ms":1000}`,
		`{"event":"span_start","span_id":"t","parent":"a","kind":"tool","ts":1002,"source":"socket","recv_ms":2000}`,
		`{"event":"span_end","span_id":"t","tokens":5,"ts":1003,"source":"socket","recv_ms":3000}`,
		`{"event":"span_stalled","span_id":"s","idle_ms":2000,"ts":1003.5,"source":"obsrun","recv_ms":3500}`,
	)
	runs := map[string]Run{"live": live, "nothing": folded(t)}
	for _, name := range []string{"empty", "killed", "not-started", "request-lines", "troubled", "eigenda-planned"} {
		runs[name] = recorded(t, name)
	}
	for name, r := range runs {
		for _, f := range Formats() {
			t.Run(name+" "+f.Name, func(t *testing.T) {
				b := written(t, f.Name, r)
				if !f.Binary {
					assert.True(t, utf8.Valid(b))
				}
			})
		}
		t.Run(name, func(t *testing.T) { checkTrace(t, r) })
	}
	assert.Contains(t, string(written(t, "junit", live)), `type="stalled" message="it had been silent for 2s`)
	assert.Contains(t, string(written(t, "junit", live)), `<skipped message="queued: the run goes on">`)
	assert.Contains(t, string(written(t, "junit", live)), `<skipped message="running: the run goes on">`)
	otlp := string(written(t, "otlp-json", live))
	assert.Contains(t, otlp, `execute_tool t`)
	assert.NotContains(t, otlp, `invoke_agent`, "open spans are none yet")
}

// hostile is a run whose every text is out to do harm.
func hostile(t *testing.T) (r Run, texts []string) {
	t.Helper()
	texts = []string{
		"\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\u009b31m", "<script>alert(1)</script>", "]]><x>", "&amp;", `"quoted" 'too'`,
		"a\u202egnp.exe", "nul\x00nul", "two\nlines\r\nmore", "::error::pwned", "##vso[task.complete]", "\ufffe\uffff", "\u2028",
		"=1+1", "+1", "-1", "@SUM(A1)", "＝1+1", "'=1", "\t=1", "|a|b|", "`code`", "```", "\\", "[x](javascript:alert(1))",
		"![x](http://evil)", "www.evil.com", "https://evil.com", "@octocat", "#1", ":smile:", "*b* _i_ ~s~", "</code>", "a,b;c", " padded ", "魚",
		strings.Repeat("n", 10_000), strings.Repeat("\x1b", 300),
	}
	lines := []string{`{"event":"span_start","span_id":"r","kind":"run","name":"x","attrs":{"run_id":"hostile-1","command":["\u001b[31m<b>|"]},"ts":1000,"source":"obsrun","recv_ms":0}`}
	quote := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	for i, text := range texts {
		q := quote(text)
		lines = append(lines,
			fmt.Sprintf(`{"event":"span_start","span_id":%s,"kind":"agent","name":%s,"component":%s,"phase":%s,"attrs":{"model":%s},"ts":%d,"source":"socket","recv_ms":%d}`,
				quote(fmt.Sprint(i, text)), q, q, q, q, 1001+i, 1000+i),
			fmt.Sprintf(`{"event":"span_start","span_id":"t%d","parent":%s,"kind":%s,"name":%s,"ts":%d,"source":"socket","recv_ms":%d}`,
				i, quote(fmt.Sprint(i, text)), "\"tool\"", q, 1001+i, 1000+i),
			fmt.Sprintf(`{"event":"span_end","span_id":%s,"status":"error","error":%s,"message":%s,"ts":%d,"source":"socket","recv_ms":%d}`,
				quote(fmt.Sprint(i, text)), q, q, 1002+i, 2000+i),
			fmt.Sprintf(`{"event":"log","level":"warn","message":%s,"ts":%d,"source":"socket","recv_ms":%d}`, q, 1002+i, 2000+i))
	}
	lines = append(lines, `{"event":"span_end","span_id":"r","status":"ok","ts":1100,"source":"obsrun","recv_ms":100000}`)
	return folded(t, lines...), texts
}

// shows tells whether a terminal shows the text and does nothing else with it.
func shows(t *testing.T, format string, b []byte) {
	t.Helper()
	require.True(t, utf8.Valid(b), format)
	for i, r := range string(b) {
		if r != '\n' && (r < ' ' || r >= 0x7f) && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co)) {
			require.Failf(t, format, "%q at %d: %.60q", r, i, b[max(0, i-30):])
		}
	}
}

func TestHostileTextIsSafe(t *testing.T) {
	r, _ := hostile(t)
	command := regexp.MustCompile(`(?m)^\s*::.{0,50}|##[a-z]*\[.{0,50}`)
	for _, f := range Formats() {
		if f.Binary || f.Name == "html" {
			continue
		}
		b := written(t, f.Name, r)
		shows(t, f.Name, b)
		if found := command.Find(b); found != nil {
			assert.Failf(t, "a command for a CI system", "%s: %.80s", f.Name, found)
		}
	}
	checkTrace(t, r)
}

// output runs a reader of another language.
func output(t *testing.T, command ...string) []byte {
	t.Helper()
	cmd := osexec.Command(command[0], command[1:]...)
	var words strings.Builder
	cmd.Stderr = &words
	out, err := cmd.Output()
	require.NoError(t, err, "%s", &words)
	return out
}
