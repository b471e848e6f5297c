// The states as shapes and as words; colour comes second.

import { svgEl } from "./dom.js";

const RING = { cx: 5.5, cy: 5.5, r: 4, fill: "none", "stroke-width": 1.4 };

const SHAPES = {
  queued: () => [svgEl("circle", { ...RING, stroke: "var(--ctl)" })],
  running: () => [
    svgEl("circle", { ...RING, stroke: "var(--c)" }),
    svgEl("path", { d: "M5.5 1.5a4 4 0 0 1 0 8z", fill: "var(--c)" }),
  ],
  stalled: () => [
    svgEl("path", { d: "M5.5.6l5 9.4H.5z", fill: "var(--warn)" }),
    svgEl("path", { d: "M5.5 4v2.7M5.5 7.7v1.1", stroke: "var(--surface)", "stroke-width": 1.3 }),
  ],
  done: () => [
    svgEl("path", {
      d: "M1.8 5.8l2.6 2.6 4.9-5.4", fill: "none", stroke: "var(--ink3)", "stroke-width": 1.6,
      "stroke-linecap": "round", "stroke-linejoin": "round",
    }),
  ],
  error: () => [
    svgEl("rect", { x: 0.5, y: 0.5, width: 10, height: 10, rx: 2, fill: "var(--p-err)" }),
    svgEl("path", { d: "M3.4 3.4l4.2 4.2M7.6 3.4L3.4 7.6", stroke: "var(--surface)", "stroke-width": 1.6 }),
  ],
  cancelled: () => [svgEl("path", { d: "M2 5.5h7", stroke: "var(--ink3)", "stroke-width": 1.8, "stroke-linecap": "round" })],
  lost: () => [
    svgEl("circle", { ...RING, stroke: "var(--p-err)", "stroke-dasharray": "3.2 2.2" }),
    svgEl("path", { d: "M2.6 8.4l5.8-5.8", stroke: "var(--p-err)", "stroke-width": 1.4 }),
  ],
};

const WORDS = { error: "failed" };

export const stateWord = (state) => WORDS[state] ?? state;

export const stateTitle = (state) => {
  const word = stateWord(state);
  return word[0].toUpperCase() + word.slice(1);
};

// glyph makes an empty one; setGlyph gives it the shape of a state.
export function glyph() {
  return svgEl("svg", { class: "gl", viewBox: "0 0 11 11", "aria-hidden": "true" });
}

export function setGlyph(node, state) {
  if (node.dataset.state === state) return;
  node.dataset.state = state;
  node.replaceChildren(...(SHAPES[state] ?? SHAPES.queued)());
}
