// The keyboard: one table, which the page acts on and the help shows.

import { el } from "./dom.js";

// Each entry: the keys (as KeyboardEvent.key), how they are shown, what they do,
// and the action's name. bare: a single character, which the user can turn off.
export const KEYS = [
  { keys: ["ArrowDown", "j"], show: "\u2193 j", says: "Next row", act: "down" },
  { keys: ["ArrowUp", "k"], show: "\u2191 k", says: "Previous row", act: "up" },
  { keys: ["ArrowRight"], show: "\u2192", says: "Open, then first child", act: "open" },
  { keys: ["ArrowLeft"], show: "\u2190", says: "Close, then parent", act: "close" },
  { keys: ["PageDown"], show: "Page Down", says: "A page down", act: "pageDown" },
  { keys: ["PageUp"], show: "Page Up", says: "A page up", act: "pageUp" },
  { keys: ["Home"], show: "Home", says: "First row", act: "first" },
  { keys: ["End"], show: "End", says: "Last row, and follow", act: "last" },
  { keys: ["]"], show: "]", says: "Next phase", act: "nextPhase" },
  { keys: ["["], show: "[", says: "Previous phase", act: "previousPhase" },
  { keys: ["e"], show: "e", says: "Next problem", act: "nextProblem" },
  { keys: ["E"], show: "Shift e", says: "Previous problem", act: "previousProblem" },
  { keys: ["/"], show: "/", says: "Find", act: "find" },
  { keys: ["x"], show: "x", says: "Hide completed", act: "hide" },
  { keys: ["c"], show: "c", says: "Critical path, once the run has ended", act: "path" },
  { keys: ["l"], show: "l", says: "Follow the run", act: "follow" },
  { keys: ["Escape"], show: "Esc", says: "Close, clear the search, then deselect", act: "escape" },
  { keys: ["?"], show: "?", says: "This list", act: "help" },
];

const NAVIGATION = new Set(["down", "up", "open", "close", "pageDown", "pageUp", "first", "last"]);

// actionFor gives the name of what a key event asks for, or "". typing: the focus
// is where text goes; inGrid: no other control has it; bare: single characters count.
export function actionFor(event, { typing, inGrid, bare }) {
  if (event.ctrlKey || event.altKey || event.metaKey) return "";
  const entry = KEYS.find((k) => k.keys.includes(event.key));
  if (!entry) return "";
  const single = event.key.length === 1;
  if (typing) return entry.act === "escape" ? "escape" : "";
  if (single && !bare) return "";
  if (!single && NAVIGATION.has(entry.act) && !inGrid) return "";
  return entry.act;
}

// fillHelp writes the table into a list.
export function fillHelp(list) {
  list.replaceChildren(...KEYS.map((k) => {
    const keys = k.show.split(" ").map((key) => el("kbd", "", key));
    if (k.show.startsWith("Page") || k.show.startsWith("Shift")) keys.splice(0, keys.length, el("kbd", "", k.show));
    return el("div", "", el("dt", "", ...keys), el("dd", "", k.says));
  }));
}
