// The views beside the timeline, by the name of their tab.

import { Agents } from "./agents.js";
import { Tokens, Tools } from "./usage.js";
import { Writing } from "./writing.js";
import { Resources } from "./resources.js";
import { Listing } from "./listing.js";

// NEED_LOG are the tabs that show what is only in the orchestrator's own log.
export const NEED_LOG = new Set(["tools", "tokens", "text", "resources"]);

// newPanels makes them. view is what the user chose; open goes to a span's row,
// openPhase to a phase's, select selects a key, changed has all drawn anew, say shows a few
// words.
export function newPanels(find, { view, open, select, openPhase, changed, say }) {
  const goTo = (row) => (row.span ? open(row.span) : openPhase(row.phase));
  return {
    agents: new Agents(find, { select, changed }),
    tools: new Tools(find, { open, view, changed }),
    tokens: new Tokens(find, { open: goTo }),
    text: new Writing(find, { open }),
    resources: new Resources(find, { view, changed }),
    table: new Listing(find, { open: goTo, view, say }),
  };
}
