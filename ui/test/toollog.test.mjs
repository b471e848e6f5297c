import test from "node:test";
import assert from "node:assert/strict";
import { ToolLog } from "../src/toollog.js";
import { joinLog, aimOf } from "../src/record.js";
import { classOf, weightOf } from "../src/weight.js";
import { Model } from "../src/model.js";
import { START, agent, call, delta, info } from "./run.mjs";

const line = (event, seconds, more) => `${JSON.stringify({ event, timestamp: new Date(START + seconds * 1000).toISOString(), ...more })}\n`;

const LOG = [
  line("text_block", 0, { agent_id: "MAIN_AGENT", text: "Off we go.", text_length: 10 }),
  line("tool_call_start", 1, { tool_use_id: "t1", agent_id: "A-1", tool_name: "Read", tool_input: { file_path: "/src/a.go" } }),
  line("tool_call_start", 2, { tool_use_id: "t2", agent_id: "A-1", tool_name: "Bash", tool_input: { command: "wc -l /src/a.go" } }),
  line("tool_call_complete", 3, { tool_use_id: "t1", agent_id: "A-1", tool_name: "Read", success: true, error: null, output_size: 24000 }),
  line("tool_call_error", 4, { tool_use_id: "t2", agent_id: "A-1", duration_ms: 2000, error: "no such file" }),
  line("thinking_block", 4, { agent_id: "A-1", thinking: "Hm.", thinking_length: 3 }),
  line("llm_complete", 5, { agent_id: "A-1", input_tokens: 1500, output_tokens: 300, cache_read_tokens: 1000, cache_creation_tokens: 100 }),
  line("subagent_complete", 6, { subagent_id: "A-1", subagent_type: "analyzer", description: "Analyze encoding" }),
].join("");

test("a log is read in whatever pieces it comes", () => {
  const whole = new ToolLog().feed(LOG);
  for (const size of [1, 7, 100]) {
    const parts = new ToolLog();
    for (let i = 0; i < LOG.length; i += size) parts.feed(LOG.slice(i, i + size));
    assert.deepEqual(parts.calls, whole.calls);
    assert.deepEqual(parts.blocks, whole.blocks);
    assert.deepEqual(parts.usage, whole.usage);
  }
  assert.equal(whole.calls.length, 2);
  assert.deepEqual(whole.calls.map((c) => [c.tool, c.failed, c.error, c.size]), [["Read", false, "", 24000], ["Bash", true, "no such file", NaN]]);
  assert.deepEqual(whole.blocks.map((b) => [b.kind, b.agent, b.length]), [["text", "MAIN_AGENT", 10], ["thinking", "A-1", 3]]);
  assert.deepEqual(whole.usage.map(({ input, read, created, output }) => [input, read, created, output]), [[400, 1000, 100, 300]]);
});

test("half a line waits, what is no line is counted, and nothing makes it fail", () => {
  const log = new ToolLog();
  log.feed('{"event":"text_block","text":"ha');
  assert.equal(log.blocks.length, 0);
  log.feed('lf"}\nnot json\n[]\nnull\n\n{"event":7}\n{"event":"tool_call_start","tool_input":[]}\n{"event":"tool_call_complete"}\n{"message":{"content":[null,7,{"type":"text"}]}}\n');
  assert.equal(log.blocks[0].text, "half");
  assert.equal(log.unreadable, 3);
  assert.equal(log.lines, 8);
  assert.doesNotThrow(() => joinLog(log, new Model()));
});

test("the last line of a file may have no end", () => {
  assert.equal(new ToolLog().feed(LOG.trimEnd()).close().lines, 8);
});

test("a transcript: parts of a message, its usage once, results", () => {
  const say = (id, content, usage) => `${JSON.stringify({ type: "assistant", timestamp: "2026-04-08T00:00:00Z", sessionId: "s", message: { id, role: "assistant", content, usage } })}\n`;
  const usage = { input_tokens: 4, cache_read_input_tokens: 900, cache_creation_input_tokens: 96, output_tokens: 50 };
  const log = new ToolLog().feed(say("m1", [{ type: "text", text: "Hello" }], usage) + say("m1", [{ type: "tool_use", id: "t", name: "Grep", input: { pattern: "x" } }], usage) +
    `${JSON.stringify({ type: "user", timestamp: "2026-04-08T00:00:02Z", message: { role: "user", content: [{ type: "tool_result", tool_use_id: "t", content: "found", is_error: true }, { type: "text", text: "mine" }] } })}\n`);
  assert.deepEqual(log.usage.map(({ input, read, created, output }) => [input, read, created, output]), [[4, 900, 96, 50]]);
  assert.deepEqual(log.blocks.map((b) => b.text), ["Hello"]);
  assert.deepEqual(log.calls.map((c) => [c.tool, c.end - c.at, c.size, c.failed, c.error]), [["Grep", 2000, 5, true, "found"]]);
});

