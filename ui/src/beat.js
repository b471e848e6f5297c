// The beat in which the clocks of the page go on.

const TICK_MS = 250; // clocks and growing bars
const CALM_MS = 1000; // the same where no bar can be seen to grow in a tick
const SEEN_PX = 0.5;
const AFTER_SECOND = 20; // ms

// paceOf says how often, in ms, the clocks are to go on where so many milliseconds
// are drawn on that many pixels. Drawing a busy page takes twenty milliseconds and more
// of a processor: where only clocks change, once a second. Pure.
export function paceOf(shown, width, live) {
  return live && width > 0 && (shown / width) * SEEN_PX > TICK_MS ? CALM_MS : TICK_MS;
}

// Beat calls on every pace ms.
export class Beat {
  constructor(on) {
    this.on = on;
    this.timer = 0;
    this.pace = 0; // 0: it stands still
  }

  // keep has it go on at this pace; 0 stops it. A calm beat comes when a second of the
  // run is over, of which so many milliseconds have gone by: that is when its clock
  // shows another one.
  keep(pace, elapsed) {
    if (pace === this.pace) return;
    clearInterval(this.timer); // of a timeout too
    this.pace = pace;
    if (!pace) return;
    const go = () => {
      this.timer = setInterval(this.on, pace);
    };
    if (pace === TICK_MS) return go();
    this.timer = setTimeout(() => {
      go();
      this.on();
    }, CALM_MS + AFTER_SECOND - (Math.max(0, elapsed) % CALM_MS));
  }
}
