// Pause and replay: the view stands still, or goes through the past, while what
// arrives is held.

import { setText } from "./dom.js";
import { extent } from "./axis.js";
import { Held } from "./held.js";
import { Past } from "./past.js";
import { Transport } from "./transport.js";

export class Playback {
  // page has the model, the view, the server's clock, and absorb for what was held.
  constructor(page) {
    this.page = page;
    this.held = new Held();
    this.paused = false;
    this.stillAt = 0; // the server's clock when the view came to stand still
    this.transport = new Transport(page.find, { seek: (at) => this.seek(at), leave: () => this.leaveReplay(), state: () => page.changed(), next: (at) => this.nextEvent(at) });
  }

  // still tells whether the view stands still: what arrives is held until it moves
  // again.
  get still() {
    return (this.paused || this.page.view.replay !== null) && this.page.model.run !== null;
  }

  // stand stops the view's clock; move lets it go, with all that was held.
  stand() {
    if (!this.stillAt) this.stillAt = this.page.clock.now();
    if (this.page.model.run) this.page.ask();
    this.page.changed();
  }

  move() {
    if (this.still) return;
    this.stillAt = 0;
    const { delta, closed } = this.held.take();
    if (delta) this.page.absorb(delta);
    if (closed) this.page.model.close();
    this.page.changed();
  }

  pause() {
    if (this.page.view.replay !== null) return this.transport.toggle();
    if (this.page.model.ended) return this.startReplay();
    this.paused = !this.paused;
    if (this.paused) this.stand();
    else this.move();
    return undefined;
  }

  startReplay() {
    const { elapsed } = this.moment();
    if (!this.page.model.run || this.page.model.empty || !(elapsed > 0)) return;
    this.page.view.replay = 0;
    this.stand();
    this.transport.know(0, elapsed);
    this.transport.play();
    setText(this.page.find("say"), "Replay");
  }

  leaveReplay() {
    this.transport.stop();
    this.page.view.replay = null;
    this.past = null;
    this.move();
    this.page.changed();
  }

  // seek goes to a moment of the replay.
  seek(at) {
    if (this.page.view.replay === null) return;
    this.page.view.replay = Math.max(0, Math.min(this.moment().length, at));
    this.transport.know(this.page.view.replay, this.moment().length);
    this.page.changed();
  }

  // moment gives the run's clock as it is drawn: now (Unix ms), elapsed, how far
  // the axis reaches, how long the run is that can be replayed.
  moment() {
    const { model, view } = this.page;
    const { run } = model;
    const live = run !== null && !model.ended;
    const start = run?.start_ms ?? 0;
    const now = live || !run ? this.stillAt || this.page.now() : run.end_ms || start + (run.wall_ms ?? 0);
    const length = !run || !start ? 0 : live ? Math.max(0, now - start) : (run.wall_ms ?? Math.max(0, now - start));
    const reach = extent(length, live);
    const replaying = view.replay !== null && run !== null;
    if (!replaying) return { live, start, now, elapsed: length, length, reach, replaying };
    const elapsed = Math.min(view.replay, length);
    return { live: live || elapsed < length, start, now: start + elapsed, elapsed, length, reach, replaying };
  }

  // modelAt is the model at the moment that is drawn.
  modelAt({ replaying, elapsed, length, now }) {
    if (!replaying || elapsed >= length) return this.page.model;
    const { model, samples } = this.page;
    const of = `${model.version} ${samples.version}`;
    if (this.past?.of !== of) {
      this.past = new Past(model, samples.value);
      this.past.of = of;
    }
    return this.past.at(now);
  }

  // nextEvent gives when something next began or ended after a moment, or the
  // terminal showed more; null where nothing does. Both in ms since the run's start.
  nextEvent(at) {
    const { start } = this.moment();
    if (!this.past) return at;
    const moment = this.past.step(start + at, 1);
    const shown = this.page.view.terminal ? this.page.terminal.nextAt(at, start) : null;
    const times = [moment === null ? null : moment - start, shown].filter((t) => t !== null);
    return times.length ? Math.min(...times) : null;
  }

  // stepEvent goes to where something began or ended, of the selection if there is
  // one.
  stepEvent(by) {
    const moment = this.moment();
    if (!moment.replaying) return false;
    this.transport.stop();
    this.modelAt({ ...moment, elapsed: 0, length: 1 }); // the past, also at its end
    const at = this.past.step(moment.now, by, this.page.view.selected.startsWith("s:") ? this.page.view.selected.slice(2) : "");
    if (at !== null) this.seek(at - moment.start);
    return undefined;
  }
}
