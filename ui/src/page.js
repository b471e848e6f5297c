// The page: one model, one view state, one loop that draws when something changed.

import { clock, runName } from "./format.js";
import { ServerClock } from "./clock.js";
import { newView, pin } from "./view.js";
import { Hues } from "./hues.js";
import { Model } from "./model.js";
import { Stream } from "./stream.js";
import { setAttr, setShown, setText } from "./dom.js";
import { recall, remember, wireTheme } from "./theme.js";
import { Header, NOTE_MS, homeOf, outcome, title } from "./header.js";
import { Beat, paceOf } from "./beat.js";
import { Answer } from "./answer.js";
import { LastRun } from "./last.js";
import { Summary } from "./summary.js";
import { Address } from "./address.js";
import { Lens } from "./lens.js";
import { Strip } from "./strip.js";
import { Timeline } from "./timeline.js";
import { Active, BurnChart, Problems } from "./cards.js";
import { Detail } from "./detail.js";
import { Filters } from "./filters.js";
import { Tabs } from "./tabs.js";
import { Playback } from "./playback.js";
import { joinLog } from "./record.js";
import { LogFile, sourceOf, wireDrop } from "./logfile.js";
import { NEED_LOG, newPanels } from "./panels.js";
import { TerminalView } from "./terminal.js";
import { actionFor, fillHelp } from "./keys.js";
import { Moves } from "./moves.js";

const SLOW_DRAW_MS = 900; // the strip, the chart and the tables, which cost more: with a beat a second, in each
const REPLAY_DRAW_MS = 100; // the same while a replay plays
const JOIN_REST = 12; // joining and the tables may take a twelfth of the time
const MOST_SAMPLED = 5000; // agents of which the readings are asked for before a replay wants them
const NARROW = "(max-width: 760px)";

export class Page {
  // source opens what stands in for an EventSource where the page has no server.
  constructor(url, source) {
    this.model = new Model();
    this.clock = new ServerClock();
    this.hues = new Hues();
    this.lastEvent = 0; // client clock
    this.away = 0; // the line reached when the connection was lost
    this.beatAt = null;
    this.beats = new Beat(() => this.went());
    this.slowDrawn = 0;
    this.slowTook = 0; // ms
    this.putOff = false; // to the next frame
    this.bare = recall("keys", "on") === "on";
    const find = (id) => document.getElementById(id);
    this.find = find;
    this.view = newView();
    this.address = new Address((view) => this.restore(view));
    Object.assign(this.view, this.address.read());
    this.playback = new Playback(this);
    this.lens = new Lens(this.view, { moment: () => this.playback.moment(), held: () => this.setFollow(false), changed: () => this.changed() });
    this.moves = new Moves(this);
    const open = (span) => this.moves.openSpan(span);
    this.header = new Header(find, { retry: () => this.stream.retry() });
    this.summary = new Summary(find);
    const home = homeOf(location);
    this.header.leadHome(home);
    this.lastRun = new LastRun(find, { home });
    this.last = null; // the run before this one
    this.samples = new Answer("samples", { changed: () => this.rearranged() });
    this.strip = new Strip(find("strip"), { lens: this.lens, seek: (at) => this.playback.seek(at) });
    this.timeline = new Timeline(find, {
      view: this.view,
      say: (words) => setText(find("say"), words),
      select: (key) => this.select(key),
      toggle: (row) => this.moves.toggle(row),
      touched: () => this.setFollow(false),
      redraw: () => this.changed(),
      lens: this.lens,
      fitRow: (row) => this.moves.fit(row.key),
    });
    this.problems = new Problems(find, { open });
    this.burn = new BurnChart(find);
    this.active = new Active(find, { open });
    this.detail = new Detail(find, { select: (key) => this.select(key) });
    this.filters = new Filters(find, { view: this.view, changed: () => this.rearranged(), next: (by, how) => this.moves.nextMatch(by, how) });
    this.tabs = new Tabs(find, { show: (name) => this.show(name) });
    this.log = new LogFile({ changed: () => this.rearranged(), say: (words) => this.say(words), source: sourceOf(location) });
    this.terminal = new TerminalView(find, { changed: () => this.changed() });
    wireDrop(find, (files) => this.log.open(files));
    this.panels = newPanels(find, {
      view: this.view, open, select: (key) => this.select(key), openPhase: (name) => this.moves.openPhase(name), changed: () => this.rearranged(), say: (words) => this.say(words),
    });
    this.wire();
    this.resize();
    this.stream = new Stream({
      url,
      open: source,
      onDelta: (delta) => this.take(delta),
      onLast: (last) => {
        this.last = last;
        this.rearranged();
      },
      onState: (stream) => this.connected(stream),
    });
    this.changed();
  }

