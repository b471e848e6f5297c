// Marks on the run's clock. Pure. Times are milliseconds since the run's start.

import { clock, stopwatch } from "./format.js";

const STEPS = [100, 200, 500, 1e3, 2e3, 5e3, 10e3, 15e3, 30e3, 60e3, 120e3, 300e3, 600e3, 900e3, 1800e3, 3600e3, 7200e3, 14400e3, 21600e3, 43200e3, 86400e3];

// ticks gives the marks between lo and hi that stand at least gap px apart on
// width px: [{at, label}].
export function ticks(lo, hi, width, gap) {
  const span = hi - lo;
  if (!(span > 0) || !(width > 0)) return [];
  const least = (span * gap) / width;
  // Tenths are for runs of a few seconds.
  const step = STEPS.find((s) => s >= least && (s >= 1000 || span < 3000)) ?? Math.ceil(least / 86400e3) * 86400e3;
  const out = [];
  for (let at = Math.ceil(lo / step) * step; at <= hi; at += step) {
    out.push({ at, label: step < 1000 ? stopwatch(at) : clock(at) });
  }
  return out;
}

// extent is how far the axis reaches: a little beyond now while the run lives, so
// that now stands at 91 %, and exactly to the end afterwards.
export function extent(elapsed, live) {
  return Math.max(live ? elapsed * 1.1 : elapsed, 1000);
}
