// The stretch of the run's clock that the lanes show. Pure. A domain is [from, to]
// in milliseconds since the run's start, or null for the whole run; reach is how
// far the whole run's axis goes.

const LEAST_MS = 500; // nothing shorter can be looked at
const NOW_AT = 1 / 1.1; // where now stands while the page follows the run
const ROOM = 0.06; // beside what is fitted, on each side

// within puts a domain inside of [0, reach]; null where that is the whole run.
export function within(domain, reach) {
  if (!domain) return null;
  const length = Math.max(LEAST_MS, domain[1] - domain[0]);
  if (!(length < reach)) return null;
  const from = Math.max(0, Math.min(domain[0], reach - length));
  return [from, from + length];
}

// zoomed makes a domain shorter (factor above 1) or longer; what stood at a moment
// stays where it is.
export function zoomed(domain, reach, factor, at) {
  const [from, to] = domain ?? [0, reach];
  const length = Math.max(LEAST_MS, (to - from) / factor);
  const share = to > from ? (Math.max(from, Math.min(to, at)) - from) / (to - from) : 0.5;
  const start = from + (to - from) * share - length * share;
  return within([start, start + length], reach);
}

// panned moves a domain by a share of its length.
export function panned(domain, reach, share) {
  if (!domain) return null;
  const by = (domain[1] - domain[0]) * share;
  return within([domain[0] + by, domain[1] + by], reach);
}

// centred moves a domain so that a moment stands in its middle.
export function centred(domain, reach, at) {
  if (!domain) return null;
  const half = (domain[1] - domain[0]) / 2;
  return within([at - half, at + half], reach);
}

// around gives the domain that shows a stretch with a little room on both sides.
export function around(from, to, reach) {
  const room = Math.max((to - from) * ROOM, (LEAST_MS - (to - from)) / 2);
  return within([from - room, to + room], reach);
}

// following moves a domain so that now stands where the eye expects it.
export function following(domain, reach, now) {
  if (!domain) return null;
  const length = domain[1] - domain[0];
  return within([now - length * NOW_AT, now + length * (1 - NOW_AT)], reach);
}
