package gateway

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var chat = endpoint{suffix: "/chat/completions", name: "chat.completions", conversation: true}

func ask(e endpoint, pieces ...string) *question {
	q := newQuestion(e)
	for _, p := range pieces {
		q.scan.write([]byte(p))
	}
	return q
}

func key(t *testing.T, body string) string {
	t.Helper()
	exact, user := ask(chat, body).keys()
	require.NotEmpty(t, exact)
	require.NotEmpty(t, user)
	for i := range body {
		again, _ := ask(chat, body[:i], body[i:]).keys()
		require.Equal(t, exact, again, "cut at %d", i)
	}
	return exact
}

// Requests of one conversation have one key, whatever else changes.
func TestConversationKey(t *testing.T) {
	same := map[string][]string{
		"chat completions": {
			`{"model":"m","messages":[{"role":"system","content":"S"},{"role":"user","content":"Analyze the node component."}]}`,
			`{"messages":[{"content":"S","role":"developer"},{"content":"Analyze the node component.","role":"user"},{"role":"assistant","content":null,"tool_calls":[{"id":"c"}]},{"role":"tool","content":"x"},{"role":"user","content":"more"}],"model":"m"}`,
			`{"messages":[{"role":"system","content":[{"type":"text","text":"S"}]},{"role":"user","content":[{"type":"text","text":"Analyze the node component.","cache_control":{"type":"ephemeral"}}]}]}`,
		},
		"messages": {
			`{"system":"S","messages":[{"role":"user","content":"U"}]}`,
			`{"messages":[{"role":"user","content":[{"text":"U","type":"text"}]},{"role":"assistant","content":[{"type":"tool_use","input":{"role":"user","content":"V"}}]}],"system":[{"type":"text","text":"S","cache_control":{"type":"ephemeral"}}]}`,
		},
		"responses": {
			`{"instructions":"S","input":"U"}`,
			`{"input":[{"role":"user","content":"U"}],"instructions":"S"}`,
			`{"input":[{"role":"user","content":[{"type":"input_text","text":"U"}]},{"type":"function_call","arguments":"{}"},{"type":"function_call_output","output":"x"}],"instructions":"S"}`,
		},
	}
	for name, bodies := range same {
		first := key(t, bodies[0])
		for _, b := range bodies[1:] {
			assert.Equal(t, first, key(t, b), name)
		}
	}
	distinct := []string{
		`{"messages":[{"role":"user","content":"U"}]}`,
		`{"messages":[{"role":"user","content":"V"}]}`,
		`{"messages":[{"role":"system","content":"S"},{"role":"user","content":"U"}]}`,
		`{"system":"T","messages":[{"role":"user","content":"U"}]}`,
		`{"messages":[{"role":"user","content":[{"type":"text","text":"U"},{"type":"image_url","image_url":{"url":"data:1"}}]}]}`,
		`{"messages":[{"role":"user","content":[{"type":"text","text":"U"},{"type":"image_url","image_url":{"url":"data:2"}}]}]}`,
		`{"messages":[{"role":"user","content":[{"type":"text","text":"U"},{"type":"image","source":{"type":"base64","data":"3"}}]}]}`,
		`{"messages":[{"role":"user","content":[{"type":"text","text":"U"},{"type":"text","text":"W"}]}]}`,
		`{"messages":[{"role":"user","content":[{"type":"text","text":"UW"}]}]}`,
		`{"messages":[{"role":"user","content":"UU"}]}`,
	}
	keys := map[string]string{}
	for _, b := range distinct {
		k := key(t, b)
		assert.Empty(t, keys[k], "%s and %s", keys[k], b)
		keys[k] = b
	}
}

func TestQuestion(t *testing.T) {
	q := ask(chat, `{"messages":[{"role":"user","content":"Analyze the node component.\n\nMore"},{"role":"assistant","content":"x"}],"stream":true,"model":"gpt-4o","previous_response_id":"resp_1","conversation":{"id":"conv_1"}}`)
	assert.Equal(t, "gpt-4o", q.model)
	assert.True(t, q.stream)
	assert.True(t, q.answered)
	assert.Equal(t, "resp_1", q.previous)
	assert.Equal(t, "conv_1", q.thread)
	assert.Equal(t, "Analyze the node component.\n\nMore\n", q.nameText)

	assert.False(t, ask(chat, `{"messages":[{"role":"user","content":"x"}]}`).answered)
	exact, _ := ask(chat, `{"model":"m","messages":[{"role":"system","content":"only"}]}`).keys()
	assert.Empty(t, exact)
	exact, _ = ask(endpoint{name: "embeddings"}, `{"model":"e","input":"text"}`).keys()
	assert.Empty(t, exact)
	assert.Equal(t, "e", ask(endpoint{name: "embeddings"}, `{"model":"e","input":"text"}`).model)
}

