// Which rows there are and where they stand. Pure: heights in px come in, tops go
// out. A row is {key, phase, id, level, parent, top, height, expandable, expanded}:
// phase is the name of its group, id its span (empty on the row of a group). Rows
// that the user pinned stand first, with tops of their own. Below an agent that was
// opened stand lanes with its calls: they have lane (its name) and agent.

import { phaseLabel } from "./hues.js";
import { callsKey, laneKey } from "./lanes.js";

export const spanKey = (id) => `s:${id}`;
export const phaseKey = (name) => `p:${name}`;

const FINISHED = new Set(["done", "cancelled"]);

const bySeq = (a, b) => a.seq - b.seq;

function inOrder(spans) {
  for (let i = 1; i < spans.length; i++) if (spans[i - 1].seq > spans[i].seq) return false;
  return true;
}

// matcher gives the test for a text that the user looks for.
export function matcher(find) {
  const wanted = find.trim().toLowerCase();
  if (!wanted) return null;
  return (span) =>
    [span.name, span.component, span.kind, span.id].some((text) => text && text.toLowerCase().includes(wanted));
}

// groups sorts the spans with rows by phase, in the order of the phases; those
// without one stand last.
function groups(model) {
  const by = new Map(model.phases.map((p) => [p.name, []]));
  for (const span of model.rows.values()) {
    const name = span.phase ?? "";
    if (!by.has(name)) by.set(name, []);
    by.get(name).push(span);
  }
  const loose = by.get("");
  if (loose) {
    by.delete("");
    by.set("", loose);
  }
  for (const spans of by.values()) if (!inOrder(spans)) spans.sort(bySeq);
  return by;
}

// nested puts the spans of one group in order: each below the one it belongs to,
// where that is in the group too.
function nested(spans) {
  const here = new Set(spans.map((s) => s.id));
  const below = new Map();
  const tops = [];
  for (const span of spans) {
    const above = here.has(span.agent) ? span.agent : here.has(span.parent) ? span.parent : "";
    if (!above || above === span.id) tops.push(span);
    else if (below.has(above)) below.get(above).push(span);
    else below.set(above, [span]);
  }
  return { tops, below };
}

// shows gives the test for the spans that the user did not filter out by state.
export function shows(view) {
  return (span) => !(view.hideDone && FINISHED.has(span.state)) && (!view.states?.size || view.states.has(span.state) || (span.state === "stalled" && view.states.has("running")));
}

