// What the watchdog saw of a silent span, and what the sources of a run told, in
// words. Pure.

import { clip, clock, plural, silence } from "./format.js";

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const isText = (value) => typeof value === "string" && value.trim() !== "";
const listed = (value) => Array.isArray(value) && value.length > 0 && value.every(isText);

// What is said of each part of the evidence, in order. A part is used once.
const SAYINGS = [
  ["rule", (e) => isNumber(e.limit_ms) && (e.rule === "long" ? `It has been running for longer than ${silence(e.limit_ms)}.` : `No event for longer than ${silence(e.limit_ms)}.`)],
  ["last", (e) => isText(e.last) && isNumber(e.last_ms) && `Last heard: ${e.last.replaceAll("_", " ")}${isText(e.last_span) ? ` of ${clip(e.last_span, 80)}` : ""} at ${clock(e.last_ms)}${isText(e.last_message) ? `, \u201c${clip(e.last_message, 120)}\u201d` : ""}.`],
  ["open", (e) => isText(e.open) && `Open: ${clip(e.open, 80)}.`],
  ["llm_open_ms", (e) => isNumber(e.llm_open_ms) && `An LLM request has been open for ${silence(e.llm_open_ms)}.`],
  ["output_age_ms", (e) => isNumber(e.output_age_ms) && `The terminal has shown nothing for ${silence(e.output_age_ms)}.`],
  ["input_age_ms", (e) => isNumber(e.input_age_ms) && `No key was pressed for ${silence(e.input_age_ms)}.`],
  ["cpu_percent", (e) => isNumber(e.cpu_percent) && `${isNumber(e.processes) ? `Its ${plural(e.processes, "process", "processes")}` : "The processes"} used ${e.cpu_percent} % of a core${isNumber(e.cpu_window_ms) ? ` in the last ${silence(e.cpu_window_ms)}` : ""}.`],
  ["stopped", (e) => listed(e.stopped) && `Stopped: ${clip(e.stopped.join(", "))}.`],
  ["blocked", (e) => listed(e.blocked) && `Blocked in the kernel: ${clip(e.blocked.join(", "))}.`],
  ["zombies", (e) => listed(e.zombies) && `Ended, but not waited for: ${clip(e.zombies.join(", "))}.`],
];

// What another part belongs to, or says nothing of its own.
const QUIET_PARTS = new Set(["limit_ms", "running_ms", "last_span", "last_ms", "last_message", "cpu_ms", "cpu_window_ms", "processes", "pid", "command"]);

// evidenceWords gives the evidence of a stall as sentences. What is not obsrun's own
// is named with its value, where that is a word or a number.
export function evidenceWords(evidence) {
  if (!evidence || typeof evidence !== "object" || Array.isArray(evidence)) return "";
  const known = new Set(QUIET_PARTS);
  const out = [];
  for (const [name, say] of SAYINGS) {
    known.add(name);
    const words = say(evidence);
    if (words) out.push(words);
    else if (isText(evidence[name])) known.delete(name);
  }
  for (const [name, value] of Object.entries(evidence)) {
    if (!known.has(name) && (isText(value) || isNumber(value))) out.push(`${clip(name.replaceAll("_", " "), 40)}: ${clip(String(value), 120)}.`);
  }
  return out.join(" ");
}

const SOURCE_WORDS = {
  socket: "The socket", otlp: "OpenTelemetry", gateway: "The LLM gateway", tool_calls: "The orchestrator's tool_calls.jsonl", burr: "Burr's tracking logs", process: "The look at the processes",
};

// sourceWords gives a sentence for each of the sources named that the server says
// something of: whether it was on, what it told.
export function sourceWords(sources, names) {
  return names.map((name) => sources?.find((one) => one.source === name)).filter(Boolean).map(({ source, on, why, hint, events, spans }) => {
    const what = SOURCE_WORDS[source] ?? clip(source, 40);
    if (events > 0) return `${what} told ${plural(events, "event")}${spans ? `, of ${plural(spans, "span")}` : ""}.`;
    if (!on && !why) return `${what} told nothing.`;
    const reason = on ? hint || why : why;
    return `${what} ${on ? "told nothing" : "was off"}${reason ? `: ${clip(reason)}` : ""}.`;
  });
}
