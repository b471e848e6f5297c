// The summary line: seven numbers about the run.

import { DASH, clock, compact, perMinute, plural } from "./format.js";
import { phaseLabel } from "./hues.js";
import { setShown, setText } from "./dom.js";
import { counted } from "./problems.js";
import { outcome } from "./header.js";
import { lastText } from "./last.js";

const NAMES = ["elapsed", "phase", "complete", "active", "tokens", "tools", "problems"];

// phaseNow gives what to say of the phases: the open ones, and how far they are
// where the number of phases is known beforehand.
export function phaseNow(model) {
  const open = model.phases.filter((p) => p.state === "running").sort((a, b) => a.start_ms - b.start_ms);
  if (model.phases.length === 0) return [DASH, ""];
  const done = model.phases.filter((p) => p.state === "done").length;
  const planned = model.totals.percent !== null;
  if (open.length === 0) return ["between phases", planned ? `${done} of ${model.phases.length} done` : ""];
  const names = open.length > 2 ? `${open.length} phases` : open.map((p) => phaseLabel(p.name, open.length > 1)).join(" and ");
  const at = model.phases.indexOf(open[open.length - 1]) + 1;
  return [names, planned ? `${at} of ${model.phases.length}` : ""];
}

export class Summary {
  constructor(find) {
    this.cells = Object.fromEntries(NAMES.map((name) => {
      const cell = find(`kpi-${name}`);
      return [name, { cell, label: cell.querySelector("dt"), value: cell.querySelector("b"), note: cell.querySelector("small") }];
    }));
  }

  put(name, value, note = "") {
    setText(this.cells[name].value, value);
    setText(this.cells[name].note, note);
  }

  draw({ model, elapsed, live, last }) {
    const { totals: t, burn, run } = model;
    this.put("elapsed", clock(elapsed), lastText(last));
    if (!run) return;
    setText(this.cells.phase.label, live ? "Phase" : "Result");
    const exit = run.exit_code ? `exit status ${run.exit_code}` : run.signal;
    if (live) this.put("phase", ...phaseNow(model));
    else this.put("phase", outcome(run), exit || (model.phases.length ? plural(model.phases.length, "phase") : ""));
    const ended = t.ended; // what the percentage counts
    if (t.percent !== null) this.put("complete", `${t.percent}%`, `${ended} of ${plural(t.agents, "agent")}`);
    else if (model.empty) this.put("complete", DASH, live ? "no plan yet" : "");
    else this.put("complete", `${ended} done`, `${t.agents} seen`);
    this.put("active", String(t.running), t.queued ? `${t.running === 1 ? "agent" : "agents"}, ${t.queued} queued` : t.running === 1 ? "agent" : "agents");
    this.put("tokens", compact(t.tokens), burn && t.tokens !== 0 ? burnText(burn, live) : "");
    this.put("tools", compact(t.tool_uses), t.tool_errors ? `${compact(t.tool_errors)} failed` : "");
    const { number, words } = counted(t);
    setShown(this.cells.problems.cell, number > 0);
    this.put("problems", String(number), words);
  }
}

// burnText gives the rate: of the last half minute, at the end the mean.
export function burnText(burn, live) {
  if (!live) return `mean ${perMinute(burn.mean)}`;
  return `${burn.at_least ? "at least " : ""}${perMinute(burn.per_min)}`;
}
