import test from "node:test";
import assert from "node:assert/strict";
import { Held } from "../src/held.js";
import { Model } from "../src/model.js";
import { agent, delta, totals } from "./run.mjs";

const log = (rev) => ({ rev, time_ms: rev, level: "warn", message: `m${rev}`, source: "obsrun" });

test("what was held ends up where the deltas one by one would have", () => {
  const deltas = [
    delta(0, 3, { spans: [agent("a", "", "running", 1), agent("b", "", "running", 1)], logs: [log(2)] }),
    delta(3, 5, { spans: [agent("a", "", "done", 1, 2)], logs: [log(4), log(5)] }),
    delta(5, 5),
    delta(4, 8, { spans: [agent("a", "", "running", 3), agent("c", "", "queued")], logs: [log(5), log(7)], totals: totals({ tokens: 9 }) }),
  ];
  const one = new Model();
  for (const d of deltas) assert.ok(one.apply(d));

  const two = new Model();
  two.apply(deltas[0]);
  const held = new Held();
  for (const d of deltas.slice(1)) assert.ok(held.add(d, two.rev));
  assert.equal(held.count(two.rev), 5);
  assert.equal(two.spans.get("a").state, "running", "the view stands still");
  assert.ok(two.apply(held.take().delta));
  assert.deepEqual([...two.spans.keys()], [...one.spans.keys()]);
  assert.deepEqual(two.spans, one.spans);
  assert.deepEqual(two.logs, one.logs);
  assert.equal(two.totals.tokens, 9);
  assert.equal(two.rev, one.rev);
  assert.equal(held.count(two.rev), 0);
  assert.deepEqual(held.take(), { delta: null, closed: false });
});

test("the whole state that comes meanwhile replaces what was held", () => {
  const held = new Held();
  held.add(delta(3, 5, { spans: [agent("a", "", "done", 1, 2)], logs: [log(5)] }), 3);
  assert.ok(held.add(delta(0, 9, { spans: [agent("z", "", "done", 1, 2)], logs: [log(8)] }), 3));
  const { delta: got } = held.take();
  assert.deepEqual([got.from, got.rev, got.spans.map((s) => s.id), got.logs.map((l) => l.rev)], [0, 9, ["z"], [8]]);
});

test("a gap is noticed", () => {
  const held = new Held();
  assert.equal(held.add(delta(4, 5), 3), false);
  assert.ok(held.add(delta(3, 5), 3));
  assert.equal(held.add(delta(6, 7), 3), false);
  assert.equal(held.count(3), 2);
});

test("the end of the stream waits too", () => {
  const held = new Held();
  held.closed = true;
  assert.deepEqual(held.take(), { delta: null, closed: true });
  assert.equal(held.closed, false);
});
