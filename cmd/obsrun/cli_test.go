package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// longest bounds what a test waits for. What works takes milliseconds.
const longest = 20 * time.Second

// TestScripts runs testdata/script: the command line as a user or a CI job has
// it, without a terminal.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "../../testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			env.Setenv("TESTED", "1")
			env.Setenv(detach, "1")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": scriptStatus, "await": scriptAwait, "json": scriptJSON, "events": scriptEvents, "mode": scriptMode, "get": scriptGet,
		},
	})
}

// scriptStatus is "status N PROGRAM ARG...": the program must end with that exit
// status.
func scriptStatus(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("status N PROGRAM ARG...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *osexec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit status %d, not %s", got, args[0])
	}
}

// scriptAwait is "await FILE [PATTERN]": waits until the file is there, and has it.
func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	pattern := regexp.MustCompile(strings.Join(args[1:], " "))
	path := ts.MkAbs(args[0])
	for end := time.Now().Add(longest); ; time.Sleep(5 * time.Millisecond) {
		text, err := os.ReadFile(path)
		if (err == nil && pattern.Match(text)) != neg {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("waited for %s in vain: %v, %q", strings.Join(args, " "), err, text)
		}
	}
}

// scriptJSON is "json FILE PATH VALUE": what stands at a.b.0.c of a JSON file, as
// JSON. A length is asked for by "len", what is not there is "absent".
func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("json FILE PATH VALUE")
	}
	var value any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &value))
	if got := valueAt(value, args[1]); (got == args[2]) == neg {
		ts.Fatalf("%s of %s is %s, expected %s", args[1], args[0], got, args[2])
	}
}

func valueAt(value any, path string) string {
	for _, key := range strings.Split(path, ".") {
		switch v := value.(type) {
		case map[string]any:
			if key == "len" {
				return strconv.Itoa(len(v))
			}
			item, ok := v[key]
			if !ok {
				return "absent"
			}
			value = item
		case []any:
			i, err := strconv.Atoi(key)
			switch {
			case key == "len":
				return strconv.Itoa(len(v))
			case err != nil || i >= len(v):
				return "absent"
			}
			value = v[i]
		default:
			return "absent"
		}
	}
	if text, ok := value.(string); ok {
		return text
	}
	b, _ := json.Marshal(value)
	return string(b)
}

// scriptEvents is "events N DIR PATH=VALUE...": so many lines of the journal are so.
func scriptEvents(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("events N DIR PATH=VALUE...")
	}
	found := 0
	for line := range strings.Lines(ts.ReadFile(filepath.Join(args[1], "telemetry.jsonl"))) {
		var value any
		ts.Check(json.Unmarshal([]byte(line), &value))
		matches := true
		for _, condition := range args[2:] {
			path, want, _ := strings.Cut(condition, "=")
			matches = matches && valueAt(value, path) == want
		}
		if matches {
			found++
		}
	}
	if strconv.Itoa(found) != args[0] {
		ts.Fatalf("%d events are %s, expected %s", found, strings.Join(args[2:], " "), args[0])
	}
}

// scriptMode is "mode 0600 FILE...".
func scriptMode(ts *testscript.TestScript, _ bool, args []string) {
	for _, path := range args[1:] {
		info, err := os.Stat(ts.MkAbs(path))
		ts.Check(err)
		if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
			ts.Fatalf("%s has mode %s, expected %s", path, got, args[0])
		}
	}
}

var addressInText = regexp.MustCompile(`(http://127\.0\.0\.1:\d+)/\?token=(\w+)`)

// scriptGet is "get FILE PATH STATUS": asks the dashboard whose address stands in
// a file, with its token. "! get" asks without. The answer is stdout.
func scriptGet(ts *testscript.TestScript, neg bool, args []string) {
	m := addressInText.FindStringSubmatch(ts.ReadFile(args[0]))
	if m == nil {
		ts.Fatalf("%s has no address of a dashboard", args[0])
	}
	request, err := http.NewRequest(http.MethodGet, m[1]+args[1], nil)
	ts.Check(err)
	if !neg {
		request.Header.Set("Authorization", "Bearer "+m[2])
	}
	client := http.Client{Timeout: longest}
	answer, err := client.Do(request)
	ts.Check(err)
	defer answer.Body.Close()
	_, err = io.Copy(ts.Stdout(), answer.Body)
	ts.Check(err)
	if strconv.Itoa(answer.StatusCode) != args[2] {
		ts.Fatalf("GET %s: %s, expected %s", args[1], answer.Status, args[2])
	}
}

// TestHelp holds what --help says to testdata/help.
func TestHelp(t *testing.T) {
	for _, name := range []string{"obsrun", "report", "serve", "list", "export", "prune", "schema", "emit", "span", "doctor", "demo"} {
		t.Run(name, func(t *testing.T) {
			args := []string{name, "--help"}
			if name == "obsrun" {
				args = args[1:]
			}
			got, err := osexec.Command("obsrun", args...).Output()
			require.NoError(t, err)
			golden := filepath.Join("../../testdata/help", name+".txt")
			if *update {
				require.NoError(t, os.MkdirAll(filepath.Dir(golden), 0o755))
				require.NoError(t, os.WriteFile(golden, got, 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			assert.Equal(t, string(want), string(got))
		})
	}
}

// obsrun runs obsrun in dir, without a terminal.
func obsrun(t *testing.T, dir string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	return obsrunWith(t, dir, nil, args...)
}

func obsrunWith(t *testing.T, dir string, env []string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, words strings.Builder
	cmd := osexec.CommandContext(t.Context(), "obsrun", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &words
	cmd.Env = append(append(os.Environ(), detach+"=1"), env...)
	err := cmd.Run()
	var exit *osexec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return out.String(), words.String(), -int(s.Signal())
	}
	return out.String(), words.String(), cmd.ProcessState.ExitCode()
}

// A slip of a command's name is no program to run.
func TestSlips(t *testing.T) {
	for typed, want := range map[string]string{
		"reprot": "report", "repot": "report", "reporrt": "report", "rebort": "report", "lst": "list", "expotr": "export", "serv": "serve", "lists": "list",
		"analyze": "", "ls": "", "x": "", "rep": "", "demons": "", "reports2": "", "": "", "spam": "span",
	} {
		got := commandNear(newApp(world{}, nil, false), typed)
		assert.Equal(t, want, got, typed)
	}
	_, stderr, status := obsrun(t, t.TempDir(), "reprot", "--format", "json")
	assert.Equal(t, 125, status)
	assert.Equal(t, "obsrun: \"reprot\" is no command of obsrun; did you mean report? To run a program called so, write: obsrun -- reprot --format json\n", stderr)
}

// Help fits a terminal, and says one default of each flag.
func TestHelpFits(t *testing.T) {
	for _, c := range newApp(world{}, nil, false).Commands {
		help, err := osexec.Command("obsrun", c.Name, "--help").Output()
		require.NoError(t, err)
		for line := range strings.Lines(string(help)) {
			assert.LessOrEqual(t, len([]rune(strings.TrimSuffix(line, "\n"))), helpWidth, line)
		}
		for _, option := range strings.Split(string(help), "\n   --") {
			assert.LessOrEqual(t, strings.Count(option, "(default"), 1, option)
		}
	}
}
