package main

import (
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// step is one of a composite action, or of a job.
type step struct {
	ID   string            `yaml:"id"`
	Uses string            `yaml:"uses"`
	If   string            `yaml:"if"`
	Run  string            `yaml:"run"`
	With map[string]string `yaml:"with"`
	Env  map[string]string `yaml:"env"`
}

// actionSteps are those of action.yml by their id, and in order.
func actionSteps(t *testing.T) (byID map[string]step, all []step) {
	t.Helper()
	text, err := os.ReadFile("../../action.yml")
	require.NoError(t, err)
	var action struct {
		Runs struct {
			Using string
			Steps []step
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &action))
	require.Equal(t, "composite", action.Runs.Using)
	byID = make(map[string]step)
	for _, s := range action.Runs.Steps {
		byID[s.ID] = s
	}
	return byID, action.Runs.Steps
}

// runner is where the steps of an action run: a fake of what GitHub gives them.
type runner struct {
	t   *testing.T
	dir string
	env []string
}

// newRunner has gh and go as programs that note how they were called; gh downloads
// the run at base, if there is one.
func newRunner(t *testing.T, base string) *runner {
	s := &runner{t: t, dir: t.TempDir()}
	require.NoError(t, os.MkdirAll(filepath.Join(s.dir, "bin"), 0o755))
	program := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, "bin", name), []byte("#!/bin/bash\n"+text), 0o755))
	}
	program("go", `echo "$PWD: go $*" >>"$STAGE/calls"`)
	program("gh", `printf '%s\n' "gh $*" >>"$STAGE/calls"
case "$1 $2" in
"run list") [ -n "$BASE" ] && echo 4711 || true ;;
"run download") while [ "$1" != --dir ]; do shift; done; mkdir -p "$2" && cp "$BASE/telemetry.jsonl" "$2" ;;
*) exit 9 ;;
esac
`)
	s.env = append(os.Environ(), detach+"=1", "CI=true", "GITHUB_ACTIONS=true", "GITHUB_REPOSITORY=owner/repo",
		"GITHUB_WORKFLOW_REF=owner/repo/.github/workflows/nightly.yml@refs/heads/x", "GITHUB_ACTION_PATH="+s.dir, "BASE="+base, "STAGE="+s.dir,
		"RUNNER_TEMP="+filepath.Join(s.dir, "temp dir"), "PATH="+filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"))
	for _, name := range []string{"GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "GITHUB_PATH"} {
		s.env = append(s.env, name+"="+filepath.Join(s.dir, name))
	}
	return s
}

// run runs a script as the runner does a "shell: bash" step.
func (s *runner) run(script string, env ...string) (stdout, stderr string, status int) {
	s.t.Helper()
	path := filepath.Join(s.dir, "step.sh")
	require.NoError(s.t, os.WriteFile(path, []byte(script), 0o644))
	var out, words strings.Builder
	cmd := osexec.CommandContext(s.t.Context(), "bash", "--noprofile", "--norc", "-eo", "pipefail", path)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, append(s.env, env...), &out, &words
	_ = cmd.Run()
	require.NotNil(s.t, cmd.ProcessState)
	return out.String(), words.String(), cmd.ProcessState.ExitCode()
}

func (s *runner) file(name string) string {
	text, _ := os.ReadFile(filepath.Join(s.dir, name))
	return string(text)
}

// No input is a part of a script, and what others made is named by its hash.
func TestActionIsSafe(t *testing.T) {
	_, all := actionSteps(t)
	for _, s := range all {
		assert.NotContains(t, s.Run, "${{")
		if s.Uses != "" {
			assert.Regexp(t, `^actions/[a-z-]+@[0-9a-f]{40}$`, s.Uses)
		}
		if strings.Contains(s.Uses, "upload-artifact") {
			for _, kept := range []string{"terminal.cast", "run.json"} {
				assert.Regexp(t, `(?m)^!.*/`+regexp.QuoteMeta(kept)+`$`, s.With["path"])
			}
			assert.Contains(t, s.If, "always()")
		}
		if s.Run == "" {
			continue
		}
		path := filepath.Join(t.TempDir(), "step.sh")
		require.NoError(t, os.WriteFile(path, []byte("#!/bin/bash -e\n"+s.Run), 0o644))
		out, err := osexec.Command("shellcheck", "--severity=style", path).CombinedOutput()
		assert.NoError(t, err, "%s: %s", s.ID, out)
	}
}

