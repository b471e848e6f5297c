// A stretch of the clock that the user marked with Shift and the mouse, and what
// happened in it.

import { clock, compact, plural } from "./format.js";
import { px, setShown, setStyle, setText } from "./dom.js";
import { areaSums } from "./area.js";
import { drag } from "./gestures.js";

const LEAST_PX = 4;

// tellArea says in words what areaSums counted.
export function tellArea([from, to], sums) {
  const parts = [plural(sums.agents, "agent")];
  if (sums.ended) parts.push(`${sums.ended} ended`);
  if (sums.errors) parts.push(plural(sums.errors, "error"));
  if (sums.tokens > 0) parts.push(`${compact(sums.tokens)} tokens`);
  if (sums.tools) parts.push(plural(sums.tools, "tool call"));
  return `${clock(from)} to ${clock(to)}: ${parts.join(", ")}`;
}

export class Marking {
  // timeAt gives the moment at a place of the window; changed is called when another
  // stretch is marked, with whether the user let go of it.
  constructor(find, { view, timeAt, changed }) {
    this.node = find("area");
    this.words = find("area-words");
    this.view = view;
    drag(find("scroll"), {
      begin: (event) => (event.shiftKey && event.target.closest(".lane") ? { from: Math.max(0, timeAt(event.clientX)), x: event.clientX } : null),
      move: (event, what) => {
        const to = Math.max(0, timeAt(event.clientX));
        view.area = Math.abs(event.clientX - what.x) < LEAST_PX ? null : [Math.min(what.from, to), Math.max(what.from, to)].map(Math.round);
        changed(false);
      },
      end: (_, __, moved) => moved && changed(true),
    });
  }

  // draw shows it at the scale of the lanes; it gives what it says.
  draw({ model, view, start, now, narrow }, x) {
    const { area } = view;
    const shown = Boolean(area) && !narrow && model.run !== null;
    setShown(this.node, shown);
    if (!shown) return "";
    const [left, right] = area.map((at) => Math.max(-4, Math.min(x.range()[1] + 4, x(at))));
    setStyle(this.node, "--left", px(left));
    setStyle(this.node, "--width", px(Math.max(1, right - left)));
    const words = tellArea(area, areaSums(model, area[0] + start, area[1] + start, now));
    setText(this.words, words);
    return words;
  }
}
