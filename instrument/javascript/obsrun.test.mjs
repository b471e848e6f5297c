// Tests of the JavaScript client: programs of their own against a real unix socket.
//
//     node --test instrument/javascript/obsrun.test.mjs

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import nodePath from "node:path";
import process from "node:process";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const CLIENT = fileURLToPath(new URL("./obsrun.mjs", import.meta.url));
const MAX_LINE = 1 << 20;

/** A server that keeps the bytes of each connection until its end of file, then closes. */
class Server {
  constructor(t, { reading = true, backlog = 128 } = {}) {
    this.dir = fs.mkdtempSync(nodePath.join(os.tmpdir(), "obsrun-"));
    this.path = nodePath.join(this.dir, "s");
    this.connections = [];
    this.sockets = new Set();
    this.reading = reading;
    this.backlog = backlog;
    this.server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (conn) => {
      const got = [];
      this.connections.push(got);
      this.sockets.add(conn);
      conn.on("data", (data) => got.push(data));
      conn.on("end", () => this.confirm(conn));
      conn.on("error", () => {});
      conn.on("close", () => this.sockets.delete(conn));
      if (this.reading) conn.resume();
    });
    t.after(() => {
      for (const conn of this.sockets) conn.destroy();
      this.server.close();
      fs.rmSync(this.dir, { recursive: true });
    });
  }

  confirm(conn) {
    conn.end();
  }

  listen() {
    return new Promise((resolve) => this.server.listen({ path: this.path, backlog: this.backlog }, () => resolve(this)));
  }

  read() {
    this.reading = true;
    for (const conn of this.sockets) conn.resume();
  }

  /** Every line of every connection once all are at their end, strictly decoded; a torn line fails. */
  async lines() {
    await sleep(20);
    for (const end = performance.now() + 10_000; this.sockets.size > 0 && performance.now() < end; ) await sleep(5);
    return this.connections.flatMap((got) => {
      const all = Buffer.concat(got);
      const lines = new TextDecoder("utf-8", { fatal: true }).decode(all).split("\n");
      assert.equal(lines.pop(), "", "torn line");
      for (const line of lines) assert.ok(Buffer.byteLength(line) < MAX_LINE);
      return lines.map((line) => JSON.parse(line));
    });
  }
}

function start(program, path, env = {}, args = ["--input-type=module"]) {
  const full = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith("OBSRUN_")));
  Object.assign(full, { OBSRUN_PARENT_SPAN: "root", OBSRUN_RUN_ID: "run-1" }, path === undefined ? {} : { OBSRUN_SOCKET: path });
  delete full.NODE_TEST_CONTEXT;
  const all = "span startSpan Span emit log phase artifact queued current env flush".split(" ").join(", ");
  const source = args.length ? `import { ${all} } from ${JSON.stringify(CLIENT)};\n${program}` : program;
  const child = spawn(process.execPath, [...args, "-e", source], { env: { ...full, ...env }, timeout: 60_000 });
  child.text = { out: "", err: "" };
  child.stdout.on("data", (data) => (child.text.out += data));
  child.stderr.on("data", (data) => (child.text.err += data));
  child.done = new Promise((resolve) => child.on("close", (code, signal) => resolve({ code: code ?? signal, ...child.text })));
  return child;
}

async function run(program, path, { code = 0, quiet = true, env, args } = {}) {
  const result = await start(program, path, env, args).done;
  assert.equal(result.code, code, result.err);
  if (quiet) assert.equal(result.err, "");
  return result.out;
}

/** What arrived on a reading server from the program. */
async function play(t, program, options) {
  const server = await new Server(t).listen();
  const out = await run(program, server.path, options);
  return { lines: await server.lines(), out, server };
}

function parents(lines) {
  const starts = lines.filter((line) => line.event === "span_start");
  const names = Object.fromEntries(starts.map((line) => [line.span_id, line.name]));
  return Object.fromEntries(starts.map((line) => [line.name, names[line.parent] ?? line.parent]));
}

function statuses(lines) {
  const names = Object.fromEntries(lines.filter((line) => line.event === "span_start").map((line) => [line.span_id, line.name]));
  return Object.fromEntries(lines.filter((line) => line.event === "span_end").map((line) => [names[line.span_id], line.status]));
}

