// The strip: phases and the number of open agents on the run's clock. It always
// shows the whole run, and in it the part that the lanes show.

import { clock, stopwatch } from "./format.js";
import { phaseLabel } from "./hues.js";
import { phaseLasted } from "./model.js";
import { concurrency, runs } from "./concurrency.js";
import { ticks } from "./axis.js";
import { brushed, gripAt } from "./brush.js";
import { drag } from "./gestures.js";
import { lastText } from "./last.js";

const HEIGHT = 54;
const TOP = 15;
const FLOOR = HEIGHT - 14;
const BINS = 1000;
const CHAR = 6; // px of a character of 11 px, for what fits

export class Strip {
  // lens is what the lanes show; seek goes to a moment in replay.
  constructor(box, { lens, seek }) {
    this.box = box;
    this.reach = 0;
    this.width = 0;
    this.marker = null; // px
    const svg = d3.select(box).append("svg").attr("role", "img");
    this.svg = svg;
    svg.append("rect").attr("class", "ground").attr("y", TOP).attr("height", FLOOR - TOP).attr("rx", 3);
    for (const part of ["bands", "areas", "edges", "labels", "marks"]) this[part] = svg.append("g");
    this.lastMark = svg.append("line").attr("class", "last-run").attr("y1", TOP - 3).attr("y2", FLOOR + 3);
    this.lastSays = svg.append("text").attr("class", "q").attr("text-anchor", "end").attr("y", 10);
    this.needle = svg.append("line").attr("class", "needle").attr("y1", TOP - 2).attr("y2", HEIGHT - 12);
    this.waiting = svg.append("text").attr("class", "q").attr("y", HEIGHT - 20);
    this.shades = [0, 1].map(() => svg.append("rect").attr("class", "shade").attr("y", TOP).attr("height", FLOOR - TOP));
    this.view = svg.append("rect").attr("class", "view").attr("y", TOP - 1).attr("height", FLOOR - TOP + 2).attr("rx", 2);
    this.knob = svg.append("rect").attr("class", "knob").attr("width", 10).attr("height", 10).attr("rx", 2).attr("y", TOP - 5);
    this.lens = lens;
    this.wire(seek);
  }

  wire(seek) {
    const { lens, box } = this;
    const place = (event) => event.clientX - box.getBoundingClientRect().left;
    const time = (event) => Math.max(0, Math.min(this.reach, (place(event) / Math.max(1, this.width)) * this.reach));
    const grip = (event) => gripAt(place(event), { view: this.viewAt(), marker: this.marker });
    const begin = (event) => {
      if (!(this.reach > 0)) return null;
      event.preventDefault(); // no text is selected on the way
      return { grip: grip(event), from: time(event), domain: lens.shown() };
    };
    drag(box, {
      begin,
      move: (event, what) => {
        if (what.grip === "marker") seek(time(event));
        else lens.set(brushed(what.grip, what.domain, what.from, time(event)));
      },
      end: (event, what, moved) => {
        if (moved) return;
        if (this.marker !== null) seek(time(event));
        else if (what.grip === "new" && what.domain) lens.centre([time(event), time(event)], "");
      },
    });
    box.addEventListener("dblclick", () => lens.fitAll());
    box.addEventListener("pointermove", (event) => {
      box.dataset.grip = grip(event);
    }, { passive: true });
  }

  // viewAt gives where the part that the lanes show stands, in px, or null.
  viewAt() {
    const domain = this.lens.shown();
    const scale = this.width / Math.max(1, this.reach);
    return domain && [domain[0] * scale, domain[1] * scale];
  }

  // drawLens is cheap, and done with every frame: the user's hand is on it.
  drawLens({ stretch, elapsed, replaying, width }) {
    this.reach = stretch;
    this.width = width;
    const view = this.viewAt();
    const at = (elapsed / Math.max(1, stretch)) * width;
    this.marker = replaying ? at : null;
    const drawn = [at, width, ...(view ?? [])].map((v) => v.toFixed(1)).join() + replaying;
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const show = (node, shown) => node.attr("visibility", shown ? "visible" : "hidden");
    show(this.view, view);
    for (const shade of this.shades) show(shade, view);
    if (view) {
      const [left, right] = [Math.max(0, view[0]), Math.min(width, view[1])];
      this.view.attr("x", left).attr("width", Math.max(2, right - left));
      this.shades[0].attr("x", 0).attr("width", left);
      this.shades[1].attr("x", right).attr("width", Math.max(0, width - right));
    }
    this.needle.attr("x1", at).attr("x2", at);
    show(this.knob.attr("x", at - 5), replaying);
  }

