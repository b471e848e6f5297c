package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// What is skipped because of its bytes is what would not match: each text here does.
func TestPatternsSkipNothingThatMatches(t *testing.T) {
	for text, p := range map[string]*pattern{
		"A=":                   assignment,
		"basic\fx":             bearer,
		"bearer x":             bearer,
		"a:b":                  header,
		"x=y":                  inText,
		"-a\vb -a\rb":          flagInText,
		"--key\nvalue":         flagInText,
		`"k":""`:               inJSON,
		"u:p":                  credentials,
		"a://b":                urlInText,
		"://@":                 userInfo,
		"sk-12345678":          secretValue,
		"hf_0123456789abcdef":  secretValue,
		"xoxb-0123456789":      secretValue,
		"sk_test_0123456789":   secretValue,
		"gsk_0123456789abcdef": secretValue,
		"r8_0123456789abcdef":  secretValue,
		"AKIA0123456789AB":     secretValue,
		"key":                  secretKey,
	} {
		assert.True(t, p.compile().MatchString(text), "%q", text)
		assert.True(t, p.MatchString(text), "%q", text)
		assert.NotEmpty(t, p.FindStringSubmatch(text), "%q", text)
		assert.NotEqual(t, text, p.ReplaceAllString(text, "!"), "%q", text)
		assert.NotEqual(t, text, p.ReplaceAllStringFunc(text, func(string) string { return "!" }), "%q", text)
	}
	assert.Equal(t, "line 7", yamlLine.FindString("at line 7: x"))
	assert.Empty(t, yamlLine.FindString("x"))
}
