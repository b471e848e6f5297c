// Token burn over time as lines by phase. Pure.

const MOST_POINTS = 400;

// points gives the rate as [ms since the run's start, tokens a minute], the last
// one at the run's last moment. Long series keep the largest value of a stretch.
export function points(burn, start) {
  const { series, step_ms: step } = burn;
  const first = burn.start_ms - start;
  const stride = Math.max(1, Math.ceil(series.length / MOST_POINTS));
  const out = [];
  for (let i = 0; i < series.length; i += stride) {
    let value = series[i];
    for (let j = i + 1; j < Math.min(i + stride, series.length); j++) value = Math.max(value, series[j]);
    out.push([first + i * step, value]);
  }
  return out;
}

// inForce gives the stretches of the clock, each with the phase that began last:
// [{name, from, to}], to of the last one is Infinity.
export function inForce(phases, start) {
  const begun = phases.filter((p) => p.start_ms).sort((a, b) => a.start_ms - b.start_ms);
  return begun.map((p, i) => ({
    name: p.name,
    from: i ? p.start_ms - start : -Infinity,
    to: i + 1 < begun.length ? begun[i + 1].start_ms - start : Infinity,
  }));
}

// split cuts a line at times: the points from..to, with those on the cuts made up
// on the straight line between their neighbours.
export function split(line, from, to) {
  const out = [];
  const between = (a, b, t) => [t, a[1] + ((b[1] - a[1]) * (t - a[0])) / (b[0] - a[0])];
  for (let i = 0; i < line.length; i++) {
    const here = line[i];
    const before = line[i - 1];
    if (before && before[0] < from && here[0] > from) out.push(between(before, here, from));
    if (before && before[0] < to && here[0] > to) {
      out.push(between(before, here, to));
      break;
    }
    if (here[0] >= from && here[0] <= to) out.push(here);
  }
  return out;
}
