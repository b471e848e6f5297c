/**
 * Telemetry client for programs that run under obsrun. One file, no dependencies, Node 18 and later.
 *
 * Caveats first:
 *
 * - Outside obsrun (no OBSRUN_SOCKET), or when the socket cannot be reached or breaks, every call does nothing. No call
 *   throws because of telemetry.
 * - No call waits. An event is written at once where the socket takes it; where obsrun reads slowly it is buffered
 *   (10,000 events or 4 MiB) and written by a timer. When the buffer is full new events are dropped, updates first and
 *   ends last; the loss is reported as a `log` event.
 * - Nothing here keeps the program alive. When it ends by itself, obsrun's confirmation is awaited for at most 2
 *   seconds, unless the program has `beforeExit` listeners, which would run twice. On `process.exit()` and uncaught
 *   exceptions what is buffered is written before the process ends. Await `flush()` where a confirmation matters.
 * - Events are written to the descriptor of the socket, which Node shows as `socket._handle.fd`. On a runtime that does
 *   not, they go through the stream, and `process.exit()` can lose the last of them.
 * - Context does not cross into workers and child processes: give them `env()`. The counters of a span belong to the
 *   process that opened it.
 * - Attributes are JSON-like values. Others become text, NaN and infinities null, and what would make a line longer
 *   than 1 MiB is cut.
 *
 * Use:
 *
 *     import { span, log } from "./obsrun.mjs";
 *
 *     const answer = await span("encoding", { kind: "library-analysis" }, async (s) => {
 *       s.tokens({ input: 40000, output: 2100 });
 *       s.toolUse();
 *       return 42;
 *     });
 *
 * @module
 */

import { AsyncLocalStorage } from "node:async_hooks";
import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import net from "node:net";
import process from "node:process";

const MAX_EVENTS = 10_000;
const MAX_BYTES = 4 << 20;
const MAX_LINE = 1 << 20;
const FLUSH_MS = 2000;
const CONNECT_MS = 5000;
const CONNECT_AT_EXIT_MS = 250;

// The share of the buffer that an event may fill. Counters are totals, so a lost update is made good by the next one or
// by the end, while a lost end leaves a span open for ever.
const SHARE = { span_end: 1, span_start: 0.9, span_queued: 0.9, phase: 0.9, artifact: 0.9 };
const OTHER_SHARE = 0.8;

