package main

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
)

// childEnvironment is what a child of obsrun sees, given these variables.
func childEnvironment(t *testing.T, dir string, env []string, args ...string) map[string]string {
	t.Helper()
	stdout, stderr, status := obsrunWith(t, dir, env, append(args, "--", "env")...)
	require.Zero(t, status, stderr)
	assert.Empty(t, stderr)
	seen := make(map[string]string)
	for line := range strings.Lines(stdout) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		assert.NotContains(t, seen, key, "twice")
		seen[key] = value
	}
	return seen
}

func TestEnvironment(t *testing.T) {
	dir := t.TempDir()
	seen := childEnvironment(t, dir, []string{
		"OBSRUN_NAME=named", "OBSRUN_QUIET=true", "OBSRUN_STALL_TIMEOUT=agent=1m,run=2m", "OBSRUN_ALLOW_HOST=a.example,b.example", "OBSRUN_LOG_DIR=", "OBSRUN_NO_RECORD=1",
		"OBSRUN_RUN_ID=outer-20260408-abc123", "OBSRUN_SOCKET=/outer", "OBSRUN_PARENT_SPAN=outer", "OBSRUN_RUN_DIR=/outer", "OBSRUN_URL=http://outer",
		"TRACEPARENT=00-11111111111111111111111111111111-2222222222222222-01", "TRACESTATE=x=y", "OBSRUN_OF_THE_USER=kept", "EMPTY=", "MULTI=a=b=c",
	})
	runDir, err := filepath.EvalSymlinks(filepath.Join(dir, "logs", "latest"))
	require.NoError(t, err)
	id := filepath.Base(runDir)
	assert.Regexp(t, `^named-\d{8}-[0-9a-f]{6}$`, id, "a twin is heeded")
	assert.NoFileExists(t, run.CastPath(runDir), "a twin is heeded")

	root := seen["OBSRUN_PARENT_SPAN"]
	assert.Regexp(t, `^[0-9a-f]{16}$`, root)
	trace := sha256.Sum256([]byte(id))
	assert.Equal(t, "00-"+hex.EncodeToString(trace[:16])+"-"+root+"-01", seen["TRACEPARENT"])
	assert.Equal(t, id, seen["OBSRUN_RUN_ID"])
	assert.True(t, filepath.IsAbs(seen["OBSRUN_RUN_DIR"]))
	same, err := filepath.EvalSymlinks(seen["OBSRUN_RUN_DIR"])
	require.NoError(t, err)
	assert.Equal(t, runDir, same)
	assert.True(t, filepath.IsAbs(seen["OBSRUN_SOCKET"]))
	assert.Less(t, len(seen["OBSRUN_SOCKET"]), 100)
	manifest, err := run.ReadManifest(runDir)
	require.NoError(t, err)
	assert.NotEmpty(t, manifest.URL)
	assert.Equal(t, manifest.URL, seen["OBSRUN_URL"])

	assert.Equal(t, "kept", seen["OBSRUN_OF_THE_USER"])
	assert.Equal(t, "a=b=c", seen["MULTI"])
	assert.Contains(t, seen, "EMPTY")
	assert.NotContains(t, seen, "TRACESTATE", "it belongs to the outer trace")
	for _, name := range twins() {
		assert.NotContains(t, seen, name, "a twin is not for the child")
	}

	loaded, err := run.Load(runDir)
	require.NoError(t, err)
	assert.Equal(t, root, loaded.State.RootID())
}

func TestEnvironmentWithoutDashboard(t *testing.T) {
	seen := childEnvironment(t, t.TempDir(), nil, "--listen", "off")
	assert.Contains(t, seen, "OBSRUN_URL")
	assert.Empty(t, seen["OBSRUN_URL"])
}

// A long TMPDIR has no room for a socket's path.
func TestEnvironmentLongTMPDIR(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 120))
	require.NoError(t, os.Mkdir(long, 0o700))
	seen := childEnvironment(t, t.TempDir(), []string{"TMPDIR=" + long})
	assert.Less(t, len(seen["OBSRUN_SOCKET"]), 100)
	assert.NoDirExists(t, filepath.Dir(seen["OBSRUN_SOCKET"]), "nothing is left behind")
}

// No value of the environment is ever kept, whatever happens in the run.
func TestEnvironmentIsNotKept(t *testing.T) {
	dir := t.TempDir()
	const canary = "canary-7c1f0a"
	for _, command := range [][]string{
		{"--", "sh", "-c", `test -n "$SECRET" && obsrun emit log level=warn message=hello && obsrun span --kind agent x -- false; exit 1`},
		{"--no-pty", "--", "sh", "-c", `obsrun emit nonsense; exec kill -KILL $$`},
		{"--", "nosuch-command"},
		{"--", "obsrun", "--", "true"},
	} {
		obsrunWith(t, dir, []string{"SECRET=" + canary, "OPENAI_API_KEY=" + canary, canary + "=x"}, command...)
	}
	files := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		require.NoError(t, err)
		if !entry.Type().IsRegular() {
			return nil
		}
		files++
		text, err := os.ReadFile(path)
		assert.NotContains(t, string(text), canary, path)
		return err
	}))
	assert.Greater(t, files, 15)
}
