// The timeline: a treegrid whose rows exist only where they can be seen.

import { clip } from "./format.js";
import { el, keep, px, setAttr, setClass, setShown, setStyle, setText, svgEl } from "./dom.js";
import { layout, pathRows, rowAt, spanKey } from "./layout.js";
import { ticks } from "./axis.js";
import { wireLanes } from "./gestures.js";
import { RowView } from "./row.js";
import { Lanes, agentOf, markAt } from "./lanes.js";
import { Tip, tellMark } from "./tip.js";
import { Marking } from "./marking.js";

const SPARE = 4; // rows beyond each edge of the view
const REST = 12; // a layout may take a twelfth of the time
// The stripes of running bars move in steps, with the clocks: an animation of each
// would be a layer of its own and have the browser draw sixty times a second.
const STRIDES = 4;
const AFTER_MARKING = 150; // ms
const NEAR = 6; // px from a mark that still mean it
const LEAST_GAP = 2; // px of the critical path that belong to a phase and are drawn
const SIZES = {
  mouse: { row: 17, group: 21 },
  comfortable: { row: 24, group: 26 },
  touch: { row: 40, group: 40 },
  narrow: { row: 42, group: 44 },
};

export class Timeline {
  constructor(find, actions) {
    this.find = find;
    this.marked = -Infinity;
    this.grid = find("grid");
    this.scroll = find("scroll");
    this.body = find("rows");
    this.top = find("pins");
    this.ticks = find("ticks");
    this.over = find("over");
    this.empty = find("empty");
    this.shown = new Map(); // row views in view, by key
    this.spare = [];
    this.plan = { rows: [], pins: 0, height: 0, index: new Map(), hits: [] };
    this.x = null; // the scale that was drawn
    this.planned = ""; // what the plan was made from: the user's part, and the model's
    this.plannedShape = "";
    this.restUntil = 0;
    this.drawn = ""; // what rows have in common, as it was drawn; stamp counts its changes
    this.stamp = 0;
    this.axisOf = "";
    this.place = null; // where the rows are in the window; null: to be measured
    this.path = find("path");
    this.tip = new Tip();
    this.wire(actions);
  }

  wire({ view, select, toggle, touched, redraw, lens, fitRow, say }) {
    const rowOf = (event) => this.rowOf(event.target.closest(".row")?.dataset.key);
    const timeAt = (place) => (this.x ? this.x.invert(place - this.ticks.getBoundingClientRect().left) : 0);
    this.marking = new Marking(this.find, {
      view,
      timeAt,
      changed: (done) => {
        this.marked = performance.now(); // the click that ends it selects nothing
        redraw();
        if (done && view.area) say(this.areaWords);
      },
    });
    wireLanes({ scroll: this.scroll, ticks: this.ticks, timeAt, width: () => this.width, lens });
    this.scroll.addEventListener("click", (event) => {
      const row = rowOf(event); // of a pin too
      if (!row || performance.now() - this.marked < AFTER_MARKING) return;
      if (row.expandable && (event.target.closest(".tw") || this.sizes === SIZES.narrow)) toggle(row);
      select(this.markUnder(event, row)?.key || row.key);
      this.focusSoon = true;
    });
    this.scroll.addEventListener("dblclick", (event) => {
      const row = rowOf(event);
      if (!row || event.target.closest(".tw")) return;
      if (event.target.closest(".bx, .band, .in")) fitRow(row);
      else if (event.target.closest(".lane")) lens.fitAll();
      else if (row.expandable) toggle(row);
    });
    this.scroll.addEventListener("pointermove", (event) => {
      const row = event.pointerType === "mouse" && event.target.closest(".lane") ? rowOf(event) : null;
      const mark = row && this.markUnder(event, row);
      if (mark) this.tip.show(tellMark(mark, this.start), event.clientX, event.clientY);
      else if (row && event.target.closest(".bx, .band, .in")) this.tip.show([clip(event.target.closest(".row").querySelector(".label").textContent, 120), event.target.closest(".lane").getAttribute("aria-label")], event.clientX, event.clientY);
      else this.tip.hide();
    }, { passive: true });
    this.scroll.addEventListener("pointerleave", () => this.tip.hide());
    this.scroll.addEventListener("scroll", () => {
      this.tip.hide();
      redraw();
    }, { passive: true });
    addEventListener("scroll", redraw, { passive: true });
    new ResizeObserver(() => redraw()).observe(this.scroll); // what stands above or below it came or went
    for (const kind of ["wheel", "touchmove"]) {
      this.scroll.addEventListener(kind, (event) => {
        const zooms = event.ctrlKey || event.metaKey || event.shiftKey; // the lens lets go where it does something
        if (!zooms && this.scroll.scrollHeight > this.scroll.clientHeight) touched();
      }, { passive: true });
    }
    this.scroll.addEventListener("pointerdown", (event) => {
      if (event.target === this.scroll) touched(); // the scroll bar
    });
  }

