/**
 * The only way to the server: /v1, one request at a time, integers kept exactly.
 * The key lives in this module's memory and nowhere else: not in storage, not in a URL.
 */

const BASE = new URL("v1/", document.baseURI);
const PATIENCE_MS = 10_000;
const PATIENCE_FOR_A_SUBMISSION_MS = 120_000;

/** No answer, or none that is ours: try again later. */
export class Away extends Error {}

/** Something more urgent was asked: ask again. */
export class PutOff extends Error {}

/** A key is asked for, or this one is not known. */
export class NeedsKey extends Error {}

/** The server says no, in its own words. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `the server answered ${status}`);
    this.status = status;
    this.errors = problem.errors ?? [];
  }
}

let key = null;
let turn = Promise.resolve();
let current = null;

export const hasKey = () => key !== null;

export function setKey(given) {
  key = given;
}

/** GET a path under /v1; `params` that are null are left out. */
export async function get(path, params = {}) {
  return (await inTurn(() => request(address(path, params), {}, PATIENCE_MS))).body;
}

/** The same with when it was asked and answered, by this page's clock in milliseconds. */
export function getTimed(path, params = {}) {
  return inTurn(() => request(address(path, params), {}, PATIENCE_MS));
}

/** POST to a path under /v1. Goes before whatever is being read. */
export async function post(path, body, headers = {}) {
  current?.abort(new PutOff());
  const given = { method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body };
  return (await inTurn(() => request(address(path), given, PATIENCE_FOR_A_SUBMISSION_MS))).body;
}

/** The raw answer to a GET, for a download; it may take as long as it takes. */
export async function download(url) {
  const response = await fetch(url, { headers: authorized({}) });
  if (!response.ok) throw new Refused(response.status, {});
  return response.blob();
}

export function address(path, params = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined) url.searchParams.set(name, value);
  }
  return url;
}

const NUMBER_OR_STRING = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const LONG_INTEGER = /^-?\d{16,}$/;

/** Parse JSON; an integer of more than 15 digits becomes a string of its digits, for it would be rounded. */
export function parseExactly(text) {
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  return JSON.parse(text.replace(NUMBER_OR_STRING, (found) => (LONG_INTEGER.test(found) ? `"${found}"` : found)));
}

function inTurn(work) {
  const mine = turn.then(work);
  turn = mine.catch(() => {});
  return mine;
}

function authorized(headers) {
  return key === null ? headers : { ...headers, Authorization: `Bearer ${key}` };
}

async function request(url, given, patienceMs) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(new Away("no answer in time")), patienceMs);
  if (!given.method) current = stop;
  const askedAt = performance.now();
  try {
    const response = await fetch(url, {
      ...given,
      headers: authorized(given.headers ?? {}),
      signal: stop.signal,
      cache: "no-store",
      credentials: "omit",
    });
    const answeredAt = performance.now();
    return { body: await understood(response), askedAt, answeredAt };
  } catch (error) {
    if (stop.signal.aborted) throw stop.signal.reason; // while a body is read, the error is another one
    throw [Away, PutOff, NeedsKey, Refused].some((ours) => error instanceof ours) ? error : new Away("no answer");
  } finally {
    clearTimeout(timer);
    if (current === stop) current = null;
  }
}

async function understood(response) {
  if (response.status === 401) throw new NeedsKey();
  const text = await response.text();
  let body;
  try {
    body = parseExactly(text);
  } catch {
    throw new Away(`the server answered ${response.status} without JSON`);
  }
  if (response.status >= 500) throw new Away(body.detail ?? `the server answered ${response.status}`);
  if (!response.ok) throw new Refused(response.status, body);
  return body;
}
