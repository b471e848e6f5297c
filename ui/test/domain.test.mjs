import test from "node:test";
import assert from "node:assert/strict";
import { around, centred, following, panned, within, zoomed } from "../src/domain.js";

const near = (got, want) => {
  assert.equal(got.length, want.length);
  got.forEach((v, i) => assert.ok(Math.abs(v - want[i]) < 1e-6, `${got} is not ${want}`));
};

test("a domain lies inside of the run; one as long as it is none", () => {
  near(within([-500, 1500], 10_000), [0, 2000]);
  near(within([9000, 11_000], 10_000), [8000, 10_000]);
  assert.equal(within([-1, 10_001], 10_000), null);
  assert.equal(within([0, 10_000], 10_000), null);
  assert.equal(within(null, 10_000), null);
  near(within([3000, 3000], 10_000), [3000, 3500]);
  assert.equal(within([NaN, 4], 10_000), null);
});

test("zooming leaves the moment under the pointer where it was", () => {
  near(zoomed(null, 10_000, 2, 5000), [2500, 7500]);
  near(zoomed(null, 10_000, 2, 0), [0, 5000]);
  const [from, to] = zoomed([2000, 6000], 10_000, 1.5, 3000);
  near([(3000 - from) / (to - from)], [0.25]);
  assert.equal(zoomed([2500, 7500], 10_000, 0.5, 5000), null, "all the way out");
  near(zoomed([2000, 2600], 10_000, 100, 2000), [2000, 2500]);
  near(zoomed([2000, 4000], 10_000, 2, 99_999), [3000, 4000], "a pointer outside counts as the edge");
  assert.equal(zoomed(null, 400, 2, 100), null, "a run too short to be zoomed");
});

test("in and out again is where it began", () => {
  const there = zoomed(zoomed([2000, 6000], 20_000, 1.5, 3500), 20_000, 1 / 1.5, 3500);
  near(there, [2000, 6000]);
});

test("panning stops at the ends and keeps the length", () => {
  near(panned([2000, 4000], 10_000, 0.5), [3000, 5000]);
  near(panned([2000, 4000], 10_000, -5), [0, 2000]);
  near(panned([2000, 4000], 10_000, 50), [8000, 10_000]);
  assert.equal(panned(null, 10_000, 0.5), null);
});

test("centring and fitting", () => {
  near(centred([0, 2000], 10_000, 6000), [5000, 7000]);
  assert.equal(centred(null, 10_000, 6000), null);
  near(around(4000, 6000, 100_000), [3880, 6120]);
  near(around(4000, 4000, 100_000), [3750, 4250]);
  assert.equal(around(0, 99_000, 100_000), null);
});

test("following keeps now at ten elevenths", () => {
  const [from, to] = following([0, 1100], 100_000, 50_000);
  near([from, to], [49_000, 50_100]);
  assert.equal(following(null, 100_000, 50_000), null);
});