  // resize measures what depends on the window only, and tells whether it changed.
  resize(narrow) {
    const { sizes, width } = this;
    const touch = matchMedia("(pointer: coarse)").matches;
    this.sizes = narrow ? SIZES.narrow : touch ? SIZES.touch : this.comfortable ? SIZES.comfortable : SIZES.mouse;
    setStyle(this.grid, "--row", `${this.sizes.row}px`);
    setStyle(this.grid, "--group", `${this.sizes.group}px`);
    this.width = this.ticks.clientWidth;
    if (sizes !== this.sizes) this.planned = "";
    if (sizes === this.sizes && width === this.width) return false;
    this.followed = null;
    return true;
  }

  // arrange lays the rows out anew where they can have changed: at once when the
  // user did it; when the run did, not more often than the work it is allows.
  arrange({ model, view, narrow, live, replaying, record, log }) {
    const planned = [view.changes, narrow, view.find, view.hideDone, [...view.states].join(), view.pins.join()].join(" ");
    const filtered = view.hideDone || view.find || view.states.size > 0;
    // Lanes have marks, which are other ones with each event.
    const shape = [model.shape, filtered || this.opened ? model.version : 0, this.opened || log.log ? log.version : 0].join(" ");
    const began = performance.now();
    if (planned === this.planned && (shape === this.plannedShape || (live && !replaying && began < this.restUntil))) return;
    this.planned = planned;
    this.plannedShape = shape; // in replay at once: what is not there any more has no row
    this.lanes = new Lanes(model, record, Boolean(log.log));
    this.plan = layout(model, { ...view, ...this.sizes, fold: narrow, lanes: this.lanes });
    this.opened = this.plan.rows.some((row) => row.marks);
    setStyle(this.body, "height", `${this.plan.height}px`);
    setStyle(this.top, "height", `${this.plan.pins * this.sizes.row}px`);
    setShown(this.top, this.plan.pins > 0);
    setAttr(this.scroll, "aria-rowcount", this.plan.rows.length + 1);
    this.place = null;
    const took = performance.now() - began;
    this.restUntil = began + took * REST;
  }

  // measure asks where the rows are. It is called before anything is drawn: asked in
  // between, the browser would have to lay the page out twice in a frame.
  measure() {
    const box = this.body.getBoundingClientRect();
    const port = this.scroll.getBoundingClientRect();
    this.place = { top: Math.max(port.top, 0) - box.top, bottom: Math.min(port.bottom, innerHeight) - box.top, scrolled: this.scroll.scrollTop, high: this.scroll.clientHeight };
  }

  draw(frame) {
    const { model, view, live } = frame;
    const nothing = !model.run || (model.empty && frame.caughtUp);
    setShown(this.empty, nothing && frame.caughtUp);
    if (nothing === !this.grid.hidden) this.place = null;
    setShown(this.grid, !nothing);
    if (nothing) return this.drawEmpty(frame);
    if (!this.width) this.resize(frame.narrow);
    this.arrange(frame);
    if (view.follow && live) this.follow(model);
    else this.followed = null;
    const domain = frame.domain ?? [0, frame.reach];
    const x = d3.scaleLinear(domain, [0, this.width - (frame.narrow ? 0 : 8)]);
    this.x = x;
    frame.width = this.width;
    frame.zoomed = frame.domain !== null;
    const { rows } = this.plan;
    // Exactly one row can be reached with Tab: the selected one, else the first.
    frame.focusKey = this.keyOf(view.selected, model) || rows[0]?.key;
    this.start = frame.start;
    this.now = frame.now;
    const shared = [x.domain(), this.width, frame.now, frame.start, frame.zoomed, frame.narrow, view.selected, frame.focusKey].join(" ");
    if (shared !== this.drawn) this.stamp++;
    this.drawn = shared;
    frame.stamp = this.stamp;
    this.window(frame, x);
    this.drawAxis(frame, x, ticks(...domain, this.width, frame.narrow ? 60 : 64));
    this.ticks.classList.toggle("zoomed", frame.zoomed);
    this.drawPath(frame, x);
    this.areaWords = this.marking.draw(frame, x);
  }

