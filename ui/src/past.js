// The run as it stood at an earlier moment, for replay. Pure. What a span was then
// follows from its times. What an open agent or phase had used is the last reading up
// to then, as the server kept them; tool uses are counted where each of them was told
// as a call. The run's tokens are those of the burn series. What nobody knows is NaN,
// shown as a dash.

import { Model, isCall, isOpen } from "./model.js";

const UNKNOWN = { tokens: NaN, input_tokens: NaN, output_tokens: NaN, cached_tokens: NaN, tool_uses: NaN, cost_usd: 0 };
const ENDED = new Set(["done", "error", "cancelled", "lost"]);

// countUntil gives how many of a list stand at a moment or before; each of them begins
// with its own, and they are in order.
function countUntil(list, moment) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const mid = (low + high) >> 1;
    if (list[mid][0] <= moment) low = mid + 1;
    else high = mid;
  }
  return low;
}

// usedAt gives what the last reading up to a moment says, nothing where there is none.
// Readings are [Unix ms, tokens, tool uses], in order.
function usedAt(readings, at) {
  const i = countUntil(readings, at);
  if (i === 0) return {};
  const [, tokens, tools] = readings[i - 1];
  return { tokens, tool_uses: tools, reported: tokens > 0 };
}

// spanAt gives a span as it stood at a moment (Unix ms), or null where nobody knew
// of it. stalls and readings are those of the span; start is the run's.
export function spanAt(span, at, { stalls = [], start = 0, readings = [] } = {}) {
  const earlier = (span.earlier ?? []).filter((one) => one.start_ms <= at);
  const begun = Boolean(span.start_ms) && span.start_ms <= at;
  const then = { ...span, end_ms: 0, duration_ms: 0, ...UNKNOWN, reported: false, ...usedAt(readings, at), error: "", message: "", earlier };
  const silent = () => stalls.find((s) => s.time_ms <= at && (s.resumed_ms ? at < s.resumed_ms : true));
  const running = (more) => {
    const stall = silent();
    if (!stall) return { ...then, state: "running", evidence: null, ...more };
    return { ...then, state: "stalled", evidence: stall.evidence, heard_ms: stall.time_ms - stall.idle_ms - start, ...more };
  };
  if (begun) {
    if (span.end_ms && span.end_ms <= at) return span;
    return running();
  }
  const last = earlier[earlier.length - 1];
  if (last && at < last.end_ms) return running({ start_ms: last.start_ms, attempts: earlier.length, earlier: earlier.slice(0, -1) });
  const known = last || (span.queued_ms && span.queued_ms <= at) || (!span.start_ms && span.end_ms && span.end_ms <= at);
  if (!known) return null;
  if (!span.start_ms && span.end_ms && span.end_ms <= at) return span; // it ended without a start
  return { ...then, state: "queued", start_ms: 0, attempts: earlier.length, evidence: null };
}

// phaseAt gives a phase as it stood at a moment, or null; tally has the counts of
// its agents then, tools their tool uses where each is known.
function phaseAt(phase, at, tally, tools, readings = []) {
  const begun = phase.start_ms && phase.start_ms <= at;
  if (!begun && tally.agents === 0) return null;
  if (begun && phase.state === "done" && phase.end_ms <= at) return { ...phase, ...tally };
  const state = begun ? "running" : "queued";
  const { tokens = NaN, tool_uses: read = NaN } = usedAt(readings, at);
  return { ...phase, ...UNKNOWN, tokens, tool_uses: Number.isNaN(tools) ? read : tools, ...tally, state, start_ms: begun ? phase.start_ms : 0, end_ms: 0, wall_ms: 0, lost: 0, stalls: 0, counts: {} };
}

const newTally = () => ({ agents: 0, queued: 0, running: 0, ended: 0, errors: 0 });
const newCounts = () => ({ spawned: 0, stalled: 0, done: 0, error: 0, cancelled: 0, lost: 0, planned: 0, faults: 0, callFaults: 0, spans: 0, ...newTally() });

