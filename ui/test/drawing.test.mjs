// The pure parts of what is drawn.
import test from "node:test";
import assert from "node:assert/strict";
import { concurrency, runs } from "../src/concurrency.js";
import { extent, ticks } from "../src/axis.js";
import { inForce, points, split } from "../src/burn.js";
import { Hues, SLATE, phaseLabel } from "../src/hues.js";
import { burnText, phaseNow } from "../src/summary.js";
import { outcome, title } from "../src/header.js";
import { toolMix } from "../src/detail.js";
import { KEYS, actionFor } from "../src/keys.js";
import { Model } from "../src/model.js";
import { START, agent, at, burn, call, delta, info, phase, totals } from "./run.mjs";

const count = (spans, now = 10) => concurrency(spans, { from: START, to: at(10), now: at(now), bins: 10, hueOf: (p) => p || "none" });

test("concurrency counts open spans by hue", () => {
  const { max, layers } = count([agent("a", "x", "done", 1, 4), agent("b", "x", "running", 3), agent("c", "y", "done", 3, 3.2), agent("d", "y", "queued")]);
  assert.equal(max, 3);
  assert.deepEqual(layers.map((l) => [l.hue, [...l.counts]]), [["x", [0, 1, 1, 2, 1, 1, 1, 1, 1, 1]], ["y", [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]]]);
});

test("concurrency takes earlier attempts, and times outside of the axis", () => {
  const { layers } = count([agent("a", "x", "done", 6, 8, { earlier: [{ start_ms: at(1), end_ms: at(2) }] }), agent("b", "x", "done", 20, 30), agent("c", "x", "done", -5, -2)]);
  assert.deepEqual([...layers[0].counts], [0, 1, 0, 0, 0, 0, 1, 1, 0, 0]);
  assert.deepEqual(concurrency([], { from: 0, to: 0, now: 0, bins: 10, hueOf: String }), { max: 0, layers: [] });
});

test("runs keeps the corners only", () => {
  assert.deepEqual(runs([0, 2, 2, 1], [0, 0, 0, 0]), [[0, 0, 0], [1, 0, 2], [3, 0, 1]]);
  assert.deepEqual(runs([1, 1], [0, 3]), [[0, 0, 1], [1, 3, 1]]);
});

test("ticks keep their distance at every length", () => {
  for (const seconds of [0.5, 2, 10, 61, 312.5, 3599, 86_400, 3e6]) {
    const marks = ticks(0, seconds * 1000, 700, 64);
    assert.ok(marks.length >= 1 && marks.length <= 11, `${seconds} s: ${marks.length}`);
    assert.equal(marks[0].at, 0);
    for (let i = 1; i < marks.length; i++) assert.ok(((marks[i].at - marks[i - 1].at) * 700) / (seconds * 1000) >= 64 - 1e-9);
    assert.equal(new Set(marks.map((t) => t.label)).size, marks.length, "labels differ");
  }
  assert.deepEqual(ticks(0, 312_500, 700, 64).map((t) => t.label).slice(0, 3), ["0:00", "0:30", "1:00"]);
  assert.deepEqual(ticks(0, 0, 700, 64), []);
  assert.deepEqual(ticks(0, 1000, 0, 64), []);
});

test("the axis leaves room after now while the run lives", () => {
  assert.ok(Math.abs(241 / (extent(241_000, true) / 1000) - 0.909) < 0.001);
  assert.equal(extent(312_500, false), 312_500);
  assert.equal(extent(0, true), 1000);
});

test("the burn line is cut where a phase begins", () => {
  const line = points(burn({ series: [0, 10, 20, 30], step_ms: 1000 }), START);
  assert.deepEqual(line, [[0, 0], [1000, 10], [2000, 20], [3000, 30]]);
  assert.deepEqual(split(line, -Infinity, 1500), [[0, 0], [1000, 10], [1500, 15]]);
  assert.deepEqual(split(line, 1500, Infinity), [[1500, 15], [2000, 20], [3000, 30]]);
  assert.deepEqual(split(line, 1200, 1700), [[1200, 12], [1700, 17]], "between two points");
  assert.deepEqual(split(line, 5000, Infinity), []);
  const cuts = inForce([phase("b", "running", 5), phase("a", "done", 1, 5), phase("c", "queued")], START);
  assert.deepEqual(cuts, [{ name: "a", from: -Infinity, to: 5000 }, { name: "b", from: 5000, to: Infinity }]);
});

test("a long series keeps its peaks", () => {
  const series = new Array(5000).fill(1);
  series[3333] = 99;
  const line = points(burn({ series }), START);
  assert.ok(line.length <= 400);
  assert.equal(Math.max(...line.map((p) => p[1])), 99);
});

test("hues: known phases have theirs, others the next that is free, for good", () => {
  const hues = new Hues();
  hues.learn(["library_depth_0", "crawl"]);
  assert.equal(hues.of("library_depth_0"), "--p-lib0");
  assert.equal(hues.of("library_depth_3"), "--p-libn");
  assert.equal(hues.of("crawl"), "--p-apps");
  hues.learn(["library_depth_0", "application_analysis", "crawl", "rank", "merge", "print", "ship"]);
  assert.equal(hues.of("crawl"), "--p-apps", "kept");
  assert.equal(hues.of("rank"), "--p-libn");
  assert.equal(hues.of("merge"), "--p-synth");
  assert.equal(hues.of("print"), SLATE);
  assert.equal(hues.of(""), SLATE);
  assert.equal(hues.of("constructor"), SLATE);
});