test("exact lines", async (t) => {
  const { server } = await play(
    t,
    `
    Date.now = () => 1712534400123;
    const clock = [5000, 19820];
    Object.defineProperty(globalThis, "performance", { value: { now: () => clock.shift() ?? 0 } });
    const answer = await span("encoding", { kind: "library-analysis", component: "encoding", phase: "depth-2", id: "lib-1", attrs: { n: 1 } }, async (s) => {
      s.tokens(100);
      s.tokens({ input: 40000, output: 2000, cached: 10, costUsd: 0.5 });
      s.toolUse();
      s.toolUses(30);
      s.update({ message: "half", attrs: { done: 0.5 }, call_id: "c1" });
      return 42;
    });
    if (answer !== 42) throw new Error("lost the value");
    log("look");
    phase("library-depth-0-complete", { wall_ms: 68400, libraries: 9 });
    artifact("a.md", "analysis");
    emit("custom", { n: 1 });
    emit("span_start", { span_id: "x" });
    `,
  );
  const counters = '"tokens":42100,"input_tokens":40000,"output_tokens":2000,"cached_tokens":10,"cost_usd":0.5';
  const ts = '"ts":1712534400.123}';
  assert.deepEqual(Buffer.concat(server.connections[0]).toString().split("\n"), [
    '{"event":"span_start","span_id":"lib-1","parent":"root","component":"encoding","name":"encoding","kind":"library-analysis","phase":"depth-2","attrs":{"n":1},' + ts,
    '{"event":"span_update","span_id":"lib-1","tokens":100,' + ts,
    `{"event":"span_update","span_id":"lib-1",${counters},` + ts,
    `{"event":"span_update","span_id":"lib-1",${counters},"tool_uses":1,` + ts,
    `{"event":"span_update","span_id":"lib-1",${counters},"tool_uses":31,` + ts,
    `{"event":"span_update","span_id":"lib-1","message":"half",${counters},"tool_uses":31,"call_id":"c1","attrs":{"done":0.5},` + ts,
    `{"event":"span_end","span_id":"lib-1","status":"ok","duration_ms":14820,${counters},"tool_uses":31,` + ts,
    '{"event":"log","span_id":"root","ts":1712534400.123,"level":"info","message":"look"}',
    '{"event":"phase","ts":1712534400.123,"name":"library-depth-0-complete","wall_ms":68400,"libraries":9}',
    '{"event":"artifact","span_id":"root","ts":1712534400.123,"path":"a.md","kind":"analysis"}',
    '{"event":"custom","ts":1712534400.123,"n":1}',
    '{"event":"span_start","parent":"root","ts":1712534400.123,"span_id":"x"}',
    "",
  ]);
  assert.equal(server.connections.length, 1);
});

test("minted ids are 16 hex and differ", async (t) => {
  const { lines } = await play(t, `for (let i = 0; i < 500; i++) startSpan("x");`);
  const ids = new Set(lines.map((line) => line.span_id));
  assert.equal(ids.size, 500);
  for (const id of ids) assert.match(id, /^[0-9a-f]{16}$/);
});

test("env of children", async (t) => {
  const { out } = await play(
    t,
    `
    const id = (id) => startSpan("x", { id }).env();
    console.log(JSON.stringify([env(), id("00f067aa0ba902b7"), id("lib-1")]));
    span("y", { id: "lib-2" }, () => console.log(env().OBSRUN_PARENT_SPAN));
    `,
  );
  const trace = "00-4e65d3fbe8ad6535681b021b30785b12-"; // the start of SHA-256("run-1")
  assert.deepEqual(JSON.parse(out.split("\n")[0]), [
    { OBSRUN_PARENT_SPAN: "root", TRACEPARENT: trace + "4813494d137e1631-01" },
    { OBSRUN_PARENT_SPAN: "00f067aa0ba902b7", TRACEPARENT: trace + "00f067aa0ba902b7-01" },
    { OBSRUN_PARENT_SPAN: "lib-1", TRACEPARENT: trace + "b8cc5e5f9fb66a2d-01" },
  ]);
  assert.equal(out.split("\n")[1], "lib-2");
});

