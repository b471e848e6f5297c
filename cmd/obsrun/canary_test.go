package main

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// canary stands in every secret of TestCanary. It is one word of letters and
// digits, so that no quoting can hide it.
const canary = "c4naryb1rd7c1f0a"

// canaryProgram is an orchestrator that has secrets everywhere: it asks a model
// through the gateway, sends telemetry over OTLP and asks the dashboard for
// everything it has. What it got of that goes to the directory named first.
const canaryProgram = `
import json, os, sys, urllib.error, urllib.parse, urllib.request
served, canary = sys.argv[1], os.environ["CANARY"]
token = urllib.parse.parse_qs(urllib.parse.urlsplit(os.environ["OBSRUN_URL"]).query)["token"][0]
base = os.environ["OBSRUN_URL"].split("/?")[0]

def ask(url, body=None, **headers):
    scheme, rest = url.split("://")
    url = scheme + "://" + rest[rest.find("@") + 1:] # urllib knows no user in an address
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        return error.read()

secrets = dict(Authorization="Bearer sk-proj-" + canary, x_api_key="sk-ant-" + canary, Cookie="session=" + canary, api_key=canary, User_Agent="agent/" + canary)
for path in ("/chat/completions", "/responses", "/embeddings"):
    for fail in ("", "1"):
        ask(os.environ["OPENAI_BASE_URL"] + path + "?api_key=" + canary + "&key=" + canary, {
            "model": "m", "messages": [{"role": "system", "content": canary}, {"role": "user", "content": "my key is sk-" + canary}],
            "input": canary, "user": canary, "metadata": {"key": canary}}, X_Fail=fail, **secrets)
ask(os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages", {"model": "m", "system": canary, "messages": [{"role": "user", "content": canary}]}, **secrets)

name, value = os.environ["OTEL_EXPORTER_OTLP_HEADERS"].split(",")[-1].split("=", 1)
secrets[name] = urllib.parse.unquote(value)
span = {"traceId": "f" * 32, "spanId": "00000000000000a1", "name": "invoke_agent", "startTimeUnixNano": "1712534400000000000", "endTimeUnixNano": "1712534401000000000",
        "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "invoke_agent"}}, {"key": "gen_ai.agent.name", "value": {"stringValue": "planner"}},
                       {"key": "http.request.header.authorization", "value": {"stringValue": "Bearer " + canary}}]}
assert ask(os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] + "/v1/traces?key=" + canary, {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}, **secrets) == b"{}"
ask(os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] + "/v1/traces?key=" + canary, 7, **secrets)

for path in ("/", "/state", "/telemetry.jsonl", "/run_summary.json", "/terminal.cast", "/files", "/samples", "/nothing?key=" + canary):
    with open(os.path.join(served, path.split("?")[0].replace("/", "_")), "wb") as file:
        file.write(ask(base + path, Authorization="Bearer " + token))
for path in ("/events", "/state"):
    stream = urllib.request.urlopen(urllib.request.Request(base + path, headers={"Authorization": "Bearer " + token, "Accept": "text/event-stream"}))
    with open(os.path.join(served, path[1:] + "_stream"), "wb") as file:
        file.write(stream.read1(1 << 20) + stream.read1(1 << 20))
`

// spellings are the ways in which a secret could be written somewhere.
func spellings(secret string) map[string][]byte {
	all := map[string][]byte{
		"as it is": []byte(secret), "in hex": []byte(hex.EncodeToString([]byte(secret))),
	}
	for at := range 3 { // base64 of a text that has it somewhere
		encoded := base64.StdEncoding.EncodeToString([]byte("xyz"[:at] + secret))
		all["in base64, at "+string(rune('0'+at))] = []byte(encoded[4 : len(encoded)-4])
	}
	return all
}

