// The card of what is selected: an agent (or another span), a phase, else the run.

import { DASH, brief, bytes, clip, clock, compact, moment, plural, silence, stopwatch } from "./format.js";
import { el, keep, setAttr, setShown, setText } from "./dom.js";
import { glyph, setGlyph, stateTitle } from "./glyph.js";
import { phaseLabel } from "./hues.js";
import { isCall, isOpen, lasted, phaseLasted } from "./model.js";
import { evidenceWords } from "./evidence.js";
import { silentFor } from "./problems.js";
import { outcome } from "./header.js";
import { agentOf, callKey } from "./lanes.js";
import { classOf } from "./weight.js";

const MOST_TOOLS = 6;
const MOST_RECENT = 5;

// toolMix counts the tool calls of an agent by name, the commonest first; what is
// beyond most becomes one "other". {mix: [[name, count]], open: its newest call
// that is not over}.
export function toolMix(calls, most = MOST_TOOLS) {
  const counts = new Map();
  let open = null;
  for (const span of calls ?? []) {
    if (span.kind === "tool") counts.set(span.name, (counts.get(span.name) ?? 0) + 1);
    if (isOpen(span) && (!open || span.seq > open.seq)) open = span;
  }
  const mix = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  if (mix.length > most) mix.push(["other", mix.splice(most - 1).reduce((n, [, k]) => n + k, 0)]);
  return { mix, open };
}

export class Detail {
  // select selects a call by its key.
  constructor(find, { select }) {
    this.recent = find("recent");
    this.recent.addEventListener("click", (event) => {
      const { key } = event.target.closest("button")?.dataset ?? {};
      if (key) select(key);
    });
    this.card = find("detail");
    this.glyph = glyph();
    this.name = find("detail-name");
    this.name.before(this.glyph);
    this.kind = find("detail-kind");
    this.facts = find("detail-facts");
    this.more = find("detail-more");
    this.bars = find("mix");
    this.names = find("mix-names");
    this.now = find("detail-now");
    this.now.append(el("span", "say"), el("span", "mono"));
    this.mixOf = ["", -1];
  }

  draw(frame) {
    const { model, view, hues } = frame;
    setShown(this.card, model.run !== null);
    if (!model.run) return;
    const { selected } = view;
    const id = agentOf(selected) || (selected.startsWith("s:") ? selected.slice(2) : "");
    const span = id ? model.spans.get(id) : null;
    const call = selected.startsWith("t:") || span?.kind === "tool" ? frame.record().calls.find((c) => callKey(c) === selected) : null;
    const phase = selected.startsWith("p:") ? model.phase.get(selected.slice(2)) : null;
    const state = (call ? (call.failed ? "error" : call.end ? "done" : "running") : span?.state) ?? phase?.state ?? { running: "running", ok: "done", error: "error" }[model.run.status] ?? "lost";
    setGlyph(this.glyph, state);
    this.card.style.setProperty("--c", `var(${hues.of(span?.phase ?? phase?.name ?? "")})`);
    setAttr(this.card, "data-span-id", span ? span.id : null);
    this.drawRecent(span, frame);
    if (call) this.drawCall(call, frame);
    else if (span) this.drawSpan(span, frame);
    else if (phase) this.drawPhase(phase, frame);
    else this.drawRun(frame);
  }

  put(name, kind, facts, more) {
    setText(this.name, clip(name, 160));
    setText(this.kind, clip(kind, 60));
    pairs(this.facts, facts);
    pairs(this.more, more.filter(([, value]) => value));
    setShown(this.more, this.more.children.length > 0);
  }

  say(line, mono) {
    setShown(this.now, Boolean(line));
    setText(this.now.children[0], line);
    setText(this.now.children[1], clip(mono, 400));
  }

  drawSpan(span, frame) {
    const { model, now, start } = frame;
    this.put(span.name, span.kind, [
      ["Status", stateTitle(span.state)],
      ["Elapsed", span.start_ms ? clock(lasted(span, now)) : DASH],
      ["Tokens", span.reported || span.tokens ? compact(span.tokens) : DASH],
      ["Tools", compact(span.tool_uses)],
    ], [
      ["Input", span.input_tokens ? compact(span.input_tokens) : ""],
      ["Cached", span.cached_tokens ? compact(span.cached_tokens) : ""],
      ["Output", span.output_tokens ? compact(span.output_tokens) : ""],
      ["Cost", span.cost_usd ? `$${span.cost_usd.toFixed(span.cost_usd < 1 ? 3 : 2)}` : ""],
      ["Phase", span.phase ? phaseLabel(span.phase) : ""],
      ["Started", span.start_ms ? clock(span.start_ms - start) : ""],
      ["Attempts", span.attempts > 1 ? String(span.attempts) : ""],
      ["Component", span.component && span.component !== span.name ? clip(span.component, 120) : ""],
    ]);
    this.drawMix(span, model);
    const call = this.openCall && model.spans.get(this.openCall);
    if (span.state === "error") this.say("Failed with", span.error || span.message || "no message");
    else if (span.state === "lost") this.say("Lost", span.start_ms ? span.message || "still open when the run ended" : "never started");
    else if (span.state === "stalled") this.say(`Silent for ${silence(silentFor(span, model.run, now))}`, evidenceWords(span.evidence) || span.message || "");
    else if (call && isOpen(call)) this.say(`Now, for ${stopwatch(lasted(call, now))}`, call.message ? `${call.name} ${call.message}` : call.name);
    else if (span.message) this.say("Last message", span.message);
    else this.say("", "");
  }

