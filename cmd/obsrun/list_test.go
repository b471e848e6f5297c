package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
)

func TestAge(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"36h": 36 * time.Hour, "7d": 168 * time.Hour, "2w": 336 * time.Hour, "0s": 0, "1h30m": 90 * time.Minute, "0d": 0,
	} {
		got, err := ageOf(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "d", "7", "-1h", "-1d", "+1d", " 1d", "1.5d", "1d2h", "99999d", "07d", "soon", "7D"} {
		_, err := ageOf(text)
		assert.ErrorContains(t, err, "36h, 7d or 2w", text)
	}
	now := time.Date(2026, 4, 8, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{"1d": "2026-04-07T12:00", "2026-04-01": "2026-04-01T00:00", "2026-04-01T09:30": "2026-04-01T09:30"} {
		at, err := momentOf(text, now)
		require.NoError(t, err)
		assert.Equal(t, want, at.Format("2006-01-02T15:04"))
	}
}

func TestRange(t *testing.T) {
	for ref, want := range map[string][2]string{
		"latest~5..latest~1": {"latest~5", "latest~1"}, "a-1..b-2": {"a-1", "b-2"},
	} {
		from, to, ok := rangeOf(ref)
		assert.True(t, ok, ref)
		assert.Equal(t, want, [2]string{from, to})
		assert.True(t, isSet(ref), ref)
	}
	for _, ref := range []string{"../logs/a", "logs/../a", "a/..", "..", "latest~3", "a.b", ""} {
		_, _, ok := rangeOf(ref)
		assert.False(t, ok, ref)
		assert.False(t, isSet(ref), ref)
	}
	dir := filepath.Join(t.TempDir(), "odd,name[1]")
	require.NoError(t, os.Mkdir(dir, 0o700))
	assert.False(t, isSet(dir), "what is there is itself")
}

// manyRuns makes so many run directories as finished runs leave them.
func manyRuns(tb testing.TB, n int) string {
	logDir := tb.TempDir()
	summary, err := os.ReadFile("../../testdata/runs/eigenda-planned/run_summary.json")
	require.NoError(tb, err)
	journal, err := os.ReadFile("../../testdata/runs/eigenda-planned/telemetry.jsonl")
	require.NoError(tb, err)
	for i := range n {
		dir := filepath.Join(logDir, fmt.Sprintf("eigenda-20260408-%06x", i))
		require.NoError(tb, os.Mkdir(dir, 0o700))
		manifest := fmt.Sprintf(`{"run_id":%q,"pid":1,"started":%q}`, filepath.Base(dir), time.Unix(1775606400+int64(i), 0).UTC().Format(time.RFC3339))
		for path, text := range map[string][]byte{run.SummaryPath(dir): summary, run.JournalPath(dir): journal, run.ManifestPath(dir): []byte(manifest)} {
			require.NoError(tb, os.WriteFile(path, text, 0o600))
		}
	}
	return logDir
}

// What a list shows, it shows in the order of the runs, however many read it.
func TestCatalogOfManyRuns(t *testing.T) {
	c := &catalog{logDir: manyRuns(t, 300), skip: func(dir string, err error) { t.Errorf("%s: %v", dir, err) }}
	for range 2 { // the second time from memory
		rows, err := c.list()
		require.NoError(t, err)
		require.Len(t, rows, 300)
		for i, row := range rows {
			require.Equal(t, fmt.Sprintf("eigenda-20260408-%06x", 299-i), filepath.Base(row.Dir))
			require.Equal(t, int64(1_842_000), row.Tokens)
		}
	}
	rows, err := c.chosen(choice{last: 7, name: "eigenda"})
	require.NoError(t, err)
	require.Len(t, rows, 7)
}

// 10,000 runs are listed in well under a second.
func BenchmarkList(b *testing.B) {
	logDir := manyRuns(b, 10_000)
	for b.Loop() {
		c := &catalog{logDir: logDir, skip: func(dir string, err error) { b.Errorf("%s: %v", dir, err) }}
		if rows, err := c.list(); err != nil || len(rows) != 10_000 {
			b.Fatal(len(rows), err)
		}
	}
}
