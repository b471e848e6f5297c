// The run as the server folded it. Pure: deltas in, nothing computed but indexes.

const OPEN = new Set(["running", "stalled"]);
const NO_ROW = new Set(["run", "phase", "discovery", "process"]);
const CALLS = new Set(["tool", "llm"]);

export const isOpen = (span) => OPEN.has(span.state);
export const isCall = (span) => CALLS.has(span.kind);

// isTrouble tells of work that did not end as it should. A call that failed is the
// agent's own business, and processes are left running every day. Of what was still
// open when the run ended the agents are told: a phase is lost with them.
const isTrouble = (span) => (span.state === "error" && !isCall(span) && span.kind !== "process") || (span.state === "lost" && span.is_agent);

// No two states have a stamp in common, of whichever model they are: a reader that
// is shown another model notices it as it notices a change.
let stamps = 0;

// Model holds the last state. The stamps tell what a reader has to look at again:
// version changes with every delta, shape when rows come, go or move, troubles
// when the list of problems can have changed.
export class Model {
  constructor() {
    this.version = 0;
    this.shape = 0;
    this.troubles = 0;
    this.clear();
  }

  clear() {
    this.rev = 0;
    this.run = null;
    this.totals = null;
    this.phases = [];
    this.phase = new Map(); // by name
    this.spans = new Map(); // by id, all of them
    this.root = null;
    this.agents = new Map(); // by id, in order of arrival
    this.others = new Map(); // spans that stand in for rows where nothing is an agent
    this.processes = new Map(); // and what is left where nothing was told at all
    this.open = new Set(); // ids of open agents
    this.failed = new Map(); // by id
    this.calls = new Map(); // by agent id: Map of its tool and llm spans
    this.logs = [];
    this.stalls = [];
    this.burn = null;
    this.path = [];
    this.sources = []; // what each source told and could have told
    this.resources = null; // what the processes used, where it was recorded
    this.phaseKey = "";
    this.closed = false;
  }

  // close notes that no line will follow.
  close() {
    this.closed = true;
    this.version = ++stamps;
    this.troubles = ++stamps;
  }

  // apply takes in a delta: the whole state when it starts at line 0. It gives
  // false where lines are missing in between, and then changes nothing.
  apply(delta) {
    if (delta.from > this.rev) return false;
    if (delta.from === 0) this.clear();
    this.version = ++stamps;
    this.rev = Math.max(this.rev, delta.rev);
    this.run = delta.run;
    this.totals = delta.totals;
    this.burn = delta.burn;
    this.stalls = delta.stalls ?? [];
    this.path = delta.critical_path ?? [];
    this.resources = delta.resources ?? this.resources;
    this.sources = delta.sources ?? this.sources;
    this.phases = delta.phases ?? [];
    this.phase = new Map(this.phases.map((p) => [p.name, p]));
    const phaseKey = this.phases.map((p) => `${p.name} ${p.state} ${p.agents}`).join("\n");
    if (delta.from === 0 || phaseKey !== this.phaseKey) this.shape = ++stamps;
    this.phaseKey = phaseKey;
    for (const span of delta.spans ?? []) this.put(span);
    const last = this.logs.length ? this.logs[this.logs.length - 1].rev : 0;
    for (const entry of delta.logs ?? []) if (entry.rev > last) this.logs.push(entry);
    if (delta.from === 0 || delta.spans?.length || delta.logs?.length || delta.run.end_ms) this.troubles = ++stamps;
    return true;
  }

  put(span) {
    const old = this.spans.get(span.id);
    this.spans.set(span.id, span);
    if (span.kind === "run") {
      this.root = span;
      return;
    }
    if (old && isCall(old) && (old.agent !== span.agent || span.same_as)) this.calls.get(old.agent)?.delete(span.id);
    if (isCall(span) && span.agent && !span.same_as) {
      if (!this.calls.has(span.agent)) this.calls.set(span.agent, new Map());
      this.calls.get(span.agent).set(span.id, span);
    }
    if (span.kind === "process") this.processes.set(span.id, span);
    const row = span.is_agent ? this.agents : this.others;
    if (old && (old.is_agent !== span.is_agent || span.same_as)) for (const map of [this.others, this.agents]) map.delete(span.id);
    if (span.same_as) { // another span stands for it
      this.open.delete(span.id);
      this.failed.delete(span.id);
      if (!old?.same_as) this.shape = ++stamps;
      return;
    }
    if (span.is_agent || (!NO_ROW.has(span.kind) && !span.agent)) row.set(span.id, span);
    else this.others.delete(span.id);
    if (!old || old.is_agent !== span.is_agent || old.phase !== span.phase || old.agent !== span.agent || old.parent !== span.parent) this.shape = ++stamps;
    if (span.is_agent && isOpen(span)) this.open.add(span.id);
    else this.open.delete(span.id);
    if (isTrouble(span)) this.failed.set(span.id, span);
    else this.failed.delete(span.id);
  }

  // remove takes a span away again, for a view that goes back in time.
  remove(id) {
    const span = this.spans.get(id);
    if (!span) return;
    for (const map of [this.spans, this.agents, this.others, this.processes, this.open, this.failed]) map.delete(id);
    this.calls.get(span.agent)?.delete(id);
    this.shape = ++stamps;
  }

  // setLogs puts other log entries in the place of those there, for the same view.
  setLogs(logs) {
    this.logs = logs;
    this.troubles = ++stamps;
  }

  // rows gives the spans that have rows: the agents; in a run without any, what
  // else was told, so that a plain command's spans can be seen too, or its
  // processes.
  get rows() {
    return [this.agents, this.others].find((spans) => spans.size > 0) ?? this.processes;
  }

  // ended tells whether the run is over. An interrupted one is not before its end
  // was told, or the server said that nothing follows.
  get ended() {
    if (this.run === null) return false;
    return Boolean(this.run.end_ms) || this.closed || this.run.status === "ok" || this.run.status === "error";
  }

  get empty() {
    return this.rows.size === 0 && this.phases.length === 0;
  }

  // lastHeard is when the last event arrived, by the server's clock, or 0.
  get lastHeard() {
    return this.root && this.run ? this.run.start_ms + this.root.heard_ms : 0;
  }
}

// spanStart and spanEnd are where a span's bar begins and ends; an open one ends
// now. A span that never started has no bar: 0.
export const spanStart = (span) => span.start_ms ?? 0;
export const spanEnd = (span, now) => (span.end_ms ? span.end_ms : Math.max(now, spanStart(span)));

// lasted is how long the span took, or takes so far.
export function lasted(span, now) {
  if (!span.start_ms) return 0;
  return span.end_ms ? (span.duration_ms ?? span.end_ms - span.start_ms) : Math.max(0, now - span.start_ms);
}

// phaseLasted is the same of a phase.
export function phaseLasted(phase, now) {
  if (phase.state === "done") return phase.wall_ms;
  return phase.start_ms ? Math.max(0, now - phase.start_ms) : 0;
}
