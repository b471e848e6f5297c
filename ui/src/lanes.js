// The lanes below an agent: its tool calls by tool, its model calls, what it wrote.
// Pure. They are rows of the timeline whose marks are calls.

import { isOpen } from "./model.js";
import { classOf } from "./weight.js";

const MOST_LANES = 8; // of tools; what is beyond becomes one
export const MODEL_CALLS = "Model calls";
export const OTHER_TOOLS = "Other tools";
export const WRITING = "Text and thoughts";

export const laneKey = (agent, name) => `l:${agent}\n${name}`;
export const callsKey = (agent) => `c:${agent}`;

// agentOf gives the id of the agent that the key of a lane is below, or "".
export function agentOf(key) {
  if (key.startsWith("c:")) return key.slice(2);
  return key.startsWith("l:") ? key.slice(2, key.lastIndexOf("\n")) : "";
}

// callKey is what a call is selected by: its span, else its id in the log.
export const callKey = (call) => (call.span ? `s:${call.span}` : `t:${call.id}`);

// Lanes gives the lanes of agents, each made once as long as nothing new is known.
export class Lanes {
  // model is the run; record gives what joinLog does, asked only where it is needed;
  // read tells that there is a log.
  constructor(model, record, read) {
    Object.assign(this, { model, record, read });
    this.made = new Map();
  }

  // has tells whether there is anything below an agent.
  has(id) {
    if (this.model.calls.get(id)?.size > 0) return true;
    return this.read && this.owned().has(id);
  }

  // owned gives the calls and blocks of the record by agent.
  owned() {
    if (!this.by) {
      this.by = new Map();
      const { calls, blocks } = this.record();
      const of = (owner) => {
        if (!this.by.has(owner)) this.by.set(owner, { calls: [], blocks: [] });
        return this.by.get(owner);
      };
      for (const call of calls) of(call.owner).calls.push(call);
      for (const block of blocks) of(block.owner).blocks.push(block);
    }
    return this.by;
  }

  // of gives the lanes of an agent: [{name, marks, failed, open, total_ms, tokens}].
  // A mark is {key, at, end (0 while open), look, tool, aim, call}: look is the class
  // of its weight, "text" or "thinking", with " error" or " open" behind it.
  of(id) {
    if (!this.made.has(id)) this.made.set(id, this.make(id));
    return this.made.get(id);
  }

  make(id) {
    const { calls, blocks } = this.owned().get(id) ?? { calls: [], blocks: [] };
    const by = new Map();
    for (const call of calls) by.set(call.tool, [...(by.get(call.tool) ?? []), call]);
    const order = [...by].sort((a, b) => b[1].length - a[1].length || (a[0] < b[0] ? -1 : 1));
    const named = order.length > MOST_LANES ? order.slice(0, MOST_LANES - 1) : order;
    const rest = order.slice(named.length).flatMap(([, list]) => list);
    const out = [...named, ...(rest.length ? [[OTHER_TOOLS, rest]] : [])].map(([name, list]) => lane(name, list.map(mark)));
    const models = [...(this.model.calls.get(id)?.values() ?? [])].filter((span) => span.kind === "llm");
    if (models.length) out.push(lane(MODEL_CALLS, models.map(modelMark)));
    if (blocks.length) out.push(lane(WRITING, blocks.map(blockMark)));
    return out;
  }

  // find gives the lane of an agent that a call is in, and its mark.
  find(agent, key) {
    for (const one of this.of(agent)) {
      const found = one.marks.find((m) => m.key === key);
      if (found) return { lane: one, mark: found };
    }
    return null;
  }
}

function lane(name, marks) {
  const out = { name, marks: marks.sort((a, b) => a.at - b.at), failed: 0, open: 0, total_ms: 0, tokens: 0 };
  for (const m of marks) {
    if (m.look.endsWith(" error")) out.failed++;
    if (m.look.endsWith(" open")) out.open++;
    out.total_ms += m.took || 0;
    out.tokens += m.tokens ?? 0;
  }
  return out;
}

const after = (failed, open) => (failed ? " error" : open ? " open" : "");

const mark = (call) => ({
  key: callKey(call), at: call.at, end: call.end, took: call.took, look: classOf(call.weight) + after(call.failed, !call.end), tool: call.tool, aim: call.aim, error: call.error,
});

const modelMark = (span) => ({
  key: `s:${span.id}`, at: span.start_ms || span.end_ms || 0, end: span.end_ms ?? 0, took: span.duration_ms, tokens: span.tokens || 0,
  look: `moderate${after(span.state === "error", isOpen(span))}`, tool: span.name, aim: span.message ?? "", error: span.error ?? "",
});

const blockMark = (block) => ({
  key: "", at: block.at, end: block.at, took: 0, look: block.kind, tool: block.kind === "text" ? "Text" : "Thinking", aim: block.text.slice(0, 150), length: block.length, error: "",
});

// strokes gives the marks between two moments as paths: a Map of look to data. Marks
// of a look that fall on the same pixels are one.
export function strokes(marks, x, { from, to, now, width, y }) {
  const out = new Map();
  const reached = new Map();
  for (const m of marks) {
    const end = m.end || now;
    if (end < from || m.at > to) continue;
    const left = Math.max(-2, Math.round(x(m.at) * 2) / 2);
    const right = Math.min(width + 2, Math.max(left + 2, Math.round(x(end) * 2) / 2));
    const before = reached.get(m.look) ?? -Infinity;
    if (right <= before) continue;
    reached.set(m.look, right);
    out.set(m.look, `${out.get(m.look) ?? ""}M${Math.max(left, before)},${y}H${right}`);
  }
  return out;
}

// markAt gives the mark nearest to a moment, within a reach in milliseconds; null
// where there is none.
export function markAt(marks, at, reach, now) {
  let best = null;
  let distance = reach;
  for (const m of marks) {
    const end = m.end || now;
    const off = at < m.at ? m.at - at : at > end ? at - end : 0;
    if (off < distance || (off === 0 && distance === 0)) [best, distance] = [m, off];
  }
  return best;
}
