// JSON whose whole numbers stay whole: a seed has up to 64 bits, and JavaScript's numbers lose the last of them. Pure.

const mark = "\u{e000}";

/** Like `JSON.parse`, but whole numbers beyond 2^53 become `BigInt`. */
export function parse(text) {
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  const marked = text.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/gs, (token) =>
    /^-?\d{16,}$/.test(token) && !Number.isSafeInteger(Number(token)) ? `"${mark}${token}"` : token,
  );
  return JSON.parse(marked, (key, value) => (typeof value === "string" && /^\u{e000}-?\d+$/u.test(value) ? BigInt(value.slice(1)) : value));
}

/** Like `JSON.stringify`, but `BigInt` is written as a number. */
export function stringify(value, space) {
  const text = JSON.stringify(value, (key, part) => (typeof part === "bigint" ? `${mark}${part}` : part), space);
  return text?.replace(/"\u{e000}(-?\d+)"/gu, "$1");
}
