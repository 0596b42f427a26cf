/** The time line: calls as drops on the water left of the gate, allowed slots as rings on the dry bed right of it. */

import { h, mark, say } from "./dom.js";
import { leftAt, slotX, untilSlot, xOf } from "./space.js";
import { calmSpan, gap } from "./words.js";

const NEWS_MS = 1_500;
const LABEL_NEEDS = 54;
/** Slots closer together than this, in pixels, are not drawn one by one. */
const DENSE = 9;
const TIGHT = 32;
const MOST_SLOTS = 60;
/** A label closer to the gate than this would be under it. */
const UNDER_GATE = 24;
const OUT_OF_VIEW = -24;

export class TimeLine {
  constructor() {
    this._slots = h("div", { class: "slots" });
    this._gaps = h("div", { class: "gaps" });
    this._drops = h("div", { class: "drops" });
    this.element = h("div", { class: "time-line" }, this._slots, this._gaps, this._drops);
    this.clear();
  }

  clear() {
    this._of = new Map();
    this._calls = [];
    for (const layer of [this._slots, this._gaps, this._drops]) layer.replaceChildren();
  }

  /** Take over the calls. A call that is news falls from the gate, unless it is the `first` look. */
  update(model, first) {
    this._calls = model.calls;
    const kept = new Set(model.calls.map(({ key }) => key));
    for (const [key, drop] of this._of) if (!kept.has(key)) this._forget(key, drop);
    for (const call of model.calls) {
      const drop = this._of.get(call.key) ?? this._new(call, first);
      mark(drop, "priority", model.batches.get(call.batch_id)?.priority ?? "");
      mark(drop, "flying", call.in_flight ? "yes" : "no");
    }
  }

  _new(call, first) {
    const news = !first && performance.now() - call.seen < NEWS_MS;
    const drop = h("div", { class: news ? "drop falls" : "drop" }, h("i"), h("b"));
    this._of.set(call.key, drop);
    return drop;
  }

  _forget(key, drop) {
    drop.remove();
    this._of.delete(key);
  }

  /** Put everything where it belongs now. Returns whether a call is in view. */
  place(space, now) {
    this._placeSlots(space, now);
    this._placeGaps(space, now);
    return this._placeDrops(space, now);
  }

  _placeDrops(space, now) {
    let inView = false;
    for (const call of this._calls) {
      const drop = this._of.get(call.key);
      const x = Math.min(space.gate, xOf(leftAt(call), space, now));
      if (x < OUT_OF_VIEW) {
        if (drop.isConnected) drop.remove();
        continue;
      }
      inView = true;
      if (!drop.isConnected) this._drops.append(drop);
      drop.style.transform = `translate3d(${x.toFixed(2)}px,0,0)`;
    }
    return inView;
  }

  /** How far apart two calls were, in the middle between them. */
  _placeGaps(space, now) {
    let used = 0;
    for (let n = 0; n + 1 < this._calls.length; n += 1) {
      const later = leftAt(this._calls[n]);
      const earlier = leftAt(this._calls[n + 1]);
      const [right, left] = [xOf(later, space, now), xOf(earlier, space, now)];
      if (right < OUT_OF_VIEW) break;
      if (right - left < LABEL_NEEDS) continue;
      const label = nth(this._gaps, used, () => h("span"));
      say(label, gap(later - earlier));
      label.style.transform = `translate3d(${((left + right) / 2).toFixed(2)}px,0,0) translateX(-50%)`;
      used += 1;
    }
    onlyFirst(this._gaps, used);
  }

  _placeSlots(space, now) {
    const slotWidth = space.slotAt === null ? 0 : space.slotWidth;
    let used = 0;
    for (let n = 0; slotWidth >= DENSE && n < MOST_SLOTS; n += 1) {
      const x = slotX(n, space, now);
      if (x > space.width + 10) break;
      const ring = nth(this._slots, used, () => h("div", { class: "slot" }, h("i"), h("span")));
      ring.style.transform = `translate3d(${x.toFixed(2)}px,0,0)`;
      say(ring.lastChild, x < space.gate + UNDER_GATE ? "" : slotWords(untilSlot(n, space, now), space.slot));
      used += 1;
    }
    onlyFirst(this._slots, used);
    mark(this.element, "apart", slotWidth === 0 || slotWidth > TIGHT ? "wide" : slotWidth < DENSE ? "dense" : "tight");
  }
}

/** A slot's label: in how many seconds it comes, if none comes nearer to that second; slots may be closer together. */
function slotWords(inMs, slot) {
  const second = Math.round(inMs / 1_000) * 1_000;
  const after = inMs - second;
  return second >= 1_000 && after >= -slot / 2 && after < slot / 2 ? calmSpan(second) : "";
}

function nth(layer, n, make) {
  return layer.children[n] ?? layer.appendChild(make());
}

function onlyFirst(layer, n) {
  while (layer.children.length > n) layer.lastChild.remove();
}