test("queued, attempts, second end", async (t) => {
  const { lines } = await play(
    t,
    `
    let q, never;
    span("outer", { id: "o" }, () => { q = queued("work", { id: "w" }); never = queued("never", { id: "n" }); });
    q.run((s) => s.tokens(5));
    never.cancel();
    q.start(); q.tokens(2); q.end({ error: new TypeError("bad") }); q.end();
    `,
  );
  const got = lines.filter((line) => line.span_id !== "o").map((x) => [x.event, x.span_id, x.parent, x.tokens, x.status, x.error]);
  const none = undefined;
  assert.deepEqual(got, [
    ["span_queued", "w", "o", none, none, none],
    ["span_queued", "n", "o", none, none, none],
    ["span_start", "w", "o", none, none, none],
    ["span_update", "w", none, 5, none, none],
    ["span_end", "w", none, 5, "ok", none],
    ["span_end", "n", none, none, "cancelled", none],
    ["span_start", "w", "o", none, none, none],
    ["span_update", "w", none, 2, none, none],
    ["span_end", "w", none, 2, "error", "TypeError: bad"],
  ]);
});

test("nesting follows async calls", async (t) => {
  const { lines } = await play(
    t,
    `
    const tick = () => new Promise((resolve) => setTimeout(resolve, 1));
    const branch = (i) => span("branch-" + i, async () => { await tick(); await span("twig-" + i, {}, tick); });
    let main;
    await span("main", async (s) => {
      main = s;
      await Promise.all(Array.from({ length: 20 }, (_, i) => branch(i)));
      span("sync", () => span("sync-in", () => {}));
    });
    if (current().id !== "root") throw new Error("context left behind");
    main.within(() => startSpan("within").end());
    startSpan("explicit", { parent: main }).end();
    `,
  );
  const want = { main: "root", sync: "main", "sync-in": "sync", within: "main", explicit: "main" };
  for (let i = 0; i < 20; i++) Object.assign(want, { ["branch-" + i]: "main", ["twig-" + i]: "branch-" + i });
  assert.deepEqual(parents(lines), want);
});

test("what is thrown goes through and sets the status", async (t) => {
  const { lines } = await play(
    t,
    `
    const odd = { get name() { throw 1; }, toString() { throw 2; } };
    const cases = { error: new RangeError("bad \\ud800 thing"), string: "text", nothing: undefined, odd, abort: new DOMException("no", "AbortError") };
    for (const [name, thrown] of Object.entries(cases)) {
      for (const fn of [() => { throw thrown; }, async () => { throw thrown; }]) {
        let got = "nothing was thrown";
        try { await span(name, fn); } catch (err) { got = err; }
        if (got !== thrown) throw new Error(name);
      }
    }
    span("fine", () => {});
    span("failed", (s) => s.fail("told"));
    try { span("told", (s) => { s.fail("told"); throw new Error("other"); }); } catch {}
    span("cancelled", (s) => s.cancel());
    if (await span("thenable", () => ({ then(ok) { ok(7); } })) !== 7) throw new Error("thenable");
    { const s = startSpan("disposed"); s[Symbol.dispose ?? Symbol.for("Symbol.dispose")](); }
    `,
  );
  assert.deepEqual(statuses(lines), {
    error: "error", string: "error", nothing: "error", odd: "error", abort: "cancelled",
    fine: "ok", failed: "error", told: "error", cancelled: "cancelled", thenable: "ok", disposed: "ok",
  });
  const errors = lines.filter((line) => line.error).map((line) => line.error);
  assert.deepEqual(errors.slice(0, 4), ["RangeError: bad \ufffd thing", "RangeError: bad \ufffd thing", "text", "text"]);
});

