// Two runs side by side: what changed from A to B, as the server compared them.

import { clock, compact, DASH, plural, stopwatch } from "./format.js";
import { el, setAttr, setShown, setText, svgEl } from "./dom.js";
import { ticks } from "./axis.js";
import { Table } from "./table.js";

const GANTT_ROWS = 120;
const GANTT_NAMES = 210;
const GANTT_CHAR = 6.2; // px of a character of a name
const GANTT_ROW = 17;

// measureTitle makes a title of a measure's key: total_wall_ms is wall.
export const measureTitle = (key) => key.replace(/^total_/, "").replace(/_(ms|usd)$/, "").replaceAll("_", " ");

// measureText writes a value of the measure of that key. Pure.
export function measureText(key, value) {
  if (value === null || value === undefined) return DASH;
  const size = Math.abs(value);
  const minus = value < 0 ? "\u2212" : "";
  if (key.endsWith("_ms")) return minus + (size > 0 && size < 1000 ? `${Math.round(size)} ms` : stopwatch(size));
  if (key.endsWith("_usd")) return `${minus}$${size.toFixed(2)}`;
  return minus + (size < 10000 ? String(size) : compact(size));
}

// changeText writes a difference with its sign, and its percent if there is one.
export function changeText(key, change) {
  if (!change.diff) return "";
  const sign = change.diff > 0 ? "+" : "";
  const percent = change.percent === null ? "" : ` (${change.percent > 0 ? "+" : "\u2212"}${Math.abs(change.percent).toFixed(Math.abs(change.percent) < 10 ? 1 : 0)}%)`;
  return sign + measureText(key, change.diff) + percent;
}

// rowsOfMeasures gives a row for each measure that is there in either run.
export const rowsOfMeasures = (values) => Object.entries(values)
  .filter(([, change]) => change.a || change.b)
  .map(([key, change]) => ({ key, change }));

const valueColumns = (key, label) => [
  { label: `${label}, A`, num: true, of: (row) => row.values[key]?.a ?? -1, text: (row) => measureText(key, row.values[key]?.a) },
  { label: "B", num: true, of: (row) => row.values[key]?.b ?? -1, text: (row) => measureText(key, row.values[key]?.b) },
  { label: "Change", num: true, of: (row) => row.values[key]?.diff ?? 0, text: (row) => (row.values[key] ? changeText(key, row.values[key]) : "") },
];

const whereWord = { added: "only in B", removed: "only in A", both: "" };

const flat = (phases) => phases.flatMap((phase) => [phase, ...flat(phase.depths ?? []).map((depth) => ({ ...depth, name: `\u2003${depth.name}` }))]);

export class Sides {
  constructor(swap) {
    this.byID = (id) => document.getElementById(id);
    const name = (label) => ({ label, of: (row) => row.name, text: (row) => row.name, title: (row) => whereWord[row.in] ?? "" });
    this.totals = new Table("Totals of both runs", [
      { label: "Measure", of: (row) => row.key, text: (row) => measureTitle(row.key) },
      { label: "A", num: true, of: (row) => row.change.a ?? -1, text: (row) => measureText(row.key, row.change.a) },
      { label: "B", num: true, of: (row) => row.change.b ?? -1, text: (row) => measureText(row.key, row.change.b) },
      { label: "Change", num: true, of: (row) => row.change.diff, text: (row) => changeText(row.key, row.change) },
    ], () => {});
    this.phases = new Table("Phases of both runs", [name("Phase"), ...valueColumns("wall_ms", "Wall"), ...valueColumns("tokens", "Tokens"), ...valueColumns("agents", "Agents")], () => {});
    this.agents = new Table("Agents of both runs", [
      name("Agent"), { label: "Phase", of: (row) => row.phase ?? "", text: (row) => row.phase ?? "" },
      { label: "Ended", of: (row) => row.status_b, text: (row) => endedText(row) },
      ...valueColumns("wall_ms", "Wall"), ...valueColumns("tokens", "Tokens"),
    ], () => {});
    this.byID("sides-totals").append(this.totals.node);
    this.byID("sides-phases").append(this.phases.node);
    this.byID("sides-agents").append(this.agents.node);
    this.byID("swap").addEventListener("click", swap);
  }

