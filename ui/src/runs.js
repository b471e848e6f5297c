// The page of many runs. The address says what it shows: #a=ID&b=ID compares two.

import { compact, moment, plural, stopwatch } from "./format.js";
import { el, keep, setAttr, setShown, setText } from "./dom.js";
import { glyph, setGlyph } from "./glyph.js";
import { wireTheme } from "./theme.js";
import { drawTrend } from "./trend.js";
import { runLink, Sides } from "./sides.js";

const RUNS_EVERY_MS = 3000;
const REST = 10; // asking again takes a tenth of the time
const PAGE_RUNS = 200; // that are shown at once

const byID = (id) => document.getElementById(id);

// The states of a run as those of spans, which have the shapes.
const SHAPE_OF = { ok: "done", error: "error", interrupted: "cancelled", running: "running" };

async function fetched(url) {
  const answer = await fetch(url);
  const text = await answer.text();
  if (!answer.ok) throw new Error(text.trim());
  return text;
}

class Runs {
  constructor() {
    this.rows = [];
    this.answer = ""; // as it came, so that the same one is not drawn again
    this.most = PAGE_RUNS;
    this.picked = [];
    this.sides = new Sides(() => this.compare(this.sides.last.b.run_id, this.sides.last.a.run_id));
    const head = el("tr", "", ...["Compare", "Run", "State", "Started", "Wall", "Agents", "Tokens", "Problems"].map((label, i) => {
      const th = el("th", i >= 4 ? "num" : "", label);
      setAttr(th, "scope", "col");
      return th;
    }));
    this.body = el("tbody");
    this.rest = el("span", "mut");
    this.further = el("button", "btn", "Show more");
    this.further.type = "button";
    this.further.addEventListener("click", () => {
      this.most += PAGE_RUNS;
      this.draw();
    });
    this.more = el("p", "rest", this.rest, this.further);
    byID("table").append(el("div", "tablebox", el("table", "", el("caption", "vh", "Runs, the newest first"), el("thead", "", head), this.body)), this.more);
    wireTheme(byID("theme"), () => {});
    byID("find").addEventListener("input", () => {
      this.most = PAGE_RUNS;
      this.draw();
    });
    byID("compare").addEventListener("click", () => this.compare(this.picked[0], this.picked[1]));
    addEventListener("hashchange", () => this.show());
    addEventListener("resize", () => this.sides.last && this.sides.gantt(this.sides.last));
    addEventListener("keydown", (event) => {
      if (event.key !== "/" || event.target.closest("input") || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      byID("find").focus();
    });
    this.refresh();
    this.show();
  }

  async refresh() {
    const began = performance.now();
    if (!document.hidden) {
      try {
        const answer = await fetched("runs");
        if (answer !== this.answer) {
          this.answer = answer;
          this.rows = JSON.parse(answer);
          this.draw();
        }
        this.fail("");
      } catch (error) {
        this.fail(`The list of runs could not be had: ${error.message}`);
      }
    }
    setTimeout(() => this.refresh(), Math.max(RUNS_EVERY_MS, (performance.now() - began) * REST));
  }

  fail(message) {
    setShown(byID("banner"), message !== "");
    setText(byID("banner").firstChild, message);
  }

  compare(a, b) {
    location.hash = new URLSearchParams({ a, b }).toString();
  }

  async show() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const [a, b] = [wanted.get("a"), wanted.get("b")];
    const two = Boolean(a && b);
    setShown(byID("list"), !two);
    setShown(byID("sides"), two);
    setText(byID("where"), two ? "Comparison" : "Runs");
    document.title = two ? "obsrun: comparison" : "obsrun: runs";
    if (!two) return this.draw();
    try {
      const comparison = JSON.parse(await fetched(`compare?${new URLSearchParams({ a, b })}`));
      if (location.hash.slice(1) !== wanted.toString()) return; // the user went on
      this.sides.draw(comparison);
      this.fail("");
    } catch (error) {
      this.fail(`The runs could not be compared: ${error.message}`);
    }
  }

  pick(id, on) {
    this.picked = this.picked.filter((other) => other !== id);
    if (on) this.picked = [...this.picked, id].slice(-2);
    this.draw();
  }

  draw() {
    const { rows } = this;
    const word = byID("find").value.trim().toLowerCase();
    const found = word ? rows.filter((row) => `${row.run_id} ${row.status}`.toLowerCase().includes(word)) : rows;
    setShown(byID("empty"), rows.length === 0);
    setShown(byID("table"), rows.length > 0);
    setText(byID("count"), word ? `${found.length} of ${plural(rows.length, "run")}` : plural(rows.length, "run"));
    this.drawPicked();
    for (const [id, label, of, says] of [
      ["wall", "Wall time", (row) => row.total_wall_ms, (row) => stopwatch(row.total_wall_ms)],
      ["tokens", "Tokens", (row) => row.total_tokens, (row) => compact(row.total_tokens)],
    ]) {
      drawTrend(byID(id), found, of, `${label} of ${plural(found.length, "run")}, the newest on the right`, (row) => `${row.run_id}: ${says(row)}, ${row.status}`);
      setText(byID(`${id}-last`), found.length > 0 ? says(found[0]) : "");
    }
    const shown = found.slice(0, this.most);
    keep(this.body, shown.length, () => this.line());
    shown.forEach((row, i) => this.fill(this.body.children[i], row));
    setShown(this.more, found.length > shown.length);
    setText(this.rest, `and ${plural(found.length - shown.length, "older run")}`);
  }

  drawPicked() {
    // The older one is A, whichever was chosen first.
    const place = (id) => this.rows.findIndex((row) => row.run_id === id);
    this.picked = this.picked.filter((id) => place(id) >= 0).sort((a, b) => place(b) - place(a));
    byID("compare").disabled = this.picked.length < 2;
    setText(byID("picked"), ["Choose two runs to compare them.", "Choose one more run.", this.picked.join("  \u2192  ")][this.picked.length]);
  }

  line() {
    const box = el("input");
    box.type = "checkbox";
    // Where there is no room for the columns of when and of problems, they stand below.
    const below = () => el("small", "below");
    const line = el("tr", "", el("td", "", box), el("th", "", el("span"), below()), el("td", "", glyph(), el("span"), below()), el("td"), el("td", "num"), el("td", "num"), el("td", "num"), el("td", "num"));
    setAttr(line.children[1], "scope", "row");
    box.addEventListener("change", () => this.pick(line.dataset.id, box.checked));
    return line;
  }

  fill(line, row) {
    const [pick, name, state, started, wall, agents, tokens, problems] = line.children;
    if (line.dataset.id !== row.run_id) {
      line.dataset.id = row.run_id;
      name.firstChild.replaceChildren(runLink(row.run_id));
      setAttr(pick.firstChild, "aria-label", `Compare ${row.run_id}`);
    }
    pick.firstChild.checked = this.picked.includes(row.run_id);
    setGlyph(state.firstChild, SHAPE_OF[row.status] ?? "queued");
    setText(state.children[1], row.status);
    const when = row.started_at ? moment(Date.parse(row.started_at)) : "";
    setText(started, when);
    setText(name.lastChild, when);
    setText(wall, stopwatch(row.total_wall_ms));
    setText(agents, String(row.agents_spawned));
    setText(tokens, compact(row.total_tokens));
    const bad = row.errors + row.lost;
    const wrong = bad ? [row.errors && plural(row.errors, "error"), row.lost && `${row.lost} lost`].filter(Boolean).join(", ") : "";
    setText(problems, wrong);
    setText(state.lastChild, wrong);
  }
}

new Runs();
