// Tool calls summed by agent and tool. Pure.

import { classOf } from "./weight.js";

const newRow = (key, more) => ({
  key, calls: 0, errors: 0, open: 0, timed: 0, total_ms: 0, longest_ms: 0, weights: 0, heaviest: 0, critical: 0, heavy: 0, moderate: 0, negligible: 0, size: 0, sized: 0, ...more,
});

// toolUse gives a row for each agent and tool of joined calls: {agent, name, tool,
// calls, errors, open, timed, total_ms, longest_ms, weights (their sum), heaviest,
// critical, heavy, moderate, negligible (counts by class), size (bytes that came
// back), sized}, in order of appearance. timed is how many calls have a duration,
// sized how many a size; name is the agent's.
export function toolUse(calls) {
  const rows = new Map();
  for (const call of calls) {
    const key = JSON.stringify([call.owner || call.name, call.tool]);
    let row = rows.get(key);
    if (!row) {
      row = newRow(key, { agent: call.owner, name: call.name, tool: call.tool });
      rows.set(key, row);
    }
    row.calls++;
    if (call.failed) row.errors++;
    row.weights += call.weight;
    row.heaviest = Math.max(row.heaviest, call.weight);
    row[classOf(call.weight)]++;
    if (call.size >= 0) {
      row.size += call.size;
      row.sized++;
    }
    if (!call.end) {
      row.open++;
      continue;
    }
    const took = call.took || 0;
    row.timed++;
    row.total_ms += took;
    row.longest_ms = Math.max(row.longest_ms, took);
  }
  return [...rows.values()];
}

const SUMS = ["calls", "errors", "open", "timed", "total_ms", "weights", "critical", "heavy", "moderate", "negligible", "size", "sized"];

// byTool puts the rows of all agents together.
export function byTool(rows) {
  const tools = new Map();
  for (const row of rows) {
    const all = tools.get(row.tool) ?? newRow(row.tool, { agent: "", name: "", tool: row.tool, agents: 0 });
    for (const field of SUMS) all[field] += row[field];
    all.longest_ms = Math.max(all.longest_ms, row.longest_ms);
    all.heaviest = Math.max(all.heaviest, row.heaviest);
    all.agents++;
    tools.set(row.tool, all);
  }
  return [...tools.values()];
}

// sorted gives rows by the value of a column, the largest (or for words the first)
// at the top unless reversed; what is not known comes last.
export function sorted(rows, of, reversed) {
  const known = (v) => v !== undefined && v !== null && !Number.isNaN(v);
  return rows.map((row) => [of(row), row]).sort(([a], [b]) => {
    if (!known(a) || !known(b)) return known(b) - known(a);
    const order = typeof a === "string" ? (a < b ? -1 : a > b ? 1 : 0) : b - a;
    return reversed ? -order : order;
  }).map(([, row]) => row);
}
