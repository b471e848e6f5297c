// A chart of lines over the run's clock, with a legend that hides and shows them.

import { clock } from "./format.js";
import { el, setAttr, setShown, setText } from "./dom.js";
import { extent, ticks } from "./axis.js";

const CHART_HEIGHT = 150;
const CHART_MARGIN = { left: 54, right: 8, top: 8, bottom: 18 };
const CHART_POINTS = 600;

// thinned keeps a line to a number of points: of each stretch its highest.
export function thinned(line, most = CHART_POINTS) {
  if (line.length <= most) return line;
  const stride = Math.ceil(line.length / most);
  const out = [];
  for (let i = 0; i < line.length; i += stride) {
    let best = line[i];
    for (let j = i + 1; j < Math.min(i + stride, line.length); j++) if (line[j][1] > best[1]) best = line[j];
    out.push(best);
  }
  return out;
}

export class Chart {
  // title names the chart, format writes a value of its axis.
  constructor(title, format) {
    this.format = format;
    this.title = title;
    this.hidden = new Set();
    this.legend = el("div", "legend");
    this.box = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    setAttr(this.box, "role", "img");
    setAttr(this.box, "class", "chart");
    this.node = el("section", "chartbox", el("h2", "", title), this.legend, this.box);
    this.node.hidden = true; // until there is something in it
    this.svg = d3.select(this.box);
    for (const part of ["grid", "areas", "lines", "dots", "marks"]) this[part] = this.svg.append("g").attr("class", part);
    this.legend.addEventListener("click", (event) => {
      const name = event.target.closest("button")?.dataset.name;
      if (name === undefined) return;
      if (!this.hidden.delete(name)) this.hidden.add(name);
      this.draw(this.last);
    });
  }

  // draw takes {series: [{name, hue (a CSS variable), line: [[ms, value], ...],
  // dash, area, dots}], from, to, zero}: what is nothing everywhere has no line.
  draw(of) {
    this.last = of;
    const all = of.series.filter((s) => s.line.length > 0);
    setShown(this.node, all.length > 0);
    const width = this.box.clientWidth;
    if (all.length === 0 || !width) return;
    this.drawLegend(all);
    const shown = all.filter((s) => !this.hidden.has(s.name)).map((s) => ({ ...s, line: thinned(s.line) }));
    const x = d3.scaleLinear([of.from, Math.max(of.to, of.from + 1000)], [CHART_MARGIN.left, width - CHART_MARGIN.right]);
    const most = shown.reduce((top, s) => s.line.reduce((m, p) => Math.max(m, p[1]), top), 0);
    const y = d3.scaleLinear([0, most * 1.06 || 1], [CHART_HEIGHT - CHART_MARGIN.bottom, CHART_MARGIN.top]);
    const levels = y.ticks(4).filter((v, i, list) => i === 0 || this.label(v) !== this.label(list[i - 1]));
    this.grid.selectAll("line").data(levels).join("line").attr("x1", CHART_MARGIN.left).attr("x2", width - CHART_MARGIN.right).attr("y1", y).attr("y2", y);
    this.grid.selectAll("text").data(levels).join("text").attr("x", CHART_MARGIN.left - 5).attr("y", (v) => y(v) + 3.5).attr("text-anchor", "end").text((v) => this.label(v));
    const area = d3.area().x((p) => x(p[0])).y0(y(0)).y1((p) => y(p[1]));
    const line = d3.line().x((p) => x(p[0])).y((p) => y(p[1]));
    this.areas.selectAll("path").data(shown.filter((s) => s.area)).join("path").attr("d", (s) => area(s.line)).attr("fill", (s) => `var(${s.hue})`);
    this.lines.selectAll("path").data(shown.filter((s) => !s.dots)).join("path").attr("d", (s) => line(s.line)).attr("stroke", (s) => `var(${s.hue})`).attr("stroke-dasharray", (s) => s.dash ?? null);
    const dots = shown.filter((s) => s.dots).map((s) => ({ ...s, d: s.line.map((p) => `M${x(p[0]).toFixed(1)},${y(p[1]).toFixed(1)}h0`).join("") }));
    this.dots.selectAll("path").data(dots).join("path").attr("d", (s) => s.d).attr("stroke", (s) => `var(${s.hue})`);
    this.marks.selectAll("text").data(ticks(0, extent(of.to - of.from, false), width - CHART_MARGIN.left, 70)).join("text")
      .attr("x", (t) => x(of.from + t.at)).attr("y", CHART_HEIGHT - 3).text((t) => t.label)
      .attr("text-anchor", (t) => (t.at === 0 ? "start" : x(of.from + t.at) > width - 20 ? "end" : "middle"));
    const words = shown.map((s) => `${s.name} at most ${this.format(s.line.reduce((m, p) => Math.max(m, p[1]), 0))}`);
    setAttr(this.box, "aria-label", `${this.title} over ${clock(of.to - of.from)}: ${words.join(", ") || "nothing shown"}`);
  }

  // label writes a round value: 25 MB, not 25.00 MB.
  label(value) {
    return this.format(value).replace(/\.0+(?=\D|$)/, "");
  }

  drawLegend(all) {
    setShown(this.legend, all.length > 1);
    const names = all.map((s) => s.name).join("\n");
    if (names !== this.names) {
      this.names = names;
      this.legend.replaceChildren(...all.map((s) => {
        const button = el("button", "chip", el("i", "key"), el("span", "", s.name));
        button.type = "button";
        button.dataset.name = s.name;
        return button;
      }));
    }
    all.forEach((s, i) => {
      const button = this.legend.children[i];
      button.style.setProperty("--c", `var(${s.hue})`);
      setAttr(button, "aria-pressed", !this.hidden.has(s.name));
      setText(button.lastChild, s.name);
    });
  }
}
