package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A row that is read in short is the one that the whole summary gives.
func TestReadRow(t *testing.T) {
	for _, dir := range runDirs(t) {
		path := filepath.Join(dir, "run_summary.json")
		short, err := readRow(path)
		require.NoError(t, err, path)
		s, err := ReadSummary(path)
		require.NoError(t, err)
		require.Equal(t, RowOf(s, dir), short)
	}
}

func TestReadRowOfOddSummaries(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run_summary.json")
	const published = `"phases":{"a":{"wall_ms":1}},"totals":{"agents_spawned":2,"total_tokens":3}`
	for name, tc := range map[string]struct {
		text   string
		tokens int64
		says   string
	}{
		"the order is another":     {text: `{"agents":[{"id":"x"}],"total_wall_ms":5,` + published + `,"run_id":"r"}`, tokens: 3},
		"the first shape":          {text: `{"run_id":"r","total_wall_ms":5,` + published + `}`, tokens: 3},
		"a long way to the totals": {text: `{"run_id":"` + strings.Repeat("r", rowHead) + `","total_wall_ms":5,` + published + `}`, tokens: 3},
		"odd strings":              {text: `{"run_id":"r}\",{","status":"o\u006b","command":["\\"],"schema":1,"started_at":"","total_wall_ms":5,` + published + `}`, tokens: 3},
		"cut off":                  {text: `{"run_id":"r","total_wa`, says: "cut off"},
		"empty":                    {text: ``, says: "empty"},
		"an array":                 {text: `[1]`, says: "no JSON object"},
		"a newer one":              {text: `{"schema":99,"run_id":"r","status":"ok","started_at":"","total_wall_ms":5,` + published + `}`, says: "newer obsrun"},
		"an absurd one":            {text: `{"schema":1,"run_id":"r","status":"ok","started_at":"","total_wall_ms":-5,` + published + `}`, says: "which no run has"},
		"no object":                {text: `{"schema":1,"run_id":"r","status":"ok","started_at":"","total_wall_ms":5,"totals":7}`, says: `no "phases"`},
		"garbage":                  {text: `{,}`, says: "not valid JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, []byte(tc.text), 0o600))
			row, err := ReadRow(path)
			if tc.says != "" {
				require.ErrorContains(t, err, tc.says)
				require.ErrorContains(t, err, path)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.tokens, row.Tokens)
			require.Equal(t, int64(5), row.TotalWallMS)
		})
	}
	_, err := ReadRow(filepath.Join(t.TempDir(), "nosuch"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func FuzzReadRow(f *testing.F) {
	f.Add([]byte(`{"schema":1,"run_id":"r","status":"ok","started_at":"","total_wall_ms":5,"phases":{},"totals":{"errors":1}}`))
	f.Add([]byte(`{"a":"\`))
	path := filepath.Join(f.TempDir(), "run_summary.json")
	f.Fuzz(func(t *testing.T, b []byte) {
		if os.WriteFile(path, b, 0o600) == nil {
			_, _ = readRow(path)
		}
	})
}

func BenchmarkReadRow(b *testing.B) {
	for b.Loop() {
		if _, err := readRow("../testdata/runs/eigenda-planned/run_summary.json"); err != nil {
			b.Fatal(err)
		}
	}
}
