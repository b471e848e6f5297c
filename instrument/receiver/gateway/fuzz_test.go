package gateway

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var plainWord = regexp.MustCompile(`^[A-Za-z0-9._:/@+=\[\]-]*$`)

// Headers name a caller in words that can stand in the journal, and a span only as
// W3C trace context writes one.
func FuzzCaller(f *testing.F) {
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	f.Add("00-"+trace+"-00f067aa0ba902b7-01", "agent-1", "3")
	f.Add("00-"+trace+"-0000000000000000-01-x", "sk-ant-REDACTED", "-1")
	f.Add(trace, "a b\x1b[31m", "9999999999999999999")
	g := &Gateway{traceID: trace, rootSpan: "aaaaaaaaaaaaaaaa"}
	f.Fuzz(func(t *testing.T, traceparent, agent, retry string) {
		who := g.callerOf(http.Header{"Traceparent": {traceparent}, "X-Claude-Code-Agent-Id": {agent}, "X-Stainless-Retry-Count": {retry}})
		assert.Regexp(t, `^([0-9a-fA-F]{16})?$`, who.span)
		assert.Regexp(t, plainWord, who.agent)
		assert.False(t, isSecret(who.agent))
		assert.True(t, who.retry >= 0 && who.retry <= 1000)
	})
}

// An address that is taken for an upstream leads to that host and no other, whatever
// the path behind it; and no error has it, with what may be secret in it.
func FuzzUpstream(f *testing.F) {
	f.Add("https://api.example.com/v1", "export OPENAI_BASE_URL='https://x' # y\nA=b")
	f.Add("http://user:canary@[::1]:80/%2e%2e/?canary=1#x", "=\n=x\n\"")
	f.Add("//x", "A=\"unended")
	f.Add("http://a\\@b/", "\x00=\xff")
	env := filepath.Join(f.TempDir(), ".env")
	f.Fuzz(func(t *testing.T, raw, text string) {
		u, err := parseBase(raw)
		if err != nil {
			assert.NotContains(t, err.Error(), "canary")
		} else {
			assert.Contains(t, []string{"http", "https"}, u.Scheme)
			assert.NotEmpty(t, u.Host)
			shown, err := url.Parse(Upstream{Provider: "openai", URL: u}.String())
			if assert.NoError(t, err) {
				assert.Nil(t, shown.User)
			}
		}
		require.NoError(t, os.WriteFile(env, []byte(text), 0o600))
		for key := range dotEnv(env) {
			assert.NotContains(t, key, "\n")
		}
	})
}
