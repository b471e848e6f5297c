// What arrives while the view stands still. Pure. However long that is, it is one
// delta: later spans replace earlier ones.

export class Held {
  constructor() {
    this.clear();
  }

  clear() {
    this.delta = null;
    this.spans = new Map();
    this.closed = false; // no line will follow
  }

  // add takes in a delta on top of the state that reaches a line; false where
  // lines are missing in between.
  add(delta, rev) {
    if (delta.from > (this.delta?.rev ?? rev)) return false;
    if (delta.from === 0 || !this.delta) this.spans.clear();
    for (const span of delta.spans ?? []) this.spans.set(span.id, span);
    const whole = delta.from === 0 || !this.delta;
    const rest = whole ? [] : this.delta.logs;
    const last = rest.length ? rest[rest.length - 1].rev : 0;
    this.delta = {
      ...delta,
      resources: delta.resources ?? (whole ? undefined : this.delta.resources), // told when it grew
      from: whole ? delta.from : this.delta.from,
      rev: Math.max(delta.rev, whole ? 0 : this.delta.rev),
      logs: rest.concat((delta.logs ?? []).filter((entry) => entry.rev > last)),
    };
    return true;
  }

  // count is how many lines wait beyond one.
  count(rev) {
    return this.delta ? Math.max(0, this.delta.rev - rev) : 0;
  }

  // take gives what waits, or null, and forgets it.
  take() {
    const { delta, closed } = this;
    const spans = [...this.spans.values()];
    this.clear();
    return { delta: delta && { ...delta, spans }, closed };
  }
}
