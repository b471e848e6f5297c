// The terminal beside the timeline, on the run's clock: in a replay as it was at the
// moment, else as it is now. The emulator and the recording are loaded when the
// user opens it.

import { clock } from "./format.js";
import { setAttr, setShown, setText } from "./dom.js";
import { Cast } from "./cast.js";
import { FileTail } from "./filetail.js";
import { Screen } from "./screen.js";

const RECORDING = "terminal.cast";
const TERM_AGAIN_MS = 1000; // how often a run that goes on is asked for more
const CHUNK = 1 << 18; // characters that are written before others may work
const GLYPH = 0.602; // widths of the font's size that a character takes
const LEAST_TYPE = 11; // px of the font's size
const MOST_TYPE = 13;
const KEPT_BYTES = 8 << 20; // a recording no larger is kept for when the server is gone

// loadEmulator runs the emulator that the server has beside the page. The page's
// policy names the hash of this one script.
async function loadEmulator() {
  if (!globalThis.xterm) {
    const script = document.createElement("script");
    script.textContent = await (await fetch("terminal.js")).text();
    document.head.append(script);
    script.remove();
  }
  return globalThis.xterm.Terminal;
}

export class TerminalView {
  // changed is called when there is more to draw.
  constructor(find, { changed }) {
    this.box = find("terminal");
    this.node = find("terminal-screen");
    this.says = find("terminal-says");
    this.changed = changed;
    this.screen = new Screen(this.node);
    this.tail = new FileTail(RECORDING);
    this.cast = new Cast();
    this.state = "unread"; // reading, ready, absent, failed
    this.asked = 0;
    this.written = 0; // events that the emulator has got
    this.goal = 0; // those it is to have
  }

  // draw shows the terminal at the frame's moment, where the user opened it.
  draw(frame) {
    const { view, model, whole, replaying, live, elapsed, start } = frame;
    const open = view.terminal && model.run !== null;
    setShown(this.box, open);
    if (!open) {
      this.keepRecording(whole, frame);
      return;
    }
    this.want(live && !replaying);
    setText(this.says, this.words(frame));
    if (!this.term || !this.cast.header) return;
    const at = replaying || frame.paused ? elapsed - this.cast.behind(start) : Infinity;
    this.goTo(this.cast.until(at));
    this.fit();
  }

  words({ replaying, live, elapsed, length }) {
    switch (this.state) {
      case "absent": return "The terminal of this run was not recorded.";
      case "failed": return "The recording could not be read.";
      case "unread": case "reading": if (!this.cast.header) return "Reading the recording.";
    }
    if (this.busy) return "Going there.";
    if (replaying) return `As it was at ${clock(elapsed)} of ${clock(length)}`;
    return live ? "As it is now" : "As it was at the end";
  }

  // keepRecording reads what a page that saw the run end may be asked for later,
  // while the server is still there.
  keepRecording(model, { replaying }) {
    const live = model.run !== null && !model.ended;
    if (this.sawLive && model.ended && !replaying && !this.kept) {
      this.kept = true;
      this.want(false, KEPT_BYTES);
    }
    this.sawLive ||= live;
  }

  want(live, most = Infinity) {
    const now = Date.now();
    if (this.state === "reading") return;
    const first = this.state === "unread";
    if (!first && !(live && now - this.asked >= TERM_AGAIN_MS) && !(this.wasLive && !live)) return;
    this.wasLive = live;
    this.asked = now;
    this.reading = this.read(most);
  }

  async read(most) {
    const before = this.state;
    this.state = "reading";
    try {
      const files = before === "unread" && most < Infinity ? await (await fetch("files")).json() : null;
      if (files && !(files[RECORDING] <= most)) {
        this.state = "unread";
        return;
      }
      const added = await this.tail.more();
      if (added === null) {
        this.state = "absent";
        this.changed();
        return;
      }
      this.cast.feed(added);
      this.Terminal ??= await loadEmulator();
      if (!this.term && this.cast.header) this.reset();
      this.state = "ready";
      if (added || before !== "ready") this.changed();
    } catch {
      this.state = this.cast.header && this.term ? "ready" : "failed";
      if (this.state !== before) this.changed();
    }
  }

  reset() {
    const { cols, rows } = this.cast.header;
    this.term?.dispose();
    this.term = new this.Terminal({ cols, rows, scrollback: 0, allowProposedApi: true, logLevel: "off" });
    this.written = 0;
  }

  // goTo has the emulator take the events up to one. Backwards is from the beginning.
  goTo(goal) {
    this.goal = goal;
    if (this.busy) return;
    if (goal < this.written) this.reset();
    if (goal > this.written || this.term !== this.drawn) this.write();
  }

  async write() {
    this.busy = true;
    const { term } = this;
    while (this.written < this.goal) {
      let text = "";
      while (this.written < this.goal && text.length < CHUNK) {
        const event = this.cast.events[this.written++];
        if (event.data !== undefined) text += event.data;
        else {
          if (text) await new Promise((done) => term.write(text, done));
          text = "";
          term.resize(event.cols, event.rows);
        }
      }
      if (text) await new Promise((done) => term.write(text, done));
    }
    this.busy = false;
    this.drawn = term;
    if (this.goal < this.written) return this.goTo(this.goal); // the user went on meanwhile
    this.screen.draw(term);
    this.keepInView(term);
    this.changed();
    return undefined;
  }

  // keepInView scrolls to the line that the cursor is on, where the screen does not fit:
  // that is where something happens. Who scrolled up is left there.
  keepInView(term) {
    const { node } = this;
    if (node.scrollHeight <= node.clientHeight || (this.scrolledTo !== undefined && node.scrollTop !== this.scrolledTo)) return;
    const line = node.children[term.buffer.active.cursorY];
    if (line) node.scrollTop = Math.max(0, line.offsetTop - node.offsetTop + line.offsetHeight + 8 - node.clientHeight);
    this.scrolledTo = node.scrollTop;
  }

  // nextAt gives when after a moment of the run the terminal shows more, or null.
  nextAt(at, start) {
    if (!this.cast.header) return null;
    const behind = this.cast.behind(start);
    const event = this.cast.events[this.cast.until(at - behind)];
    return event ? event.at + behind : null;
  }

  // fit makes the letters as large as the box allows, but never so small that nobody
  // reads them: then one scrolls.
  fit() {
    const { cols, rows } = this.term;
    const sign = [cols, rows, this.box.clientWidth, this.box.clientHeight].join(" ");
    if (sign === this.fitted) return;
    this.fitted = sign;
    const room = this.box.clientHeight - this.says.offsetHeight - 28; // what stands around it
    const size = Math.max(LEAST_TYPE, Math.min(MOST_TYPE, (this.box.clientWidth - 24) / (cols * GLYPH), room / (rows * 1.2)));
    this.node.style.setProperty("min-width", `min(100%, ${cols}ch)`);
    this.node.style.setProperty("font-size", `${Math.floor(size * 4) / 4}px`);
    setAttr(this.node, "data-size", `${cols}x${rows}`);
  }
}