// Past is a run through which one can go back and forth: what changes from one
// moment to another is all that is looked at.
export class Past {
  // samples are the readings of agents by id and of phases by name, or null.
  constructor(whole, samples = null) {
    this.whole = whole;
    this.readings = new Map(Object.entries(samples?.agents ?? {}));
    this.phaseReadings = new Map(Object.entries(samples?.phases ?? {}));
    this.start = whole.run.start_ms;
    this.model = new Model();
    this.stalls = new Map(); // by span id
    for (const stall of whole.stalls) {
      for (const id of new Set([stall.span_id, stall.agent])) {
        if (id) this.stalls.set(id, [...(this.stalls.get(id) ?? []), stall]);
      }
    }
    this.moments = []; // [Unix ms, span id], in order
    this.updates = [...this.readings].flatMap(([id, list]) => list.map(([at]) => [at, id])).filter(([, id]) => whole.spans.has(id));
    for (const span of whole.spans.values()) {
      for (const at of [span.queued_ms, span.start_ms, span.end_ms]) if (at) this.moments.push([at, span.id]);
      for (const one of span.earlier ?? []) this.moments.push([one.start_ms, span.id], [one.end_ms, span.id]);
      for (const stall of this.stalls.get(span.id) ?? []) {
        this.moments.push([stall.time_ms, span.id]);
        if (stall.resumed_ms) this.moments.push([stall.resumed_ms, span.id]);
      }
    }
    this.learnTools();
    for (const list of [this.moments, this.updates]) list.sort((a, b) => a[0] - b[0]);
    this.now = -Infinity;
    this.users = new Set(); // agents whose calls changed
    this.counts = newCounts();
    this.tallies = new Map();
    this.fresh = true;
  }

  // learnTools finds out whose tool uses were all told as calls: agents, phases, the
  // run ("run"). used counts the calls that began by the moment, by the same names.
  learnTools() {
    const { whole } = this;
    const told = new Map();
    this.used = new Map();
    this.usersOf = (span) => {
      const agent = span.agent ? whole.spans.get(span.agent) : null;
      return [`s:${span.agent}`, `p:${agent?.phase ?? span.phase ?? ""}`, "run"];
    };
    for (const span of whole.spans.values()) {
      if (span.kind === "tool" && !span.same_as) for (const user of this.usersOf(span)) told.set(user, (told.get(user) ?? 0) + 1);
    }
    this.exact = new Set();
    const compare = (user, uses) => {
      if ((told.get(user) ?? 0) === uses) this.exact.add(user);
    };
    for (const id of whole.agents.keys()) compare(`s:${id}`, whole.spans.get(id).tool_uses);
    for (const phase of whole.phases) compare(`p:${phase.name}`, phase.tool_uses);
    compare("run", whole.totals.tool_uses);
  }

  // tools gives the tool uses by the moment of an agent, a phase or the run.
  tools(user) {
    return this.exact.has(user) ? (this.used.get(user) ?? 0) : NaN;
  }

  // at gives the run at a moment: the whole one at the end and after it.
  at(moment) {
    const { whole, model } = this;
    const { run } = whole;
    if (whole.ended && moment >= (run.end_ms || this.start + (run.wall_ms ?? 0))) return whole;
    if (moment === this.now) return model;
    const [low, high] = [Math.min(this.now, moment), Math.max(this.now, moment)];
    const between = (list) => list.slice(countUntil(list, low), countUntil(list, high)).map((m) => m[1]);
    const ids = this.fresh ? whole.spans.keys() : new Set([...between(this.moments), ...between(this.updates)]);
    const spans = [];
    const gone = [];
    for (const id of ids) {
      const then = spanAt(whole.spans.get(id), moment, { stalls: this.stalls.get(id), start: this.start, readings: this.readings.get(id) });
      this.count(model.spans.get(id), -1);
      this.count(then, 1);
      if (then) spans.push(then);
      else gone.push(id);
    }
    this.countTools(spans);
    const logs = whole.logs.filter((entry) => entry.time_ms <= moment);
    const stalls = whole.stalls.filter((s) => s.time_ms <= moment).map((s) => (s.resumed_ms && s.resumed_ms <= moment ? s : { ...s, resumed_ms: 0, open: true }));
    const burn = burnAt(whole.burn, moment);
    const phases = this.phases(moment);
    const news = this.fresh || spans.length + gone.length > 0 || logs.length !== model.logs.length ||
      phases.length !== model.phases.length || phases.some((p, i) => p.state !== model.phases[i].state);
    if (news) {
      model.apply({
        from: this.fresh ? 0 : model.rev, rev: 1, spans, logs: [], stalls, phases, burn,
        run: { ...run, status: "running", end_ms: 0, wall_ms: 0, exit_code: null, obsrun_exit: null, signal: "", error: "", survivors: [] },
        totals: this.totals(), critical_path: [],
      });
      for (const id of gone) model.remove(id);
      if (logs.length !== model.logs.length) model.setLogs(logs);
    }
    // These move with the moment, not with a span.
    model.burn = burn;
    model.totals.tokens = burn.used;
    model.resources = whole.resources;
    model.sources = whole.sources;
    model.path = whole.path.filter((s) => s.start_ms < moment).map((s) => (s.end_ms > moment ? { ...s, end_ms: moment } : s));
    this.now = moment;
    this.fresh = false;
    return model;
  }