  // drawPath joins the rows that the critical path goes through.
  drawPath({ model, view, start, narrow }, x) {
    if (model.path.length === 0) return setShown(this.path, false);
    if (this.pathOf?.plan !== this.plan || this.pathOf.version !== model.version) {
      this.pathOf = { plan: this.plan, version: model.version, steps: pathRows(model, this.plan) };
    }
    // What a phase itself took between two agents is often a moment: no line goes up
    // to its row for less than can be seen.
    const seen = ({ row, from, to }) => row.id || x(to) - x(from) >= LEAST_GAP;
    const steps = view.path && !narrow ? this.pathOf.steps.filter(seen) : [];
    setShown(this.path, steps.length > 0);
    if (steps.length === 0) return undefined;
    // The element is as high as the view, not as the list, which can be endless.
    const { scrolled, high } = this.place;
    const top = Math.max(0, scrolled - high);
    setStyle(this.path, "top", `${top}px`);
    setStyle(this.path, "height", `${Math.min(this.plan.height - top, 3 * high)}px`);
    const y = (row) => row.top + row.height - 1.25 - top;
    const corners = steps.map(({ row, from, to }) => `${x(from - start)},${y(row)}L${x(to - start)},${y(row)}`);
    setAttr(this.path.firstElementChild, "d", `M${corners.join("L")}`);
    return undefined;
  }

  // window draws the rows that are in view, and the one that has the focus
  // wherever it is: an element that goes would lose it.
  window(frame, x) {
    const { rows, pins } = this.plan;
    if (!this.place) this.measure();
    const { top, bottom } = this.place;
    const wanted = new Set();
    for (let i = 0; i < pins; i++) wanted.add(i);
    if (rows.length > pins) {
      const first = Math.max(pins, rowAt(rows, top, pins) - SPARE);
      const last = Math.min(rows.length - 1, rowAt(rows, Math.max(top, bottom), pins) + SPARE);
      for (let i = first; i <= last; i++) wanted.add(i);
    }
    if (rows.length) wanted.add(this.plan.index.get(frame.focusKey));
    const order = [...wanted].sort((a, b) => a - b);
    const keys = new Set(order.map((i) => rows[i].key));
    for (const [key, row] of this.shown) {
      if (keys.has(key)) continue;
      this.shown.delete(key);
      this.spare.push(row);
      row.node.remove();
    }
    let list = this.top;
    let cursor = list.firstChild;
    for (const i of order) {
      if (i >= pins && list === this.top) {
        list = this.body;
        cursor = list.firstChild;
      }
      let row = this.shown.get(rows[i].key);
      if (!row) {
        row = this.spare.pop() ?? new RowView();
        this.shown.set(rows[i].key, row);
      }
      row.draw(rows[i], i, frame, x);
      if (row.node === cursor) cursor = cursor.nextSibling;
      else list.insertBefore(row.node, cursor); // in reading order
    }
    if (!frame.frozen) setAttr(this.grid, "data-step", Math.floor(frame.now / frame.pace) % STRIDES);
    if (this.focusSoon) {
      this.focusSoon = false;
      this.shown.get(frame.focusKey)?.node.focus({ preventScroll: true });
    }
  }

  drawAxis({ model, elapsed, start, live }, x, marks) {
    const edges = model.phases.filter((p) => p.start_ms).slice(1).map((p) => ({ at: p.start_ms - start, look: "edge" }));
    const lines = marks.filter((t) => t.at > 0).map((t) => ({ at: t.at, look: "mark" })).concat(edges);
    if (live) lines.push({ at: elapsed, look: "now" });
    const of = [x.domain(), this.width, ...lines.map((l) => l.at)].join(" ");
    if (of === this.axisOf) return;
    this.axisOf = of;
    keep(this.ticks, marks.length, () => el("span"));
    marks.forEach(({ at, label }, i) => {
      const node = this.ticks.children[i];
      setText(node, label);
      setStyle(node, "left", px(x(at)));
      setClass(node, x(at) < 14 ? "first" : x(at) > this.width - 24 ? "last" : "");
    });
    keep(this.over, lines.length, () => svgEl("line", { y1: 0, y2: "100%" }));
    lines.forEach(({ at, look }, i) => {
      const node = this.over.children[i];
      setAttr(node, "class", look);
      for (const end of ["x1", "x2"]) setAttr(node, end, Math.round(x(at) * 2) / 2);
    });
  }

