// The Resources tab: what the run took of the machine, and which files and
// directories its tools worked on.

import { DASH, bytes, clip, compact, stopwatch } from "./format.js";
import { setShown } from "./dom.js";
import { Chart } from "./chart.js";
import { Graph } from "./network.js";
import { Picker } from "./picker.js";
import { Table } from "./table.js";
import { figures, tellSources } from "./usage.js";
import { newest, machineSeries } from "./machine.js";
import { dirOf, network, pathsOf, touched } from "./touched.js";

const FILES_REST = 12; // summing up what was touched may take a twelfth of the time

const percent = (n) => `${Math.round(n)}%`;
const names = (set) => clip([...set].filter(Boolean).join(", "), 160);

export class Resources {
  constructor(find, { view, changed }) {
    this.box = find("resources");
    this.none = find("resources-none");
    this.told = find("resources-told");
    this.noFiles = find("files-none");
    this.head = find("resources-head");
    this.by = find("resources-by");
    this.least = find("resources-least");
    this.order = find("resources-order");
    for (const select of [this.by, this.least]) select.addEventListener("change", changed);
    this.agents = new Picker("Agents", { picked: () => view.owners, changed });
    this.dirs = new Picker("Directories", { picked: () => view.dirs, changed });
    this.order.append(this.agents.node, this.dirs.node);
    this.charts = { cpu: new Chart("Processors, 100% is one core", percent), memory: new Chart("Memory of all processes", bytes), disk: new Chart("Disk, a second", bytes) };
    find("machine").append(...Object.values(this.charts).map((c) => c.node));
    this.graph = new Graph();
    this.table = new Table("Files and directories that the tools worked on", [
      { label: "Resource", of: (r) => r.key, text: (r) => clip(r.key, 160), wide: true },
      { label: "Calls", of: (r) => r.calls, text: (r) => compact(r.calls), num: true },
      { label: "Writes", of: (r) => r.writes, text: (r) => (r.writes ? compact(r.writes) : DASH), num: true },
      { label: "Errors", of: (r) => r.errors, text: (r) => (r.errors ? compact(r.errors) : DASH), num: true },
      { label: "Output", of: (r) => r.size, text: (r) => (r.size ? bytes(r.size) : DASH), num: true },
      { label: "Agents", of: (r) => r.agents.size, text: (r) => compact(r.agents.size), num: true, title: (r) => names(r.agents) },
      { label: "Tools", of: (r) => [...r.tools].join(), text: (r) => names(r.tools) },
    ], () => {});
    this.box.append(this.graph.node, this.table.node);
  }

  draw({ model, view, record, elapsed, now, start, live, replaying, log }) {
    const used = machineSeries(model.resources, start, now);
    for (const [name, chart] of Object.entries(this.charts)) chart.draw({ series: used[name], from: 0, to: elapsed });
    const some = this.drawFiles(view, record(), live && !replaying);
    const recorded = used.cpu.length + used.memory.length > 0;
    figures(this.head, recorded ? this.heads(model.resources, used, now >= (model.run.end_ms || Infinity)) : []);
    setShown(this.none, !recorded && !some && !log.pending);
    setShown(this.noFiles, recorded && !some && !log.pending);
    tellSources(this.told, model, ["process", "tool_calls"]);
  }

  // drawFiles sums up what was touched and tells whether there is anything. What the
  // user does is drawn at once, what the run does not more often than the work allows.
  drawFiles(view, joined, live) {
    const { calls } = joined;
    const find = view.find.trim().toLowerCase();
    const asked = JSON.stringify([find, this.by.value, this.least.value, [...view.owners], [...view.dirs], this.agents.node.open, this.dirs.node.open]);
    const began = performance.now();
    const resting = live && began < this.filesAgain;
    if (asked === this.asked && (joined === this.joined || resting)) return this.some;
    [this.asked, this.joined] = [asked, joined];
    const paths = calls.map((call) => pathsOf(call.input));
    this.some = paths.some((list) => list.length > 0);
    setShown(this.box, this.some);
    if (!this.some) return false;
    const count = (keys) => {
      const by = new Map();
      for (const key of keys) by.set(key, (by.get(key) ?? 0) + 1);
      return [...by].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([key]) => key);
    };
    this.agents.draw(count(calls.filter((_, i) => paths[i].length).map((c) => c.name)));
    this.dirs.draw(count(paths.flat().map(dirOf)));
    const shown = calls.filter((call, i) => this.agents.shows(call.name) && paths[i].some((path) => this.dirs.shows(dirOf(path)) && (!find || path.toLowerCase().includes(find))));
    const by = this.by.value;
    const least = Number(this.least.value);
    this.table.draw(touched(shown, by).filter((row) => by === "agent" || row.agents.size >= least));
    this.graph.draw(network(shown, { by, least }));
    this.filesAgain = began + (performance.now() - began) * FILES_REST;
    return true;
  }

  heads(resources, used, over) {
    return [
      ...(over ? [] : [["Processors", percent(newest(used.cpu))], ["Memory", bytes(newest(used.memory))]]),
      ["CPU time", stopwatch(resources.cpu_ms)], ["Memory, at most", bytes(resources.peak_rss_bytes)],
      ...(used.disk.length ? [["Read", bytes(resources.total_read_bytes)], ["Written", bytes(resources.total_write_bytes)]] : []),
    ];
  }
}
