import test from "node:test";
import assert from "node:assert/strict";
import { fromHash, newView, pin, toHash } from "../src/view.js";

test("an untouched page has a plain address", () => {
  assert.equal(toHash(newView()), "");
  assert.deepEqual(fromHash(""), newView());
  assert.deepEqual(fromHash("#"), newView());
});

test("an address brings everything back", () => {
  const view = {
    ...newView(), tab: "agents", selected: "s:lib encoding&#=%/\u05E9", domain: [12_500, 88_123], follow: false, replay: 132_000,
    find: "a b+c", states: new Set(["error", "running"]), hideDone: true, path: false, pins: ["s:a", "s:b,c"],
    collapsed: new Map([["p:lib", true], ["s:x", false]]), terminal: true, area: [1500, 2000], tools: new Set(["Read", "a,b"]), weight: 6, owners: new Set(["x"]), dirs: new Set(["/src"]),
  };
  const back = fromHash(`#${toHash(view)}`);
  assert.deepEqual(back, { ...view, changes: 0 });
  assert.equal(toHash(back), toHash(view));
});

test("a page that follows has no moment in its address", () => {
  assert.equal(toHash({ ...newView(), domain: [1000, 2000], follow: true }), "");
});

test("an address that makes no sense is left out", () => {
  const hash = "tab=passwords&select=%3Cimg%3E&zoom=9-3&replay=-1&area=9-3&weight=5&terminal=1&states=odd,,&hide=1&pin=p:x&pin=&zoom";
  assert.deepEqual(fromHash(hash), newView());
  assert.deepEqual(fromHash("zoom=1e9-NaN&replay=Infinity&%%%&__proto__=x"), newView());
  assert.equal(fromHash(`pin=s:${[...Array(50).keys()].join("&pin=s:")}`).pins.length, 20);
});

test("pins come and go, the oldest first", () => {
  const view = newView();
  pin(view, "s:a");
  pin(view, "s:b");
  assert.deepEqual(view.pins, ["s:a", "s:b"]);
  pin(view, "s:a");
  assert.deepEqual(view.pins, ["s:b"]);
  for (let i = 0; i < 20; i++) pin(view, `s:${i}`);
  assert.equal(view.pins.length, 20);
  assert.ok(!view.pins.includes("s:b"));
});
