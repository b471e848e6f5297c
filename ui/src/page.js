// The page: one model, one view state, one loop that draws when something changed.

import { clock, runName } from "./format.js";
import { ServerClock } from "./clock.js";
import { Hues } from "./hues.js";
import { Model } from "./model.js";
import { phaseKey, spanKey } from "./layout.js";
import { Stream } from "./stream.js";
import { setAttr, setShown, setText } from "./dom.js";
import { recall, remember, wireTheme } from "./theme.js";
import { Header, outcome, title } from "./header.js";
import { Summary } from "./summary.js";
import { Strip } from "./strip.js";
import { Timeline } from "./timeline.js";
import { Active, BurnChart, Problems } from "./cards.js";
import { Detail } from "./detail.js";
import { actionFor, fillHelp } from "./keys.js";

const TICK_MS = 250; // clocks and growing bars
const SLOW_DRAW_MS = 500; // the strip and the chart, which cost more
const NARROW = "(max-width: 760px)";

export class Page {
  constructor(url) {
    this.model = new Model();
    this.clock = new ServerClock();
    this.hues = new Hues();
    this.lastEvent = 0; // client clock
    this.away = 0; // the line reached when the connection was lost
    this.slowDrawn = 0;
    // What the user chose. changes counts what the layout depends on.
    this.view = { selected: "", collapsed: new Map(), hideDone: false, find: "", follow: true, path: true, changes: 0 };
    this.bare = recall("keys", "on") === "on";
    const find = (id) => document.getElementById(id);
    this.find = find;
    const open = (span) => this.openSpan(span);
    this.header = new Header(find, { retry: () => this.stream.retry() });
    this.summary = new Summary(find);
    this.strip = new Strip(find("strip"));
    this.timeline = new Timeline(find, {
      select: (key) => this.select(key),
      toggle: (row) => this.toggle(row),
      touched: () => this.setFollow(false),
      redraw: () => this.changed(),
    });
    this.problems = new Problems(find, { open });
    this.burn = new BurnChart(find);
    this.active = new Active(find, { open });
    this.detail = new Detail(find);
    this.wire();
    this.resize();
    this.stream = new Stream({
      url,
      onDelta: (delta) => this.take(delta),
      onState: (stream) => this.connected(stream),
    });
    this.changed();
  }

  wire() {
    const { find } = this;
    find("follow").addEventListener("click", () => this.act("follow"));
    find("path-on").addEventListener("click", () => this.act("path"));
    find("hide-done").addEventListener("click", () => this.act("hide"));
    find("help-open").addEventListener("click", () => this.act("help"));
    find("find").addEventListener("input", (event) => {
      this.view.find = event.target.value;
      this.changed();
    });
    const bare = find("bare-keys");
    bare.checked = this.bare;
    bare.addEventListener("change", () => {
      this.bare = bare.checked;
      remember("keys", this.bare ? "on" : "off");
    });
    fillHelp(find("help-keys"));
    addEventListener("keydown", (event) => {
      const at = event.target;
      if (find("help").open) return; // the dialog has its own keys
      const typing = at.matches?.("input:not([type=checkbox]), textarea, select");
      const inGrid = at.closest?.(".rows") != null || (at === document.body && !this.narrow);
      const act = actionFor(event, { typing, inGrid, bare: this.bare });
      if (act && this.act(act) !== false) event.preventDefault();
    });
    const sizes = new ResizeObserver(() => this.resize());
    sizes.observe(document.body);
    sizes.observe(find("ticks")); // a scroll bar that comes takes from its width
    document.addEventListener("visibilitychange", () => {
      this.slowDrawn = 0;
      this.changed();
    });
    wireTheme(find("theme"), () => this.changed());
  }

  // take folds nothing: it puts a delta into the model. Drawing waits for a frame,
  // except for the first one, which whoever waits for the page waits for.
  take(delta) {
    const before = this.model.rev;
    const first = this.model.version === 0;
    if (delta.now_ms) this.clock.sample(delta.now_ms);
    if (!this.model.apply(delta)) return false;
    this.hues.learn(this.model.phases.map((p) => p.name));
    const client = Date.now();
    if (first) this.lastEvent = client - Math.max(0, this.clock.now() - this.model.lastHeard);
    else if (this.model.rev > before) this.lastEvent = client;
    const says = title(this.model);
    if (document.title !== says) document.title = says;
    this.announce();
    if (first) {
      this.draw();
      setAttr(document.documentElement, "data-caught-up", "true");
    } else this.changed();
    return true;
  }

  connected(stream) {
    if (stream.state === "ended") this.model.close();
    if (stream.state === "offline") {
      this.clock.hold();
      if (!this.away) this.away = this.model.rev;
    } else if (stream.state === "live" && this.away) {
      this.header.caughtUp(Math.max(0, this.model.rev - this.away), Date.now());
      this.away = 0;
    }
    this.changed();
  }

  // announce tells those who hear the page of what they cannot see: a phase that
  // began, the end of the run.
  announce() {
    const { model } = this;
    const open = model.phases.filter((p) => p.state === "running").map((p) => p.name).join("\n");
    const now = model.ended ? model.run.status : open;
    if (now === this.announced) return;
    const was = this.announced;
    this.announced = now;
    if (was === undefined || !now) return;
    const says = model.ended ? `${runName(model.run.run_id)}: ${outcome(model.run)} after ${clock(model.run.wall_ms ?? 0)}` : `Phase: ${now.replaceAll("_", " ").replaceAll("\n", ", ")}`;
    setText(this.find("say"), says);
  }

