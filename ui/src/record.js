// The run's tool calls from both places that know of them: the state's spans, and
// the orchestrator's own log where it was read. Pure.

import { clip } from "./format.js";
import { isOpen } from "./model.js";
import { weightOf } from "./weight.js";

const SOURCE = "tool_calls:"; // what the receiver of such logs puts before ids
const COMPARED = 200; // calls that the clocks are compared by
const ZONES = 15 * 60 * 1000; // time zones differ by multiples of this

// aimOf says in one line what a call is about.
export function aimOf(input) {
  const get = (...names) => names.map((name) => input?.[name]).find((v) => typeof v === "string" && v) ?? "";
  const where = get("file_path", "notebook_path", "path", "url");
  const what = get("command", "pattern", "query", "description", "prompt");
  return what && where ? `${what} in ${where}` : what || where;
}

// offsetOf is by how much the log's times are wrong: its zone is not the browser's.
// The same calls stand in the state, whose times are right.
function offsetOf(log, spanOf) {
  const apart = [];
  for (const call of log.calls) {
    const span = spanOf(call.id);
    if (span?.start_ms && call.at) apart.push(span.start_ms - call.at);
    if (apart.length === COMPARED) break;
  }
  apart.sort((a, b) => a - b);
  return apart.length ? Math.round(apart[apart.length >> 1] / ZONES) * ZONES : 0;
}

// joinLog gives {calls, blocks, usage, start, apart, unreadable}: what the log says
// with the names that the state has for its agents, and the calls of the state that
// are not in it. A call is {id, span, owner (id of the agent's span, or ""), name
// (the agent's), tool, at, end (0 while open), took, failed, error, size, input,
// aim, weight}. apart tells that the log is of another time than the run, start then is
// its own first moment; else the run's. Nothing after until is told.
export function joinLog(log, model, until = Infinity) {
  const spanOf = (id) => model.spans.get(SOURCE + id) ?? model.spans.get(id);
  const owners = new Map(); // agent of the log: span
  for (const span of model.spans.values()) if (span.attrs?.agent_id) owners.set(span.attrs.agent_id, span);
  for (const call of log?.calls ?? []) {
    const owner = spanOf(call.id)?.agent;
    if (owner && !owners.has(call.agent)) owners.set(call.agent, model.spans.get(owner));
  }
  const who = (agent) => {
    const span = owners.get(agent);
    return { owner: span?.id ?? "", name: span?.name ?? (log.agents.get(agent)?.name || agent) };
  };
  const offset = log ? offsetOf(log, spanOf) : 0;
  const run = model.run?.start_ms ?? 0;
  const times = (log ? [...log.calls, ...log.blocks, ...log.usage] : []).map((one) => one.at + offset).filter((at) => at > 0);
  const first = times.reduce((a, b) => Math.min(a, b), Infinity);
  const last = times.reduce((a, b) => Math.max(a, b), -Infinity);
  const over = model.run?.end_ms || Infinity;
  const apart = times.length > 0 && (last < run - 60e3 || first > over + 60e3);
  const known = (one) => apart || !(one.at > until);
  const seen = new Set();
  const calls = [];
  for (const call of log?.calls ?? []) {
    const at = call.at + offset;
    const span = spanOf(call.id);
    if (span) seen.add(span.id);
    if (!known({ at })) continue;
    const end = call.end + offset || 0;
    const ended = end > 0 && known({ at: end });
    calls.push({
      id: call.id, span: span?.id ?? "", ...who(call.agent), tool: call.tool || span?.name || "tool", at, end: ended ? end : 0, took: ended ? Math.max(0, call.took) : NaN,
      failed: ended && call.failed, error: ended ? call.error : "", size: call.size, input: call.input, aim: aimOf(call.input), weight: weightOf(call.tool, call.input, call.size),
    });
  }
  for (const [id, mine] of model.calls) {
    for (const span of mine.values()) if (span.kind === "tool" && !seen.has(span.id)) calls.push(fromSpan(span, id, model.spans.get(id)?.name ?? ""));
  }
  for (const span of model.others.values()) if (span.kind === "tool" && !seen.has(span.id)) calls.push(fromSpan(span, "", ""));
  const named = (one) => ({ ...one, at: one.at + offset, ...who(one.agent) });
  return {
    calls, blocks: (log?.blocks ?? []).map(named).filter(known), usage: usageOf(log, model, named).filter(known),
    start: apart ? first : run, apart, unreadable: log?.unreadable ?? 0,
  };
}

function fromSpan(span, owner, name) {
  const attrs = span.attrs ?? {};
  const input = { file_path: attrs.path, pattern: attrs.pattern };
  const size = typeof attrs.output_size === "number" ? attrs.output_size : NaN;
  return {
    id: span.id, span: span.id, owner, name, tool: span.name, at: span.start_ms ?? 0, end: isOpen(span) ? 0 : (span.end_ms ?? 0), took: span.end_ms ? (span.duration_ms ?? 0) : NaN,
    failed: span.state === "error", error: span.error ?? "", size, input, aim: aimOf(input) || clip(span.message ?? "", 200), weight: weightOf(span.name, input, size >= 0 ? size : 0), // without its size it weighs what such a call does at least
  };
}

// usageOf gives the tokens of model calls over time: those of the state where it
// has such calls, else those of the log.
function usageOf(log, model, named) {
  const own = [];
  for (const [id, mine] of model.calls) {
    for (const span of mine.values()) {
      if (span.kind !== "llm" || !span.tokens || !span.end_ms) continue;
      const created = span.attrs?.cache_creation_tokens > 0 ? span.attrs.cache_creation_tokens : 0;
      own.push({
        owner: id, name: model.spans.get(id)?.name ?? "", at: span.end_ms, read: span.cached_tokens, created,
        input: Math.max(0, span.input_tokens - span.cached_tokens - created), output: span.output_tokens,
      });
    }
  }
  const list = own.length ? own : (log?.usage ?? []).map(named);
  return list.sort((a, b) => a.at - b.at);
}
