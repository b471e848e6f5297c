import test from "node:test";
import assert from "node:assert/strict";
import { dirOf, network, pathsOf, touched } from "../src/touched.js";

const call = (name, tool, input, more) => ({ name, tool, input, size: 10, failed: false, ...more });

test("paths in what a call was given", () => {
  for (const [input, want] of [
    [{ file_path: "/src/a.go" }, ["/src/a.go"]],
    [{ pattern: "/src/**/*.go" }, ["/src"]],
    [{ pattern: "func New", path: "/src/b/" }, ["/src/b"]],
    [{ command: "wc -l /src/core/*.go" }, ["/src/core"]],
    [{ command: "cat ./a/b.txt > /dev/null; grep x pkg/y.go" }, ["./a/b.txt", "pkg/y.go"]],
    [{ command: "curl https://example.org/x" }, []],
    [{ command: 7, file_path: null }, []],
    [undefined, []],
  ]) assert.deepEqual(pathsOf(input), want, JSON.stringify(input));
  assert.deepEqual(["/src/a.go", "/src/pkg", "a.go"].map(dirOf), ["/src", "/src/pkg", "a.go"]);
});

const CALLS = [
  call("a", "Read", { file_path: "/src/x.go" }), call("b", "Edit", { file_path: "/src/x.go" }, { failed: true }),
  call("a", "Read", { file_path: "/src/y.go" }), call("a", "Bash", { command: "true" }),
];

test("resources with their calls", () => {
  const [x, y] = touched(CALLS, "file");
  assert.deepEqual([x.key, x.calls, x.writes, x.errors, x.size, [...x.agents], [...x.tools]], ["/src/x.go", 2, 1, 1, 20, ["a", "b"], ["Read", "Edit"]]);
  assert.equal(y.calls, 1);
  assert.deepEqual(touched(CALLS, "directory").map((r) => [r.key, r.calls]), [["/src", 3]]);
  assert.deepEqual(touched(CALLS, "agent").map((r) => [r.key, r.calls]), [["a", 2], ["b", 1]]);
});

test("the network of agents and resources", () => {
  const all = network(CALLS);
  assert.deepEqual(all.nodes.map((n) => [n.id, n.calls]), [["agent:a", 2], ["agent:b", 1], ["resource:/src/x.go", 2], ["resource:/src/y.go", 1]]);
  assert.equal(all.links.length, 3);
  assert.deepEqual(network(CALLS, { least: 2 }).nodes.map((n) => n.name), ["a", "b", "/src/x.go"]);
  const many = network(Array.from({ length: 1000 }, (_, i) => call("a", "Read", { file_path: `/d${i % 20}/f${i}.go` })), { most: 300 });
  assert.equal(many.nodes.length, 21, "directories where there are too many files");
  const cut = network(Array.from({ length: 1000 }, (_, i) => call("a", "Read", { file_path: `/d${i}/f.go` })), { most: 300 });
  assert.equal(cut.nodes.length, 300);
  assert.equal(cut.left, 701);
  const ids = new Set(cut.nodes.map((n) => n.id));
  assert.ok(cut.links.every((l) => ids.has(l.source) && ids.has(l.target)));
});
