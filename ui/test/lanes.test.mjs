import test from "node:test";
import assert from "node:assert/strict";
import { Lanes, MODEL_CALLS, OTHER_TOOLS, WRITING, agentOf, callsKey, laneKey, markAt, strokes } from "../src/lanes.js";
import { layout } from "../src/layout.js";
import { Model } from "../src/model.js";
import { joinLog } from "../src/record.js";
import { ToolLog } from "../src/toollog.js";
import { START, agent, at, call, delta, phase } from "./run.mjs";

function run(more = []) {
  const model = new Model();
  model.apply(delta(0, 1, {
    phases: [phase("lib", "running", 1, 0, 2)],
    spans: [
      agent("a", "lib", "running", 1), agent("b", "lib", "running", 1),
      call("t1", "a", "Read", "done", { start_ms: at(2), end_ms: at(4), duration_ms: 2000 }), call("t2", "a", "Read", "error", { start_ms: at(5), end_ms: at(6), duration_ms: 1000 }),
      call("t3", "a", "Bash", "running", { start_ms: at(7) }), call("m", "a", "gpt", "done", { kind: "llm", tokens: 50 }), ...more,
    ],
  }));
  return model;
}
const lanesOf = (model, log = null) => new Lanes(model, () => joinLog(log, model), log !== null);
const view = (model, collapsed, log) => ({ collapsed: new Map(collapsed), find: "", states: new Set(), pins: [], row: 10, group: 20, lanes: lanesOf(model, log) });
const keys = (plan) => plan.rows.map((r) => [r.key, r.level, r.expandable, r.expanded]);

test("lanes by tool, the commonest first, model calls below", () => {
  const lanes = lanesOf(run()).of("a");
  assert.deepEqual(lanes.map((l) => [l.name, l.marks.length, l.failed, l.open, l.total_ms, l.tokens]), [["Read", 2, 1, 0, 3000, 0], ["Bash", 1, 0, 1, 0, 0], [MODEL_CALLS, 1, 0, 0, 1000, 50]]);
  assert.deepEqual(lanes[0].marks.map((m) => [m.key, m.look]), [["s:t1", "heavy"], ["s:t2", "heavy error"]]);
  assert.equal(lanes[1].marks[0].look, "moderate open");
});

test("rare tools share a lane", () => {
  const model = run(Array.from({ length: 20 }, (_, i) => call(`x${i}`, "b", `Tool ${i}`, "done")));
  const lanes = lanesOf(model).of("b");
  assert.equal(lanes.length, 8);
  assert.equal(lanes[7].name, OTHER_TOOLS);
  assert.equal(lanes[7].marks.length, 13);
});

test("what an agent wrote is a lane of its own", () => {
  const log = new ToolLog().feed(`${JSON.stringify({ event: "thinking_block", agent_id: "A-1", timestamp: new Date(START + 3000).toISOString(), thinking: "Hm" })}\n`);
  const model = run([agent("tool_calls:agent:A-1", "lib", "running", 1, 0, { attrs: { agent_id: "A-1" } })]);
  const lanes = lanesOf(model, log);
  assert.ok(lanes.has("tool_calls:agent:A-1"));
  assert.deepEqual(lanes.of("tool_calls:agent:A-1").map((l) => [l.name, l.marks[0].look, l.marks[0].key]), [[WRITING, "thinking", ""]]);
});

test("agents with calls open to their lanes, and only when the user wants it", () => {
  const model = run();
  assert.deepEqual(keys(layout(model, view(model, []))), [["p:lib", 1, true, true], ["s:a", 2, true, false], ["s:b", 2, false, false]]);
  assert.deepEqual(keys(layout(model, view(model, [["s:a", false]]))), [
    ["p:lib", 1, true, true], ["s:a", 2, true, true], [laneKey("a", "Read"), 3, false, false], [laneKey("a", "Bash"), 3, false, false], [laneKey("a", MODEL_CALLS), 3, false, false], ["s:b", 2, false, false],
  ]);
  assert.equal(agentOf(laneKey("a\nb", "Read")), "a\nb");
  assert.equal(agentOf(callsKey("a")), "a");
  assert.equal(agentOf("s:a"), "");
});

test("an agent with agents below it has a row for its lanes", () => {
  const model = run([agent("c", "lib", "running", 2, 0, { agent: "a", parent: "a" })]);
  assert.deepEqual(keys(layout(model, view(model, []))).slice(1), [["s:a", 2, true, true], [callsKey("a"), 3, true, false], ["s:c", 3, false, false], ["s:b", 2, false, false]]);
  assert.deepEqual(keys(layout(model, view(model, [[callsKey("a"), false]]))).slice(2, 5), [[callsKey("a"), 3, true, true], [laneKey("a", "Read"), 4, false, false], [laneKey("a", "Bash"), 4, false, false]]);
  assert.deepEqual(keys(layout(model, view(model, [["s:a", true]]))).slice(1), [["s:a", 2, true, false], ["s:b", 2, false, false]]);
});

test("a span that another one stands for has no row, no lane and no problem", () => {
  const model = run([agent("twin", "lib", "error", 1, 2, { same_as: "a" }), call("t4", "a", "Read", "done", { same_as: "t1" })]);
  assert.ok(!model.rows.has("twin"));
  assert.equal(model.failed.size, 0);
  assert.equal(lanesOf(model).of("a")[0].marks.length, 2);
  model.apply(delta(1, 2, { spans: [agent("b", "lib", "running", 1, 0, { same_as: "a" }), call("t1", "a", "Read", "done", { same_as: "t2" })] }));
  assert.ok(!model.rows.has("b") && !model.open.has("b"), "it can turn out later");
  assert.equal(lanesOf(model).of("a")[0].marks.length, 1);
});

test("marks become strokes: those of the same pixels are one, what is not in view is none", () => {
  const marks = Array.from({ length: 10_000 }, (_, i) => ({ key: `${i}`, at: i, end: i + 1, look: "moderate" }));
  const x = (ms) => ms / 100;
  const d = strokes(marks, x, { from: 0, to: 10_000, now: 10_000, width: 100, y: 8 }).get("moderate");
  assert.ok(d.split("M").length < 250, "no more than half a stroke a pixel or so");
  assert.equal(strokes(marks, x, { from: 20_000, to: 30_000, now: 30_000, width: 100, y: 8 }).size, 0);
  assert.equal(markAt(marks, 5000.5, 3, 10_000).key, "5000");
  assert.equal(markAt([{ key: "k", at: 10, end: 20 }], 25, 4, 30), null);
  assert.equal(markAt([{ key: "k", at: 10, end: 20 }], 23, 4, 30).key, "k");
  assert.equal(markAt([{ key: "k", at: 10, end: 0 }], 500, 4, 600).key, "k");
});
