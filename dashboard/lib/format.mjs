// Numbers, times and sizes as people read them. Pure: the time is an argument.

const steps = [
  [60, 1, "s"],
  [3600, 60, "min"],
  [86400, 3600, "h"],
  [Infinity, 86400, "d"],
];

/** Milliseconds as a short length of time: `740 ms`, `8.2 s`, `3 min 20 s`, `2 h 5 min`, `4 d`. */
export function duration(ms) {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return "";
  const size = Math.abs(ms);
  if (size < 1000) return `${Math.round(ms)} ms`;
  if (size < 9950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return two(Math.floor(seconds / 60), "min", seconds % 60, "s");
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return two(Math.floor(minutes / 60), "h", minutes % 60, "min");
  const hours = Math.round(minutes / 60);
  return two(Math.floor(hours / 24), "d", hours % 24, "h");
}

/** How long ago `at` was, or how far ahead it is, at `now`: `just now`, `3 min ago`, `in 20 s`. */
export function relative(at, now) {
  const then = typeof at === "number" ? at : Date.parse(at);
  if (!Number.isFinite(then)) return "";
  const seconds = Math.round((now - then) / 1000);
  const size = Math.abs(seconds);
  if (size < 5) return "just now";
  const [, unit, word] = steps.find(([below]) => size < below);
  const count = Math.floor(size / unit);
  return seconds > 0 ? `${count} ${word} ago` : `in ${count} ${word}`;
}

/** Bytes with a binary unit: `412 B`, `1.4 KiB`, `23 MiB`. */
export function bytes(count) {
  if (!Number.isFinite(count)) return "";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = count;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1).replace(/\.0$/, "")} ${units[unit]}`;
}

/** Whole numbers with thin spaces between thousands. */
export function whole(count) {
  return Number.isFinite(count) ? String(Math.round(count)).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f") : "";
}

/** A share from 0 to 1 as per cent, never rounded up to 100 or down to 0. */
export function percent(share) {
  if (!Number.isFinite(share)) return "";
  if (share === 0 || share === 1) return `${share * 100} %`;
  const value = Math.min(99.9, Math.max(0.1, share * 100));
  return `${value >= 99 || value < 10 ? value.toFixed(1) : Math.round(value)} %`;
}

/** The time of a day and, where it is another day than `now`, the date, in the reader's own zone. */
export function moment(at, now) {
  const then = new Date(at);
  if (Number.isNaN(then.getTime())) return "";
  const clock = then.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const sameDay = then.toDateString() === new Date(now).toDateString();
  return sameDay ? clock : `${then.toLocaleDateString(undefined, { day: "numeric", month: "short" })}, ${clock}`;
}

/** The end of a job's id, by which people tell jobs apart: ids begin with the time, so their ends differ most. */
export function shortId(id) {
  return typeof id === "string" ? id.slice(-8) : "";
}

/** `1 output`, `3 outputs`. */
export function plural(count, one, many = `${one}s`) {
  return `${whole(count)} ${count === 1 ? one : many}`;
}

function two(large, largeUnit, small, smallUnit) {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}
