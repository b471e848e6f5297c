package main

import (
	"regexp"
	"strings"
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

// What a name is, as a pattern says it.
func TestIsName(t *testing.T) {
	name, gap := regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{0,47}$`), regexp.MustCompile(`[^A-Za-z0-9._-]+`)
	texts := []string{"", "a", strings.Repeat("a", 48), strings.Repeat("a", 49), "-a", "a\xff\xfe b", "\u00e4\u00f6", "a\n"}
	for c := range 256 {
		texts = append(texts, string([]byte{byte(c)}), "x"+string([]byte{byte(c)})+"y")
	}
	for _, text := range texts {
		assert.Equal(t, name.MatchString(text), isName(text), "%q", text)
		assert.Equal(t, gap.ReplaceAllString(text, "-"), asName(text), "%q", text)
	}
}
