// Which files and directories the tools worked on. Pure.

const MOST_NODES = 300;
const COMMAND_PATHS = /(?:^|[\s"'=<>(])((?:\.{1,2}|~|@[\w.-]+)?\/[\w.@*+-]+(?:\/[\w.@*+-]+)*\/?|[\w.@*-]+\/[\w.@*/-]+)/g;

// pathsOf gives the paths that a call names: its file, what it looks in, what looks
// like a path in its command. A pattern counts up to its first wildcard.
export function pathsOf(input) {
  const out = new Set();
  const add = (path) => {
    if (typeof path !== "string" || !path) return;
    const whole = path.replace(/\/[^/]*[*?[{].*$/, "").replace(/\/+$/, "");
    if (whole && !/[*?]/.test(whole)) out.add(whole);
  };
  for (const name of ["file_path", "notebook_path", "path"]) add(input?.[name]);
  if (typeof input?.pattern === "string" && input.pattern.includes("/")) add(input.pattern);
  if (typeof input?.command === "string") for (const found of input.command.slice(0, 2000).matchAll(COMMAND_PATHS)) if (!/^\/dev\/|:\/\//.test(found[1])) add(found[1]);
  return [...out];
}

// dirOf is the directory of a file; what has no dot in its last part is one itself.
export function dirOf(path) {
  const at = path.lastIndexOf("/");
  return path.slice(at + 1).includes(".") && at > 0 ? path.slice(0, at) : path;
}

const WRITE_TOOLS = /^(write|edit|multiedit|notebookedit|write_file|edit_file)$/i;

// touched sums calls up by resource: {key, calls, writes, errors, agents (names),
// tools, size (bytes that came back)}; by is "file", "directory" or "agent".
export function touched(calls, by) {
  const rows = new Map();
  for (const call of calls) {
    const keys = new Set(pathsOf(call.input).map((path) => (by === "file" ? path : by === "directory" ? dirOf(path) : call.name || "outside of every agent")));
    for (const key of keys) {
      let row = rows.get(key);
      if (!row) {
        row = { key, calls: 0, writes: 0, errors: 0, size: 0, agents: new Set(), tools: new Set() };
        rows.set(key, row);
      }
      row.calls++;
      if (WRITE_TOOLS.test(call.tool)) row.writes++;
      if (call.failed) row.errors++;
      if (call.size > 0) row.size += call.size;
      row.agents.add(call.name);
      row.tools.add(call.tool);
    }
  }
  return [...rows.values()].sort((a, b) => b.calls - a.calls || (a.key < b.key ? -1 : 1));
}

// network joins agents with what they touched: {nodes: [{id, kind ("agent" or
// "resource"), name, calls}], links: [{source, target, calls}], left}. A resource
// needs as many agents as least; where there are more than can be told apart, only
// directories are kept, and of them the busiest: left are those that are not.
export function network(calls, { by = "file", least = 1, most = MOST_NODES } = {}) {
  const build = (unit) => {
    const nodes = new Map();
    const links = new Map();
    const node = (kind, name) => {
      const id = `${kind}:${name}`;
      if (!nodes.has(id)) nodes.set(id, { id, kind, name, calls: 0 });
      return nodes.get(id);
    };
    const rows = touched(calls, unit).filter((row) => row.agents.size >= least);
    const wanted = new Set(rows.map((row) => row.key));
    for (const call of calls) {
      for (const key of new Set(pathsOf(call.input).map((path) => (unit === "file" ? path : dirOf(path))))) {
        if (!wanted.has(key)) continue;
        const a = node("agent", call.name || "outside of every agent");
        const r = node("resource", key);
        a.calls++;
        r.calls++;
        const id = `${a.id}\n${r.id}`;
        if (!links.has(id)) links.set(id, { source: a.id, target: r.id, calls: 0 });
        links.get(id).calls++;
      }
    }
    return { nodes, links };
  };
  let { nodes, links } = build(by === "directory" ? "directory" : "file");
  if (nodes.size > most && by !== "directory") ({ nodes, links } = build("directory"));
  const order = [...nodes.values()].sort((a, b) => (a.kind === "agent" ? 0 : 1) - (b.kind === "agent" ? 0 : 1) || b.calls - a.calls || (a.id < b.id ? -1 : 1));
  const kept = order.slice(0, most);
  const ids = new Set(kept.map((n) => n.id));
  return { nodes: kept, links: [...links.values()].filter((l) => ids.has(l.source) && ids.has(l.target)), left: order.length - kept.length };
}
