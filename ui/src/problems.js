// What went wrong, as a list. Pure.

import { phaseLabel } from "./hues.js";
import { clip, plural, silence, spoken } from "./format.js";

const MOST_PROBLEMS = 200;

// problems gives the newest troubles first: failed and lost work, silent agents
// (resumed ones too), log entries. Each is {key, level, state, title, detail,
// at (Unix ms), span}. A silence that lasts has no detail: it grows, see silent.
export function problems(model) {
  const out = [];
  const run = model.run;
  if (run && model.ended && run.status !== "ok") {
    const how = run.error || (run.signal ? `ended by ${run.signal}` : run.exit_code ? `exit status ${run.exit_code}` : "its end was not recorded");
    out.push({
      key: "run", level: "error", state: run.status === "interrupted" ? "lost" : "error",
      title: run.status === "interrupted" ? "The run was interrupted" : "The run failed", detail: clip(how), at: run.end_ms ?? 0, span: "",
    });
  }
  const rejected = model.totals?.rejected_events ?? 0;
  if (rejected) {
    out.push({
      key: "rejected", level: "warn", state: "stalled", title: plural(rejected, "line was no valid event", "lines were no valid events"),
      detail: "rejected.jsonl in the run's directory has them", at: run?.end_ms ?? 0, span: "",
    });
  }
  for (const span of model.failed.values()) {
    const name = span.kind === "phase" || span.kind === "discovery" ? phaseLabel(span.phase ?? span.name) : span.name;
    out.push(span.state === "lost" ? {
      key: `lost ${span.id}`, level: "error", state: "lost", title: `${clip(name, 80)} was lost`,
      detail: span.start_ms ? "still open when the run ended" : "never started", at: run?.end_ms ?? 0, span: span.id,
    } : {
      key: `error ${span.id} ${span.attempts}`, level: "error", state: "error", title: `${clip(name, 80)} failed`,
      detail: clip(span.error || span.message || "no message"), at: span.end_ms ?? 0, span: span.id,
    });
  }
  for (const stall of model.stalls) {
    const over = !stall.open || Boolean(stall.resumed_ms) || model.ended;
    out.push({
      key: `stall ${stall.span_id} ${stall.time_ms}`, level: over && !stall.open ? "info" : "warn", state: "stalled",
      title: over ? `${clip(stall.name, 80)} was silent` : `${clip(stall.name, 80)} is silent`,
      detail: stall.resumed_ms ? `recovered ${spoken(stall.resumed_ms - stall.time_ms)} after it was flagged` : over ? `no event for ${silence(stall.idle_ms)}` : "",
      at: stall.time_ms, span: stall.agent || stall.span_id, quiet: over ? "" : stall.span_id,
    });
  }
  for (const entry of model.logs) {
    out.push({
      key: `log ${entry.rev}`, level: entry.level === "error" ? "error" : "warn", state: entry.level === "error" ? "error" : "stalled",
      title: clip(entry.message), detail: model.spans.get(entry.span_id)?.name ?? (entry.source ? `from ${entry.source}` : ""),
      at: entry.time_ms, span: entry.span_id ?? "",
    });
  }
  out.sort((a, b) => b.at - a.at || (b.key === "run") - (a.key === "run") || (a.key < b.key ? -1 : 1));
  return out.slice(0, MOST_PROBLEMS);
}

// silentFor is how long nothing was heard of a span, in milliseconds.
export function silentFor(span, run, now) {
  return Math.max(0, now - (run.start_ms + span.heard_ms));
}

// counted gives what went wrong as the server counts it: spans that failed, agents
// that were lost, agents that are silent now. It is the one meaning of a number of
// problems, in the summary, above the list and in the title.
export function counted({ errors, lost, stalled }) {
  const parts = [errors && plural(errors, "error"), lost && `${lost} lost`, stalled && `${stalled} stalled`];
  return { number: errors + lost + stalled, words: parts.filter(Boolean).join(", ") };
}

// headOf gives the words above the list: the same, and how many entries are only to
// be known.
export function headOf(model, entries) {
  if (entries.length === 0) return "none";
  const warnings = model.logs.length + (model.totals?.rejected_events ? 1 : 0) + model.stalls.filter((stall) => !stall.open || model.ended).length;
  const { words } = model.totals ? counted(model.totals) : { words: "" };
  return [words, warnings && plural(warnings, "warning")].filter(Boolean).join(", ") || String(entries.length);
}