func TestActionSteps(t *testing.T) {
	byID, _ := actionSteps(t)
	base, err := filepath.Abs("../../testdata/runs/eigenda-planned")
	require.NoError(t, err)

	s := newRunner(t, base)
	_, stderr, status := s.run(byID["install"].Run)
	require.Zero(t, status, stderr)
	assert.Equal(t, filepath.Join(s.dir, "temp dir/obsrun/bin")+"\n", s.file("GITHUB_PATH"))
	assert.Contains(t, s.file("calls"), s.dir+": go build -trimpath -o "+filepath.Join(s.dir, "temp dir/obsrun/bin/obsrun")+" ./cmd/obsrun\n")

	_, stderr, status = s.run(byID["base"].Run, "BRANCH=main", "NAME=eigenda", "GH_TOKEN=x")
	require.Zero(t, status, stderr)
	assert.Contains(t, s.file("calls"), "gh run list --repo owner/repo --workflow nightly.yml --branch main --status success --limit 1 ")
	assert.Contains(t, s.file("calls"), "gh run download 4711 --repo owner/repo --name obsrun-eigenda --dir ")
	before := filepath.Join(s.dir, "temp dir/obsrun/base")
	assert.Equal(t, "dir="+before+"\n", s.file("GITHUB_OUTPUT"))

	run := []string{"NAME=eigenda", "LOG_DIR=logs", "BASE_DIR=" + before, "FURTHER=--fail-on error --listen off",
		"COMMAND_LINE=echo \"it's out\"; obsrun emit span_end span_id=a kind=agent status=error error=broken; false | true"}
	stdout, stderr, status := s.run(byID["run"].Run, run...)
	assert.Equal(t, 1, status, "a pipe that fails, fails")
	assert.Equal(t, "it's out\n", stdout)
	assert.Contains(t, stderr, "\n::error title=Agent failed::a (agent): broken\n")
	assert.Contains(t, s.file("GITHUB_STEP_SUMMARY"), "### Comparison of two runs")
	m := regexp.MustCompile(`(?m)^run-dir=(.*/logs/eigenda-\d{8}-[0-9a-f]{6})\nexit-code=1$`).FindStringSubmatch(s.file("GITHUB_OUTPUT"))
	require.NotNil(t, m, s.file("GITHUB_OUTPUT"))
	assert.FileExists(t, filepath.Join(m[1], "run_summary.json"))

	compare := func(threshold string) (string, int) {
		stdout, stderr, status := s.run(byID["compare"].Run, "BASE_DIR="+before, "RUN_DIR="+m[1], "THRESHOLD="+threshold)
		assert.Empty(t, stderr)
		return stdout, status
	}
	stdout, status = compare("errors>0")
	assert.Equal(t, 3, status)
	assert.Contains(t, stdout, "errors>0")
	_, status = compare("total_tokens>10%")
	assert.Zero(t, status)
}

// The first run of a branch has nothing to be compared with.
func TestActionWithoutBase(t *testing.T) {
	byID, _ := actionSteps(t)
	s := newRunner(t, "")
	stdout, stderr, status := s.run(byID["base"].Run, "BRANCH=main", "NAME=x", "GH_TOKEN=x")
	require.Zero(t, status, stderr)
	assert.Equal(t, "no run of main to compare with\n", stdout)
	assert.Empty(t, s.file("GITHUB_OUTPUT"))
	_, stderr, status = s.run(byID["run"].Run, "NAME=x", "LOG_DIR=logs", "BASE_DIR=", "FURTHER=", "COMMAND_LINE=exit 7")
	assert.Equal(t, 7, status, stderr)
	assert.Contains(t, s.file("GITHUB_OUTPUT"), "exit-code=7\n")
	assert.NotContains(t, s.file("GITHUB_STEP_SUMMARY"), "Comparison")
}