// Reasons for which a connect may succeed a moment later. A full backlog is EAGAIN on Linux, ECONNREFUSED on macOS.
const TEMPORARY = new Set(["EAGAIN", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"]);
if (process.platform === "darwin") TEMPORARY.add("ECONNREFUSED");

const path = process.env.OBSRUN_SOCKET ?? "";
const context = new AsyncLocalStorage();

let off = path === "";
let socket = null;
let connected = false; // told by the first write that succeeds, which comes before the event
let connectUntil = 0;
let queue = [];
let queuedBytes = 0;
let offset = 0; // how much of the first queued line is written
let lost = 0;
let timer = null;
let pause = 1;

/** Encodes one event, and writes or buffers it. */
function send(event) {
  if (off) return;
  try {
    admit(line(event), SHARE[event.event] ?? OTHER_SHARE);
    pump();
    schedule();
  } catch {
    lost++; // the program matters more than its telemetry
  }
}

function admit(bytes, share) {
  if (queue.length >= MAX_EVENTS * share || queuedBytes + bytes.length > MAX_BYTES * share) {
    lost++;
    return;
  }
  if (queue.length < MAX_EVENTS * OTHER_SHARE && queuedBytes < MAX_BYTES * OTHER_SHARE) reportLoss();
  push(bytes);
}

function push(bytes) {
  queue.push(bytes);
  queuedBytes += bytes.length;
}

function reportLoss() {
  if (lost === 0 || off) return;
  const message = `obsrun client lost ${lost} event${lost === 1 ? "" : "s"}: its buffer was full`;
  lost = 0;
  push(line({ event: "log", level: "warn", message, ts: now() }));
}

/** Writes as much as the socket takes without waiting. */
function pump() {
  let written = 0;
  try {
    while (written < queue.length && !off) {
      if (socket === null) connect();
      const fd = socket._handle?.fd;
      const bytes = queue[written];
      if (fd >= 0) {
        offset += fs.writeSync(fd, bytes, offset);
        connected = true;
        if (offset < bytes.length) continue;
      } else {
        if (socket.writableNeedDrain) break;
        socket.write(bytes);
      }
      written++;
      offset = 0;
      queuedBytes -= bytes.length;
    }
  } catch (err) {
    // Before the connect was reported its failure shows here as a write error; its reason comes with the event.
    if (err.code !== "EAGAIN" && connected) stop();
  }
  if (written > 0) {
    queue = queue.slice(written);
    pause = 1;
  }
}

function connect() {
  const mine = net.connect({ path });
  socket = mine;
  connected = false;
  mine.unref();
  mine.on("connect", () => {
    if (socket !== mine) return;
    connected = true;
    connectUntil = 0;
    pump();
    schedule();
  });
  mine.on("error", (err) => {
    if (socket !== mine) return;
    connectUntil ||= performance.now() + CONNECT_MS;
    if (connected || !TEMPORARY.has(err.code) || performance.now() > connectUntil) return stop();
    socket = null;
    offset = 0;
    schedule();
  });
  mine.on("close", () => socket === mine && stop());
  mine.resume(); // an end of file is only seen by reading
}

function stop() {
  off = true;
  socket?.destroy();
  socket = null;
  queue = [];
}

function schedule() {
  if (timer !== null || off || queue.length === 0) return;
  timer = setTimeout(() => {
    timer = null;
    pause = Math.min(2 * pause, 50);
    pump();
    schedule();
  }, pause);
  timer.unref();
}

/**
 * Waits until obsrun confirmed everything sent so far.
 * @param {number} [timeout] milliseconds
 * @returns {Promise<boolean>} whether it did
 */
export async function flush(timeout = FLUSH_MS) {
  const deadline = performance.now() + timeout;
  reportLoss();
  for (let wait = 1; ; wait = Math.min(2 * wait, 20)) {
    pump();
    if (off) return false;
    if (queue.length === 0) break;
    if (performance.now() >= deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
  if (socket === null) return true;
  const mine = socket;
  socket = null; // the next event connects anew
  return new Promise((resolve) => {
    const late = setTimeout(() => mine.destroy(), Math.max(deadline - performance.now(), 1));
    let confirmed = false;
    mine.on("end", () => (confirmed = true));
    mine.on("close", () => {
      clearTimeout(late);
      resolve(confirmed);
    });
    mine.ref();
    mine.end();
  });
}

function flushBeforeExit() {
  if (off || (socket === null && queue.length === 0) || process.listenerCount("beforeExit") > 1) return;
  process.off("beforeExit", flushBeforeExit);
  flush();
}

/** The event loop is over: what is left is written by waiting in place. */
function writeAtExit() {
  if (off) return;
  reportLoss();
  const begin = performance.now();
  const nap = new Int32Array(new SharedArrayBuffer(4));
  for (;;) {
    pump();
    const elapsed = performance.now() - begin;
    if (off || queue.length === 0 || elapsed > FLUSH_MS) return;
    if (!connected) {
      if (elapsed > CONNECT_AT_EXIT_MS || !fs.existsSync(path)) return;
      if (offset === 0) {
        socket?.destroy(); // why it did not connect will never be reported: try again
        socket = null;
      }
    }
    Atomics.wait(nap, 0, 0, 2);
  }
}

/**
 * @typedef {object} SpanOptions
 * @property {string} [kind] what sort of work; without it the span is a `task`, which is no agent
 * @property {string} [component]
 * @property {string} [phase]
 * @property {Span|string} [parent] a span or its id; by default the current span
 * @property {string} [id] for a span that others name too
 * @property {object} [attrs]
 */

/** A piece of work. Made by `span`, `startSpan`, `queued` and `current`. */
export class Span {
  #made;
  #parent;
  #counters = {};
  #status;
  #error;
  #begun;
  #waiting = false;
  #outside;

  /** @param {string} [name] @param {SpanOptions} [options] */
  constructor(name, options, outside = false) {
    const { kind, component, phase, parent, id, attrs } = options ?? {};
    this.id = id === undefined || id === null ? randomBytes(8).toString("hex") : text(id, 256);
    this.#made = { component, name, kind, phase, attrs };
    this.#parent = parent;
    this.#outside = outside; // opened by another process, so not ours to start or end
  }

  /** Sends the start. A second start is a new attempt. @returns {this} */
  start() {
    if (!this.#outside) {
      this.#counters = {};
      this.#status = this.#error = undefined;
      this.#begin("span_start");
    }
    return this;
  }

  /** Announces that the work is known and waits. @returns {this} */
  queue() {
    this.#begin("span_queued");
    this.#waiting = true;
    return this;
  }

  /**
   * Sends the end with all counters. A second end does nothing.
   * @param {{status?: "ok"|"error"|"cancelled", error?: unknown, durationMs?: number}} [result]
   */
  end(result) {
    if (this.#begun === undefined) return;
    let { status, error, durationMs } = result ?? {};
    durationMs ??= this.#waiting ? 0 : Math.round((performance.now() - this.#begun) * 1000) / 1000;
    this.#begun = undefined;
    error = error === undefined ? this.#error : errorText(error);
    status ??= this.#status ?? (error ? "error" : "ok");
    this.#send("span_end", { status, error, duration_ms: durationMs, ...this.#totals() });
  }

  /**
   * Runs `fn` with the span current, and ends the span by its outcome: a throw or rejection is an error, an AbortError
   * a cancellation. What `fn` returns is returned, what it throws is thrown.
   * @template T @param {(span: Span) => T} fn @returns {T}
   */
  run(fn) {
    if (this.#begun === undefined || this.#waiting) this.start();
    let result;
    try {
      result = this.within(fn);
    } catch (err) {
      this.#endBy(err);
      throw err;
    }
    if (typeof result?.then !== "function") {
      this.end();
      return result;
    }
    return Promise.resolve(result).then(
      (value) => {
        this.end();
        return value;
      },
      (err) => {
        this.#endBy(err);
        throw err;
      },
    );
  }

  /** Runs `fn` with the span current and does nothing else. @template T @param {(span: Span) => T} fn @returns {T} */
  within(fn) {
    return off ? fn(this) : context.run(this, fn, this);
  }

  /**
   * Adds tokens used: a total, or input (cached included) and output.
   * @param {number|{input?: number, output?: number, cached?: number, costUsd?: number}} used
   */
  tokens(used) {
    const { input, output, cached, costUsd } = used ?? {};
    this.#add({ tokens: used, input_tokens: input, output_tokens: output, cached_tokens: cached, cost_usd: costUsd });
  }

  /** Adds one use of a tool. */
  toolUse() {
    this.#add({ tool_uses: 1 });
  }

  /** Adds uses of tools. @param {number} count */
  toolUses(count) {
    this.#add({ tool_uses: count });
  }

  /**
   * Reports activity.
   * @param {{message?: string, attrs?: object, call_id?: string}} [activity] a message for people, attrs for programs
   */
  update(activity) {
    const { message, attrs, ...fields } = activity ?? {};
    this.#send("span_update", { message, ...this.#totals(), ...fields, attrs });
  }

  /** Makes the span end with status `error`. @param {unknown} error */
  fail(error) {
    this.#status = "error";
    this.#error = errorText(error);
  }

  /** Makes the span end with status `cancelled`; one that only waits ends at once. */
  cancel() {
    this.#status = "cancelled";
    if (this.#waiting) this.end();
  }

  /**
   * The environment variables that hang a child process or worker under this span.
   * @returns {Record<string, string>}
   */
  env() {
    if (off || this.id === "") return {};
    const variables = { OBSRUN_PARENT_SPAN: this.id };
    const runId = process.env.OBSRUN_RUN_ID;
    if (runId) {
      const own = /^(?!0{16})[0-9a-f]{16}$/.test(this.id);
      variables.TRACEPARENT = `00-${sha256(runId).slice(0, 32)}-${own ? this.id : sha256(this.id).slice(0, 16)}-01`;
    }
    return variables;
  }

  /** For `using s = startSpan(...)`: ends the span. */
  [Symbol.dispose ?? Symbol.for("Symbol.dispose")]() {
    this.end();
  }

  #begin(event) {
    this.#parent ??= current();
    const parent = this.#parent instanceof Span ? this.#parent.id : this.#parent;
    this.#begun = performance.now();
    this.#waiting = false;
    this.#send(event, { parent, ...this.#made });
  }

  #endBy(err) {
    if (this.#status === undefined) {
      if (read(err, "name") === "AbortError") this.#status = "cancelled";
      else this.fail(err);
    }
    this.end();
  }

  #add(amounts) {
    if (off) return;
    for (const [name, amount] of Object.entries(amounts)) {
      if (typeof amount !== "number" || !(amount >= 0 && amount <= Number.MAX_SAFE_INTEGER)) continue;
      this.#counters[name] = (this.#counters[name] ?? 0) + (name === "cost_usd" ? amount : Math.trunc(amount));
    }
    this.#send("span_update", this.#totals());
  }

  #totals() {
    const totals = { ...this.#counters };
    // Some were reported without saying which.
    if (totals.tokens !== undefined) totals.tokens += (totals.input_tokens ?? 0) + (totals.output_tokens ?? 0);
    return totals;
  }

  #send(event, fields) {
    if (this.id !== "" && !off) send({ event, span_id: this.id, ...fields, ts: now() });
  }
}

/**
 * Runs `fn` as a span. It may be plain or async.
 * @template T @param {string} name @param {SpanOptions|((span: Span) => T)} options @param {(span: Span) => T} [fn]
 * @returns {T} what `fn` returns
 */
export function span(name, options, fn) {
  return typeof options === "function" ? new Span(name).run(options) : new Span(name, options).run(fn);
}

/** Starts a span that its owner ends, by `s.end()` or `using s = startSpan(...)`. Current only in `s.within(fn)`. */
export function startSpan(name, options) {
  return new Span(name, options).start();
}

/** Announces work that waits. Start it later by `run(fn)` or `start()`. */
export function queued(name, options) {
  return new Span(name, options).queue();
}

/** The innermost open span; outside of all, the one under which obsrun started this process. @returns {Span} */
export function current() {
  return context.getStore() ?? outermost;
}

/** Sends any event. Adds `ts`, a span's `parent`, the `span_id` of log and artifact. */
export function emit(event, fields = {}) {
  const here = current().id;
  const known = {};
  if ((event === "span_start" || event === "span_queued") && fields?.span_id !== here) known.parent = here;
  if (event === "log" || event === "artifact") known.span_id = here;
  send({ event, ...known, ts: now(), ...fields });
}

/** Something a person should read. @param {string} message @param {"info"|"warn"|"error"} [level] */
export function log(message, level = "info") {
  emit("log", { level, message });
}

/** A phase boundary: `phase("discovery")` opens it, `phase("discovery-complete", {wall_ms: 1200})` closes it. */
export function phase(name, fields = {}) {
  emit("phase", { name, ...fields });
}

/** A file was produced. Kind `analysis` is counted among the analyses written. */
export function artifact(path, kind) {
  emit("artifact", { path, kind });
}

/** The environment variables that hang a child process or worker under the current span; empty outside obsrun. */
export function env() {
  return current().env();
}

function now() {
  return Date.now() / 1000;
}

function sha256(value) {
  return createHash("sha256").update(value).digest("hex");
}

function read(value, key) {
  try {
    return value?.[key];
  } catch {
    return undefined;
  }
}

function errorText(error) {
  try {
    return error instanceof Error ? `${text(error.name, 256)}: ${text(error.message, 4000)}` : text(error, 4000);
  } catch {
    return "(error that cannot be shown)";
  }
}

function text(value, limit) {
  let string;
  try {
    string = String(value);
  } catch {
    string = `(${typeof value} that cannot be shown)`;
  }
  if (string.length > limit) string = string.slice(0, limit) + "... (cut)";
  return string.replace(/\p{Surrogate}/gu, "\ufffd"); // lone ones
}

/** One JSON line of at most 1 MiB. What is long is cut, so it is taken last and leaves the rest its room. */
function line(event) {
  // The second budget always fits: a character takes at most six bytes.
  for (const budget of [MAX_LINE - (64 << 10), 100_000]) {
    const left = { characters: budget };
    const entries = Object.entries(event).filter(([, value]) => value !== undefined && value !== null && value !== "");
    const record = Object.fromEntries(entries);
    const long = ([, value]) => typeof value === "string" || typeof value === "object";
    for (const [key, value] of entries.sort((a, b) => long(a) - long(b))) record[key] = clean(value, left, []);
    const bytes = Buffer.from(JSON.stringify(record) + "\n");
    if (bytes.length <= MAX_LINE) return bytes;
  }
  throw new RangeError("event over 1 MiB");
}

/** The value as JSON knows it, cut where the characters are used up. */
function clean(value, left, above) {
  left.characters -= 8;
  if (value === null || value === undefined || typeof value === "boolean") return value ?? null;
  if (typeof value === "number") return Number.isFinite(value) ? value : null;
  if (typeof value === "bigint" && Number.isSafeInteger(Number(value))) return Number(value);
  if (typeof value === "object") {
    if (above.includes(value)) return "(cycle)";
    if (above.length >= 32) return "(too deep)";
    try {
      const plain = jsonLike(value);
      if (plain === null || typeof plain !== "object") return clean(plain, left, above);
      return cleanAll(plain, left, [...above, value]);
    } catch {
      return "(object that cannot be read)";
    }
  }
  const string = text(value, Math.max(left.characters, 256));
  left.characters -= string.length;
  return string;
}

function jsonLike(value) {
  if (value instanceof Error) return errorText(value);
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [text(key, 256), item]));
  if (Buffer.isBuffer(value)) return value.subarray(0, MAX_LINE).toString();
  if (value instanceof Set || (ArrayBuffer.isView(value) && !(value instanceof DataView))) return [...value];
  return typeof value.toJSON === "function" ? value.toJSON() : value;
}

function cleanAll(value, left, above) {
  if (Array.isArray(value)) {
    const out = [];
    for (const item of value) {
      if (left.characters <= 0) return [...out, "(cut)"];
      out.push(clean(item, left, above));
    }
    return out;
  }
  const out = Object.create(null); // so that a key __proto__ is a key
  for (let key of Object.keys(value)) {
    if (left.characters <= 0) {
      out["..."] = "(cut)";
      break;
    }
    const item = read(value, key);
    key = text(key, 256);
    left.characters -= key.length;
    if (item !== undefined) out[key] = clean(item, left, above);
  }
  return out;
}

const outermost = new Span(undefined, { id: process.env.OBSRUN_PARENT_SPAN ?? "" }, true);

if (!off) {
  process.on("beforeExit", flushBeforeExit);
  process.on("exit", writeAtExit);
}
