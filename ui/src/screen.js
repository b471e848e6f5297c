// The screen of a terminal emulator as elements: a line for each row, in it a piece
// of text for each stretch of one look. Text from the terminal is text.

import { el, keep, setAttr, setClass, setStyle } from "./dom.js";

const hex = (n) => `#${n.toString(16).padStart(6, "0")}`;

// palette gives the colour with a number: the first sixteen are the page's own.
export function palette(n) {
  if (n < 16) return `var(--t${n})`;
  if (n >= 232) {
    const v = 8 + (n - 232) * 10;
    return hex((v << 16) | (v << 8) | v);
  }
  const level = (i) => (i ? 55 + i * 40 : 0);
  const at = n - 16;
  return hex((level(Math.floor(at / 36)) << 16) | (level(Math.floor(at / 6) % 6) << 8) | level(at % 6));
}

// lookOf gives the look of a cell: class names and colours as one string.
function lookOf(cell) {
  let fg = cell.isFgRGB() ? hex(cell.getFgColor()) : cell.isFgPalette() ? palette(cell.isBold() && cell.getFgColor() < 8 ? cell.getFgColor() + 8 : cell.getFgColor()) : "";
  let bg = cell.isBgRGB() ? hex(cell.getBgColor()) : cell.isBgPalette() ? palette(cell.getBgColor()) : "";
  if (cell.isInverse()) [fg, bg] = [bg || "var(--term-bg)", fg || "var(--term-fg)"];
  const names = [
    cell.isBold() && "b", cell.isDim() && "d", cell.isItalic() && "it", cell.isUnderline() && "u", cell.isStrikethrough() && "st", cell.isInvisible() && "inv",
  ].filter(Boolean).join(" ");
  return `${names}|${fg}|${bg}`;
}

// stretches gives the pieces of a line: [[look, text], ...], nothing behind the last
// that can be seen. cursor is the column it stands in, or -1.
export function stretches(line, cols, cell, cursor = -1) {
  const out = [];
  let seen = 0;
  for (let i = 0; i < cols; i++) {
    const c = line.getCell(i, cell);
    if (!c || c.getWidth() === 0) continue; // the second half of a wide one
    const look = lookOf(c) + (i === cursor ? "|cursor" : "|");
    const chars = c.getChars() || " ";
    const last = out[out.length - 1];
    if (last && last[0] === look) last[1] += chars;
    else out.push([look, chars]);
    if (chars !== " " || look !== "|||") seen = out.length;
  }
  out.length = seen;
  const last = out[out.length - 1];
  if (last && last[0] === "|||") last[1] = last[1].trimEnd();
  return out;
}

export class Screen {
  constructor(node) {
    this.node = node;
    this.signs = [];
  }

  // draw shows what the emulator has.
  draw(term) {
    const buffer = term.buffer.active;
    const cell = buffer.getNullCell();
    keep(this.node, term.rows, () => el("div", "tl"));
    this.signs.length = term.rows;
    for (let y = 0; y < term.rows; y++) {
      const line = buffer.getLine(buffer.baseY + y);
      const pieces = line ? stretches(line, term.cols, cell, y === buffer.cursorY ? buffer.cursorX : -1) : [];
      const sign = JSON.stringify(pieces);
      if (sign === this.signs[y]) continue;
      this.signs[y] = sign;
      this.drawLine(this.node.children[y], pieces);
    }
  }

  drawLine(node, pieces) {
    keep(node, pieces.length, () => el("span"));
    pieces.forEach(([look, text], i) => {
      const piece = node.children[i];
      const [names, fg, bg, cursor] = look.split("|");
      setClass(piece, [names, cursor].filter(Boolean).join(" "));
      setStyle(piece, "color", fg);
      setStyle(piece, "background-color", bg);
      if (piece.textContent !== text) piece.textContent = text;
    });
    setAttr(node, "aria-hidden", pieces.length ? null : "true");
  }
}
