// Agents and what they touched as a graph: it finds its own shape, and fits its box.

import { clip, plural } from "./format.js";
import { el, setAttr, setShown, setText, svgEl } from "./dom.js";

const FORCE_STEPS = 240; // of the forces, before it is shown
const LABELS = 24; // resources that are named without being pointed at
const GRAPH_ROOM = 30; // px around it
const radius = (node) => 3 + Math.min(9, Math.sqrt(node.calls));
const shortPath = (name) => clip(name.split("/").filter(Boolean).slice(-2).join("/") || name, 36);

export class Graph {
  constructor() {
    this.svg = svgEl("svg", { class: "graph", role: "img" });
    this.links = this.svg.appendChild(svgEl("g", { class: "links" }));
    this.dots = this.svg.appendChild(svgEl("g", { class: "dots" }));
    this.names = this.svg.appendChild(svgEl("g", { class: "names" }));
    this.says = el("p", "mut rest");
    this.fit = el("button", "btn", "Fit");
    this.fit.type = "button";
    this.node = el("section", "chartbox", el("h2", "", "Who touched what"), el("p", "order", this.fit), this.svg, this.says);
    this.known = new Map(); // where nodes stood, by id
    this.fit.addEventListener("click", () => this.fitAll());
    this.svg.addEventListener("pointerover", (event) => this.point(event.target.dataset?.id ?? ""));
    this.svg.addEventListener("pointerleave", () => this.point(""));
    this.svg.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.zoom(2 ** (Math.max(-30, Math.min(30, event.deltaY)) / 60), event);
    }, { passive: false });
    this.svg.addEventListener("pointerdown", (event) => this.grab(event));
  }

  // draw takes what network gives. The same nodes and links are not laid out anew.
  draw({ nodes, links, left }) {
    setShown(this.node, nodes.length > 1);
    const sign = `${nodes.map((n) => n.id).join("\n")}\n${links.length}`;
    if (sign === this.sign || nodes.length < 2) return;
    this.sign = sign;
    for (const node of nodes) Object.assign(node, this.known.get(node.id));
    const ratio = Math.max(1, Math.min(3, this.svg.clientWidth / Math.max(1, this.svg.clientHeight))); // as wide as its box
    const force = d3.forceSimulation(nodes).stop()
      .force("link", d3.forceLink(links).id((n) => n.id).distance(46).strength(0.25))
      .force("charge", d3.forceManyBody().strength(-70).distanceMax(400))
      .force("x", d3.forceX().strength(0.04)).force("y", d3.forceY().strength(0.04 * ratio * ratio))
      .force("apart", d3.forceCollide((n) => radius(n) + 3));
    for (let i = 0; i < FORCE_STEPS; i++) force.tick();
    this.nodes = nodes;
    this.lines = links;
    const make = (parent, list, one) => parent.replaceChildren(...list.map(one));
    make(this.links, links, (l) => svgEl("line", { "stroke-width": Math.min(4, 0.7 + Math.log2(l.calls)) }));
    make(this.dots, nodes, (n) => {
      const dot = svgEl("circle", { r: radius(n), class: n.kind });
      dot.dataset.id = n.id;
      dot.appendChild(svgEl("title")).textContent = `${clip(n.name)}: ${plural(n.calls, "call")}`;
      return dot;
    });
    const named = new Set([...nodes].filter((n) => n.kind === "resource").slice(0, LABELS).concat(nodes.filter((n) => n.kind === "agent")).map((n) => n.id));
    make(this.names, nodes, (n) => {
      const text = svgEl("text", { class: named.has(n.id) ? n.kind : `${n.kind} quiet` });
      text.textContent = shortPath(n.name);
      return text;
    });
    this.place();
    this.fitAll();
    const agents = nodes.filter((n) => n.kind === "agent").length;
    const words = `${plural(agents, "agent")}, ${plural(nodes.length - agents, "file or directory", "files and directories")}, ${plural(links.length, "link")}`;
    setText(this.says, left > 0 ? `${words}; ${left} more are in the table only` : words);
    setAttr(this.svg, "aria-label", `${words}. The table below says the same.`);
  }

  place() {
    this.lines.forEach((l, i) => {
      const line = this.links.children[i];
      for (const [name, value] of [["x1", l.source.x], ["y1", l.source.y], ["x2", l.target.x], ["y2", l.target.y]]) line.setAttribute(name, value.toFixed(1));
    });
    this.nodes.forEach((n, i) => {
      this.known.set(n.id, { x: n.x, y: n.y });
      this.dots.children[i].setAttribute("cx", n.x.toFixed(1));
      this.dots.children[i].setAttribute("cy", n.y.toFixed(1));
      this.names.children[i].setAttribute("x", (n.x + radius(n) + 3).toFixed(1));
      this.names.children[i].setAttribute("y", (n.y + 3.5).toFixed(1));
    });
  }

  show(box) {
    this.box = box;
    setAttr(this.svg, "viewBox", box.map((v) => v.toFixed(1)).join(" "));
  }

  fitAll() {
    if (!this.nodes?.length) return;
    const span = (of) => [Math.min(...this.nodes.map(of)) - GRAPH_ROOM, Math.max(...this.nodes.map(of)) + GRAPH_ROOM];
    const [left, right] = span((n) => n.x);
    const [top, bottom] = span((n) => n.y);
    this.show([left, top, right - left + 120, bottom - top]); // names stand at the right
  }

  // at gives where a pointer is, in the graph's own measure.
  at(event) {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.svg.getScreenCTM().inverse());
    return [point.x, point.y];
  }

  zoom(factor, event) {
    const [x, y] = this.at(event);
    const [left, top, width, height] = this.box;
    this.show([x - (x - left) * factor, y - (y - top) * factor, width * factor, height * factor]);
  }

  // grab moves a node, or the whole view.
  grab(event) {
    if (event.button !== 0 || !this.nodes) return;
    const node = this.nodes.find((n) => n.id === event.target.dataset?.id);
    let last = this.at(event);
    this.svg.setPointerCapture(event.pointerId);
    const move = (e) => {
      const now = this.at(e);
      if (node) {
        [node.x, node.y] = now;
        this.place();
      } else {
        this.show([this.box[0] - (now[0] - last[0]), this.box[1] - (now[1] - last[1]), this.box[2], this.box[3]]);
      }
      last = this.at(e);
    };
    const stop = () => {
      for (const [name, f] of [["pointermove", move], ["pointerup", stop], ["pointercancel", stop]]) this.svg.removeEventListener(name, f);
    };
    for (const [name, f] of [["pointermove", move], ["pointerup", stop], ["pointercancel", stop]]) this.svg.addEventListener(name, f);
  }

  // point dims what has nothing to do with a node.
  point(id) {
    if (id === this.pointed || !this.nodes) return;
    this.pointed = id;
    const near = new Set([id]);
    this.lines.forEach((l, i) => {
      const mine = l.source.id === id || l.target.id === id;
      if (mine) near.add(l.source.id).add(l.target.id);
      this.links.children[i].classList.toggle("dim", id !== "" && !mine);
    });
    this.nodes.forEach((n, i) => {
      for (const list of [this.dots, this.names]) list.children[i].classList.toggle("dim", id !== "" && !near.has(n.id));
      this.names.children[i].classList.toggle("near", id !== "" && near.has(n.id));
    });
  }
}
