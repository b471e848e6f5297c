package run

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 4, 8, 12, 0, 0, 0, time.UTC)

// make a run that is over, which began this many hours after noon.
func madeRun(t *testing.T, logDir, id string, hours int) *Directory {
	t.Helper()
	d, err := Create(logDir, id, noon)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(JournalPath(d.Path), []byte(start(float64(3600*hours))+"\n"), 0o600))
	return d
}

func latestOf(t *testing.T, logDir string) string {
	t.Helper()
	target, err := os.Readlink(filepath.Join(logDir, "latest"))
	require.NoError(t, err)
	return target
}

func TestCreate(t *testing.T) {
	logDir := filepath.Join(t.TempDir(), "deep", "logs")
	first := madeRun(t, logDir, "a-20260408-000001", 0)
	info, err := os.Stat(first.Path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	assert.Equal(t, first.RunID, latestOf(t, logDir))
	assert.True(t, IsLive(first.Path))

	second, err := Create(logDir, "b-20260408-000002", noon)
	require.NoError(t, err)
	assert.Equal(t, first.RunID, latestOf(t, logDir), "a live run keeps the link")
	require.Len(t, second.Notes, 1)
	assert.Contains(t, second.Notes[0], "the run a-20260408-000001 is live")

	require.NoError(t, first.Close())
	assert.False(t, IsLive(first.Path))
	third, err := Create(logDir, "c-20260408-000003", noon)
	require.NoError(t, err)
	assert.Empty(t, third.Notes)
	assert.Equal(t, third.RunID, latestOf(t, logDir))

	_, err = Create(logDir, third.RunID, noon)
	assert.ErrorContains(t, err, "choose another with --log-dir")
}

func TestCreateKeepsWhatStandsAtLatest(t *testing.T) {
	for _, kind := range []string{"directory", "file", "dangling link", "link elsewhere"} {
		t.Run(kind, func(t *testing.T) {
			logDir := t.TempDir()
			latest := filepath.Join(logDir, "latest")
			switch kind {
			case "directory":
				require.NoError(t, os.Mkdir(latest, 0o700))
				require.NoError(t, os.WriteFile(filepath.Join(latest, "precious"), nil, 0o600))
			case "file":
				require.NoError(t, os.WriteFile(latest, []byte("precious"), 0o600))
			case "dangling link":
				require.NoError(t, os.Symlink("gone", latest))
			case "link elsewhere":
				require.NoError(t, os.Symlink(t.TempDir(), latest))
			}
			d, err := Create(logDir, "a-20260408-000001", noon)
			require.NoError(t, err)
			defer d.Close()
			assert.Equal(t, d.RunID, latestOf(t, logDir))
			moved, _ := filepath.Glob(filepath.Join(logDir, "previous-*"))
			if kind == "directory" || kind == "file" {
				require.Len(t, moved, 1)
				assert.Contains(t, d.Notes[0], moved[0])
			} else {
				assert.Empty(t, moved)
			}
		})
	}
}

func TestCreateRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, logDir := range []string{file, filepath.Join(file, "below")} {
		_, err := Create(logDir, "a", noon)
		assert.ErrorContains(t, err, "choose another with --log-dir")
	}
}

func TestFind(t *testing.T) {
	logDir := t.TempDir()
	var dirs []*Directory
	for i, id := range []string{"a-20260408-000001", "a-20260408-000002", "b-20260408-000003"} {
		d := madeRun(t, logDir, id, i)
		require.NoError(t, d.Close())
		dirs = append(dirs, d)
	}
	require.NoError(t, os.Mkdir(filepath.Join(logDir, "not-a-run"), 0o700))
	runs, err := List(logDir)
	require.NoError(t, err)
	require.Len(t, runs, 3)
	assert.Equal(t, "b-20260408-000003", runs[0].RunID, "the newest first")

	for ref, want := range map[string]int{
		"latest": 2, "latest~0": 2, "latest~1": 1, "latest~2": 0, "b": 2, "a-20260408-000001": 0, "a-20260408-000002": 1,
		dirs[0].Path: 0, JournalPath(dirs[1].Path): 1,
	} {
		got, err := Find(logDir, ref)
		require.NoError(t, err, ref)
		assert.Equal(t, dirs[want].Path, got, ref)
	}
	for ref, want := range map[string]string{
		"a": "beginning of 2 runs", "zzz": "obsrun list", "latest~9": "goes back too far", "latest~x": "latest~1",
		"latest~-1": "latest~1", "/nowhere/at/all": "there is no /nowhere/at/all", logDir + "/not-a-run": "no telemetry.jsonl", "": "beginning of 3 runs",
	} {
		_, err := Find(logDir, ref)
		assert.ErrorContains(t, err, want, ref)
	}
	_, err = Find(filepath.Join(logDir, "none"), "latest")
	assert.ErrorContains(t, err, "--log-dir")
	_, err = Find(filepath.Join(logDir, "none"), "x")
	assert.ErrorContains(t, err, "--log-dir")
}

func TestNewID(t *testing.T) {
	assert.Regexp(t, `^eigenda-20260408-[0-9a-f]{6}$`, NewID("eigenda", noon))
	assert.NotEqual(t, NewID("a", noon), NewID("a", noon))
}

func TestNameOf(t *testing.T) {
	for id, want := range map[string]string{
		NewID("eigenda", time.Now()): "eigenda", NewID("a-b.c", time.Now()): "a-b.c",
		"eigenda-20260408-abc123": "eigenda", "eigenda-20260408-ABC123": "eigenda-20260408-ABC123", "-20260408-abc123": "-20260408-abc123",
		"other": "other", "": "", "x-2026040-abc1234": "x-2026040-abc1234", "x_20260408-abc123": "x_20260408-abc123",
	} {
		assert.Equal(t, want, NameOf(id), id)
	}
}
