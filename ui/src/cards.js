// The cards beside the timeline: problems, token burn, active agents.

import { clip, clock, compact, perMinute, plural, silence } from "./format.js";
import { el, keep, setAttr, setClass, setShown, setStyle, setText } from "./dom.js";
import { glyph, setGlyph, stateTitle } from "./glyph.js";
import { headOf, problems, silentFor } from "./problems.js";
import { burnText } from "./summary.js";
import { inForce, points, split } from "./burn.js";
import { extent, ticks } from "./axis.js";
import { lasted } from "./model.js";

const MOST_ACTIVE = 20;

// Problems is a log: an entry is announced once, when it comes. So entries are
// kept by key, and what grows with the clock is no text of theirs that is read.
export class Problems {
  constructor(find, { open }) {
    this.list = find("problems");
    this.count = find("problem-count");
    this.items = new Map();
    this.all = [];
    this.seen = -1;
    this.list.addEventListener("click", (event) => {
      const item = this.all.find((p) => p.key === event.target.closest(".att")?.dataset.key);
      if (item?.span) open(item.span);
    });
  }

  draw({ model, now, start }) {
    if (this.seen !== model.troubles) {
      this.seen = model.troubles;
      this.all = problems(model);
      this.arrange(start);
      setText(this.count, headOf(model, this.all));
    }
    for (const problem of this.all) {
      if (!problem.quiet) continue;
      const span = model.spans.get(problem.quiet);
      const limit = span?.evidence?.rule === "silent" && span.evidence.limit_ms > 0 ? `, limit ${silence(span.evidence.limit_ms)}` : "";
      if (span) setText(this.items.get(problem.key).detail, `no event for ${silence(silentFor(span, model.run, now))}${limit}`);
    }
  }

  arrange(start) {
    const keys = new Set(this.all.map((p) => p.key));
    for (const [key, item] of this.items) {
      if (keys.has(key)) continue;
      item.node.remove();
      this.items.delete(key);
    }
    let cursor = this.list.firstChild;
    for (const problem of this.all) {
      let item = this.items.get(problem.key);
      if (!item) {
        item = newProblem();
        this.items.set(problem.key, item);
      }
      setClass(item.node, `att ${problem.level[0]}`);
      setAttr(item.node, "data-key", problem.key);
      setAttr(item.node, "data-span-id", problem.span || null);
      setGlyph(item.glyph, problem.state);
      setText(item.title, problem.title);
      setText(item.detail, problem.detail);
      setText(item.time, problem.at ? clock(problem.at - start) : "");
      if (item.node === cursor) cursor = cursor.nextSibling;
      else this.list.insertBefore(item.node, cursor);
    }
  }

  // next gives the span of the problem after, or before, the one of a span.
  next(span, by) {
    const withSpan = this.all.filter((p) => p.span);
    if (withSpan.length === 0) return "";
    const at = withSpan.findIndex((p) => p.span === span);
    const n = withSpan.length;
    return withSpan[at < 0 ? (by > 0 ? 0 : n - 1) : (at + by + n) % n].span;
  }
}

function newProblem() {
  const item = { glyph: glyph(), title: el("b"), detail: el("span", "what"), time: el("time") };
  item.node = el("button", "", item.glyph, el("span", "", item.title, item.detail), item.time);
  item.node.type = "button";
  return item;
}

const HEIGHT_BURN = 104;
const MARGIN = { left: 36, right: 4, top: 8, bottom: 16 };

export class BurnChart {
  constructor(find) {
    this.card = find("burn-card");
    this.value = find("burn-value");
    this.note = find("burn-note");
    this.box = find("burn");
    this.svg = d3.select(this.box);
    this.width = 0;
    this.shown = false;
    // Asked for while the page is drawn it would be laid out twice.
    new ResizeObserver(([entry]) => { this.width = entry.contentRect.width; }).observe(this.box);
    for (const part of ["grid", "areas", "lines", "marks"]) this[part] = this.svg.append("g");
  }

  // draw tells whether the chart came to be seen, and its line is still to be drawn.
  draw({ model, live }) {
    const { burn } = model;
    const was = this.shown;
    this.shown = Boolean(burn && burn.series.length > 0 && model.totals.tokens !== 0); // in replay it is not known
    setShown(this.card, this.shown);
    if (!this.shown) return false;
    setText(this.value, burnText(burn, live).replace("mean ", ""));
    setText(this.note, live ? `peak ${perMinute(burn.peak)}` : `mean, peak ${perMinute(burn.peak)}`);
    setAttr(this.value, "title", live && burn.at_least ? "Some active agents have reported no tokens yet" : null);
    return !was;
  }

