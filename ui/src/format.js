// Numbers and names as a person reads them. Pure. Times are milliseconds.

export const DASH = "\u2013";

const two = (n) => String(n).padStart(2, "0");

// whole gives m:ss, from one hour h:mm:ss. Negative and unknown times are 0.
function whole(seconds) {
  const s = Number.isFinite(seconds) && seconds > 0 ? Math.floor(seconds) : 0;
  const h = Math.floor(s / 3600);
  const m = Math.floor(s / 60) % 60;
  return h ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`;
}

// clock gives a time on the run's clock: 4:01.
export function clock(ms) {
  return whole(ms / 1000);
}

// stopwatch gives a duration with its tenth: 1:08.4; from one hour without.
export function stopwatch(ms) {
  const tenths = Number.isFinite(ms) && ms > 0 ? Math.round(ms / 100) : 0;
  return tenths >= 36000 ? whole(tenths / 10) : `${whole(tenths / 10)}.${tenths % 10}`;
}

// brief gives a duration of which most are short: 12 ms, from a second on as a
// stopwatch shows it.
export function brief(ms) {
  if (!(ms < 999.5)) return stopwatch(ms);
  return ms >= 0.5 ? `${Math.round(ms)} ms` : "< 1 ms";
}

// compact gives a count in three or four figures: 950, 61.2 k, 1.41 M.
export function compact(n) {
  if (!Number.isFinite(n)) return DASH;
  if (Math.round(n) < 1000) return String(Math.round(n));
  for (const [unit, suffix, digits] of [[1e3, " k", 1], [1e6, " M", 2], [1e9, " G", 2]]) {
    const text = (n / unit).toFixed(digits);
    if (Number(text) < 1000) return text + suffix;
  }
  return `${(n / 1e12).toFixed(2)} T`;
}

// perMinute gives a rate of tokens: 406 k/min.
export function perMinute(n) {
  if (!Number.isFinite(n)) return DASH;
  if (n >= 999500) return `${(n / 1e6).toFixed(2)} M/min`;
  return n >= 1000 ? `${Math.round(n / 1000)} k/min` : `${Math.round(n)}/min`;
}

// ago gives the age of something: 0.2 s ago, 12 s ago, 3 min ago.
export function ago(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 9.95) return `${s.toFixed(1)} s ago`;
  if (s < 120) return `${Math.round(s)} s ago`;
  return s < 7200 ? `${Math.round(s / 60)} min ago` : `${Math.round(s / 3600)} h ago`;
}

export function plural(n, one, many = `${one}s`) {
  return `${n} ${n === 1 ? one : many}`;
}

// spoken gives a duration in words, for those who hear the page.
export function spoken(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const h = Math.floor(s / 3600);
  const m = Math.floor(s / 60) % 60;
  const parts = [];
  if (h) parts.push(plural(h, "hour"));
  if (m) parts.push(plural(m, "minute"));
  if (!h && (s % 60 || !m)) parts.push(plural(s % 60, "second"));
  return parts.join(" ");
}

// silence gives how long nothing was heard: 47 s, 3 min.
export function silence(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  return s < 180 ? `${s} s` : `${Math.floor(s / 60)} min`;
}

// repository gives the short name of a source repository: owner/name.
export function repository(url) {
  const parts = url.replace(/\.git$/, "").split(/[/:]/).filter(Boolean);
  return parts.slice(-2).join("/");
}

// runName is a run id without its date and random part.
export function runName(id) {
  return id.replace(/-\d{8}-[0-9a-f]{6,}$/, "") || id;
}

// clip bounds a text from outside. Nothing on the page needs more of it, and a
// name of megabytes would be laid out whole.
export function clip(text, most = 300) {
  if (text.length <= most) return text;
  const last = text.charCodeAt(most - 1);
  const end = last >= 0xd800 && last < 0xdc00 ? most - 1 : most; // no half of a pair
  return `${text.slice(0, end)}\u2026`;
}

// moment gives a date and time of the reader's zone.
export function moment(unixMS) {
  return new Date(unixMS).toLocaleString(undefined, {
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit",
  });
}

// bytes gives a size: 812 B, 61.2 kB, 1.41 MB.
export function bytes(n) {
  if (!Number.isFinite(n)) return DASH;
  for (const [unit, suffix, digits] of [[1e9, " GB", 2], [1e6, " MB", 2], [1e3, " kB", 1]]) if (n >= unit * 0.99995) return (n / unit).toFixed(digits) + suffix;
  return `${Math.round(n)} B`;
}

// share gives a part of a whole in percent, never rounded up to all of it.
export function share(part, whole) {
  return whole > 0 ? `${part >= whole ? 100 : Math.min(99, Math.round((100 * part) / whole))}%` : DASH;
}
