// The Table tab: the timeline's rows as a plain table, to be read line by line or
// copied elsewhere.

import { DASH, clip, clock, compact, plural, stopwatch } from "./format.js";
import { setShown, setText } from "./dom.js";
import { stateTitle, stateWord } from "./glyph.js";
import { isOpen, lasted, phaseLasted } from "./model.js";
import { matcher, shows } from "./layout.js";
import { tokenRows } from "./usage.js";
import { Table } from "./table.js";

const isPhase = (row) => row.sum;
const saysOf = ({ error, message }) => (error || message || "").replace(/\s+/g, " ");

export class Listing {
  // open goes to a row of the timeline; say shows a few words.
  constructor(find, { open, view, say }) {
    this.view = view;
    this.none = find("table-none");
    this.copy = find("table-copy");
    const count = (label, field) => ({ label, of: (r) => r.of[field], text: (r) => (r.of[field] ? compact(r.of[field]) : DASH), num: true });
    this.table = new Table("The phases of the run, each with its agents", [
      { label: "Phase and agent", of: (r) => r.name.toLowerCase(), text: (r) => clip(r.name, 120), open: true },
      { label: "Kind", of: (r) => r.of.kind ?? "", text: (r) => (isPhase(r) ? "phase" : clip(r.of.kind, 60)) },
      { label: "State", of: (r) => stateWord(r.of.state), text: (r) => stateTitle(r.of.state) },
      { label: "Started", of: (r) => r.of.start_ms || NaN, text: (r) => (r.of.start_ms ? clock(r.of.start_ms - this.start) : DASH), num: true },
      { label: "Time", of: (r) => this.took(r), text: (r) => this.timeOf(r), num: true },
      count("Tokens", "tokens"), count("Input", "input_tokens"), count("Output", "output_tokens"), count("Tools", "tool_uses"),
      { label: "Says", of: (r) => saysOf(r.of), text: (r) => clip(saysOf(r.of), 200), title: (r) => clip(saysOf(r.of), 1000), wide: true },
    ], (row) => open(row));
    find("table").append(this.table.node);
    this.copy.addEventListener("click", () => navigator.clipboard.writeText(this.table.words()).then(
      () => say(`${plural(this.table.rows.length, "row")} copied`),
      () => say("The browser does not let the page copy: mark the table instead"),
    ));
  }

  took(row) {
    return row.of.start_ms ? (isPhase(row) ? phaseLasted : lasted)(row.of, this.now) : NaN;
  }

  timeOf(row) {
    const took = this.took(row);
    if (Number.isNaN(took)) return DASH;
    return isOpen(row.of) ? clock(took) : stopwatch(took);
  }

  draw({ model, view, now, start }) {
    Object.assign(this, { now, start });
    const found = matcher(view.find);
    const shown = shows(view);
    const filtered = found || view.hideDone || view.states.size > 0;
    const rows = tokenRows(model, filtered ? (span) => shown(span) && (!found || found(span)) : null);
    setShown(this.none, rows.length === 0);
    setShown(this.copy, rows.length > 0);
    this.table.draw(rows);
    setText(this.none, filtered ? "No row to show." : "No event was recorded yet.");
  }
}
