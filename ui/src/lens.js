// What part of the run the lanes show, as the user changes it. Every change lets go
// of following: what a user looks at stays where it is.

import { around, centred, following, panned, within, zoomed } from "./domain.js";

const STEP = 1.5; // a key's zoom
const PAN = 0.15; // a key's pan, in lengths of what is shown
const FAR = 5; // times that, with Shift

export class Lens {
  // moment gives {reach, elapsed, live} of what is shown; held is called when the
  // user takes hold of the view, changed when it is to be drawn.
  constructor(view, { moment, held, changed }) {
    Object.assign(this, { view, moment, held, changed });
    this.pointer = null; // the moment under the mouse
    this.centredOn = ""; // the key that was centred last
  }

  get zoomed() {
    return this.shown() !== null;
  }

  // shown gives the domain to draw, null for the whole run. While the page follows
  // a run it goes along with it.
  shown() {
    const { view } = this;
    const { reach, elapsed, live } = this.moment();
    if (view.domain && view.follow && live) view.domain = following(view.domain, reach, elapsed);
    return within(view.domain, reach);
  }

  set(domain) {
    this.centredOn = "";
    if (domain) this.held();
    this.view.domain = domain;
    this.changed();
  }

  // zoom is at a moment: where the pointer is, else in the middle.
  zoom(factor, at = this.pointer) {
    const { reach } = this.moment();
    const [from, to] = this.shown() ?? [0, reach];
    this.set(zoomed(this.shown(), reach, factor, at ?? (from + to) / 2));
  }

  pan(share) {
    if (this.zoomed) this.set(panned(this.shown(), this.moment().reach, share));
  }

  // key does what a key asks for; stretch is [from, to] of what is selected, or
  // null.
  key(name, stretch, key) {
    const middle = stretch ? (stretch[0] + stretch[1]) / 2 : null;
    const [from, to] = this.shown() ?? [0, this.moment().reach];
    const at = this.pointer ?? (middle !== null && middle >= from && middle <= to ? middle : undefined);
    switch (name) {
      case "zoomIn": return this.zoom(STEP, at);
      case "zoomOut": return this.zoom(1 / STEP, at);
      case "zoomInFar": return this.zoom(STEP ** 3, at);
      case "zoomOutFar": return this.zoom(STEP ** -3, at);
      case "panLeft": return this.pan(-PAN);
      case "panRight": return this.pan(PAN);
      case "panLeftFar": return this.pan(-PAN * FAR);
      case "panRightFar": return this.pan(PAN * FAR);
      case "fitAll": return this.fitAll();
      case "centre": return stretch ? this.centre(stretch, key) : undefined;
    }
    return undefined;
  }

  fitAll() {
    this.set(null);
  }

  fit([from, to]) {
    this.set(around(from, to, this.moment().reach));
  }

  // centre puts a stretch in the middle; asked again for the same one it fits it.
  centre(stretch, key) {
    if (this.centredOn === key) return this.fit(stretch);
    if (this.zoomed) this.set(centred(this.shown(), this.moment().reach, (stretch[0] + stretch[1]) / 2));
    this.centredOn = key;
    return undefined;
  }
}
