import assert from "node:assert/strict";
import test from "node:test";
import { changeText, measureText, measureTitle, rowsOfMeasures } from "../src/sides.js";
import { trendBars } from "../src/trend.js";

test("measures are written with their unit", () => {
  assert.equal(measureTitle("total_wall_ms"), "wall");
  assert.equal(measureTitle("peak_parallel_agents"), "peak parallel agents");
  assert.equal(measureText("wall_ms", 312500), "5:12.5");
  assert.equal(measureText("wall_ms", 12), "12 ms");
  assert.equal(measureText("wall_ms", -1500), "\u22120:01.5");
  assert.equal(measureText("tokens", 9999), "9999");
  assert.equal(measureText("tokens", 1842000), "1.84 M");
  assert.equal(measureText("cost_usd", 1.5), "$1.50");
  assert.equal(measureText("cost_usd", null), "\u2013");
});

test("changes have a sign, and a percent where there is one", () => {
  assert.equal(changeText("tokens", { diff: 0, percent: 0 }), "");
  assert.equal(changeText("tokens", { diff: 120, percent: 12.34 }), "+120 (+12%)");
  assert.equal(changeText("tokens", { diff: -5, percent: -0.51 }), "\u22125 (\u22120.5%)");
  assert.equal(changeText("tokens", { diff: 7, percent: null }), "+7");
});

test("what neither run has is left out", () => {
  const zero = { a: 0, b: 0, diff: 0, percent: null };
  assert.deepEqual(rowsOfMeasures({ errors: zero, tokens: { ...zero, b: 4 }, lost: { ...zero, a: null, b: null } }).map((row) => row.key), ["tokens"]);
});

test("the newest run is the last bar", () => {
  const rows = [{ n: 4, status: "running" }, { n: 1, status: "error" }, { n: 2, status: "ok" }];
  const bars = trendBars(rows, (row) => row.n);
  assert.deepEqual(bars.map((bar) => bar.height), [0.5, 0.25, 1]);
  assert.deepEqual(bars.map((bar) => [bar.bad, bar.live, bar.last]), [[false, false, false], [true, false, false], [false, true, true]]);
  assert.ok(Math.abs(bars[2].x + 1 / 24 - 1) < 1e-9);
  assert.equal(trendBars(rows, () => 0)[0].height, 0);
  assert.equal(trendBars(Array.from({ length: 500 }, () => rows[0]), (row) => row.n).length, 120);
});
