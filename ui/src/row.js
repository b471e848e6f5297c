// One row of the timeline: of a phase, or of an agent with its bar. A row's
// elements are made once and shown for whichever row is in view.

import { DASH, clip, clock, compact, plural, silence, spoken, stopwatch } from "./format.js";
import { el, keep, px, svgEl, setAttr, setClass, setShown, setStyle, setText } from "./dom.js";
import { glyph, setGlyph, stateWord } from "./glyph.js";
import { phaseLabel } from "./hues.js";
import { isOpen, lasted, phaseLasted, spanEnd } from "./model.js";
import { silentFor } from "./problems.js";
import { strokes } from "./lanes.js";

const LEAST = 2; // px that the shortest bar is wide
const INDENT = 12; // px for each level below an agent
const MOST_EARLIER = 12; // earlier attempts that are drawn
const CHAR_WIDTH = 6;
const LABELLED = 90; // px from which a bar has its name in it, where one has zoomed
const BEYOND = 24; // px outside of the lane at which a bar may as well end

// half rounds to half pixels: what moves by less is not drawn anew.
const half = (n) => Math.round(n * 2) / 2;

// number gives a count, a dash where there is nothing.
const number = (n) => (n ? compact(n) : DASH);

// The parts that most rows do without, in the order in which they stand.
const PARTS = {
  toggle: () => el("span", "tw"),
  swatch: () => el("span", "sw"),
  past: () => el("div", "past"),
  calls: () => svgEl("svg", { class: "calls" }),
  inside: () => el("span", "in"),
  text: () => el("span", "lb"),
};

export class RowView {
  constructor() {
    this.glyph = glyph();
    this.name = el("span", "label");
    this.note = el("i");
    this.time = el("span", "num");
    this.tokens = el("span", "num tok");
    this.tools = el("span", "num tls");
    this.bar = el("div", "bx");
    this.lane = el("div", "lane", this.bar);
    this.head = el("span", "nm", this.glyph, this.name, this.note);
    this.node = el("div", "row", el("div", "cols", this.head, this.time, this.tokens, this.tools), this.lane);
    setAttr(this.node, "role", "row");
    setAttr(this.head, "role", "rowheader");
    for (const cell of [this.time, this.tokens, this.tools, this.lane]) setAttr(cell, "role", "gridcell");
    this.drawn = {};
  }

  // part shows one of PARTS, which is made when it is first wanted, or hides it; it
  // gives the part, or null.
  part(name, shown) {
    if (!this[name]) {
      if (!shown) return null;
      const made = PARTS[name]();
      this[name] = made;
      if (name !== "text") setAttr(made, "aria-hidden", "true");
      if (name === "toggle") this.head.prepend(made);
      else if (name === "swatch") this.glyph.before(made);
      else if (name === "past") this.bar.before(made);
      else this.lane.insertBefore(made, name === "text" ? null : (name === "calls" && this.inside) || this.text || null);
    }
    setShown(this[name], shown);
    return shown ? this[name] : null;
  }

  // unchanged tells whether what is drawn is what would be: of most rows in most
  // frames. A frame's stamp stands for all that rows share.
  unchanged(row, index, span, { stamp, replaying }) {
    const was = this.drawn;
    const same = was.row === row && was.index === index && was.span === span && was.stamp === stamp;
    if (!same) this.drawn = { row, index, span, stamp };
    return same && !replaying && span !== null && span.state !== "queued"; // which says what its phase is like
  }

  draw(row, index, frame, x) {
    if (row.lane) return this.drawLane(row, index, frame, x);
    const { model } = frame;
    const span = row.id ? model.spans.get(row.id) : null;
    if (this.unchanged(row, index, span, frame)) return undefined;
    this.part("calls", false);
    const phase = row.phase || row.level === 1 ? model.phase.get(row.phase) : null;
    const grouped = row.alone || !row.id;
    const state = span ? span.state : (phase?.state ?? "running");
    this.key = row.key;
    const look = `row ${grouped ? "grp" : "agent"} ${state}${span && span.is_agent === false ? " plain" : ""}${row.pinned ? " pinned" : ""}`;
    this.drawNode(row, index, frame, { look, state, phase: grouped ? row.phase : null });
    this.part("swatch", grouped);
    setShown(this.glyph, !grouped || state === "error" || state === "lost" || state === "stalled");
    setGlyph(this.glyph, state);
    setStyle(this.head, "padding-left", px(Math.max(0, row.level - 2) * INDENT));
    if (grouped && !span) this.drawPhase(row, phase, frame, x);
    else this.drawSpan(row, span, phase, frame, x);
    return undefined;
  }

