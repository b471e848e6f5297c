// The run before this one: how long it took, and what changed since. The figures of
// the comparison are the server's.

import { DASH, clip, clock, compact, repository, stopwatch } from "./format.js";
import { el, keep, setAttr, setClass, setShown, setText } from "./dom.js";
import { phaseLabel } from "./hues.js";

const COMMIT = 7; // characters of a commit's name that are shown

// signed writes a difference of times, in milliseconds, with its sign: +0.4 s.
export function signed(ms) {
  const size = Math.abs(ms);
  if (!(size >= 50)) return DASH; // less than what is shown of either
  return `${ms < 0 ? "\u2212" : "+"}${size < 59950 ? `${(size / 1000).toFixed(1)} s` : stopwatch(size)}`;
}

// signedCount writes a difference of counts: +12.3 k.
export const signedCount = (n) => (n ? `${n < 0 ? "\u2212" : "+"}${compact(Math.abs(n))}` : DASH);

const timeOf = (value) => (typeof value === "number" ? stopwatch(value) : DASH);

// lastRows gives the lines of the table: [{name, is, diff, sum}]. A phase that is in
// one of the runs only says so in place of a difference.
export function lastRows({ phases, totals }) {
  const rows = phases.map(({ name, in: where, values }) => {
    const wall = values.wall_ms ?? {};
    const diff = { added: "new", removed: "not any more" }[where] ?? (typeof wall.a === "number" && typeof wall.b === "number" ? signed(wall.diff) : DASH);
    return { name: phaseLabel(name), is: timeOf(wall.b), diff, sum: false };
  });
  const { total_wall_ms: wall, total_tokens: tokens } = totals;
  if (wall) rows.push({ name: "Total", is: timeOf(wall.b), diff: signed(wall.diff), sum: true });
  if (tokens && (tokens.a || tokens.b)) rows.push({ name: "Tokens", is: compact(tokens.b ?? NaN), diff: signedCount(tokens.diff), sum: true });
  return rows;
}

// versions names the two: by the commits that they are about, else the last by its id.
function versions({ b }, last) {
  if (b.source_commit && last.source_commit && b.source_repo === last.source_repo) return [b, last].map((run) => clip(run.source_commit, COMMIT).replace("\u2026", "")).join(" / ");
  return clip(last.run_id, 40);
}

export class LastRun {
  // home is the address of the list of runs, empty where there is none.
  constructor(find, { home }) {
    this.card = find("last-card");
    this.which = find("last-which");
    this.list = find("last");
    this.notes = find("last-notes");
    this.home = home;
  }

  draw({ last, model, live, replaying }) {
    const comparison = last?.comparison;
    const shown = Boolean(comparison) && model.ended && !live && !replaying;
    setShown(this.card, shown);
    if (!shown || comparison === this.drawn) return;
    this.drawn = comparison;
    setText(this.which, versions(comparison, last));
    setAttr(this.which, "title", [clip(last.run_id), clip(last.status, 20), last.source_repo ? clip(repository(last.source_repo)) : ""].filter(Boolean).join(", "));
    const rows = lastRows(comparison);
    keep(this.list, rows.length, () => el("tr", "", el("th"), el("td", "n"), el("td", "n")));
    rows.forEach(({ name, is, diff, sum }, i) => {
      const line = this.list.children[i];
      setClass(line, sum ? "sum" : "");
      setAttr(line.children[0], "scope", "row");
      [name, is, diff].forEach((text, k) => setText(line.children[k], clip(text, 80)));
    });
    const words = [last.status === "error" ? "The last run failed." : "", ...comparison.notes.map((note) => clip(note))].filter(Boolean);
    this.notes.replaceChildren(...words.map((text) => el("p", "mut rest", text)), ...this.links(comparison.b.run_id, last.run_id));
  }

  // links leads to the last run, and to both side by side, where the same server has
  // them.
  links(id, last) {
    if (!this.home) return [];
    const link = (text, href) => {
      const node = el("a", "", text);
      node.href = this.home + href;
      return node;
    };
    return [el("p", "rest", link("The last run", `runs/${encodeURIComponent(last)}/`), " \u00b7 ", link("Side by side", `#${new URLSearchParams({ a: last, b: id })}`))];
  }
}

// lastText says how long the last run took, empty where there was none.
export const lastText = (last) => (last?.wall_ms > 0 ? `last run ${clock(last.wall_ms)}` : "");
