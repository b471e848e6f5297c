import test from "node:test";
import assert from "node:assert/strict";
import { ServerClock } from "../src/clock.js";

test("the clock takes the fastest of the last eight messages", () => {
  let client = 1_000_000;
  const clock = new ServerClock(() => client);
  assert.equal(clock.now(), client, "before a sample it is the client's");
  clock.sample(client - 5000 - 40); // the server is 5 s behind, the message took 40 ms
  assert.equal(clock.now(), client - 5040);
  clock.sample(client - 5000 - 3);
  assert.equal(clock.now(), client - 5003);
  for (let i = 0; i < 8; i++) clock.sample(client - 5000 - 90);
  assert.equal(clock.now(), client - 5090, "the old one is forgotten");
  client += 250;
  assert.equal(clock.now(), client - 5090);
});

test("a held clock stands, and goes on with the next sample", () => {
  let client = 0;
  const clock = new ServerClock(() => client);
  clock.sample(0);
  client = 100;
  clock.hold();
  client = 60_000;
  clock.hold();
  assert.equal(clock.now(), 100);
  clock.sample(60_000);
  client = 60_010;
  assert.equal(clock.now(), 60_010);
});