  drawCall(call, { record }) {
    this.put(call.tool, "tool call", [
      ["Status", stateTitle(call.failed ? "error" : call.end ? "done" : "running")],
      ["Elapsed", call.end ? brief(call.took) : DASH],
      ["Output", call.size >= 0 ? bytes(call.size) : DASH],
      ["Weight", call.weight.toFixed(1)],
    ], [
      ["Agent", clip(call.name, 120)], ["Started", call.at > 0 ? clock(call.at - record().start) : ""], ["Weighs", classOf(call.weight)],
    ]);
    this.noMix();
    if (call.failed) this.say("Failed with", call.error || "no message");
    else this.say(call.aim ? "On" : "", call.aim);
  }

  // drawRecent lists the last calls of an agent.
  drawRecent(span, { model, view, start }) {
    const calls = span && !isCall(span) && view.selected ? [...(model.calls.get(span.id)?.values() ?? [])].slice(-MOST_RECENT).reverse() : [];
    setShown(this.recent, calls.length > 0);
    keep(this.recent, calls.length, () => {
      const button = el("button", "ev", glyph(), el("span", "label"), el("time"));
      button.type = "button";
      return button;
    });
    calls.forEach((one, i) => {
      const button = this.recent.children[i];
      button.dataset.key = `s:${one.id}`;
      setGlyph(button.children[0], one.state);
      setText(button.children[1], clip([one.name, one.attrs?.path ?? one.attrs?.pattern ?? one.message].filter((t) => typeof t === "string").join(" "), 120));
      setText(button.children[2], one.start_ms ? clock(one.start_ms - start) : "");
    });
  }

  drawMix(span, model) {
    // Counting is done again only when something came in.
    if (this.mixOf[0] !== span.id || this.mixOf[1] !== model.version) {
      this.mixOf = [span.id, model.version];
      const { mix, open } = toolMix(model.calls.get(span.id)?.values());
      this.openCall = open?.id ?? "";
      this.showMix(mix);
    }
  }

  showMix(mix) {
    setShown(this.bars, mix.length > 0);
    setShown(this.names, mix.length > 0);
    keep(this.bars, mix.length, () => el("i"));
    keep(this.names, mix.length, () => el("span"));
    mix.forEach(([name, count], i) => {
      this.bars.children[i].style.flex = String(count);
      this.bars.children[i].style.opacity = String(1 - i * 0.14);
      setText(this.names.children[i], `${clip(name, 24)} ${count}`);
    });
  }

  noMix() {
    this.mixOf = ["", -1];
    this.showMix([]);
  }

  drawPhase(phase, { model, now, start }) {
    const lost = phase.lost ?? 0;
    this.put(phaseLabel(phase.name), "phase", [
      ["Status", stateTitle(phase.state)],
      ["Elapsed", phase.start_ms ? clock(phaseLasted(phase, now)) : DASH],
      ["Tokens", phase.tokens ? compact(phase.tokens) : DASH],
      ["Tools", compact(phase.tool_uses)],
    ], [
      ["Agents", phase.agents ? `${phase.ended - lost} of ${phase.agents} ended` : ""],
      ["Active", phase.running ? String(phase.running) : ""],
      ["Queued", phase.queued ? String(phase.queued) : ""],
      ["Errors", phase.errors - lost > 0 ? String(phase.errors - lost) : ""],
      ["Lost", lost ? String(lost) : ""],
      ["Stalls", phase.stalls ? String(phase.stalls) : ""],
      ["Started", phase.start_ms ? clock(phase.start_ms - start) : ""],
      ...Object.entries(phase.counts ?? {}).slice(0, 6).map(([name, n]) => [clip(name.replaceAll("_", " "), 24), String(n)]),
    ]);
    this.noMix();
    this.say("", "");
  }

  drawRun({ model, elapsed }) {
    const { run, totals } = model;
    this.put("Run", run.version ? `obsrun ${run.version}` : "", [
      ["Status", model.ended ? outcome(run) : "Running"],
      ["Elapsed", clock(elapsed)],
      ["Tokens", compact(totals.tokens)],
      ["Tools", compact(totals.tool_uses)],
    ], [
      ["Input", totals.input_tokens ? compact(totals.input_tokens) : ""],
      ["Cached", totals.cached_tokens ? compact(totals.cached_tokens) : ""],
      ["Output", totals.output_tokens ? compact(totals.output_tokens) : ""],
      ["Cost", totals.cost_usd ? `$${totals.cost_usd.toFixed(2)}` : ""],
      ["Started", run.start_ms ? moment(run.start_ms) : ""],
      ["Host", clip(run.host ?? "", 60)],
      ["Exit status", run.exit_code === null ? "" : String(run.exit_code)],
      ["Analyses", totals.analyses_written ? String(totals.analyses_written) : ""],
      ["Rejected", totals.rejected_events ? plural(totals.rejected_events, "event") : ""],
      ["Left running", run.survivors?.length ? clip(run.survivors.join(", "), 120) : ""],
    ]);
    this.noMix();
    this.say(run.error ? "Could not start" : run.command?.length ? "Command" : "", run.error || (run.command ?? []).join(" "));
  }
}

// pairs fits a definition list to names and values.
function pairs(list, entries) {
  keep(list, entries.length, () => el("div", "", el("dt"), el("dd")));
  entries.forEach(([name, value], i) => {
    setText(list.children[i].children[0], name);
    setText(list.children[i].children[1], value);
  });
}
