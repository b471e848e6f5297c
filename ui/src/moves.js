// Going about in the rows: the keys of the treegrid, from elsewhere to a row.

import { phaseKey, spanKey } from "./layout.js";
import { agentOf } from "./lanes.js";
import { spanEnd } from "./model.js";

const LENS = /^(zoom|pan|fitAll|centre)/;

export class Moves {
  // page has the view, the model, the timeline and the lens.
  constructor(page) {
    this.page = page;
  }

  // act does what a key asks for; false where the rows are not what is shown.
  act(name) {
    const { view, timeline, problems, lens } = this.page;
    if (name === "nextProblem" || name === "previousProblem") {
      return this.openSpan(problems.next(view.selected.slice(2), name === "nextProblem" ? 1 : -1));
    }
    if (name === "nextMatch" || name === "previousMatch") return this.nextMatch(name === "nextMatch" ? 1 : -1);
    if (view.tab !== "timeline") return false;
    if (LENS.test(name)) return lens.key(name, this.stretch(view.selected), view.selected);
    switch (name) {
      case "down": return this.step(1);
      case "up": return this.step(-1);
      case "pageDown": return this.step(timeline.pageRows);
      case "pageUp": return this.step(-timeline.pageRows);
      case "first": return this.step(-Infinity);
      case "last":
        this.step(Infinity);
        return this.page.setFollow(true);
      case "open": case "close": return this.fold(name === "open");
      case "nextPhase": case "previousPhase": return this.go(timeline.nextPhase(this.rowKey, name === "nextPhase" ? 1 : -1));
    }
    return false;
  }

  // rowKey is the key of the row that shows what is selected, in the rows as they
  // are to be: keys can be quicker than frames.
  get rowKey() {
    const { view, timeline } = this.page;
    const frame = this.page.frame();
    timeline.arrange(frame);
    return timeline.keyOf(view.selected, frame.model);
  }

  // stepCall goes to the next call of the lane, or the one before.
  stepCall(by) {
    const { view, timeline, playback } = this.page;
    if (view.tab !== "timeline") return false;
    const key = timeline.nextCall(view.selected, by, playback.modelAt(playback.moment()));
    if (key) this.go(key, timeline.keyOf(key, playback.modelAt(playback.moment())));
    return undefined;
  }

  step(by) {
    this.page.setFollow(false);
    this.go(this.page.timeline.step(this.rowKey, by));
  }

  // go selects a key and shows the row that stands for it.
  go(key, row = key, how = {}) {
    const { page } = this;
    if (!key) return;
    page.view.selected = key;
    page.timeline.arrange(page.frame());
    page.timeline.reveal(row, how);
    page.changed();
  }

  // openSpan selects a span from elsewhere, opens what hides it and goes there. A
  // span without a row is shown by its agent's row, where it has one.
  openSpan(id, how) {
    const { model, view } = this.page;
    const span = model.spans.get(id);
    if (!span) return;
    const shown = model.rows.has(id) || !span.agent ? span : (model.spans.get(span.agent) ?? span);
    for (const key of [phaseKey(shown.phase ?? ""), spanKey(shown.agent ?? "")]) if (view.collapsed.has(key) || this.page.narrow) view.collapsed.set(key, false);
    view.changes++;
    view.tab = "timeline";
    this.page.setFollow(false);
    this.go(spanKey(id), spanKey(shown.id), how);
  }

  openPhase(name) {
    this.page.view.tab = "timeline";
    this.page.setFollow(false);
    this.go(phaseKey(name));
  }

  toggle(row) {
    this.page.view.collapsed.set(row.key, row.expanded);
    this.page.view.changes++;
    this.page.changed();
  }

  // fold is what Right and Left do in a tree.
  fold(open) {
    const row = this.page.timeline.rowOf(this.rowKey);
    if (!row) return;
    if (row.expandable && row.expanded !== open) this.toggle(row);
    else if (open && row.expandable) this.go(this.page.timeline.step(row.key, 1));
    else if (!open && row.parent) this.go(row.parent);
  }

  // nextMatch goes to the next of what was looked for.
  nextMatch(by, how) {
    const { page } = this;
    page.timeline.arrange(page.frame());
    const { hits } = page.timeline.plan;
    if (hits.length === 0) return;
    const at = hits.indexOf(page.view.selected.slice(2));
    this.openSpan(hits[at < 0 ? (by > 0 ? 0 : hits.length - 1) : (at + by + hits.length) % hits.length], how);
  }

  // stretch gives from when to when a row lasts, ms since the run's start, or null.
  stretch(key) {
    const { model, start, now } = this.page.frame();
    const id = agentOf(key) || (key.startsWith("s:") ? key.slice(2) : "");
    const one = id ? model.spans.get(id) : model.phase.get(key.slice(2));
    if (!one?.start_ms) return null;
    const from = Math.min(one.start_ms, ...(one.earlier ?? []).map((e) => e.start_ms));
    return [from - start, spanEnd(one, now) - start];
  }

  fit(key) {
    const stretch = this.stretch(key);
    if (stretch) this.page.lens.fit(stretch);
  }
}
