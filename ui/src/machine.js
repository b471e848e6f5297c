// What the run took of the machine over time: processors and memory. Pure.

// The series of the state's resources: {field, name, unit, hue}.
const FIELDS = [
  { field: "cpu", name: "Processors", unit: "cpu", hue: "--p-lib0", area: true },
  { field: "rss_bytes", name: "Memory", unit: "memory", hue: "--p-apps", area: true },
  { field: "read_bytes_per_s", name: "Read", unit: "disk", hue: "--p-libn" },
  { field: "write_bytes_per_s", name: "Written", unit: "disk", hue: "--p-synth", dash: "5 3" },
];

// machineSeries gives {cpu (percent of one core), memory (bytes), disk (bytes a
// second)}: the series of each chart, [] where nothing was recorded. start is the
// run's, until a moment after which nothing is shown, both in Unix milliseconds.
export function machineSeries(resources, start, until = Infinity) {
  const out = { cpu: [], memory: [], disk: [] };
  if (!resources || !(resources.step_ms > 0)) return out;
  for (const { field, unit, ...look } of FIELDS) {
    const line = [];
    (resources[field] ?? []).forEach((value, i) => {
      const at = resources.start_ms + i * resources.step_ms;
      if (Number.isFinite(value) && at <= until) line.push([at - start, value]);
    });
    if (line.length) out[unit].push({ ...look, line });
  }
  return out;
}

// newest gives the newest value of a series, NaN where there is none.
export const newest = (series) => (series.length ? series[0].line[series[0].line.length - 1][1] : NaN);