// layout gives {rows, pins, height, index, hits}: index is where the row of a key
// is, pins how many rows at the beginning are pinned, hits the ids that were looked
// for, in the order of the rows, folded ones too. view: collapsed (Map of key to
// true or false, where the user chose), hideDone, states, find, pins, fold (fold
// what is finished unless the user chose otherwise), row and group (heights), lanes
// (what Lanes does, or nothing).
export function layout(model, view) {
  const rows = [];
  const hits = [];
  let top = 0;
  const matches = matcher(view.find);
  const open = shows(view);
  const filtered = Boolean(matches) || view.hideDone || view.states?.size > 0;
  const found = (span) => matches(span) && open(span);
  const push = (row, height) => {
    row.top = top;
    row.height = height;
    rows.push(row);
    top += height;
  };
  for (const key of view.pins ?? []) {
    const span = model.rows.get(key.slice(2));
    if (span) push({ key, phase: span.phase ?? "", id: span.id, level: 1, parent: "", expandable: false, expanded: false, pinned: true }, view.row);
  }
  const pins = rows.length;
  const pinned = new Set(rows.map((row) => row.id));
  top = 0;

  const { lanes } = view;
  const chosen = (key) => view.collapsed.get(key);

  // inside puts the lanes of an agent, which are closed until the user opens them.
  // Where agents stand below it too, the lanes share a row that opens them.
  const inside = (id, phase, level, parent, children) => {
    if (!lanes?.has(id)) return;
    let above = parent;
    let deep = level;
    if (children > 0) {
      above = callsKey(id);
      const expanded = chosen(above) === false;
      push({ key: above, phase, id: "", agent: id, lane: "Calls", level: deep, parent, expandable: true, expanded }, view.row);
      if (!expanded) return;
      deep++;
    }
    for (const one of lanes.of(id)) push({ key: laneKey(id, one.name), phase, id: "", agent: id, lane: one.name, marks: one, level: deep, parent: above, expandable: false, expanded: false }, view.row);
  };

  // folded is how deep below a closed row this is: counted, but not shown.
  const walk = (list, below, wanted, phase, level, parent, folded = false) => {
    for (const span of list) {
      const children = below.get(span.id) ?? [];
      const key = spanKey(span.id);
      const opens = Boolean(lanes?.has(span.id));
      const expanded = children.length > 0 ? !chosen(key) : opens && chosen(key) === false;
      const shown = !pinned.has(span.id) && (!filtered || wanted(span) || children.some((c) => wanted(c)));
      if (matches && wanted(span)) hits.push(span.id);
      if (shown && !folded) push({ key, phase, id: span.id, level, parent, expandable: children.length > 0 || opens, expanded, below: children.length }, view.row);
      if (shown && !folded && expanded) inside(span.id, phase, level + 1, key, children.length);
      if ((expanded && children.length) || (matches && children.length)) walk(children, below, wanted, phase, level + 1, shown ? key : parent, folded || !expanded);
    }
  };

  for (const [name, spans] of groups(model)) {
    const phase = model.phase.get(name);
    const { tops, below } = nested(spans);
    // A phase that is what the user looks for is shown with all it has.
    const named = matches && phaseMatches(name, view.find);
    const wanted = matches && !named ? found : open;
    if (!phase && model.phases.length === 0) {
      walk(tops, below, wanted, name, 1, "");
      continue;
    }
    const left = filtered ? spans.filter(wanted) : spans;
    if (matches && left.length === 0 && !named) continue;
    if (phase && spans.length === 1) { // one row says it all
      if (matches) hits.push(spans[0].id);
      if (pinned.has(spans[0].id)) continue;
      const alone = spanKey(spans[0].id);
      const opens = Boolean(lanes?.has(spans[0].id));
      const expanded = opens && chosen(alone) === false;
      push({ key: alone, phase: name, id: spans[0].id, level: 1, parent: "", expandable: opens, expanded, below: 0, alone: true }, view.group);
      if (expanded) inside(spans[0].id, name, 2, alone, 0);
      continue;
    }
    const key = phaseKey(name);
    const folded = view.collapsed.get(key) ?? (view.fold && phase?.state === "done" && !matches);
    const expandable = left.length > 0;
    push({ key, phase: name, id: "", level: 1, parent: "", expandable, expanded: expandable && !folded }, view.group);
    if (expandable && (!folded || matches)) walk(tops, below, wanted, name, 2, key, Boolean(folded));
  }
  return { rows, pins, height: top, index: new Map(rows.map((row, i) => [row.key, i])), hits };
}

function phaseMatches(name, find) {
  return phaseLabel(name).toLowerCase().includes(find.trim().toLowerCase());
}

// rowAt finds the row at a height, by bisection: the last that begins above it, of
// those from the one at first on.
export function rowAt(rows, y, first = 0) {
  let low = Math.min(first, Math.max(0, rows.length - 1));
  let high = rows.length - 1;
  while (low < high) {
    const mid = (low + high + 1) >> 1;
    if (rows[mid].top <= y) low = mid;
    else high = mid - 1;
  }
  return low;
}

// pathRows gives the critical path as rows: [{row, from, to}], Unix milliseconds.
// A piece belongs to the row of its span, else of the agent above it, else of its
// phase; what has no row, the run's own gaps, is left out.
export function pathRows(model, { rows, index }) {
  const at = (id) => (id ? rows[index.get(spanKey(id))] : undefined);
  const tops = new Map(rows.filter((row) => row.level === 1).map((row) => [row.phase, row]));
  const steps = [];
  for (const piece of model.path) {
    const agent = model.spans.get(piece.span_id)?.agent ?? "";
    const row = at(piece.span_id) ?? at(agent) ?? (piece.phase ? tops.get(piece.phase) : undefined);
    if (!row || row.pinned) continue; // above the list there is no line
    const last = steps[steps.length - 1];
    if (last?.row === row) last.to = piece.end_ms;
    else steps.push({ row, from: piece.start_ms, to: piece.end_ms });
  }
  return steps;
}
