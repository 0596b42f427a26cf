/** The batches on the river: each goes from waiting to called to done, in this order, however fast it really went. */

import { h, mark, say, show } from "./dom.js";
import { summary } from "./ids.js";
import { ended } from "./model.js";
import { leftAt, slotX, xOf } from "./space.js";
import { number, span } from "./words.js";

const STATES = ["waiting", "called", "done"];
/** How long each state is shown at least; less where calls follow one another faster than that. */
const DWELL_MS = { waiting: 260, called: 480 };
const SHORTEST_DWELL_MS = 80;
const AT_GATE = 14;
const BETWEEN = 8;
/** How long the news of a call may be behind the news of its batch. */
const BEHIND_MS = 10_000;
const SETTLING_MS = 150;
const LEAVING_MS = 400;
const MORE_NEEDS = 42;
const A_CHARACTER = 7.2;

export class Chips {
  /** `passes`: told whenever a batch goes through the gate. */
  constructor(passes) {
    this._passes = passes;
    this._track = h("div", { class: "track" });
    this._ahead = h("div", { class: "more ahead", hidden: true });
    this._behind = h("div", { class: "more behind", hidden: true });
    this.element = h("div", { class: "chips" }, this._track, this._ahead, this._behind);
    this.clear();
  }

  clear() {
    this._track?.replaceChildren();
    this._known = new Map();
    this._waiting = [];
    this._past = [];
    this._aheadCount = 0;
    this.total = 0;
  }

  /** Take over the line and the calls. `first`: nothing is news, so nothing makes an entrance. */
  update(model, space, now, first) {
    const calls = newestCalls(model.calls);
    const { waiting, ahead, total } = model.line();
    this._hurry = Math.max(SHORTEST_DWELL_MS, space.slot || Infinity);
    const out = this._withoutCall(model, calls, now);
    const kept = new Set();
    const keep = (batch, call, state) => {
      kept.add(batch.batch_id);
      return this._keep(batch, call, state, first);
    };
    this._waiting = waiting
      .filter((batch) => !isOut(batch, calls.get(batch.batch_id)))
      .map((batch) => keep(batch, null, "waiting"));
    this._past = [];
    for (const [id, call] of [...out, ...calls]) {
      const batch = model.batches.get(id);
      if (!batch || kept.has(id) || this._past.length * space.stride > space.gate) continue;
      if (xOf(leftAt(call), space, now) > 0) this._past.push(keep(batch, call, ended(batch) ? "done" : "called"));
    }
    for (const chip of this._known.values()) if (!kept.has(chip.id)) this._leave(chip);
    this._aheadCount = ahead;
    this.total = total;
  }

  /** Batches on the river of which we know that they were called, but not yet the call. */
  _withoutCall(model, calls, now) {
    return [...this._known.keys()]
      .filter((id) => !calls.has(id))
      .map((id) => model.batches.get(id))
      .filter((batch) => batch?.triggered_ms && now - batch.triggered_ms < BEHIND_MS && (batch.in_flight || ended(batch)))
      .map((batch) => [batch.batch_id, { granted_ms: batch.triggered_ms, written_ms: null, in_flight: batch.in_flight }]);
  }

  _keep(batch, call, goal, first) {
    let chip = this._known.get(batch.batch_id);
    if (!chip) {
      chip = newChip(batch, first ? goal : "waiting");
      if (!first) chip.element.classList.add("enters");
      this._known.set(batch.batch_id, chip);
      this._track.append(chip.element);
    }
    Object.assign(chip, { batch, call, goal });
    this._advance(chip);
    return chip;
  }

  /** Bring a chip to the state that is true, through those between. */
  _advance(chip) {
    clearTimeout(chip.timer);
    while (chip.state !== chip.goal) {
      const at = STATES.indexOf(chip.state);
      if (STATES.indexOf(chip.goal) < at) {
        this._enter(chip, chip.goal);
        break;
      }
      const left = chip.since + Math.min(DWELL_MS[chip.state], this._hurry) - performance.now();
      if (left > 0) {
        chip.timer = setTimeout(() => this._advance(chip), left);
        break;
      }
      this._enter(chip, STATES[at + 1]);
    }
    dress(chip);
  }

  _enter(chip, state) {
    chip.state = state;
    chip.since = performance.now();
    if (state === "called") this._passes(chip.batch);
  }

  _leave(chip) {
    clearTimeout(chip.timer);
    this._known.delete(chip.id);
    chip.element.classList.add("leaves");
    setTimeout(() => chip.element.remove(), LEAVING_MS);
  }

  /** Put every chip where it belongs now. Returns whether there are any. */
  place(space, now, passed) {
    this._placeWaiting(space, now, passed);
    this._placePast(space, now, passed);
    return this._known.size > 0;
  }

