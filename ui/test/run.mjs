// Runs and spans as the server tells them, for the tests. START is the run's
// start in Unix milliseconds; other times are given in seconds since then.

export const START = 1_712_534_400_000;
export const at = (seconds) => (seconds ? START + seconds * 1000 : 0);

const usage = { tokens: 0, input_tokens: 0, output_tokens: 0, cached_tokens: 0, tool_uses: 0, cost_usd: 0 };

let seq = 0;

// agent makes a span; start and end in seconds, 0 for none.
export function agent(id, phase, state, start = 0, end = 0, more = {}) {
  return {
    id, parent: "root", seq: ++seq, name: id, kind: "library-analysis", is_agent: true, phase, state,
    start_ms: at(start), end_ms: at(end), duration_ms: end ? (end - start) * 1000 : 0, attempts: start ? 1 : 0,
    ...usage, reported: false, heard_ms: (end || start) * 1000, ...more,
  };
}

export const call = (id, owner, name, state, more = {}) =>
  agent(id, "", state, 1, state === "running" ? 0 : 2, { kind: "tool", is_agent: false, agent: owner, parent: owner, name, ...more });

export const phase = (name, state, start = 0, end = 0, agents = 0, more = {}) => ({
  name, state, start_ms: at(start), end_ms: at(end), wall_ms: end ? (end - start) * 1000 : 0,
  agents, queued: 0, running: 0, ended: 0, errors: 0, stalls: 0, ...usage, ...more,
});

export const root = (more = {}) => agent("root", "", "running", 0, 0, { kind: "run", is_agent: false, seq: 0, parent: "", start_ms: START, ...more });

export const totals = (more = {}) => ({
  agents: 0, agents_spawned: 0, queued: 0, running: 0, stalled: 0, ended: 0, done: 0, failed: 0, cancelled: 0, lost: 0, percent: null,
  ...usage, analyses_written: 0, artifacts: 0, errors: 0, tool_errors: 0, stalls: 0, spans: 0, rejected_events: 0, ...more,
});

export const burn = (more = {}) => ({ per_min: 0, peak: 0, mean: 0, at_least: false, start_ms: START, step_ms: 1000, series: [], ...more });

export const info = (more = {}) => ({
  run_id: "eigenda-20260408-abc123", status: "running", start_ms: START, exit_code: null, obsrun_exit: null,
  command: ["./analyze", "eigenda"], survivors: [], ...more,
});

// delta makes a message of the stream.
export const delta = (from, rev, more = {}) => ({
  from, rev, run: info(), totals: totals(), phases: [], spans: [], logs: [], stalls: [], burn: burn(), critical_path: [], ...more,
});
