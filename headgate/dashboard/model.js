/**
 * What this page knows of the server: sources, ingestions, batches, calls. It asks for nothing and draws nothing.
 * What is known of an object is replaced by newer news of it; a forecast stays until a newer one comes.
 */

import { instant, serverNow } from "./clock.js";
import { PRIORITIES } from "./words.js";

/** So many batches of the line are shown one by one. */
const SHOWN = 24;
/** So many batches are asked for at once, from the first that has not ended on. */
const WINDOW = 40;
/** In long ingestions the ended ones are passed over in ever larger steps: page tokens lead from page to page only. */
const LARGEST_STEP = 1_000;
const STEP_GROWS = 5;
/** So many batches are asked for at first for what a row shows of them. */
const ROW_STEP = 8;
const KEPT_CALLS = 400;

const SAME_CALL_MS = 5;

export class Model {
  constructor() {
    this.sources = [];
    this.workers = null;
    this.source = null;
    this.chosen = null;
    this.calls = [];
    this.forgetIngestions();
    this._calls = 0;
  }

  /** Begin anew: the server was away, and may not be the one that it was. */
  forgetIngestions() {
    this.ingestions = new Map();
    this.order = [];
    this.batches = new Map();
    this.olderPage = undefined;
  }

  choose(name) {
    if (this.chosen === name) return;
    this.chosen = name;
    this.source = null;
    this.calls = [];
  }

  noteSources(list) {
    this.sources = list;
    if (!list.some(({ name }) => name === this.chosen)) {
      this.choose((list.find((source) => source.default) ?? list[0])?.name ?? null);
    }
  }

  /** The chosen source with its newest calls, newest first. */
  noteSource(detail) {
    this.source = detail;
    const at = this.sources.findIndex(({ name }) => name === detail.name);
    if (at >= 0) this.sources[at] = detail;
    const before = this.calls;
    const news = detail.calls.map((call) => this._known(call, before));
    const oldest = news.length ? news[news.length - 1].granted_ms : Infinity;
    const earlier = before.filter((call) => call.granted_ms < oldest - SAME_CALL_MS && !news.includes(call));
    this.calls = [...news, ...earlier].slice(0, KEPT_CALLS);
  }

  /**
   * The call as it was known, with what is new of it; the server gives calls no name of their own.
   * `back`: when this page learnt that it had been answered.
   */
  _known(call, before) {
    const granted_ms = instant(call.granted_at);
    const written_ms = instant(call.written_at);
    const same = before.find(
      (old) => old.batch_id === call.batch_id && Math.abs(old.granted_ms - granted_ms) < SAME_CALL_MS,
    );
    const seen = performance.now();
    const known = same ?? { ...call, granted_ms, key: ++this._calls, seen, back: Infinity };
    known.in_flight = call.in_flight;
    known.written_ms = known.written_ms ?? written_ms;
    if (!call.in_flight) known.back = Math.min(known.back, seen);
    return known;
  }

  /** Who calls sources; null: the server does not say. */
  noteWorkers(list) {
    const now = serverNow();
    this.workers = list?.map((worker) => timedWorker(worker, now)) ?? null;
  }

  /** Whether nobody calls any source, as far as the server says who does. */
  get idle() {
    return this.workers !== null && !this.workers.some(isWorking);
  }

  /** Whether somebody calls a source, as far as the server says who does. */
  isCalled(name) {
    return this.workers === null || this.workers.some((worker) => isWorking(worker) && worker.sources.includes(name));
  }

  /** A page of ingestions, newest first; the first page brings the ones that are new. */
  notePage(page, { first }) {
    const unknown = page.ingestions.filter(({ ingestion_id }) => !this.ingestions.has(ingestion_id));
    const gap = first && unknown.length === page.ingestions.length; // more are new than one page holds
    if (!first || gap || this.olderPage === undefined) this.olderPage = page.next_page;
    unknown.reverse().forEach((ingestion) => this._insert(ingestion));
    page.ingestions.forEach((ingestion) => this._note(ingestion));
  }

