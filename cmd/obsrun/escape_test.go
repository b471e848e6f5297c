package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
)

// hostileText has what a terminal or a CI system acts on: escapes that set its title,
// answer for the user, hide text and link elsewhere, in 7 and 8 bits; characters that
// turn the order of others round; carriage returns; workflow commands.
const hostileText = "\x1b]0;title\x07\x1b[31mred\x1b[2J\x1b]8;;http://evil.example\x1b\\link\x1b[6n\u009b31m\u009d0;t\u009c\x7f\b\b\v\f\r::error::x\n::error::y\u202egnp\u2066\u2069\u200f\u061c\u2028\u2029##[error]z"

// actsOn finds what is not to reach a terminal: control characters but for the line
// end, and where strict, those that change the order of text.
func actsOn(text string, strict bool) string {
	for at, r := range text {
		_, size := utf8.DecodeRuneInString(text[at:])
		switch {
		case r == '\n':
			continue
		case unicode.IsControl(r), r == utf8.RuneError && size == 1:
		case strict && (unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'):
		default:
			continue
		}
		return fmt.Sprintf("%U in %q", r, text[max(0, at-60):min(len(text), at+60)])
	}
	return ""
}

// hostileRun writes a run in which every text is hostile.
func hostileRun(t *testing.T, dir string, tokens int) {
	text := func(what string) string { return what + " " + hostileText }
	attrs := map[string]any{
		"run_id": text("id"), "command": []string{"x", text("arg")}, "cwd": text("cwd"), "host": text("host"), "obsrun_version": text("version"), "schema": 1,
		"source_repo": text("repo"), "source_commit": text("commit"), "outer_run_id": text("outer"),
	}
	events := []map[string]any{
		{"event": "span_start", "span_id": "root", "kind": "run", "name": text("run"), "attrs": attrs, "source": "obsrun"},
		{"event": "span_queued", "span_id": "q", "kind": text("kind"), "component": text("component"), "name": text("queued")},
		{"event": "phase", "name": text("phase")},
		{"event": "log", "message": text("message"), "level": "error"},
		{"event": "log", "message": text("obsrun's"), "level": "warn", "source": "obsrun"},
		{"event": "artifact", "path": text("path"), "kind": text("kind")},
		{"event": text("event"), "span_id": text("id")},
	}
	for i, status := range []string{"ok", "error", "cancelled", text("status"), ""} {
		id := text(fmt.Sprint("span", i))
		events = append(events,
			map[string]any{"event": "span_start", "span_id": id, "parent": text("parent"), "kind": text("kind"), "component": text("component"), "name": text("agent"), "phase": text("phase"), "attrs": map[string]any{text("key"): text("value"), "model": text("model")}},
			map[string]any{"event": "span_start", "span_id": id + "llm", "parent": id, "kind": "llm", "name": text("model"), "attrs": map[string]any{"model": text("model")}, "call_id": text("call")},
			map[string]any{"event": "span_end", "span_id": id + "llm", "input_tokens": tokens, "output_tokens": 1, "status": "error", "error": text("error")},
			map[string]any{"event": "span_start", "span_id": id + "tool", "parent": id, "kind": "tool", "name": text("tool")},
			map[string]any{"event": "span_stalled", "span_id": id + "tool", "idle_ms": 1e6, "evidence": map[string]any{"heard": text("heard"), "last_event": text("last"), "command": text("command")}, "source": "obsrun"},
			map[string]any{"event": "span_update", "span_id": id, "message": text("message"), "tokens": tokens})
		if status != "" {
			events = append(events, map[string]any{"event": "span_end", "span_id": id, "status": status, "error": text("error"), "duration_ms": 1000 * i})
		}
	}
	events = append(events, map[string]any{
		"event": "span_end", "span_id": "root", "status": "error", "source": "obsrun", "error": text("error"), "duration_ms": 60000,
		"attrs": map[string]any{"exit_code": 1, "survivors": []string{text("survivor")}, "signal": text("signal"), "sources": map[string]any{text("source"): map[string]any{"state": text("state"), "reason": text("reason")}}},
	})
	var journal strings.Builder
	for i, event := range events {
		event["ts"], event["recv_ms"] = 1775606400+float64(i), 1000*i
		if event["source"] == nil {
			event["source"] = "socket"
		}
		line, err := json.Marshal(event)
		require.NoError(t, err)
		// What encoding/json hides is brought back: the characters stand in the journal.
		plain := strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029").Replace(string(line))
		require.True(t, json.Valid([]byte(plain)))
		journal.WriteString(plain + "\n")
	}
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(run.JournalPath(dir), []byte(journal.String()), 0o600))
}

// inProcess runs a command line that starts no other program, in this process: the
// current directory and the environment are the test's.
func inProcess(t *testing.T, args ...string) (stdout, stderr string) {
	var files [2]*os.File
	for i := range files {
		file, err := os.CreateTemp(t.TempDir(), "")
		require.NoError(t, err)
		defer file.Close()
		files[i] = file
	}
	exec(t.Context(), world{args: args, env: os.Environ(), stdin: files[0], stdout: files[0], stderr: files[1]})
	var texts [2]string
	for i, file := range files {
		text, err := os.ReadFile(file.Name())
		require.NoError(t, err)
		texts[i] = string(text)
	}
	return texts[0], texts[1]
}

