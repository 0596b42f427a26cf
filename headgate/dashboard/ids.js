/**
 * Ids as people type them: commas, spaces, lines, ranges like 1-20, quoted texts, or a JSON list.
 * An id stays the text that it was, so that 9223372036854775807 arrives as it was typed.
 */

/** What a server takes at once unless it is told otherwise; it tells its limit only where it refuses. */
const MOST = 1_000_000;

const TOKEN = /"((?:[^"\\]|\\.)*)"|[^\s,;]+/gu;
const INTEGER = /^-?(?:0|[1-9]\d*)$/;
const RANGE = /^(-?\d+)(?:-|–|\.\.)(-?\d+)$/;
const SPACED_RANGE = /(\d)[^\S\n]+(?:-|–|\.\.)[^\S\n]+(?=-?\d)/g;

/**
 * Read a text as ids. Returns `literals`, ready to stand in JSON, and `mistake`, a sentence or null.
 * `asText`: every id is a text, as written, and nothing is a range.
 */
export function readIds(text, { asText = false } = {}) {
  const literals = [];
  for (const [token, quoted] of unwrapped(text, asText).matchAll(TOKEN)) {
    if (quoted !== undefined) literals.push(quotedLiteral(token));
    else if (asText) literals.push(JSON.stringify(token));
    else if (INTEGER.test(token)) literals.push(token);
    else if (!addRange(literals, token)) literals.push(JSON.stringify(token));
    if (literals.length > MOST) return { literals: [], mistake: tooMany() };
  }
  return { literals, mistake: null };
}

/** An id for people: short, and the same whether it came as a number or as a text. */
export function shown(id, most = 40) {
  const text = String(id);
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

/** Ids in about so many characters: all of them, a range of neighbours, or the first and the last. */
export function summary(ids, room = 10) {
  const all = ids.map((id) => shown(id)).join(", ");
  if (all.length <= room || ids.length < 2) return all;
  const [first, last] = [ids[0], ids[ids.length - 1]];
  if (areNeighbours(ids)) return `${first}–${last}`;
  return ids.length === 2 ? all : `${shown(first)} … ${shown(last)}`;
}

function areNeighbours(ids) {
  if (!ids.every(Number.isSafeInteger)) return false;
  return ids.every((id, n) => n === 0 || id === ids[n - 1] + 1);
}

function unwrapped(text, asText) {
  const trimmed = text.trim();
  const list = trimmed.startsWith("[") && trimmed.endsWith("]") ? trimmed.slice(1, -1) : trimmed;
  return asText ? list : list.replace(SPACED_RANGE, "$1-");
}

function quotedLiteral(token) {
  try {
    return JSON.stringify(JSON.parse(token));
  } catch {
    return JSON.stringify(token.slice(1, -1));
  }
}

/** Add what a range like 1-20 stands for; false if the token is not one. */
function addRange(literals, token) {
  const found = RANGE.exec(token);
  if (!found) return false;
  const first = BigInt(found[1]);
  const last = BigInt(found[2]);
  if (last < first) return false;
  const size = last - first + 1n;
  const room = BigInt(MOST + 1 - literals.length);
  const count = Number(size < room ? size : room);
  const exact = isExact(first) && isExact(last);
  for (let n = 0; n < count; n += 1) literals.push(String(exact ? Number(first) + n : first + BigInt(n)));
  return true;
}

const isExact = (integer) => Number.isSafeInteger(Number(integer));

function tooMany() {
  return `These are more than ${MOST.toLocaleString("en")} ids: hand them in as several ingestions.`;
}
