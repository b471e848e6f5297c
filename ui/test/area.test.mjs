import test from "node:test";
import assert from "node:assert/strict";
import { areaSums, usedBy } from "../src/area.js";
import { tellArea } from "../src/marking.js";
import { Model } from "../src/model.js";
import { START, agent, at, burn, call, delta } from "./run.mjs";

test("tokens by a moment: on the line between two values", () => {
  const b = burn({ step_ms: 1000, totals: [0, 100, 300] });
  assert.deepEqual([-5, 0, 500, 1000, 1500, 2000, 9000].map((ms) => usedBy(b, START + ms)), [0, 0, 50, 100, 200, 300, 300]);
  assert.ok(Number.isNaN(usedBy(burn(), START)));
  assert.ok(Number.isNaN(usedBy(undefined, START)));
});

test("what happened in a stretch", () => {
  const m = new Model();
  m.apply(delta(0, 1, {
    burn: burn({ step_ms: 1000, totals: [0, 100, 300, 300] }),
    spans: [
      agent("a", "", "done", 1, 3), agent("b", "", "error", 2, 8), agent("c", "", "running", 6), agent("d", "", "queued"),
      agent("e", "", "running", 9, 0, { earlier: [{ start_ms: at(1), end_ms: at(2), state: "error" }] }),
      call("t1", "a", "Read", "done", { start_ms: at(2) }), call("t2", "a", "Read", "done", { start_ms: at(5) }),
    ],
  }));
  assert.deepEqual(areaSums(m, at(1.5), at(4), at(10)), { agents: 3, ended: 1, errors: 0, tools: 1, tokens: 100 });
  assert.deepEqual(areaSums(m, at(7), at(9), at(10)), { agents: 2, ended: 1, errors: 1, tools: 0, tokens: 0 });
  assert.equal(tellArea([1500, 4000], areaSums(m, at(1.5), at(4), at(10))), "0:01 to 0:04: 3 agents, 1 ended, 100 tokens, 1 tool call");
});
