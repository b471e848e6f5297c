import test from "node:test";
import assert from "node:assert/strict";
import { evidenceWords, sourceWords } from "../src/evidence.js";
import { brief } from "../src/format.js";

test("what the watchdog saw is told in sentences", () => {
  assert.equal(evidenceWords({
    rule: "silent", limit_ms: 120_000, running_ms: 400_000, open: "tool Bash", last: "span_update", last_span: "t1", last_ms: 181_000, last_message: "go test", llm_open_ms: 47_000,
    output_age_ms: 400_000, cpu_ms: 90, cpu_percent: 0.3, cpu_window_ms: 30_000, processes: 5, pid: 7, command: "sh", stopped: ["4711 node"], zombies: ["1 a", "2 b"],
  }), "No event for longer than 120 s. Last heard: span update of t1 at 3:01, \u201cgo test\u201d. Open: tool Bash. An LLM request has been open for 47 s. The terminal has shown nothing for 6 min. Its 5 processes used 0.3 % of a core in the last 30 s. Stopped: 4711 node. Ended, but not waited for: 1 a, 2 b.");
  assert.equal(evidenceWords({ rule: "long", limit_ms: 1_800_000 }), "It has been running for longer than 30 min.");
});

test("what is not known is named, and nothing is shown as it came", () => {
  assert.equal(evidenceWords({ last_heard: "span_start", n: 3, deep: { a: [1] }, list: [2], no: null }), "last heard: span_start. n: 3.");
  for (const none of [null, undefined, "text", [], {}, 4]) assert.equal(evidenceWords(none), "");
  assert.ok(evidenceWords({ rule: 4, limit_ms: "x", last: {}, last_ms: NaN, stopped: "all", blocked: [{}], cpu_percent: Infinity, open: 7 }).length < 60);
  assert.ok(evidenceWords({ open: "x".repeat(1e5), ["k".repeat(1e5)]: "v".repeat(1e5) }).length < 400);
});

test("a source says whether it was on and what it told", () => {
  const sources = [
    { source: "burr", on: true, why: "logs are followed", events: 0, spans: 0 }, { source: "gateway", on: false, why: "it is on only where --gateway asks for it", events: 0, spans: 0 },
    { source: "otlp", on: true, why: "exporters are pointed here", hint: "a collector answers on the default port", events: 0, spans: 0 }, { source: "socket", on: true, events: 2713, spans: 888 },
    { source: "process", on: false, events: 0, spans: 0 },
  ];
  assert.deepEqual(sourceWords(sources, ["socket", "gateway", "otlp", "burr", "process", "nobody"]), [
    "The socket told 2713 events, of 888 spans.", "The LLM gateway was off: it is on only where --gateway asks for it.", "OpenTelemetry told nothing: a collector answers on the default port.",
    "Burr's tracking logs told nothing: logs are followed.", "The look at the processes told nothing.",
  ]);
  assert.deepEqual(sourceWords(undefined, ["socket"]), []);
});

test("short durations are told in milliseconds", () => {
  for (const [ms, text] of [[0, "< 1 ms"], [0.4, "< 1 ms"], [12, "12 ms"], [999, "999 ms"], [999.6, "0:01.0"], [68_400, "1:08.4"], [NaN, "0:00.0"]]) assert.equal(brief(ms), text);
});