test("every line arrives, however the program ends", async (t) => {
  const cases = {
    end: ["", 0],
    "process.exit": ["span('last', () => process.exit(3));", 3],
    "process.exit later": ["setTimeout(() => { log('m100'); process.exit(3); }, 20);", 3],
    "uncaught exception": ["setImmediate(() => { throw new Error('x'); });", 1],
    "unhandled rejection": ["Promise.reject(new Error('x'));", 1],
    "top-level throw": ["throw new Error('x');", 1],
    kill: ["process.kill(process.pid, 'SIGKILL');", "SIGKILL"],
    "exit handler": ["process.on('exit', () => log('m100'));", 0],
    "beforeExit handler": ["process.on('beforeExit', () => console.log('once'));", 0],
  };
  await Promise.all(
    Object.entries(cases).map(async ([name, [program, code]]) => {
      // A socket takes about 250 lines of which none is read; a kill loses what is beyond.
      const { lines, out } = await play(t, "for (let i = 0; i < 100; i++) log('m' + i);\n" + program, { code, quiet: false });
      const got = lines.filter((line) => line.event === "log").map((line) => line.message);
      const more = /later|exit handler/.test(name) ? 1 : 0;
      assert.deepEqual(got, Array.from({ length: 100 + more }, (_, i) => "m" + i), name);
      if (name === "beforeExit handler") assert.equal(out, "once\n");
    }),
  );
});

test("a slow server gets everything before process.exit is through", async (t) => {
  const server = await new Server(t, { reading: false }).listen();
  const child = start(`for (let i = 0; i < 3000; i++) log("m" + i + "x".repeat(1000)); console.log("exit"); process.exit(5);`, server.path);
  await new Promise((resolve) => child.stdout.once("data", resolve));
  await sleep(50);
  server.read();
  assert.equal((await child.done).code, 5);
  const lines = await server.lines();
  assert.equal(lines.length, 3000);
  assert.equal(server.connections.length, 1);
});

test("the end waits for the confirmation", async (t) => {
  const server = await new Server(t).listen();
  let finish;
  const ended = new Promise((resolve) => (server.confirm = (conn) => resolve((finish = () => conn.end()))));
  const child = start(`log("x");`, server.path);
  await ended; // the half-close, while the program still waits
  assert.equal(await Promise.race([child.done, sleep(300, "waits")]), "waits");
  finish();
  assert.equal((await child.done).code, 0);
});

test("flush tells whether it was confirmed", async (t) => {
  const { out, lines } = await play(t, `log("x"); console.log(await flush(), await flush()); log("y"); console.log(await flush());`);
  assert.equal(out, "true true\ntrue\n");
  assert.equal(lines.length, 2);
});

test("nothing keeps the program alive", async (t) => {
  const server = await new Server(t, { reading: false }).listen();
  const begin = performance.now();
  await run(`log("x");`, server.path); // never confirmed
  await run(`for (let i = 0; i < 5000; i++) log("x".repeat(100)); process.exit(0);`, server.path); // never read
  await run(`log("x"); setTimeout(() => {}, 100);`, undefined);
  assert.ok(performance.now() - begin < 30_000);
});

test("workers", async (t) => {
  const { lines, server } = await play(
    t,
    `
    import { Worker } from "node:worker_threads";
    await span("main", { id: "main" }, async () => {
      const source = 'import(' + JSON.stringify(${JSON.stringify(CLIENT)}) + ').then(({ span, log }) => { for (let i = 0; i < 200; i++) log("w" + i); span("in-worker", () => {}); });';
      const workers = [0, 1, 2].map((i) => new Worker(i === 2 ? source.replace("span(", "process.exit(span(").replace("{}); }", "0)); }") : source, { eval: true, env: { ...process.env, ...env() } }));
      await Promise.all(workers.map((w) => new Promise((resolve) => w.on("exit", resolve))));
    });
    `,
  );
  assert.equal(server.connections.length, 4);
  assert.equal(lines.filter((line) => line.event === "log").length, 600);
  assert.equal(lines.filter((line) => line.name === "in-worker" && line.parent === "main").length, 3);
  assert.equal(lines.filter((line) => line.event === "span_end").length, 4);
});

test("CommonJS", async (t) => {
  const client = JSON.stringify(CLIENT);
  const { lines } = await play(t, `import(${client}).then(({ log }) => log("imported"));`, { args: [] });
  assert.equal(lines[0].message, "imported");
  if (process.features.require_module) {
    const { lines } = await play(t, `require(${client}).log("required");`, { args: [], quiet: false });
    assert.equal(lines[0].message, "required");
  }
});

