import test from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Model, lasted, phaseLasted } from "../src/model.js";
import { START, agent, at, burn, call, delta, info, phase, root, totals } from "./run.mjs";

test("a delta replaces spans by id and takes the rest as it is", () => {
  const m = new Model();
  m.apply(delta(0, 3, { spans: [root(), agent("a", "p", "running", 1), agent("b", "p", "queued")], phases: [phase("p", "running", 1, 0, 2)] }));
  assert.deepEqual([...m.agents.keys()], ["a", "b"]);
  assert.deepEqual([...m.open], ["a"]);
  m.apply(delta(3, 5, { spans: [agent("a", "p", "error", 1, 4, { error: "no" })], totals: totals({ failed: 1 }), phases: [phase("p", "running", 1, 0, 2, { ended: 1 })] }));
  assert.equal(m.rev, 5);
  assert.equal(m.spans.size, 3);
  assert.equal(m.spans.get("a").error, "no");
  assert.deepEqual([...m.failed.keys()], ["a"]);
  assert.equal(m.open.size, 0);
  assert.equal(m.totals.failed, 1);
  assert.equal(m.phase.get("p").ended, 1);
});

test("a whole state replaces everything", () => {
  const m = new Model();
  m.apply(delta(0, 9, { spans: [root(), agent("a", "", "error", 1, 2), call("t", "a", "Read", "done")], logs: [{ rev: 4, time_ms: 1, level: "warn", message: "w" }] }));
  m.apply(delta(0, 2, { spans: [root(), agent("b", "", "running", 1)] }));
  assert.equal(m.rev, 2);
  assert.deepEqual([...m.agents.keys()], ["b"]);
  assert.deepEqual([m.failed.size, m.calls.size, m.logs.length], [0, 0, 0]);
});

test("a delta after a gap is refused and changes nothing", () => {
  const m = new Model();
  m.apply(delta(0, 3, { spans: [root()] }));
  assert.equal(m.apply(delta(5, 7, { spans: [agent("a", "", "running", 1)] })), false);
  assert.deepEqual([m.rev, m.spans.size], [3, 1]);
  assert.equal(m.apply(delta(3, 3)), true, "one without lines is none");
});

test("snapshot and deltas give what the last snapshot gives", () => {
  const steps = [
    [agent("a", "p", "queued"), agent("b", "q", "running", 1), call("t1", "b", "Read", "running")],
    [{ ...agent("a", "p", "running", 2), seq: 1 }, call("t1", "b", "Read", "done"), call("t2", "b", "Grep", "error")],
    [{ ...agent("a", "q", "done", 2, 5), seq: 1 }, { ...agent("b", "q", "lost", 1, 6), seq: 2 }],
  ];
  const live = new Model();
  const all = new Map();
  steps.forEach((spans, i) => {
    live.apply(delta(i, i + 1, { spans }));
    for (const s of spans) all.set(s.id, s);
  });
  const late = new Model();
  late.apply(delta(0, 3, { spans: [...all.values()] }));
  for (const part of ["spans", "agents", "failed", "open", "calls"]) assert.deepEqual(live[part], late[part], part);
});

test("logs are added once", () => {
  const m = new Model();
  const entry = (rev) => ({ rev, time_ms: 0, level: "warn", message: String(rev) });
  m.apply(delta(0, 4, { logs: [entry(2), entry(4)] }));
  m.apply(delta(3, 6, { logs: [entry(4), entry(6)] }));
  assert.deepEqual(m.logs.map((l) => l.rev), [2, 4, 6]);
});

test("calls of an agent follow it, and are no rows", () => {
  const m = new Model();
  m.apply(delta(0, 1, { spans: [agent("a", "", "running", 1), agent("b", "", "running", 1), call("t", "a", "Read", "running")] }));
  m.apply(delta(1, 2, { spans: [call("t", "b", "Read", "done")] }));
  assert.equal(m.calls.get("a").size, 0);
  assert.deepEqual([...m.calls.get("b").keys()], ["t"]);
  assert.deepEqual([...m.rows.keys()], ["a", "b"]);
  assert.equal(m.failed.size, 0);
});

