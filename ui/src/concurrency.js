// How many agents were open when, for the strip. Pure.

// concurrency counts open spans in bins of [from, to), apart by hue:
// {max, layers: [{hue, counts}]}, layers in order of first appearance.
export function concurrency(spans, { from, to, now, bins, hueOf }) {
  const layers = new Map();
  const width = (to - from) / bins;
  if (!(width > 0)) return { max: 0, layers: [] };
  const mark = (steps, start, end) => {
    const a = Math.floor((start - from) / width);
    const b = Math.max(a + 1, Math.floor((end - from) / width)); // the shortest one is seen too
    if (b <= 0 || a >= bins) return;
    steps[Math.max(0, a)]++;
    steps[Math.min(bins, b)]--;
  };
  for (const span of spans) {
    if (!span.start_ms) continue;
    const hue = hueOf(span.phase ?? "");
    if (!layers.has(hue)) layers.set(hue, new Int32Array(bins + 1));
    const steps = layers.get(hue);
    mark(steps, span.start_ms, span.end_ms || now);
    for (const past of span.earlier ?? []) mark(steps, past.start_ms, past.end_ms);
  }
  const sums = new Int32Array(bins);
  const out = [];
  for (const [hue, steps] of layers) {
    const counts = new Int32Array(bins);
    for (let i = 0, n = 0; i < bins; i++) {
      n += steps[i];
      counts[i] = n;
      sums[i] += n;
    }
    out.push({ hue, counts });
  }
  return { max: sums.reduce((a, b) => Math.max(a, b), 0), layers: out };
}

// runs turns counts into the corners of a step line, so that a thousand bins cost
// a path as long as there are changes: [[bin, base, height], ...].
export function runs(counts, base) {
  const out = [];
  for (let i = 0; i < counts.length; i++) {
    const last = out[out.length - 1];
    if (last && last[1] === base[i] && last[2] === counts[i]) continue;
    out.push([i, base[i], counts[i]]);
  }
  return out;
}