const EVERYTHING = `
  const begin = performance.now();
  if (span("x", { kind: "agent" }, (s) => { s.tokens(1); log("m"); s.update({ message: "hi" }); return 7; }) !== 7) throw new Error();
  emit("x"); phase("p"); artifact("a"); queued("q").cancel(); current().toolUse(); env();
  if (await span("y", async () => 8) !== 8) throw new Error();
  if (performance.now() - begin > 3000) throw new Error("slow");
  `;

test("outside obsrun, without a socket, with a dead one, with nonsense", async (t) => {
  const server = await new Server(t).listen();
  const dead = nodePath.join(server.dir, "dead");
  const holder = spawn(process.execPath, ["-e", `require("net").createServer().listen(${JSON.stringify(dead)}, () => process.kill(process.pid, "SIGKILL"))`]);
  await new Promise((resolve) => holder.on("exit", resolve));
  assert.ok(fs.existsSync(dead));
  const paths = [undefined, "", nodePath.join(server.dir, "none"), dead, server.dir, "/dev/null", "x".repeat(300), "a\u0000b".slice(0, 1)];
  await Promise.all(
    paths.flatMap((path) => ["", "process.exit(0);", "setTimeout(() => log('later'), 50);"].map((end) => run(EVERYTHING + end, path))),
  );
  assert.equal(await run(`console.log(JSON.stringify(env()));`, undefined), "{}\n");
});

test("the server dies", async (t) => {
  const server = await new Server(t).listen();
  const child = start(
    `log("first"); console.log("ready"); setTimeout(() => { for (let i = 0; i < 5000; i++) log("m" + i); console.log("done"); }, 400);`,
    server.path,
  );
  await new Promise((resolve) => child.stdout.once("data", resolve));
  await sleep(50);
  for (const conn of server.sockets) conn.destroy();
  server.server.close();
  assert.deepEqual(await child.done, { code: 0, out: "ready\ndone\n", err: "" });
});

test("a slow server delays nobody and the loss is told", async (t) => {
  const server = await new Server(t, { reading: false }).listen();
  const child = start(
    `
    const begin = performance.now();
    await span("flood", async (s) => { for (let i = 0; i < 30000; i++) s.update({ attrs: { i } }); });
    console.log(performance.now() - begin);
    setTimeout(() => {}, 300);
    `,
    server.path,
  );
  const took = Number(await new Promise((resolve) => child.stdout.once("data", resolve)));
  server.read();
  await child.done;
  const lines = await server.lines();
  let lost = 0;
  for (const line of lines.filter((line) => line.event === "log")) {
    assert.equal(line.level, "warn");
    lost += Number(line.message.match(/^obsrun client lost (\d+) events?: its buffer was full$/)[1]);
  }
  assert.ok(lost > 10_000);
  assert.equal(lines.filter((line) => line.event === "span_update").length + lost, 30_000);
  assert.equal(lines.filter((line) => line.event === "span_end").length, 1); // ends have a reserve
  assert.ok(took < 15_000, String(took)); // a wait of 1 ms an event would take 30 s
});

test("a full backlog is waited for", async (t) => {
  const server = await new Server(t, { backlog: 1 }).listen();
  const children = Array.from({ length: 6 }, (_, i) => start(`log("m${i}"); setTimeout(() => {}, 900);`, server.path));
  // While this thread sleeps nobody accepts: the programs start, and most find the backlog full.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 800);
  await Promise.all(children.map((child) => child.done));
  const lines = await server.lines();
  assert.deepEqual(lines.map((line) => line.message).sort(), Array.from({ length: 6 }, (_, i) => "m" + i));
});

test("a runtime that does not show the descriptor", async (t) => {
  const hide = `
    import net from "node:net";
    const connect = net.connect;
    const show = (s, key) => (key === "_handle" ? {} : typeof s[key] === "function" ? s[key].bind(s) : s[key]);
    net.connect = (options) => new Proxy(connect(options), { get: show });
    `;
  const { lines } = await play(t, hide + `for (let i = 0; i < 5000; i++) log("m" + i + "x".repeat(200));`);
  assert.equal(lines.length, 5000);
});

