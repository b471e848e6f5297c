// The orchestrator's own log: from the run's directory where it is there, or from a
// file that the user opens or drops on the page. Nothing is asked for before a view
// needs it.

import { FileTail } from "./filetail.js";
import { ToolLog } from "./toollog.js";

export const LOG_NAME = "tool_calls.jsonl";
const AGAIN_MS = 2000; // how often a run that goes on is asked for more of it

export class LogFile {
  // changed is called when more is known; say shows a few words. source is the
  // address to read from, of this server; fetch stands in for the browser's in tests.
  constructor({ changed, say, fetch, source = LOG_NAME }) {
    Object.assign(this, { changed, say });
    this.tail = new FileTail(source, { fetch, listed: source === LOG_NAME });
    this.log = null;
    this.version = 0; // grows with what is known
    this.state = "unread"; // reading, absent, read, failed
    this.asked = 0; // when it was asked for last
    this.looked = false; // whether it is there is known
  }

  // want is called by whoever shows what is in it; live: there can be more later.
  want(live, now = Date.now()) {
    if (this.state === "reading") return;
    const first = this.state === "unread";
    if (!first && !(live && now - this.asked >= AGAIN_MS) && !(this.wasLive && !live)) return;
    this.wasLive = live; // once more after the end
    this.asked = now;
    this.reading = this.read(first);
  }

  async read(first) {
    const before = this.state;
    this.state = "reading";
    let state = this.log ? "read" : "failed"; // what is known stays known
    try {
      const added = await this.tail.more();
      if (added) (this.log ??= new ToolLog()).feed(added);
      state = this.log || added === "" ? "read" : "absent";
      this.looked = true;
      if (added) this.version++;
      this.state = state;
      if (added || first || state !== before) this.changed();
    } catch {
      this.looked = true;
      this.state = state;
      if (state !== before) this.changed();
    }
  }

  // pending tells that what there is may still come.
  get pending() {
    return !this.looked && this.log === null;
  }

  // open takes files that the user chose, besides what is there.
  async open(files) {
    for (const file of files) {
      const log = this.log ?? new ToolLog();
      const lines = log.lines;
      const unreadable = log.unreadable;
      log.feed(await file.text()).close();
      if (log.lines === lines || log.lines - lines === log.unreadable - unreadable) this.say("That is no log of tool calls");
      else this.say("Log opened");
      this.log = log;
      this.state = "read";
      this.version++;
      this.changed();
    }
  }
}

// sourceOf gives the address of a log that the page's own address names with
// ?src=, or the usual one. Another server's is refused.
export function sourceOf(location) {
  const wanted = new URLSearchParams(location.search).get("src");
  if (!wanted) return LOG_NAME;
  try {
    const url = new URL(wanted, location.href);
    return url.origin === location.origin ? url.href : LOG_NAME;
  } catch {
    return LOG_NAME;
  }
}

// wireDrop lets files be dropped anywhere on the page, or chosen with a button.
export function wireDrop(find, take) {
  const body = document.body;
  const carries = (event) => event.dataTransfer?.types?.includes("Files");
  addEventListener("dragover", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    body.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) body.classList.remove("dropping");
  });
  addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    body.classList.remove("dropping");
    take([...event.dataTransfer.files]);
  });
  const input = find("open-log");
  for (const button of document.querySelectorAll(".open-log")) button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    take([...input.files]);
    input.value = "";
  });
}
