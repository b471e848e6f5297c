// The transport of a replay: play, speed, seek, leave.

import { clock } from "./format.js";
import { setAttr, setShown, setText } from "./dom.js";

const SPEEDS = [1, 2, 4, 8, 16];
const IDLE_MS = 2000; // of watching without anything new, from which it can be skipped
const LEAD_MS = 400; // of watching before what comes next
const LONGEST_MS = 250; // of a frame: while the tab is hidden the replay stands

export class Transport {
  // seek goes to a moment (ms since the run's start), leave ends the replay, state
  // is called when it began or stopped to play, next gives when after a moment there
  // is something new.
  constructor(find, { seek, leave, state, next = () => null }) {
    this.box = find("transport");
    this.button = find("play");
    this.speedButton = find("speed");
    this.range = find("seek");
    this.at = find("play-at");
    this.speed = 4;
    this.playing = false;
    this.seek = seek;
    this.state = state;
    this.next = next;
    this.skipButton = find("skip-idle");
    this.skip = false; // stretches in which nothing happens
    this.skipButton.addEventListener("click", () => {
      this.skip = !this.skip;
      this.state();
    });
    this.button.addEventListener("click", () => this.toggle());
    this.speedButton.addEventListener("click", () => {
      this.speed = SPEEDS[(SPEEDS.indexOf(this.speed) + 1) % SPEEDS.length];
      this.state();
    });
    this.range.addEventListener("input", () => {
      this.stop();
      seek(Number(this.range.value));
    });
    find("leave").addEventListener("click", leave);
  }

  toggle() {
    if (this.playing) this.stop();
    else this.play();
  }

  play() {
    if (this.playing) return;
    this.playing = true;
    if (this.now >= this.length) this.seek(0); // once more from the beginning
    let last = performance.now();
    const step = (time) => {
      if (!this.playing) return;
      const at = this.skipped(this.now + Math.max(0, Math.min(LONGEST_MS, time - last)) * this.speed);
      last = time;
      if (at >= this.length) this.stop();
      this.now = Math.min(at, this.length);
      this.seek(this.now);
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
    this.state();
  }

  // skipped gives the moment to go on at: a little before what comes next, where
  // that is far and the user does not want to wait.
  skipped(at) {
    if (!this.skip) return at;
    const next = this.next(at) ?? this.length;
    return next - at > IDLE_MS * this.speed ? next - LEAD_MS * this.speed : at;
  }

  stop() {
    if (!this.playing) return;
    this.playing = false;
    this.state();
  }

  // know tells where the replay stands and how long it is, before anything is drawn.
  know(now, length) {
    this.now = now;
    this.length = length;
  }

  draw({ replaying, elapsed, length }) {
    setShown(this.box, replaying);
    if (!replaying) return;
    this.know(elapsed, length);
    setText(this.button.firstChild, this.playing ? "Pause" : "Play");
    setText(this.speedButton, `${this.speed}\u00d7`);
    setAttr(this.skipButton, "aria-pressed", this.skip);
    setAttr(this.speedButton, "aria-label", `Speed: ${this.speed} times`);
    setAttr(this.range, "max", Math.round(length));
    if (document.activeElement !== this.range || this.playing) this.range.value = String(Math.round(elapsed));
    setAttr(this.range, "aria-valuetext", `${clock(elapsed)} of ${clock(length)}`);
    setText(this.at, `${(elapsed / 1000).toFixed(1)} s of ${(length / 1000).toFixed(1)} s`);
  }
}