test("without agents, what else was told has rows", () => {
  const m = new Model();
  const task = (id, more) => agent(id, "", "done", 1, 2, { kind: "task", is_agent: false, ...more });
  m.apply(delta(0, 1, { spans: [root(), task("build"), task("p", { kind: "process" }), task("f", { kind: "phase" })] }));
  assert.deepEqual([...m.rows.keys()], ["build"]);
  m.apply(delta(1, 2, { spans: [agent("a", "", "running", 1)] }));
  assert.deepEqual([...m.rows.keys()], ["a"]);
});

test("shape moves when rows do, and not for numbers", () => {
  const m = new Model();
  const a = agent("a", "p", "running", 1);
  m.apply(delta(0, 1, { spans: [a], phases: [phase("p", "running", 1, 0, 1)] }));
  const before = m.shape;
  m.apply(delta(1, 2, { spans: [{ ...a, tokens: 5 }], phases: [phase("p", "running", 1, 0, 1, { tokens: 5 })] }));
  assert.equal(m.shape, before);
  m.apply(delta(2, 3, { spans: [{ ...a, phase: "q" }], phases: [phase("p", "running", 1, 0, 1, { tokens: 5 })] }));
  assert.notEqual(m.shape, before);
});

test("ended is told by the run's end or the stream's, not by an interrupt alone", () => {
  const ended = (run, close) => {
    const m = new Model();
    m.apply(delta(0, 1, { run: info(run) }));
    if (close) m.close();
    return m.ended;
  };
  assert.equal(new Model().ended, false);
  assert.equal(ended({}), false);
  assert.equal(ended({ status: "interrupted" }), false);
  assert.equal(ended({ status: "interrupted", end_ms: at(5) }), true);
  assert.equal(ended({ status: "interrupted" }, true), true);
  assert.equal(ended({ status: "ok" }), true);
  assert.equal(ended({ status: "error" }), true);
});

test("durations come from the server once something ended, from the clock before", () => {
  assert.equal(lasted(agent("a", "", "queued"), at(9)), 0);
  assert.equal(lasted(agent("a", "", "running", 2), at(9)), 7000);
  assert.equal(lasted(agent("a", "", "running", 20), at(9)), 0, "a producer's clock may be ahead");
  assert.equal(lasted(agent("a", "", "done", 2, 5, { duration_ms: 2999 }), at(9)), 2999);
  assert.equal(phaseLasted(phase("p", "done", 2, 5, 0, { wall_ms: 68_400 }), at(9)), 68_400);
  assert.equal(phaseLasted(phase("p", "running", 2), at(9)), 7000);
  assert.equal(phaseLasted(phase("p", "queued"), at(9)), 0);
});

// The tests' runs must speak the server's words.
test("the fields used here are those of the server's model", () => {
  const go = readFileSync(new URL("../../instrument/run/view.go", import.meta.url), "utf8");
  const known = new Set([...go.matchAll(/json:"(\w+)/g)].map((m) => m[1]));
  const made = [root(), agent("a", "p", "done", 1, 2), call("t", "a", "Read", "done"), phase("p", "done", 1, 2), totals(), burn(), info(), delta(0, 1)];
  for (const thing of made) for (const name of Object.keys(thing)) assert.ok(known.has(name), name);
  assert.ok(START > 0);
});

test("processes have rows where nothing else was told", () => {
  const model = new Model();
  const delta = (rev, spans) => ({ from: rev - 1, rev, run: { run_id: "r", status: "running", start_ms: 1 }, totals: {}, phases: [], spans });
  const span = (id, kind, more) => ({ id, kind, seq: 1, parent: "root", name: id, state: "running", is_agent: kind === "agent", start_ms: 1, ...more });
  model.apply({ ...delta(1, [span("root", "run"), span("sh", "process")]), from: 0 });
  assert.deepEqual([...model.rows.keys()], ["sh"]);
  const { shape } = model;
  model.apply(delta(2, [span("work", "task")]));
  assert.deepEqual([...model.rows.keys()], ["work"]);
  assert.notEqual(model.shape, shape);
  model.apply(delta(3, [span("a", "agent")]));
  assert.deepEqual([...model.rows.keys()], ["a"]);
});
