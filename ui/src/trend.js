// A measure over many runs: one bar each, the newest on the right.

import { setAttr, svgEl } from "./dom.js";

const MOST_BARS = 120;

// trendBars gives the bars of rows that stand newest first: {x, width, height} in
// parts of one, bad, live and the row. Pure.
export function trendBars(rows, of, most = MOST_BARS) {
  const shown = rows.slice(0, most).reverse();
  const top = shown.reduce((m, row) => Math.max(m, of(row)), 0);
  const width = 1 / Math.max(shown.length, 24);
  return shown.map((row, i) => ({
    row, x: 1 - (shown.length - i) * width, width: width * 0.8, height: top > 0 ? Math.max(of(row) / top, 0) : 0,
    bad: row.status === "error" || row.status === "interrupted", live: row.status === "running", last: i === shown.length - 1,
  }));
}

// drawTrend draws them into an svg, with a word for each.
export function drawTrend(svg, rows, of, label, says) {
  const bars = trendBars(rows, of);
  setAttr(svg, "viewBox", "0 0 1000 44");
  setAttr(svg, "preserveAspectRatio", "none");
  setAttr(svg, "aria-label", label);
  svg.replaceChildren(...bars.map((bar) => {
    const height = Math.max(bar.height * 42, 1);
    const rect = svgEl("rect", {
      x: (bar.x * 1000).toFixed(1), y: (44 - height).toFixed(1), width: (bar.width * 1000).toFixed(1), height: height.toFixed(1),
      class: [bar.bad && "bad", bar.live && "live", bar.last && "last"].filter(Boolean).join(" "),
    });
    const title = svgEl("title");
    title.textContent = says(bar.row);
    rect.append(title);
    return rect;
  }));
}
