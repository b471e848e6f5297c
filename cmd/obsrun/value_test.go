package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A value that can not be read is told of as the user wrote it, with what is wanted.
func TestValuesThatAreNone(t *testing.T) {
	for line, want := range map[string]string{
		"demo --speed abc":                 "--speed abc: say a number",
		"demo --speed 1e999":               "--speed 1e999: say a number",
		"demo --speed=-1":                  "--speed -1: say a number above 0",
		"list --last x":                    "--last x: say a number",
		"list --last=":                     "--last : say a number",
		"list --last 1.5":                  "--last 1.5: say a whole number that is not too large",
		"list --last 99999999999999999999": "--last 99999999999999999999: say a whole number that is not too large",
		"prune --keep-last a\nb":           `--keep-last a\nb: say a number`,
		"--record=maybe -- true":           "--record=maybe: say true or false",
		"-q=maybe -- true":                 "-q=maybe: say true or false",
		"export --format nope":             `there is no format "nope". There are `,
		"export --format cvs":              `there is no format "cvs". Did you mean "csv"? There are `,
	} {
		stdout, stderr, status := obsrun(t, t.TempDir(), strings.Split(line, " ")...)
		assert.Equal(t, 125, status, line)
		assert.Empty(t, stdout, line)
		assert.Regexp(t, `^obsrun: [^\n]*\n$`, stderr, line)
		assert.Contains(t, stderr, "obsrun: "+want, line)
		assert.NotContains(t, stderr, "pars", line)
	}
	for variable, want := range map[string]string{
		"OBSRUN_QUIET=maybe": "OBSRUN_QUIET=maybe in the environment: say true or false",
		"OBSRUN_QUIET=\x1b[": `OBSRUN_QUIET=\x1b[ in the environment: say true or false`,
	} {
		_, stderr, status := obsrunWith(t, t.TempDir(), []string{variable}, "--", "true")
		assert.Equal(t, 125, status, variable)
		assert.Equal(t, "obsrun: "+want+"\n", stderr)
	}
}
