import test from "node:test";
import assert from "node:assert/strict";
import { counted, headOf, problems, silentFor } from "../src/problems.js";
import { Model } from "../src/model.js";
import { agent, at, call, delta, info, totals } from "./run.mjs";

function run(more) {
  const m = new Model();
  m.apply(delta(0, 1, more));
  return m;
}

test("failures, newest first, calls left to their agents", () => {
  const m = run({ spans: [agent("a", "", "error", 1, 5, { error: "no" }), agent("b", "", "error", 1, 9), agent("c", "", "cancelled", 1, 2), call("t", "a", "Read", "error"), agent("p", "", "lost", 1, 9, { kind: "process", is_agent: false })] });
  assert.deepEqual(problems(m).map((p) => [p.title, p.detail, p.level, p.span]), [["b failed", "no message", "error", "b"], ["a failed", "no", "error", "a"]]);
});

test("what was lost says how far it had come", () => {
  const m = run({ run: info({ status: "interrupted", end_ms: at(9), wall_ms: 9000 }), spans: [agent("a", "", "lost", 1, 9), agent("b", "", "lost", 0, 9)] });
  assert.deepEqual(problems(m).map((p) => [p.title, p.detail]), [
    ["The run was interrupted", "its end was not recorded"], ["a was lost", "still open when the run ended"], ["b was lost", "never started"],
  ]);
});

test("a failed run says how", () => {
  const how = (run_) => problems(run({ run: info({ status: "error", end_ms: at(9), ...run_ }) }))[0].detail;
  assert.equal(how({ exit_code: 2 }), "exit status 2");
  assert.equal(how({ exit_code: 137, signal: "SIGKILL" }), "ended by SIGKILL");
  assert.equal(how({ exit_code: 127, error: "not found" }), "not found");
  assert.deepEqual(problems(run({ run: info({ status: "ok", end_ms: at(9), exit_code: 0 }) })), []);
});

test("a silence stays in the list when it is over", () => {
  const stall = { span_id: "t", agent: "a", name: "a", time_ms: at(60), idle_ms: 45_000, open: true };
  const first = (more, run_) => problems(run({ stalls: [{ ...stall, ...more }], run: info(run_) })).find((p) => p.state === "stalled");
  let p = first({});
  assert.deepEqual([p.title, p.level, p.detail, p.span, p.quiet], ["a is silent", "warn", "", "a", "t"]);
  p = first({ open: false, resumed_ms: at(122) });
  assert.deepEqual([p.title, p.level, p.detail, p.quiet], ["a was silent", "info", "recovered 1 minute 2 seconds after it was flagged", ""]);
  p = first({}, { status: "ok", end_ms: at(90) });
  assert.deepEqual([p.title, p.level, p.detail, p.quiet], ["a was silent", "warn", "no event for 45 s", ""]);
});

test("log entries, and a bound", () => {
  const logs = Array.from({ length: 300 }, (_, i) => ({ rev: i + 1, time_ms: at(i + 1), level: i % 2 ? "warn" : "error", message: `m${i}`, source: "obsrun" }));
  const list = problems(run({ logs }));
  assert.equal(list.length, 200);
  assert.deepEqual([list[0].title, list[0].level, list[0].detail], ["m299", "warn", "from obsrun"]);
  assert.equal(new Set(list.map((p) => p.key)).size, 200);
});

test("the numbers are the server's", () => {
  assert.deepEqual(counted(totals({ errors: 2, lost: 1, stalled: 3, tool_errors: 9 })), { number: 6, words: "2 errors, 1 lost, 3 stalled" });
  assert.deepEqual(counted(totals()), { number: 0, words: "" });
  assert.equal(silentFor(agent("a", "", "stalled", 1, 0, { heard_ms: 3000 }), info(), at(50)), 47_000);
});

test("what is above the list means what the summary means", () => {
  const of = (more) => {
    const m = run(more);
    return headOf(m, problems(m));
  };
  assert.equal(of({}), "none");
  assert.equal(of({ run: info({ status: "error", exit_code: 2, end_ms: at(9) }) }), "1", "nothing but the run itself");
  const lost = [agent("a", "lib", "lost", 1, 9), agent("b", "lib", "lost"), agent("lib", "lib", "lost", 1, 9, { kind: "phase", is_agent: false }), agent("c", "lib", "error", 1, 2)];
  const more = { run: info({ status: "interrupted", end_ms: at(9), wall_ms: 9000 }), totals: totals({ errors: 1, lost: 2, rejected_events: 3 }), spans: lost, logs: [{ rev: 2, time_ms: at(2), level: "warn", message: "old" }] };
  assert.equal(of(more), "1 error, 2 lost, 2 warnings");
  assert.deepEqual(problems(run(more)).map((p) => p.span).filter(Boolean).sort(), ["a", "b", "c"], "a phase is lost with its agents");
});