  // step gives the next moment (by 1) or the one before (-1) at which something
  // began or ended, of one span where an id is given; null where there is none.
  step(moment, by, id = "") {
    const { moments } = this;
    const of = id && this.whole.spans.has(id) ? id : "";
    for (let i = by > 0 ? countUntil(moments, moment) : countUntil(moments, moment) - 1; i >= 0 && i < moments.length; i += by) {
      if (moments[i][0] !== moment && (!of || moments[i][1] === of)) return moments[i][0];
    }
    return null;
  }

  // countTools puts their tool uses into the agents that are not over: those of a
  // list, and those whose calls are in it.
  countTools(spans) {
    const list = new Map(spans.map((span, i) => [span.id, i]));
    for (const id of this.users) {
      if (list.has(id) || !this.model.spans.has(id)) continue;
      list.set(id, spans.length);
      spans.push(this.model.spans.get(id));
    }
    this.users.clear();
    for (const [id, i] of list) {
      const uses = this.tools(`s:${id}`);
      if (spans[i].is_agent && !spans[i].end_ms && !Number.isNaN(uses)) spans[i] = { ...spans[i], tool_uses: uses };
    }
  }

  // count adds a span to the counts, or takes it away.
  count(span, by) {
    if (!span || span.kind === "run") return;
    if (span.kind === "tool" && !span.same_as) {
      for (const user of this.usersOf(span)) this.used.set(user, (this.used.get(user) ?? 0) + by);
      if (span.agent) this.users.add(span.agent);
    }
    const { counts } = this;
    counts.spans += by;
    if (span.state === "error") {
      if (isCall(span)) counts.callFaults += by;
      else if (span.kind !== "process") counts.faults += by;
    }
    if (!span.is_agent) return;
    if (!this.tallies.has(span.phase ?? "")) this.tallies.set(span.phase ?? "", newTally());
    for (const tally of [counts, this.tallies.get(span.phase ?? "")]) {
      tally.agents += by;
      if (span.state === "queued") tally.queued += by;
      if (isOpen(span)) tally.running += by;
      if (ENDED.has(span.state)) tally.ended += by;
      if (span.state === "error" || span.state === "lost") tally.errors += by;
    }
    if (Object.hasOwn(counts, span.state) && span.state !== "queued" && span.state !== "running") counts[span.state] += by;
    if (span.attempts > 0) counts.spawned += by;
    if (span.queued_ms) counts.planned += by;
  }

  totals() {
    const c = this.counts;
    return {
      ...this.whole.totals, ...UNKNOWN, tool_uses: this.tools("run"), agents: c.agents, agents_spawned: c.spawned, queued: c.queued, running: c.running, stalled: c.stalled,
      ended: c.ended, done: c.done, failed: c.error, cancelled: c.cancelled, lost: c.lost, errors: c.faults, tool_errors: c.callFaults, spans: c.spans,
      percent: c.planned ? Math.min(99, Math.floor((100 * c.ended) / c.agents)) : null, analyses_written: 0, artifacts: 0, rejected_events: 0,
    };
  }

  phases(moment) {
    return this.whole.phases.map((p) => phaseAt(p, moment, this.tallies.get(p.name) ?? newTally(), this.tools(`p:${p.name}`), this.phaseReadings.get(p.name))).filter(Boolean);
  }
}

// burnAt gives the rate as it was: the series up to a moment. used is the sum of
// the tokens by then where the server told it.
export function burnAt(burn, moment) {
  const last = burn.step_ms > 0 ? Math.floor((moment - burn.start_ms) / burn.step_ms) : -1;
  const series = burn.series.slice(0, Math.max(0, last + 1));
  let peak = 0;
  for (const value of series) peak = Math.max(peak, value);
  const used = burn.totals?.[Math.min(last, burn.totals.length - 1)] ?? NaN;
  return { ...burn, series, peak, per_min: series[series.length - 1] ?? 0, mean: 0, at_least: false, used };
}
