// The Tools and Tokens tabs: what was used, by whom.

import { DASH, brief, bytes, clip, compact, plural, share } from "./format.js";
import { keep, el, setClass, setShown, setText } from "./dom.js";
import { phaseLabel } from "./hues.js";
import { matcher } from "./layout.js";
import { byTool, toolUse } from "./calls.js";
import { sourceWords } from "./evidence.js";
import { Chart } from "./chart.js";
import { Picker } from "./picker.js";
import { Table } from "./table.js";

const count = (n) => (n ? compact(n) : DASH);
const time = (ms, known) => (known ? brief(ms) : DASH);
const weight = (n) => (Number.isFinite(n) ? n.toFixed(1) : DASH);

// figures writes a line of numbers with their names; one with a true third part is
// a warning.
export function figures(list, pairs) {
  keep(list, pairs.length, () => el("div", "", el("dt"), el("dd")));
  pairs.forEach(([name, value, warns], i) => {
    setClass(list.children[i], warns ? "warns" : "");
    setText(list.children[i].firstChild, name);
    setText(list.children[i].lastChild, value);
  });
}

// tellSources lists what the sources that could have told something did.
export function tellSources(list, model, names) {
  const words = sourceWords(model.sources, names);
  setShown(list, words.length > 0);
  keep(list, words.length, () => el("li"));
  words.forEach((text, i) => setText(list.children[i], text));
}

export class Tools {
  // open goes to an agent; view has the tools and the weight that the user wants.
  constructor(find, { open, view, changed }) {
    this.none = find("tools-none");
    this.told = find("tools-told");
    this.box = find("tools");
    this.head = find("tools-head");
    this.all = find("tools-all");
    this.least = find("tools-weight");
    this.view = view;
    this.picker = new Picker("Tools", { picked: () => view.tools, changed });
    find("tools-order").append(this.picker.node);
    this.all.addEventListener("change", () => this.show());
    this.least.addEventListener("change", () => {
      view.weight = Number(this.least.value);
      changed();
    });
    this.table = new Table("Tool calls by agent and tool", [
      { label: "Agent", of: (r) => r.name.toLowerCase(), text: (r) => clip(r.name || (r.agents ? plural(r.agents, "agent") : "outside of every agent"), 120), open: true },
      { label: "Tool", of: (r) => r.tool.toLowerCase(), text: (r) => clip(r.tool, 120) },
      { label: "Calls", of: (r) => r.calls, text: (r) => count(r.calls), num: true },
      { label: "Errors", of: (r) => r.errors, text: (r) => count(r.errors), num: true },
      { label: "Open", of: (r) => r.open, text: (r) => count(r.open), num: true },
      { label: "Time", of: (r) => r.total_ms, text: (r) => time(r.total_ms, r.timed), num: true },
      { label: "Mean", of: (r) => r.total_ms / r.timed, text: (r) => time(r.total_ms / r.timed, r.timed), num: true },
      { label: "Longest", of: (r) => (r.timed ? r.longest_ms : NaN), text: (r) => time(r.longest_ms, r.timed), num: true },
      { label: "Output", of: (r) => (r.sized ? r.size : NaN), text: (r) => (r.sized ? bytes(r.size) : DASH), num: true },
      { label: "Weight", of: (r) => r.weights / r.calls, text: (r) => weight(r.weights / r.calls), num: true },
      { label: "Max", of: (r) => r.heaviest, text: (r) => weight(r.heaviest), num: true },
      { label: "Critical", of: (r) => r.critical, text: (r) => count(r.critical), num: true },
    ], (row) => row.agent && open(row.agent));
    this.box.append(this.table.node);
    this.rows = [];
  }

  draw({ model, view, record, log }) {
    const { calls, blocks } = record();
    const find = view.find.trim().toLowerCase();
    const named = (text) => text.toLowerCase().includes(find);
    if (this.least.value !== String(view.weight)) this.least.value = String(view.weight);
    const tools = new Map();
    for (const call of calls) tools.set(call.tool, (tools.get(call.tool) ?? 0) + 1);
    this.picker.draw([...tools].sort((a, b) => b[1] - a[1]).map(([name]) => name));
    const shown = calls.filter((c) => this.picker.shows(c.tool) && c.weight >= view.weight && (named(c.name) || named(c.tool)));
    this.rows = toolUse(shown);
    setShown(this.none, calls.length === 0 && !log.pending);
    tellSources(this.told, model, ["socket", "otlp", "tool_calls", "burr"]);
    setShown(this.box, calls.length > 0);
    figures(this.head, model.totals && (calls.length || !log.pending) ? heads(model, shown, blocks) : []);
    this.show();
  }

  show() {
    this.table.draw(this.all.checked ? byTool(this.rows) : this.rows);
  }
}

