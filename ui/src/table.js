// A table that is sorted by the heads of its columns.

import { plural } from "./format.js";
import { el, keep, setAttr, setClass, setShown, setText } from "./dom.js";
import { sorted } from "./calls.js";

const MOST_ROWS = 400;

export class Table {
  // columns are {label, of (the value to sort by), text (what is shown), title (what
  // more there is), num, wide, open}: open makes the cell a button. opened is called
  // with its row.
  constructor(caption, columns, opened) {
    this.columns = columns;
    this.by = -1; // the column it is sorted by, -1 for the order the rows came in
    this.reversed = false;
    this.rows = [];
    this.heads = columns.map((column, i) => {
      const button = el("button", "", column.label);
      button.type = "button";
      button.addEventListener("click", () => this.sort(i));
      const head = el("th", column.num ? "num" : "", button);
      setAttr(head, "scope", "col");
      return head;
    });
    this.body = el("tbody");
    this.rest = el("p", "mut rest");
    this.node = el("div", "tablebox", el("table", "", el("caption", "vh", caption), el("thead", "", el("tr", "", ...this.heads)), this.body), this.rest);
    this.body.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      const row = button && this.shown[[...this.body.children].indexOf(button.closest("tr"))];
      if (row) opened(row);
    });
  }

  // sort by a column; once more turns it round, a third time is as at first.
  sort(i) {
    if (this.by !== i) [this.by, this.reversed] = [i, false];
    else if (!this.reversed) this.reversed = true;
    else [this.by, this.reversed] = [-1, false];
    this.draw(this.rows);
  }

  // words gives the whole table as lines of text with tabs in between, all rows of it.
  words() {
    const { columns, by } = this;
    const order = by < 0 ? this.rows : sorted(this.rows.filter((row) => !row.sum), columns[by].of, this.reversed);
    const line = (cells) => cells.map((text) => text.replace(/[\t\r\n]+/g, " ")).join("\t");
    return [line(columns.map((c) => c.label)), ...order.map((row) => line(columns.map((c) => c.text(row))))].join("\n");
  }

  draw(rows) {
    this.rows = rows;
    const { columns, by } = this;
    const order = by < 0 ? rows : sorted(rows.filter((row) => !row.sum), columns[by].of, this.reversed);
    this.shown = order.slice(0, MOST_ROWS);
    this.heads.forEach((head, i) => {
      const words = columns[i].num ? ["descending", "ascending"] : ["ascending", "descending"];
      setAttr(head, "aria-sort", i === by ? words[Number(this.reversed)] : null);
    });
    keep(this.body, this.shown.length, () => el("tr", "", ...columns.map((column, i) => {
      const cell = el(i === 0 ? "th" : "td", column.num ? "num" : column.wide ? "wide" : "", ...(column.open ? [el("button")] : []));
      if (i === 0) setAttr(cell, "scope", "row");
      if (column.open) cell.firstChild.type = "button";
      return cell;
    })));
    this.shown.forEach((row, r) => {
      const line = this.body.children[r];
      setClass(line, row.sum ? "sum" : "");
      columns.forEach((column, i) => {
        setText(column.open ? line.children[i].firstChild : line.children[i], column.text(row));
        if (column.title) setAttr(line.children[i], "title", column.title(row) || null);
      });
    });
    const more = order.length - this.shown.length;
    setShown(this.rest, more > 0);
    setText(this.rest, more > 0 ? `and ${plural(more, "other")}` : "");
  }
}
