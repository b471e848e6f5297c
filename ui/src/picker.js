// A list of names that the user ticks: what is ticked is shown, and where nothing
// is, everything is.

import { clip, plural } from "./format.js";
import { el, keep, setAttr, setShown, setText } from "./dom.js";

const MOST_PICKS = 200;

export class Picker {
  // label names what is picked; picked gives the set of names, changed is called when
  // it is another.
  constructor(label, { picked, changed }) {
    this.label = label;
    this.picked = picked;
    this.head = el("summary", "btn", label);
    this.list = el("div", "picks");
    this.none = el("button", "btn", "Show all");
    this.none.type = "button";
    this.node = el("details", "picker", this.head, el("div", "pickbox", this.none, this.list));
    this.names = [];
    this.node.addEventListener("toggle", changed); // its list is made when it is seen
    this.none.addEventListener("click", () => {
      picked().clear();
      changed();
    });
    this.list.addEventListener("change", (event) => {
      const name = this.names[[...this.list.children].indexOf(event.target.closest("label"))];
      if (event.target.checked) picked().add(name);
      else picked().delete(name);
      changed();
    });
    this.node.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.node.open) return;
      event.stopPropagation();
      this.node.open = false;
      this.head.focus();
    });
  }

  // shows tells whether a name is to be shown.
  shows(name) {
    const picked = this.picked();
    return picked.size === 0 || picked.has(name);
  }

  // draw takes the names there are, the most important first.
  draw(names) {
    const picked = this.picked();
    this.names = [...new Set([...picked, ...names])].slice(0, MOST_PICKS);
    setShown(this.node, this.names.length > 1);
    setText(this.head, picked.size ? `${this.label}: ${picked.size} of ${Math.max(names.length, this.names.length)}` : this.label);
    setAttr(this.head, "title", picked.size ? plural(picked.size, "name") : null);
    setShown(this.none, picked.size > 0);
    if (!this.node.open) return;
    keep(this.list, this.names.length, () => {
      const box = el("input");
      box.type = "checkbox";
      return el("label", "", box, el("span", "label"));
    });
    this.names.forEach((name, i) => {
      const [box, text] = this.list.children[i].children;
      box.checked = picked.has(name);
      setText(text, clip(name, 80) || "unnamed");
    });
  }
}
