package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/report"
)

// The run that is compared with by itself is the last of the same name that came
// to its own end and did something.
func TestRunBefore(t *testing.T) {
	logDir := t.TempDir()
	put := func(id, status string, hour int, agents int64) {
		dir := filepath.Join(logDir, id)
		require.NoError(t, os.Mkdir(dir, 0o700))
		at := time.Date(2026, 4, 8, hour, 0, 0, 0, time.UTC)
		s := report.Summary{Schema: 1, RunID: id, Status: status, StartedAt: at.Format(time.RFC3339)}
		s.Totals.AgentsSpawned = agents
		require.NoError(t, report.WriteFile(filepath.Join(dir, "run_summary.json"), s))
		require.NoError(t, report.WriteFile(filepath.Join(dir, "run.json"), map[string]any{"run_id": id, "started": at}))
	}
	before := func(hour int) string {
		s, err := runBefore(logDir, "eigenda-20260408-ffffff", time.Date(2026, 4, 8, hour, 30, 0, 0, time.UTC))
		require.NoError(t, err)
		if s == nil {
			return ""
		}
		return s.RunID
	}
	assert.Empty(t, before(23))
	put("eigenda-20260408-000001", "ok", 1, 35)
	put("eigenda-20260408-000002", "error", 2, 35)
	put("eigenda-20260408-000003", "interrupted", 3, 12)
	put("eigenda-20260408-000004", "error", 4, 0)
	put("eigenda-v2-20260408-000005", "ok", 5, 35)
	put("eigenda-20260408-ffffff", "ok", 6, 35)

	assert.Empty(t, before(0))
	assert.Equal(t, "eigenda-20260408-000001", before(1))
	for _, hour := range []int{2, 3, 4, 5, 6, 7} {
		assert.Equal(t, "eigenda-20260408-000002", before(hour))
	}
	s, err := runBefore(filepath.Join(logDir, "nowhere"), "x", time.Now())
	assert.NoError(t, err)
	assert.Nil(t, s)
}