  // drawNode sets what every row has.
  drawNode(row, index, { view, hues, focusKey }, { look, state, phase, selected = false }) {
    const hue = hues.of(row.phase);
    setClass(this.node, look);
    this.part("toggle", row.expandable);
    setStyle(this.node, "transform", `translateY(${row.top}px)`);
    setStyle(this.node, "--c", `var(${hue})`);
    setStyle(this.node, "--on", `var(${hue}-on)`);
    setAttr(this.node, "data-span-id", row.id || null);
    setAttr(this.node, "data-phase", phase);
    setAttr(this.node, "data-state", state);
    setAttr(this.node, "data-key", row.key);
    setAttr(this.node, "aria-level", row.level);
    setAttr(this.node, "aria-rowindex", index + 2); // the column heads are the first
    setAttr(this.node, "aria-expanded", row.expandable ? row.expanded : null);
    setAttr(this.node, "aria-selected", selected || row.key === view.selected);
    setAttr(this.node, "tabindex", row.key === focusKey ? 0 : -1);
  }

  // drawLane draws the calls of an agent, or the row that hides its lanes.
  drawLane(row, index, frame, x) {
    const { now, start, width } = frame;
    this.key = row.key;
    this.drawn = {};
    const chosen = row.marks?.marks.find((m) => m.key && m.key === frame.view.selected);
    this.drawNode(row, index, frame, { look: "row lanes", state: null, phase: null, selected: chosen !== undefined });
    for (const node of [this.glyph, this.bar]) setShown(node, false);
    for (const name of ["swatch", "past", "text", "inside"]) this.part(name, false);
    setStyle(this.head, "padding-left", px(Math.max(0, row.level - 2) * INDENT + 18));
    setAttr(this.head, "title", row.lane.length > 20 ? clip(row.lane) : null);
    setText(this.name, clip(row.lane, 80));
    const { marks } = row;
    const calls = this.part("calls", Boolean(marks));
    setText(this.note, marks?.failed ? `${marks.failed} failed` : "");
    setClass(this.time, "num");
    setText(this.time, marks?.total_ms ? stopwatch(marks.total_ms) : DASH);
    setText(this.tokens, number(marks?.tokens));
    setText(this.tools, number(marks?.marks.length));
    setAttr(this.lane, "aria-label", marks ? describeLane(marks) : "what the agent called");
    if (!marks) return undefined;
    const [from, to] = x.domain();
    const paths = strokes(marks.marks, (at) => x(at - start), { from: from + start, to: to + start, now, width, y: 8 });
    if (chosen) for (const [, d] of strokes([chosen], (at) => x(at - start), { from: 0, to: Infinity, now, width, y: 8 })) paths.set("chosen", d);
    const looks = [...paths.keys()];
    keep(calls, looks.length, () => svgEl("path"));
    looks.forEach((look, i) => {
      setAttr(calls.children[i], "class", look);
      setAttr(calls.children[i], "d", paths.get(look));
    });
    return undefined;
  }

  setTime(ms, open) {
    setClass(this.time, open ? "num open" : "num");
    setText(this.time, open ? clock(ms) : stopwatch(ms));
  }

  drawPhase(row, phase, { model, now, start, width }, x) {
    setAttr(this.head, "title", null);
    setText(this.name, phase ? phaseLabel(row.phase) : "Agents");
    for (const name of ["past", "text", "inside"]) this.part(name, false);
    if (!phase) { // agents outside of every phase; sums of them come from nowhere
      setText(this.note, "");
      for (const cell of [this.time, this.tokens, this.tools]) setText(cell, DASH);
      setShown(this.bar, false);
      setAttr(this.lane, "aria-label", "outside of every phase");
      return;
    }
    setText(this.note, phaseNote(phase, row.expanded, phase.lost ?? 0));
    if (phase.start_ms) this.setTime(phaseLasted(phase, now), phase.state !== "done");
    else setText(this.time, DASH);
    setText(this.tokens, number(phase.tokens));
    setText(this.tools, number(phase.tool_uses));
    setShown(this.bar, Boolean(phase.start_ms));
    setClass(this.bar, "band");
    if (phase.start_ms) {
      const end = phase.state === "done" ? phase.end_ms || phase.start_ms + phase.wall_ms : now;
      this.place(this.bar, x(phase.start_ms - start), x(end - start), width);
    }
    const says = phase.start_ms ? `${phase.state}, began ${clock(phase.start_ms - start)}, ${spoken(phaseLasted(phase, now))}` : "queued";
    const counts = phase.agents ? `, ${phase.ended} of ${plural(phase.agents, "agent")} ended` : "";
    const failed = phase.errors ? `, ${plural(phase.errors, "error")}` : "";
    setAttr(this.lane, "aria-label", says + counts + failed);
  }

