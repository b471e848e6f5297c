// The Text tab: what the agents wrote and thought, from the orchestrator's own log.

import { DASH, clip, clock, compact } from "./format.js";
import { setShown, setText } from "./dom.js";
import { Chart } from "./chart.js";
import { Table } from "./table.js";
import { figures, tellSources } from "./usage.js";

const PER_TOKEN = 4; // characters of a token, for an estimate
const PREVIEW = 150;
const BLOCK_WORDS = { text: "Text", thinking: "Thinking" };
const HUES = ["--p-lib0", "--p-apps", "--p-libn", "--p-synth", "--p-disc"];

const blockTokens = (block) => Math.round(block.length / PER_TOKEN);

export class Writing {
  // open goes to an agent's row.
  constructor(find, { open }) {
    this.none = find("text-none");
    this.why = find("text-why");
    this.told = find("text-told");
    this.box = find("text");
    this.head = find("text-head");
    this.chart = new Chart("Tokens of each block, estimated", compact);
    this.table = new Table("What the agents wrote and thought", [
      { label: "Agent", of: (r) => r.name.toLowerCase(), text: (r) => clip(r.name || "outside of every agent", 120), open: true },
      { label: "Time", of: (r) => r.at, text: (r) => (r.at ? clock(r.at - this.start) : DASH), num: true, title: (r) => clip(r.text, 1000) },
      { label: "Kind", of: (r) => r.kind, text: (r) => BLOCK_WORDS[r.kind] },
      { label: "Tokens", of: blockTokens, text: (r) => compact(blockTokens(r)), num: true },
      { label: "Text", of: (r) => r.text, text: (r) => clip(r.text.replace(/\s+/g, " "), PREVIEW), title: (r) => clip(r.text, 1000), wide: true },
    ], (row) => row.owner && open(row.owner));
    this.box.append(this.chart.node, this.table.node);
  }

  draw({ model, view, record, elapsed, log }) {
    const { blocks, start, apart, unreadable } = record();
    this.start = start;
    const find = view.find.trim().toLowerCase();
    const shown = find ? blocks.filter((b) => b.name.toLowerCase().includes(find) || b.text.toLowerCase().includes(find)) : blocks;
    setShown(this.none, blocks.length === 0);
    setShown(this.box, blocks.length > 0);
    setText(this.why, whyNot(log));
    tellSources(this.told, model, ["tool_calls"]);
    const sum = shown.reduce((n, b) => n + b.length, 0) / PER_TOKEN;
    figures(this.head, blocks.length === 0 ? [] : [
      ["Blocks", compact(shown.length)], ["Thinking", compact(shown.filter((b) => b.kind === "thinking").length)], ["Tokens, estimated", compact(sum)],
      ["Mean", shown.length ? compact(sum / shown.length) : DASH], ["Longest", compact(shown.reduce((m, b) => Math.max(m, blockTokens(b)), 0))],
      ...(unreadable ? [["Unreadable lines", compact(unreadable), true]] : []),
    ]);
    this.table.draw(shown);
    const to = apart ? blocks.reduce((m, b) => Math.max(m, b.at), start) - start : elapsed;
    this.chart.draw({ series: byAgent(shown, start), from: 0, to });
  }
}

// byAgent gives a series of dots for each of the agents that wrote most, and one for
// the others.
export function byAgent(blocks, start) {
  const by = new Map();
  for (const block of blocks) {
    if (!(block.at > 0)) continue;
    by.set(block.name, [...(by.get(block.name) ?? []), [block.at - start, blockTokens(block)]]);
  }
  const order = [...by].sort((a, b) => b[1].length - a[1].length);
  const named = order.length > HUES.length ? order.slice(0, HUES.length - 1) : order;
  const rest = order.slice(named.length).flatMap(([, line]) => line).sort((a, b) => a[0] - b[0]);
  const all = rest.length ? [...named, [`${order.length - named.length} others`, rest]] : named;
  return all.map(([name, line], i) => ({ name: clip(name || "outside of every agent", 40), hue: HUES[i], line, dots: true }));
}

// whyNot says why there is nothing to read.
export function whyNot(log) {
  if (log.pending) return "Reading the orchestrator's log.";
  switch (log.state) {
    case "failed": return "The orchestrator's log could not be read.";
    case "read": return "The orchestrator's log has no text in it.";
  }
  return "What the agents wrote and thought is not in this run's telemetry, and the run's directory has no tool_calls.jsonl.";
}
