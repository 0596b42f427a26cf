/**
 * Keeps the model up to date: one round of questions after the other, never two at once.
 * Often while something moves and around a slot, seldom at rest, never while nobody looks.
 */

import { Away, get, getTimed, NeedsKey, PutOff, Refused } from "./api.js";
import { instant, learn, serverNow } from "./clock.js";
import { slotMs } from "./words.js";

const MOVING_MS = 1_000;
const NEAR_SLOT_MS = 300;
const JUST_AFTER_SLOT_MS = 60;
/** What has not come by then may take long. */
const LATE_MS = 3_000;
const AT_REST_MS = 5_000;
/** For a while after something moved, and after opening, more is likely to come. */
const AWAKE_MS = 1_500;
const AWAKE_FOR_MS = 180_000;
const AWAY_MS = [1_000, 2_000, 3_000, 5_000];

/** Newest ingestions in each round. */
const NEWEST = 20;
/** Ingestions looked at one by one in each round, and ones whose batches are asked for. */
const LOOKS = 4;
const BATCHES = 6;
/** So often in each round the batches of an ingestion are asked for only because its row shows something of them. */
const ROWS = 4;
/** Whose batches are asked for first: the first in the line, then those of the newest calls. */
const HEAD = 3;
const RECENT_CALLS = 8;
/** Steps towards the first open batch of a long ingestion in one round. */
const STEPS = 8;
/** Older ingestions that stand in the line are looked for so many pages back. */
const OLDER_PAGES = 10;
const OLDER = 100;
/** The other sources are looked at every so many rounds. */
const SOURCES_EVERY = 5;
/** Who calls sources changes seldom. Somebody looks at them, or waits to see that a worker has started: more often. */
const WORKERS_EVERY_MS = 5_000;
const WORKERS_WATCHED_MS = 1_000;

export class Poller {
  /** `on`: updated(), away(error, retry_ms), back(), locked(). */
  constructor(model, on) {
    this._model = model;
    this._on = on;
    this._timer = null;
    this._running = false;
    this._again = false;
    this._failures = 0;
    this._rounds = 0;
    this._gone = new Set();
    this._workersAfter = 0;
    this._workersWatched = false;
    this._movedAt = performance.now();
    document.addEventListener("visibilitychange", () => this.soon());
  }

  /** Ask now, or right after what is being asked. */
  soon() {
    clearTimeout(this._timer);
    if (this._running) this._again = true;
    else if (!document.hidden) this._round();
  }

  /** Somebody looks at the workers, or no longer does. */
  watchWorkers(watched) {
    this._workersWatched = watched;
    if (!watched || this._workersAfter === Infinity) return;
    this._workersAfter = 0;
    this.soon();
  }

  async _round() {
    this._running = true;
    this._again = false;
    let wait = AT_REST_MS;
    try {
      await this._ask();
      if (this._failures) this._on.back();
      this._failures = 0;
      this._on.updated();
      wait = this._pause();
    } catch (error) {
      wait = this._failed(error);
    }
    this._running = false;
    if (this._again) this.soon();
    else if (wait !== null && !document.hidden) this._timer = setTimeout(() => this._round(), wait);
  }

  /** What an error means for the next round: how long to wait, or null to wait for somebody. */
  _failed(error) {
    if (error instanceof NeedsKey) {
      this._on.locked();
      return null;
    }
    if (error instanceof PutOff) return NEAR_SLOT_MS;
    if (!(error instanceof Away)) console.error(error);
    const wait = AWAY_MS[Math.min(this._failures, AWAY_MS.length - 1)];
    this._failures += 1;
    this._workersAfter = 0;
    if (this._failures === 1) this._model.forgetIngestions();
    this._on.away(error, wait);
    return wait;
  }

  async _ask() {
    const model = this._model;
    if (model.chosen === null || this._rounds % SOURCES_EVERY === 0 || this._failures) {
      model.noteSources((await get("sources")).sources);
    }
    this._rounds += 1;
    await this._askForSource();
    await this._askForWorkers();
    model.notePage(await get("ingestions", { limit: NEWEST }), { first: true });
    await this._askForOlder();
    await this._askForStrangers();
    await this._look();
    await this._askForBatches();
    await this._askForRows();
    model.prune();
  }

  async _askForSource() {
    if (this._model.chosen === null) return;
    const asked = this._model.chosen;
    const { body, askedAt, answeredAt } = await getTimed(`sources/${encodeURIComponent(asked)}`);
    learn(instant(body.now), askedAt, answeredAt);
    if (asked === this._model.chosen) this._model.noteSource(body);
  }

