// What the user looks for and filters out: the find box, the chips by state.

import { plural } from "./format.js";
import { el, setAttr, setShown, setText } from "./dom.js";

// The chips: the state, its word, and which of the server's counts belongs to it.
const CHIPS = [
  ["running", "Active", "running"],
  ["stalled", "Stalled", "stalled"],
  ["queued", "Queued", "queued"],
  ["done", "Done", "done"],
  ["error", "Failed", "failed"],
  ["cancelled", "Cancelled", "cancelled"],
  ["lost", "Lost", "lost"],
];

export class Filters {
  // changed is called when another text or state is wanted, next with 1 or -1 for
  // the next hit or the one before.
  constructor(find, { view, changed, next }) {
    this.box = find("find");
    this.count = find("find-count");
    this.bar = find("filters");
    this.button = find("filter");
    this.hide = find("hide-done");
    this.view = view;
    this.open = view.states.size > 0;
    this.box.value = view.find;
    this.box.addEventListener("input", () => {
      view.find = this.box.value;
      changed();
    });
    this.box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      next(event.shiftKey ? -1 : 1, { focus: false });
    });
    this.button.addEventListener("click", () => {
      this.open = !this.open;
      if (!this.open) view.states.clear();
      changed();
    });
    this.chips = CHIPS.map(([state, word, count]) => {
      const number = el("b");
      const node = el("button", "chip", `${word} `, number);
      node.type = "button";
      node.dataset.chip = state;
      node.addEventListener("click", () => {
        if (!view.states.delete(state)) view.states.add(state);
        changed();
      });
      return { node, number, state, count };
    });
    this.bar.append(...this.chips.map((c) => c.node));
  }

  // restore shows what an address brought.
  restore() {
    this.box.value = this.view.find;
    this.open = this.view.states.size > 0;
  }

  focus() {
    this.box.focus();
    this.box.select();
  }

  // clear forgets the text; it tells whether there was anything to forget.
  clear() {
    const had = this.view.find !== "" || document.activeElement === this.box;
    this.box.value = "";
    this.box.blur();
    this.view.find = "";
    return had;
  }

  draw({ model, view, tab }, hits) {
    const agents = tab === "timeline" || tab === "agents" || tab === "table";
    const matches = agents || tab === "tokens"; // where hits are agents
    setShown(this.box, true);
    setShown(this.button, agents);
    setShown(this.hide, agents);
    setAttr(this.hide, "aria-pressed", view.hideDone);
    setAttr(this.button, "aria-expanded", this.open);
    setShown(this.bar, agents && this.open);
    setShown(this.count, matches && view.find.trim() !== "");
    const at = hits.indexOf(view.selected.slice(2));
    if (view.find.trim()) setText(this.count, at >= 0 ? `${at + 1} of ${hits.length}` : hits.length ? `${hits.length} found` : "none found");
    setAttr(this.count, "title", plural(hits.length, "match", "matches"));
    if (!this.open || !model.totals) return;
    for (const chip of this.chips) {
      const n = model.totals[chip.count] ?? 0;
      const on = view.states.has(chip.state);
      setText(chip.number, String(n));
      setAttr(chip.node, "aria-pressed", on);
      setShown(chip.node, n > 0 || on);
    }
  }
}
