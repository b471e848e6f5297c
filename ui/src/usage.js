// The Tools and Tokens tabs: what was used, by whom.

import { DASH, clip, compact, stopwatch } from "./format.js";
import { keep, el, setShown, setText } from "./dom.js";
import { phaseLabel } from "./hues.js";
import { matcher } from "./layout.js";
import { byTool, toolUse } from "./calls.js";
import { Table } from "./table.js";

const count = (n) => (n ? compact(n) : DASH);
const time = (ms, known) => (known ? stopwatch(ms) : DASH);

// figures writes a line of numbers with their names.
function figures(list, pairs) {
  keep(list, pairs.length, () => el("div", "", el("dt"), el("dd")));
  pairs.forEach(([name, value], i) => {
    setText(list.children[i].firstChild, name);
    setText(list.children[i].lastChild, value);
  });
}

export class Tools {
  constructor(find, { open }) {
    this.none = find("tools-none");
    this.box = find("tools");
    this.head = find("tools-head");
    this.all = find("tools-all");
    this.all.addEventListener("change", () => this.show());
    this.table = new Table("Tool calls by agent and tool", [
      { label: "Agent", of: (r) => r.name.toLowerCase(), text: (r) => clip(r.name || (r.agents ? `${r.agents} agents` : "outside of every agent"), 120), open: true },
      { label: "Tool", of: (r) => r.tool.toLowerCase(), text: (r) => clip(r.tool, 120) },
      { label: "Calls", of: (r) => r.calls, text: (r) => count(r.calls), num: true },
      { label: "Errors", of: (r) => r.errors, text: (r) => count(r.errors), num: true },
      { label: "Open", of: (r) => r.open, text: (r) => count(r.open), num: true },
      { label: "Time", of: (r) => r.total_ms, text: (r) => time(r.total_ms, r.timed), num: true },
      { label: "Mean", of: (r) => r.total_ms / r.timed, text: (r) => time(r.total_ms / r.timed, r.timed), num: true },
      { label: "Longest", of: (r) => (r.timed ? r.longest_ms : NaN), text: (r) => time(r.longest_ms, r.timed), num: true },
    ], (row) => row.agent && open(row.agent));
    this.box.append(this.table.node);
    this.rows = [];
  }

  draw({ model, view }) {
    const find = view.find.trim().toLowerCase();
    const rows = toolUse(model);
    const named = (text) => text.toLowerCase().includes(find);
    this.rows = rows.filter((r) => named(r.name) || named(r.tool));
    setShown(this.none, rows.length === 0);
    setShown(this.box, rows.length > 0);
    const t = model.totals;
    figures(this.head, t ? [["Tool calls", count(t.tool_uses)], ["Failed", count(t.tool_errors)], ["Agents seen", count(t.agents)]] : []);
    this.show();
  }

  show() {
    this.table.draw(this.all.checked ? byTool(this.rows) : this.rows);
  }
}

export class Tokens {
  constructor(find, { open }) {
    this.none = find("tokens-none");
    this.box = find("tokens");
    this.head = find("tokens-head");
    const number = (label, field) => ({ label, of: (r) => r.of[field], text: (r) => count(r.of[field]), num: true });
    this.table = new Table("Tokens by phase and agent", [
      { label: "Phase and agent", of: (r) => r.name.toLowerCase(), text: (r) => clip(r.name, 120), open: true },
      number("Tokens", "tokens"), number("Input", "input_tokens"), number("Cached", "cached_tokens"), number("Output", "output_tokens"),
      { label: "Cost", of: (r) => r.of.cost_usd, text: (r) => (r.of.cost_usd ? `$${r.of.cost_usd.toFixed(r.of.cost_usd < 1 ? 3 : 2)}` : DASH), num: true },
    ], (row) => open(row));
    this.box.append(this.table.node);
  }

  draw({ model, view }) {
    const rows = tokenRows(model, matcher(view.find));
    const t = model.totals;
    const some = Boolean(t) && t.tokens !== 0;
    setShown(this.none, !some);
    setShown(this.box, some);
    figures(this.head, some ? [
      ["Tokens", count(t.tokens)], ["Input", count(t.input_tokens)], ["of it cached", count(t.cached_tokens)], ["Output", count(t.output_tokens)],
      ...(t.cost_usd ? [["Cost", `$${t.cost_usd.toFixed(2)}`]] : []),
      ...Object.entries(t.token_sources ?? {}).slice(0, 5).map(([source, n]) => [`from ${clip(source, 24)}`, count(n)]),
    ] : []);
    this.table.draw(rows);
  }
}

// tokenRows gives each phase, with its agents below it: {name, of, sum, phase, span}.
export function tokenRows(model, matches) {
  const by = new Map(model.phases.map((p) => [p.name, []]));
  for (const span of model.rows.values()) {
    if (matches && !matches(span)) continue;
    const name = span.phase ?? "";
    if (!by.has(name)) by.set(name, []);
    by.get(name).push(span);
  }
  const rows = [];
  for (const [name, spans] of by) {
    const phase = model.phase.get(name);
    if (phase && (spans.length || !matches)) rows.push({ name: phaseLabel(name), of: phase, sum: true, phase: name, span: "" });
    for (const span of spans.sort((a, b) => a.seq - b.seq)) rows.push({ name: span.name, of: span, sum: false, phase: name, span: span.id });
  }
  return rows;
}
