import test from "node:test";
import assert from "node:assert/strict";
import { layout, pathRows, phaseKey, rowAt, spanKey } from "../src/layout.js";
import { Model } from "../src/model.js";
import { agent, at, call, delta, phase } from "./run.mjs";

const VIEW = { collapsed: new Map(), hideDone: false, find: "", fold: false, row: 10, group: 20 };

function run(phases, spans) {
  const m = new Model();
  m.apply(delta(0, 1, { phases, spans }));
  return m;
}

const shape = (model, view = {}) => layout(model, { ...VIEW, ...view }).rows.map((r) => `${r.level} ${r.key}`);

const two = () => run(
  [phase("lib", "done", 1, 5, 2), phase("apps", "running", 5, 0, 2)],
  [agent("c", "apps", "running", 5), agent("a", "lib", "done", 1, 3), agent("b", "lib", "error", 1, 5), agent("d", "apps", "queued")],
);

test("agents stand below their phase, phases in their order", () => {
  assert.deepEqual(shape(two()), ["1 p:lib", "2 s:a", "2 s:b", "1 p:apps", "2 s:c", "2 s:d"]);
});

test("tops, heights and index agree", () => {
  const { rows, height, index } = layout(two(), VIEW);
  let top = 0;
  rows.forEach((row, i) => {
    assert.equal(row.top, top);
    assert.equal(index.get(row.key), i);
    top += row.height;
  });
  assert.equal(height, top);
  assert.equal(height, 2 * 20 + 4 * 10);
});

test("agents come in the order of their appearance, whatever order they arrived in", () => {
  const m = run([], [agent("x", "", "running", 1, 0, { seq: 9 }), agent("y", "", "running", 1, 0, { seq: 3 })]);
  assert.deepEqual(shape(m), ["1 s:y", "1 s:x"]);
});

test("a phase of one agent is one row, one without agents too", () => {
  const m = run([phase("discovery", "done", 0, 1), phase("synthesis", "running", 1, 0, 1)], [agent("s", "synthesis", "running", 1)]);
  const { rows } = layout(m, VIEW);
  assert.deepEqual(rows.map((r) => [r.key, r.id, r.alone ?? false]), [["p:discovery", "", false], ["s:s", "s", true]]);
});

test("agents without a phase stand last, below a head only where there are phases", () => {
  assert.deepEqual(shape(run([], [agent("a", "", "done", 1, 2)])), ["1 s:a"]);
  const m = run([phase("p", "done", 0, 1)], [agent("a", "", "done", 1, 2), agent("b", "", "done", 1, 2)]);
  assert.deepEqual(shape(m), ["1 p:p", "1 p:", "2 s:a", "2 s:b"]);
});

test("an agent below an agent stands below it", () => {
  const m = run([], [agent("a", "", "running", 1), agent("b", "", "running", 1), agent("a1", "", "running", 2, 0, { agent: "a" }), agent("a2", "", "done", 2, 3, { agent: "a1" })]);
  assert.deepEqual(shape(m), ["1 s:a", "2 s:a1", "3 s:a2", "1 s:b"]);
  assert.deepEqual(shape(m, { collapsed: new Map([[spanKey("a"), true]]) }), ["1 s:a", "1 s:b"]);
});

test("an agent in another phase than the one above it stands in its own", () => {
  const m = run([phase("p", "running", 1, 0, 2), phase("q", "running", 1, 0, 2)], [
    agent("a", "p", "running", 1), agent("b", "p", "running", 1), agent("a1", "q", "running", 1, 0, { agent: "a" }), agent("c", "q", "running", 1),
  ]);
  assert.deepEqual(shape(m), ["1 p:p", "2 s:a", "2 s:b", "1 p:q", "2 s:a1", "2 s:c"]);
});

test("spans that name each other as parents do not hang the page", () => {
  const m = run([], [agent("a", "", "running", 1, 0, { agent: "b" }), agent("b", "", "running", 1, 0, { agent: "a" }), agent("c", "", "running", 1, 0, { agent: "c" })]);
  assert.deepEqual(shape(m), ["1 s:c"]);
});

test("collapsing: by the user, else what is done where it is asked for", () => {
  assert.deepEqual(shape(two(), { fold: true }), ["1 p:lib", "1 p:apps", "2 s:c", "2 s:d"]);
  assert.deepEqual(shape(two(), { fold: true, collapsed: new Map([[phaseKey("lib"), false], [phaseKey("apps"), true]]) }), ["1 p:lib", "2 s:a", "2 s:b", "1 p:apps"]);
});

test("hiding what is completed keeps failures, and the phases", () => {
  assert.deepEqual(shape(two(), { hideDone: true }), ["1 p:lib", "2 s:b", "1 p:apps", "2 s:c", "2 s:d"]);
  const m = run([phase("p", "done", 1, 2, 2)], [agent("a", "p", "done", 1, 2), agent("b", "p", "cancelled", 1, 2)]);
  const [row] = layout(m, { ...VIEW, hideDone: true }).rows;
  assert.deepEqual([row.key, row.expandable], ["p:p", false]);
});

test("finding looks at names, kinds and phases", () => {
  const m = run([phase("lib", "done", 1, 5, 2), phase("application_analysis", "running", 5, 0, 2)], [
    agent("encoding", "lib", "done", 1, 3), agent("node", "lib", "error", 1, 5, { kind: "Deep-Dive" }), agent("x", "application_analysis", "running", 5), agent("y", "application_analysis", "done", 5, 6),
  ]);
  assert.deepEqual(shape(m, { find: " ENCOD " }), ["1 p:lib", "2 s:encoding"]);
  assert.deepEqual(shape(m, { find: "deep-dive" }), ["1 p:lib", "2 s:node"]);
  assert.deepEqual(shape(m, { find: "applications" }), ["1 p:application_analysis", "2 s:x", "2 s:y"]);
  assert.deepEqual(shape(m, { find: "applications", hideDone: true }), ["1 p:application_analysis", "2 s:x"]);
  assert.deepEqual(shape(m, { find: "nothing" }), []);
});

