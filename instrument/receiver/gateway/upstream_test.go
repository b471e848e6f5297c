package gateway

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestUpstreams(t *testing.T) {
	for _, tt := range []struct {
		name              string
		names, flags, env []string
		want              []string
		err               string
	}{
		{name: "public", names: []string{"openai", "anthropic", "openai"}, want: []string{"https://api.openai.com/v1 default", "https://api.anthropic.com default"}},
		{name: "environment", names: []string{"openai", "anthropic"},
			env:  []string{"OPENAI_API_BASE=http://old/v1", "OPENAI_BASE_URL=http://u:p@litellm:4000/v1?k=1", "ANTHROPIC_BASE_URL="},
			want: []string{"http://litellm:4000/v1 OPENAI_BASE_URL", "https://api.anthropic.com default"}},
		{name: "the older variable", names: []string{"openai"}, env: []string{"OPENAI_API_BASE=http://old/v1"}, want: []string{"http://old/v1 OPENAI_API_BASE"}},
		{name: "the last of two", names: []string{"openai"}, env: []string{"OPENAI_BASE_URL=http://a", "OPENAI_BASE_URL=http://b"}, want: []string{"http://b OPENAI_BASE_URL"}},
		{name: "a flag goes over the environment", names: []string{"openai"}, flags: []string{"https://x/v1"}, env: []string{"OPENAI_BASE_URL=http://a"}, want: []string{"https://x/v1 flag"}},
		{name: "by provider", names: []string{"openai", "anthropic"}, flags: []string{"anthropic=http://b?x=y"}, want: []string{"https://api.openai.com/v1 default", "http://b flag"}},
		{name: "whose", names: []string{"openai", "anthropic"}, flags: []string{"https://x"}, err: "PROVIDER=URL"},
		{name: "a query in a flag", names: []string{"openai"}, flags: []string{"https://x/v1?a=b"}, want: []string{"https://x/v1 flag"}},
		{name: "unknown", names: []string{"google"}, err: `provider "google" is not known: say openai, anthropic`},
		{name: "not asked for", names: []string{"openai"}, flags: []string{"anthropic=http://b"}, err: "none of the gateway's providers"},
		{name: "no URL", names: []string{"openai"}, env: []string{"OPENAI_BASE_URL=secret@nowhere"}, err: "base URL of openai (OPENAI_BASE_URL) is no http or https URL"},
		{name: "another scheme", names: []string{"openai"}, flags: []string{"file:///etc/passwd"}, err: "is no http or https URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			upstreams, err := Upstreams(tt.names, tt.flags, tt.env)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				assert.NotContains(t, err.Error(), "secret")
				return
			}
			require.NoError(t, err)
			var got []string
			for _, u := range upstreams {
				got = append(got, u.String()+" "+u.From)
			}
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestEnvironment(t *testing.T) {
	upstreams, err := Upstreams(Providers(), nil, []string{"OPENAI_BASE_URL=http://u:p@litellm:4000/a%2Fb/v1?k=1"})
	require.NoError(t, err)
	g := &Gateway{upstreams: upstreams, address: "127.0.0.1:99", prefix: "/TOKEN/"}
	want := []string{
		"OPENAI_BASE_URL=http://u:p@127.0.0.1:99/TOKEN/openai/a%2Fb/v1?k=1", "OPENAI_API_BASE=http://u:p@127.0.0.1:99/TOKEN/openai/a%2Fb/v1?k=1",
		"ANTHROPIC_BASE_URL=http://127.0.0.1:99/TOKEN/anthropic",
	}
	assert.Equal(t, want, g.Environment([]string{"HTTPS_PROXY=http://p", "NO_PROXY=x"}), "an HTTPS proxy is not asked for it")
	assert.Equal(t, append(want, "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1"), g.Environment([]string{"HTTP_PROXY=http://p"}))
	assert.Equal(t, append(want, "NO_PROXY=a,b,127.0.0.1", "no_proxy=a,b,127.0.0.1"), g.Environment([]string{"all_proxy=http://p", "no_proxy=a, b"}))
	assert.Equal(t, append(want, "NO_PROXY=*", "no_proxy=c,127.0.0.1"), g.Environment([]string{"http_proxy=http://p", "NO_PROXY=*", "no_proxy=c"}))
	public, _ := Upstreams([]string{"openai"}, nil, nil)
	g.upstreams = public
	assert.Contains(t, g.Environment(nil), "OPENAI_BASE_URL=http://127.0.0.1:99/TOKEN/openai/v1")
}

func TestNotes(t *testing.T) {
	upstreams, err := Upstreams(Providers(), nil, nil)
	require.NoError(t, err)
	dir := t.TempDir()
	notes := func(text string, env ...string) []string {
		require.NoError(t, os.WriteFile(filepath.Join(dir, ".env"), []byte(text), 0o600))
		return Notes(upstreams, dir, env)
	}
	assert.Empty(t, Notes(upstreams, filepath.Join(dir, "none"), nil))
	assert.Empty(t, notes("OPENAI_BASE_URL=https://API.openai.com/v1/ # the same\nFOO=bar\n# OPENAI_BASE_URL=http://x\nOPENAI_BASE_URL_X=http://x\nANTHROPIC_BASE_URL=\n"))
	got := notes("export OPENAI_BASE_URL=\"https://user:secret@evil.example/v1?k=secret\" # x\r\nANTHROPIC_BASE_URL='http://b'")
	require.Len(t, got, 2)
	assert.Contains(t, got[0], "sets OPENAI_BASE_URL to https://evil.example; it is not followed: through the gateway calls to openai go to https://api.openai.com/v1")
	assert.Contains(t, got[1], "ANTHROPIC_BASE_URL to http://b;")
	assert.NotContains(t, got[0], "secret")
	for _, hostile := range []string{"OPENAI_BASE_URL=\x1b[31mred", "OPENAI_BASE_URL=http://a\x1b]0;x", "OPENAI_BASE_URL=::::"} {
		got := notes(hostile)
		require.Len(t, got, 1)
		assert.Contains(t, got[0], "to another address;")
	}
	assert.Equal(t, []string{"CLAUDE_CODE_USE_BEDROCK is set: calls that follow it do not pass the gateway"}, notes("", "CLAUDE_CODE_USE_BEDROCK=1", "AZURE_OPENAI_ENDPOINT=0"))

	// What is no plain file is not waited for.
	require.NoError(t, os.Remove(filepath.Join(dir, ".env")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, ".env"), 0o600))
	assert.Empty(t, Notes(upstreams, dir, nil))
}