test("phase names", () => {
  assert.equal(phaseLabel("library_depth_0"), "Libraries, depth 0");
  assert.equal(phaseLabel("library_depth_12", true), "Depth 12");
  assert.equal(phaseLabel("market_research"), "Market research");
  assert.equal(phaseLabel("toString"), "ToString");
  assert.equal(phaseLabel(""), "Agents");
});

function run(more) {
  const m = new Model();
  m.apply(delta(0, 1, more));
  return m;
}

test("the phase of now", () => {
  const planned = totals({ percent: 3 });
  assert.deepEqual(phaseNow(run({})), ["\u2013", ""]);
  assert.deepEqual(phaseNow(run({ phases: [phase("discovery", "running", 1)] })), ["Discovery", ""]);
  assert.deepEqual(phaseNow(run({ totals: planned, phases: [phase("discovery", "done", 1, 2), phase("synthesis", "queued")] })), ["between phases", "1 of 2 done"]);
  assert.deepEqual(phaseNow(run({ totals: planned, phases: [phase("discovery", "done", 1, 2), phase("library_depth_0", "running", 2), phase("synthesis", "queued")] })), ["Libraries, depth 0", "2 of 3"]);
  assert.equal(phaseNow(run({ phases: [phase("library_depth_1", "running", 3), phase("library_depth_0", "running", 2)] }))[0], "Depth 0 and Depth 1");
});

test("burn says when it is a lower bound", () => {
  assert.equal(burnText(burn({ per_min: 214_000, at_least: true }), true), "at least 214 k/min");
  assert.equal(burnText(burn({ per_min: 214_000, mean: 354_000 }), false), "mean 354 k/min");
});

test("the tab's title has the most pressing first", () => {
  const says = (t, r) => title(run({ totals: totals(t), run: info(r) }));
  assert.equal(title(new Model()), "obsrun");
  assert.equal(says({}), "eigenda");
  assert.equal(says({ percent: 77, errors: 1, running: 7 }), "1 error - 77% - eigenda");
  assert.equal(says({ percent: 0, stalled: 1 }), "1 stalled - 0% - eigenda");
  assert.equal(says({ running: 7 }), "7 active - eigenda");
  assert.equal(says({ percent: 100, errors: 2 }, { status: "error", end_ms: at(9) }), "2 errors - Failed - eigenda");
  assert.equal(outcome(info({ status: "interrupted" })), "Interrupted");
});

test("the tool mix has the commonest first and the rest in one", () => {
  const calls = [["Read", 3], ["Grep", 2], ["Bash", 2], ["A", 1], ["B", 1]].flatMap(([name, n]) => Array.from({ length: n }, (_, i) => call(`${name}${i}`, "a", name, "done")));
  const open = call("now", "a", "Read", "running");
  const model = call("llm", "a", "gpt", "done", { kind: "llm" });
  const mix = toolMix([...calls, open, model], 4);
  assert.deepEqual(mix.mix, [["Read", 4], ["Bash", 2], ["Grep", 2], ["other", 2]]);
  assert.equal(mix.open.id, "now");
  assert.deepEqual(toolMix(undefined), { mix: [], open: null });
});

test("keys act only where they should", () => {
  const on = { typing: false, inGrid: true, bare: true };
  const key = (k, more = {}) => ({ key: k, ctrlKey: false, altKey: false, metaKey: false, ...more });
  assert.equal(actionFor(key("j"), on), "down");
  assert.equal(actionFor(key("ArrowDown"), on), "down");
  assert.equal(actionFor(key("ArrowDown"), { ...on, inGrid: false }), "");
  assert.equal(actionFor(key("j"), { ...on, inGrid: false }), "down");
  assert.equal(actionFor(key("j"), { ...on, bare: false }), "");
  assert.equal(actionFor(key("Escape"), { ...on, bare: false }), "escape");
  assert.equal(actionFor(key("j"), { ...on, typing: true }), "");
  assert.equal(actionFor(key("Escape"), { ...on, typing: true }), "escape");
  assert.equal(actionFor(key("l", { ctrlKey: true }), on), "");
  assert.equal(actionFor(key("q"), on), "");
  assert.equal(actionFor(key(" "), on), "pause");
  assert.equal(actionFor(key(" "), { ...on, control: true }), "", "there it presses the button");
  const keys = KEYS.flatMap((k) => k.keys);
  assert.equal(new Set(keys).size, keys.length, "no key does two things");
});

test("four keys go by their place, whatever they are called there", () => {
  const on = { typing: false, inGrid: true, bare: true };
  const press = (key, code, more = {}) => actionFor({ key, code, ...more }, on);
  assert.equal(press("w", "KeyW"), "zoomIn");
  assert.equal(press("z", "KeyW"), "zoomIn", "a French keyboard");
  assert.equal(press("a", "KeyQ"), "", "and what is called a there");
  assert.equal(press("D", "KeyD", { shiftKey: true }), "panRightFar");
  assert.equal(press("+", "Equal", { shiftKey: true }), "zoomIn");
  assert.equal(press("=", "Equal"), "zoomIn");
  assert.equal(press("s", "KeyS", { ctrlKey: true }), "", "saving is the browser's");
  assert.equal(press("n", "KeyN"), "nextMatch");
  assert.equal(press("N", "KeyN", { shiftKey: true }), "previousMatch");
  assert.equal(press("3", "Digit3"), "tab");
});
