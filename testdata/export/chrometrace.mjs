// Checks a trace as Perfetto's importer reads it: node chrometrace.mjs FILE. Prints
// how many events of each sort there are, as JSON.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const trace = JSON.parse(readFileSync(process.argv[2], "utf8"));
assert.equal(trace.displayTimeUnit, "ms");
const counts = {};
const processes = new Map(), threads = new Map();
const stacks = new Map(); // by thread: the events that are open
const flows = new Map(), counters = new Map(), slices = [];
let last = 0;
for (const e of trace.traceEvents) {
  counts[e.ph] = (counts[e.ph] ?? 0) + 1;
  assert.equal(typeof e.name, "string");
  assert.ok(Number.isSafeInteger(e.ts) && e.ts >= 0, `ts ${e.ts}`);
  assert.ok(e.name.length > 0 && e.name.length <= 200, e.name);
  assert.doesNotMatch(JSON.stringify(e.name), /[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/);
  if (e.ph === "M") {
    if (e.name === "process_name") {
      assert.ok(!processes.has(e.pid));
      processes.set(e.pid, e.args.name);
    }
    if (e.name === "thread_name") {
      assert.ok(!threads.has(e.tid), "a thread's number is its own");
      threads.set(e.tid, { pid: e.pid, name: e.args.name });
      stacks.set(e.tid, []);
    }
    continue;
  }
  assert.ok(e.ts >= last, `${e.name} at ${e.ts} comes after ${last}`);
  last = e.ts;
  assert.ok(processes.has(e.pid), `process ${e.pid} has no name`);
  if (e.ph !== "C") assert.equal(threads.get(e.tid)?.pid, e.pid, `thread ${e.tid} is not of process ${e.pid}`);
  switch (e.ph) {
    case "X": {
      assert.ok(Number.isSafeInteger(e.dur) && e.dur >= 0);
      const stack = stacks.get(e.tid);
      while (stack.length > 0 && stack.at(-1) <= e.ts) stack.pop();
      assert.ok(stack.length === 0 || e.ts + e.dur <= stack.at(-1), `${e.name} at ${e.ts} does not nest on thread ${e.tid}`);
      stack.push(e.ts + e.dur);
      slices.push(e);
      break;
    }
    case "s":
    case "f": {
      const flow = flows.get(e.id) ?? {};
      assert.ok(!flow[e.ph], `flow ${e.id} has two ends of a sort`);
      flow[e.ph] = e;
      flows.set(e.id, flow);
      break;
    }
    case "i":
      assert.ok(["t", "p"].includes(e.s));
      break;
    case "C":
      if (e.name === "tokens") assert.ok(e.args.tokens >= (counters.get("tokens") ?? 0), "tokens used are never fewer");
      assert.ok(Object.values(e.args)[0] >= 0);
      counters.set(e.name, Object.values(e.args)[0]);
      break;
    default:
      assert.fail(`an event ${e.ph}`);
  }
}
const around = (e) => slices.some((x) => x.tid === e.tid && x.ts <= e.ts && e.ts <= x.ts + x.dur);
for (const [id, { s, f }] of flows) {
  assert.ok(s && f, `flow ${id} has one end`);
  assert.ok(s.ts <= f.ts, `flow ${id} goes back in time`);
  assert.notEqual(s.tid, f.tid);
  assert.equal(s.name + s.cat, f.name + f.cat);
  assert.ok(around(s) && around(f), `flow ${id} hangs in the air`);
}
console.log(JSON.stringify({ ...counts, agents: counters.get("agents at work"), tokens: counters.get("tokens") }));
