import test from "node:test";
import assert from "node:assert/strict";
import { lastRows, lastText, signed, signedCount } from "../src/last.js";
import { Answer } from "../src/answer.js";

const change = (a, b) => ({ a, b, diff: (b ?? 0) - (a ?? 0), percent: null });

test("a difference has its sign, and none where nothing would be seen", () => {
  for (const [ms, text] of [[0, "\u2013"], [49, "\u2013"], [-49, "\u2013"], [50, "+0.1 s"], [-3100, "\u22123.1 s"], [59_949, "+59.9 s"], [59_950, "+1:00.0"], [-3_700_000, "\u22121:01:40"], [NaN, "\u2013"]]) assert.equal(signed(ms), text, String(ms));
  for (const [n, text] of [[0, "\u2013"], [12_300, "+12.3 k"], [-5, "\u22125"]]) assert.equal(signedCount(n), text);
});

test("the table has the server's figures", () => {
  const rows = lastRows({
    phases: [
      { name: "library_depth_0", in: "both", values: { wall_ms: change(71_500, 68_400) } },
      { name: "synthesis", in: "added", values: { wall_ms: change(null, 5000) } },
      { name: "cleanup", in: "removed", values: { wall_ms: change(100, null) } },
      { name: "odd", in: "both", values: {} },
    ],
    totals: { total_wall_ms: change(318_900, 312_500), total_tokens: change(0, 0) },
  });
  assert.deepEqual(rows.map((r) => [r.name, r.is, r.diff, r.sum]), [
    ["Libraries, depth 0", "1:08.4", "\u22123.1 s", false], ["Synthesis", "0:05.0", "new", false], ["Cleanup", "\u2013", "not any more", false], ["Odd", "\u2013", "\u2013", false],
    ["Total", "5:12.5", "\u22126.4 s", true],
  ]);
  assert.deepEqual(lastRows({ phases: [], totals: {} }), []);
});

test("how long it took", () => {
  assert.equal(lastText({ wall_ms: 318_900 }), "last run 5:18");
  for (const none of [null, undefined, {}, { wall_ms: 0 }]) assert.equal(lastText(none), "");
});

test("an answer is asked for once for each thing it is of", async () => {
  const replies = [{ ok: true, json: async () => ({ n: 1 }) }, { ok: true, json: async () => null }, { ok: false }, null];
  const asked = [];
  let changed = 0;
  const answer = new Answer("last", { changed: () => changed++, fetch: async (name) => {
    asked.push(name);
    const reply = replies.shift();
    if (!reply) throw new TypeError("no server");
    return reply;
  } });
  for (const of of ["a", "a", "b", "c", "d"]) {
    answer.want(of);
    await answer.reading;
  }
  assert.deepEqual(asked, ["last", "last", "last", "last"]);
  assert.deepEqual([answer.value, answer.version, changed], [{ n: 1 }, 1, 1], "what was known stays");
});
