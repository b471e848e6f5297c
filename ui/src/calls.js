// The tool calls that were recorded as spans, by agent and tool. Pure.

// toolUse gives a row for each agent and tool: {agent, name, tool, calls, errors,
// open, timed, total_ms, longest_ms}, in order of appearance. timed is how many
// calls have a duration; name is the agent's.
export function toolUse(model) {
  const rows = new Map();
  const add = (agent, span) => {
    if (span.kind !== "tool") return;
    const key = JSON.stringify([agent, span.name]);
    let row = rows.get(key);
    if (!row) {
      row = { key, agent, name: model.spans.get(agent)?.name ?? "", tool: span.name, calls: 0, errors: 0, open: 0, timed: 0, total_ms: 0, longest_ms: 0 };
      rows.set(key, row);
    }
    row.calls++;
    if (span.state === "error") row.errors++;
    if (!span.end_ms) {
      row.open++;
      return;
    }
    const took = span.duration_ms ?? 0;
    row.timed++;
    row.total_ms += took;
    row.longest_ms = Math.max(row.longest_ms, took);
  };
  for (const [agent, calls] of model.calls) for (const span of calls.values()) add(agent, span);
  for (const span of model.others.values()) add("", span);
  return [...rows.values()];
}

// byTool puts the rows of all agents together.
export function byTool(rows) {
  const tools = new Map();
  for (const row of rows) {
    const all = tools.get(row.tool) ?? { key: row.tool, agent: "", name: "", tool: row.tool, calls: 0, errors: 0, open: 0, timed: 0, total_ms: 0, longest_ms: 0, agents: 0 };
    for (const field of ["calls", "errors", "open", "timed", "total_ms"]) all[field] += row[field];
    all.longest_ms = Math.max(all.longest_ms, row.longest_ms);
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