test("the log and the state are joined: names, missing calls, the clock of another zone", () => {
  const model = new Model();
  model.apply(delta(0, 9, { spans: [
    agent("tool_calls:agent:x", "p", "done", 1, 9, { name: "encoding" }),
    call("tool_calls:t1", "tool_calls:agent:x", "Read", "done", { start_ms: START + 1000 + 7200e3, end_ms: START + 3000 + 7200e3 }),
    call("own", "tool_calls:agent:x", "Glob", "running", { attrs: { pattern: "**/*.go" } }),
  ], run: info({ start_ms: START + 7200e3 }) }));
  const joined = joinLog(new ToolLog().feed(LOG), model);
  assert.equal(joined.apart, false);
  assert.deepEqual(joined.calls.map((c) => [c.tool, c.name, c.span, c.at - START - 7200e3]), [
    ["Read", "encoding", "tool_calls:t1", 1000], ["Bash", "encoding", "", 2000], ["Glob", "encoding", "own", 1000 - 7200e3],
  ]);
  assert.equal(joined.blocks[1].owner, "tool_calls:agent:x");
  assert.equal(joined.blocks[0].name, "MAIN_AGENT");
  assert.equal(joined.calls[2].end, 0);
});

test("what was not yet is not told in a replay", () => {
  const model = new Model();
  model.apply(delta(0, 1));
  const joined = joinLog(new ToolLog().feed(LOG), model, START + 2500);
  assert.deepEqual(joined.calls.map((c) => [c.tool, c.end, c.failed]), [["Read", 0, false], ["Bash", 0, false]]);
  assert.equal(joined.blocks.length, 1);
  assert.equal(joined.usage.length, 0);
  assert.equal(joined.calls[0].name, "encoding", "the log's own name for it");
});

test("a log of another day has a clock of its own", () => {
  const model = new Model();
  model.apply(delta(0, 1, { run: info({ start_ms: START + 30 * 86400e3 }) }));
  const joined = joinLog(new ToolLog().feed(LOG), model, START + 30 * 86400e3 + 5);
  assert.equal(joined.apart, true);
  assert.equal(joined.start, START);
  assert.equal(joined.calls.length, 2);
});

test("weights by what a call does and how much came back", () => {
  for (const [tool, input, size, want] of [
    ["Read", { file_path: "a" }, 100, 8], ["Read", { limit: 100 }, 100, 4], ["Read", { limit: 100 }, 80 * 500, 6], ["Read", {}, 80 * 900, 10],
    ["Write", {}, 10, 3], ["Bash", { command: "wc -l a" }, 5, 2], ["Bash", { command: "find / -name x" }, NaN, 10], ["Bash", { command: "cat a.go | wc -l" }, 5, 2], ["Bash", { command: "cd x && FOO=1 git log | head" }, 5, 4],
    ["Bash", { command: "cd x && /usr/bin/git log" }, 5, 6], ["Bash", { command: "git diff" }, 5, 8], ["Bash", { command: "ls -la -R ." }, 5, 9], ["Bash", { command: " ; " }, 5, 5], ["Bash", { command: "wc -l src/*.go" }, 5, 2], ["Bash", {}, 0, 5],
    ["Glob", { pattern: "**/*.go" }, 10, 8], ["Grep", { pattern: "x" }, 10, 6], ["Task", {}, 10, 5], ["Anything", undefined, NaN, 7.5],
  ]) assert.equal(weightOf(tool, input, size), want, `${tool} ${JSON.stringify(input)} ${size}`);
  assert.deepEqual([10, 9, 8.9, 6, 3, 2, 0].map(classOf), ["critical", "critical", "heavy", "heavy", "moderate", "negligible", "negligible"]);
});

test("what a call is about", () => {
  assert.equal(aimOf({ pattern: "func New", path: "/src" }), "func New in /src");
  assert.equal(aimOf({ command: "ls" }), "ls");
  assert.equal(aimOf({ file_path: 7 }), "");
  assert.equal(aimOf(undefined), "");
});
