package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

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
		{[]string{"mysql", "-uroot", "-phunter2", "-P3306", "db"}, []string{"mysql", "-uroot", "-p***", "-P3306", "db"}},
		{[]string{"env", "A=b", "/usr/bin/mysqldump", "-phunter2", "-p", "db"}, []string{"env", "A=b", "/usr/bin/mysqldump", "-p***", "-p", "db"}},
		{[]string{"sshpass", "-phunter2", "ssh", "h"}, []string{"sshpass", "-p***", "ssh", "h"}},
		{[]string{"sshpass", "-p", "hunter2", "ssh", "h"}, []string{"sshpass", "-p", "***", "ssh", "h"}},
		{[]string{"redis-cli", "-a", "hunter2"}, []string{"redis-cli", "-a", "***"}},
		{[]string{"curl", "-uuser:hunter2", "-sS", "h"}, []string{"curl", "-uuser:***", "-sS", "h"}},
		{[]string{"sh", "-c", "cd x && mysql -p'hunter 2' db; docker run -p8080:80 x | curl -u a:hunter2 h"}, []string{"sh", "-c", "cd x && mysql -p*** db; docker run -p8080:80 x | curl -u a:*** h"}},
		// Of other programs nothing is guessed.
		{[]string{"docker", "run", "-p8080:80", "-p", "1:2"}, []string{"docker", "run", "-p8080:80", "-p", "1:2"}},
		{[]string{"./analyze", "-pdepth2", "-auto", "-parallel"}, []string{"./analyze", "-pdepth2", "-auto", "-parallel"}},
		{[]string{"curl", "-b", "x", "-H", "Cookie: session=hunter2"}, []string{"curl", "-b", "x", "-H", "Cookie: ***"}},
		{[]string{"x", "https://h/p?api_key=hunter2&a=b&sig=hunter2"}, []string{"x", "https://h/p?api_key=***&a=b&sig=***"}},
		{[]string{"x", "--url=https://h/p?key=hunter2", "a=b=c", "opts=a,token=hunter2"}, []string{"x", "--url=https://h/p?key=***", "a=b=c", "opts=a,token=***"}},
		{[]string{"x", "gsk_0123456789abcdefghij", "xai-0123456789abcdefghij", "r8_0123456789abcdefghij", "nvapi-0123456789abcdefghij"}, []string{"x", "***", "***", "***", "***"}},
		{[]string{"x", "sk_live_0123456789ab", "hvs.0123456789abcdefghij", "lsv2_pt_0123456789abcdef", "npm_0123456789abcdefghij"}, []string{"x", "***", "***", "***", "***"}},
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

// Whatever the words, as many come out, and a secret behind a known flag is masked.
func FuzzMaskSecrets(f *testing.F) {
	f.Add("x --api-key abc y")
	f.Add("mysql -pabc; sh -c 'TOKEN=abc'")
	f.Add(`{"api_key":"a\"b"} https://u:p@h/x?key=abc Authorization: Bearer abc`)
	f.Fuzz(func(t *testing.T, text string) {
		const secret = "canary0"
		words := append(strings.Split(text, " "), "--", "--api-key", secret, "TOKEN="+secret)
		words = append(words, text, "sk-"+secret+secret)
		once := maskSecrets(words)
		assert.Len(t, once, len(words))
		if !strings.Contains(text, secret) {
			assert.NotContains(t, strings.Join(once, " "), secret)
		}
	})
}

// However a line is made, it is masked in no time: obsrun does so with those of all
// processes of a run.
func TestMaskingIsQuick(t *testing.T) {
	for name, piece := range map[string]string{
		"assignments": "a=", "flags": "-a ", "quotes": `"`, "members": `"a":`, "words": "a ", "colons": "a:", "schemes": "a://", "ats": "://@", "parts": "-p;", "keys": "sk-",
	} {
		began := time.Now()
		maskSecrets([]string{"sh", "-c", strings.Repeat(piece, 32<<10/len(piece))})
		assert.Less(t, time.Since(began), 5*time.Second, name)
	}
	assert.Equal(t, []string{"a=b=c=d=e=f=g=h=" + masked}, maskSecrets([]string{"a=b=c=d=e=f=g=h=i=j"}))
}
