// What happened in a stretch of the run's clock that the user marked. Pure.

// usedBy gives the tokens that were used by a moment (Unix ms), NaN where nobody
// told: between two values of the series on the straight line.
export function usedBy(burn, moment) {
  const { totals, start_ms: start, step_ms: step } = burn ?? {};
  if (!totals?.length || !(step > 0)) return NaN;
  const at = (moment - start) / step;
  if (at <= 0) return 0;
  const i = Math.min(Math.floor(at), totals.length - 1);
  const next = totals[Math.min(i + 1, totals.length - 1)];
  return totals[i] + (next - totals[i]) * Math.min(1, at - i);
}

// areaSums gives {agents (at work in it), ended, errors, tools (calls that began in
// it), tokens} between two moments, Unix ms; now ends what is open.
export function areaSums(model, from, to, now) {
  const out = { agents: 0, ended: 0, errors: 0, tools: 0, tokens: usedBy(model.burn, to) - usedBy(model.burn, from) };
  for (const span of model.rows.values()) {
    const works = [...(span.earlier ?? []), ...(span.start_ms ? [span] : [])];
    if (!works.some((one) => one.start_ms < to && (one.end_ms || now) > from)) continue;
    out.agents++;
    if (!(span.end_ms > from && span.end_ms <= to)) continue;
    out.ended++;
    if (span.state === "error" || span.state === "lost") out.errors++;
  }
  const began = (span) => span.kind === "tool" && span.start_ms >= from && span.start_ms < to;
  for (const calls of model.calls.values()) for (const span of calls.values()) if (began(span)) out.tools++;
  return out;
}