  async _askForWorkers() {
    if (performance.now() < this._workersAfter) return;
    this._model.noteWorkers(await this._workers());
    const wait = this._workersWatched || this._model.idle ? WORKERS_WATCHED_MS : WORKERS_EVERY_MS;
    this._workersAfter = this._model.workers === null ? Infinity : performance.now() + wait;
  }

  /** An older server has no such route: null, until it has been away. */
  async _workers() {
    try {
      return (await get("workers")).workers;
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 404) throw error;
      return null;
    }
  }

  /** The line may be led by ingestions older than the newest ones: a page of them in each round. */
  async _askForOlder() {
    const model = this._model;
    const queue = model.source?.queue;
    const known = model.active().filter(({ counts }) => counts.begun < counts.distinct).length;
    if (!queue || queue.ingestions <= known || !model.olderPage) return;
    if (model.order.length > OLDER_PAGES * OLDER) return;
    await this.older(OLDER);
  }

  /** The next page of older ingestions. */
  async older(limit = NEWEST) {
    const page = this._model.olderPage;
    if (!page) return;
    this._model.notePage(await get("ingestions", { limit, page }), { first: false });
  }

  async _askForStrangers() {
    const strangers = this._model.strangers().filter((id) => !this._gone.has(id));
    for (const id of strangers.slice(0, 2)) await this._lookAt(id);
  }

  /** Forecasts: of the first in the line always, of the others in turn. */
  async _look() {
    const active = [...this._model.ingestions.values()].filter((of) => of.ended_ms === null);
    const first = this._model.active()[0];
    const others = active.filter((of) => of !== first).sort((a, b) => a.looked - b.looked);
    for (const of of [...(first ? [first] : []), ...others].slice(0, LOOKS)) await this._lookAt(of.ingestion_id);
  }

  _lookAt(id) {
    return this._unlessGone(id, async () => {
      this._model.noteIngestion(await get(`ingestions/${encodeURIComponent(id)}`));
    });
  }

  /** Do what asks about one ingestion; where the server refuses, there is none any more. */
  async _unlessGone(id, work) {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this._model.forget(id);
      this._gone.add(id);
    }
  }

  async _askForBatches() {
    const model = this._model;
    const called = model.calls.map(({ ingestion_id }) => ingestion_id).filter((id) => id !== null);
    const line = model.active().map((of) => of.ingestion_id);
    const wanted = new Set([...line.slice(0, HEAD), ...called.slice(0, RECENT_CALLS), ...line]);
    let left = BATCHES;
    for (const id of wanted) {
      if (!left) return;
      if (!model.isStale(id)) continue;
      left -= 1;
      await this._askForBatchesOf(id);
    }
  }

  async _askForBatchesOf(id) {
    const path = `ingestions/${encodeURIComponent(id)}/batches`;
    for (let step = 0; step < STEPS; step += 1) {
      const settled = this._model.noteBatches(id, await get(path, this._model.batchesWanted(id)));
      if (settled) break;
    }
    const page = this._model.moreWanted(id);
    if (page) this._model.noteMoreBatches(id, await get(path, { limit: 40, page }));
  }

  /** What the rows show of batches, where it was not learnt on the way: for what is over, and of other sources. */
  async _askForRows() {
    const model = this._model;
    for (let left = ROWS; left; left -= 1) {
      const id = model.unread();
      if (id === null) return;
      const path = `ingestions/${encodeURIComponent(id)}/batches`;
      await this._unlessGone(id, async () => model.noteUnread(id, await get(path, model.unreadWanted(id))));
    }
  }

  /** How long until the next round. */
  _pause() {
    const { source, ingestions } = this._model;
    const line = this._model.line();
    const moving = line.total > 0 || [...ingestions.values()].some((of) => of.ended_ms === null);
    if (!source || !(moving || source.in_flight)) {
      return performance.now() - this._movedAt < AWAKE_FOR_MS ? AWAKE_MS : AT_REST_MS;
    }
    this._movedAt = performance.now();
    return this._pauseWhileMoving(source);
  }

  _pauseWhileMoving(source) {
    const now = serverNow();
    const slot = slotMs(source);
    const flying = this._model.calls.find((call) => call.in_flight);
    if (slot && slot < 2 * NEAR_SLOT_MS) return NEAR_SLOT_MS;
    if (flying) return now - flying.granted_ms < LATE_MS ? NEAR_SLOT_MS : MOVING_MS;
    if (source.next_slot_at === null) return MOVING_MS;
    const untilSlot = instant(source.next_slot_at) - now;
    if (untilSlot <= 0) return -untilSlot < LATE_MS ? NEAR_SLOT_MS : MOVING_MS;
    return Math.min(MOVING_MS, untilSlot + JUST_AFTER_SLOT_MS);
  }
}