  // drawEmpty says why there is nothing to see.
  drawEmpty({ model, connection }) {
    const command = model.run?.command?.join(" ") ?? "";
    const [head, body] = this.empty.children;
    setText(head, model.ended ? "No event was recorded" : "Waiting for the first event");
    setText(body, model.ended ? "The command ended without telemetry." : connection.state === "offline" ? "None had come when the connection was lost." : "obsrun is listening. The run appears here as soon as a span opens.");
    setShown(this.empty.children[2], command !== "");
    setText(this.empty.children[2], command.length > 200 ? `${command.slice(0, 200)}\u2026` : command);
  }

  // follow keeps the first agent at work in view.
  follow(model) {
    const { rows } = this.plan;
    let first = Infinity;
    for (const id of model.open) first = Math.min(first, this.plan.index.get(spanKey(id)) ?? Infinity);
    const row = rows[first];
    if (!row || row === this.followed) return; // measuring costs a layout
    this.followed = row;
    if (this.scroll.scrollHeight > this.scroll.clientHeight + 1) this.bring(row, this.scroll.clientHeight * 0.4);
  }

  // bring scrolls as little as brings the row into view; room is how much should
  // be seen below it.
  bring(row, room = 0) {
    const { scroll } = this;
    if (row.pinned) return;
    this.place = null;
    const head = this.body.getBoundingClientRect().top - scroll.getBoundingClientRect().top + scroll.scrollTop;
    const view = scroll.clientHeight - head; // what the sticky heads leave
    if (row.top < scroll.scrollTop) scroll.scrollTop = row.top - row.height;
    else if (row.top + row.height + Math.min(room, this.plan.height - row.top - row.height) > scroll.scrollTop + view) {
      scroll.scrollTop = Math.min(row.top - row.height, row.top + row.height + room - view);
    }
  }

  // reveal brings the row of a key into view and gives it the focus.
  reveal(key, { focus = true } = {}) {
    const row = this.rowOf(key);
    if (!row) return;
    if (this.sizes === SIZES.narrow) {
      const at = this.body.getBoundingClientRect().top + row.top;
      if (at < 0 || at > innerHeight - row.height) scrollBy({ top: at - innerHeight / 3 });
    } else this.bring(row);
    this.focusSoon = focus;
  }

  // step gives the key of the row that many rows away from a key.
  step(key, by) {
    const { rows } = this.plan;
    if (rows.length === 0) return "";
    const at = this.plan.index.get(key) ?? -1;
    const next = at < 0 && by < 0 ? rows.length + by : at + by; // from outside, -1 is the row before the first
    return rows[Math.max(0, Math.min(rows.length - 1, next))].key;
  }

  // keyOf gives the key of the row that shows what is selected, "" where there is
  // none: a call has no row, but its lane has one, or its agent.
  keyOf(selected, model) {
    if (!selected || this.plan.index.has(selected)) return selected;
    const agent = agentOf(selected) || model.spans.get(selected.slice(2))?.agent || "";
    const lane = this.opened ? this.plan.rows.find((row) => row.marks && (!agent || row.agent === agent) && row.marks.marks.some((m) => m.key === selected)) : undefined;
    const key = lane?.key ?? spanKey(agent);
    return this.plan.index.has(key) ? key : "";
  }

  // markUnder gives the call that a pointer is on, in the lane of a row, or null.
  markUnder(event, row) {
    if (!row.marks || !this.x || !event.target.closest(".lane")) return null;
    const place = event.clientX - this.ticks.getBoundingClientRect().left;
    const at = this.x.invert(place) + this.start;
    return markAt(row.marks.marks, at, this.x.invert(place + NEAR) - this.x.invert(place), this.now);
  }

  // nextCall gives the key of the call after, or before, what is selected, of the
  // same lane; "" where no lane is.
  nextCall(selected, by, model) {
    const marks = (this.rowOf(this.keyOf(selected, model))?.marks?.marks ?? []).filter((m) => m.key);
    const at = marks.findIndex((m) => m.key === selected);
    if (at < 0) return (by > 0 ? marks[0] : marks[marks.length - 1])?.key ?? "";
    return marks[at + by]?.key ?? "";
  }

  // rowOf gives the row of a key, or undefined.
  rowOf(key) {
    return this.plan.rows[this.plan.index.get(key)];
  }

  get pageRows() {
    return Math.max(1, Math.floor(this.scroll.clientHeight / this.sizes.row) - 2);
  }

  // nextPhase gives the key of the row of the next group, or the one before.
  nextPhase(key, by) {
    const { rows } = this.plan;
    const at = this.plan.index.get(key) ?? -1;
    for (let i = at + by; i >= 0 && i < rows.length; i += by) if (rows[i].level === 1) return rows[i].key;
    return key || rows[0]?.key || "";
  }
}
