import test from "node:test";
import assert from "node:assert/strict";
import { Playback } from "../src/playback.js";
import { Model } from "../src/model.js";
import { newView } from "../src/view.js";
import { START, agent, at, delta, info, root, totals } from "./run.mjs";

globalThis.requestAnimationFrame = () => 0; // nothing plays by itself here

// A page as far as a playback needs one, at a moment in seconds.
function page(seconds) {
  const node = () => ({ addEventListener() {}, firstChild: null, lastChild: null, textContent: "" });
  const p = {
    model: new Model(), view: newView(), at: seconds, find: node, changed() {}, ask() {}, samples: { version: 0, value: null }, clock: { now: () => at(p.at) }, now: () => at(p.at),
    absorb: (d) => p.model.apply(d),
    take: (d) => (p.playback.still ? p.playback.held.add(d, p.model.rev) : p.absorb(d)),
  };
  p.playback = new Playback(p);
  p.take(delta(0, 5, { spans: [root(), agent("a", "", "running", 1), agent("b", "", "done", 1, 3)], totals: totals({ tokens: 5 }) }));
  return p;
}

test("a paused view stands still and counts what it holds; then it is where it would have been", () => {
  const p = page(10);
  p.playback.pause();
  p.at = 14;
  p.take(delta(5, 9, { spans: [agent("a", "", "done", 1, 12)], totals: totals({ tokens: 8 }) }));
  p.take(delta(9, 12, { spans: [agent("c", "", "running", 13)], totals: totals({ tokens: 9 }) }));
  assert.deepEqual([p.playback.moment().elapsed, p.model.totals.tokens, p.model.spans.has("c"), p.playback.held.count(p.model.rev)], [10_000, 5, false, 7]);
  p.playback.pause();
  assert.deepEqual([p.playback.moment().elapsed, p.model.totals.tokens, p.model.spans.get("a").state, p.model.rev], [14_000, 9, "done", 12]);
  assert.equal(p.playback.held.count(p.model.rev), 0);
});

test("the end of the run does not end a pause", () => {
  const p = page(10);
  p.playback.pause();
  p.take(delta(5, 9, { run: info({ status: "ok", exit_code: 0, end_ms: at(12), wall_ms: 12_000 }) }));
  p.playback.held.closed = true;
  assert.equal(p.model.ended, false);
  p.playback.pause();
  assert.equal(p.model.ended, true);
  assert.equal(p.model.closed, true);
});

test("a replay goes through the run, and leaving it is back at now", () => {
  const p = page(10);
  p.playback.startReplay();
  assert.equal(p.view.replay, 0);
  p.playback.seek(2000);
  const moment = p.playback.moment();
  assert.deepEqual([moment.now, moment.elapsed, moment.length, moment.reach], [START + 2000, 2000, 10_000, 11_000]);
  assert.equal(p.playback.modelAt(moment).spans.get("b").state, "running");
  p.at = 20;
  p.take(delta(5, 7, { spans: [agent("a", "", "done", 1, 15)] }));
  assert.equal(p.playback.moment().length, 10_000, "the run that is replayed does not grow");
  p.playback.seek(99_999);
  assert.equal(p.view.replay, 10_000);
  assert.equal(p.playback.modelAt(p.playback.moment()), p.model, "at its end stands what the server said");
  p.playback.leaveReplay();
  assert.deepEqual([p.view.replay, p.playback.moment().elapsed, p.model.spans.get("a").state], [null, 20_000, "done"]);
});

test("leaving a replay that began in a pause is back in the pause", () => {
  const p = page(10);
  p.playback.pause();
  p.playback.startReplay();
  p.at = 30;
  p.playback.leaveReplay();
  assert.equal(p.playback.moment().elapsed, 10_000);
  assert.equal(p.playback.still, true);
});

test("steps from event to event, of the selection too", () => {
  const p = page(10);
  assert.equal(p.playback.stepEvent(1), false, "not outside of a replay");
  p.playback.startReplay();
  p.playback.stepEvent(1);
  assert.equal(p.view.replay, 1000);
  p.playback.stepEvent(1);
  assert.equal(p.view.replay, 3000);
  p.view.selected = "s:a";
  p.playback.stepEvent(-1);
  assert.equal(p.view.replay, 1000);
});

test("there is nothing to replay before there is a run", () => {
  const p = page(10);
  p.model = new Model();
  p.playback.startReplay();
  assert.equal(p.view.replay, null);
  p.view.replay = 5000; // from an address
  assert.equal(p.playback.still, false, "the first state is not held");
  assert.equal(p.playback.stepEvent(1), false);
});

test("idle stretches can be skipped: to a little before what comes next", () => {
  const p = page(1000);
  p.take(delta(5, 6, { spans: [agent("c", "", "done", 600, 601)] }));
  p.view.terminal = false;
  p.playback.startReplay();
  p.playback.modelAt(p.playback.moment());
  const { transport } = p.playback;
  transport.speed = 4;
  assert.equal(transport.skipped(10_000), 10_000, "only where the user wants it");
  transport.skip = true;
  assert.equal(transport.skipped(10_000), 600_000 - 1600);
  assert.equal(transport.skipped(595_000), 595_000, "that is not far");
  assert.equal(transport.skipped(700_000), 1_000_000 - 1600, "then there is the end");
  p.view.terminal = true;
  p.terminal = { nextAt: (at) => (at < 300_000 ? 300_000 : null) };
  assert.equal(transport.skipped(10_000), 300_000 - 1600, "what the terminal shows is something");
});
