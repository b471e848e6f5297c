package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument"
	"github.com/obsrun/obsrun/instrument/run"
)

// The same orchestrator in three languages: two agents side by side, below each a
// call of a tool, one of them failed; below the second a program of its own; a
// queue of 500 agents, of which the last is never begun; and no word at the end.
const (
	pythonProgram = `
import asyncio, subprocess, sys
sys.path.insert(0, sys.argv[1])
from obsrun import span, queued, log, artifact, phase, env, current
import os

async def agent(name, fails):
    async with span(name, kind="library-analysis", component=name) as s:
        await asyncio.sleep(0.001)
        with span("Read", kind="tool"):
            await asyncio.sleep(0.001)
        s.tokens(input=40, output=2)
        s.tool_use()
        artifact(name + ".md", "analysis")
        if fails:
            subprocess.run(["obsrun", "span", "--kind", "tool", "Bash", "--", "true"], env={**os.environ, **env()}, check=True)
            raise ValueError("no such file")

async def main():
    with span("work", kind="phase"):
        await asyncio.gather(agent("a", False), agent("b", True), return_exceptions=True)

asyncio.run(main())
waiting = [queued("q%d" % i, kind="agent") for i in range(500)]
for q in waiting[:-1]:
    with q as s:
        s.tokens(1)
log("ready: ümläut", level="warn")
current().update(attrs={"source_repo": "https://example.com/r", "source_commit": "abc1234"})
`
	javascriptProgram = `
import { spawnSync } from "node:child_process";
const { span, queued, log, artifact, env, current } = await import(process.argv[2] + "/obsrun.mjs");
const nap = () => new Promise((resolve) => setTimeout(resolve, 1));

const agent = (name, fails) => span(name, { kind: "library-analysis", component: name }, async (s) => {
  await nap();
  await span("Read", { kind: "tool" }, nap);
  s.tokens({ input: 40, output: 2 });
  s.toolUse();
  artifact(name + ".md", "analysis");
  if (fails) {
    const { status } = spawnSync("obsrun", ["span", "--kind", "tool", "Bash", "--", "true"], { env: { ...process.env, ...env() } });
    if (status !== 0) process.exit(9);
    throw new TypeError("no such file");
  }
});

await span("work", { kind: "phase" }, () => Promise.allSettled([agent("a", false), agent("b", true)]));
const waiting = Array.from({ length: 500 }, (_, i) => queued("q" + i, { kind: "agent" }));
for (const q of waiting.slice(0, -1)) q.run((s) => s.tokens(1));
log("ready: ümläut", "warn");
current().update({ attrs: { source_repo: "https://example.com/r", source_commit: "abc1234" } });
`
)

// instrumented is that orchestrator in Go.
func instrumented() {
	ctx, work := instrument.Start(context.Background(), "work", instrument.Options{Kind: "phase"})
	var agents sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		agents.Go(func() {
			ctx, s := instrument.Start(ctx, name, instrument.Options{Kind: "library-analysis", Component: name})
			_, tool := instrument.Start(ctx, "Read", instrument.Options{Kind: "tool"})
			tool.End(nil)
			s.Use(instrument.Usage{Input: 40, Output: 2})
			s.ToolUses(1)
			instrument.Artifact(ctx, name+".md", "analysis")
			if name == "a" {
				s.End(nil)
				return
			}
			span := osexec.Command("obsrun", "span", "--kind", "tool", "Bash", "--", "true")
			span.Env = append(os.Environ(), s.Env()...)
			if err := span.Run(); err != nil {
				panic(err)
			}
			s.End(errors.New("no such file"))
		})
	}
	agents.Wait()
	work.End(nil)
	var waiting []*instrument.Span
	for i := range 500 {
		waiting = append(waiting, instrument.Queue(context.Background(), fmt.Sprint("q", i), instrument.Options{Kind: "agent"}))
	}
	for _, q := range waiting[:499] {
		q.Start(context.Background())
		q.Tokens(1)
		q.End(nil)
	}
	instrument.Log(context.Background(), "warn", "ready: ümläut")
	instrument.Current(context.Background()).Update("", map[string]any{"source_repo": "https://example.com/r", "source_commit": "abc1234"})
	instrument.Close()
}

func TestClients(t *testing.T) {
	folder := func(name string) string {
		path, err := filepath.Abs("../../instrument/" + name)
		require.NoError(t, err)
		return path
	}
	for name, command := range map[string][]string{
		"go":         {"instrument"},
		"python":     {"python3", "program.py", folder("python")},
		"javascript": {"node", "program.mjs", folder("javascript")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "program.py"), []byte(pythonProgram), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "program.mjs"), []byte(javascriptProgram), 0o600))

			stdout, stderr, status := obsrunWith(t, dir, []string{"PYTHONDONTWRITEBYTECODE=1"}, append([]string{"--"}, command...)...)
			require.Zero(t, status, stdout+stderr)
			assert.Empty(t, stdout)
			assert.Empty(t, stderr)
			loaded, err := run.Load(filepath.Join(dir, "logs", "latest"))
			require.NoError(t, err)
			checkClient(t, loaded.State)

			// Outside a run it does the same, and tells nobody.
			alone := osexec.Command(command[0], command[1:]...)
			alone.Dir = dir
			out, err := alone.CombinedOutput()
			assert.NoError(t, err)
			assert.Empty(t, string(out))
		})
	}
}

func checkClient(t *testing.T, state *run.State) {
	t.Helper()
	byID := make(map[string]run.Span)
	for span := range state.Spans() {
		byID[span.ID] = span
	}
	var got []string
	queued := 0
	for _, span := range byID {
		if span.Kind == "process" { // it is obsrun that tells of these
			continue
		}
		if strings.HasPrefix(span.Name, "q") {
			queued++
			assert.Equal(t, state.RootID(), span.Parent)
			if span.Name != "q499" {
				assert.Equal(t, run.Done, span.State, span.Name)
				continue
			}
		}
		parent := byID[span.Parent].Name
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s/%s %s %s", parent, span.Name, span.Kind, span.State)))
	}
	assert.Equal(t, 500, queued)
	assert.ElementsMatch(t, []string{
		"/work phase done", "work/a library-analysis done", "work/b library-analysis error", "a/Read tool done", "b/Read tool done", "b/Bash tool done",
		"/q499 agent lost",
	}, got)

	totals := state.Totals()
	assert.Equal(t, 501, totals.AgentsSpawned)
	assert.EqualValues(t, 2*42+499, totals.Tokens)
	assert.Zero(t, totals.RejectedEvents)
	for _, span := range byID {
		if span.Name == "b" && span.IsAgent {
			assert.Contains(t, span.Error, "no such file")
			assert.EqualValues(t, 42, span.Tokens)
			assert.EqualValues(t, 1, span.ToolUses, "as it reported")
		}
	}
	info := state.Info()
	assert.Equal(t, []string{"https://example.com/r", "abc1234", ""}, []string{info.SourceRepo, info.SourceCommit, info.SourceFrom})
	var words []string
	for _, l := range state.Logs() {
		words = append(words, l.Level+" "+l.Message)
	}
	assert.Equal(t, []string{"warn ready: ümläut"}, words)
	assert.Equal(t, 2, totals.AnalysesWritten)
}
