package serve

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/ui"
)

func TestFiles(t *testing.T) {
	rec, dir, lines := ended(t)
	s := open(t, config(rec, dir))
	for _, name := range []string{"run_summary.json", "terminal.cast", "tool_calls.jsonl"} {
		resp := ask(t, s, "GET", "/"+name)
		assert.Equal(t, 404, resp.StatusCode)
		assert.Contains(t, body(t, resp), "This run has no "+name)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "run_summary.json"), []byte(`{"schema":1}`), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "terminal.cast"), []byte(`{"version":2}`), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tool_calls.jsonl"), []byte("{}\n{}\n"), 0o600))
	for _, name := range []string{"run.json", "rejected.jsonl", "other.txt"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("canary"), 0o600))
		assert.Equal(t, 404, ask(t, s, "GET", "/"+name).StatusCode)
	}
	journal := strings.Join(lines, "\n") + "\n"
	for name, want := range map[string][2]string{
		"telemetry.jsonl":  {"application/x-ndjson; charset=utf-8", journal},
		"run_summary.json": {"application/json; charset=utf-8", `{"schema":1}`},
		"terminal.cast":    {"application/x-asciicast; charset=utf-8", `{"version":2}`},
		"tool_calls.jsonl": {"application/x-ndjson; charset=utf-8", "{}\n{}\n"},
	} {
		resp := ask(t, s, "GET", "/"+name)
		assert.Equal(t, 200, resp.StatusCode)
		assert.Equal(t, want[0], resp.Header.Get("Content-Type"))
		assert.Equal(t, want[1], body(t, resp))
		assert.Empty(t, resp.Header.Get("Last-Modified"))

		head := ask(t, s, "HEAD", "/"+name)
		assert.Equal(t, int64(len(want[1])), head.ContentLength)
		assert.Empty(t, body(t, head))

		part := ask(t, s, "GET", "/"+name, "Range: bytes=2-5")
		assert.Equal(t, 206, part.StatusCode)
		assert.Equal(t, want[1][2:6], body(t, part))
		assert.Equal(t, 416, ask(t, s, "GET", "/"+name, "Range: bytes=999999-").StatusCode)
	}
}

// Which files there are is told with their sizes; what is no regular file is none.
func TestFileList(t *testing.T) {
	rec, dir, lines := ended(t)
	s := open(t, config(rec, dir))
	size := len(strings.Join(lines, "\n")) + 1
	assert.JSONEq(t, fmt.Sprintf(`{"telemetry.jsonl":%d}`, size), body(t, ask(t, s, "GET", "/files")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tool_calls.jsonl"), []byte("{}\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "run.json"), []byte("{}"), 0o600))
	require.NoError(t, os.Symlink("telemetry.jsonl", filepath.Join(dir, "terminal.cast")))
	assert.JSONEq(t, fmt.Sprintf(`{"telemetry.jsonl":%d,"tool_calls.jsonl":3}`, size), body(t, ask(t, s, "GET", "/files")))
}

// The emulator is a script that the page's policy knows, behind the guard.
func TestEmulator(t *testing.T) {
	rec, dir, _ := ended(t)
	s := open(t, config(rec, dir))
	resp := ask(t, s, "GET", "/terminal.js")
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, "text/javascript; charset=utf-8", resp.Header.Get("Content-Type"))
	sum := sha256.Sum256([]byte(body(t, resp)))
	_, csp, err := ui.Page()
	require.NoError(t, err)
	assert.Contains(t, csp, base64.StdEncoding.EncodeToString(sum[:]))
	assert.Empty(t, body(t, ask(t, s, "HEAD", "/terminal.js")))
	stranger, err := http.Get(s.Base() + "/terminal.js")
	require.NoError(t, err)
	defer stranger.Body.Close()
	assert.Equal(t, 401, stranger.StatusCode)
}

func TestFilesThatAreNone(t *testing.T) {
	rec, dir, _ := ended(t)
	s := open(t, config(rec, dir))
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.WriteFile(outside, []byte("canary"), 0o600))
	cast := filepath.Join(dir, "terminal.cast")
	for name, plant := range map[string]func() error{
		"a link":            func() error { return os.Symlink(outside, cast) },
		"a dangling link":   func() error { return os.Symlink(filepath.Join(dir, "nothing"), cast) },
		"a link to sibling": func() error { return os.Symlink("telemetry.jsonl", cast) },
		"a directory":       func() error { return os.Mkdir(cast, 0o700) },
		"a pipe":            func() error { return syscall.Mkfifo(cast, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, plant())
			resp := ask(t, s, "GET", "/terminal.cast")
			assert.Equal(t, 404, resp.StatusCode)
			assert.Contains(t, body(t, resp), "is not served")
			require.NoError(t, os.Remove(cast))
		})
	}
	journal := filepath.Join(dir, journalFile.name)
	require.NoError(t, os.Remove(journal))
	require.NoError(t, os.Symlink(outside, journal))
	assert.Equal(t, 404, ask(t, s, "GET", "/events").StatusCode)
}
