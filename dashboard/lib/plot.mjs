// What plots have in common: scales, ticks at round numbers and round times, and paths of lines. Pure.

/** A function from `[from, to]` onto `[start, end]`; where `from` is `to` everything lies in the middle. */
export function scale([from, to], [start, end]) {
  if (from === to) return () => (start + end) / 2;
  return (value) => start + ((value - from) / (to - from)) * (end - start);
}

/** About `count` ticks at 1, 2 or 5 times a power of ten, within `from` to `to`. */
export function ticks(from, to, count = 5) {
  if (!(to > from)) return [from];
  const step = roundStep((to - from) / count);
  const first = Math.ceil(from / step - 1e-9);
  const found = [];
  for (let n = first; n * step <= to + step * 1e-9; n += 1) found.push(Number((n * step).toPrecision(12)));
  return found;
}

/** The end of an axis from 0 that holds `largest`: its next round step. */
export function axisEnd(largest, count = 4) {
  if (!(largest > 0)) return 1;
  const step = roundStep(largest / count);
  return Number((Math.ceil(largest / step - 1e-9) * step).toPrecision(12));
}

/** Ticks of a time axis in milliseconds since 1970, at whole seconds, minutes or hours. */
export function timeTicks(from, to, count = 5) {
  const s = 1_000;
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400].map((n) => n * s);
  const wanted = (to - from) / count;
  const step = steps.find((one) => one >= wanted) ?? Math.ceil(wanted / 86400_000) * 86400_000;
  const found = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) found.push(at);
  return found;
}

/** The `d` of a path through `points` (`[x, y]`); `null` between points leaves a gap. */
export function linePath(points) {
  let path = "";
  let pen = false;
  for (const point of points) {
    if (!point || !point.every(Number.isFinite)) pen = false;
    else {
      path += `${pen ? "L" : "M"}${round(point[0])} ${round(point[1])}`;
      pen = true;
    }
  }
  return path;
}

/** The `d` of the area between that line and the height `base`, a piece for each stretch without a gap. */
export function areaPath(points, base) {
  let path = "";
  let stretch = [];
  const close = () => {
    if (stretch.length > 1) path += `${linePath(stretch)}L${round(stretch.at(-1)[0])} ${round(base)}L${round(stretch[0][0])} ${round(base)}z`;
    stretch = [];
  };
  for (const point of points) {
    if (point && point.every(Number.isFinite)) stretch.push(point);
    else close();
  }
  close();
  return path;
}

/** The points with no neighbour on either side, which a line does not show. */
export function lonePoints(points) {
  return points.filter((point, index) => point && !points[index - 1] && !points[index + 1]);
}

/** Points in time with a `null` wherever the next one comes later than `longest`: there nothing was measured, and no line shall say otherwise. */
export function withGaps(points, longest) {
  return points.flatMap((point, index) => (index > 0 && point[0] - points[index - 1][0] > longest ? [null, point] : [point]));
}

/** The point whose time is nearest to `at`, and which has a value; `null` where there is none within `reach`. */
export function nearest(points, at, reach = Infinity) {
  let best = null;
  for (const point of points) {
    if (!point || !Number.isFinite(point[1])) continue;
    const far = Math.abs(point[0] - at);
    if (far <= reach && (!best || far < Math.abs(best[0] - at))) best = point;
  }
  return best;
}

/** `{ last, least, most }` of points, or `null` where none has a value. */
export function extent(points) {
  const values = points.filter((point) => point && Number.isFinite(point[1])).map(([, value]) => value);
  if (values.length === 0) return null;
  return { last: values.at(-1), least: values.reduce((one, other) => Math.min(one, other)), most: values.reduce((one, other) => Math.max(one, other)) };
}

/** A tick of a time axis that is `span` long: the time of day, or the day where it is longer than two. */
export function timeLabel(at, span) {
  if (span > 2 * 86400_000) return new Date(at).toLocaleDateString(undefined, { day: "numeric", month: "short" });
  return new Date(at).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
}

const round = (value) => Math.round(value * 10) / 10;

function roundStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  const times = rough / power;
  return (times <= 1 ? 1 : times <= 2 ? 2 : times <= 5 ? 5 : 10) * power;
}
