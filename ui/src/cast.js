// A recording of the terminal, asciicast version 2: a header line, then events
// [seconds, code, data], "o" for output and "r" for another size
// (https://docs.asciinema.org/manual/asciicast/v2/). Pure.

const MOST_SIDE = 500; // columns or rows of a terminal that is shown

const side = (n, otherwise) => (Number.isInteger(n) && n > 0 ? Math.min(n, MOST_SIDE) : otherwise);

// Cast takes in a recording piece by piece. events are {at, data} or {at, cols,
// rows}, at in milliseconds since its start, never earlier than the one before.
export class Cast {
  constructor() {
    this.header = null; // {cols, rows, start_ms}
    this.events = [];
    this.unreadable = 0;
    this.rest = "";
  }

  feed(piece) {
    const lines = (this.rest + piece).split("\n");
    this.rest = lines.pop();
    for (const line of lines) if (line.trim()) this.line(line);
    return this;
  }

  line(line) {
    let value;
    try {
      value = JSON.parse(line);
    } catch {
      this.unreadable++;
      return;
    }
    if (!this.header) {
      if (value?.version === 2) this.header = { cols: side(value.width, 80), rows: side(value.height, 24), start_ms: value.timestamp > 0 ? value.timestamp * 1000 : 0 };
      else this.unreadable++;
      return;
    }
    const [seconds, code, data] = Array.isArray(value) ? value : [];
    if (!Number.isFinite(seconds) || typeof data !== "string") {
      this.unreadable++;
      return;
    }
    const at = Math.max(seconds * 1000, this.length);
    if (code === "o") this.events.push({ at, data });
    const size = code === "r" ? /^(\d+)x(\d+)$/.exec(data) : null;
    if (size) this.events.push({ at, cols: side(Number(size[1]), 80), rows: side(Number(size[2]), 24) });
  }

  // length is when the last event was.
  get length() {
    return this.events.length ? this.events[this.events.length - 1].at : 0;
  }

  // until gives how many events there were by a moment.
  until(at) {
    let low = 0;
    let high = this.events.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (this.events[mid].at <= at) low = mid + 1;
      else high = mid;
    }
    return low;
  }

  // behind is by how much the recording began after the run (ms). Its header counts
  // in whole seconds, so less than two mean: with it.
  behind(runStart) {
    const apart = (this.header?.start_ms ?? 0) - runStart;
    return this.header?.start_ms > 0 && runStart > 0 && apart >= 2000 ? apart : 0;
  }
}
