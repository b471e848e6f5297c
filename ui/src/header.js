// The top line: which run this is and how the page stands to it.

import { ago, clip, clock, moment, plural, repository, runName } from "./format.js";
import { el, setAttr, setShown, setText } from "./dom.js";
import { counted } from "./problems.js";

const OLD_MS = 10000; // an event older than this is worth a colour
export const NOTE_MS = 5000; // how long a note stays
const SLOW_MS = 4000;

// outcome gives the word for a run that ended.
export function outcome(run) {
  return { ok: "Finished", error: "Failed", interrupted: "Interrupted" }[run.status] ?? "Ended";
}

// standing says how the page stands to the run: [state, word].
function standing({ model, connection, replaying, paused }) {
  if (replaying) return ["replay", "Replay"];
  if (paused && !model.ended) return ["paused", "Paused"];
  if (model.ended) return [model.run.status === "ok" ? "done" : "failed", outcome(model.run)];
  if (connection.state === "offline") return ["lost", "Offline"];
  if (!model.run) return ["empty", connection.opened ? "Loading" : "Connecting"];
  if (connection.state === "ended") return ["lost", "Ended without a finish"];
  return model.empty ? ["empty", "Connected"] : ["live", "Live"];
}

// title is what the browser's tab shows: the most pressing first.
export function title(model) {
  if (!model.run) return "obsrun";
  const { words } = counted(model.totals);
  const parts = words ? [words] : [];
  if (model.ended) parts.push(outcome(model.run));
  else if (model.totals.percent !== null) parts.push(`${model.totals.percent}%`);
  else if (model.totals.running) parts.push(`${model.totals.running} active`);
  parts.push(clip(runName(model.run.run_id), 60));
  return parts.join(" - ");
}

// homeOf gives the address of the list of runs that the page of a run is below, empty
// where a server shows nothing but this one.
export const homeOf = ({ protocol, pathname }) => (/^https?:$/.test(protocol) && /\/runs\/[^/]+\/$/.test(pathname) ? "../../" : "");

export class Header {
  constructor(find, { retry }) {
    this.home = find("home");
    this.nodes = Object.fromEntries(
      ["run-id", "run-source", "live", "live-word", "live-note", "banner", "banner-note"].map((id) => [id, find(id)]),
    );
    find("retry").addEventListener("click", retry);
    this.note = { text: "", until: 0 };
  }

  // leadHome puts the way back to the list of runs.
  leadHome(home) {
    setShown(this.home, home !== "");
    if (!home) return;
    const link = el("a", "", "All runs");
    link.href = home;
    this.home.append(link);
  }

  // caughtUp notes that the page was away and has missed nothing.
  caughtUp(events, at) {
    this.says(`caught up, ${plural(events, "event")}`, at);
  }

  // says shows a few words for a moment.
  says(text, at) {
    this.note = { text, until: at + NOTE_MS };
  }

  draw(frame) {
    const { model, connection, clientNow } = frame;
    const n = this.nodes;
    const run = model.run;
    const [state, word] = standing(frame);
    setAttr(document.body, "data-s", state);
    setAttr(n.live, "data-s", state);
    setText(n["live-word"], word);
    setText(n["live-note"], this.noteFor(frame, state));
    n["live-note"].classList.toggle("old", state === "live" && clientNow - frame.lastEvent > OLD_MS);
    if (run) {
      setText(n["run-id"], clip(run.run_id, 120));
      const parts = [run.source_repo ? repository(run.source_repo) : "", run.source_commit ? run.source_commit.slice(0, 12) : ""];
      setText(n["run-source"], clip(parts.filter(Boolean).join(" "), 120));
      setAttr(n["run-source"], "title", run.source_repo ? `${clip(run.source_repo)}${run.source_from === "cwd" ? " (the working directory's)" : ""}` : null);
    }
    // A view that stands still says so first, and that the line is lost in the banner.
    const offline = state === "lost" || (connection.state === "offline" && (state === "replay" || state === "paused") && frame.whole.run !== null && !frame.whole.ended);
    setShown(n.banner, offline);
    if (offline) {
      const next = connection.retryAt ? `Next try in ${Math.max(0, Math.ceil((connection.retryAt - clientNow) / 1000))} s.` : "The browser is trying.";
      setText(n["banner-note"], `Lost ${ago(clientNow - connection.since)}. ${next}`);
    }
  }

  noteFor({ model, connection, clientNow, elapsed, length, held, lastEvent }, state) {
    if (clientNow < this.note.until) return this.note.text;
    const waiting = held ? `${plural(held, "event")} held` : "";
    switch (state) {
      case "replay":
        return [`${clock(elapsed)} of ${clock(length)}`, waiting].filter(Boolean).join(", ");
      case "paused":
        return waiting || "nothing held yet";
      case "done":
      case "failed":
        return model.run.end_ms ? moment(model.run.end_ms) : "";
      case "lost":
        return model.run ? `showing data up to ${clock(elapsed)}` : "";
      case "empty":
        if (model.run) return "no events yet";
        if (connection.opened) return clientNow - connection.since > SLOW_MS ? "a large run" : "";
        return clientNow - connection.since > SLOW_MS ? "still no answer; a browser opens at most six streams to one address" : "";
    }
    return `last event ${ago(clientNow - lastEvent)}`;
  }
}
