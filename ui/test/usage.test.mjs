import test from "node:test";
import assert from "node:assert/strict";
import { byTool, sorted, toolUse } from "../src/calls.js";
import { joinLog } from "../src/record.js";
import { rateOf, slackOf } from "../src/agents.js";
import { tokenRows } from "../src/usage.js";
import { matcher } from "../src/layout.js";
import { Model } from "../src/model.js";
import { agent, at, call, delta, phase } from "./run.mjs";

function run() {
  const m = new Model();
  m.apply(delta(0, 1, {
    phases: [phase("lib", "done", 1, 10, 2, { tokens: 30 }), phase("discovery", "done", 0, 1)],
    spans: [
      agent("a", "lib", "done", 1, 6, { tokens: 10 }), agent("b", "lib", "error", 2, 10, { tokens: 20 }), agent("c", "", "running", 3),
      call("t1", "a", "Read", "done", { duration_ms: 500 }), call("t2", "a", "Read", "error", { duration_ms: 1500 }), call("t3", "a", "Bash", "running"),
      call("t4", "b", "Read", "done", { duration_ms: 100 }), call("m", "b", "gpt", "done", { kind: "llm" }), call("t5", "", "Grep", "done", { duration_ms: 7, parent: "root" }),
    ],
  }));
  return m;
}

test("tool calls by agent and tool", () => {
  const rows = toolUse(joinLog(null, run()).calls);
  assert.deepEqual(rows.map((r) => [r.name, r.tool, r.calls, r.errors, r.open, r.timed, r.total_ms, r.longest_ms]), [
    ["a", "Read", 2, 1, 0, 2, 2000, 1500], ["a", "Bash", 1, 0, 1, 0, 0, 0], ["b", "Read", 1, 0, 0, 1, 100, 100], ["", "Grep", 1, 0, 0, 1, 7, 7],
  ]);
  assert.deepEqual(byTool(rows).map((r) => [r.tool, r.calls, r.errors, r.total_ms, r.longest_ms, r.agents]), [["Read", 3, 1, 2100, 1500, 2], ["Bash", 1, 0, 0, 0, 1], ["Grep", 1, 0, 7, 7, 1]]);
  assert.deepEqual(toolUse(joinLog(null, new Model()).calls), []);
});

test("sorting: numbers from the top, words from the front, the unknown last", () => {
  const rows = [{ n: 2, w: "b" }, { n: NaN, w: "c" }, { n: 10, w: "a" }, { n: 2, w: "" }];
  assert.deepEqual(sorted(rows, (r) => r.n).map((r) => r.n), [10, 2, 2, NaN]);
  assert.deepEqual(sorted(rows, (r) => r.n).map((r) => r.w), ["a", "b", "", "c"], "equal ones stay in order");
  assert.deepEqual(sorted(rows, (r) => r.n, true).map((r) => r.n), [2, 2, 10, NaN]);
  assert.deepEqual(sorted(rows, (r) => r.w).map((r) => r.w), ["", "a", "b", "c"]);
});

test("an agent's rate and slack are dashes until they can be told", () => {
  const m = run();
  assert.equal(rateOf(m.spans.get("a"), at(99)), 2);
  assert.ok(Number.isNaN(rateOf(m.spans.get("c"), at(99))));
  assert.equal(slackOf(m.spans.get("a"), m), 4000);
  assert.equal(slackOf(m.spans.get("b"), m), 0);
  assert.ok(Number.isNaN(slackOf(m.spans.get("c"), m)));
});

test("tokens by phase, agents below theirs, those without one last", () => {
  const rows = (find) => tokenRows(run(), matcher(find)).map((r) => [r.name, r.sum, r.of.tokens]);
  assert.deepEqual(rows(""), [["Lib", true, 30], ["a", false, 10], ["b", false, 20], ["Discovery", true, 0], ["c", false, 0]]);
  assert.deepEqual(rows("b"), [["Lib", true, 30], ["a", false, 10], ["b", false, 20], ["c", false, 0]].filter(([n]) => matcher("b")({ name: n, kind: "library-analysis", id: n }) || n === "Lib"));
});
