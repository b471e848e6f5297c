import test from "node:test";
import assert from "node:assert/strict";
import { Lens } from "../src/lens.js";
import { newView } from "../src/view.js";
import { wheelZoom } from "../src/gestures.js";
import { brushed, gripAt } from "../src/brush.js";

// A lens on a run of 100 s, live or over.
function lens({ live = false, elapsed = 100_000 } = {}) {
  const view = newView();
  const at = { reach: live ? elapsed * 1.1 : elapsed, elapsed, live };
  const l = new Lens(view, { moment: () => at, held: () => { view.follow = false; }, changed: () => {} });
  return { l, view, at };
}

test("keys zoom at the pointer, else at the selection, else in the middle", () => {
  const { l, view } = lens();
  l.pointer = 10_000;
  l.key("zoomIn", [80_000, 90_000], "s:a");
  assert.ok(Math.abs((10_000 - view.domain[0]) / (view.domain[1] - view.domain[0]) - 0.1) < 1e-9);
  l.fitAll();
  assert.equal(l.zoomed, false);
  l.pointer = null;
  l.key("zoomIn", [80_000, 90_000], "s:a");
  assert.ok(Math.abs((85_000 - view.domain[0]) / (view.domain[1] - view.domain[0]) - 0.85) < 1e-9);
  l.fitAll();
  l.key("zoomIn", null, "");
  assert.deepEqual(view.domain.map(Math.round), [16_667, 83_333]);
  l.key("zoomOut", null, "");
  assert.equal(view.domain, null, "and out again");
});

test("panning, in small steps and large ones", () => {
  const { l, view } = lens();
  l.set([40_000, 50_000]);
  l.key("panRight", null, "");
  assert.deepEqual(view.domain, [41_500, 51_500]);
  l.key("panLeftFar", null, "");
  assert.deepEqual(view.domain, [34_000, 44_000]);
  l.fitAll();
  l.key("panLeft", null, "");
  assert.equal(view.domain, null);
});

test("once centres, twice fits; something else in between begins anew", () => {
  const { l, view } = lens();
  l.set([0, 20_000]);
  l.key("centre", [50_000, 52_000], "s:a");
  assert.deepEqual(view.domain, [41_000, 61_000]);
  l.key("centre", [50_000, 52_000], "s:a");
  assert.deepEqual(view.domain, [49_880, 52_120]);
  l.key("centre", [50_000, 52_000], "s:a");
  assert.deepEqual(view.domain.map((v) => v - 51_000), [-1120, 1120], "centred, and as long as it was");
  l.key("centre", [10_000, 12_000], "s:b");
  assert.deepEqual(view.domain.map((v) => v - 11_000), [-1120, 1120]);
  l.key("centre", null, "s:none");
});

test("whoever zooms does not follow any more; following goes on from there", () => {
  const { l, view, at } = lens({ live: true, elapsed: 50_000 });
  assert.equal(view.follow, true);
  l.zoom(2, 25_000);
  assert.equal(view.follow, false);
  const held = [...view.domain];
  Object.assign(at, { elapsed: 60_000, reach: 66_000 });
  assert.deepEqual(l.shown(), held, "the run goes on, the view stands still");
  view.follow = true;
  const [from, to] = l.shown();
  assert.ok(Math.abs(to - from - (held[1] - held[0])) < 1e-6);
  assert.ok(Math.abs((60_000 - from) / (to - from) - 1 / 1.1) < 1e-9, "now stands at ten elevenths");
});

test("showing all again is no reason to stop following", () => {
  const { l, view } = lens({ live: true });
  l.fitAll();
  assert.equal(view.follow, true);
});

test("the wheel: small steps of a pinch, bounded notches of a mouse", () => {
  assert.equal(wheelZoom(0), 1);
  assert.ok(wheelZoom(-2) > 1 && wheelZoom(-2) < 1.05);
  assert.equal(wheelZoom(-120), wheelZoom(-5000));
  assert.ok(Math.abs(wheelZoom(120) * wheelZoom(-120) - 1) < 1e-12);
});

test("what a pointer on the strip has hold of", () => {
  const at = (x, view = [100, 200], marker = null) => gripAt(x, { view, marker });
  assert.deepEqual([50, 96, 104, 150, 195, 207].map((x) => at(x)), ["new", "from", "from", "view", "to", "new"]);
  assert.equal(at(103, [100, 104]), "to", "the nearer edge of a narrow one");
  assert.equal(at(50, null), "new");
  assert.equal(at(150, [100, 200], 155), "marker");
  assert.equal(at(150, null, 170), "new");
});

test("brushing, moving and stretching", () => {
  assert.deepEqual(brushed("new", null, 9, 3), [3, 9]);
  assert.deepEqual(brushed("view", [10, 20], 12, 15), [13, 23]);
  assert.deepEqual(brushed("from", [10, 20], 10, 5), [5, 20]);
  assert.deepEqual(brushed("from", [10, 20], 10, 25), [20, 25], "over the other edge");
  assert.deepEqual(brushed("to", [10, 20], 20, 4), [4, 10]);
});
