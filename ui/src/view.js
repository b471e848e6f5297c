// What the user chose, and the same as the hash of an address. Pure.

export const TABS = ["timeline", "agents", "tools", "tokens", "text", "resources", "table"];
export const STATES = ["running", "stalled", "queued", "done", "error", "cancelled", "lost"];

const MOST_PINS = 20;
const MOST_NAMES = 200;

// The sets of names: as the address calls them, as the view does.
const SETS = [["tool", "tools"], ["agent", "owners"], ["dir", "dirs"]];

// newView gives the state of a page that nobody touched. collapsed has the rows
// that the user folded (true) or opened (false); domain, area and replay are
// milliseconds since the run's start, null for the whole run and for now; states
// are those shown, none of them meaning all; tools, owners (agents) and dirs are
// names, weight the least one, for the tables of calls, and again none means all;
// changes counts what rows depend on.
export function newView() {
  return {
    tab: "timeline", selected: "", domain: null, replay: null, find: "", states: new Set(), hideDone: false,
    pins: [], collapsed: new Map(), follow: true, path: true, terminal: false, area: null, changes: 0,
    tools: new Set(), weight: 0, owners: new Set(), dirs: new Set(),
  };
}

const seconds = (ms) => String(Math.round(ms) / 1000);

// toHash gives the view as the part of an address behind the #, empty where it is
// the one that the page has by itself.
export function toHash(view) {
  const parts = new URLSearchParams();
  if (view.tab !== "timeline") parts.set("tab", view.tab);
  if (view.selected) parts.set("select", view.selected);
  if (view.domain && !view.follow) parts.set("zoom", view.domain.map(seconds).join("-"));
  if (view.replay !== null) parts.set("replay", seconds(view.replay));
  if (view.area) parts.set("area", view.area.map(seconds).join("-"));
  if (view.find) parts.set("find", view.find);
  if (view.states.size) parts.set("states", STATES.filter((s) => view.states.has(s)).join());
  if (view.hideDone) parts.set("hide", "completed");
  if (!view.path) parts.set("path", "off");
  if (view.terminal) parts.set("terminal", "on");
  if (view.weight) parts.set("weight", String(view.weight));
  for (const [name, key] of SETS) for (const value of view[key]) parts.append(name, value);
  for (const key of view.pins) parts.append("pin", key);
  for (const [key, folded] of view.collapsed) parts.append(folded ? "fold" : "open", key);
  return parts.toString();
}

// stretchOf reads a stretch of the clock, "12.5-88", as milliseconds, or gives null.
function stretchOf(text) {
  const found = /^(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)$/.exec(text ?? "");
  return found && Number(found[1]) < Number(found[2]) ? [found[1] * 1000, found[2] * 1000] : null;
}

// fromHash reads an address; what is missing or makes no sense is as in newView.
export function fromHash(hash) {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const view = newView();
  const tab = parts.get("tab");
  if (TABS.includes(tab)) view.tab = tab;
  view.selected = /^[splct]:/.test(parts.get("select") ?? "") ? parts.get("select") : "";
  const zoom = stretchOf(parts.get("zoom"));
  if (zoom) {
    view.domain = zoom;
    view.follow = false;
  }
  const area = stretchOf(parts.get("area"));
  if (area) view.area = area;
  const replay = parts.get("replay");
  if (replay !== null && /^\d+(\.\d+)?$/.test(replay)) view.replay = replay * 1000;
  view.find = parts.get("find") ?? "";
  for (const state of (parts.get("states") ?? "").split(",")) if (STATES.includes(state)) view.states.add(state);
  view.hideDone = parts.get("hide") === "completed";
  view.path = parts.get("path") !== "off";
  view.terminal = parts.get("terminal") === "on";
  view.pins = [...new Set(parts.getAll("pin"))].filter((key) => key.startsWith("s:")).slice(0, MOST_PINS);
  if (/^(3|6|9)$/.test(parts.get("weight") ?? "")) view.weight = Number(parts.get("weight"));
  for (const [name, key] of SETS) view[key] = new Set(parts.getAll(name).slice(0, MOST_NAMES));
  for (const key of parts.getAll("fold")) view.collapsed.set(key, true);
  for (const key of parts.getAll("open")) view.collapsed.set(key, false);
  return view;
}

// pin puts a row above the others, or back; the oldest one makes room.
export function pin(view, key) {
  if (view.pins.includes(key)) view.pins = view.pins.filter((other) => other !== key);
  else view.pins = [...view.pins, key].slice(-MOST_PINS);
}
