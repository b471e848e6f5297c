package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestNameOf(t *testing.T) {
	for want, command := range map[string][]string{
		"eigenda": {"./analyze", "eigenda"},
		"analyze": {"./analyze", "--depth", "3"},
		"python3": {"/usr/bin/python3", "./run.py", "-v"},
		"run":     {"./123"},
		"my-tool": {"./my tool"},
		"main.py": {"python", "main.py"},
		"sh":      {"sh", "-c", "echo a b"},
		"agents":  {"x", "sk-abcdefghijklmnop", "agents"},
		"w":       {"w", "two words", "ünï", "/a/path"},
		"a.b_c-1": {"x", "a.b_c-1"},
		"y":       {"x", "--api-key", "hunter2", "y"},
		"TOKEN":   {"TOKEN=hunter2", "./analyze"},
	} {
		assert.Equal(t, want, nameOf(command), "%q", command)
	}
	long := ""
	for range 60 {
		long += "x"
	}
	assert.Len(t, nameOf([]string{long}), 48)
	assert.Equal(t, "p", nameOf([]string{"p", long}))
}
