// Phases as names and colours. Pure. A hue is the name of a CSS variable.

const FIXED = {
  discovery: ["Discovery", "Discovery", "--p-disc"],
  library_depth_0: ["Libraries, depth 0", "Depth 0", "--p-lib0"],
  library_depth_n: ["Libraries, depth 1+", "Depth 1+", "--p-libn"],
  library_analysis: ["Libraries", "Libraries", "--p-lib0"],
  application_analysis: ["Applications", "Applications", "--p-apps"],
  synthesis: ["Synthesis", "Synthesis", "--p-synth"],
};

export const SLATE = "--p-disc";
const ORDER = ["--p-lib0", "--p-apps", "--p-libn", "--p-synth"];

function known(name) {
  if (Object.hasOwn(FIXED, name)) return FIXED[name];
  const depth = /^library_depth_(\d+)$/.exec(name);
  return depth ? [`Libraries, depth ${depth[1]}`, `Depth ${depth[1]}`, "--p-libn"] : null;
}

// phaseLabel gives a phase's name as a person writes it, or a shorter one.
export function phaseLabel(name, short = false) {
  const found = known(name);
  if (found) return found[short ? 1 : 0];
  const words = name.replaceAll("_", " ").trim();
  return words ? words[0].toUpperCase() + words.slice(1) : "Agents";
}

// Hues gives each phase its colour. The known ones have theirs; another takes
// the next that is free and keeps it; when none is left it is slate.
export class Hues {
  constructor() {
    this.taken = new Map();
  }

  of(name) {
    const found = known(name);
    if (found) return found[2];
    return this.taken.get(name) ?? SLATE;
  }

  // learn takes note of the phases of the run, in their order.
  learn(names) {
    const used = new Set(this.taken.values());
    for (const name of names) if (known(name)) used.add(known(name)[2]);
    for (const name of names) {
      if (known(name) || this.taken.has(name)) continue;
      const free = ORDER.find((hue) => !used.has(hue)) ?? SLATE;
      this.taken.set(name, free);
      used.add(free);
    }
  }
}