  /** One ingestion with its forecast: one that was submitted just now, or looked at. */
  noteIngestion(ingestion) {
    const id = ingestion.ingestion_id;
    if (!this.ingestions.has(id)) this._insert(ingestion);
    this._note(ingestion);
    this.ingestions.get(id).looked = performance.now();
  }

  forget(id) {
    this.ingestions.delete(id);
    this.order = this.order.filter((other) => other !== id);
  }

  _insert({ ingestion_id, accepted_at }) {
    const accepted_ms = instant(accepted_at);
    this.ingestions.set(ingestion_id, { ...fresh(), accepted_ms });
    const at = this.order.findIndex((other) => this.ingestions.get(other).accepted_ms <= accepted_ms);
    this.order.splice(at < 0 ? this.order.length : at, 0, ingestion_id);
  }

  _note(news) {
    const known = this.ingestions.get(news.ingestion_id);
    const forecast = timed(news.forecast) ?? (news.ended_at ? null : known.forecast);
    this.ingestions.set(news.ingestion_id, {
      ...known,
      ...news,
      forecast,
      accepted_ms: instant(news.accepted_at),
      ended_ms: instant(news.ended_at),
    });
  }

  /** How the batches of an ingestion are to be asked for next: from its first one on that may not have ended. */
  batchesWanted(id) {
    const { cursor, step } = this.ingestions.get(id);
    return { page: cursor, limit: step };
  }

  /**
   * A page of batches, asked for as `batchesWanted` said. The cursor goes on in ever larger steps until a page holds
   * the first batch that has not ended, then right up to it. False: ask again.
   */
  noteBatches(id, page) {
    const of = this.ingestions.get(id);
    if (!of) return true;
    of.window = this._batches(of, page);
    of.nextPage = page.next_page;
    const first = of.window.findIndex((batch) => !ended(batch));
    if (first < 0 && page.next_page) {
      of.cursor = page.next_page;
      of.step = of.nearly ? WINDOW : Math.min(of.step * STEP_GROWS, LARGEST_STEP);
      of.nearly = false;
      return false;
    }
    of.nearly = first >= WINDOW;
    of.step = of.nearly ? first : WINDOW;
    if (of.nearly) return false;
    of.stamp = stamp(of);
    return true;
  }

  /** The page after the window, where the window's end is near. */
  noteMoreBatches(id, page) {
    const of = this.ingestions.get(id);
    if (!of) return;
    of.window = [...of.window, ...this._batches(of, page)];
    of.nextPage = page.next_page;
  }

  _batches(of, page) {
    const batches = page.batches.map((batch) => ({
      ...batch,
      read: performance.now(),
      ingestion_id: of.ingestion_id,
      priority: of.priority,
      not_before_ms: instant(batch.not_before),
      triggered_ms: instant(batch.triggered_at),
    }));
    batches.forEach((batch) => this.batches.set(batch.batch_id, batch));
    if (batches[0]?.number === 0) of.sample = batches[0].ids;
    of.reason = batches.findLast(({ reason }) => reason !== null)?.reason ?? of.reason;
    const failure = batches.find(({ status, reason }) => status === "failed" && reason !== null);
    if (failure && !(of.failure?.number <= failure.number)) of.failure = failure;
    return batches;
  }

  /** The newest ingestion of which we do not know the first ids, else one of which we do not know why it failed. */
  unread() {
    const all = this.order.map((id) => this.ingestions.get(id));
    const unread = all.find(({ sample }) => sample === null) ?? all.find(lacksFailure);
    return unread?.ingestion_id ?? null;
  }

  /** How the batches of that one are to be asked for next: from its first one on, in ever larger steps. */
  unreadWanted(id) {
    const { readPage, readStep } = this.ingestions.get(id);
    return { page: readPage, limit: readStep };
  }

  /** A page of batches, asked for as `unreadWanted` said. What has not ended may fail yet, and is read again then. */
  noteUnread(id, page) {
    const of = this.ingestions.get(id);
    if (!of) return;
    this._batches(of, page);
    if (of.ended_ms === null) return;
    of.readPage = page.next_page;
    of.readStep = Math.min(of.readStep * STEP_GROWS, LARGEST_STEP);
    of.readAll = !page.next_page;
  }

