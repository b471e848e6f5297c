// The views of the run as tabs: one is shown, arrows go from one to the next.

import { setAttr, setShown } from "./dom.js";
import { TABS } from "./view.js";

export class Tabs {
  constructor(find, { show }) {
    this.tabs = TABS.map((name) => ({ name, tab: find(`tab-${name}`), panel: find(`pane-${name}`) }));
    for (const { name, tab } of this.tabs) tab.addEventListener("click", () => show(name));
    find("tabs").addEventListener("keydown", (event) => {
      const at = this.tabs.findIndex((t) => t.tab === event.target);
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: this.tabs.length - 1 }[event.key];
      if (at < 0 || to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      const next = this.tabs[(to + this.tabs.length) % this.tabs.length];
      show(next.name);
      next.tab.focus();
    });
  }

  draw({ tab }) {
    for (const one of this.tabs) {
      const on = one.name === tab;
      setAttr(one.tab, "aria-selected", on);
      setAttr(one.tab, "tabindex", on ? 0 : -1);
      setShown(one.panel, on);
    }
  }
}