test("hostile values", async (t) => {
  const { lines } = await play(
    t,
    `
    const cycle = {}; cycle.me = cycle;
    const ring = []; ring.push([ring]);
    let deep = []; for (let i = 0; i < 5000; i++) deep = [deep];
    const revoked = Proxy.revocable({}, {}); revoked.revoke();
    const values = { nan: NaN, inf: -Infinity, big: 7n, huge: 10n ** 40n, half: "a\\ud800b", cycle, ring, deep, revoked: revoked.proxy,
      get loud() { throw new Error("no"); }, json: { toJSON() { throw 1; } }, set: new Set([1]), map: new Map([[{}, 1], ["k", 2]]), raw: Buffer.from([255, 97]),
      floats: new Float64Array([1, NaN]), when: new Date(0), never: new Date(NaN), none: null, undef: undefined, fn: isNaN, symbol: Symbol("s"),
      lines: "a\\r\\nb\\u2028", error: new TypeError("bad"), "\\udfff": 6, ["__proto__"]: 1, sparse: [, 1], bare: Object.create(null) };
    span("n\\ud800", { attrs: values, component: 3, kind: Symbol("k"), id: "\\udc00" }, (s) => {
      s.tokens("many"); s.tokens(-1); s.tokens(NaN); s.tokens(null); s.tokens(); s.tokens(1e300); s.tokens(7n); s.toolUses([]); s.update({ attrs: 7 }); s.update();
      s.fail(revoked.proxy);
    });
    emit(null); emit(undefined, null); emit("x", { "": 1 }); log(); log(Symbol("x")); phase(3, null); artifact({}); emit("c", cycle);
    span("null options", null, () => {}); startSpan("a", null); queued("b", null);
    `,
  );
  const { attrs } = lines[0];
  const want = {
    nan: null, inf: null, big: 7, huge: String(10n ** 40n), half: "a\ufffdb", cycle: { me: "(cycle)" }, ring: [["(cycle)"]],
    set: [1], map: { "[object Object]": 1, k: 2 }, raw: "\ufffda", floats: [1, null], when: "1970-01-01T00:00:00.000Z", never: null,
    none: null, symbol: "Symbol(s)", lines: "a\r\nb\u2028", error: "TypeError: bad", "\ufffd": 6, sparse: [null, 1], bare: {},
  };
  for (const [key, value] of Object.entries(want)) assert.deepEqual(attrs[key], value, key);
  assert.ok(Object.hasOwn(attrs, "__proto__"));
  assert.ok(!("undef" in attrs || "loud" in attrs));
  assert.match(JSON.stringify(attrs.deep), /too deep/);
  assert.equal(lines[0].name, "n\ufffd");
  assert.equal(lines.filter((line) => line.event === "span_end").length, 2);
  assert.ok(lines.some((line) => line.event === "c"));
});

test("a line stays under 1 MiB", async (t) => {
  const { lines, out } = await play(
    t,
    `
    const begin = performance.now();
    const keys = {}; for (let i = 0; i < 300000; i++) keys[i] = i;
    for (const huge of ["x".repeat(5 << 20), "\\u0001".repeat(5 << 20), "\u{1F600}".repeat(2 << 20), Array(1 << 20).fill("y".repeat(10)), keys,
                        Buffer.alloc(3 << 20, "z"), Array(1000).fill(Array(1000).fill("a"))]) {
      span("big", { attrs: { huge, small: 1 } }, (s) => s.fail(String(huge)));
      await flush(30000); // the buffer holds 4 MiB
      log(huge);
      emit("custom", { first: huge, second: huge, n: 1 });
      await flush(30000);
    }
    const k = "k".repeat(2 << 20);
    span(k, { kind: k, component: k, id: k }, () => {});
    console.log(performance.now() - begin);
    `,
  );
  const count = (event) => lines.filter((line) => line.event === event).length;
  assert.deepEqual([count("span_start"), count("span_end"), count("custom"), count("log")], [8, 8, 7, 7]);
  for (const line of lines) assert.ok(line.ts > 0 && (line.event !== "custom" || line.n === 1));
  assert.ok(Number(out) < 20_000);
});
