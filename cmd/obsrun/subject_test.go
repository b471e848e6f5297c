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

func TestMaskSecrets(t *testing.T) {
	for _, c := range []struct{ in, want []string }{
		{[]string{"x", "--api-key", "abc", "y"}, []string{"x", "--api-key", "***", "y"}},
		{[]string{"x", "--api-key=abc"}, []string{"x", "--api-key=***"}},
		{[]string{"x", "--api-key", "--verbose"}, []string{"x", "--api-key", "--verbose"}},
		{[]string{"x", "-token", "abc"}, []string{"x", "-token", "***"}},
		{[]string{"env", "OPENAI_API_KEY=abc", "A=b"}, []string{"env", "OPENAI_API_KEY=***", "A=b"}},
		{[]string{"x", "--max-tokens", "100", "--max-tokens=5"}, []string{"x", "--max-tokens", "100", "--max-tokens=5"}},
		{[]string{"x", "--credentials", "file"}, []string{"x", "--credentials", "***"}},
		{[]string{"sh", "-c", "TOKEN=abc run; tokens=4 B='c d' PASSWORD=\"a b\" go"}, []string{"sh", "-c", "TOKEN=*** run; tokens=4 B='c d' PASSWORD=*** go"}},
		{[]string{"x", "sk-ant-REDACTED", "key sk-proj-0123456789 here"}, []string{"x", "***", "key *** here"}},
		{[]string{"x", "ghp_0123456789abcdefghij", "AKIAIOSFODNN7EXAMPLE"}, []string{"x", "***", "***"}},
		{[]string{"curl", "-H", "Authorization: Bearer abcdef"}, []string{"curl", "-H", "Authorization: ***"}},
		{[]string{"curl", "-H", "X-Api-Key: abcdef"}, []string{"curl", "-H", "X-Api-Key: ***"}},
		{[]string{"x", "https://user:pw@example.com/a"}, []string{"x", "https://example.com/a"}},
		{[]string{"x", "--url=https://user@example.com"}, []string{"x", "--url=https://example.com"}},
		{[]string{"x", "postgres://u:p#w@db/x"}, []string{"x", "postgres://db/x"}},
		{[]string{"sh", "-c", "x --api-key abc -v; y --password 'a b' z --max-tokens 5"}, []string{"sh", "-c", "x --api-key *** -v; y --password *** z --max-tokens 5"}},
		{[]string{"run TOKEN=abc: not found"}, []string{"run TOKEN=*** not found"}},
		{[]string{"curl", "-u", "user:hunter2", "--header=x-api-key:abc"}, []string{"curl", "-u", "user:***", "--header=x-api-key: ***"}},
		{[]string{"docker", "run", "-u", "1000:1000", "--header=accept: text"}, []string{"docker", "run", "-u", "1000:1000", "--header=accept: text"}},
		{[]string{"curl", "--data", `{"api_key": "a\"b", "model":"m"}`}, []string{"curl", "--data", `{"api_key": "***", "model":"m"}`}},
		{[]string{"obsrun", "--otlp-export-headers", "x-team=abc"}, []string{"obsrun", "--otlp-export-headers", "***"}},
		{[]string{"x", "skip", "task-1", "risk-assessment-of-all"}, []string{"x", "skip", "task-1", "risk-assessment-of-all"}},
	} {
		assert.Equal(t, c.want, maskSecrets(c.in), "%q", c.in)
	}
}

func TestCutUserInfo(t *testing.T) {
	for in, want := range map[string]string{
		"https://u:p@github.com/a/b": "https://github.com/a/b",
		"https://github.com/a/b":     "https://github.com/a/b",
		"git@github.com:a/b.git":     "git@github.com:a/b.git",
		"":                           "",
		"%zz":                        "%zz",
	} {
		assert.Equal(t, want, cutUserInfo(in))
	}
}