  wire() {
    const { find } = this;
    const acts = { follow: "follow", "path-on": "path", "terminal-on": "terminal", "hide-done": "hide", "help-open": "help", pause: "pause", replay: "replay" };
    for (const [id, act] of Object.entries(acts)) find(id).addEventListener("click", () => this.act(act));
    const bare = find("bare-keys");
    bare.checked = this.bare;
    bare.addEventListener("change", () => {
      this.bare = bare.checked;
      remember("keys", this.bare ? "on" : "off");
    });
    const roomy = find("comfortable");
    roomy.checked = this.timeline.comfortable = recall("rows", "dense") === "comfortable";
    roomy.addEventListener("change", () => {
      this.timeline.comfortable = roomy.checked;
      remember("rows", roomy.checked ? "comfortable" : "dense");
      this.resize();
    });
    addEventListener("keydown", (event) => {
      const at = event.target;
      if (find("help").open) return; // the dialog has its own keys
      const typing = at.matches?.("input:not([type=checkbox], [type=range]), textarea, select");
      const control = at.closest?.("button, input, select, summary, a") != null;
      const inGrid = at.closest?.("#scroll") != null || (at === document.body && !this.narrow);
      const act = actionFor(event, { typing, control, inGrid, bare: this.bare });
      if (act && this.act(act, event) !== false) event.preventDefault();
    });
    const sizes = new ResizeObserver(() => this.resize());
    sizes.observe(document.body);
    sizes.observe(find("ticks")); // a scroll bar that comes takes from its width
    document.addEventListener("visibilitychange", () => {
      this.slowDrawn = 0;
      this.beat();
    });
    wireTheme(find("theme"), () => this.changed());
  }

  // take folds nothing: it puts a delta into the model. Drawing waits for a frame,
  // except for the first one, which whoever waits for the page waits for.
  take(delta) {
    if (delta.now_ms) this.clock.sample(delta.now_ms);
    if (this.playback.still) {
      if (!this.playback.held.add(delta, this.model.rev)) return false;
      this.changed();
      return true;
    }
    return this.absorb(delta);
  }

  absorb(delta) {
    const before = this.model.rev;
    const first = this.model.version === 0;
    if (!this.model.apply(delta)) return false;
    this.hues.learn(this.model.phases.map((p) => p.name));
    const client = Date.now();
    if (first) this.beatAt = null;
    if (first) this.lastEvent = client - Math.max(0, this.clock.now() - this.model.lastHeard);
    else if (this.model.rev > before) this.lastEvent = client;
    const says = title(this.model);
    if (document.title !== says) document.title = says;
    this.announce();
    this.ask();
    if (!first) this.changed();
    else {
      if (this.view.replay !== null) this.playback.stand();
      this.draw();
      if (this.view.selected && !this.playback.moment().live) this.timeline.reveal(this.view.selected, { focus: false });
      setAttr(document.documentElement, "data-caught-up", "true");
    }
    return true;
  }

  // ask has the server told what the page will want to show: at once when the run
  // ends, as the server goes soon after that.
  ask() {
    const { ended } = this.model;
    if (this.view.replay !== null || (ended && this.model.agents.size <= MOST_SAMPLED)) this.samples.want(ended ? "the run" : String(this.model.rev));
  }