  draw(comparison) {
    this.last = comparison;
    const run = (label, ref) => [el("dt", "", label), el("dd", "", runLink(ref.run_id), ` ${ref.status}, ${new Date(ref.started_at).toLocaleString()}${ref.source_commit ? `, commit ${ref.source_commit}` : ""}`)];
    this.byID("sides-runs").replaceChildren(...run("A", comparison.a), ...run("B", comparison.b));
    this.byID("sides-notes").replaceChildren(...comparison.notes.map((note) => el("p", "note", note)));
    this.totals.draw(rowsOfMeasures(comparison.totals));
    this.phases.draw(flat(comparison.phases));
    this.agents.draw(comparison.agents);
    this.gantt(comparison);
  }

  // gantt lays the agents of both runs on one clock, in the order in which they
  // began; those that changed most where there are too many.
  gantt(comparison) {
    const began = (agent) => agent.start_b_ms ?? agent.start_a_ms ?? Infinity;
    const shown = comparison.agents.slice(0, GANTT_ROWS).sort((a, b) => began(a) - began(b));
    const rest = comparison.agents.length - shown.length;
    setText(this.byID("gantt-note"), rest > 0 ? `The ${GANTT_ROWS} that changed most; ${plural(rest, "other")} not drawn.` : "");
    const svg = this.byID("gantt");
    const width = svg.clientWidth || 1000;
    const names = Math.min(GANTT_NAMES, Math.round(width * 0.36));
    const wall = comparison.totals.total_wall_ms;
    const to = Math.max(wall.a ?? 0, wall.b ?? 0, 1000);
    const x = (ms) => names + (ms / to) * (width - names - 8);
    const height = 20 + shown.length * GANTT_ROW;
    setAttr(svg, "viewBox", `0 0 ${width} ${height}`);
    setAttr(svg, "height", height);
    setAttr(svg, "aria-label", `${plural(shown.length, "agent")} of both runs over ${clock(to)}; the table below has the figures`);
    const parts = [];
    for (const tick of ticks(0, to, width - names, 70)) {
      const at = x(tick.at);
      parts.push(svgEl("line", { x1: at, x2: at, y1: 16, y2: height }), text(tick.label, at, 11, tick.at === 0 ? "start" : at > width - 24 ? "end" : "middle"));
    }
    shown.forEach((agent, i) => {
      const y = 20 + i * GANTT_ROW;
      const label = text(clipped(agent.name, names), names - 8, y + 11, "end");
      const bar = (side, start, status, dy) => {
        const wall = agent.values.wall_ms?.[side];
        if (start === null || start === undefined || wall === null || wall === undefined) return [];
        const rect = svgEl("rect", { x: x(start), y: y + dy, width: Math.max(x(start + wall) - x(start), 1.5), height: 6, rx: 1, class: `${side}${status === "error" || status === "lost" ? " bad" : ""}` });
        const title = svgEl("title");
        title.textContent = `${agent.name}, ${side.toUpperCase()}: ${status}, ${stopwatch(wall)} from ${clock(start)}`;
        rect.append(title);
        return [rect];
      };
      parts.push(label, ...bar("a", agent.start_a_ms, agent.status_a, 1), ...bar("b", agent.start_b_ms, agent.status_b, 8));
    });
    svg.replaceChildren(...parts);
    setShown(svg, shown.length > 0);
  }
}

function endedText(row) {
  if (row.in !== "both") return whereWord[row.in];
  return row.status_a === row.status_b ? row.status_b : `${row.status_a} \u2192 ${row.status_b}`;
}

// runLink leads to the dashboard of a run.
export function runLink(id) {
  const link = el("a", "mono", id);
  link.href = `runs/${encodeURIComponent(id)}/`;
  return link;
}

// clipped cuts a name to what fits into a width.
function clipped(name, width) {
  const most = Math.floor((width - 8) / GANTT_CHAR);
  return name.length > most ? `${name.slice(0, most - 1)}\u2026` : name;
}

function text(value, x, y, anchor) {
  const node = svgEl("text", { x, y, "text-anchor": anchor });
  node.textContent = value;
  return node;
}