// No key of the environment, of command lines, of addresses, of what goes through
// the gateway or comes over OTLP is in anything that obsrun writes, prints or
// serves; and nobody else can read what it writes, whatever the umask.
func TestCanary(t *testing.T) {
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Request-Id", "request "+canary)
		if r.Header.Get("X-Fail") != "" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":{"message":"Incorrect API key provided: sk-`+canary+`","code":"invalid"}}`)
			return
		}
		_, _ = io.WriteString(w, `{"model":"m","choices":[{"message":{"content":"your key is sk-`+canary+`"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
	}))
	defer provider.Close()
	var teed sync.Map
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		teed.Store(r.Header.Get("X-Team"), true)
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "the key "+canary+" is wrong")
	}))
	defer collector.Close()
	withUser := func(address string) string {
		u, err := url.Parse(address)
		require.NoError(t, err)
		u.User = url.UserPassword("user", canary)
		return u.String()
	}

	home, out := t.TempDir(), t.TempDir() // what obsrun writes, and what it says
	served := filepath.Join(out, "served")
	require.NoError(t, os.Mkdir(served, 0o700))
	program := filepath.Join(t.TempDir(), "program.py")
	require.NoError(t, os.WriteFile(program, []byte(canaryProgram), 0o600))
	for _, args := range [][]string{{"init", "-q"}, {"remote", "add", "origin", "https://user:" + canary + "@host.example/repo"},
		{"-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-q", "--allow-empty", "-m", "x"}} {
		git := osexec.Command("git", args...)
		git.Dir = home
		text, err := git.CombinedOutput()
		require.NoError(t, err, "%s", text)
	}
	require.NoError(t, os.RemoveAll(filepath.Join(home, ".git", "hooks")))
	config, err := os.ReadFile(filepath.Join(home, ".git", "config"))
	require.NoError(t, err)
	require.Contains(t, string(config), canary)

	env := []string{
		"HOME=" + home, "TMPDIR=" + home, "CANARY=" + canary, "NO_PROXY=*", "https_proxy=http://user:" + canary + "@127.0.0.1:1",
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + withUser(collector.URL), "OTEL_EXPORTER_OTLP_HEADERS=x-team=" + canary + ",authorization=Bearer%20" + canary,
	}
	for name, value := range map[string]string{
		"OPENAI_API_KEY": "sk-proj-", "ANTHROPIC_API_KEY": "sk-ant-api03-", "GEMINI_API_KEY": "AIzaSy", "GROQ_API_KEY": "gsk_", "HF_TOKEN": "hf_",
		"AWS_SECRET_ACCESS_KEY": "", "AWS_ACCESS_KEY_ID": "AKIA", "GITHUB_TOKEN": "ghp_", "XAI_API_KEY": "xai-", "LANGSMITH_API_KEY": "lsv2_pt_", "DATABASE_URL": "postgres://u:",
	} {
		env = append(env, name+"="+value+canary)
	}
	for _, setting := range env {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	t.Chdir(home)
	said := 0
	say := func(args ...string) {
		t.Helper()
		var stdout, stderr string
		if args[0] != "doctor" && slices.Contains(args, "--") {
			stdout, stderr, _ = obsrun(t, home, args...)
		} else {
			stdout, stderr = inProcess(t, args...)
		}
		said++
		assert.NotContains(t, stdout+stderr, "panic", "%q", args)
		require.NoError(t, os.WriteFile(filepath.Join(out, fmt.Sprintf("%s-%d", strings.Trim(args[0], "-"), said)), []byte(stdout+"\n"+stderr), 0o600))
	}
	secrets := []string{
		"--api-key", canary, "--api-key=" + canary, "OPENAI_API_KEY=" + canary, "-H", "Authorization: Bearer " + canary, "-H", "x-api-key: " + canary,
		"sk-ant-api03-" + canary, "ghp_" + canary + "0123", "--url=https://user:" + canary + "@host.example/x?api_key=" + canary + "&token=" + canary,
		"postgres://u:" + canary + "@db/x", `{"apiKey":"` + canary + `"}`, "-u", "user:" + canary, "sh -c 'mysql -p" + canary + " db'", "--header=Cookie: session=" + canary,
	}

	// One run with everything, under a umask that keeps nobody out.
	run := append([]string{"-c", `umask 0; exec obsrun "$@"`, "sh", "--log-dir", "logs", "--record", "--gateway", "openai,anthropic", "--gateway-upstream", "openai=" + withUser(provider.URL) + "/v1",
		"--gateway-upstream", "anthropic=" + withUser(provider.URL), "--source-commit", "1", "--source-repo", "https://user:" + canary + "@host.example/repo", "--", "python3", program, served}, secrets...)
	cmd := osexec.CommandContext(t.Context(), "sh", run...)
	cmd.Dir, cmd.Env = home, append(os.Environ(), detach+"=1")
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", text)
	require.NoError(t, os.WriteFile(filepath.Join(out, "run"), text, 0o600))
	_, forwarded := teed.Load(canary)
	assert.True(t, forwarded, "the user's collector got the user's header")

	// Runs that fail, with the work tree's remote as what they are about.
	say(append([]string{"--gateway", "openai", "--gateway-upstream", "http://" + canary + ":" + canary + "@127.0.0.1:1", "--", "false"}, secrets...)...)
	say("--otlp-export", withUser(collector.URL), "--otlp-export-headers", "x-team="+canary, "--", "sh", "-c", "TOKEN="+canary+" true; curl -u a:"+canary+" x; mysql -p"+canary)
	obsrun(t, home, "--", "OPENAI_API_KEY="+canary, "./analyze") // it tells who called it what was not found, as a shell does
	say("--no-such-flag", "--", "x")

	for _, format := range []string{"text", "json", "markdown", "html"} {
		say("report", "--format", format)
		if format != "html" {
			say("report", "--format", format, "--compare", "latest", "latest~1")
		}
	}
	for _, format := range []string{"chrome-trace", "otlp-json", "csv", "jsonl", "parquet", "junit", "html", "markdown", "asciicast"} {
		for _, which := range []string{"latest", "latest~2", "latest~3"} {
			say("export", "--format", format, "--output", filepath.Join(out, format+which), which)
		}
	}
	for _, format := range []string{"text", "json"} {
		say("list", "--format", format)
	}
	say("report", "--trend", "total_wall_ms")
	say("prune", "--dry-run", "--keep-last", "1")
	say(append([]string{"doctor", "--", "python3", program}, secrets...)...)
	say("doctor")
	assert.Greater(t, said, 40)

	files := 0
	ways := spellings(canary)
	look := func(path string, content []byte) {
		files++
		for how, spelling := range ways {
			if at := bytes.Index(content, spelling); at >= 0 {
				t.Errorf("%s has the secret %s: %q", path, how, content[max(0, at-80):min(len(content), at+80)])
			}
		}
	}
	for _, dir := range []string{home, out} {
		require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			require.NoError(t, err)
			if entry.Name() == ".git" {
				return fs.SkipDir
			}
			look("the name "+path, []byte(entry.Name()))
			info, err := entry.Info()
			require.NoError(t, err)
			switch {
			case entry.IsDir():
				if path != dir {
					assert.Zero(t, info.Mode().Perm()&0o077, "%s is open to others", path)
				}
				return nil
			case !entry.Type().IsRegular():
				return nil
			}
			if dir == home {
				assert.EqualValues(t, 0o600, info.Mode().Perm(), path)
			}
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			look(path, content)
			if archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content))); err == nil {
				assert.Empty(t, archive.File, path)
			}
			return nil
		}))
	}
	assert.Greater(t, files, 80)
}