  connected(stream) {
    if (stream.state === "ended") {
      if (this.playback.still) this.playback.held.closed = true;
      else this.model.close();
      if (this.model.run) this.ask();
    }
    if (stream.state === "offline") {
      this.clock.hold();
      if (!this.away) this.away = this.model.rev;
    } else if (stream.state === "live" && this.away) {
      this.header.caughtUp(Math.max(0, this.model.rev - this.away), Date.now());
      this.away = 0;
    }
    this.beat();
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

  // say shows a few words for a moment, and has them read out.
  say(words) {
    this.header.says(words, Date.now());
    setText(this.find("say"), words);
    setTimeout(() => this.changed(), NOTE_MS + 50);
    this.changed();
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

  // beat lets the clocks go on. Between two beats only what events changed is drawn:
  // now gives the server's clock as it stood at the last one.
  beat() {
    this.beatAt = null;
    this.changed();
  }

  now() {
    return (this.beatAt ??= this.clock.now());
  }

  // rearranged is changed where what the tables show is another.
  rearranged() {
    this.slowDrawn = 0;
    this.changed();
  }

  // frame is the moment that is drawn: everything the parts need, computed once.
  frame() {
    const moment = this.playback.moment();
    const { replaying } = moment;
    const model = this.playback.modelAt(moment);
    const { last } = this;
    const domain = this.lens.shown();
    const [from, to] = domain ?? [0, moment.reach];
    return {
      ...moment, model, last, stretch: Math.max(moment.reach, last?.wall_ms || 0), record: () => this.record(model, replaying ? moment.now : Infinity), log: this.log, whole: this.model, domain, hues: this.hues, view: this.view, tab: this.view.tab,
      narrow: this.narrow, width: this.stripWidth, paused: this.playback.paused, held: this.playback.held.count(this.model.rev), connection: this.stream,
      clientNow: Date.now(), lastEvent: this.lastEvent, caughtUp: this.model.version > 0, pace: paceOf(to - from, this.timeline.width, moment.live),
      frozen: !moment.live || this.playback.paused || (replaying ? !this.playback.transport.playing : this.stream.state === "offline"),
    };
  }

  // record gives the tool calls of the run, from the state and the log.
  // What has only grown a little is not joined more often than the work it is allows.
  record(model, until) {
    const sign = [model.version, this.log.version, until].join(" ");
    const began = performance.now();
    const grown = this.joinedModel === model && this.joinedLog === this.log.version && until === Infinity;
    if (sign === this.joinedOf || (grown && !model.ended && began < this.joinAgain)) return this.joined;
    [this.joinedOf, this.joinedModel, this.joinedLog] = [sign, model, this.log.version];
    this.joined = joinLog(this.log.log, model, until);
    this.joinAgain = began + (performance.now() - began) * JOIN_REST;
    return this.joined;
  }

  draw() {
    if (!this.stream) return;
    this.timeline.measure();
    const before = this.beatAt;
    const frame = this.frame();
    const beat = this.beatAt !== before; // the clocks went on
    const { model, live, replaying } = frame;
    if ((NEED_LOG.has(frame.tab) || this.timeline.opened) && this.model.run) this.log.want(!this.model.ended);
    this.tabs.draw(frame);
    this.playback.transport.draw(frame);
    this.header.draw(frame);
    this.summary.draw(frame);
    this.strip.drawLens(frame);
    if (frame.tab === "timeline") this.timeline.draw({ ...frame });
    else this.timeline.arrange(frame);
    this.terminal.draw(frame);
    this.filters.draw(frame, this.timeline.plan.hits);
    this.problems.draw(frame);
    this.detail.draw(frame);
    this.active.draw(frame);
    this.lastRun.draw(frame);
    if (model.run && this.burn.draw(frame)) this.slowDrawn = 0;
    const grown = this.slowVersion !== model.version || live || replaying || this.slowTab !== frame.tab;
    const pause = Math.max(replaying ? REPLAY_DRAW_MS : SLOW_DRAW_MS, this.slowTook * JOIN_REST);
    const due = this.slowDrawn === 0 || this.slowTab !== frame.tab || !(live || replaying) || frame.clientNow - this.slowDrawn >= pause;
    if (grown && due && beat && this.slowDrawn !== 0 && !this.putOff) {
      this.putOff = true; // with all clocks it would be too much for one frame
      this.changed();
    } else if (this.slowDrawn === 0 || (grown && due)) {
      this.putOff = false;
      const began = performance.now();
      this.slowDrawn = frame.clientNow;
      this.slowVersion = model.version;
      this.slowTab = frame.tab;
      this.strip.draw(frame);
      this.burn.drawLine(frame);
      if (model.run) this.panels[frame.tab]?.draw(frame);
      this.slowTook = performance.now() - began;
    } else if (grown && !this.beats.pace && !this.late) { // the last of a replay's moments is drawn too
      this.late = setTimeout(() => {
        this.late = 0;
        this.changed();
      }, pause);
    }
    this.drawButtons(frame);
    if (!this.playback.transport.playing) this.address.note(this.view);
    this.tick(frame);
  }

  drawButtons({ whole, model, live, replaying, tab }) {
    const { find, view } = this;
    const running = whole.run !== null && !whole.ended;
    setShown(find("pause"), running && !replaying);
    setAttr(find("pause"), "aria-pressed", this.playback.paused);
    setShown(find("replay"), whole.run !== null && !running && !replaying && !whole.empty);
    setAttr(find("problems"), "aria-live", replaying ? "off" : null); // the past is no news
    setAttr(find("terminal-on"), "aria-pressed", view.terminal);
    setAttr(find("follow"), "aria-pressed", view.follow);
    setShown(find("follow"), live && tab === "timeline");
    setAttr(find("path-on"), "aria-pressed", view.path);
    setShown(find("path-on"), model.path.length > 0 && !this.narrow && tab === "timeline");
  }

  // tick keeps the clocks going while there is something that grows, or a line
  // that can come back.
  tick(frame) {
    const ended = this.model.ended && this.stream.state !== "offline";
    this.beats.keep(document.hidden || ended ? 0 : frame.pace, this.clock.now() - frame.start);
  }

  went() {
    if (document.hidden) return this.beats.keep(0);
    this.stream.check();
    return this.beat();
  }

  resize() {
    const was = [this.narrow, this.stripWidth].join();
    this.narrow = matchMedia(NARROW).matches;
    this.stripWidth = this.find("strip").clientWidth;
    if (this.timeline.resize(this.narrow) || was !== [this.narrow, this.stripWidth].join()) this.slowDrawn = 0;
    this.changed();
  }

  // restore takes the view that an address has.
  restore(view) {
    const { changes } = this.view;
    Object.assign(this.view, view, { changes: changes + 1 });
    this.playback.transport.stop();
    if (view.replay !== null) this.playback.stand();
    else this.playback.move();
    this.filters.restore();
    this.moves.go(view.selected);
    this.rearranged();
  }

  select(key) {
    this.view.selected = key;
    this.changed();
  }

  show(tab) {
    this.view.tab = tab;
    this.changed();
  }

  setFollow(on) {
    if (this.view.follow === on) return;
    this.lens.shown(); // what is zoomed stays where it was
    this.view.follow = on;
    this.changed();
  }

  // act does what a key or a button asks for; false where it is not for this page.
  act(name, event) {
    const { view } = this;
    switch (name) {
      case "find": return this.filters.focus();
      case "hide":
        view.hideDone = !view.hideDone;
        return this.rearranged();
      case "path":
        view.path = !view.path;
        return this.changed();
      case "terminal":
        view.terminal = !view.terminal;
        return this.rearranged();
      case "follow": return this.setFollow(!view.follow);
      case "help":
        fillHelp(this.find("help-keys"));
        return this.find("help").showModal();
      case "pause": return this.playback.pause();
      case "replay": return view.replay === null ? this.playback.startReplay() : this.playback.leaveReplay();
      case "previousEvent": case "nextEvent": return view.replay === null ? this.moves.stepCall(name === "nextEvent" ? 1 : -1) : this.playback.stepEvent(name === "nextEvent" ? 1 : -1);
      case "tab": return this.show(this.tabs.tabs[event.key - 1].name);
      case "copy":
        this.address.copy(view).then((done) => this.say(done ? "Link copied" : "The link is in the address bar"));
        return undefined;
      case "pin":
        if (!view.selected.startsWith("s:")) return undefined;
        pin(view, view.selected);
        return this.changed();
      case "escape": return this.escape();
    }
    return this.moves.act(name);
  }

  escape() {
    if (this.filters.clear()) return this.rearranged();
    if (this.view.replay !== null) return this.playback.leaveReplay();
    if (this.view.area) {
      this.view.area = null;
      return this.changed();
    }
    return this.select("");
  }
}
