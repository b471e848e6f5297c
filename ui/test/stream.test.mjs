import test from "node:test";
import assert from "node:assert/strict";
import { Stream } from "../src/stream.js";

// world is a browser's connection and clock in the test's hand.
function world(onDelta = () => true) {
  const w = { time: 0, sources: [], timers: [], states: [], deltas: [] };
  w.stream = new Stream({
    url: "state",
    now: () => w.time,
    wait: (f, ms) => w.timers.push({ f, due: w.time + ms, ms }),
    open: (url) => {
      const source = new EventTarget();
      Object.assign(source, { url, readyState: 0, closed: false, close: () => (source.closed = true) });
      w.sources.push(source);
      return source;
    },
    onDelta: (delta) => {
      w.deltas.push(delta);
      return onDelta(delta);
    },
    onState: (stream) => w.states.push(stream.state),
  });
  w.source = () => w.sources[w.sources.length - 1];
  w.say = (data, source = w.source()) => source.dispatchEvent(Object.assign(new Event("message"), { data: typeof data === "string" ? data : JSON.stringify(data) }));
  w.fail = (readyState) => {
    w.source().readyState = readyState;
    w.source().dispatchEvent(new Event("error"));
  };
  w.pass = (ms) => {
    w.time += ms;
    for (const timer of w.timers.splice(0)) timer.due <= w.time ? timer.f() : w.timers.push(timer);
  };
  return w;
}

test("it is live with the first message and ended with the end", () => {
  const w = world();
  assert.equal(w.stream.state, "connecting");
  w.say({ rev: 1 });
  w.say({ rev: 2 });
  w.source().dispatchEvent(new Event("end"));
  assert.deepEqual(w.states, ["live", "ended"]);
  assert.equal(w.deltas.length, 2);
  assert.ok(w.source().closed);
  w.fail(2);
  w.pass(60_000);
  w.stream.retry();
  assert.equal(w.sources.length, 1, "it never connects again");
  assert.equal(w.stream.state, "ended");
});

test("while the browser retries by itself, it waits", () => {
  const w = world();
  w.say({});
  w.fail(0);
  assert.equal(w.stream.state, "offline");
  assert.equal(w.stream.retryAt, 0);
  w.say({});
  assert.deepEqual(w.states, ["live", "offline", "live"]);
  assert.equal(w.sources.length, 1);
});

test("where the browser gives up, it tries with growing pauses, up to 15 s", () => {
  const w = world();
  const pauses = [];
  for (let i = 0; i < 7; i++) {
    w.fail(2);
    pauses.push(w.timers[w.timers.length - 1].ms);
    assert.equal(w.stream.retryAt, w.time + pauses[i]);
    w.pass(pauses[i]);
  }
  assert.deepEqual(pauses, [1000, 2000, 4000, 8000, 15000, 15000, 15000]);
  assert.equal(w.sources.length, 8);
  assert.ok(w.sources.slice(0, -1).every((s) => s.closed));
  w.say({});
  w.fail(2);
  assert.equal(w.timers[0].ms, 1000, "a message starts over");
});

test("a user can try at once, and the pause that was due does nothing more", () => {
  const w = world();
  w.fail(2);
  w.stream.retry();
  assert.equal(w.sources.length, 2);
  w.pass(20_000);
  assert.equal(w.sources.length, 2);
});

test("what an old connection still says is not heard", () => {
  const w = world();
  const old = w.source();
  w.fail(2);
  w.pass(1000);
  w.say({ rev: 1 }, old);
  assert.equal(w.deltas.length, 0);
  assert.equal(w.stream.state, "offline");
});

test("a refused delta or a torn message begins a new connection", () => {
  for (const [data, answer] of [[{ from: 9 }, false], ["{\"from\":", true]]) {
    const w = world(() => answer);
    w.say(data);
    assert.equal(w.stream.state, "offline");
    w.pass(1000);
    assert.equal(w.sources.length, 2);
  }
});

test("a line that says nothing for 15 s is dead", () => {
  const w = world();
  w.say({});
  w.pass(14_000);
  w.stream.check();
  assert.equal(w.stream.state, "live");
  w.pass(2000);
  w.stream.check();
  assert.equal(w.stream.state, "offline");
  assert.ok(w.source().closed);
});
