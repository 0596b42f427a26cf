/** Numbers, spans and reasons as people say them. */

const UNIT_MS = { us: 0.001, ms: 1, s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000, day: 86_400_000 };
const UNIT_NAME = { s: "second", min: "minute", h: "hour", d: "day", day: "day" };
const NUMBERS = new Intl.NumberFormat("en");
const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const FAR = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const HALF_A_DAY_MS = 43_200_000;
const HALF_A_YEAR_MS = 15_552_000_000;

export const PRIORITIES = ["HIGH", "MEDIUM", "LOW"];

export const number = (n) => NUMBERS.format(n);

/** "1 batch", "1,234 batches". */
export function several(n, one, many = `${one}s`) {
  return `${number(n)} ${n === 1 ? one : many}`;
}

/** A span in milliseconds, as exact as it matters: "350 ms", "4.2 s", "3 min 20 s", "2 h 5 min". */
export function span(ms) {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 9_950) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 60_000) return `${Math.round(ms / 1_000)} s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 3_600) return joined(Math.floor(seconds / 60), "min", seconds % 60, "s");
  if (seconds < 86_400) return joined(Math.floor(seconds / 3_600), "h", Math.floor((seconds % 3_600) / 60), "min");
  if (seconds < 10 * 86_400) return joined(Math.floor(seconds / 86_400), "d", Math.floor((seconds % 86_400) / 3_600), "h");
  return several(Math.round(seconds / 86_400), "day");
}

/** The same, without digits that would change several times a second. */
export function calmSpan(ms) {
  if (ms < 950) return "under a second";
  return span(ms < 60_000 ? Math.round(ms / 1_000) * 1_000 : ms).replace(".0 s", " s");
}

/** The distance between two calls, to the millisecond where it is short. */
export function gap(ms) {
  if (ms < 100) return `${ms.toFixed(1)} ms`;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  return ms < 60_000 ? `${(ms / 1_000).toFixed(3)} s` : span(ms);
}

/** A countdown: "4.2", "1:05", "2:05 h". */
export function countdown(ms) {
  const seconds = ms / 1_000;
  if (seconds < 60) return (Math.ceil(seconds * 10) / 10).toFixed(1);
  const whole = Math.ceil(seconds);
  if (whole < 3_600) return `${Math.floor(whole / 60)}:${padded(whole % 60)}`;
  return `${Math.floor(whole / 3_600)}:${padded(Math.floor((whole % 3_600) / 60))} h`;
}

/** An instant as wall time: at a time of this day, or on another day. */
export function clockTime(ms, now) {
  return `${isNear(ms, now) ? "at" : "on"} ${moment(ms, now)}`;
}

/** The same after "since". */
export function moment(ms, now) {
  if (isNear(ms, now)) return TIME.format(ms);
  return (Math.abs(ms - now) < HALF_A_YEAR_MS ? DAY : FAR).format(ms);
}

/** A span as the server writes it ("5s", "200ms") in milliseconds; NaN if it is none. */
function spanMs(text) {
  const found = /^(\d*)\s*([a-z]+)$/.exec(text);
  return found ? Number(found[1] || 1) * UNIT_MS[found[2]] : NaN;
}

/** A window as the server writes it ("1/5s") in words. */
export function windowWords(text) {
  const [limit, per] = text.split("/");
  const calls = several(Number(limit), "call");
  const name = UNIT_NAME[per];
  if (name) return `${calls} ${name === "hour" ? "an" : "a"} ${name}`;
  const [, digits, unit] = /^(\d+)([a-z]+)$/.exec(per) ?? [null, per, ""];
  return Number(limit) === 1 ? `${calls} every ${digits} ${unit}` : `${calls} in any ${digits} ${unit}`;
}

/** How far apart the slots of a source are, in milliseconds: its shortest window, shared out. 0: no quota. */
export function slotMs(source) {
  const slots = source.quotas
    .filter((quota) => quota.windows.length)
    .map((quota) => {
      const shortest = quota.windows.reduce((a, b) => (spanMs(b.span) < spanMs(a.span) ? b : a));
      return spanMs(shortest.span) / shortest.limit;
    });
  return Math.max(0, ...slots.filter(Number.isFinite));
}

/** What no worker would change. */
const STAYS = ["cost", "unserved"];

export const STATUS_WORDS = {
  yet_to_start: "yet to start",
  triggered: "triggered",
  completed: "completed",
  failed: "failed",
  cancelled: "cancelled",
};

/**
 * One sentence on where an ingestion stands in the line, one on when it will be done.
 * A forecast holds for the case that somebody calls the source; `called`: whether anybody does.
 */
export function forecastWords(ingestion, now, { called = true } = {}) {
  const { forecast } = ingestion;
  if (ingestion.ended_ms !== null) {
    const failure = ingestion.status === "failed" && ingestion.failure ? `First failure: ${ingestion.failure.reason}.` : "";
    return [`Took ${span(ingestion.ended_ms - ingestion.accepted_ms)}.`, failure];
  }
  if (ingestion.cancelled_at) return ["Cancelled: what is still out may come in, and is kept.", ""];
  if (!forecast) return ["", ""];
  if (!called && !STAYS.includes(forecast.waits_for)) return ["Nobody calls its source: it waits for a worker.", ""];
  return [reason(forecast, ingestion.reason, now), finish(forecast, now)];
}

function reason(forecast, failure, now) {
  const until = forecast.starts_ms === null ? null : Math.max(0, forecast.starts_ms - now);
  const soon = until === null || until < 950 ? "now" : `in ${calmSpan(until)}`;
  switch (forecast.waits_for) {
    case "ahead":
      return `${several(forecast.position, "batch", "batches")} ${forecast.position === 1 ? "is" : "are"} ahead; its turn comes ${soon}.`;
    case "window":
    case "pace":
      return `Next in line: the quota lets the next call through ${soon}.`;
    case "concurrency":
      return "Next in line, once a running call is answered.";
    case "answer":
      return "Its last call is out; the answer is awaited.";
    case "backoff":
      return `A call failed${failure ? ` (${failure})` : ""}; it is tried again ${soon}.`;
    case "paused":
      return `The source is paused; its turn comes ${soon}.`;
    case "cost":
      return "A call costs more than a window of the quota holds: it waits until the configuration changes.";
    case "closed":
      return "Its source is closed; it waits, and nothing is lost.";
    case "unserved":
      return "Nobody here serves its source: it waits until the configuration names it again.";
    default:
      return "Its next call goes out now.";
  }
}

function finish(forecast, now) {
  if (forecast.waits_for === "closed" || forecast.finishes_ms === null) return "";
  const left = forecast.finishes_ms - now;
  if (left < 950) return "Done any moment.";
  return `Done in about ${calmSpan(left)}, ${clockTime(forecast.finishes_ms, now)}.`;
}

const isNear = (ms, now) => Math.abs(ms - now) < HALF_A_DAY_MS;
const padded = (n) => String(n).padStart(2, "0");
const joined = (a, unitA, b, unitB) => (b ? `${a} ${unitA} ${b} ${unitB}` : `${a} ${unitA}`);