  drawSpan(row, span, phase, { model, now, start, width, zoomed }, x) {
    const name = clip(span.name);
    if (row.alone) {
      setText(this.name, phaseLabel(row.phase));
      setText(this.note, name);
    } else {
      setText(this.name, name);
      const folded = row.below && !row.expanded ? `${row.below} below` : "";
      setText(this.note, [span.attempts > 1 ? `\u00d7${span.attempts}` : "", folded].filter(Boolean).join(", "));
    }
    setAttr(this.head, "title", name.length > 20 || row.alone ? name : null);
    const begun = Boolean(span.start_ms);
    if (begun) this.setTime(lasted(span, now), isOpen(span));
    else setText(this.time, DASH);
    setText(this.tokens, number(span.tokens));
    setText(this.tools, number(span.tool_uses));

    const from = begun ? span.start_ms : span.queued_ms;
    setShown(this.bar, Boolean(from));
    setClass(this.bar, begun ? `bx ${span.state}` : "bx wait");
    const left = from ? x(from - start) : 0;
    const right = from ? x((begun ? spanEnd(span, now) : span.end_ms || now) - start) : 0;
    if (from) this.place(this.bar, left, right, width);
    this.drawEarlier(span, start, x, width);
    this.drawInside(zoomed && begun ? name : "", span.state, Math.max(0, left), Math.min(width, right));
    this.drawText(span, left, right, { model, now, width });
    const said = describe(span, this.says, { now, start });
    setAttr(this.lane, "aria-label", this.within ? `${name}: ${said}` : said); // what is seen is in what is heard
  }

  // place puts a bar in the lane. What is far outside is cut off, so that no box is
  // as wide as a whole run that was zoomed into.
  place(bar, left, right, width) {
    const cut = (v) => Math.max(-BEYOND, Math.min(width + BEYOND, v));
    const from = cut(left);
    setStyle(bar, "left", px(half(from)));
    setStyle(bar, "width", px(Math.max(LEAST, half(cut(right)) - half(from))));
  }

  // drawInside writes the name into the part of the bar that is in view.
  drawInside(name, state, left, right) {
    this.within = right - left > LABELLED ? name : "";
    const inside = this.part("inside", this.within !== "");
    if (!inside) return;
    setText(inside, this.within);
    setClass(inside, `in ${state}`);
    setStyle(inside, "left", px(half(left)));
    setStyle(inside, "max-width", px(half(right - left - 8)));
  }

  drawEarlier(span, start, x, width) {
    const past = (span.earlier ?? []).slice(-MOST_EARLIER);
    const box = this.part("past", past.length > 0);
    if (!box) return;
    keep(box, past.length, () => el("div", "bx earlier"));
    past.forEach((one, i) => {
      this.place(box.children[i], x(one.start_ms - start), x(one.end_ms - start), width);
    });
  }

  // drawText writes beside the bar what its state has to say, where there is room:
  // after it, else before it, else over its end.
  drawText(span, left, right, { model, now, width }) {
    let says = "";
    let look = "lb";
    if (span.state === "error") [says, look] = [clip(span.error || span.message || "failed", 160), "lb err"];
    else if (span.state === "lost") [says, look] = [span.start_ms ? "lost" : "never started", "lb err"];
    else if (span.state === "stalled") [says, look] = [`silent ${silence(silentFor(span, model.run, now))}`, "lb warn"];
    else if (span.state === "queued" && span.queued_ms && model.phase.get(span.phase)?.agents === 1) says = "queued";
    const wide = says.length * CHAR_WIDTH;
    const after = width - right;
    const rather = span.state === "stalled" || span.state === "queued"; // their right end moves
    const before = rather ? left > wide : after < wide && left > wide;
    const within = !before && after < wide;
    if (right < 0 || left > width) says = ""; // beside a bar that is not in view
    this.says = says;
    const text = this.part("text", says !== "");
    if (!text) return;
    setText(text, says);
    setClass(text, before || within ? `${look} l` : look);
    setStyle(text, "left", px(half(before ? left : Math.max(left + LEAST, right))));
  }
}

// phaseNote gives how many of the phase's agents ended, and how many failed where
// their rows do not say it; of a phase without agents the first of its counts.
function phaseNote(phase, expanded, lost) {
  const errors = expanded ? 0 : phase.errors - lost;
  if (phase.agents) return `${phase.ended - lost}/${phase.agents}${errors ? `, ${plural(errors, "error")}` : ""}${lost && !expanded ? `, ${lost} lost` : ""}`;
  const [first] = Object.entries(phase.counts ?? {});
  return first ? clip(`${compact(first[1])} ${first[0].replaceAll("_", " ")}`, 40) : "";
}

// describeLane gives a lane of calls in words.
function describeLane({ marks, failed, open, total_ms: took }) {
  const parts = [plural(marks.length, marks[0]?.length >= 0 ? "block" : "call")];
  if (failed) parts.push(`${failed} failed`);
  if (open) parts.push(`${open} not over`);
  if (took) parts.push(`${spoken(took)} in all`);
  return parts.join(", ");
}

// describe gives the lane in words; says is what is written in it.
function describe(span, says, { now, start }) {
  const parts = [stateWord(span.state)];
  if (says && says !== parts[0]) parts.push(says);
  if (span.start_ms) parts.push(`started ${clock(span.start_ms - start)}`, spoken(lasted(span, now)));
  else if (span.queued_ms) parts.push(`since ${clock(span.queued_ms - start)}`);
  if (span.attempts > 1) parts.push(`attempt ${span.attempts}`);
  return parts.join(", ");
}
