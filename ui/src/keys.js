// The keyboard: one table, which the page acts on and the help shows.

import { el } from "./dom.js";

// Each entry: the keys (as KeyboardEvent.key), how they are shown, what they do,
// and the action's name. codes are keys by their place on the keyboard: four that
// lie under one hand on every layout. far: with Shift it is a larger step.
export const KEYS = [
  { keys: ["ArrowDown", "j"], show: "\u2193 j", says: "Next row", act: "down" },
  { keys: ["ArrowUp", "k"], show: "\u2191 k", says: "Previous row", act: "up" },
  { keys: ["ArrowRight"], show: "\u2192", says: "Open (an agent: its calls), then first child", act: "open" },
  { keys: ["ArrowLeft"], show: "\u2190", says: "Close, then parent", act: "close" },
  { keys: ["PageDown"], show: "Page Down", says: "A page down", act: "pageDown" },
  { keys: ["PageUp"], show: "Page Up", says: "A page up", act: "pageUp" },
  { keys: ["Home"], show: "Home", says: "First row", act: "first" },
  { keys: ["End"], show: "End", says: "Last row, and follow", act: "last" },
  { keys: ["+", "="], codes: ["KeyW"], show: "w +", says: "Zoom in, at the mouse or the selection", act: "zoomIn", far: true },
  { keys: ["-", "_"], codes: ["KeyS"], show: "s -", says: "Zoom out", act: "zoomOut", far: true },
  { keys: [], codes: ["KeyA"], show: "a", says: "Earlier; with Shift a large step", act: "panLeft", far: true },
  { keys: [], codes: ["KeyD"], show: "d", says: "Later; with Shift a large step", act: "panRight", far: true },
  { keys: ["0"], show: "0", says: "The whole run", act: "fitAll" },
  { keys: ["f"], show: "f f", says: "Centre the selection, then fit it", act: "centre" },
  { keys: ["]"], show: "]", says: "Next phase", act: "nextPhase" },
  { keys: ["["], show: "[", says: "Previous phase", act: "previousPhase" },
  { keys: ["e"], show: "e", says: "Next problem", act: "nextProblem" },
  { keys: ["E"], show: "Shift e", says: "Previous problem", act: "previousProblem" },
  { keys: ["/"], show: "/", says: "Find", act: "find" },
  { keys: ["n"], show: "n", says: "Next match", act: "nextMatch" },
  { keys: ["N"], show: "Shift n", says: "Previous match", act: "previousMatch" },
  { keys: ["x"], show: "x", says: "Hide completed", act: "hide" },
  { keys: ["c"], show: "c", says: "Critical path, once the run has ended", act: "path" },
  { keys: ["l"], show: "l", says: "Follow the run", act: "follow" },
  { keys: ["p"], show: "p", says: "Pin the row above the others, or let it go", act: "pin" },
  { keys: [" "], show: "Space", says: "Pause the view, or play in a replay", act: "pause" },
  { keys: ["r"], show: "r", says: "Replay, or back to now", act: "replay" },
  { keys: ["t"], show: "t", says: "The terminal, below the timeline", act: "terminal" },
  { keys: [","], show: ",", says: "The call before, in a lane; in a replay the event before", act: "previousEvent" },
  { keys: ["."], show: ".", says: "The next call, in a lane; in a replay the next event", act: "nextEvent" },
  { keys: ["1", "2", "3", "4", "5", "6", "7"], show: "1 7", says: "Views", act: "tab" },
  { keys: ["y"], show: "y", says: "Copy a link to this view", act: "copy" },
  { keys: ["Escape"], show: "Esc", says: "Close, clear the search, leave the replay, then the marked stretch (Shift and drag marks one), then deselect", act: "escape" },
  { keys: ["?"], show: "?", says: "This list", act: "help" },
];

const NAVIGATION = new Set(["down", "up", "open", "close", "pageDown", "pageUp", "first", "last"]);

// actionFor gives the name of what a key event asks for, or "". typing: the focus
// is where text goes; control: it is on something that the space bar presses;
// inGrid: no other control has it; bare: single characters count.
export function actionFor(event, { typing, control, inGrid, bare }) {
  if (event.ctrlKey || event.altKey || event.metaKey) return "";
  const entry = KEYS.find((k) => k.codes?.includes(event.code)) ?? KEYS.find((k) => k.keys.includes(event.key));
  if (!entry) return "";
  const single = event.key.length === 1;
  if (typing) return entry.act === "escape" ? "escape" : "";
  if (single && !bare) return "";
  if (event.key === " " && control) return "";
  if (!single && NAVIGATION.has(entry.act) && !inGrid) return "";
  return entry.far && event.shiftKey && event.key !== "+" ? `${entry.act}Far` : entry.act;
}

// fillHelp writes the table into a list.
export function fillHelp(list) {
  list.replaceChildren(...KEYS.map((k) => {
    const keys = k.show.split(" ").map((key) => el("kbd", "", key));
    if (k.show.startsWith("Page") || k.show.startsWith("Shift")) keys.splice(0, keys.length, el("kbd", "", k.show));
    return el("div", "", el("dt", "", ...keys), el("dd", "", k.says));
  }));
}
