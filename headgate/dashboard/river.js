/**
 * The line as a river. Time runs from right to left: what waits is right of the gate, each batch above the slot
 * that it will get; what was called is left of it, each batch above its call on the time line.
 *
 * `update` takes over what the model knows; then everything moves by the server's clock, frame by frame, for as
 * long as there is something to move. Who asked for less motion gets a still picture, renewed twice a second.
 */

import { h, mark } from "./dom.js";
import { instant, serverNow } from "./clock.js";
import { Chips } from "./chips.js";
import { Gate } from "./gate.js";
import { TimeLine } from "./timeline.js";
import { slotMs } from "./words.js";

const WIDE = { chip: 106, apart: 22, gateAt: 0.37 };
const NARROW = { chip: 84, apart: 22, gateAt: 0.3 };
const NARROW_BELOW = 600;
/** The fastest that the river flows, in pixels a second; a faster source's slots lie closer together instead. */
const FASTEST = 90;
const FLOW_WITHOUT_SLOTS = 24;
/** The length of a wave on the water, which flows as time does. */
const WAVE = 64;
/** After so long with nothing to move, the water stands still too. */
const ASLEEP_AFTER_MS = 60_000;
const STILL_MS = 500;

const still = matchMedia("(prefers-reduced-motion: reduce)");

export class River {
  /** `called`: told of each batch that goes through the gate. */
  constructor(root, model, called) {
    this._root = root;
    this._model = model;
    this._gate = new Gate();
    this._chips = new Chips((batch) => {
      this._gate.passed();
      called(batch);
    });
    this._timeLine = new TimeLine();
    root.append(
      h("div", { class: "water" }),
      h("div", { class: "bed" }),
      h("p", { class: "calls-here", text: "Each call lands here, never sooner than its slot." }),
      this._timeLine.element,
      this._chips.element,
      this._gate.element,
    );
    this._showing = null;
    this._running = false;
    this._called = true;
    this._last = 0;
    this._movedAt = performance.now();
    this._frame = this._frame.bind(this);
    this._measure();
    new ResizeObserver(() => this._measure()).observe(root);
    still.addEventListener("change", () => this._run());
  }

  /** Take over what the model knows now. */
  update() {
    const { source, chosen } = this._model;
    const first = this._showing !== chosen;
    if (first) {
      this._chips.clear();
      this._timeLine.clear();
    }
    if (!source) return;
    this._showing = chosen;
    this._frozen = false;
    this._scale(source);
    const now = serverNow();
    mark(this._root, "asleep", performance.now() - this._movedAt > ASLEEP_AFTER_MS ? "yes" : "no");
    this._called = this._model.isCalled(chosen);
    mark(this._root, "called", this._called ? "yes" : "no");
    this._chips.update(this._model, this._space, now, first);
    this._timeLine.update(this._model, first);
    this._run();
  }

  /** Stand still: nothing is known of the instants that pass. */
  freeze() {
    this._frozen = true;
    this._gate.unknown();
  }

  _measure() {
    const width = this._root.clientWidth;
    const { chip, apart, gateAt } = width < NARROW_BELOW ? NARROW : WIDE;
    this._space = { ...this._space, width, chip, stride: chip + apart, gate: Math.round(width * gateAt) };
    this._root.style.setProperty("--gate", `${this._space.gate}px`);
    this._root.style.setProperty("--chip", `${chip}px`);
    if (!this._model.source || !this._showing) return;
    this._scale(this._model.source);
    this._run();
  }

  /** One slot is as wide as one batch, or narrower where that would flow too fast. */
  _scale(source) {
    const slot = slotMs(source);
    const space = this._space;
    const flow = slot ? Math.min(FASTEST, (space.stride / slot) * 1_000) : FLOW_WITHOUT_SLOTS;
    const slotWidth = (slot / 1_000) * flow;
    this._space = { ...space, slot, slotWidth, flow, slotAt: instant(source.next_slot_at), still: still.matches };
    this._root.style.setProperty("--drift", `${(WAVE / flow).toFixed(2)}s`);
    mark(this._root, "aligned", slot && slotWidth > space.stride - 1 ? "yes" : "no");
  }

  _run() {
    clearInterval(this._ticking);
    if (still.matches) {
      this._draw(0);
      this._ticking = setInterval(() => this._draw(0), STILL_MS);
    } else if (!this._running) {
      this._running = true;
      this._last = performance.now();
      requestAnimationFrame(this._frame);
    }
  }

  _frame(time) {
    const passed = Math.min(100, Math.max(0, time - this._last));
    this._last = time;
    this._running = this._draw(passed) && !still.matches;
    if (this._running) requestAnimationFrame(this._frame);
  }

  /** Draw this instant, `passed` milliseconds after the last one. Returns whether the next will look different. */
  _draw(passed) {
    const { source } = this._model;
    if (!source || this._frozen) return false;
    const now = serverNow();
    const space = this._space;
    const waits = this._chips.total > 0;
    const batches = this._chips.place(space, now, passed);
    const calls = this._timeLine.place(space, now);
    mark(this._root, "empty", batches || calls ? "no" : "yes");
    const known = { slot: space.slot, slotAt: space.slotAt, waiting: waits, called: this._called };
    const counting = this._gate.draw(source, now, known);
    const moving = batches || calls || counting;
    if (moving) this._movedAt = performance.now();
    return moving;
  }
}
