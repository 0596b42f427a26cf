/** The gate: its leaf opens at a slot, and the ring over it counts down to the next one. */

import { h, mark, say, svg } from "./dom.js";
import { countdown } from "./words.js";

const RADIUS = 27;
const AROUND = 2 * Math.PI * RADIUS;
const OPEN_FOR_MS = 620;
/** Slots closer together than this keep the gate open while something waits. */
const BLUR_MS = 700;

export class Gate {
  constructor() {
    this._ring = svg("circle", { class: "left", cx: 32, cy: 32, r: RADIUS, "stroke-dasharray": AROUND });
    this._digits = h("span", { class: "digits" });
    this._word = h("span", { class: "word" });
    this.element = h(
      "div",
      { class: "gate" },
      h(
        "div",
        { class: "dial" },
        svg("svg", { viewBox: "0 0 64 64" }, svg("circle", { class: "all", cx: 32, cy: 32, r: RADIUS }), this._ring),
        this._digits,
        this._word,
      ),
      h("div", { class: "frame" }, h("div", { class: "leaf" })),
    );
    this._openUntil = 0;
  }

  /** A batch passes: be open for a moment. */
  passed() {
    this._openUntil = performance.now() + OPEN_FOR_MS;
  }

  /** Nothing is known of the slots. */
  unknown() {
    this._shut("–", "away");
  }

  _shut(digits, word) {
    mark(this.element, "open", "no");
    this._ring.style.strokeDashoffset = AROUND;
    say(this._digits, digits);
    say(this._word, word);
  }

  /** Draw the instant `now` of the server's clock. Returns whether time would change the picture. */
  draw(source, now, { slot, slotAt, waiting, called }) {
    mark(this.element, "state", source.state);
    if (slotAt === null) {
      this._shut("–", "no slot");
      return false;
    }
    const left = slotAt - now;
    if (!called) {
      this._shut("–", "no worker");
      return left > 0;
    }
    const passing = performance.now() < this._openUntil;
    const closed = source.state !== "open";
    const blurred = slot < BLUR_MS && waiting;
    mark(this.element, "open", !closed && (passing || left <= 0 || blurred) ? "yes" : "no");
    const share = left <= 0 ? 0 : Math.min(1, left / Math.max(slot, closed ? left : 1));
    this._ring.style.strokeDashoffset = (AROUND * (1 - share)).toFixed(2);
    this._say(source, left, { waiting, blurred: blurred && !closed });
    return left > 0 || passing || waiting;
  }

  _say(source, left, { waiting, blurred }) {
    if (blurred) {
      say(this._digits, "≈");
      say(this._word, "flowing");
    } else if (left > 0) {
      say(this._digits, countdown(left));
      say(this._word, source.state === "open" ? "next slot" : source.state);
    } else {
      say(this._digits, waiting ? "now" : "open");
      say(this._word, waiting && source.in_flight >= source.concurrency ? "answer" : "slot free");
    }
  }
}
