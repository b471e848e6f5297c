package report

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/journal"
	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

var update = flag.Bool("update", false, "write the goldens anew")

// runDirs are the recorded runs.
func runDirs(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("../testdata/runs/*/telemetry.jsonl")
	require.NoError(t, err)
	require.NotEmpty(t, paths, "no recorded runs: the goldens would test nothing")
	dirs := make([]string, len(paths))
	for i, path := range paths {
		dirs[i] = filepath.Dir(path)
	}
	return dirs
}

// golden compares with the file at path, or writes it.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
		return
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run the test with -update and look at what it writes")
	require.Equal(t, string(want), string(got), path)
}

func loadSummary(t *testing.T, dir string) Summary {
	t.Helper()
	loaded, err := run.Load(dir)
	require.NoError(t, err)
	return Summarize(loaded.State)
}

func documentOf(t *testing.T, document any) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, WriteJSON(&b, document))
	return b.Bytes()
}

// run_summary.json is a pure function of telemetry.jsonl.
func TestSummaryIsAFunctionOfTheJournal(t *testing.T) {
	for _, dir := range runDirs(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			s := loadSummary(t, dir)
			b := documentOf(t, s)
			golden(t, filepath.Join(dir, "run_summary.json"), b)

			again, err := ParseSummary(b)
			require.NoError(t, err)
			require.Equal(t, string(b), string(documentOf(t, again)), "what is read is what was written")
			require.Equal(t, s, again)
		})
	}
}

// chunks gives at most n bytes at a time.
type chunks struct {
	r io.Reader
	n int
}

func (c chunks) Read(b []byte) (int, error) { return c.r.Read(b[:min(len(b), c.n)]) }

// However the journal arrives, and however often it is looked at meanwhile, the
// summary at its end is the same.
func TestSummaryDoesNotDependOnChunks(t *testing.T) {
	for _, dir := range runDirs(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			lines, err := os.ReadFile(run.JournalPath(dir))
			require.NoError(t, err)
			want := documentOf(t, loadSummary(t, dir))
			for _, n := range []int{1, 7, 4096} {
				state := run.NewState()
				reader := journal.NewReader(chunks{bytes.NewReader(lines), n})
				for {
					line, err := reader.Next()
					if err == io.EOF {
						break
					}
					require.NoError(t, err)
					e, err := telemetry.Decode(bytes.Clone(line))
					require.NoError(t, err)
					state.Apply(e)
					if n == 7 {
						Summarize(state)
					}
				}
				state.Abandon()
				require.Equal(t, string(want), string(documentOf(t, Summarize(state))), "in chunks of %d", n)
			}
		})
	}
}

func TestReportText(t *testing.T) {
	for _, dir := range runDirs(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			s := loadSummary(t, dir)
			var b bytes.Buffer
			require.NoError(t, Brief(&b, s, TextOptions{Width: 80}))
			b.WriteString("\n")
			require.NoError(t, Text(&b, s, TextOptions{Width: 100}))
			golden(t, filepath.Join(dir, "report.txt"), b.Bytes())
		})
	}
}