  /** The page to ask for so that the line does not run out of known batches; null: none. */
  moreWanted(id) {
    const of = this.ingestions.get(id);
    const open = of.window.filter((batch) => !ended(batch)).length;
    return of.nextPage && open < WINDOW / 2 ? of.nextPage : null;
  }

  /** Whether what is known of an ingestion's batches may be out of date. */
  isStale(id) {
    const of = this.ingestions.get(id);
    if (!of) return false;
    if (of.stamp !== stamp(of)) return true;
    if (of.window.some(({ status }) => status === "triggered")) return true;
    return this.calls.some(({ ingestion_id, batch_id }) => {
      const batch = ingestion_id === id ? this.batches.get(batch_id) : null;
      return batch && !ended(batch);
    });
  }

  /** The ingestions of the chosen source that have not ended, in the order of the line. */
  active() {
    return this.order
      .map((id) => this.ingestions.get(id))
      .filter((of) => of.source === this.chosen && of.ended_ms === null)
      .reverse()
      .sort((a, b) => PRIORITIES.indexOf(a.priority) - PRIORITIES.indexOf(b.priority));
  }

  /**
   * The line: the batches that wait, in order; how many are before the first of them that we do not know;
   * how many wait in all.
   */
  line() {
    const active = this.active();
    const waiting = [];
    for (const of of active) {
      if (of.cancelled_at) continue;
      waiting.push(...of.window.filter((batch) => !ended(batch)));
      if (of.stamp === null || of.nextPage || waiting.length >= SHOWN) break;
    }
    const queue = this.source?.queue;
    const total = queue ? queue.waiting + queue.ready + queue.backing_off : waiting.length;
    return { waiting: waiting.slice(0, SHOWN), ahead: this._unknownAhead(active, queue), total };
  }

  _unknownAhead(active, queue) {
    const known = active.filter(({ counts }) => counts.begun < counts.distinct).length;
    const first = active.find(({ cancelled_at }) => !cancelled_at);
    if (!queue || queue.ingestions <= known) return 0;
    return first?.forecast?.position ?? 0;
  }

  /** Ingestions that calls name and that we do not know yet. */
  strangers() {
    return [...new Set(this.calls.map(({ ingestion_id }) => ingestion_id))].filter(
      (id) => id !== null && !this.ingestions.has(id),
    );
  }

  /** Let go of batches that nothing shows any more. */
  prune() {
    if (this.batches.size < 4_000) return;
    const used = new Set(this.calls.map(({ batch_id }) => batch_id));
    for (const of of this.ingestions.values()) of.window.forEach(({ batch_id }) => used.add(batch_id));
    for (const id of this.batches.keys()) if (!used.has(id)) this.batches.delete(id);
  }
}

export function isWorking({ state }) {
  return state === "working";
}

export function ended({ status }) {
  return status === "completed" || status === "failed" || status === "cancelled";
}

/** Whether an ingestion failed and the first batch of it that did is yet to be found. */
function lacksFailure({ status, failure, readAll }) {
  return status === "failed" && failure === null && !readAll;
}

function fresh() {
  const line = { window: [], cursor: null, nextPage: null, step: WINDOW, nearly: false, stamp: null };
  const row = { sample: null, reason: null, failure: null, readPage: null, readStep: ROW_STEP, readAll: false };
  return { forecast: null, looked: 0, ...line, ...row };
}

function stamp({ counts, status, cancelled_at }) {
  return `${counts.begun} ${counts.left} ${status} ${cancelled_at ?? ""}`;
}

function timed(forecast) {
  if (!forecast) return null;
  return { ...forecast, starts_ms: instant(forecast.starts_at), finishes_ms: instant(forecast.finishes_at) };
}

/** A worker, with how long nothing was heard of it; null where no signs of life are given. */
function timedWorker(worker, now) {
  const [started_ms, seen_ms] = [instant(worker.started_at), instant(worker.seen_at)];
  return { ...worker, started_ms, silent_ms: seen_ms > started_ms ? Math.max(0, now - seen_ms) : null };
}
