package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// The workflow in README.md does what it says, with action.yml as it is.
func TestReadmeWorkflow(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)\n```yaml\n(.*?)```\n").FindSubmatch(readme)
	require.NotNil(t, block, "README.md has no workflow")
	var workflow struct {
		Jobs map[string]struct{ Steps []step }
	}
	require.NoError(t, yaml.Unmarshal(block[1], &workflow))
	text, err := os.ReadFile("../../action.yml")
	require.NoError(t, err)
	var action struct {
		Inputs map[string]struct{ Default string }
	}
	require.NoError(t, yaml.Unmarshal(text, &action))
	byID, _ := actionSteps(t)

	s := newRunner(t, "")
	analyze := "#!/bin/sh\necho \"analyzing $1\"\nobsrun emit span_start span_id=a kind=agent\n"
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "analyze"), []byte(analyze), 0o755))
	ran := 0
	for _, used := range workflow.Jobs["agents"].Steps {
		switch {
		case strings.HasPrefix(used.Uses, "obsrun/obsrun@"):
			for name := range used.With {
				assert.Contains(t, action.Inputs, name)
			}
			var env []string
			for name, value := range byID["run"].Env {
				input := regexp.MustCompile(`^\$\{\{ inputs\.([a-z-]+) \}\}$`).FindStringSubmatch(value)
				if input == nil {
					env = append(env, name+"=") // of another step, which had nothing to say
					continue
				}
				given, ok := used.With[input[1]]
				if !ok {
					given = action.Inputs[input[1]].Default
				}
				env = append(env, name+"="+given)
			}
			stdout, stderr, status := s.run(byID["run"].Run, env...)
			assert.Equal(t, "analyzing eigenda\n", stdout)
			assert.Equal(t, 3, status, "--fail-on, since its agent was lost: %s", stderr)
			assert.FileExists(t, filepath.Join(s.dir, "junit.xml"))
			ran++
		case used.Run != "":
			_, stderr, status := s.run(used.Run)
			assert.Zero(t, status, stderr)
			assert.FileExists(t, filepath.Join(s.dir, "trace.json"))
			ran++
		default:
			assert.Regexp(t, `^actions/checkout@[0-9a-f]{40}$`, used.Uses)
		}
	}
	assert.Equal(t, 2, ran)
}
