// What a pointer on the strip has hold of, and what it does to the domain. Pure.

const EDGE = 6; // px from an edge of the view that still take hold of it
const MARKER = 9; // the same for the replay marker

// gripAt tells what is at a place: the replay marker, an edge of the view ("from",
// "to"), the view itself, or nothing yet ("new"). view is [left, right] in px or
// null, marker px or null.
export function gripAt(x, { view, marker }) {
  if (marker !== null && Math.abs(x - marker) <= MARKER) return "marker";
  if (!view) return "new";
  const [left, right] = view;
  const near = [["from", Math.abs(x - left)], ["to", Math.abs(x - right)]].sort((a, b) => a[1] - b[1])[0];
  if (near[1] <= EDGE) return near[0];
  return x > left && x < right ? "view" : "new";
}

// brushed gives the domain after a pointer went from one moment to another; domain
// is the one at the beginning.
export function brushed(grip, domain, from, to) {
  const ordered = (a, b) => [Math.min(a, b), Math.max(a, b)];
  switch (grip) {
    case "from": return ordered(to, domain[1]);
    case "to": return ordered(domain[0], to);
    case "view": return [domain[0] + to - from, domain[1] + to - from];
    default: return ordered(from, to);
  }
}
