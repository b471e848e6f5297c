import test from "node:test";
import assert from "node:assert/strict";
import * as f from "../src/format.js";

const table = (name, fn, rows) => test(name, () => rows.forEach(([input, want]) => assert.equal(fn(input), want, String(input))));

table("clock", f.clock, [[0, "0:00"], [999, "0:00"], [59_999, "0:59"], [60_000, "1:00"], [3_599_999, "59:59"], [3_600_000, "1:00:00"], [-5, "0:00"], [NaN, "0:00"], [Infinity, "0:00"]]);
table("stopwatch", f.stopwatch, [[0, "0:00.0"], [1200, "0:01.2"], [68_400, "1:08.4"], [59_960, "1:00.0"], [3_599_949, "59:59.9"], [3_599_950, "1:00:00"], [-1, "0:00.0"], [NaN, "0:00.0"]]);
table("compact", f.compact, [[0, "0"], [999, "999"], [999.6, "1.0 k"], [1000, "1.0 k"], [61_200, "61.2 k"], [999_949, "999.9 k"], [999_950, "1.00 M"], [1_842_000, "1.84 M"], [999_995_000, "1.00 G"], [2e12, "2.00 T"], [NaN, "\u2013"]]);
table("perMinute", f.perMinute, [[0, "0/min"], [999, "999/min"], [406_200, "406 k/min"], [999_499, "999 k/min"], [999_500, "1.00 M/min"], [undefined, "\u2013"]]);
table("ago", f.ago, [[-50, "0.0 s ago"], [200, "0.2 s ago"], [9_940, "9.9 s ago"], [9_960, "10 s ago"], [119_000, "119 s ago"], [180_000, "3 min ago"], [3 * 3_600_000, "3 h ago"]]);
table("spoken", f.spoken, [[0, "0 seconds"], [1000, "1 second"], [59_000, "59 seconds"], [60_000, "1 minute"], [68_400, "1 minute 8 seconds"], [3_600_000, "1 hour"], [7_265_000, "2 hours 1 minute"]]);
table("silence", f.silence, [[47_900, "47 s"], [179_999, "179 s"], [180_000, "3 min"], [-1, "0 s"]]);
table("repository", f.repository, [["https://github.com/Layr-Labs/eigenda", "Layr-Labs/eigenda"], ["git@github.com:a/b.git", "a/b"], ["https://example.org/a/b/", "a/b"], ["x", "x"]]);
table("runName", f.runName, [["eigenda-20260408-abc123", "eigenda"], ["a-b-20260408-abc123", "a-b"], ["plain", "plain"], ["-20260408-abc123", "-20260408-abc123"]]);

test("clip bounds a text and leaves no half of a character", () => {
  assert.equal(f.clip("abc", 3), "abc");
  assert.equal(f.clip("abcd", 3), "abc\u2026");
  const text = f.clip(`ab${"\u{1F600}".repeat(5000)}`, 3);
  assert.equal(text, "ab\u2026");
  assert.ok(text.isWellFormed?.() ?? true);
  assert.equal(f.clip("W".repeat(10_000)).length, 301);
});
