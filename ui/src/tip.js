// What a mark is, beside the mouse. It goes with Escape, and whoever has no mouse
// finds the same in the card of the selected call.

import { brief, bytes, clip, clock, compact, plural } from "./format.js";
import { el, setShown, setText } from "./dom.js";

const APART = 14; // px from the mouse

// tellMark says in lines what a mark is.
export function tellMark(mark, start) {
  const began = clock(mark.at - start);
  if (mark.length >= 0) return [`${mark.tool}, ${began}`, plural(compact(mark.length), "character", "characters"), clip(mark.aim, 150)];
  const took = mark.end ? brief(mark.took) : "not over";
  return [
    `${mark.tool}, ${began}, ${took}${mark.look.endsWith(" error") ? ", failed" : ""}`, clip(mark.aim, 160), clip(mark.error, 160),
    mark.size >= 0 ? bytes(mark.size) : "", mark.tokens ? `${compact(mark.tokens)} tokens` : "",
  ].filter(Boolean);
}

export class Tip {
  constructor() {
    this.node = el("div", "tip");
    this.node.hidden = true;
    this.node.setAttribute("role", "tooltip");
    document.body.append(this.node);
    addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.hide();
    }, true);
  }

  show(lines, x, y) {
    while (this.node.children.length > lines.length) this.node.lastChild.remove();
    while (this.node.children.length < lines.length) this.node.append(el("div"));
    lines.forEach((line, i) => setText(this.node.children[i], line));
    setShown(this.node, true);
    const { offsetWidth: width, offsetHeight: height } = this.node;
    const left = x + APART + width > innerWidth ? x - APART - width : x + APART;
    const top = y + APART + height > innerHeight ? y - APART - height : y + APART;
    this.node.style.setProperty("left", `${Math.max(4, left)}px`);
    this.node.style.setProperty("top", `${Math.max(4, top)}px`);
  }

  hide() {
    setShown(this.node, false);
  }
}