  draw({ model, now, start, elapsed, stretch: reach, live, hues, narrow, width, last }) {
    const x = d3.scaleLinear([0, reach], [0, width]);
    const begun = model.phases.filter((p) => p.start_ms);
    const from = (p) => Math.max(0, p.start_ms - start);
    const to = (p) => (p.state === "done" && p.end_ms ? p.end_ms - start : elapsed);
    this.svg.select(".ground").attr("width", width);
    this.bands.selectAll("rect").data(begun).join("rect")
      .attr("y", TOP).attr("height", FLOOR - TOP).attr("opacity", 0.13)
      .attr("x", (p) => x(from(p))).attr("width", (p) => Math.max(0, x(to(p)) - x(from(p))))
      .attr("fill", (p) => `var(${hues.of(p.name)})`);

    const bins = Math.min(BINS, Math.max(1, Math.round(x(elapsed))));
    const counted = concurrency(model.rows.values(), { from: start, to: start + Math.max(elapsed, 1), now, bins, hueOf: (name) => hues.of(name) });
    const y = d3.scaleLinear([0, Math.max(1, counted.max)], [FLOOR, TOP + 3]);
    const bin = (i) => (x(elapsed) * i) / bins;
    const base = new Int32Array(bins);
    const layers = counted.layers.map(({ hue, counts }) => {
      const corners = runs(counts, base);
      for (let i = 0; i < bins; i++) base[i] += counts[i];
      corners.push([bins, corners[corners.length - 1][1], corners[corners.length - 1][2]]);
      return { hue, corners };
    });
    const area = d3.area().curve(d3.curveStepAfter).x((c) => bin(c[0])).y0((c) => y(c[1])).y1((c) => y(c[1] + c[2]));
    this.areas.selectAll("path").data(layers).join("path")
      .attr("fill", (l) => `var(${l.hue})`).attr("d", (l) => area(l.corners));

    this.edges.selectAll("line").data(begun.slice(1)).join("line")
      .attr("x1", (p) => x(from(p))).attr("x2", (p) => x(from(p))).attr("y1", 2).attr("y2", FLOOR);
    const free = this.drawLast(last, x, width);
    this.drawLabels(begun, { x, from, width: free, narrow, now });

    this.needle.attr("visibility", model.run ? "visible" : "hidden");
    const next = model.phases.find((p) => !p.start_ms);
    const says = next && live ? `${phaseLabel(next.name, true)} queued` : "";
    this.waiting.attr("x", x(elapsed) + 8).text(says.length * CHAR < width - x(elapsed) - 8 ? says : "");
    this.marks.selectAll("text").data(ticks(0, reach, width, narrow ? 56 : 100)).join("text")
      .attr("y", HEIGHT - 2).attr("x", (t) => x(t.at)).text((t) => t.label)
      .attr("text-anchor", (t) => (t.at === 0 ? "start" : x(t.at) > width - 16 ? "end" : "middle"));
    this.svg.attr("aria-label", `${model.phases.length} phases, at most ${counted.max} agents at a time, ${clock(elapsed)} in all${last?.wall_ms > 0 ? `; the ${lastText(last)}` : ""}`);
  }

  // drawLast marks how long the last run took, and gives where the words beside the
  // mark begin: no promise, but what there is to compare with. Where the run went on
  // for longer the mark stands alone, as the phases have the room.
  drawLast(last, x, width) {
    const says = lastText(last);
    const at = says ? x(last.wall_ms) : 0;
    const wide = says.length * CHAR;
    const room = says !== "" && at > width - wide && at > 2 * wide;
    this.lastMark.attr("visibility", says ? "visible" : "hidden").attr("x1", at).attr("x2", at);
    this.lastSays.attr("x", at - 4).text(room ? says : "");
    return room ? at - wide - 10 : width;
  }

  // drawLabels writes the names of the phases that have room for theirs.
  drawLabels(begun, { x, from, width, narrow, now }) {
    const labels = [];
    let free = width;
    for (const p of [...begun].reverse()) {
      const at = x(from(p)) + (from(p) > 0 ? 5 : 0);
      const name = phaseLabel(p.name, narrow);
      const time = p.state === "done" ? stopwatch(phaseLasted(p, now)) : clock(phaseLasted(p, now));
      const room = free - at - 6;
      free = x(from(p));
      if (name.length * CHAR > room) continue;
      labels.push({ p, at, name, time: (name.length + time.length + 1) * CHAR < room ? time : "" });
    }
    const groups = this.labels.selectAll("text").data(labels, (l) => l.p.name).join((enter) => {
      const text = enter.append("text").attr("y", 10);
      text.append("tspan");
      text.append("tspan").attr("class", "q").attr("dx", 6);
      return text;
    });
    groups.attr("class", (l) => (l.p.state === "running" ? "ph-now" : "")).attr("x", (l) => l.at);
    groups.select("tspan:first-child").text((l) => l.name);
    groups.select("tspan:last-child").text((l) => l.time);
  }
}