  // drawLine draws what costs more than the words.
  drawLine({ model, start, elapsed, hues }) {
    if (!this.shown) return;
    const { burn } = model;
    const width = this.width || this.box.clientWidth;
    const x = d3.scaleLinear([0, Math.max(elapsed, 1000)], [MARGIN.left, width - MARGIN.right]);
    const y = d3.scaleLinear([0, Math.max(burn.peak, 1) * 1.08], [HEIGHT_BURN - MARGIN.bottom, MARGIN.top]);
    const line = points(burn, start);
    const pieces = inForce(model.phases, start)
      .map((p) => ({ hue: hues.of(p.name), line: split(line, p.from, p.to) }))
      .filter((p) => p.line.length > 1);
    if (pieces.length === 0 && line.length > 1) pieces.push({ hue: hues.of(""), line });
    this.grid.selectAll("line").data(y.ticks(4)).join("line")
      .attr("x1", MARGIN.left).attr("x2", width - MARGIN.right).attr("y1", y).attr("y2", y);
    this.grid.selectAll("text").data(y.ticks(4)).join("text")
      .attr("x", MARGIN.left - 5).attr("y", (v) => y(v) + 3.5).attr("text-anchor", "end")
      .text((v) => (v >= 1e6 ? `${v / 1e6}M` : v >= 1e3 ? `${v / 1e3}k` : String(v)));
    const area = d3.area().x((p) => x(p[0])).y0(y(0)).y1((p) => y(p[1]));
    const stroke = d3.line().x((p) => x(p[0])).y((p) => y(p[1]));
    this.areas.selectAll("path").data(pieces).join("path").attr("d", (p) => area(p.line)).attr("fill", (p) => `var(${p.hue})`);
    this.lines.selectAll("path").data(pieces).join("path").attr("d", (p) => stroke(p.line)).attr("stroke", (p) => `var(${p.hue})`);
    this.marks.selectAll("text").data(ticks(0, extent(elapsed, false), width - MARGIN.left, 56)).join("text")
      .attr("x", (t) => x(t.at)).attr("y", HEIGHT_BURN - 2).text((t) => t.label)
      .attr("text-anchor", (t) => (t.at === 0 ? "start" : x(t.at) > width - 16 ? "end" : "middle"));
    setAttr(this.box, "aria-label", `Tokens a minute over the run, at most ${perMinute(burn.peak)}, mean ${perMinute(burn.mean)}`);
  }
}

export class Active {
  constructor(find, { open }) {
    this.card = find("active-card");
    this.list = find("active");
    this.count = find("active-count");
    this.more = find("active-more");
    this.list.addEventListener("click", (event) => {
      const id = event.target.closest(".ac")?.dataset.spanId;
      if (id) open(id);
    });
  }

  draw({ model, now, live, hues }) {
    setShown(this.card, live && model.open.size > 0);
    if (!live || model.open.size === 0) return;
    const ids = [...model.open].slice(0, MOST_ACTIVE);
    const spans = ids.map((id) => model.spans.get(id)).sort((a, b) => a.seq - b.seq);
    setText(this.count, String(model.totals.running));
    keep(this.list, spans.length, newActive);
    spans.forEach((span, i) => {
      const node = this.list.children[i];
      const [shape, name, time, tokens, tools] = node.children;
      setAttr(node, "data-span-id", span.id);
      setAttr(node, "title", `${stateTitle(span.state)}: ${clip(span.name, 120)}`);
      setStyle(node, "--c", `var(${hues.of(span.phase ?? "")})`);
      setGlyph(shape, span.state);
      setText(name, clip(span.name, 120));
      setText(time, clock(lasted(span, now)));
      setText(tokens, compact(span.tokens));
      setText(tools, compact(span.tool_uses));
    });
    const rest = model.open.size - spans.length;
    setShown(this.more, rest > 0);
    setText(this.more, rest > 0 ? `and ${plural(rest, "other")}` : "");
  }
}

function newActive() {
  const node = el("button", "ac", glyph(), el("span", "label"), el("span", "n"), el("span", "n"), el("span", "n"));
  node.type = "button";
  return node;
}
