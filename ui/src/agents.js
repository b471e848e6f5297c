// The Agents tab: a card for each agent.

import { DASH, clip, clock, compact, plural, stopwatch } from "./format.js";
import { el, keep, setAttr, setShown, setText } from "./dom.js";
import { glyph, setGlyph, stateTitle } from "./glyph.js";
import { phaseLabel } from "./hues.js";
import { matcher, shows, spanKey } from "./layout.js";
import { isOpen, lasted } from "./model.js";
import { sorted } from "./calls.js";

const MOST_CARDS = 200;
const FACTS = ["Elapsed", "Tokens", "Tools", "Tokens/s", "Slack"];

// rateOf is tokens a second of an agent's time, NaN where it cannot be told.
export function rateOf(span, now) {
  const took = lasted(span, now);
  return took > 0 && span.tokens > 0 ? span.tokens / (took / 1000) : NaN;
}

// slackOf is how long an agent was over before its phase was, NaN while either is
// not.
export function slackOf(span, model) {
  const phase = model.phase.get(span.phase ?? "");
  return span.end_ms && phase?.state === "done" && phase.end_ms ? Math.max(0, phase.end_ms - span.end_ms) : NaN;
}

const ORDERS = {
  order: null,
  name: (span) => span.name.toLowerCase(),
  elapsed: (span, { now }) => lasted(span, now),
  tokens: (span) => span.tokens,
  tools: (span) => span.tool_uses,
  rate: (span, { now }) => rateOf(span, now),
  slack: (span, { model }) => slackOf(span, model),
};

export class Agents {
  constructor(find, { select, changed }) {
    this.list = find("agents");
    this.none = find("agents-none");
    this.more = find("agents-more");
    this.order = find("agents-order");
    this.order.addEventListener("change", changed);
    this.list.addEventListener("click", (event) => {
      const id = event.target.closest(".agent-card")?.dataset.spanId;
      if (id !== undefined) select(spanKey(id));
    });
  }

  draw(frame) {
    const { model, now, view, hues } = frame;
    const matches = matcher(view.find) ?? (() => true);
    const shown = shows(view);
    let spans = [...model.rows.values()].filter((span) => shown(span) && matches(span));
    const of = ORDERS[this.order.value];
    spans = of ? sorted(spans, (span) => of(span, frame), false) : spans.sort((a, b) => a.seq - b.seq);
    const rest = spans.length - MOST_CARDS;
    spans = spans.slice(0, MOST_CARDS);
    keep(this.list, spans.length, newCard);
    spans.forEach((span, i) => {
      const card = this.list.children[i];
      const [shape, name, kind, state, facts] = card.children;
      setAttr(card, "data-span-id", span.id);
      setAttr(card, "data-state", span.state);
      setAttr(card, "aria-pressed", view.selected === spanKey(span.id));
      card.style.setProperty("--c", `var(${hues.of(span.phase ?? "")})`);
      setGlyph(shape, span.state);
      setText(name, clip(span.name, 120));
      setText(kind, clip([span.kind, span.phase ? phaseLabel(span.phase) : ""].filter(Boolean).join(", "), 100));
      setText(state, stateTitle(span.state));
      const rate = rateOf(span, now);
      const slack = slackOf(span, model);
      [
        span.start_ms ? (isOpen(span) ? clock : stopwatch)(lasted(span, now)) : DASH,
        span.tokens ? compact(span.tokens) : DASH, span.tool_uses ? compact(span.tool_uses) : DASH,
        compact(rate), Number.isNaN(slack) ? DASH : stopwatch(slack),
      ].forEach((text, k) => setText(facts.children[k].lastChild, text));
    });
    setShown(this.none, spans.length === 0);
    setShown(this.more, rest > 0);
    setText(this.more, rest > 0 ? `and ${plural(rest, "other")}` : "");
  }
}

function newCard() {
  const facts = el("span", "facts", ...FACTS.map((name) => el("span", "", el("small", "", name), el("b", "", DASH))));
  const card = el("button", "agent-card", glyph(), el("span", "label"), el("span", "kind"), el("span", "state"), facts);
  card.type = "button";
  return card;
}