// Nothing that a journal, a directory's name or a file can say reaches a terminal
// as anything but text.
func TestEscapes(t *testing.T) {
	dir := t.TempDir()
	odd := "odd\x1b[31m\u202e-20260408-abc123"
	for i, name := range []string{"a-20260408-abc120", "b-20260408-abc121", "c-20260408-abc122", odd} {
		hostileRun(t, filepath.Join(dir, "logs", name), 1000*(i+1))
	}
	broken := filepath.Join(dir, "broken\x1b[31m\u202e")
	require.NoError(t, os.MkdirAll(broken, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(broken, "run_summary.json"), []byte("{\"schema\":1,\"\x1b[31m\u202e\":\xff"), 0o600))
	prices := filepath.Join(dir, "prices\x1b[31m.yaml")
	require.NoError(t, os.WriteFile(prices, []byte("models: {\"m\\e[31m\": {input: 1}}"), 0o600))
	first, second := "a-20260408-abc120", "b-20260408-abc121"
	strict := [][]string{
		{"report", first}, {"report", "--format", "markdown", first}, {"report", filepath.Join(dir, "logs", odd)}, {"report", "--compare", first, second},
		{"report", "--compare", "--format", "markdown", first, second}, {"report", "--compare", "--threshold", "total_tokens>1%", first, second}, {"report", "--compare", "logs/a*,logs/c*", "logs/b*"},
		{"report", "--trend", "total_wall_ms"}, {"report", "--trend", "phases." + hostileText + ".wall_ms"}, {"report", "--prices", prices, first}, {"list"},
		{"export", "--format", "markdown", first}, {"prune", "--dry-run", "--keep-last", "1"},
		{"doctor", "--", "x" + hostileText, hostileText}, {"doctor", "--", "sh", "-c", hostileText},
		// What is wrong is said with the words it is wrong with.
		{"report", broken}, {"report", hostileText}, {"report", "--format", hostileText}, {"report", "--threshold", hostileText, "--compare", first, second}, {"--" + hostileText}, {hostileText},
		{"export", "--format", hostileText}, {"list", "--since", hostileText}, {"prune", "--older-than", hostileText}, {"serve", hostileText}, {"serve", "--listen", hostileText},
		{"--stall-timeout", hostileText, "--", "true"}, {"--name", hostileText, "--", "true"}, {"--log-dir", prices, "--", "true"}, {"--log-dir", "new" + hostileText, "--", "x" + hostileText},
		{"--allow-host", hostileText, "--", "true"}, {"--source", hostileText + "=off", "--", "true"}, {"--gateway", hostileText, "--", "true"}, {"--fail-on", hostileText, "--", "true"},
		{"emit", "log"}, {"span", "--kind", hostileText, hostileText, "--", "x" + hostileText},
	}
	t.Chdir(dir)
	for _, args := range strict {
		var stdout, stderr string
		if args[0] != "doctor" && slices.Contains(args, "--") {
			stdout, stderr, _ = obsrun(t, dir, args...)
		} else {
			stdout, stderr = inProcess(t, args...)
		}
		assert.NotEmpty(t, stdout+stderr, "%q", args)
		for name, text := range map[string]string{"stdout": stdout, "stderr": stderr} {
			assert.Empty(t, actsOn(text, true), "%s of %q", name, args)
			for line := range strings.Lines(text) {
				assert.False(t, strings.HasPrefix(line, "::"), "%s of %q: %s", name, args, line)
			}
		}
	}
	// Formats for programs keep the text; what a terminal acts on is escaped.
	for _, args := range [][]string{
		{"report", "--format", "json", first}, {"report", "--compare", "--format", "json", first, second}, {"list", "--format", "json"}, {"doctor", "--format", "json", "--", "x", hostileText},
		{"export", "--format", "junit", first}, {"export", "--format", "jsonl", first}, {"export", "--format", "otlp-json", first}, {"export", "--format", "chrome-trace", first}, {"export", "--format", "csv", first},
	} {
		stdout, stderr := inProcess(t, args...)
		assert.Empty(t, actsOn(stdout, false), "stdout of %q", args)
		assert.Empty(t, actsOn(stderr, true), "stderr of %q", args)
	}

	// A live run that hears such things tells of them at its end.
	program := fmt.Sprintf(`
import os, socket
s = socket.socket(socket.AF_UNIX); s.connect(os.environ["OBSRUN_SOCKET"])
for line in %q.encode().splitlines(): s.sendall(line + b"\n")
s.shutdown(socket.SHUT_WR); s.recv(1)
`, "no event \x1b[31m\n"+`{"event":"log","level":"warn","message":"\u001b[31m\u202e\u009b"}`+"\n"+`{"event":"span_start","kind":"agent","span_id":"a","name":"\u001b[31m\u202e"}`+"\n")
	_, stderr, _ := obsrun(t, dir, "--fail-on", "error", "--", "python3", "-c", program)
	assert.NotEmpty(t, stderr)
	assert.Empty(t, actsOn(stderr, true))
}
