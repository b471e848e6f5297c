import test from "node:test";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import vm from "node:vm";
import { Cast } from "../src/cast.js";
import { palette, stretches } from "../src/screen.js";
import { FileTail } from "../src/filetail.js";
import { LogFile, sourceOf } from "../src/logfile.js";

const TEXT = `{"version":2,"width":20,"height":3,"timestamp":1712534400}
[0.5,"o","one\\r\\n"]
[1.25,"r","30x5"]
[1.0,"o","late"]
[2,"i","typed"]
`;

test("a recording is read in whatever pieces it comes", () => {
  const want = [{ at: 500, data: "one\r\n" }, { at: 1250, cols: 30, rows: 5 }, { at: 1250, data: "late" }];
  for (const size of [1, 10, 1000]) {
    const cast = new Cast();
    for (let i = 0; i < TEXT.length; i += size) cast.feed(TEXT.slice(i, i + size));
    assert.deepEqual(cast.header, { cols: 20, rows: 3, start_ms: 1712534400000 });
    assert.deepEqual(cast.events, want);
    assert.equal(cast.length, 1250);
    assert.deepEqual([0, 499, 500, 1250, 9999].map((at) => cast.until(at)), [0, 0, 1, 3, 3]);
  }
});

test("what is no recording is counted", () => {
  const cast = new Cast().feed('nothing\n{"version":9}\n{"version":2,"width":-1,"height":99999}\n[]\n["x","o","y"]\n{"a":1}\nnull\n[1,"r","wide"]\n[1,"o",7]\n');
  assert.deepEqual(cast.header, { cols: 80, rows: 500, start_ms: 0 });
  assert.equal(cast.events.length, 0);
  assert.equal(cast.unreadable, 7);
});

test("a recording that began with the run has its clock", () => {
  const cast = new Cast().feed(TEXT);
  assert.equal(cast.behind(1712534400999), 0);
  assert.equal(cast.behind(1712534399001), 0);
  assert.equal(cast.behind(1712534390000), 10_000);
  assert.equal(cast.behind(0), 0);
});

const emulator = async () => {
  const context = vm.createContext({ navigator: { userAgent: "", platform: "" }, setTimeout, clearTimeout, performance, queueMicrotask });
  context.window = context;
  vm.runInContext(await readFile(new URL("../vendor/xterm.min.js", import.meta.url), "utf8"), context);
  return context.xterm.Terminal;
};

test("the emulator's screen as pieces of one look", async () => {
  const Terminal = await emulator();
  const term = new Terminal({ cols: 20, rows: 3, scrollback: 0, allowProposedApi: true });
  await new Promise((done) => term.write("a\x1b[1;31mred\x1b[0m \x1b[38;5;208mx\x1b[48;2;1;2;3my\x1b[0m\r\n\x1b[7minv\x1b[0m   \r\n\u{1F600}\u5B57<img>", done));
  const buffer = term.buffer.active;
  const cell = buffer.getNullCell();
  const line = (y, cursor) => stretches(buffer.getLine(buffer.baseY + y), 20, cell, cursor);
  assert.deepEqual(line(0), [["|||", "a"], ["b|var(--t9)||", "red"], ["|||", " "], ["|#ff8700||", "x"], ["|#ff8700|#010203|", "y"]]);
  assert.deepEqual(line(1), [["|var(--term-bg)|var(--term-fg)|", "inv"]]);
  assert.deepEqual(line(2, 8).map(([, text]) => text), ["\u{1F600}\u5B57<img>", " "]);
  assert.equal(line(2, 8)[1][0], "|||cursor");
  assert.deepEqual([0, 15, 16, 231, 232, 255].map(palette), ["var(--t0)", "var(--t15)", "#000000", "#ffffff", "#080808", "#eeeeee"]);
});

// server answers as the run's server does: a list of files, and ranges of one.
const server = (files) => async (url, { headers } = {}) => {
  if (url === "files") return { ok: true, status: 200, json: async () => Object.fromEntries(Object.entries(files).map(([name, text]) => [name, new TextEncoder().encode(text).length])) };
  if (!(url in files)) return { ok: false, status: 404 };
  const bytes = new TextEncoder().encode(files[url]);
  const from = Number(/bytes=(\d+)-/.exec(headers?.Range ?? "")?.[1] ?? 0);
  if (from && from >= bytes.length) return { ok: false, status: 416 };
  return { ok: true, status: from ? 206 : 200, arrayBuffer: async () => bytes.slice(from).buffer };
};

test("a file that grows is read on, whatever stands at the cut", async () => {
  const files = { a: "caf\u00e9 " };
  const tail = new FileTail("a", { fetch: server(files) });
  assert.equal(await tail.more(), "caf\u00e9 ");
  assert.equal(await tail.more(), "");
  files.a += "more";
  assert.equal(await tail.more(), "more");
  assert.equal(await new FileTail("b", { fetch: server(files) }).more(), null);
  await assert.rejects(new FileTail("b", { fetch: server(files), listed: false }).more());
});

test("a log that is not there yet is looked for again while the run goes on", async () => {
  const files = {};
  let drawn = 0;
  const log = new LogFile({ changed: () => drawn++, say: () => {}, fetch: server(files) });
  const want = async (live, now) => {
    log.want(live, now);
    await log.reading;
  };
  await want(true, 0);
  assert.equal(log.state, "absent");
  files["tool_calls.jsonl"] = '{"event":"text_block","text":"a"}\n{"event":"text_bl';
  await want(true, 100);
  assert.equal(log.state, "absent", "not so soon");
  await want(true, 5000);
  assert.deepEqual([log.state, log.log.blocks.length], ["read", 1]);
  files["tool_calls.jsonl"] += 'ock","text":"b"}\n';
  await want(false, 5100);
  assert.equal(log.log.blocks.length, 2, "once more when the run ended");
  const before = drawn;
  await want(false, 99_000);
  assert.equal(drawn, before);
});

test("only this server's logs are read", () => {
  const at = (search) => sourceOf({ search, href: `http://127.0.0.1:1/${search}`, origin: "http://127.0.0.1:1" });
  assert.equal(at(""), "tool_calls.jsonl");
  assert.equal(at("?src=/x.jsonl"), "http://127.0.0.1:1/x.jsonl");
  for (const src of ["https://example.org/x", "//example.org/x", "http://127.0.0.1:2/x", "javascript:alert(1)", "http://["]) assert.equal(at(`?src=${encodeURIComponent(src)}`), "tool_calls.jsonl", src);
});
