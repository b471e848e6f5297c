import test, { mock } from "node:test";
import assert from "node:assert/strict";
import { Beat, paceOf } from "../src/beat.js";

test("the clocks go on as often as a bar can be seen to grow", () => {
  assert.equal(paceOf(60_000, 900, true), 250);
  assert.equal(paceOf(400_000, 900, true), 250);
  assert.equal(paceOf(600_000, 900, true), 1000);
  assert.equal(paceOf(600_000, 1400, true), 250, "of wide bars earlier");
  assert.equal(paceOf(600_000, 900, false), 250, "a replay goes as it goes");
  assert.equal(paceOf(600_000, 0, true), 250, "nothing is drawn yet");
});

test("a calm beat comes with the seconds, and stops", () => {
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  let beats = 0;
  const beat = new Beat(() => beats++);
  beat.keep(1000, 12_300);
  mock.timers.tick(700);
  assert.equal(beats, 0);
  mock.timers.tick(20);
  assert.equal(beats, 1, "when the 13th second begins");
  beat.keep(1000, 13_300);
  mock.timers.tick(3000);
  assert.equal(beats, 4, "told again it goes on");
  beat.keep(250, 16_000);
  mock.timers.tick(1000);
  assert.equal(beats, 8);
  beat.keep(0);
  mock.timers.tick(5000);
  assert.equal(beats, 8);
  beat.keep(1000, -5);
  beat.keep(0);
  mock.timers.tick(5000);
  assert.equal(beats, 8, "stopped before it began");
  mock.timers.reset();
});
