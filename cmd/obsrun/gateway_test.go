package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
)

// An orchestrator with a lead and two agents at a time, which knows nothing of
// obsrun: it tracks its agents with Burr and asks a model for each step.
const meteredProgram = `
import datetime, json, os, threading, time, urllib.request
project = os.path.join(os.environ["HOME"], ".burr", "flashlight-x")

def ask(messages):
    body = json.dumps({"model": "m", "messages": messages}).encode()
    request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body,
                                     {"Content-Type": "application/json", "Authorization": "Bearer canary"})
    return json.load(urllib.request.urlopen(request))["choices"][0]["message"]

def agent(component):
    app = os.path.join(project, "subagent-component-analyzer-" + component)
    os.makedirs(app)
    log, step = open(os.path.join(app, "log.jsonl"), "w"), 0
    def tell(kind, action, **more):
        now = datetime.datetime.now().isoformat()
        print(json.dumps({"type": kind + "_entry", ("start" if kind == "begin" else "end") + "_time": now, "action": action,
                          "inputs": {}, "sequence_id": step, **more}), file=log, flush=True)
    def done(action):
        tell("end", action, result={}, exception=None, state={})
    tell("begin", "receive_input"); done("receive_input")
    messages = [{"role": "system", "content": "You analyze."}, {"role": "user", "content": "Analyze the %s component." % component}]
    while True:
        step += 1
        tell("begin", "call_llm"); answer = ask(messages); done("call_llm")
        messages.append(answer)
        if not answer.get("tool_calls"):
            break
        step += 1
        tell("begin", "execute_tools"); time.sleep(0.02); done("execute_tools")
        messages.append({"role": "tool", "tool_call_id": "c", "content": "text"})
    step += 1
    tell("begin", "respond"); done("respond")

ask([{"role": "user", "content": "Which components are there?"}])
for depth in (("node", "api"), ("relay",)):
    threads = [threading.Thread(target=agent, args=(c,)) for c in depth]
    [t.start() for t in threads]; [t.join() for t in threads]
`

// The gateway alone knows the tokens, the log alone knows the agents: together they
// are one run, with every token at its agent and none twice.
func TestMeteredAgents(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var question struct{ Messages []json.RawMessage }
		_ = json.Unmarshal(body, &question)
		answer := map[string]any{"role": "assistant", "content": "It does."}
		if strings.Contains(string(body), "Analyze the") && len(question.Messages) < 5 {
			answer["tool_calls"] = []map[string]any{{"id": "c", "type": "function", "function": map[string]string{"name": "read_file", "arguments": "{}"}}}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"object": "chat.completion", "model": "m", "choices": []map[string]any{{"message": answer, "finish_reason": "stop"}},
			"usage": map[string]int{"prompt_tokens": 100 * len(question.Messages), "completion_tokens": 7},
		})
	}))
	defer upstream.Close()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "program.py"), []byte(meteredProgram), 0o600))
	stdout, stderr, status := obsrunWith(t, dir, []string{"HOME=" + dir, "NO_PROXY=*"},
		"--gateway", "openai", "--gateway-upstream", upstream.URL+"/v1", "--", "python3", "program.py")
	require.Zero(t, status, stdout+stderr)

	loaded, err := run.Load(filepath.Join(dir, "logs", "latest"))
	require.NoError(t, err)
	state := loaded.State
	totals := state.Totals()
	assert.Equal(t, 3, totals.AgentsSpawned)
	assert.Equal(t, 3, totals.Done)
	agents := map[string]int64{}
	for span := range state.Spans() {
		if span.IsAgent {
			agents[span.Component] = span.Tokens
			assert.Equal(t, "burr", span.Source)
		}
	}
	// Three calls each, with 2, 4 and 6 messages.
	const each = 200 + 400 + 600 + 3*7
	assert.Equal(t, map[string]int64{"node": each, "api": each, "relay": each}, agents)
	assert.EqualValues(t, 3*each+107, totals.Tokens, "the lead's own call counts, too: nobody else tells of tokens")
	assert.EqualValues(t, 107, totals.TokenSources["unattributed"])
	assert.Equal(t, 10, totals.LLMCalls)
	assert.Equal(t, 10, totals.LLMCallsWithUsage)
	journal, err := os.ReadFile(filepath.Join(dir, "logs", "latest", "telemetry.jsonl"))
	require.NoError(t, err)
	assert.NotContains(t, string(journal), "canary")
	assert.NotContains(t, string(journal), "Analyze the")
}