func TestLongMessagesAreBounded(t *testing.T) {
	long := strings.Repeat(`word \"x\" `, 1<<18)
	q := ask(chat, `{"messages":[{"role":"user","content":"`, long, `"}],"model":"m"}`)
	assert.LessOrEqual(t, len(q.nameText), maxNameText)
	assert.Equal(t, "m", q.model)
	other := ask(chat, `{"messages":[{"role":"user","content":"`, long, `y"}],"model":"m"}`)
	a, _ := q.keys()
	b, _ := other.keys()
	assert.NotEqual(t, a, b, "the length is part of the hash")
}

func TestNames(t *testing.T) {
	own, err := CompileNamePattern(`(?i)^review (?P<kind>\w+) (?P<name>[\w-]+)`)
	require.NoError(t, err)
	for _, tt := range []struct{ message, want string }{
		{"Analyze the node component.\n\nComponent Information:\n- Name: node", "node"},
		{"Please analyse the disperser-apiserver service", "disperser-apiserver"},
		{"Analyze common", "common"},
		{"analyze `api/clients`.\n", "api/clients"},
		{"Analyze the whole thing and tell me", ""},
		{"<system-reminder>be kind</system-reminder>\nAnalyze the node component.", "node"},
		{"Review file main-go", "main-go"},
		{"Analyze the sk-proj-abcdefghijklmnop component", ""},
		{"Hello", ""},
		{"", ""},
		{"Analyze the " + strings.Repeat("x", 65) + " component", ""},
	} {
		assert.Equal(t, tt.want, nameIn(tt.message, []*regexp.Regexp{own}), tt.message)
	}
	everything, err := CompileNamePattern(`(?s)(.*)`)
	require.NoError(t, err)
	assert.Empty(t, nameIn(strings.Repeat("long text ", 20), []*regexp.Regexp{everything}))
	assert.Empty(t, nameIn("a\x1b[31mb", []*regexp.Regexp{everything}))
	assert.Equal(t, "two words", nameIn("two\n words", []*regexp.Regexp{everything}))

	for _, bad := range []string{"(", "no group"} {
		_, err := CompileNamePattern(bad)
		assert.ErrorContains(t, err, "agent name pattern")
	}
}

func TestUnescape(t *testing.T) {
	const whole = `a\u00fc\ud83d\ude00\"\\b`
	for i := range len(whole) + 1 {
		got := unescape([]byte(whole[:i]))
		assert.True(t, strings.HasPrefix("aü😀\"\\b", strings.TrimSuffix(got, "\uFFFD")), "%d: %q", i, got)
	}
	assert.Equal(t, "aü😀\"\\b", unescape([]byte(whole)))
	assert.Equal(t, "ab", unescape([]byte("a\xffb")))
}

func FuzzQuestion(f *testing.F) {
	f.Add(`{"model":"m","system":[{"text":"S"}],"messages":[{"role":"user","content":[{"type":"text","text":"Analyze the node component."}]}]}`, 5)
	f.Add(`{"input":"U","conversation":"c","previous_response_id":"r"}`, 1)
	f.Fuzz(func(t *testing.T, b string, size int) {
		size = max(1, size%64)
		whole := ask(chat, b)
		var pieces []string
		for rest := b; rest != ""; {
			n := min(size, len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		cut := ask(chat, pieces...)
		exact, user := whole.keys()
		again, userAgain := cut.keys()
		assert.Equal(t, exact, again)
		assert.Equal(t, user, userAgain)
		assert.Equal(t, whole.model, cut.model)
		assert.Equal(t, whole.nameText, cut.nameText)
		assert.LessOrEqual(t, len(whole.nameText), maxNameText)
		if !json.Valid([]byte(`"` + b + `"`)) {
			unescape([]byte(b))
		}
	})
}