test("a found child shows what is above it", () => {
  const m = run([], [agent("up", "", "running", 1, 0, { kind: "x" }), agent("down", "", "running", 1, 0, { agent: "up", kind: "x" })]);
  assert.deepEqual(shape(m, { find: "down" }), ["1 s:up", "2 s:down"]);
});

test("pinned rows stand first, with tops of their own, and nowhere else", () => {
  const { rows, pins, height } = layout(two(), { ...VIEW, pins: ["s:d", "s:a", "s:gone"] });
  assert.equal(pins, 2);
  assert.deepEqual(rows.map((r) => [r.key, r.top, r.pinned ?? false]), [
    ["s:d", 0, true], ["s:a", 10, true], ["p:lib", 0, false], ["s:b", 20, false], ["p:apps", 30, false], ["s:c", 50, false],
  ]);
  assert.equal(height, 60);
  assert.equal(rows[rowAt(rows, 25, pins)].key, "s:b");
  assert.equal(rowAt(rows, -5, pins), 2);
  assert.equal(layout(two(), { ...VIEW, pins: ["s:d"], find: "nothing" }).pins, 1, "a pin is not filtered out");
});

test("filters by state show those, stalled ones with the active", () => {
  const m = run([phase("p", "running", 1, 0, 4)], [agent("a", "p", "running", 1), agent("b", "p", "stalled", 1), agent("c", "p", "error", 1, 2), agent("d", "p", "queued")]);
  const only = (...states) => shape(m, { states: new Set(states) });
  assert.deepEqual(only("running"), ["1 p:p", "2 s:a", "2 s:b"]);
  assert.deepEqual(only("stalled"), ["1 p:p", "2 s:b"]);
  assert.deepEqual(only("error", "queued"), ["1 p:p", "2 s:c", "2 s:d"]);
  assert.deepEqual(only(), ["1 p:p", "2 s:a", "2 s:b", "2 s:c", "2 s:d"]);
});

test("hits are counted in the order of the rows, folded ones too", () => {
  const hits = (view) => layout(two(), { ...VIEW, ...view }).hits;
  assert.deepEqual(hits({ find: "" }), []);
  assert.deepEqual(hits({ find: "library-analysis" }), ["a", "b", "c", "d"]);
  assert.deepEqual(hits({ find: "library-analysis", collapsed: new Map([[phaseKey("lib"), true]]) }), ["a", "b", "c", "d"]);
  assert.deepEqual(shape(two(), { find: "library-analysis", collapsed: new Map([[phaseKey("lib"), true]]) }), ["1 p:lib", "1 p:apps", "2 s:c", "2 s:d"]);
  assert.deepEqual(hits({ find: "library-analysis", hideDone: true }), ["b", "c", "d"]);
});

test("a closed row says how many stand below it", () => {
  const m = run([], [agent("a", "", "running", 1), agent("a1", "", "running", 2, 0, { agent: "a" }), agent("a2", "", "done", 2, 3, { agent: "a" })]);
  assert.equal(layout(m, { ...VIEW, collapsed: new Map([[spanKey("a"), true]]) }).rows[0].below, 2);
});

test("rowAt finds the row at a height", () => {
  const { rows } = layout(two(), VIEW);
  const want = (y) => rows.findLastIndex((r) => r.top <= y);
  for (let y = 0; y <= 90; y += 5) assert.equal(rowAt(rows, y), want(y), String(y));
  assert.equal(rowAt(rows, -50), 0);
  assert.equal(rowAt([], 10), 0);
});

test("the critical path goes by rows", () => {
  const m = run([phase("lib", "done", 1, 5, 2), phase("discovery", "done", 0, 1)], [agent("a", "lib", "done", 1, 3), agent("b", "lib", "done", 3, 5), call("t", "a", "Read", "done")]);
  m.path = [
    { span_id: "d", phase: "discovery", start_ms: at(0), end_ms: at(1) },
    { span_id: "a", phase: "lib", start_ms: at(1), end_ms: at(1.5) },
    { span_id: "t", phase: "lib", start_ms: at(1.5), end_ms: at(2) },
    { span_id: "a", phase: "lib", start_ms: at(2), end_ms: at(3) },
    { span_id: "root", start_ms: at(3), end_ms: at(4) },
    { span_id: "b", phase: "lib", start_ms: at(4), end_ms: at(5) },
  ];
  const steps = pathRows(m, layout(m, VIEW));
  assert.deepEqual(steps.map((s) => [s.row.key, s.from, s.to]), [["p:discovery", at(0), at(1)], ["s:a", at(1), at(3)], ["s:b", at(4), at(5)]]);
});

test("a hundred thousand agents are laid out in a fraction of a second", () => {
  const spans = [];
  for (let i = 0; i < 100_000; i++) spans.push(agent(`a${i}`, "p", "done", 1, 2));
  const m = run([phase("p", "done", 1, 2, 100_000)], spans);
  let took = Infinity;
  for (let i = 0; i < 8 && took > 500; i++) { // the best of some: the machine has other work too
    const began = performance.now();
    assert.equal(layout(m, VIEW).rows.length, 100_001);
    took = Math.min(took, performance.now() - began);
  }
  assert.ok(took < 1500, `${took} ms`);
});