  // changed asks for one drawing in the next frame.
  changed() {
    if (this.asked || document.hidden) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.draw();
    });
  }

  // frame is the moment that is drawn: everything the parts need, computed once.
  frame() {
    const { model } = this;
    const { run } = model;
    const live = run !== null && !model.ended;
    const start = run?.start_ms ?? 0;
    const now = live || !run ? this.clock.now() : run.end_ms || start + (run.wall_ms ?? 0);
    const elapsed = !run || !start ? 0 : live ? Math.max(0, now - start) : (run.wall_ms ?? Math.max(0, now - start));
    return {
      model, live, start, now, elapsed, hues: this.hues, view: this.view, narrow: this.narrow,
      connection: this.stream, clientNow: Date.now(), lastEvent: this.lastEvent, caughtUp: model.version > 0,
      frozen: !live || this.stream.state === "offline",
    };
  }

  draw() {
    if (!this.stream) return;
    const frame = this.frame();
    this.header.draw(frame);
    this.summary.draw(frame);
    this.timeline.draw(frame);
    this.problems.draw(frame);
    this.detail.draw(frame);
    this.active.draw(frame);
    if (frame.model.run) this.burn.draw(frame);
    const grown = this.slowVersion !== this.model.version || frame.live;
    if (this.slowDrawn === 0 || (grown && (!frame.live || frame.clientNow - this.slowDrawn >= SLOW_DRAW_MS))) {
      this.slowDrawn = frame.clientNow;
      this.slowVersion = this.model.version;
      this.strip.draw({ ...frame, width: this.stripWidth });
      this.burn.drawLine(frame);
    }
    setAttr(this.find("follow"), "aria-pressed", this.view.follow);
    setShown(this.find("follow"), frame.live);
    setAttr(this.find("path-on"), "aria-pressed", this.view.path);
    setShown(this.find("path-on"), frame.model.path.length > 0 && !this.narrow);
    setAttr(this.find("hide-done"), "aria-pressed", this.view.hideDone);
    this.tick(frame);
  }

  // tick keeps the clocks going while there is something that grows, or a line
  // that can come back.
  tick(frame) {
    const wanted = !document.hidden && !(frame.model.ended && this.stream.state !== "offline");
    if (wanted && !this.timer) {
      this.timer = setInterval(() => {
        if (document.hidden) this.tick(frame);
        else {
          this.stream.check();
          this.changed();
        }
      }, TICK_MS);
    } else if (!wanted && this.timer) {
      clearInterval(this.timer);
      this.timer = 0;
    }
  }

  resize() {
    this.narrow = matchMedia(NARROW).matches;
    this.stripWidth = this.find("strip").clientWidth;
    this.timeline.resize(this.narrow);
    this.slowDrawn = 0;
    this.changed();
  }

  select(key) {
    this.view.selected = key;
    this.changed();
  }

  toggle(row) {
    this.view.collapsed.set(row.key, row.expanded);
    this.view.changes++;
    this.changed();
  }

  setFollow(on) {
    if (this.view.follow === on) return;
    this.view.follow = on;
    this.changed();
  }

  // openSpan selects a span from elsewhere, opens what hides it and goes there. A
  // span without a row is shown by its agent's row, where it has one.
  openSpan(id) {
    const span = this.model.spans.get(id);
    if (!span) return;
    const shown = this.model.rows.has(id) || !span.agent ? span : (this.model.spans.get(span.agent) ?? span);
    for (const key of [phaseKey(shown.phase ?? ""), spanKey(shown.agent ?? "")]) this.view.collapsed.set(key, false);
    this.view.changes++;
    this.setFollow(false);
    this.go(spanKey(id), spanKey(shown.id));
  }

  // go selects a key and shows the row that stands for it.
  go(key, row = key) {
    if (!key) return;
    this.view.selected = key;
    this.timeline.arrange(this.frame());
    this.timeline.reveal(row);
    this.changed();
  }

  act(name) {
    const { view, timeline } = this;
    const move = (by) => {
      this.setFollow(false);
      this.go(timeline.step(view.selected, by));
    };
    switch (name) {
      case "down": return move(1);
      case "up": return move(-1);
      case "pageDown": return move(timeline.pageRows);
      case "pageUp": return move(-timeline.pageRows);
      case "first": return move(-Infinity);
      case "last":
        move(Infinity);
        return this.setFollow(true);
      case "open": case "close": return this.fold(name === "open");
      case "nextPhase": case "previousPhase": return this.go(timeline.nextPhase(view.selected, name === "nextPhase" ? 1 : -1));
      case "nextProblem": case "previousProblem":
        return this.openSpan(this.problems.next(view.selected.slice(2), name === "nextProblem" ? 1 : -1));
      case "find": return this.find("find").focus();
      case "hide":
        view.hideDone = !view.hideDone;
        return this.changed();
      case "path":
        view.path = !view.path;
        return this.changed();
      case "follow": return this.setFollow(!view.follow);
      case "help": return this.find("help").showModal();
      case "escape": return this.escape();
    }
    return false;
  }

  // fold is what Right and Left do in a tree.
  fold(open) {
    const row = this.timeline.rowOf(this.view.selected);
    if (!row) return;
    if (row.expandable && row.expanded !== open) this.toggle(row);
    else if (open && row.expandable) this.go(this.timeline.step(row.key, 1));
    else if (!open && row.parent) this.go(row.parent);
  }

  escape() {
    const box = this.find("find");
    if (this.view.find || document.activeElement === box) {
      box.value = "";
      box.blur();
      this.view.find = "";
    } else this.view.selected = "";
    this.changed();
  }
}
