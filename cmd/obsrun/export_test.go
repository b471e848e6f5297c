package main

import (
	"bytes"
	"encoding/hex"
	"net/http"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/report/export"
)

// --help has every format, with what it is for.
func TestExportHelp(t *testing.T) {
	help, err := osexec.Command("obsrun", "export", "--help").Output()
	require.NoError(t, err)
	names := make(map[string]bool)
	for _, f := range export.Formats() {
		assert.False(t, names[f.Name])
		names[f.Name] = true
		assert.Regexp(t, `(?m)^ +`+f.Name+` +\S`, string(help))
		assert.Contains(t, string(help), f.About)
	}
}

// What is no text does not go to a terminal; text does.
func TestExportAtTerminal(t *testing.T) {
	t.Parallel()
	recorded, err := filepath.Abs("../../testdata/runs/troubled")
	require.NoError(t, err)
	for _, f := range export.Formats() {
		switch {
		case f.Binary:
			shown := atTerminal(t, "export", "--format", f.Name, recorded).end(125)
			assert.Regexp(t, `\Aobsrun: `+f.Name+` is nothing for a terminal; write it to a file with -o FILE\r\n\z`, shown)
		case f.Name == "junit" || f.Name == "csv":
			assert.NotContains(t, atTerminal(t, "export", "--format", f.Name, recorded).end(0), "\x1b")
		}
	}
}

// A collector takes what otlp-json writes, line by line, and a backend behind it has
// every span.
func TestExportToCollector(t *testing.T) {
	t.Parallel()
	to := newBackend(t)
	c := newCollector(t, to)
	for _, name := range []string{"troubled", "eigenda-planned"} {
		recorded := filepath.Join("../../testdata/runs", name)
		stdout, stderr, status := obsrun(t, ".", "export", "--format", "otlp-json", recorded)
		require.Zero(t, status, stderr)
		for line := range strings.Lines(stdout) {
			answer, err := http.Post("http://"+c.address+"/v1/traces", "application/json", bytes.NewBufferString(line))
			require.NoError(t, err)
			answer.Body.Close()
			require.Equal(t, http.StatusOK, answer.StatusCode)
		}
		loaded, err := run.Load(recorded)
		require.NoError(t, err)
		got := make(map[string]received)
		for _, span := range to.all() {
			got[hex.EncodeToString(span.SpanId)] = span
		}
		for want := range loaded.State.Spans() {
			span, ok := got[hashed(want.ID)]
			require.True(t, ok, want.ID)
			assert.Equal(t, want.Kind, span.attr("obsrun.kind"))
			if want.Attempts == 1 && want.Tokens > 0 {
				assert.EqualValues(t, want.Tokens, span.attr("obsrun.tokens"), want.ID)
			}
		}
	}
}

// asciinema plays what was recorded of a terminal.
func TestAsciinemaReadsTheRecording(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stdout, stderr, status := obsrun(t, dir, "--record", "--", "sh", "-c", `printf 'one\n\033[31mrot\033[0m \303\251\n'; sleep 0.05; printf '\007last'`)
	require.Zero(t, status, stderr)
	_, stderr, status = obsrun(t, dir, "export", "--format", "asciicast", "-o", "it.cast")
	require.Zero(t, status, stderr)
	// It wants a terminal, which obsrun gives it.
	out, stderr, status := obsrunWith(t, dir, []string{"HOME=" + dir, "LC_ALL=C.UTF-8"}, "--log-dir", "played", "--listen", "off", "--", "asciinema", "cat", "it.cast")
	require.Zero(t, status, stderr)
	require.Equal(t, stdout, strings.ReplaceAll(out, "\r\n", "\n"))
}