  _placeWaiting(space, now, passed) {
    let least = space.gate + AT_GATE;
    label(this._ahead, this._aheadCount, `${number(this._aheadCount)} ahead`);
    if (this._aheadCount) {
      this._ahead.style.transform = `translateX(${least}px)`;
      least += space.stride;
    }
    const first = least;
    const wanted = this._waiting.map((_, n) => {
      const x = Math.max(least, slotX(this._aheadCount + n, space, now));
      least = x + space.chip + BETWEEN;
      return x;
    });
    let behind = this.total - this._aheadCount - this._waiting.length;
    const all = behind <= 0 && (wanted.length < 2 || wanted.at(-1) + space.chip <= space.width);
    const room = space.width - (all ? 0 : MORE_NEEDS + A_CHARACTER * `+ ${number(this.total)} more`.length);
    const last = Math.max(first, room - space.chip);
    const afar = wanted[0] > last; // the slot of the first one is out of view or under the count
    if (afar) wanted[0] = last;
    this._waiting.forEach((chip, n) => {
      const fits = wanted[n] + space.chip <= room || (n === 0 && !this._aheadCount);
      if (!fits) behind += 1;
      mark(chip.element, "afar", n === 0 && afar ? "yes" : "no");
      mark(chip.element, "hid", fits ? "no" : "yes");
      settle(chip, wanted[n], space, passed);
      if (chip.again) say(chip.what, againWords(chip.batch, now));
    });
    label(this._behind, behind, `+ ${number(behind)} more`);
  }

  _placePast(space, now, passed) {
    let most = space.gate - AT_GATE;
    for (const chip of this._past) {
      if (chip.state === "waiting") {
        settle(chip, space.gate + AT_GATE, space, passed);
        continue;
      }
      mark(chip.element, "hid", "no");
      const right = Math.min(most, xOf(leftAt(chip.call), space, now));
      settle(chip, right - space.chip, space, passed);
      most = right - space.chip - BETWEEN;
      if (right + chip.offset < -space.chip) this._gone(chip);
    }
    this._past = this._past.filter((chip) => this._known.has(chip.id));
  }

  _gone(chip) {
    clearTimeout(chip.timer);
    this._known.delete(chip.id);
    chip.element.remove();
  }
}

function newChip(batch, state) {
  const ids = h("span", { class: "ids" });
  const what = h("span", { class: "what" });
  const foot = h("span", { class: "foot" }, what, h("span", { class: "sign" }));
  const card = h("div", { class: "card" }, ids, foot);
  const element = h("div", { class: "chip", data: { batch: batch.batch_id, priority: batch.priority } }, card);
  const since = performance.now();
  return { id: batch.batch_id, element, ids, what, batch, state, goal: state, since, wanted: null, offset: 0, x: null };
}

function dress(chip) {
  const { batch, element } = chip;
  chip.again = chip.state === "waiting" && batch.status === "triggered" && chip.goal === "waiting";
  mark(element, "state", chip.state);
  mark(element, "again", chip.again ? "yes" : "no");
  mark(element, "ending", chip.state === "done" ? batch.status : "");
  say(chip.ids, summary(batch.ids));
  if (!chip.again) say(chip.what, batch.priority);
  const title = `${summary(batch.ids, 120)} · ${batch.priority} · ${batch.reason ?? batch.status.replaceAll("_", " ")}`;
  if (element.title !== title) element.title = title;
}

/** Put a chip where it is wanted; where that is not where it was just now, let it glide there. */
function settle(chip, wanted, space, passed) {
  const jump = chip.wanted === null ? 0 : wanted - chip.wanted;
  const drift = (space.flow * passed) / 1_000 + 1;
  if (Math.abs(jump) > drift) chip.offset -= jump;
  chip.offset = space.still || Math.abs(chip.offset) < 0.3 ? 0 : chip.offset * Math.exp(-passed / SETTLING_MS);
  chip.wanted = wanted;
  const x = wanted + chip.offset;
  if (x === chip.x) return;
  chip.x = x;
  chip.element.style.transform = `translate3d(${x.toFixed(2)}px,0,0)`;
}

function label(element, count, text) {
  show(element, count > 0);
  if (count > 0) say(element, text);
}

function againWords(batch, now) {
  const left = (batch.not_before_ms ?? now) - now;
  return left > 0 ? `again in ${span(Math.ceil(left / 1_000) * 1_000).replace(".0", "")}` : "again";
}

/** The newest call of each batch that we know the name of, newest first. */
function newestCalls(calls) {
  const newest = new Map();
  for (const call of calls) {
    if (call.batch_id !== null && !newest.has(call.batch_id)) newest.set(call.batch_id, call);
  }
  return newest;
}

/** Whether a batch is with the source, or came back and we have not read since what became of it. */
function isOut(batch, call) {
  return batch.in_flight || Boolean(call && (call.in_flight || batch.read < call.back));
}