// heads gives the numbers above the table; of calls that nobody told of one by one
// there are only those of the state.
function heads(model, calls, blocks) {
  const t = model.totals;
  const out = [["Tool calls", count(Math.max(t.tool_uses || 0, calls.length))]];
  const done = calls.filter((c) => c.end);
  const failed = calls.length ? done.filter((c) => c.failed).length : (t.tool_errors ?? 0);
  if (calls.length) {
    out.push(["Completed", `${done.length}, ${share(done.length, calls.length)}`, done.length < calls.length * 0.9]);
    out.push(["Mean duration", done.length ? brief(done.reduce((sum, c) => sum + (c.took || 0), 0) / done.length) : DASH]);
  }
  out.push(["Failed", count(failed), failed > 0], ["Agents seen", count(t.agents || new Set(calls.map((c) => c.name)).size)]);
  const thoughts = blocks.filter((b) => b.kind === "thinking").length;
  if (blocks.length) out.push(["Thinking blocks", count(thoughts)]);
  if (calls.length) {
    const mean = calls.reduce((sum, c) => sum + c.weight, 0) / calls.length;
    const critical = calls.filter((c) => c.weight >= 9).length;
    out.push(["Mean weight", weight(mean), mean > 7], ["Critical weight", count(critical), critical > 0]);
  }
  return out;
}

export class Tokens {
  constructor(find, { open }) {
    this.none = find("tokens-none");
    this.told = find("tokens-told");
    this.box = find("tokens");
    this.head = find("tokens-head");
    this.charts = [new Chart("Tokens of each model call", compact), new Chart("Cache: read and written", compact), new Chart("Tokens in all", compact)];
    const number = (label, field) => ({ label, of: (r) => r.of[field], text: (r) => count(r.of[field]), num: true });
    this.table = new Table("Tokens by phase and agent", [
      { label: "Phase and agent", of: (r) => r.name.toLowerCase(), text: (r) => clip(r.name, 120), open: true },
      number("Tokens", "tokens"), number("Input", "input_tokens"), number("Cached", "cached_tokens"), number("Output", "output_tokens"),
      { label: "Cost", of: (r) => r.of.cost_usd, text: (r) => (r.of.cost_usd ? `$${r.of.cost_usd.toFixed(r.of.cost_usd < 1 ? 3 : 2)}` : DASH), num: true },
    ], (row) => open(row));
    this.box.append(...this.charts.map((c) => c.node), this.table.node);
  }

  draw({ model, view, record, elapsed, log }) {
    const { usage, start, apart } = record();
    const rows = tokenRows(model, matcher(view.find));
    const t = model.totals;
    const some = Boolean(t) && (t.tokens !== 0 || usage.length > 0);
    setShown(this.none, !some && !log.pending);
    tellSources(this.told, model, ["socket", "otlp", "gateway", "tool_calls", "burr"]);
    setShown(this.box, some);
    figures(this.head, some ? tokenHeads(t, usage) : []);
    this.table.draw(rows);
    const to = apart && usage.length ? usage[usage.length - 1].at - start : elapsed;
    const [each, cache, sum] = tokenSeries(usage, start);
    [each, cache, sum].forEach((series, i) => this.charts[i].draw({ series, from: 0, to }));
  }
}

function tokenHeads(t, usage) {
  const own = t.tokens !== 0;
  const sum = (field) => usage.reduce((n, u) => n + u[field], 0);
  const [read, created] = [sum("read"), sum("created")];
  const input = own ? t.input_tokens : sum("input") + read + created;
  const cached = own ? t.cached_tokens : read;
  const output = own ? t.output_tokens : sum("output");
  return [
    ["Tokens", count(own ? t.tokens : input + output)], ["Input", count(input)], ["of it cached", count(cached)], ["Output", count(output)],
    ["Cache hits", created > 0 ? share(read, read + created) : cached > 0 ? share(cached, input) : DASH],
    ...(t.cost_usd ? [["Cost", `$${t.cost_usd.toFixed(2)}`]] : []),
    ...Object.entries(t.token_sources ?? {}).slice(0, 5).map(([source, n]) => [`from ${clip(source, 24)}`, count(n)]),
  ];
}

// tokenSeries gives the lines of the three charts: each call, the cache, the sums.
export function tokenSeries(usage, start) {
  const line = (of) => usage.map((u) => [u.at - start, of(u)]);
  const some = (of) => usage.some((u) => of(u) > 0);
  const adding = (of) => {
    let sum = 0;
    return usage.map((u) => [u.at - start, (sum += of(u))]);
  };
  const one = (name, hue, of, more) => (some(of) ? [{ name, hue, line: line(of), ...more }] : []);
  const all = (u) => u.input + u.read + u.created;
  return [
    [...one("Input", "--p-lib0", (u) => u.input), ...one("Cache read", "--p-libn", (u) => u.read), ...one("Cache written", "--p-apps", (u) => u.created, { dash: "5 3" }), ...one("Output", "--p-synth", (u) => u.output, { dash: "2 2" })],
    [...one("Read", "--p-libn", (u) => u.read, { area: true }), ...one("Written", "--p-apps", (u) => u.created, { area: true, dash: "5 3" })],
    usage.length ? [{ name: "Input in all", hue: "--p-lib0", line: adding(all), area: true }, { name: "Output in all", hue: "--p-synth", line: adding((u) => u.output), dash: "2 2" }] : [],
  ];
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
